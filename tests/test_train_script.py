"""`train_accelerate.py` as a user starts it, and what it makes of sources."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from simgan import Discriminator, Refiner, SourceError
from simgan.domains.eyes import EYES
from simgan.training.bank import Bank
from simgan.training.config import TrainingConfig
from simgan.training.sources import load

SCRIPT = Path(__file__).parents[1] / "train_accelerate.py"
SMALL = ["--limit", "60", "--steps", "2", "--batch-size", "8", "--discriminator-warm-up", "1", "--evaluate-every", "2"]


def train(*arguments, launcher=()):
    command = [sys.executable, *launcher, str(SCRIPT), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_the_embedded_domain_trains_under_accelerate_launch(tmp_path):
    run = tmp_path / "run"
    launcher = ("-m", "accelerate.commands.launch", "--num_processes", "1")
    done = train("--preset", "eyes", *SMALL, "--output", run, launcher=launcher)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Best refiner: step" in done.stdout
    assert f"Refiner.from_pretrained('{run}')" in done.stdout
    assert (run / "samples" / "step-000002.png").is_file()
    assert list((run / "training").glob("events.out.tfevents.*"))  # TensorBoard's
    Refiner.from_pretrained(run)
    Discriminator.from_pretrained(run)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process when its parent ends")
def test_a_launcher_that_is_stopped_leaves_a_checkpoint(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", str(SCRIPT), *SMALL]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launcher = subprocess.Popen([*command, "--steps", "100000", "--output", str(run)], env=environment, stderr=-3)
    for _ in range(1500):
        if (run / "metrics.jsonl").is_file() or launcher.poll() is not None:
            break
        time.sleep(0.1)
    launcher.terminate()
    launcher.wait()
    before = set((run / "checkpoints").glob("step-*"))
    for _ in range(600):
        time.sleep(0.1)
        newest = sorted((run / "checkpoints").glob("step-*"))[-1:]
        if newest and newest[0] not in before and not list((run / "checkpoints").glob(".*")):
            break
    rows = (run / "metrics.jsonl").read_text().splitlines()
    time.sleep(1)
    assert (run / "metrics.jsonl").read_text().splitlines() == rows  # nobody trains on
    assert newest and (newest[0] / "state.json").is_file()


def test_a_disk_that_is_full_ends_in_a_sentence_with_the_older_checkpoint_whole(tmp_path):
    run = tmp_path / "run"
    limited = f"ulimit -f 900; exec {sys.executable} {SCRIPT} {' '.join(SMALL)} --history-size 8 --output {run}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "cannot be written (" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence", "status"),
    [
        (["--preset", "ears"], "error: unknown preset 'ears': choose one of", 1),
        (["--colour", "red"], "Unrecognized options", 2),
        (["--synthetic", "moon:DIR", "--real", "camera:eyes"], "error: 'moon:DIR' is neither a folder", 1),
        (["--limit", "20", "--batch-size", "64"], "add images, or lower --batch-size", 1),
        (["--batch-size", "7"], "batch_size must be even", 2),
        (["--limit", "60", "--resume", "--output", "OUT"], "nothing to resume in", 1),
        (["--limit", "60", "--output", "/proc/nothing"], "error: /proc/nothing cannot be written", 1),
        (["--limit", "60", "--trackers", "json"], "trackers json: Unsupported logging capability", 1),
        (["--gradient-accumulation-steps", "0"], "gradient_accumulation_steps must be at least 1", 2),
    ],
)
def test_what_cannot_be_trained_ends_in_one_sentence(arguments, sentence, status, tmp_path, monkeypatch, capsys):
    given = [str(tmp_path / "run") if argument == "OUT" else argument for argument in arguments]
    if "--output" not in given:
        given += ["--output", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *given])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    code = ended.value.code
    told = "".join(capsys.readouterr()) + (code if isinstance(code, str) else "")  # Python prints it as it ends
    assert (1 if isinstance(code, str) else code) == status, told[-2000:]
    assert sentence in " ".join(told.replace("│", " ").split())


def test_both_sides_are_held_out_and_irises_are_known():
    config = TrainingConfig(limit=60)
    data = load(config)
    assert len(data.synthetic[0]) + len(data.held_out_synthetic[0]) == 60
    assert len(data.real[0]) + len(data.held_out_real[0]) == 60
    found = []
    for flip in (True, False):
        bank = Bank("synthetic", data.synthetic, 16, seed=0, flip=flip, weight=EYES.weight)
        block = bank.block(np.arange(48, 64)[None])
        found.append((*bank.take({name: values[0] for name, values in block.items()}), block["mirrored"][0]))
    (images, masks, mirrored), (plain, plain_masks, _) = found
    assert masks.shape == images.shape
    assert 0.05 < masks.mean() < 0.5
    assert 0 < mirrored.sum() < 16
    for kind, upright in ((images, plain), (masks, plain_masks)):  # a mask is mirrored with its image
        assert torch.equal(torch.where(mirrored[:, None, None, None], kind.flip(3), kind), upright)


def test_irises_of_unlabelled_eyes_are_found(shared_data):
    source = f"folder:{shared_data / 'eyes_synthetic' / 'unityeyes'}"
    data = load(TrainingConfig(synthetic=(source,), limit=60))
    masks = data.synthetic[0].masks(np.arange(20), EYES.weight)
    images = data.synthetic[0][np.arange(20)].astype(float)
    known = masks.max((1, 2)) > 0
    assert known.mean() > 0.7
    inside = (images * masks).sum((1, 2))[known] / masks.sum((1, 2))[known]
    assert np.median(inside) < np.median(images.mean((1, 2))[known]) - 10  # irises are darker than eyes


def test_a_source_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(SourceError, match="has one image"):
        load(TrainingConfig(limit=1))
    assert TrainingConfig(real=()).real == ("camera:eyes",)  # those of the preset where none is given
