"""The tab Batch: a ZIP of images with their labels in, the same ZIP with refined images out; names and labels stay."""

import html
import shutil
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from simgan.errors import SimGANError, SourceError, Stopped
from simgan.refining.files import Refined, refine_path
from simgan.space import archives
from simgan.space.decoding import check_archive, read_bytes
from simgan.space.events import show_errors
from simgan.space.models import Model, Models, check_image
from simgan.space.refine_tab import model_choice

SECONDS = 300.0  # of work on one archive
WORK = 3 * 10**13  # multiplications of one archive: about that long on two cores
# One archive at a time, beside the queue of single images, which need not wait for it. The work of one that was
# cancelled goes on to the next piece, and the next archive waits for it in the thread's own queue.
QUEUE: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 1}
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="batch")
SHOWN = 10  # names of files that were left out
ABOUT = f"""
Send a **ZIP** of images with their labels, or some files. You get a ZIP back in which the images are refined;
labels, folders and file names are untouched, byte for byte. A ZIP may have {archives.FILES:,} files: pack them where
there are hundreds. At most {archives.UNPACKED // 2**20} MB unpacked,
{SECONDS / 60:.0f} minutes of work. Results are deleted after a while.
"""

Upload = tuple[str, str]  # path of a file, and the visitor's name of it


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def refine(
        files: Sequence[Upload] | None, model: str, strength: float, copy: str
    ) -> Iterator[tuple[str, str | None]]:
        """Refine all images of a ZIP, or of several files: the progress, and at last the ZIP of all of them."""
        place = Path(tempfile.mkdtemp(prefix="simgan-batch-"))
        work: _Work | None = None
        try:
            archive = _archive(files or [], place)
            yield _bar("Reading", 0, 0), None
            network = models.get(model)
            _check_work(network, archive)
            work = _Work(network, archive, strength, (copy or "")[:200].split())
            for done in work.updates():
                if isinstance(done, Refined):
                    yield _summary(done), str(work.result)
                else:
                    yield _bar("Refining", *done), None
        finally:  # also where a visitor stops it, or leaves
            _end(work, place)

    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(ABOUT)
            files = gr.File(label="A ZIP, or images and their labels", file_count="multiple", elem_id="batch-files")
            files.preprocess = _uploads  # type: ignore[method-assign,assignment]
            model = model_choice(models)
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="0 gives the input back, 1 is refined.")
            copy = gr.Textbox(
                label="Images that are labels",
                info="Patterns of their names, with spaces between. They are copied as they are.",
                placeholder="masks/* *_mask.png",
                max_length=200,
            )
        with gr.Column(scale=3, min_width=300):
            with gr.Row():
                start = gr.Button("Refine all", variant="primary", elem_id="batch-start")
                stop = gr.Button("Stop", elem_id="batch-stop")
            progress = gr.HTML(elem_id="batch-progress", min_height=60)
            result = gr.File(label="Refined ZIP", interactive=False, elem_id="batch-result")
    running = start.click(
        refine, [files, model, strength, copy], [progress, result], api_name="batch", show_progress="minimal", **QUEUE
    )
    stopped = "Stopped. Nothing of it was kept."
    stop.click(lambda: stopped, None, progress, cancels=[running], api_name="stop_batch", queue=False)


def _uploads(payload: Any) -> list[Upload]:
    """Return files with the visitor's own names; `gr.File` changes names, and leaves an empty file for each."""
    return [(file.path, PurePath(file.orig_name or file.path).name) for file in payload or []]


