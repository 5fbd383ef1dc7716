"""Running the steps of a reproduction: a child process with a log for each, done ones skipped, stopped ones resumed.

`steps/NAME.json` in the output tells by which commands a step was begun, whether it is done, and the seconds it took.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from simgan import __version__
from simgan.errors import ConfigError, SimGANError, SourceError, reason
from simgan.experiments.reproduction import DATA, Step, seeds, steps

ROOT = Path(__file__).parents[2]  # of a checkout; of an installed package it is site-packages
PROGRAMS = {
    "simgan": [sys.executable, "-m", "simgan"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"],
    "python": [sys.executable],
}
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Reproduction:
    """Steps in a folder; `chosen` are the names of those to make, all where there are none."""

    def __init__(
        self,
        output: Path,
        *,
        data: Path | None = None,
        chosen: Sequence[str] = (),
        seed: int = 0,
        given: Sequence[Step] | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Check all that can be checked before anything is run; `ConfigError` or `SourceError` where it does not fit.

        `given` replaces the steps of `simgan.experiments.reproduction`; `tell` is handed each line of progress.
        """
        if missing := [name for name in DATA if data is not None and not (data / name).exists()]:
            raise SourceError(f"{data} holds no {missing[0]}: give the folder that holds eyes_real and eyes_synthetic")
        self.output, self.tell = output, tell
        self.values = {"out": str(output), **seeds(seed)}
        self.values |= {"data": str(data)} if data is not None else {}
        if (benchmarks := ROOT / "benchmarks").is_dir():
            self.values["benchmarks"] = os.path.relpath(benchmarks) if _below(benchmarks) else str(benchmarks)
        self.steps = list(steps(data=data is not None) if given is None else given)
        names = [step.name for step in self.steps]
        if unknown := [name for name in chosen if name not in names]:
            raise ConfigError(f"there is no step {unknown[0]}: choose of {', '.join(names)}")
        self.chosen = [step for step in self.steps if not chosen or step.name in chosen]
        for step in self.chosen:
            begun = self._begun(step)
            if begun and begun["key"] != self._key(step) and not _is_always(step):
                raise ConfigError(
                    f"{output} holds the step {step.name} made by other settings or another simgan: give another "
                    "--output, or delete that one"
                )

    def listing(self) -> str:
        """All chosen steps with their commands as the shell takes them."""
        lines = []
        for step in self.chosen:
            state = ", done" if self.is_done(step) else ""
            lines.append(f"{step.name}: {step.about} (about {step.minutes:g} min{state})")
            lines += [f"    {shlex.join(command)}" for command in self.commands(step, planned=True)]
        return "\n".join(lines)

    def commands(self, step: Step, *, planned: bool = False) -> list[list[str]]:
        """Give the commands of a step, word by word; none where it needs a checkout and there is none.

        The report is of what is done, or of all that is `planned`.
        """
        told = [one for one in self.steps if planned or self.is_done(one)]
        reported = [f"{self.output}/{place}" for one in told for place in one.reported]
        made = []
        for command in step.commands:
            if "{benchmarks}" in command and "benchmarks" not in self.values:
                return []
            words = [
                [word.format_map(self.values)] if word != "{reported}" else reported for word in shlex.split(command)
            ]
            made.append([word for some in words for word in some])
        return made

    def is_done(self, step: Step) -> bool:
        """Whether a step was made to its end, and what it made is there; the report is made anew each time."""
        begun = self._begun(step)
        return begun is not None and begun["done"] and not self._missing(step) and not _is_always(step)

    def run(self) -> None:
        """Make what is not done. `SimGANError` at the end where a step failed, KeyboardInterrupt where stopped."""
        failed: list[str] = []
        with _passing_on() as children:
            for number, step in enumerate(self.chosen, 1):
                place = f"{number} of {len(self.chosen)}: {step.about}"
                if self.is_done(step):
                    self.tell(f"{place} is done")
                    continue
                if not self.commands(step):
                    self.tell(f"{place} is left out: benchmarks/ comes with a checkout only")
                    continue
                problem = self._problem(step) or self._make(step, place, self.chosen[number - 1 :], children)
                if problem:
                    failed.append(step.name)
                    self.tell(problem)
        if failed:
            raise SimGANError(
                f"{len(failed)} of {len(self.chosen)} steps failed ({', '.join(failed)}): the same command tries again"
            )

    def _problem(self, step: Step) -> str | None:
        """What a step needs and has not; in a sentence."""
        lacking = [one.name for one in self.steps if one.name in step.needs and not self.is_done(one)]
        if lacking:
            return f"{step.name} is left out, as it needs {' and '.join(lacking)}"
        if _is_always(step) and not any(one.reported and self.is_done(one) for one in self.steps):
            return f"{step.name} is left out, as nothing that it tells of is done"
        return None

    def _make(self, step: Step, place: str, rest: Sequence[Step], children: Children) -> str | None:
        """Run the commands of a step; what went wrong, in a sentence."""
        self.tell(f"{place} … about {self._left(rest):.0f} min left")
        log = self.output / f"{step.name}.log"
        spent, start = (self._begun(step) or {"seconds": 0.0})["seconds"], time.monotonic()
        self._note(step, spent, done=False)
        status = 0
        try:
            with log.open("ab") as file:
                for command in self.commands(step):
                    words = _resumed(command)
                    file.write(f"$ {shlex.join(words)}\n".encode())
                    file.flush()
                    status = children.run(words, file.fileno())
                    if status:
                        break
        except OSError as error:
            raise SourceError(f"{log} cannot be written ({reason(error)})") from error
        finally:
            missing = self._missing(step)
            done = not status and not missing and not children.stopped
            self._note(step, spent + time.monotonic() - start, done=done)
        if status:
            return f"{step.name} failed: {_last_line(log)}; its log is {log}"
        return f"{step.name} ended without making {missing[0]}; its log is {log}" if missing else None

    def _left(self, rest: Sequence[Step]) -> float:
        """Minutes that the rest will take: their estimates, as much faster or slower as those done were."""
        begun = [(step.minutes, self._begun(step)) for step in self.steps if self.is_done(step)]
        done = [(minutes, one["seconds"] / 60) for minutes, one in begun if one]
        pace = sum(spent for _, spent in done) / sum(told for told, _ in done) if done else 1.0
        return pace * sum(step.minutes for step in rest if not self.is_done(step))

    def _missing(self, step: Step) -> list[str]:
        return [place for place in step.makes if not (self.output / place).exists()]

    def _key(self, step: Step) -> str:
        """Tells other commands apart, but not where output and data lie."""
        given = [self.values["seed"], __version__, *step.commands]
        return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:16]

    def _note(self, step: Step, seconds: float, *, done: bool) -> None:
        values = {"key": self._key(step), "done": done, "seconds": seconds}
        file = self.output / "steps" / f"{step.name}.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = file.with_suffix(".part")
            aside.write_text(json.dumps(values) + "\n")
            aside.replace(file)
        except OSError as error:
            raise SourceError(f"{file} cannot be written ({reason(error)})") from error

    def _begun(self, step: Step) -> dict[str, Any] | None:
        file = self.output / "steps" / f"{step.name}.json"
        if not file.is_file():
            return None
        try:
            values = json.loads(file.read_text())
            return {"key": str(values["key"]), "done": bool(values["done"]), "seconds": float(values["seconds"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{file} cannot be read ({error}): delete it to make that step again") from error


class Children:
    """The process that runs now, and the signals that it was sent on."""

    def __init__(self) -> None:
        self.stopped = False
        self._now: subprocess.Popen[bytes] | None = None

    def run(self, words: Sequence[str], output: int) -> int:
        """Run a command to its end and give its status; KeyboardInterrupt where it was told to stop meanwhile.

        It has a group of its own, so that Ctrl-C reaches it once, from here.
        """
        program = PROGRAMS.get(words[0], [words[0]])
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        self._now = subprocess.Popen(
            [*program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        if self.stopped:  # between two commands
            self.stop(signal.SIGTERM, None)
        status = self._now.wait()
        if self.stopped:
            raise KeyboardInterrupt
        return status

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on to the process that runs, and to its own."""
        self.stopped = True
        if self._now is not None and self._now.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._now.pid, number)


@contextmanager
def _passing_on() -> Iterator[Children]:
    children = Children()
    before = {number: signal.signal(number, children.stop) for number in STOPS}
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_always(step: Step) -> bool:
    return any("{reported}" in command for command in step.commands)


def _below(place: Path) -> bool:
    return Path.cwd() in place.parents


def _resumed(words: list[str]) -> list[str]:
    """Have training go on where a checkpoint of it lies."""
    if "train_accelerate" not in words:
        return words
    run = Path(words[words.index("--output") + 1])
    return [*words, "--resume"] if any((run / "checkpoints").glob("step-*")) else words


def _last_line(log: Path) -> str:
    """The last line that says what failed, or anything; a progress bar writes all its own in one.

    Behind ours `accelerate launch` writes a traceback of its own.
    """
    text = log.read_bytes()[-4000:].decode(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["it printed nothing"])[-1]
