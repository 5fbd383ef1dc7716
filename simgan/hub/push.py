"""A trained model on the Hub, in one commit: both networks, the card, samples, figures and records."""

import json
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from huggingface_hub import get_session
from huggingface_hub.utils import disable_progress_bars

from simgan.errors import ModelError, PublishError, hide
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import CURVES, render_model_card
from simgan.hub.cards.records import Records, read_records
from simgan.hub.loading import CONFIG, ONNX, WEIGHTS, local_folder
from simgan.hub.uploading import CARD, Pushed, upload, warn_of_refusal

NETWORKS = tuple(f"{folder}{file}" for folder in ("", "discriminator/") for file in (CONFIG, WEIGHTS))
OWNED = ("samples/", "figures/", ONNX)
SHEETS = 24  # sample sheets that are pushed, evenly spread over the steps
PATIENCE = 600  # seconds that the end of a run waits for its last push
SILENCE = 60  # seconds after which a request that the Hub does not answer has failed


def push_model(
    source: str | Path,
    repo_id: str,
    *,
    card: bool = True,
    commit_message: str | None = None,
    files: Mapping[str, bytes] = MappingProxyType({}),
    **options: Any,
) -> Pushed:
    """Push a run, the folder of a model, or a shipped model, with `options` of `simgan.hub.uploading.upload`.

    A second push of the same sends nothing. `card`: with its card. `files`: more of them, by name. `ModelError` where
    `source` holds no refiner.
    """
    found = local_folder(str(Path(source).expanduser()))
    if found is None:
        raise ModelError(f"{source} is no folder here and no shipped model: give the folder of a run")
    records = read_records(found)
    with TemporaryDirectory() as folder:
        try:
            gather(records, Path(folder), repo_id)
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            if not card:
                (Path(folder) / CARD).unlink()
        except OSError as error:
            raise PublishError(f"{source} cannot be copied for the push: {error}") from error
        step = f" of step {records.step}" if records.step is not None else ""
        return upload(Path(folder), repo_id, message=commit_message or f"Refiner{step}", owned=OWNED, **options)


def gather(records: Records, target: Path, repo_id: str) -> None:
    """Write what is pushed of a model into the folder `target`; no folder of this machine is named in it."""
    folder, sheets = records.folder, records.sheets
    chosen = {sheets[round(i * (len(sheets) - 1) / (SHEETS - 1))] for i in range(SHEETS)} if sheets else set()
    # A card that is there is a shipped model's, or edited: it holds facts that no record has.
    for file in {*(folder / name for name in (*NETWORKS, "metrics.jsonl", CARD)), *chosen, records.sheet}:
        if file and file.is_file():
            place = target / file.relative_to(folder)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)
    for name, values in (("training.json", records.settings), (records.words.records, records.experiment)):
        if values:
            (target / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if curves := draw_curves(records):
        (target / CURVES).parent.mkdir()
        (target / CURVES).write_bytes(curves)
    if not (target / CARD).is_file():
        (target / CARD).write_text(render_model_card(records, repo_id, curves=curves is not None), encoding="utf-8")


class BackgroundPushes:
    """The pushes of one run, one at a time. None of them raises, and only `finish` waits.

    The thread is a daemon, unlike those of `HfApi.run_as_future`: a Hub that does not answer holds up no process.
    """

    def __init__(
        self, run: Path, repo_id: str, *, every: int = 0, private: bool = False, revision: str | None = None
    ) -> None:
        """Print a warning where a push would fail now. `every`: push after so many checkpoints; 0: only at the end."""
        self.run, self.repo_id, self.every, self.private, self.revision = run, repo_id, every, private, revision
        self.checkpoints = 0
        self.thread = threading.Thread()
        self._outcome: Pushed | str = ""  # of the last push that has ended; a text says why it failed
        disable_progress_bars()
        get_session().timeout = SILENCE
        warn_of_refusal(repo_id)

    def checkpoint(self) -> None:
        """Push a copy of the run as it is now, without a card, if it is time to and no push is running."""
        self.checkpoints += 1
        if not self.every or self.checkpoints % self.every or self.thread.is_alive():
            return
        try:  # the run's folder is written while the push reads
            copy = TemporaryDirectory(prefix=".pushing-", dir=self.run, ignore_cleanup_errors=True)
            left_out = shutil.ignore_patterns("checkpoints", "events.out.*", ".*")
            shutil.copytree(self.run, copy.name, ignore=left_out, dirs_exist_ok=True)
        except OSError as error:
            self._warn(error)
        else:
            self._start(copy)

    def finish(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Push the finished run, and print as the last line where it is, or the command that pushes it later.

        Waits at most `PATIENCE` seconds, and only while `give_up` returns False (a signal to end).
        """
        deadline = time.monotonic() + PATIENCE
        if self._wait(deadline, give_up):
            self._start(None)
            if self._wait(deadline, give_up) and isinstance(self._outcome, Pushed):
                print(self._outcome, flush=True)
                return
        why = "it took too long" if self.thread.is_alive() else self._outcome
        command = ["simgan", "push", str(self.run), self.repo_id, *["--private"] * self.private]
        command += ["--revision", self.revision] if self.revision else []
        told = f"The model was not pushed ({why}). It is safe in {self.run}; to push it:\n{shlex.join(command)}"
        print(told, flush=True)

    def _start(self, copy: "TemporaryDirectory[str] | None") -> None:
        self.thread = threading.Thread(target=self._push, args=[copy], daemon=True)
        self.thread.start()

    def _push(self, copy: "TemporaryDirectory[str] | None") -> None:
        """Push the run with its card, or a copy of it without one: once there, a card is not replaced."""
        options: dict[str, Any] = {"card": copy is None, "private": self.private, "revision": self.revision}
        with copy or nullcontext(str(self.run)) as folder:
            try:
                self._outcome = push_model(folder, self.repo_id, **options)
            except Exception as error:  # whatever it is, the run goes on
                text = str(error) if isinstance(error, PublishError) else f"{type(error).__name__}: {error}"
                self._outcome = hide(text)
        if copy and isinstance(self._outcome, str):
            self._warn(self._outcome)

    def _wait(self, deadline: float, give_up: Callable[[], bool]) -> bool:
        """Return whether no push is running any more."""
        while self.thread.is_alive() and time.monotonic() < deadline and not give_up():
            self.thread.join(0.1)
        return not self.thread.is_alive()

    def _warn(self, why: object) -> None:
        print(hide(f"warning: not pushed after this checkpoint: {why}"), file=sys.stderr, flush=True)
