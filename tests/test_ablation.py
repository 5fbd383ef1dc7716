"""The ablation: same budget, runs kept, resumed or told of, a table and figures of what was found.

One run is trained for real; elsewhere a script that leaves a checkpoint at once stands in for `train_accelerate.py`.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simgan import ConfigError, Discriminator, Refiner
from simgan.cli import main
from simgan.domains import all_domains
from simgan.experiments.ablation import runs as ablation
from simgan.experiments.ablation.report import frontier
from simgan.experiments.ablation.runs import VARIANTS, plan, recipe_of, updates
from simgan.hub.cards.curves import as_png
from simgan.runtime import count_cores
from simgan.training.config import from_command_line, to_command_line
from simgan.training.config import preset as preset_of
from simgan.training.networks import build

STAND_IN = """
import os, pathlib, shutil, signal, sys
here = pathlib.Path(__file__).parent
given = dict(zip(sys.argv[1:], sys.argv[2:]))
output = pathlib.Path(given["--output"])
with (here / "started.txt").open("a") as file:
    print(output.name, os.environ["OMP_NUM_THREADS"], *sys.argv[1:], file=file)
if given.get("--scope") == "global":
    print("training: 10%", end="\\r")
    sys.exit("error: the refiner gives its input back: lower --regularization-weight (λ)")
if given.get("--ema-decay") == "0.0" and not (here / "killed").exists():
    (here / "killed").touch()
    os.kill(os.getpid(), signal.SIGKILL)
model = here / (given.get("--seed", "0") + given.get("--history-size", ""))
shutil.copytree(model, output / "checkpoints" / f"step-{int(given['--steps']):06d}")
"""
GIVES_BACK = "the refiner gives its input back: lower --regularization-weight (λ)"


def test_every_variant_takes_the_recipes_budget_and_its_script_reads_its_settings(tmp_path):
    recipe = recipe_of("eyes", steps=300, limit=5000, synthetic=("simulator:eyes", "folder:renders"))
    runs = plan(recipe, tmp_path, seeds=2)
    changing = {v.name for v in VARIANTS} - {"no history", "no preparation", "K_g = 1"}
    assert {run.variant.name for run in runs} == changing  # the others are as the preset has it
    assert len({run.config.output for run in runs}) == len(runs) == 2 * len(changing)
    for run in runs:
        step = run.config.refiner_updates + run.config.discriminator_updates
        assert abs(updates(run.config) - updates(recipe)) <= step / 2
        assert from_command_line(to_command_line(run.config)) == run.config
    steps = {run.variant.name: run.config.steps for run in runs}
    assert (steps["recipe"], steps["K_d = 1"], steps["K_g = 50"]) == (300, 450, 17)
    assert not any(run.config.steer for run in runs)
    for name in (preset for domain in all_domains() for preset in domain.recipes):
        config = preset_of(name)
        assert from_command_line(to_command_line(config)) == config


def test_names_are_typed_plainly_and_other_settings_get_another_folder(tmp_path):
    recipe = recipe_of("eyes", steps=300)
    runs = plan(recipe, tmp_path, ["lambda x 4", "history"], seeds=1)
    assert [run.variant.name for run in runs] == ["recipe", "history", "λ × 4"]
    assert runs[2].config.regularization_weight == pytest.approx(4 * 0.5)
    assert runs[2].config.output.name.startswith("lambda-x-4-seed0-")
    folders = {run.config.output for run in plan(recipe_of("eyes", steps=301), tmp_path, ["history"])}
    assert not folders & {run.config.output for run in runs}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--variants", "no histroy"], "error: there is no variant 'no histroy': choose one of recipe, no history, "),
        (
            ["--preset", "hands", "--variants", "psi identity"],
            "error: variant 'ψ identity' changes nothing of preset 'hands'",
        ),
        (["--variants", "K_g = 50", "--steps", "2"], "error: 56 updates leave no step to the variant 'K_g = 50'"),
        (["--preset", "ears"], "error: unknown preset 'ears'"),
        (["--seeds", "0"], "error: 0 runs of a variant measure nothing"),
        (["--jobs", "0", "--limit", "20"], "error: 0 runs at a time train nothing"),
        (["--real", "moon:DIR", "--limit", "20"], "error: 'moon:DIR' is neither"),
    ],
)
def test_what_cannot_be_trained_ends_in_one_sentence_with_nothing_written(arguments, sentence, tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["ablate", str(tmp_path / "out"), *arguments])
    assert str(caught.value.code).startswith(sentence)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A script that trains nothing, beside the models that it leaves."""
    folder = tmp_path_factory.mktemp("script")
    for number, name in enumerate(("0", "1", "04096", "14096")):
        torch.manual_seed(number)
        refiner = Refiner.from_preset("eyes")
        torch.nn.init.normal_(refiner.head.weight, std=0.05 * (number + 1))
        refiner.save_pretrained(folder / name, metadata={"commit": "c0ffee"})
        Discriminator.from_preset("eyes").save_pretrained(folder / name)
    (folder / "train.py").write_text(STAND_IN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "SCRIPT", folder / "train.py")
        yield folder


