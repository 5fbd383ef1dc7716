"""The tab Batch: a ZIP of images with their labels in, the same ZIP with refined images out; names and labels stay."""

import contextlib
import html
import queue
import shutil
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from simgan.errors import SimGANError, SourceError
from simgan.refining.files import Refined, refine_path
from simgan.space import archives, depths
from simgan.space.events import show_errors
from simgan.space.models import Model, Models
from simgan.space.refine_tab import model_choice

SECONDS = 300.0  # of work on one archive
WORK = 3 * 10**13  # multiplications of one archive: about that long on two cores
# One archive at a time, beside the queue of single images, which need not wait for it.
QUEUE: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 1}
SHOWN = 10  # files that are told to be left out
ABOUT = f"""
Send a **ZIP** of images with their labels, or many files at once. You get a ZIP back in which the images are refined;
labels, folders and file names are untouched, byte for byte. At most {archives.FILES:,} files,
{archives.UNPACKED // 2**20} MB unpacked, {SECONDS / 60:.0f} minutes of work. Results are deleted after a while.
"""

Upload = tuple[str, str]  # where a file lies, and what the visitor calls it


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def refine(
        files: Sequence[Upload] | None, model: str, strength: float, copy: str
    ) -> Iterator[tuple[str, str | None]]:
        """Refine all images of a ZIP, or of several files; gives the progress and at last the ZIP of all of them."""
        place = Path(tempfile.mkdtemp(prefix="simgan-batch-"))
        work: _Work | None = None
        try:
            archive = _archive(files or [], place)
            yield _bar("Reading", 0, 0), None
            network = models.get(model)
            _check_work(network, archive)
            work = _Work(network, archive, strength, (copy or "")[:200].split())
            for done in work.news():
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
    """Give files under the visitor's own names; `gr.File` gives changed ones, and leaves an empty file for each."""
    return [(file.path, PurePath(file.orig_name or file.path).name) for file in payload or []]


def _archive(files: Sequence[Upload], place: Path) -> Path:
    """Give the ZIP that was sent, or one made of the files, in `place` under the visitor's name of it."""
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
    """Look at the archive before anything of it is read, and at how long it would take."""
    pixels = sum(archives.check_archive(archive.resolve(), archive.name).values())
    weights = model.refiner.number_of_parameters
    if weights * pixels > WORK:
        raise SourceError(
            f"{archive.name} has {pixels / 1e6:,.0f} million pixels, and {model.name} refines "
            f"{WORK / weights / 1e6:,.0f} million at once here: send it in parts, or use the command `simgan refine`"
        )


class _Work:
    """Refining an archive in a thread of its own, which tells how far it is."""

    def __init__(self, model: Model, archive: Path, strength: float, copy: Sequence[str]) -> None:
        self.archive = archive
        self.result = archive.with_name(f"{archive.stem} refined.zip")
        self.stopped = threading.Event()
        self._told: queue.Queue[tuple[int, int] | Refined | SimGANError] = queue.Queue()
        self._end = time.monotonic() + SECONDS
        self.thread = threading.Thread(target=self._run, args=(model, strength, copy), name="batch")
        self.thread.start()

    def news(self) -> Iterator[tuple[int, int] | Refined]:
        """Give (images done, of how many) at least every half second, then what was done; raises what went wrong."""
        news: tuple[int, int] | Refined | SimGANError = (0, 0)
        while not isinstance(news, Refined):
            with contextlib.suppress(queue.Empty):
                news = self._told.get(timeout=0.5)
            if isinstance(news, SimGANError):
                raise SourceError(self._for_visitors(str(news)))
            if isinstance(news, Refined):
                news.broken = [self._for_visitors(line) for line in news.broken]
            yield news

    def _for_visitors(self, text: str) -> str:
        """Leave out where the archive lies here."""
        return text.replace(f"{self.archive.parent}/", "")

    def _run(self, model: Model, strength: float, copy: Sequence[str]) -> None:
        told: Refined | SimGANError = SourceError(
            f"{self.archive.name} could not be refined, which is no fault of yours"
        )
        try:
            told = refine_path(
                model.refiner,
                self.archive,
                self.result,
                strength=strength,
                skip_bad=True,
                copy=copy,
                check=depths.check_kind,
                progress=self._progress,
            )
            if not told.images:  # all are of another kind than the model takes, or broken
                told = SourceError(told.broken[0])
        except SimGANError as error:
            told = error
        finally:  # anything else is told like that, and goes into the log
            self._told.put(told)

    def _progress(self, done: int, total: int) -> None:
        if self.stopped.is_set():
            raise SourceError("stopped")
        if time.monotonic() > self._end:
            raise SourceError(f"{done} of {total} images took {SECONDS:.0f} seconds, which is the limit: send fewer")
        self._told.put((done, total))


def _end(work: _Work | None, place: Path) -> None:
    """Stop the work and delete its folder, without waiting: Gradio calls this where it answers all visitors."""

    def clean() -> None:
        if work is not None:
            work.thread.join()
        shutil.rmtree(place, ignore_errors=True)

    if work is not None:
        work.stopped.set()
    threading.Thread(target=clean).start()


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
