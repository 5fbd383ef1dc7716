"""A run on two processes, from its sources to its checkpoint files, stopped, resumed, and resumed on one process."""

import json
import shutil

import pytest
from accelerate import Accelerator
from safetensors.torch import load_file
from test_training import assert_close
from train_arrays import data, finish, small, start

from simgan import ConfigError
from simgan.training import processes
from simgan.training.step import Trainer

SETTINGS = {"steps": 4, "evaluate_every": 2, "refiner_updates": 1, "sources": True, "limit": 60, "batch_size": 16}


def files_of(checkpoint):
    """The bytes of a checkpoint's files, without the settings that say where and how it was started."""
    files = {str(file.relative_to(checkpoint)): file.read_bytes() for file in checkpoint.rglob("*") if file.is_file()}
    facts = json.loads(files["state.json"])
    files["state.json"] = {**facts, "config": {**facts["config"], "output": None, "resume": None}}
    assert len(files) == 6
    return files


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """An uninterrupted run on two processes, and one in which the second process alone was sent SIGTERM."""
    folder = tmp_path_factory.mktemp("two")
    finish(start({**SETTINGS, "output": folder / "whole"}, processes=2))
    out, _ = finish(start({**SETTINGS, "output": folder / "stopped"}, processes=2, STOP_AT="2"))
    assert out.count("--resume") == 1
    assert [path.name for path in sorted((folder / "stopped" / "checkpoints").iterdir())] == [
        "step-000002",
        "step-000003",
    ]
    return folder


def test_two_processes_resume_bit_for_bit_and_only_the_first_renders_reads_and_writes(stopped, tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(stopped / "stopped", run)
    finish(start({**SETTINGS, "output": run, "resume": True}, processes=2, ELSEWHERE=str(elsewhere)))
    for name in ("step-000003", "step-000004"):
        assert (run / "checkpoints" / name).is_dir()
    whole = stopped / "whole" / "checkpoints" / "step-000004"
    assert files_of(run / "checkpoints" / "step-000004") == files_of(whole)
    assert not elsewhere.exists()
    steps = [row["step"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]
    assert steps == sorted(steps)
    assert {0, 2, 4} <= set(steps)


def test_a_run_of_two_processes_is_resumed_by_one_within_rounding(tmp_path):
    settings = {**SETTINGS, "float64": True, "sources": False, "evaluate_every": 4}
    finish(start({**settings, "output": tmp_path / "whole"}))
    finish(start({**settings, "output": tmp_path / "run"}, processes=2, STOP_AT="2"))
    finish(start({**settings, "output": tmp_path / "run", "resume": True}))
    one, both = (
        load_file(tmp_path / name / "checkpoints" / "step-000004" / "state.safetensors") for name in ("whole", "run")
    )
    assert len(one) > 20
    assert (one.pop("history").int() - both.pop("history").int()).abs().max() <= 1
    assert_close(one, both)


def test_an_error_of_the_main_process_ends_all_with_its_sentence(tmp_path):
    _, err = finish(start({"output": tmp_path / "none", "resume": True}, processes=2), code=1)
    assert err.count("error: nothing to resume in") == 2


@pytest.mark.parametrize(
    ("settings", "count", "unit"),
    [
        ({"batch_size": 12, "history_size": 0}, 2, 8),
        ({"batch_size": 12, "history_size": 12}, 1, 8),
        ({"batch_size": 24, "history_size": 24}, 2, 16),
        ({"batch_size": 8, "history_size": 0, "gradient_accumulation_steps": 4}, 1, 16),
    ],
)
def test_a_share_that_cuts_a_group_of_compared_images_is_refused(monkeypatch, settings, count, unit):
    config = small(preset="eyes", preparation=False, **settings)
    accelerator = processes.make_accelerator(config)
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: count))
    with pytest.raises(ConfigError, match=rf"must be a multiple of {unit}: its discriminator .* in groups of 4"):
        Trainer(config, data(), accelerator)