ARGUMENTS = ["--variants", "history", "global loss", "no EMA", "--seeds", "2", "--limit", "40", "--jobs", "2"]


@pytest.fixture(scope="module")
def twice(stand_in, tmp_path_factory):
    """The output of an ablation that was called a second time, and what it had left after the first."""
    output = tmp_path_factory.mktemp("ablation") / "out"
    main(["ablate", str(output), *ARGUMENTS])
    first = json.loads((output / "ablation.json").read_text())
    kept = {file: file.stat().st_mtime_ns for file in output.glob("runs/*/result.json")}
    started = (stand_in / "started.txt").read_text().splitlines()
    main(["ablate", str(output), *ARGUMENTS])
    return output, first, kept, started


def test_what_is_finished_is_not_trained_again_and_what_was_killed_is(twice, stand_in):
    _, first, kept, started = twice
    assert len(started) == 8 and len(kept) == 7
    (killed,) = [run for variant in first["variants"] for run in variant["runs"] if run["variant"] == "no EMA"][:1]
    assert killed["failed"].startswith("ended with status -9; see train.log in no-ema-seed0-")
    assert all(file.stat().st_mtime_ns == changed for file, changed in kept.items())
    again = (stand_in / "started.txt").read_text().splitlines()[8:]
    assert [line.split("-seed")[0] for line in again] == ["no-ema"]
    cores = count_cores()
    assert {line.split()[1] for line in started} == {str(max(1, cores // 2))}


def test_the_table_holds_every_variant_and_seed_and_why_one_failed(twice):
    output, *_ = twice
    report = json.loads((output / "ablation.json").read_text())
    assert [variant["name"] for variant in report["variants"]] == ["recipe", "history", "global loss", "no EMA"]
    assert all([run["seed"] for run in variant["runs"]] == [0, 1] for variant in report["variants"])
    assert (report["commits"], report["seeds"], report["steps"], report["updates"]) == (["c0ffee"], [0, 1], 300, 950)
    recipe, history, failed, _ = report["variants"]
    assert [run["failed"] for run in failed["runs"]] == [GIVES_BACK] * 2
    assert failed["mean"]["distance"] is failed["difference"]["distance"] is None
    distances = [[run["distance"] for run in variant["runs"]] for variant in (recipe, history)]
    assert len({*distances[0], *distances[1]}) == 4
    assert recipe["mean"]["distance"] == pytest.approx(np.mean(distances[0]))
    assert history["difference"]["distance"] == pytest.approx(np.mean(np.subtract(*distances[::-1])))
    assert all(
        run["closed"] == pytest.approx((report["raw"] - d) / (report["raw"] - report["floor"]))
        for run, d in zip(recipe["runs"], distances[0], strict=True)
    )
    table = (output / "ablation.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    each = ", ".join(f"{1000 * d:.1f}" for d in distances[1])
    assert f"{1000 * history['mean']['distance']:.1f} ({each})" in rows["history"]
    assert f"{1000 * history['difference']['distance']:+.1f}" in rows["history"]
    assert f"seed 1: {GIVES_BACK}" in rows["global loss"]


def test_the_points_of_the_frontier_are_those_of_the_report(twice):
    output, *_ = twice
    report = json.loads((output / "ablation.json").read_text())
    figure = frontier(report)
    for axes, key in zip(figure.axes, ("shift", "shift_median"), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert "global loss" not in lines
        for variant in report["variants"]:
            if variant["name"] in lines:
                expected = [(run[key], 1000 * run["distance"]) for run in variant["runs"]]
                assert lines[variant["name"]].get_xydata() == pytest.approx(np.array(expected))
        assert {"recipe", "history", "no EMA"} <= set(lines)
        assert tuple(lines["raw"].get_xydata()[0]) == pytest.approx((0, 1000 * report["raw"]))
        assert lines["floor (real to real)"].get_ydata()[0] == pytest.approx(1000 * report["floor"])
        assert lines["bound on the shift"].get_xdata()[0] == report["bounds"][key]


def test_the_frontier_joins_what_differs_in_lambda_alone_in_its_order(twice):
    report = json.loads((twice[0] / "ablation.json").read_text())
    rows = []
    for name, weight, shift, changes in (
        ("recipe", 0.07, 1, {}),
        ("λ × 4", 0.28, 2, {}),
        ("λ × 0.5", 0.035, 3, {}),
        ("no EMA", 0.07, 4, {"ema_decay": 0.0}),
    ):
        run = {"distance": 0.05, "shift": float(shift), "shift_median": float(shift)}
        rows.append({"name": name, "regularization_weight": weight, "changes": changes, "runs": [run], "mean": run})
    figure = frontier(report | {"variants": rows})
    (line,) = [line for line in figure.axes[0].lines if line.get_label().startswith("λ alone")]
    assert list(line.get_xdata()) == [3, 1, 2]
    styles = {(line.get_marker(), line.get_color()) for line in figure.axes[0].lines}
    assert len(styles) == len(figure.axes[0].lines) - 1  # floor and bound have no marker
    assert Image.open(io.BytesIO(as_png(figure))).size[0] == 700


def test_pictures_are_drawn_of_what_was_trained(twice):
    output, *_ = twice
    assert not (output / "local.png").exists()  # its run failed
    for name in ("frontier.png", "history.png"):
        with Image.open(output / name) as image:
            assert np.asarray(image.convert("L")).std() > 20
    with Image.open(output / "history.png") as image:
        third = image.height // 3
        rows = [np.asarray(image.convert("L").crop((0, k * third, image.width, (k + 1) * third))) for k in range(3)]
    assert all(not np.array_equal(a, b) for a, b in ((rows[0], rows[1]), (rows[1], rows[2])))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_an_ablation_that_was_stopped_goes_on_where_its_run_was(tmp_path):
    output = tmp_path / "out"
    arguments = ["ablate", str(output), "--variants", "recipe", "--seeds", "1", "--steps", "1", "--limit", "40"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "simgan", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )

    def log() -> str:
        return "".join(file.read_text() for file in output.glob("runs/*/train.log"))

    limit = time.monotonic() + 200
    while "discriminator warm-up" not in log() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=100)
    assert (process.returncode, told) == (1, "interrupted; the same command continues the work\n")
    assert "Stopped; go on with --resume" in log()  # so its process has ended
    (checkpoint,) = output.glob("runs/*/checkpoints/step-*")
    done = int(checkpoint.name.rpartition("-")[2])
    assert checkpoint.name.startswith("step-000000-warm-up-") and 0 < done < 50
    assert not (output / "ablation.json").exists()
    finished = subprocess.run([sys.executable, "-m", "simgan", *arguments], env=environment, capture_output=True)
    assert finished.returncode == 0, finished.stderr
    assert f"{done}/50" in log().split("Stopped")[1]  # it went on from there
    (run,) = json.loads((output / "ablation.json").read_text())["variants"][0]["runs"]
    assert run["failed"] is None and 0 < run["distance"] < 1
    (step,) = output.glob("runs/*/checkpoints/step-*")
    assert step.name == "step-000001"
    Refiner.from_pretrained(step)


def test_a_variant_that_leaves_no_step_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="110 updates leave no step to the variant 'refiner warm-up', of 250 to warm"):
        plan(recipe_of("eyes", steps=20), Path(tmp_path), ["refiner warm-up"])


def test_a_global_loss_takes_the_place_of_a_branch_that_judges_the_whole_image(tmp_path):
    runs = plan(recipe_of("eyes", steps=20), Path(tmp_path), ["global loss"], seeds=1)
    recipe, variant = (build(run.config, {})[1].config for run in runs)
    assert (recipe.scope, recipe.whole > 0) == ("local", True)
    assert (variant.scope, variant.whole) == ("global", 0)
