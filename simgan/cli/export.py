"""The command `simgan export`."""

from pathlib import Path
from typing import Annotated

import tyro

from simgan.errors import SourceError, reason
from simgan.refiner import Refiner
from simgan.refining.places import write

Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.onnx")]


def export(model: Model, output: File, /, overwrite: bool = False) -> None:
    """Write a refiner as an ONNX file, for ONNX Runtime, browsers and phones: stored images in, stored images out.

    Args:
        model: a shipped model, the folder of a run, or a Hub id.
        output: the file; its inputs are `images` (uint8, or uint16 in mm of depth) and `strength` (from 0 to 1).
        overwrite: replace a file that is there.
    """
    if output.suffix != ".onnx":
        raise SourceError(f"{output} has no suffix .onnx: give a name that ends in it")
    if output.exists() and not overwrite:
        raise SourceError(f"{output} exists: give another output, or --overwrite")
    content = Refiner.from_pretrained(model).export("onnx")
    try:
        write(output, content)
    except OSError as error:
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
    print(f"{output}: {len(content) / 1e6:.1f} MB")
