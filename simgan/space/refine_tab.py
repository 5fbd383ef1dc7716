"""The tab Refine: images in; before and after side by side, and the refined files in the format of the input."""

import io
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from simgan.errors import ImageError
from simgan.hub.cards.records import read_records
from simgan.hub.loading import SHIPPED
from simgan.space.events import MODEL_QUEUE, TEXTS, show_errors
from simgan.space.failures import in_place
from simgan.space.models import Model, Models
from simgan.space.notes import closeup, compare, describe, draw_labels, unlike
from simgan.space.refined import Refined, compare_all, refine_uploads
from simgan.space.samples import Upload, examples, image_fields, labels_of, strength_field

NONE_YET = "Upload an image, paste one, or pick an example."
PICTURE: dict[str, Any] = {"format": "png", "interactive": False, "buttons": ["fullscreen"]}
PAIRS = 3  # of each shipped model on the wall
STRENGTHS = (0.25, 0.5, 0.75, 1.0)  # at which models are compared
TO_RESULT = "() => document.querySelector('#comparison')?.scrollIntoView({ block: 'nearest' })"


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""
    wall, chosen = _wall(models)

    def refine(images: Upload, model: str, strength: float) -> list[Any]:
        """Refine images; show what was sent last, and list all of them and what could not be refined."""
        if not images:
            return _tell(NONE_YET)
        network, paths = models.get(model), [path for path, _ in images]
        sent = refine_uploads(network, paths, strength)
        if not sent.refined:
            return _tell(*sent.failed.values(), failed=sent.failed, remedy=len(paths) > 1)
        shown = _show(network, paths, sent.last, strength, [*sent.failed.values()])
        return [*shown, *_list(sent.refined, sent.failed)]

    def refine_for_code(images: Upload, model: str, strength: float) -> list[Any]:
        """Refine images: the last one before and after, the difference, a note, all refined files, and warnings."""
        if not images:
            return [None, None, NONE_YET, None, ""]
        network, paths = models.get(model), [path for path, _ in images]
        sent = refine_uploads(network, paths, strength)
        if sent.failed:
            raise ImageError("; ".join(sent.failed.values()))
        comparison, difference, note, above, *_ = _values(_show(network, paths, sent.last, strength))
        return [comparison, difference, note, _values(_list(sent.refined))[0], above]

    def show(
        places: list[int], failed: dict[int, str], images: Upload, model: str, strength: float, event: gr.SelectData
    ) -> list[Any]:
        """Show another one of several results."""
        network, paths = models.get(model), [path for path, _ in images or []]
        upload = places[event.index]
        sent = refine_uploads(network, paths, strength, only=upload)
        image = sent.refined[event.index - places.index(upload)]
        return _show(network, paths, image, strength, [*failed.values()])

    def choose(event: gr.SelectData) -> list[Any]:
        """Put a pair of the wall into the fields."""
        model, path = chosen[event.index]
        return [[path], model.name, time.time_ns()]

    def leave_out(images: Upload, failed: dict[int, str]) -> Any:
        """Keep the images that can be refined."""
        return [image for number, image in enumerate(images or []) if number not in failed]

    def compare_models(images: Upload, model: str) -> Any:
        """Show what each model of this kind of image makes of the first image, at several strengths."""
        network = models.get(model)
        alike = [one for one in map(models.get, models.shipped) if one.domain is network.domain]
        found = compare_all(list({one.name: one for one in (network, *alike)}.values()), _first(images), STRENGTHS)
        return gr.Gallery(found, visible=True)

    network, path = chosen[0]
    # Compiles the kernels of the examples' sizes, so that no visitor waits for them.
    opened = refine_uploads(network, [path], 1.0).refined
    opening = _values([*_show(network, [path], opened[0], 1.0), *_list(opened)])
    with gr.Row(elem_id="refine-row"):
        with gr.Column(scale=3, min_width=300, elem_id="refine-result"):
            above = gr.Markdown(opening[3], elem_id="refine-above", visible=False)
            leave = gr.Button("Leave it out", visible=False, elem_id="refine-leave", size="sm")
            comparison = gr.ImageSlider(opening[0], label="Before · after", elem_id="comparison", **PICTURE)
            note = gr.Markdown(opening[2], elem_id="refine-note")
            look: dict[str, Any] = {
                "columns": 3,
                "object_fit": "contain",
                "allow_preview": False,
                "buttons": [],
                "elem_classes": "pairs",
            }
            results = gr.Gallery(label="All results: choose one", visible=False, elem_id="refine-results", **look)
            with gr.Row(elem_id="refine-details"):
                alt = "The labels of the image, drawn over it before and after refining: they fit both"
                label = "The same labels over both"
                labels = gr.Image(opening[4], label=label, alt_text=alt, elem_id="refine-labels", **PICTURE)
                label, alt = "Close-up, before and after", "The place that changed most, enlarged, before and after"
                close = gr.Image(label=label, alt_text=alt, visible=False, elem_id="refine-closeup", **PICTURE)
                label = "Difference (grey: unchanged)"
                alt = "What refining changed: grey where nothing did, lighter or darker where it did"
                difference = gr.Image(opening[1], label=label, alt_text=alt, min_width=240, **PICTURE)
            why = gr.Markdown(opening[6], elem_id="refine-why")
            label = "Download, in the format that came in"
            box: dict[str, Any] = {"height": 240, "min_width": 240, "interactive": False}
            files = gr.File(opening[8], label=label, elem_id="refine-download", file_count="multiple", **box)
            whole = gr.DownloadButton("Download all as a ZIP", visible=False, elem_id="refine-zip", size="sm")
            with gr.Accordion("The same in Python", open=False):
                code = gr.Markdown(opening[7], elem_id="refine-code")
            with gr.Accordion("All models and strengths", open=False):
                every = gr.Button("Compare them on the first image", elem_id="compare-button")
                label = "Each model at each strength"
                compared = gr.Gallery(label=label, visible=False, elem_id="compared", **look | {"columns": 4})
        with gr.Column(scale=2, min_width=300, elem_id="refine-settings"):
            label = "Rendered and refined: choose a pair"
            pairs = gr.Gallery(wall, label=label, format="png", elem_id="wall", **look)
            title = "Your images"
            images, model, moment = image_fields(models, "refine", "refine", title, path, listed=False)
            strength = strength_field()
            button = gr.Button("Refine", variant="primary", elem_id="refine-button")
            gr.Markdown(TEXTS.refine(list(models.domains().values())))
            by_code = gr.Button(visible=False)
    places, failed = gr.State([0]), gr.State({})
    inputs, one = [images, model, strength], [comparison, difference, note, above, labels, close, why, code]
    outputs: list[Any] = [*one, files, results, whole, leave, places, failed]
    waiting: dict[str, Any] = MODEL_QUEUE | {"show_progress_on": comparison}
    hidden: dict[str, Any] = {"api_visibility": "private"}
    latest = waiting | hidden | {"trigger_mode": "always_last"}
    triggers = [button.click, images.change, moment.change, strength.input]
    gr.on(triggers, in_place(refine, _tell), inputs, outputs, api_name="refine_shown", **latest)
    public = [comparison, difference, note, files, above]
    by_code.click(show_errors(refine_for_code), inputs, public, api_name="refine", **MODEL_QUEUE)
    results.select(
        in_place(show, lambda text: _tell(text)[: len(one)]), [places, failed, *inputs], one, **waiting, **hidden
    )
    chose = pairs.select(choose, None, [images, model, moment], show_progress="hidden", **hidden)
    chose.then(None, js=TO_RESULT)
    leave.click(leave_out, [images, failed], images, show_progress="hidden", **hidden)
    every.click(show_errors(compare_models), [images, model], compared, api_name="compare", **MODEL_QUEUE)


