"""`simgan reproduce`: steps in turn, none twice, others go on where one fails, and command lines that exist."""

import functools
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tyro

from simgan import ConfigError, SimGANError, SourceError
from simgan.cli import COMMANDS, MEASURES, main
from simgan.experiments.reproduce import ROOT, Reproduction
from simgan.experiments.reproduction import Step, steps
from simgan.training.config import from_command_line

ADD = shlex.quote("import sys; f = open(sys.argv[1], 'a'); f.write(sys.argv[2])")
FAIL = shlex.quote("import sys; print('on it'); sys.exit('error: the moon is down')")


def step(name, *commands, needs=(), makes=None, minutes=1.0, reported=()):
    return Step(name, f"about {name}", commands, makes or (name,), minutes, needs, reported)


def adding(name, text="x", **options):
    return step(name, f"python -c {ADD} {{out}}/{name} {text}", **options)


def reproduce(output, given, *chosen, **options):
    lines = []
    made = Reproduction(output, given=given, chosen=chosen, tell=lines.append, **options)
    try:
        made.run()
    except SimGANError as error:
        lines.append(f"error: {error}")
    return lines


def test_steps_are_made_in_turn_and_not_again(tmp_path):
    first, second = adding("first"), adding("second", needs=("first",))
    lines = reproduce(tmp_path, [first, second])
    assert lines == ["1 of 2: about first … about 2 min left", *lines[1:]]
    assert lines[1].startswith("2 of 2: about second … about 0 min left")  # the first took no minute, but a moment
    assert (tmp_path / "first.log").read_text().startswith("$ python -c ")
    assert reproduce(tmp_path, [first, second]) == ["1 of 2: about first is done", "2 of 2: about second is done"]
    assert (tmp_path / "first").read_text() == (tmp_path / "second").read_text() == "x"
    (tmp_path / "first").unlink()
    assert reproduce(tmp_path, [first, second], "first") == ["1 of 1: about first … about 0 min left"]
    assert (tmp_path / "first").read_text() == "x"


def test_what_fails_is_told_and_the_rest_that_does_not_need_it_goes_on(tmp_path):
    broken = step("broken", f"python -c {FAIL}", f"python -c {ADD} {{out}}/broken x")
    given = [broken, adding("after", needs=("broken",)), adding("other"), step("empty", "python -c 0")]
    lines = reproduce(tmp_path, given)
    assert lines[1] == f"broken failed: the moon is down; its log is {tmp_path / 'broken.log'}"
    assert lines[2] == "after is left out, as it needs broken"
    assert lines[3].startswith("3 of 4: about other … about ")
    assert lines[5] == f"empty ended without making empty; its log is {tmp_path / 'empty.log'}"
    assert lines[6] == "error: 3 of 4 steps failed (broken, after, empty): the same command tries again"
    assert sorted(place.name for place in tmp_path.glob("[!s]*")) == ["broken.log", "empty.log", "other", "other.log"]
    mended = [Step(**(vars(given[0]) | {"commands": broken.commands})), *given[1:3]]
    assert reproduce(tmp_path, mended, "other") == ["1 of 1: about other is done"]


def test_a_report_is_made_anew_of_what_is_done(tmp_path):
    given = [adding("one", reported=("one",)), adding("two", reported=("two",)), step("all", "python -c 0 {reported}")]
    (tmp_path / "all").touch()
    lines = reproduce(tmp_path, given, "all")
    assert lines[0] == "all is left out, as nothing that it tells of is done"
    reproduce(tmp_path, given, "two", "all")
    assert (tmp_path / "all.log").read_text() == f"$ python -c 0 {tmp_path}/two\n"
    reproduce(tmp_path, given)
    assert (tmp_path / "all.log").read_text().endswith(f"$ python -c 0 {tmp_path}/one {tmp_path}/two\n")


