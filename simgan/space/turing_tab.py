"""The tab Can you tell?: the paper's visual Turing test (section 3.1), real and refined images in random order.

Each image is real or refined by the toss of a coin, so that guessing is right half the time, whatever one remembers.
What it was stays on the server until the visitor has answered.
"""

import math
import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from simgan.errors import SimGANError
from simgan.images.arrays import Array, equalize
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.space.events import MODEL_QUEUE, show_errors
from simgan.space.models import Models

COUNT = 20  # images of a round
ENLARGED = 8
PAPER = (517, 1000)  # right answers of ten people in the paper, about refined images
PAPER_RAW = (162, 200)  # and about raw synthetic ones
REAL, REFINED = "real", "refined"


@dataclass
class Round:
    """A visitor's round: images uint8 (H, W), which of them are real, and the answers given so far."""

    images: list[Array]
    real: list[bool]
    answers: list[bool] = field(default_factory=list)

    @property
    def right(self) -> int:
        """How many answers were right."""
        return sum(answer == truth for answer, truth in zip(self.answers, self.real, strict=False))

    @property
    def over(self) -> bool:
        """Whether every image was answered."""
        return len(self.answers) == len(self.images)


def p_value(right: int, count: int) -> float:
    """Probability of at least so many right answers by guessing: one-sided, exact, as the paper's 0.148."""
    return sum(math.comb(count, k) for k in range(right, count + 1)) / 2**count


def draw(refiner: Any, photographs: list[Array] | None, count: int, dice: random.Random) -> Round:
    """Draw a round: real images from `photographs`, or of `camera:eyes`, and refined renders of `simulator:eyes`.

    Both worlds are drawn with a seed that training did not use, so that nobody in them is known to the refiner.
    """
    real = [dice.random() < 0.5 for _ in range(count)]
    if photographs is not None and sum(real) <= len(photographs):
        shown = dice.sample(photographs, sum(real))
    elif photographs is not None:
        shown = dice.choices(photographs, k=sum(real))
    else:
        shown = list(camera.render(range(sum(real)), seed=dice.randrange(1, 2**31))[0])
    refined = refiner.refine(list(eyes.render(range(count - sum(real)), seed=dice.randrange(1, 2**31))[0]))
    images = [shown.pop() if is_real else refined.pop() for is_real in real]
    return Round(images, real)


def read_photographs(folder: Path, *, equalized: bool) -> list[Array]:
    """Give the images below a folder as grey crops of 55×35, equalized where the refined ones are."""
    from simgan.data import Crops, load

    crops = Crops(load(f"folder:{folder}"))[:]
    return [equalize(crop) if equalized else crop for crop in crops]


def add(models: Models, real: Path | None = None) -> None:
    """Build the tab inside the current `gr.Tab`; `real` is a folder of real crops to show instead of the look-alike."""
    model = models.get("eyes-simulated" if real is None else "eyes")
    photographs = None if real is None else read_photographs(real, equalized=model.refiner.config.equalize)

    @show_errors
    def start() -> list[Any]:
        """Draw a new round and show its first image."""
        # `random.Random()` takes its seed from the system: nobody else draws the same.
        return _show(draw(model.refiner, photographs, COUNT, random.Random()), "")

    @show_errors
    def answer(choice: str, state: Round | None) -> list[Any]:
        """Take an answer, "real" or "refined", about the image that is shown; tell the truth, and show the next."""
        if state is None or state.over:
            raise SimGANError("There is no image to answer: press Start")
        state = Round(state.images, state.real, [*state.answers, choice == REAL])
        truth = state.real[len(state.answers) - 1]
        verdict = "Right" if state.answers[-1] == truth else "Wrong"
        return _show(state, f"**{verdict}**: it was {REAL if truth else REFINED}. ")

    gr.Markdown(_about(real))
    state = gr.State(None, time_to_live=3600)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            begin = gr.Button("Start", variant="primary", elem_id="tell-start")
            with gr.Row():
                is_real = gr.Button("Real · R", interactive=False, min_width=120, elem_id="tell-real")
                is_refined = gr.Button("Refined · S", interactive=False, min_width=120, elem_id="tell-refined")
            told_so_far = gr.Markdown("Press Start for the first image.", elem_id="tell-note")
        with gr.Column(scale=3, min_width=300):
            image = gr.Image(
                label="Real or refined?",
                format="png",
                interactive=False,
                buttons=[],
                elem_id="tell-image",
                alt_text="An eye, real or refined",
            )
    seen = gr.Gallery(
        label="What you saw",
        format="png",
        columns=5,
        height="auto",
        object_fit="contain",
        interactive=False,
        buttons=[],
        visible=False,
        elem_id="tell-seen",
    )
    outputs = [state, image, told_so_far, is_real, is_refined, seen]
    begin.click(start, None, outputs, api_name="start_turing_test", **MODEL_QUEUE)
    for button, choice in ((is_real, REAL), (is_refined, REFINED)):
        button.click(
            partial(answer, choice),
            state,
            outputs,
            api_name=f"answer_{choice}",
            show_progress="hidden",
        )


