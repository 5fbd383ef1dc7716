"""Pushes of a run to the Hub in a background thread, while it trains."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import get_session
from huggingface_hub.utils import disable_progress_bars

from simgan.errors import PublishError
from simgan.hub.push import copy_model, push_command, push_model
from simgan.hub.uploading import permission_problem

PATIENCE = 600  # seconds that the end of a run waits for its last push
SILENCE = 60  # seconds after which a request that the Hub does not answer has failed


class BackgroundPushes:
    """The pushes of one run, one at a time. None of them raises, and only `finish` waits.

    The thread is a daemon, unlike those of `HfApi.run_as_future`: a Hub that does not answer cannot hold up the end of
    the process.
    """

    def __init__(
        self, run: Path, repo_id: str, *, every: int = 0, private: bool = False, revision: str | None = None
    ) -> None:
        """Print a warning where a push would fail now.

        Args:
            run: the folder of the run.
            repo_id: org/name.
            every: push after so many checkpoints; 0: only when the run has ended.
            private: make a new repository private.
            revision: a branch; main if not given.
        """
        self.run, self.repo_id, self.every, self.private, self.revision = run, repo_id, every, private, revision
        self.checkpoints = 0
        self.thread: threading.Thread | None = None
        self._outcome = ""  # of the last push that has ended
        self._pushed = False
        disable_progress_bars()
        get_session().timeout = SILENCE
        problem = permission_problem(repo_id)
        if problem:
            _warn(f"a push to {repo_id} would fail now: {problem}")

    def checkpoint(self) -> None:
        """Push a copy of the run as it is now, if it is time to and no push is running.

        The card is left to `finish`: once there, a card is not replaced.
        """
        self.checkpoints += 1
        if not self.every or self.checkpoints % self.every or (self.thread and self.thread.is_alive()):
            return
        try:  # the run's folder is written while the push reads
            copy = TemporaryDirectory(prefix=".pushing-", dir=self.run, ignore_cleanup_errors=True)
            copy_model(self.run, Path(copy.name))
        except OSError as error:
            _warn(f"not pushed after this checkpoint: {error}")
            return

        def push() -> None:
            with copy:
                self._push(Path(copy.name), card=False)
            if not self._pushed:
                _warn(f"not pushed after this checkpoint: {self._outcome}")

        self._start(push)

    def finish(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Push the finished run, and print as the last line where it is, or the command that pushes it later.

        Waits at most `PATIENCE` seconds, and only while `give_up` returns False (a signal to end).
        """
        deadline = time.monotonic() + PATIENCE
        if self._wait(deadline, give_up):
            self._start(lambda: self._push(self.run, card=True))
            if self._wait(deadline, give_up) and self._pushed:
                print(self._outcome, flush=True)
                return
        why = "it took too long" if self.thread and self.thread.is_alive() else self._outcome
        print(f"The model was not pushed ({why}). It is safe in {self.run}; to push it:")
        print(push_command(self.run, self.repo_id, private=self.private, revision=self.revision), flush=True)

    def _start(self, push: Callable[[], None]) -> None:
        self.thread = threading.Thread(target=push, daemon=True)
        self.thread.start()

    def _push(self, folder: Path, *, card: bool) -> None:
        self._pushed = False
        try:
            pushed = push_model(folder, self.repo_id, card=card, private=self.private, revision=self.revision)
            self._outcome, self._pushed = str(pushed), True
        except PublishError as error:
            self._outcome = str(error)
        except Exception as error:  # whatever it is, the run goes on
            self._outcome = f"{type(error).__name__}: {error}"

    def _wait(self, deadline: float, give_up: Callable[[], bool]) -> bool:
        """Return whether no push is running any more."""
        while self.thread and self.thread.is_alive() and time.monotonic() < deadline and not give_up():
            self.thread.join(0.1)
        return self.thread is None or not self.thread.is_alive()


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
