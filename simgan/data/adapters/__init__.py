"""Data sets as they are distributed, by the kind that stands before the colon of a source."""

from simgan.data.adapters.eyes import open_mpiigaze, open_syntheseyes, open_unityeyes
from simgan.data.adapters.hands import open_icvl, open_msra, open_nyu
from simgan.data.adapters.photographs import open_bioid, open_webcam
from simgan.data.source import Adapter

ADAPTERS = {
    "unityeyes": Adapter(open_unityeyes, "DIR", from_frames=True),
    "syntheseyes": Adapter(open_syntheseyes, "DIR or FILE.parquet", from_frames=True),
    "mpiigaze": Adapter(open_mpiigaze, "DIR or DIR@evaluation"),
    "webcam": Adapter(open_webcam, "FILE.parquet", from_frames=True),
    "bioid": Adapter(open_bioid, "FILE.parquet", from_frames=True),
    "nyu": Adapter(open_nyu, "DIR or DIR@synthetic"),
    "msra": Adapter(open_msra, "DIR"),
    "icvl": Adapter(open_icvl, "DIR"),
}
