"""The examples that the Space opens with: renders of simgan's own simulator, which may be shown to anyone."""

import functools
import tempfile
from pathlib import Path

from PIL import Image

from simgan.simulators import eyes

CHOSEN = (4, 8, 24, 41, 36, 10)  # of the simulator's images


@functools.cache
def examples() -> list[str]:
    """Write the examples, once a process, as PNG files of 55×35 and give their paths."""
    folder = Path(tempfile.mkdtemp(prefix="simgan-examples-"))
    paths = [folder / f"eye {number}.png" for number in range(1, len(CHOSEN) + 1)]
    for path, image in zip(paths, eyes.render(CHOSEN)[0], strict=True):
        Image.fromarray(image).save(path)
    return [str(path) for path in paths]