def _wall(models: Models) -> tuple[list[Any], list[tuple[Model, str]]]:
    """Return pairs of examples before and after, with captions, and the model and the example of each of them."""
    pictures, chosen, used = [], [], dict.fromkeys(models.domains(), 0)
    for model in map(models.get, models.shipped):
        known = examples(model.domain.name)
        first = used[model.domain.name] % max(1, len(known))
        used[model.domain.name] += PAIRS
        paths = list(known[first : first + PAIRS])
        for path, image in zip(paths, refine_uploads(model, paths, 1.0).refined if paths else (), strict=True):
            pictures.append((image.picture, f"{model.name} · {image.name.rpartition('.')[0]}"))
            chosen.append((model, path))
    return pictures, chosen


def _first(images: Upload) -> str:
    if not images:
        raise ImageError(NONE_YET)
    return images[0][0]


def _show(model: Model, paths: Sequence[str], image: Refined, strength: float, failed: Sequence[str] = ()) -> list[Any]:
    """Return what is shown of a result: comparison, difference, note, warnings, labels, close-up, gain, code."""
    codec, is_photograph = model.refiner.codec, not image.source
    first, second, difference = compare(codec, image.before, image.after)
    known = labels_of(model.domain.name, paths[image.upload])
    labels = draw_labels(model, image.before, image.after, known) if known else None
    close = None if is_photograph else closeup(codec, image.before, image.after)
    above = TEXTS.above(failed, [*image.done, *([] if is_photograph else unlike(model, image.before))])
    return [
        gr.update(value=(first, second), visible=True),
        gr.update(value=difference, visible=True),
        describe(model, image.before, strength, image.seconds),
        gr.update(value=above, visible=bool(above.strip())),
        gr.update(value=labels, visible=labels is not None),
        gr.update(value=close, visible=close is not None),
        "\n\n".join(part for part in (TEXTS.legend(model).strip(), _gain(model)) if part),
        TEXTS.snippet(model, image.source, strength, image.done) if image.source else TEXTS.snippet_of_crops(),
    ]


