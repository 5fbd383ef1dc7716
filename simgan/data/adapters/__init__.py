"""Data sets as they are distributed, one file each, by the kind that stands before the colon of a source.

Columns of eyes: `gaze` (unit vector: x right and y down in the image, z away from the camera), `pitch` and `yaw` in
radians with gaze = (−cos p sin y, −sin p, −cos p cos y), `head_rotation` (3×3, row by row), and in pixels of the crop
(whole numbers are pixel centres) `pupil` (x, y), `iris` and `lids`, lists of (x, y).

Columns of hands, depth of 16 bits in mm with 0 = no reading: `joints`, the 14 of `simgan.domains.hands.JOINTS` as
(u, v, d) in such pixels and mm, and `joints_mm`, the same as (x, y, z) in mm (x right, y down, z away from the camera).
Sources with other joints have `own_joints` and `own_joints_mm` instead; `CORRESPONDING` of their adapters maps them.
"""

from simgan.data.adapters.icvl import open_icvl
from simgan.data.adapters.mpiigaze import open_mpiigaze
from simgan.data.adapters.msra import open_msra
from simgan.data.adapters.nyu import open_nyu
from simgan.data.adapters.syntheseyes import open_syntheseyes
from simgan.data.adapters.unityeyes import open_unityeyes
from simgan.data.source import Adapter

ADAPTERS = {
    "unityeyes": Adapter(open_unityeyes, "DIR", from_frames=True),
    "syntheseyes": Adapter(open_syntheseyes, "DIR or FILE.parquet", from_frames=True),
    "mpiigaze": Adapter(open_mpiigaze, "DIR or DIR@evaluation"),
    "nyu": Adapter(open_nyu, "DIR or DIR@synthetic"),
    "msra": Adapter(open_msra, "DIR"),
    "icvl": Adapter(open_icvl, "DIR"),
}
