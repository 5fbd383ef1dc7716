"""Pushes a run to the Hub beside its training: each push is a process of its own, `simgan push`.

So training never waits for the Hub (but once, at its end and for a limited time), and whatever goes wrong there cannot
take the run along: the same command, printed as the last line, finishes the job later.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import simgan
from simgan.hub.push import copy_model, push_command
from simgan.hub.uploading import permission_problem
from simgan.training.config import TrainingConfig

PATIENCE, FOR_THE_LAST = 600, 60  # seconds that the end of a run waits for its push, and for one that still runs then


class Publisher:
    """The pushes of one run, from its main process; never two at a time."""

    def __init__(self, config: TrainingConfig) -> None:
        assert config.push_to_hub is not None
        self.run, self.repository = config.output, config.push_to_hub
        self.private, self.revision, self.every = config.private, config.hub_revision, config.push_every
        self.checkpoints = 0
        self.process: subprocess.Popen[bytes] | None = None
        problem = permission_problem(self.repository)
        if problem:
            print(f"warning: a push to {self.repository} would fail now: {problem}", file=sys.stderr, flush=True)

    @property
    def command(self) -> str:
        """What pushes this run later."""
        return push_command(self.run, self.repository, private=self.private, revision=self.revision)

    def checkpoint(self) -> None:
        """Push what the run has now in the background, if it is time to; a push that still runs is not disturbed."""
        self.checkpoints += 1
        if not self.every or self.checkpoints % self.every or (self.process and self.process.poll() is None):
            return
        try:  # a copy, as training goes on to write into the run's folder
            copy = self.run / ".pushing" / self.run.resolve().name
            shutil.rmtree(copy.parent, ignore_errors=True)
            copy_model(self.run, copy)
            self._start(copy)
        except OSError as error:
            print(f"warning: not pushed after this checkpoint: {error}", file=sys.stderr, flush=True)

    def finish(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Push the finished run; say how it went, with the command that pushes it later as the last line if it failed.

        Waits for `PATIENCE` seconds at the most, and no longer than until `give_up` says so (another signal to end).
        """
        self._wait(FOR_THE_LAST, give_up)
        try:
            self._start(self.run)
            done = self._wait(PATIENCE, give_up)
            told = _last_line(self._log) if done else "it was ended, as it took too long"
        except OSError as error:
            done, told = False, str(error)
        shutil.rmtree(self.run / ".pushing", ignore_errors=True)
        if done and self.process and self.process.returncode == 0:
            print(told, flush=True)
        else:
            print(f"The model was not pushed ({told.removeprefix('error: ')}). It is safe in {self.run}; to push it:")
            print(self.command, flush=True)

    @property
    def _log(self) -> Path:
        return self.run / "push.log"

    def _start(self, folder: Path) -> None:
        source = str(Path(simgan.__file__).parents[1])  # the code that trains, installed or not
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        arguments = ["push", str(folder), self.repository] + ["--private"] * self.private
        arguments += ["--revision", self.revision] if self.revision else []
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "simgan", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
                start_new_session=True,  # Ctrl-C stops the training, not a push that is nearly done
            )

    def _wait(self, seconds: float, give_up: Callable[[], bool]) -> bool:
        """Wait for the present push, if there is one; False where it had to be ended."""
        deadline = time.monotonic() + seconds
        while self.process and self.process.poll() is None:
            if time.monotonic() > deadline or give_up():
                self.process.kill()
                self.process.wait()
                return False
            time.sleep(0.1)
        return True


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