def _list(refined: Sequence[Refined], failed: Mapping[int, str] | None = None) -> list[Any]:
    """Return what the page has beside the shown result.

    These are the files, the gallery, the ZIP, the button "Leave it out", the upload of each result, and what failed.
    """
    contents = [file for image in refined for file in image.files]
    files = [save_bytes_to_cache(data, name, get_upload_folder()) for name, data in contents]
    return [
        gr.update(value=files, visible=True),
        gr.update(value=[(image.picture, image.name) for image in refined], visible=len(refined) > 1),
        _zip(contents) if len(contents) > 1 else gr.update(visible=False),
        gr.update(visible=bool(failed)),
        [image.upload for image in refined],
        dict(failed or {}),
    ]


def _values(updates: list[Any]) -> list[Any]:
    return [one.get("value") if isinstance(one, dict) else one for one in updates]


def _zip(contents: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """Return a ZIP of files, in which those of one name get numbers: all pastes are named alike."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in contents:
            path, number = PurePath(name), 1
            while name in archive.namelist():
                number += 1
                name = f"{path.stem} {number}{path.suffix}"
            archive.writestr(name, data)
    return gr.update(value=save_bytes_to_cache(file.getvalue(), "refined.zip", get_upload_folder()), visible=True)


def _tell(*sentences: str, failed: Mapping[int, str] | None = None, remedy: bool = False) -> list[Any]:
    """Return the sentences in the place of results."""
    nothing: dict[str, Any] = {"visible": False}
    return [
        gr.update(value=None, **nothing),
        gr.update(value=None, **nothing),
        "",
        gr.update(value=TEXTS.above(sentences, []), visible=True),
        gr.update(value=None, **nothing),
        gr.update(value=None, **nothing),
        "",
        "",
        gr.update(value=None, **nothing),
        gr.update(value=None, **nothing),
        gr.update(**nothing),
        gr.update(visible=remedy),
        [],
        dict(failed or {}),
    ]


def _gain(model: Model) -> str:
    """Return what networks that were trained on refined images gained, as the model's records tell; "" without."""
    if not (SHIPPED / model.name).is_dir():
        return ""
    records = read_records(SHIPPED / model.name)
    raw, refined = (records.reached(kind) for kind in ("raw", "refined"))
    return (
        TEXTS.gained(records.words, raw, refined, records.experiment) if raw is not None and refined is not None else ""
    )
