"""The examples of the Space: renders of simgan's own simulators, which may be shown to anyone."""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from simgan.domains import find
from simgan.simulators import SIMULATORS, Simulator
from simgan.space.events import show_errors
from simgan.space.models import Model, Models

Upload = Sequence[tuple[str, str | None]] | None  # paths and captions of a gallery

NUMBERS = (10, 24, 31, 4, 41, 6)  # of the rendered images


def simulator_of(domain: str) -> Simulator | None:
    """Return the first simulator of a domain, which renders its synthetic images; None if there is none."""
    return next((simulator for simulator in SIMULATORS.values() if simulator.domain == domain), None)


@functools.cache
def examples(domain: str) -> tuple[str, ...]:
    """Write examples of a domain as PNG files, once a process, and return their paths: none without a simulator."""
    simulator = simulator_of(domain)
    if simulator is None:
        return ()
    folder = Path(tempfile.mkdtemp(prefix="simgan-examples-"))
    name = Path(find(domain).words.example).stem
    paths = [folder / f"{name} {number}.png" for number in range(1, len(NUMBERS) + 1)]
    for path, image in zip(paths, simulator.render(NUMBERS)[0], strict=True):
        Image.fromarray(image).save(path)
    return tuple(map(str, paths))


def image_field(chosen: Sequence[str], label: str, name: str) -> gr.Gallery:
    """Return the field that takes images of every kind and opens with `chosen`; `name` begins its element's id."""
    return gr.Gallery(
        list(chosen),
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
    """Examples below a gallery: those of the chosen model's domain."""

    def __init__(self, models: Models, images: gr.Gallery, name: str, *, together: bool = False) -> None:
        """Add the examples of each domain; `together`: the last one is all of them. `name` begins the events' names."""
        self.models, self.images, self.name = models, images, name
        self.fields: dict[str, gr.Dataset] = {}
        for number, (domain, model) in enumerate(models.domains().items()):
            if not (paths := examples(domain)):
                continue
            rows: list[Any] = [[[path]] for path in paths] + [[list(paths)]] * together
            # Browsers show 16 bits of depth as black, so that names stand in place of thumbnails.
            names = [Path(path).stem for path in paths] + ["all of them"] * together
            self.fields[domain] = gr.Examples(
                rows,
                [images],
                label="Examples",
                example_labels=names if models.get(model).codec.unit else None,
                api_name=f"{name}_{domain}_example",
                api_visibility="public",
                elem_id=f"{name}-{domain}-examples",
                visible=number == 0,
            ).dataset

    def follow(self, model: gr.Dropdown) -> Callable[..., Any]:
        """Return the event that fires after the examples were switched to those of the chosen model.

        If the gallery holds examples of another domain, they are replaced, and the gallery's own event fires instead.
        Images that a visitor sent stay.
        """
        moment = gr.State(0)

        @show_errors
        def fit(images: Upload, model: str) -> list[Any]:
            """Show examples that a model takes: in the gallery too, where it holds examples of another kind."""
            fitting = self._fitting(self.models.get(model))
            others = {
                Path(path).read_bytes() for domain in self.fields if domain not in fitting for path in examples(domain)
            }
            replaced = bool(images and fitting) and all(Path(path).read_bytes() in others for path, _ in images or ())
            return [
                [examples(fitting[0])[0]] if replaced else gr.skip(),
                *(gr.Dataset(visible=domain in fitting) for domain in self.fields),
                gr.skip() if replaced else time.time_ns(),
            ]

        outputs = [self.images, *self.fields.values(), moment]
        model.change(fit, [self.images, model], outputs, api_name=f"{self.name}_model", show_progress="hidden")
        return moment.change

    def _fitting(self, model: Model) -> list[str]:
        """Return the domains whose examples a model takes: its own, or those in the same unit."""
        if model.domain.name in self.fields:
            return [model.domain.name]
        units = {domain: self.models.get(name).codec.unit for domain, name in self.models.domains().items()}
        return [domain for domain in self.fields if units[domain] == model.codec.unit]