def _archive(files: Sequence[Upload], place: Path) -> Path:
    """Return the ZIP that was sent, or one made of the files, in the folder `place` with the visitor's name."""
    archives.check_count(len(files))
    if not files:
        raise SourceError("there is no file yet: choose a ZIP, or images and their labels")
    is_archive = len(files) == 1 and files[0][1].lower().endswith(".zip")
    name = files[0][1] if is_archive else "images.zip"
    archives.check_name(name, "the upload")
    archive = place / name
    if is_archive:
        archive.symlink_to(files[0][0])
        return archive
    twice = [name for name, count in Counter(name for _, name in files).items() if count > 1]
    if twice:
        raise SourceError(f"more than one of the files is called {twice[0]}: send a ZIP of folders")
    archives.check_size(sum(Path(path).stat().st_size for path, _ in files), name)
    with zipfile.ZipFile(archive, "w") as packed:
        for path, name in files:
            packed.write(path, name)
    return archive


def _check_work(model: Model, archive: Path) -> None:
    """Raise an error where an archive is refused, or needs too much time or memory; only headers are read."""
    pixels = check_archive(archive.resolve(), archive.name).values()
    model.check_memory(max(pixels))
    weights = model.refiner.number_of_parameters
    if weights * sum(pixels) > WORK:
        raise SourceError(
            f"{archive.name} has {sum(pixels) / 1e6:,.0f} million pixels, and {model.name} refines "
            f"{WORK / weights / 1e6:,.0f} million at once here: send it in parts, or use the command `simgan refine`"
        )


class _Work:
    """Refining an archive in the one thread that does it."""

    def __init__(self, model: Model, archive: Path, strength: float, copy: Sequence[str]) -> None:
        self.archive = archive
        self.result = archive.with_name(f"{archive.stem} refined.zip")
        self.stopped = threading.Event()
        self.progress = 0, 0
        self.future = _THREAD.submit(self._refine, model, strength, copy)

    def updates(self) -> Iterator[tuple[int, int] | Refined]:
        """Yield (images done, of how many) every half second, at last what was done; `SourceError` if it failed."""
        while wait([self.future], timeout=0.5).not_done:
            yield self.progress
        yield self.progress
        try:
            done = self.future.result()
        except SimGANError as error:
            raise SourceError(self._without_folder(str(error))) from error
        done.broken = [self._without_folder(line) for line in done.broken]
        if not done.images:  # all are broken, or of another kind than the model takes
            raise SourceError(done.broken[0])
        yield done

    def _without_folder(self, text: str) -> str:
        return text.replace(f"{self.archive.parent}/", "")

    def _refine(self, model: Model, strength: float, copy: Sequence[str]) -> Refined:
        end = time.monotonic() + SECONDS
        try:
            return refine_path(
                model.refiner,
                self.archive,
                self.result,
                strength=strength,
                skip_bad=True,
                copy=copy,
                check=check_image,
                read_image=read_bytes,
                progress=self._note_progress,
                should_stop=lambda: self.stopped.is_set() or time.monotonic() > end,
            )
        except Stopped as error:
            text = f"{self.archive.name} takes longer than {SECONDS:.0f} seconds, which is the limit: send it in parts"
            raise SourceError(text) from error

    def _note_progress(self, done: int, total: int) -> None:
        self.progress = done, total


def _end(work: _Work | None, place: Path) -> None:
    """Stop the work and delete its folder once it has ended; return at once, as this may run in the event loop."""
    if work is None:
        shutil.rmtree(place, ignore_errors=True)
    else:
        work.stopped.set()
        work.future.cancel()  # if it has not begun
        work.future.add_done_callback(lambda _: shutil.rmtree(place, ignore_errors=True))


def _bar(what: str, done: int, total: int) -> str:
    value = f'value="{done}" max="{total}"' if total else ""
    return f"<label>{what}{f' {done:,} of {total:,} images' if total else ''} <progress {value}></progress></label>"


def _summary(done: Refined) -> str:
    copied = f", {done.copied:,} other files copied as they are" if done.copied else ""
    text = f"<p><strong>{done.images:,} images refined</strong>{copied}.</p>"
    if done.broken:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in done.broken[:SHOWN])
        more = f"<p>… and {len(done.broken) - SHOWN:,} more</p>" if len(done.broken) > SHOWN else ""
        text += f"<p>{len(done.broken):,} left out:</p><ul>{lines}</ul>{more}"
    return text
