"""`simgan report`: every figure is of the records, the same inputs give the same bytes, what is wrong is a sentence."""

import json
import math
import re
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from PIL import Image
from publishing_runs import SECRET, make_run, measure

from simgan import ConfigError, Refiner, SimGANError, SourceError
from simgan.cli import main
from simgan.cli.evaluate import as_json
from simgan.experiments.gaze.experiment import GazeExperiment
from simgan.experiments.hand_pose.experiment import HandsExperiment
from simgan.experiments.report.write import write_report
from simgan.experiments.run import run_experiment
from simgan.experiments.sources import Sources
from simgan.experiments.tables import as_report, draw_curve
from simgan.hub.cards.records import read_records
from simgan.hub.loading import SHIPPED
from simgan.measures.realism import Realism, Row
from simgan.measures.shift import Figure, Shift
from simgan.measures.statistics import Estimate

PATCHES = Row("patch distance", *(Estimate(v, v - 0.01, v + 0.01) for v in (0.05, 0.09, 0.03)), factor=1000, digits=1)
CLOSED = Estimate(2 / 3, 0.5, 0.8)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory):
    """A folder as `simgan evaluate gaze --output` leaves it, of networks that saw next to nothing."""
    folder = tmp_path_factory.mktemp("experiments") / "gaze"
    folder.mkdir()
    tiny = {"train_real": "camera:eyes", "finetune": (8,), "seeds": 2, "limit": 24, "test_limit": 20, "width": 0.1}
    experiment = GazeExperiment("simulator:eyes", "camera:eyes", steps=2, batch=8, **tiny)
    sources = Sources(experiment)
    arms = run_experiment(sources)
    (folder / "gaze.json").write_text(json.dumps(as_report(sources, arms)))
    (folder / "gaze.png").write_bytes(draw_curve(experiment, arms))
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def ablation(tmp_path):
    """A folder as `simgan ablate` leaves it."""
    folder = tmp_path / "ablated"
    folder.mkdir()
    (folder / "ablation.json").write_text(json.dumps({"real": [f"mpiigaze:{SECRET}"], "images": {"real": 3}}))
    (folder / "ablation.md").write_text(
        "# Ablation\n\n| variant | distance |\n|---|---|\n| no history | 44.4 |\n\nMeans."
    )
    for name in ("frontier", "history"):
        Image.new("L", (9, 9)).save(folder / f"{name}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_ships_is_reported_as_its_records_have_it(gaze, tmp_path, capsys):
    main(["report", "eyes", "eyes-simulated", str(gaze), "--output", str(tmp_path / "report")])
    assert capsys.readouterr().out == f"{tmp_path / 'report' / 'report.md'}\n"
    files = contents(tmp_path / "report")
    text, told = files["report.md"].decode(), json.loads(files["report.json"])
    assert "| eyes | 0 | 1050, 2000 | 82.9 | 50.1 | 40.9 | 78 % | 0.52 | 0.37 |" in text  # as its card says
    assert "`eyes`: trained by simgan 0.1.0, commit 054fdfa" in text
    linked = re.findall(r"\]\((.*?)\)", text)
    assert set(linked) | {"report.md", "report.json"} == set(files)
    for name in ("eyes", "eyes-simulated"):
        records = read_records(SHIPPED / name)
        assert json.loads(files[f"runs/{name}/training.json"]) == records.settings
        (model,) = yaml.safe_load(files[f"runs/{name}/model-index.yaml"])["model-index"]
        result, *_ = model["results"]  # others are what networks reached
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert values["patch-distance"] == records.best["realism"]
        assert values["annotation-shift-median"] == records.best["shift_median"]
    figures = json.loads((gaze / "gaze.json").read_text())
    assert files["figures/gaze-gaze-curve.png"] == (gaze / "gaze.png").read_bytes()
    for arm in figures["arms"]:
        seeds = ", ".join(f"{seed['error']:.2f}" for seed in arm["seeds"])
        assert f"| {arm['trained_on']} | 24 | {arm['error']['value']:.2f} (" in text
        assert f" | {seeds} |" in text
    assert f"| refined − synthetic, both then 8 real | {figures['differences'][1]['error']['value']:.2f} (" in text
    assert told["experiment"]["gaze-gaze"]["arms"] == figures["arms"]
    assert told["machine"]["cores"] >= 1
    assert told["versions"]["torch"]
    assert list(tmp_path.iterdir()) == [tmp_path / "report"]


def test_the_same_inputs_give_the_same_bytes(gaze, run, ablation, tmp_path):
    for name in ("one", "other"):
        write_report([str(run), str(gaze), str(ablation)], tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_seeds_of_one_recipe_stand_side_by_side_with_mean_and_spread(run, tmp_path):
    other = make_run(tmp_path / "other", seed=1)
    rows = [measure(step) | {"realism": 0.05} for step in (0, 10, 20)]
    (other / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    apart = make_run(tmp_path / "apart", seed=1, regularization_weight=0.25)
    write_report([str(run), str(other), str(apart)], tmp_path / "report")
    recipes = json.loads((tmp_path / "report" / "report.json").read_text())["recipes"]
    assert [[row["name"] for row in recipe["rows"]] for recipe in recipes] == [["run", "other"], ["apart"]]
    assert recipes[0]["mean"]["refined"] == pytest.approx(statistics.fmean([70, 50]))
    assert recipes[0]["spread"]["refined"] == pytest.approx(statistics.stdev([70, 50]))
    assert recipes[1]["mean"] is None
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| mean |  | 20 | 90.0 | 60.0 | 30.0 | 50 % |" in text
    assert "| standard deviation over 2 seeds |  | 0 | 0.0 | 14.1 | 0.0 | 24 % |" in text
    assert json.loads((tmp_path / "report" / "runs" / "run" / "training.json").read_text())["seed"] == 0


def test_nothing_tells_where_things_lie_on_this_machine(run, gaze, ablation, tmp_path):
    figures = json.loads((gaze / "gaze.json").read_text()) | {"real": f"mpiigaze:{SECRET}/p00", "models": [str(run)]}
    (run / "gaze.json").write_text(json.dumps(figures))
    (ablation / "ablation.md").write_text(f"| variant |\n|---|\n| failed: {ablation}/runs/0 is full |\n")
    write_report([str(run), str(ablation)], tmp_path / "report")
    for name, content in contents(tmp_path / "report").items():
        assert SECRET.encode() not in content, name
        assert str(tmp_path).encode() not in content, name
    text = (tmp_path / "report" / "report.md").read_text()
    assert "`mpiigaze:MPIIGaze@evaluation`" in text
    assert "tested on `mpiigaze:p00`" in text
    assert "ablated/runs/0 is full" in text
    (model,) = yaml.safe_load((tmp_path / "report" / "runs" / "run" / "model-index.yaml").read_text())["model-index"]
    assert "gaze-error-refined" in {metric["type"] for result in model["results"] for metric in result["metrics"]}


def test_realism_and_shift_are_reported_with_what_they_were_measured_on(tmp_path):
    realism, shift = tmp_path / "realism.json", tmp_path / "shift.json"
    few = ["--model", "eyes-simulated", "--limit", "20", "--seed", "5"]
    main(["evaluate", "shift", "simulator:eyes", *few, "--output", str(shift)])
    other = Row(
        "classifier accuracy", *(Estimate(value, value - 0.1, value + 0.1) for value in (0.7, 0.95, 0.5)), 100, 0, " %"
    )
    result = Realism((PATCHES, other), CLOSED, "patch distance", "Chance is 50 %.")
    refiner = Refiner.from_pretrained("eyes-simulated")
    realism.write_text(json.dumps(as_json(result, refiner, "simulator:eyes", "camera:eyes", limit=20, seed=5)))
    write_report([str(realism), str(shift)], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert (
        "`simulator:eyes` refined by `eyes-simulated` against `camera:eyes`, at most 20 images of each, seed 5" in text
    )
    assert "| patch distance × 1000 | 50.0 (40.0 to 60.0) | 90.0 (80.0 to 100.0) | 30.0 (20.0 to 40.0) |" in text
    assert "| classifier accuracy | 70 % (60 to 80) |" in text
    assert "Share of the gap closed, of the patch distance: 67 % (50 to 80). Chance is 50 %." in text
    moved = json.loads(shift.read_text())
    assert "shift: `simulator:eyes` refined by `eyes-simulated`, 20 images, seed 5, simgan" in text
    assert f"| how far the labelled parts moved | |\n|---|---|\n| median | {moved['median']['value']:.2f} px (" in text
    assert f"| not measured | {100 * moved['missed']:.1f} % |" in text
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert told["shift"]["shift"]["measured_on"]["step"] == "2100"
    for file in (realism, shift):
        values = json.loads(file.read_text())
        del values["measured_on"]
        file.write_text(json.dumps(values))
        with pytest.raises(SourceError, match=f"{file.name} is damaged .'measured_on' is undefined"):
            write_report([str(file)], tmp_path / "report")


def test_hands_are_reported_in_millimetres_and_joints(tmp_path):
    run = make_run(tmp_path / "hands", "hands")
    seeds = [{"share_within_5px": share, "error": 6.0} for share in (0.5, 0.6)]
    figures = {key: asdict(Estimate(value, value, value)) for key, value in (("error", 6.0), ("error_mm", 9.0))}
    share, ahead = (asdict(Estimate(value, value - 0.01, value + 0.01)) for value in (0.55, 0.03))
    arms = [
        {"trained_on": name, "images": 9, "share_within_5px": share, "seeds": seeds} | figures
        for name in ("synthetic", "refined")
    ]
    differences = [{"first": "refined", "second": "synthetic", "share_within_5px": ahead} | figures]
    experiment = HandsExperiment("simulator:hands", "camera:hands")
    task = {name: getattr(experiment, name) for name in ("axis", "unit", "less_is_better")}
    task |= {"title": "Hand pose", "share": "joints", "columns": [asdict(column) for column in experiment.columns]}
    known = {"synthetic": "simulator:hands", "real": "camera:hands", "test_images": 5, "resampled": "persons"}
    told = known | {
        "settings": {},
        "task": task,
        "arms": arms,
        "differences": differences,
    }
    (run / "hands.json").write_text(json.dumps(told))
    holes = Row("holes", *(Estimate(value, value, value) for value in (0.05, 0.07, 0.01)), 100, 2, " %")
    depth = Realism((PATCHES, holes), CLOSED, "detail patches", "Distances from real images.")
    median, p90, mean, lost = (Estimate(value, value, value) for value in (1.5, 4.0, 3.5, 0.02))
    surface = Shift("surface", "mm", 4, 0.0, median, p90, mean, (Figure("readings lost", lost, 100, 2, " %"),))
    refiner = Refiner.from_pretrained(run)
    for name, one in (("realism", depth), ("shift", surface)):
        told = as_json(one, refiner, "simulator:hands", "camera:hands", limit=20, seed=5)
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    write_report([str(run), str(tmp_path / "realism.json"), str(tmp_path / "shift.json")], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    for line in (
        "| share of the gap closed | surface moved, mm: 90th percentile | median |",
        "| holes | 5.00 % (5.00 to 5.00) | 7.00 % (7.00 to 7.00) | 1.00 % (1.00 to 1.00) |",
        "Share of the gap closed, of the detail patches: 67 % (50 to 80). Distances from real images.",
        "| how far the surface moved | |",
        "| 90th percentile | 4.00 mm (4.00 to 4.00) |",
        "| readings lost | 2.00 % (2.00 to 2.00) |",
        "| trained on | images | within 5 px, % | error px | error mm | each seed |",
        "| refined | 9 | 55.0 (54.0 to 56.0) | 6.00 (6.00 to 6.00) | 9.00 (9.00 to 9.00) | 50.0, 60.0 |",
        "| refined − synthetic | 3.0 (2.0 to 4.0) |",
    ):
        assert line in text
    assert not re.search(r"iris\b|gaze|°", text)
    assert Image.open(tmp_path / "report" / "samples" / "hands.png").width > 1000
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert told["experiment"]["hands-hands"]["arms"] == arms
    assert told["shift"]["shift"]["median"]["value"] == 1.5


def test_an_ablation_comes_with_its_table_and_frontier(ablation, tmp_path):
    write_report([str(ablation)], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| no history | 44.4 |\n\nMeans." in text
    assert text.index("figures/ablated-frontier.png") < text.index("figures/ablated-history.png")
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert told["ablations"]["ablated"] == {"real": [f"mpiigaze:{Path(SECRET).name}"], "images": {"real": 3}}


def test_runs_that_are_called_alike_are_told_apart(run, tmp_path):
    shutil.copytree(run, tmp_path / "seed1" / "run")
    write_report([str(run), str(tmp_path / "seed1" / "run")], tmp_path / "report")
    assert {place.name for place in (tmp_path / "report" / "runs").iterdir()} == {"run", "run-2"}
    with pytest.raises(ConfigError, match="is given twice"):
        write_report([str(run), f"{run}/"], tmp_path / "report")


def drop(name):
    return lambda run: (run / name).unlink()


def damage(name, change):
    return lambda run: (run / name).write_text(change((run / name).read_text()))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (drop("training.json"), "holds no training.json"),
        (drop("metrics.jsonl"), "holds no metrics.jsonl"),
        (drop("model.safetensors"), "holds no model.safetensors of a simgan refiner"),
        (
            damage("metrics.jsonl", lambda text: text.replace('{"step": 10, "realism"', '{"step": 10, "rea')),
            "line 3 of metrics.jsonl is damaged",
        ),
        (
            damage("metrics.jsonl", lambda text: text.replace('"realism_floor": 0.03, ', "")),
            "metrics.jsonl lacks 'realism_floor'",
        ),
        (
            damage("metrics.jsonl", lambda text: text.replace("0.09,", '"0.09",', 1)),
            "records in .* cannot be read",
        ),
        (damage("metrics.jsonl", lambda text: text.replace('"step": 20', '"step": 21')), "has no measure of step 20"),
        (damage("training.json", lambda text: text.replace('"seed"', '"seeds"')), "training.json lacks 'seed'"),
        (damage("training.json", lambda text: text[:50]), "cannot be read"),
        (lambda run: (run / "samples" / "step-000020.png").write_bytes(b""), "step-000020.png is damaged"),
        (
            lambda run: Image.new("L", (60, 41)).save(run / "samples" / "step-000020.png"),
            "step-000020.png is damaged",
        ),
        (lambda run: (run / "gaze.json").write_text('{"raw": []}'), "gaze.json lacks 'task'"),
        (lambda run: (run / "gaze.json").write_text('{"task": {"columns": 3}, "arms": 3}'), "gaze.json is damaged"),
    ],
)
def test_a_damaged_run_is_a_sentence_and_the_report_before_stays(run, harm, sentence, tmp_path):
    write_report([str(run)], tmp_path / "report")
    before = contents(tmp_path / "report")
    harm(run)
    with pytest.raises(SimGANError, match=sentence):
        write_report([str(run)], tmp_path / "report")
    assert contents(tmp_path / "report") == before
    assert sorted(place.name for place in tmp_path.iterdir()) == ["report", "run"]


def test_the_line_that_was_written_when_a_run_was_killed_is_left_out(run, tmp_path):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "real')
    write_report([str(run)], tmp_path / "report")
    rows = (tmp_path / "report" / "runs" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [0, 10, 20, 30]
    assert not any(math.isnan(value) for row in rows for value in json.loads(row).values())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing/place", "missing/place does not exist: give the folder of a run"),
        ("nothing", "no model 'nothing'"),
        ("./empty", "empty is no run and holds no results"),
        ("./other.json", "is no result of `simgan evaluate`"),
        ("./list.json", "list.json is damaged"),
        ("./half", "half holds no ablation.md: give the folder as training or `simgan ablate` left it"),
    ],
)
def test_what_is_neither_run_nor_result_ends_in_one_sentence(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "half"):
        (tmp_path / folder).mkdir()
    (tmp_path / "half" / "ablation.json").write_text("{}")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SystemExit, match=f"error: .*{sentence}"):
        main(["report", name, "--output", "report"])
    assert not (tmp_path / "report").exists()


def test_only_a_report_is_replaced(run, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="run exists and is not a report"):
        write_report([str(run)], run)
    with pytest.raises(ConfigError, match="exists and is not a report"):
        write_report([str(run)], run / "training.json")
    with pytest.raises(SourceError, match="cannot be written"):
        write_report([str(run)], Path("/proc/nothing/report"))
    other = make_run(tmp_path / "other")
    write_report([str(other), str(run)], tmp_path / "report")
    write_report([str(run)], tmp_path / "report")
    assert [place.name for place in (tmp_path / "report" / "runs").iterdir()] == ["run"]

    def rename(self, target, rename=Path.rename):
        if self.name == "new":
            raise OSError("the disk failed")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(SourceError, match="cannot be written"):
        write_report([str(run), str(other)], tmp_path / "report")
    assert [place.name for place in (tmp_path / "report" / "runs").iterdir()] == ["run"]  # the old one stays
