"""The examples that the Space opens with: renders of simgan's own simulators, which may be shown to anyone."""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from simgan.images.arrays import Array
from simgan.refining.engine import is_of_depth
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands
from simgan.space.events import show_errors
from simgan.space.models import Models

Upload = Sequence[tuple[str, str | None]] | None  # what a gallery gives: paths and captions

CHOSEN = (4, 8, 24, 41, 36, 10)  # of the simulated eyes
CHOSEN_HANDS = (10, 24, 6, 9, 31)  # and of the hands


@functools.cache
def examples() -> list[str]:
    """Write the examples of eyes, once a process, as PNG files of 55×35 and give their paths."""
    return _write("eye", eyes.render(CHOSEN)[0])


@functools.cache
def hand_examples() -> list[str]:
    """Write those of hands, once a process, as 16-bit PNG files of 224×224 in mm and give their paths."""
    return _write("hand", hands.render(CHOSEN_HANDS)[0])


def _write(name: str, images: Array) -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="simgan-examples-"))
    paths = [folder / f"{name} {number}.png" for number in range(1, len(images) + 1)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return [str(path) for path in paths]


def image_field(chosen: list[str], label: str, name: str) -> gr.Gallery:
    """Give the field that takes images of every kind, open with some; `name` begins its element's id."""
    return gr.Gallery(
        chosen,
        label=label,
        format="png",
        file_types=["image"],
        sources=["upload", "clipboard"],
        columns=3,
        fit_columns=False,
        object_fit="contain",
        interactive=True,
        buttons=[],
        elem_id=f"{name}-images",
    )


class Choice:
    """Examples below a gallery: those of eyes, or of hands while a model of hands is chosen."""

    def __init__(self, images: gr.Gallery, name: str, *, together: bool = False) -> None:
        """Add both kinds to the page; `together`: one more example is all eyes. `name` begins the events' names."""
        eye_rows: list[Any] = [[[path]] for path in examples()] + [[examples()]] * together
        self.images, self.name = images, name
        self.eyes = gr.Examples(
            eye_rows,
            [images],
            label="Examples",
            api_name=f"{name}_example",
            api_visibility="public",
            elem_id=f"{name}-examples",
        )
        self.hands = gr.Examples(
            [[[path]] for path in hand_examples()],
            [images],
            label="Examples",
            example_labels=[Path(path).stem for path in hand_examples()],  # thumbnails of depth are black in browsers
            api_name=f"{name}_hand_example",
            api_visibility="public",
            elem_id=f"{name}-hand-examples",
            visible=False,
        )

    def follow(self, models: Models, model: gr.Dropdown) -> Callable[..., Any]:
        """Give the event that fires when another model was chosen, and the examples fit it.

        An example of the other kind is replaced, which fires the gallery's event instead. What a visitor sent stays.
        """
        moment = gr.State(0)

        @show_errors
        def fit(images: Upload, model: str) -> list[Any]:
            """Show examples that a model takes: in the gallery too, where it has examples that it does not take."""
            of_hands = is_of_depth(models.get(model).refiner)
            own, others = (hand_examples(), examples()) if of_hands else (examples(), hand_examples())
            known = {Path(path).read_bytes() for path in others}
            is_other = bool(images) and all(Path(path).read_bytes() in known for path, _ in images or ())
            return [
                [own[0]] if is_other else gr.skip(),
                gr.Dataset(visible=not of_hands),
                gr.Dataset(visible=of_hands),
                gr.skip() if is_other else time.time_ns(),
            ]

        outputs = [self.images, self.eyes.dataset, self.hands.dataset, moment]
        model.change(fit, [self.images, model], outputs, api_name=f"{self.name}_model", show_progress="hidden")
        return moment.change