def _about(real: Path | None) -> str:
    if real is None:
        worlds = (
            "**Real** are images of `camera:eyes`, simgan's own look-alike of a webcam's crops (so drawn too, by "
            "another program); **refined** are renders of `simulator:eyes` by the refiner `eyes-simulated`, which "
            "learned from that very camera. To put photographs in its place, start the page yourself: "
            "`python app.py --real DIR`."
        )
    else:
        worlds = (
            "**Real** are the photographs that this page was started with; **refined** are renders of "
            "`simulator:eyes` by the refiner `eyes`, which learned from MPIIGaze."
        )
    return (
        f"The paper's visual Turing test: {COUNT} eyes one by one, each real or refined by the toss of a coin. "
        f"Can you tell?\n\n{worlds}"
    )


def _show(state: Round, verdict: str) -> list[Any]:
    """Give what the page shows of a round: the image to answer next, or the end."""
    done, count = len(state.answers), len(state.images)
    score = f"{state.right} of {done} right so far." if done else ""
    if state.over:
        note, image = f"{verdict}\n\n{_result(state)}", gr.Image(None, visible=False)
    else:
        note = f"{verdict}{score}\n\nImage {done + 1} of {count}: real or refined? Press a button, or the key on it."
        image = gr.Image(enlarge(state.images[done]), visible=True)
    buttons = [gr.Button(interactive=not state.over)] * 2
    seen = [
        (enlarge(picture), f"{REAL if truth else REFINED}, you said {REAL if said else REFINED}")
        for picture, truth, said in zip(state.images, state.real, state.answers, strict=False)
    ]
    return [state, image, note, *buttons, gr.Gallery(seen if state.over else None, visible=state.over)]


def _result(state: Round) -> str:
    right, count = state.right, len(state.images)
    p = p_value(right, count)
    meaning = (
        "Guessing seldom does so well: **you can tell**."
        if p < 0.05
        else "Guessing does as well often enough: **nothing shows that you can tell**."
    )
    rows = [("you", right, count), ("ten people in the paper, refined images", *PAPER)]
    rows.append(("ten people in the paper, raw synthetic images", *PAPER_RAW))
    lines = [f"| {who} | {a} of {n:,} ({a / n:.1%}) | {_as_text(p_value(a, n))} |" for who, a, n in rows]
    table = "\n".join(["| who | right | p |", "|---|---|---|", *lines])
    return (
        f"## {right} of {count} right\n\n{meaning}\n\n{table}\n\n"
        "p is the probability of at least so many right answers by guessing (exact binomial, one-sided). "
        f"{count} images tell little: only {_needed(count)} or more right are unlikely by chance (p < 0.05)."
    )


def _needed(count: int) -> int:
    return next(right for right in range(count + 1) if p_value(right, count) < 0.05)


def _as_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def enlarge(image: Array) -> Array:
    """Show pixels as they are, each as a square."""
    return np.asarray(cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_NEAREST))
