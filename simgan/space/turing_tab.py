"""The tab Can you tell?: the paper's visual Turing test (section 3.1); the truth stays here until a visitor answers."""

import math
import operator
import random
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from simgan.errors import ModelError, SimGANError
from simgan.hub.cards.records import read_records
from simgan.hub.loading import SHIPPED
from simgan.images.arrays import Array, equalize_images
from simgan.simulators import SIMULATORS, Simulator
from simgan.space.accelerator import compute
from simgan.space.events import HERE, MODEL, MODEL_QUEUE, TEXTS, show_errors
from simgan.space.models import Model, Models
from simgan.space.notes import resize
from simgan.space.refine_tab import PICTURE
from simgan.space.samples import simulator_of

COUNT = 10  # images of a round
PAPER = (517, 1000)  # right answers of ten people in the paper, about refined images
PAPER_RAW = (162, 200)  # and about raw synthetic ones
REAL, REFINED = "real", "refined"
# A button that is gone loses the focus of who uses the keyboard: the next one gets it.
FOCUS = """() => setTimeout(() => {
    const next = [...document.querySelectorAll("#tell-real, #tell-start")].find((button) => button.offsetParent);
    if (document.activeElement === document.body) next?.focus({ preventScroll: true });
}, 200)"""


@dataclass(frozen=True)
class Round:
    """A visitor's round: stored images, which of them are real, and the answers given so far."""

    images: list[Array]
    real: list[bool]
    answers: tuple[bool, ...] = ()


def p_value(right: int, count: int) -> float:
    """Return the probability of at least so many right answers by guessing: exact, one-sided, as the paper's 0.148."""
    return sum(math.comb(count, k) for k in range(right, count + 1)) / 2**count


def draw(model: Model, renders: Simulator, real: Simulator | list[Array], count: int, dice: random.Random) -> Round:
    """Return a round of refined renders and of real images; simulators get a seed that training did not use."""
    is_real = [dice.random() < 0.5 for _ in range(count)]
    number = sum(is_real)
    if isinstance(real, Simulator):
        shown = list(real.render(range(number), seed=dice.randrange(1, 2**31))[0])
    else:
        shown = dice.sample(real, number) if number <= len(real) else dice.choices(real, k=number)
    refined = compute(_refine, model, list(renders.render(range(count - number), seed=dice.randrange(1, 2**31))[0]))
    return Round([shown.pop() if answer else refined.pop() for answer in is_real], is_real)


def _refine(model: Model, images: list[Array]) -> list[Array]:
    refined: list[Array] = model.refiner.refine(images)
    return refined


def find_images(models: Models, folder: Path | None = None) -> tuple[Model, Simulator, Simulator | list[Array]]:
    """Return a shipped model, the simulator of its synthetic images, and real ones: of a folder, or else a simulator's.

    Images of the folder get the size and channels of the model's, and are equalized if its training images were.
    """
    for name in models.shipped:
        model, sources = models.get(name), read_records(SHIPPED / name).settings
        renders, camera = (next(map(SIMULATORS.get, sources.get(side, ())), None) for side in ("synthetic", "real"))
        renders = renders or simulator_of(model.domain.name)
        if renders and folder:
            from simgan.data.loader import Crops  # needs `datasets`, for those who start the page with a folder
            from simgan.data.sources import load

            channels = model.refiner.codec.channels
            crops = Crops(load(f"folder:{folder}", size=model.domain.size, channels=channels), channels=channels)[:]
            return model, renders, list(equalize_images(crops) if model.refiner.config.equalize else crops)
        if renders and camera:
            return model, renders, camera
    raise ModelError("no shipped model has a simulator")


