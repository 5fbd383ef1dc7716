"""Prepare data sets for the refiner `eyes`: `python model_cards/prepare_eyes.py DATA OUT`.

DATA holds `eyes_synthetic/syntheseyes_grey.parquet`, `eyes_real/webcam_9blocks.parquet` and `eyes_real/mpiigaze_p00`.
OUT/syntheseyes gets those renders that look as people at laptops do (pitch from −22° to 5°, yaw within 20°): of eyes
that look elsewhere a discriminator would see only that. OUT/webcam gets the webcam eyes at the scale of MPIIGaze's.
"""

import sys
from pathlib import Path

import numpy as np

from simgan.data import load
from simgan.data.prepare import prepare
from simgan.domains.eyes import EYES

PITCH, YAW = (-22.0, 5.0), 20.0  # degrees


def main() -> None:
    """Choose the renders, align the webcam eyes."""
    data, output = map(Path, sys.argv[1:])
    renders = load(f"syntheseyes:{data}/eyes_synthetic/syntheseyes_grey.parquet", size=EYES.size, channels=1)
    pitch, yaw = (np.degrees(renders[name][:]) for name in ("pitch", "yaw"))
    chosen = np.flatnonzero((pitch > PITCH[0]) & (pitch < PITCH[1]) & (np.abs(yaw) < YAW))
    renders.select(chosen).save_to_disk(str(output / "syntheseyes"))
    webcam, real = (f"{data}/eyes_real/{name}" for name in ("webcam_9blocks.parquet", "mpiigaze_p00"))
    done = prepare(f"webcam:{webcam}", output / "webcam", align=f"folder:{real}")
    print(f"{len(chosen)} renders, {done.count} webcam eyes; {done.alignment and done.alignment.summary}")


if __name__ == "__main__":
    main()