STOPPED = """
import signal, sys, time
from pathlib import Path
out = Path(sys.argv[1])
if not (out / "begun").exists():
    signal.signal(signal.SIGTERM, lambda number, frame: ((out / "begun").write_text("half"), sys.exit(0)))
    (out / "ready").touch()
    time.sleep(100)
(out / "done").write_text((out / "begun").read_text() + " whole")
"""
DRIVER = """
import sys
from pathlib import Path
from simgan.experiments.reproduce import Reproduction
from simgan.experiments.reproduction import Step
out = Path(sys.argv[1])
Reproduction(out, given=[Step("slow", "it", (f"python {out}/stopped.py {{out}}",), ("done",), 1)]).run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_step_goes_on_the_next_time(tmp_path, number):
    (tmp_path / "stopped.py").write_text(STOPPED.replace("SIGTERM", signal.Signals(number).name))
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert told.strip().endswith("KeyboardInterrupt")  # which `simgan` makes a sentence of
    assert json.loads((tmp_path / "steps" / "slow.json").read_text())["done"] is False  # though its status was 0
    assert (tmp_path / "begun").read_text() == "half"
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done").read_text() == "half whole"
    assert json.loads((tmp_path / "steps" / "slow.json").read_text())["done"] is True


def test_training_is_resumed_where_a_checkpoint_lies(tmp_path):
    train = step(
        "train",
        "accelerate launch -m train_accelerate --preset ears --output {out}/run",
        makes=("run/model.safetensors",),
    )
    (tmp_path / "run" / "checkpoints" / "step-000001").mkdir(parents=True)
    assert "unknown preset 'ears'" in reproduce(tmp_path, [train])[1]
    begun = (tmp_path / "train.log").read_text().splitlines()[0]
    assert begun == f"$ accelerate launch -m train_accelerate --preset ears --output {tmp_path}/run --resume"


def test_other_settings_are_refused_before_anything_is_made(tmp_path):
    given = [adding("one"), adding("two")]
    reproduce(tmp_path, given, "two")
    with pytest.raises(ConfigError, match="holds the step two made by other settings"):
        Reproduction(tmp_path, given=given, seed=1)
    with pytest.raises(ConfigError, match="holds the step two made by other settings"):
        Reproduction(tmp_path, given=[given[0], adding("two", "y")])
    (tmp_path / "steps" / "two.json").write_text("{")
    with pytest.raises(SourceError, match=r"two\.json cannot be read"):
        Reproduction(tmp_path, given=given)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "moon"], "error: there is no step moon: choose of train, controls"),
        (["--data", "."], r"error: \. holds no eyes_synthetic/syntheseyes_grey\.parquet"),
        (["--only", "realism"], r"error: 1 of 1 steps failed \(realism\)"),
    ],
)
def test_what_cannot_be_made_ends_in_one_sentence(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=sentence):
        main(["reproduce", *arguments])
    assert not list(tmp_path.rglob("*.log"))


def test_benchmarks_are_left_out_outside_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr("simgan.experiments.reproduce.ROOT", tmp_path)
    (speed,) = [one for one in steps() if one.name == "speed"]
    told = [
        "1 of 1: speed of refining, training, simulators and data is left out: benchmarks/ comes with a checkout only"
    ]
    assert reproduce(tmp_path, [speed]) == told


def parse(commands, words):
    """Have tyro read a command line without running what it asks for."""

    def unrun(function):
        return functools.wraps(function)(lambda *given, **named: None)

    tyro.extras.subcommand_cli_from_dict({name: unrun(one) for name, one in commands.items()}, args=words)


@pytest.mark.parametrize("name", [one.name for one in steps(data=True)])
def test_command_lines_are_read_by_what_they_call(name):
    (chosen,) = [one for one in steps(data=True) if one.name == name]
    made = Reproduction(Path("reproduction"))
    made.values["data"] = "data"
    for words in made.commands(chosen, planned=True):
        if "train_accelerate" in words:
            assert str(from_command_line(words[4:]).output) == words[words.index("--output") + 1]
        elif words[0] == "python":
            assert words[2:] == []  # a benchmark's options would have to be read by its own parser
            assert callable(runpy.run_path(words[1])["main"])
        elif words[1] == "evaluate":
            parse(MEASURES, words[2:])
        else:
            assert words[0] == "simgan"
            parse(COMMANDS, words[1:])


def test_the_list_names_every_step_with_its_commands(tmp_path, capsys):
    main(["reproduce", "--list", "--output", str(tmp_path / "all")])
    told = capsys.readouterr().out
    for one in steps():
        assert f"{one.name}: {one.about} (about {one.minutes:g} min)" in told
    trained = "accelerate launch -m train_accelerate --preset eyes-large --seed 0 --steps 2000"
    assert f"    {trained} --output {tmp_path}/all/eyes-simulated" in told
    assert f"--output {tmp_path}/all/report" in told
    assert "{" not in told
    assert not (tmp_path / "all").exists()
    assert sum(one.minutes for one in steps()) < 90
    needed = {name for one in steps(data=True) for name in one.needs}
    assert needed <= {one.name for one in steps(data=True)}