def add(models: Models, folder: Path | None = None) -> None:
    """Build the tab inside the current `gr.Tab`; `folder` has real images, to be shown instead of rendered ones."""
    model, renders, real = find_images(models, folder)

    @show_errors
    def start() -> list[Any]:
        """Draw a new round and show its first image."""
        with MODEL:
            return _show(draw(model, renders, real, COUNT, random.Random()), model)

    @show_errors
    def answer(choice: str, state: Round | None) -> list[Any]:
        """Take an answer, "real" or "refined", about the image that is shown; say what it was, and show the next."""
        if state is None or len(state.answers) == len(state.images):
            raise SimGANError("There is no image to answer: press Start")
        return _show(replace(state, answers=(*state.answers, choice == REAL)), model)

    state = gr.State(None, time_to_live=3600)
    with gr.Column(elem_id="tell"):
        gr.Markdown(TEXTS.turing(COUNT, model, folder, PAPER))
        look = PICTURE | {"buttons": [], "show_label": False, "alt_text": "An image, real or refined", "visible": False}
        image = gr.Image(elem_id="tell-image", **look)
        with gr.Row():
            is_real = gr.Button("Real (R)", visible=False, min_width=120, elem_id="tell-real")
            is_refined = gr.Button("Refined (S)", visible=False, min_width=120, elem_id="tell-refined")
        note_text = gr.Markdown(elem_id="tell-note")
        with gr.Row(visible=False) as sharing:
            text = gr.Textbox(label="Your score, to send to others", elem_id="tell-text", min_width=300)
            share = gr.Button("Share", elem_id="tell-share", min_width=120, scale=0)
            shared = gr.Markdown(elem_id="tell-shared", min_height=24)
        begin = gr.Button("Start", variant="primary", elem_id="tell-start")
        grid: dict[str, Any] = PICTURE | {"buttons": [], "columns": 5, "height": "auto", "object_fit": "contain"}
        seen = gr.Gallery(
            label="What you saw: ✓ you were right, ✗ you were wrong", visible=False, elem_id="tell-seen", **grid
        )
        gr.Markdown(TEXTS.turing_more(model, folder))
    outputs = [state, image, note_text, is_real, is_refined, begin, seen, sharing, text, shared]
    after: dict[str, Any] = {"fn": None, "js": FOCUS, "api_visibility": "private"}
    begin.click(start, None, outputs, api_name="start_turing_test", **MODEL_QUEUE).then(**after)
    for button, choice in ((is_real, REAL), (is_refined, REFINED)):
        said = button.click(
            partial(answer, choice), state, outputs, api_name=f"answer_{choice}", show_progress="hidden"
        )
        said.then(**after)
    share.click(None, text, shared, js=(HERE / "share.js").read_text(encoding="utf-8"), api_visibility="private")


def _show(state: Round, model: Model) -> list[Any]:
    """Return what the page shows of a round: the last answer, and the next image or the result."""
    codec, images = model.refiner.codec, model.domain.words.images
    count, done = len(state.images), len(state.answers)
    right, over = sum(map(operator.eq, state.answers, state.real)), done == count
    names = [REAL if real else REFINED for real in state.real]
    pictures = [resize(codec.show(image)[0], interpolate=False) for image in state.images[: done + 1]]
    verdict = "Right" if done and state.answers[-1] == state.real[done - 1] else "Wrong"
    note, text = TEXTS.turing_note(done + 1, count, verdict, names[done - 1], right), ""
    if over:
        text = TEXTS.turing_score(right, count, images, PAPER)
        rows = {"you": (right, count), "ten people in the paper": PAPER, "the same, unrefined images": PAPER_RAW}
        needed = next(number for number in range(count + 1) if p_value(number, count) < 0.05)
        scores = [(who, *score, p_value(*score)) for who, score in rows.items()]
        note += f"\n\n{TEXTS.turing_result(right, count, scores, needed)}"
    image = gr.Image(None if over else pictures[done], visible=not over)
    buttons = [gr.Button(visible=not over)] * 2 + [gr.Button("Play again", visible=over)]
    marks = ["✓" if said == real else "✗" for said, real in zip(state.answers, state.real, strict=False)]
    seen = [(picture, f"{mark} {name}") for picture, name, mark in zip(pictures, names, marks, strict=False)]
    gallery = gr.Gallery(seen if over else None, visible=over)
    return [state, image, note, *buttons, gallery, gr.Row(visible=over), text, ""]
