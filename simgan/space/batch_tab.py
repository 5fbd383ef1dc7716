"""The tab Batch: a ZIP of images with their labels in, the same ZIP with refined images out; names and labels stay."""

import shutil
import tempfile
import threading
import time
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from simgan.errors import ImageError, SimGANError, SourceError, Stopped
from simgan.refining.files import refine_path
from simgan.space import archives, uploads
from simgan.space.events import TEXTS
from simgan.space.failures import stay_in_place
from simgan.space.models import Models, check_image
from simgan.space.samples import model_field, strength_field

SECONDS = 300.0  # of work on one archive
WORK = 3 * 10**13  # multiplications of one archive: about that long on two cores
# One archive at a time, beside the queue of single images, which need not wait for it. The work of one that was
# cancelled goes on to the next piece, and the next archive waits for it in the thread's own queue.
QUEUE: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 1}
COPY = "Images that are labels"  # the field for what `simgan refine` takes as --copy
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="batch")

Upload = tuple[str, str]  # path of a file, and the visitor's name of it
Shown = tuple[str, str | None]  # how far it is, as HTML, and the path of the result


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @stay_in_place(None)
    def refine(files: Sequence[Upload] | None, model: str, strength: float, copy: str) -> Iterator[Shown]:
        """Refine all images of a ZIP, or of several files: the progress, and at last the ZIP of all of them."""
        yield from refine_all(models, files or [], model, strength, (copy or "")[:200].split())

    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(TEXTS.batch(uploads.FILES, uploads.UNPACKED // 2**20, int(SECONDS / 60)))
            files = gr.File(label="A ZIP, or images and their labels", file_count="multiple", elem_id="batch-files")
            files.preprocess = _uploads  # type: ignore[method-assign,assignment]
            model = model_field(models)
            strength = strength_field()
            info = "Patterns of their names, with spaces between. They are copied as they are."
            names: dict[str, Any] = {"placeholder": "masks/* *_mask.png", "max_length": 200}
            copy = gr.Textbox(label=COPY, info=info, **names)
        with gr.Column(scale=3, min_width=300):
            with gr.Row():
                start = gr.Button("Refine all", variant="primary", elem_id="batch-start")
                stop = gr.Button("Stop", elem_id="batch-stop")
            progress = gr.HTML(elem_id="batch-progress", min_height=60)
            result = gr.File(label="Refined ZIP", interactive=False, elem_id="batch-result")
    settings = QUEUE | {"api_name": "batch", "show_progress": "minimal"}
    running = start.click(refine, [files, model, strength, copy], [progress, result], **settings)
    stopped = "Stopped. Nothing of it was kept."
    stop.click(lambda: stopped, None, progress, cancels=[running], api_name="stop_batch", queue=False)


def refine_all(
    models: Models, files: Sequence[Upload], model: str, strength: float, copy: Sequence[str]
) -> Iterator[Shown]:
    """Refine the images of files, but for those that `copy` matches; yield what is shown, at last with the result."""
    place = Path(tempfile.mkdtemp(prefix="simgan-batch-"))
    stopped, done = threading.Event(), deque([(0, 0)], maxlen=1)  # images, and how many there are
    try:
        archive = _archive(files, place)
        yield TEXTS.bar("Reading", 0, 0), None
        network = models.get(model)
        ((images, wrong),) = uploads.call(archives.sift, [(archive.resolve(), archive.name)])

        def read(data: bytes, name: str) -> Any:
            if name in wrong:
                raise ImageError(wrong[name])
            return uploads.read_bytes(data, name)

        network.check_work([*images.values()], WORK, "send it in parts, or use the command `simgan refine`")
        end, result = time.monotonic() + SECONDS, place / f"{archive.stem} refined.zip"
        work = _THREAD.submit(
            refine_path,
            network.refiner,
            archive,
            result,
            strength=strength,
            skip_bad=True,
            copy=copy,
            check=check_image,
            read_image=read,
            progress=lambda *counts: done.append(counts),
            should_stop=lambda: stopped.is_set() or time.monotonic() > end,
        )
        try:
            while wait([work], timeout=0.5).not_done:
                yield TEXTS.bar("Refining", *done[0]), None
            yield TEXTS.bar("Refining", *done[0]), None
            refined = work.result()
        finally:
            work.cancel()  # if it has not begun
        if not refined.images:  # all are broken, or of another kind than the model takes
            raise SourceError(refined.broken[0])
        yield TEXTS.summary(refined, shown=10).replace(f"{place}/", ""), str(result)
    except Stopped as error:
        text = f"{archive.name} takes longer than {SECONDS:.0f} seconds, which is the limit: send it in parts"
        raise SourceError(text) from error
    except SimGANError as error:
        told = str(error).replace(f"{place}/", "")
        if "--copy " in told:
            told = f'{told.replace("--copy ", "")}, written into the field "{COPY}"'
        raise SourceError(told) from error
    finally:  # also where a visitor stops it, or leaves; it returns at once, as this may run in the event loop
        stopped.set()
        _THREAD.submit(shutil.rmtree, place, ignore_errors=True)  # once the work has ended


def _uploads(payload: Any) -> list[Upload]:  # with the visitor's own names, which `gr.File` changes
    return [(file.path, PurePath(file.orig_name or file.path).name) for file in payload or []]


def _archive(files: Sequence[Upload], place: Path) -> Path:
    """Return the ZIP that was sent, or one made of the files, in the folder `place` with the visitor's name."""
    if not files:
        raise SourceError("there is no file yet: choose a ZIP, or images and their labels")
    is_archive = len(files) == 1 and files[0][1].lower().endswith(".zip")
    name = files[0][1] if is_archive else "images.zip"
    uploads.check_name(name, "the upload")
    archive = place / name
    if is_archive:
        shutil.copyfile(files[0][0], archive)  # Windows lets few users make links
    else:
        uploads.check_bytes(sum(Path(path).stat().st_size for path, _ in files), uploads.UPLOAD_BYTES, "The upload")
        with zipfile.ZipFile(archive, "w") as packed:
            for path, name in files:
                packed.write(path, name)
    return archive
