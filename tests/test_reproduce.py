"""`benchmarks/reproduce.mk`: command lines that exist, done steps skipped, stopped training resumed."""

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from simgan.cli.ablate import ablate
from simgan.cli.evaluate import MEASURES
from simgan.hub.loading import SHIPPED
from simgan.training.config import from_command_line

ROOT = Path(__file__).parents[1]
DATA = ("eyes_synthetic/syntheseyes_grey.parquet", "eyes_synthetic/unityeyes", "eyes_real/mpiigaze")
TINY = "--limit 40 --batch-size 4 --steps 2 --evaluate-every 1 --discriminator-warm-up 1 --refiner-warm-up 1"
SETTINGS = ("OUT", "SEED", "DATA", "MAKEFLAGS", "MAKELEVEL")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="GNU Make is not installed")


def make(*arguments):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    return subprocess.run(
        ["make", "-f", "benchmarks/reproduce.mk", *arguments],
        cwd=ROOT,
        env=environment | {"PATH": path, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def parse(commands, words):
    """Have tyro parse a command line without running the command."""

    def unrun(function):
        return functools.wraps(function)(lambda *given, **named: None)

    tyro.extras.subcommand_cli_from_dict({name: unrun(one) for name, one in commands.items()}, args=words)


def test_every_command_line_is_one_that_its_command_takes(tmp_path):
    for name in (*DATA, "eyes_real/mpiigaze_p00"):
        (tmp_path / name).mkdir(parents=True)
    out = tmp_path / "out"
    done = make("-n", f"OUT={out}", f"DATA={tmp_path}", "SEED=3")
    assert done.returncode == 0, done.stderr
    assert not out.exists()
    lines = [line.split(" > ")[0].split(" >> ")[0] for line in done.stdout.splitlines()]
    trained = [shlex.split(line)[4:] for line in lines if line.startswith("accelerate launch -m train_accelerate ")]
    names = {"eyes-simulated", "no-regularization", "shuffled", "hands-simulated", "eyes", "eyes-without-p00"}
    assert {from_command_line(words).output for words in trained} == {out / name for name in names}
    assert {from_command_line(words).seed for words in trained} == {3}
    measured = [shlex.split(line)[2:] for line in lines if line.startswith("simgan evaluate ")]
    assert len(measured) == 9
    for words in measured:
        parse(MEASURES, words)
    assert f"simgan evaluate shift simulator:eyes --model {out}/eyes-simulated --seed 13 --output {out}/shift.json" in (
        " ".join(line.split()) for line in lines
    )
    (ablation,) = [shlex.split(line)[1:] for line in lines if line.startswith("simgan ablate ")]
    parse({"ablate": ablate}, ablation)
    assert lines[-1].startswith(f"simgan report --output {out}/report ")


def test_steps_train_measure_and_report_for_real_and_are_not_repeated(tmp_path):
    settings = [f"OUT={tmp_path}", f"TRAINING_OPTIONS={TINY}", "MEASURING_OPTIONS=--limit 20"]
    done = make("shuffled", *settings)
    assert done.returncode == 0, (tmp_path / "shuffled.log").read_text()[-2000:]
    assert json.loads((tmp_path / "shuffled" / "training.json").read_text())["real"] == ["shuffled:camera:eyes"]
    shutil.copytree(SHIPPED / "eyes-simulated", tmp_path / "eyes-simulated")
    (tmp_path / "eyes-simulated.trained").touch()
    done = make("shift", *settings)
    assert done.returncode == 0, (tmp_path / "shift.log").read_text()[-2000:]
    assert json.loads((tmp_path / "shift.json").read_text())["measured_on"]["limit"] == 20
    again = make("shuffled", "shift", *settings)
    assert [line for line in again.stdout.splitlines() if "Nothing to be done" not in line] == []
    (tmp_path / "eyes-simulated.trained").touch()
    assert "simgan evaluate shift" in make("-n", "shift", *settings).stdout  # as its model is newer
    done = make("report", *settings)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert list(told["shift"]) == ["shift"]


def accelerate(folder, script):
    """Put a command `accelerate` into a folder; return the variable PATH that finds it."""
    folder.mkdir()
    (folder / "accelerate").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "accelerate").chmod(0o755)
    return f"PATH={folder}:{os.environ['PATH']}"


def test_stopped_training_is_resumed_and_not_taken_for_done(tmp_path):
    assert "--resume" not in make("-n", "shuffled", f"OUT={tmp_path}").stdout
    (tmp_path / "shuffled" / "checkpoints" / "step-000010").mkdir(parents=True)
    assert "--resume >> " in make("-n", "shuffled", f"OUT={tmp_path}").stdout
    stopped = accelerate(tmp_path / "bin", "echo 'Stopped; go on with --resume'")
    assert make("shuffled", f"OUT={tmp_path}", stopped).returncode != 0
    assert not (tmp_path / "shuffled.trained").exists()


def test_missing_data_and_a_step_that_fails_are_named(tmp_path):
    missing = make("eyes", f"OUT={tmp_path}", f"DATA={tmp_path}")
    assert f"No rule to make target '{tmp_path}/eyes_synthetic/syntheseyes_grey.parquet'" in missing.stderr
    broken = accelerate(tmp_path / "bin", "echo error: disk full; exit 1")
    failed = make("-k", "hands-simulated", "shuffled", f"OUT={tmp_path}", broken)
    for name in ("hands-simulated", "shuffled"):  # -k: the second is tried, too
        assert f"{tmp_path}/{name}.trained] Error 1" in failed.stderr
        assert (tmp_path / f"{name}.log").read_text() == "error: disk full\n"
