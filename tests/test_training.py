"""Training in one process and in two, stopped, killed and resumed: the weights are those of an uninterrupted run."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from datasets import Features, Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from train_arrays import data, finish, small, start

from simgan import ConfigError, Discriminator, Refiner, SourceError, TrainingError
from simgan.data import Crops
from simgan.data.columns import as_dataset, image_cell
from simgan.hub.cards.records import read_records
from simgan.images.arrays import equalize_images
from simgan.losses import gradient_penalty
from simgan.simulators.eyes import renders as eyes
from simgan.training import bank as bank_module
from simgan.training import checkpoints, held_out, selection
from simgan.training.augmentation import augment
from simgan.training.bank import Bank
from simgan.training.config import from_command_line
from simgan.training.config import preset as preset_of
from simgan.training.data import generator
from simgan.training.draws import Plan
from simgan.training.loop import Run
from simgan.training.processes import make_accelerator
from simgan.training.step import Trainer


def state(run):
    newest = sorted((run / "checkpoints").iterdir())[-1]
    return newest.name, load_file(newest / "state.safetensors")


def best(run):
    """Step and weights of the refiner and of the discriminator at a run's root."""
    for name in ("model.safetensors", "discriminator/model.safetensors"):
        with safe_open(run / name, "pt") as file:
            yield file.metadata()["step"], {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert len(first) > 20
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert different == []


def assert_close(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.allclose(value, second[key], rtol=0, atol=1e-6), key


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    finish(start({"output": run, "steps": 6, "evaluate_every": 2}))
    return run


def test_a_run_leaves_a_model_samples_measures_and_the_last_checkpoints(uninterrupted):
    names = sorted(path.name for path in uninterrupted.iterdir())
    assert names == [
        "checkpoints",
        "config.json",
        "discriminator",
        "metrics.jsonl",
        "model.safetensors",
        "samples",
        "training.json",
    ]
    assert sorted(path.name for path in (uninterrupted / "checkpoints").iterdir()) == ["step-000004", "step-000006"]
    assert len(list((uninterrupted / "samples").iterdir())) == 4
    rows = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "realism" in row and "shift" in row] == [0, 2, 4, 6]
    Refiner.from_pretrained(uninterrupted)
    Discriminator.from_pretrained(uninterrupted)
    Refiner.from_pretrained(uninterrupted / "checkpoints" / "step-000006")


def test_sigterm_writes_a_checkpoint_and_the_resumed_run_ends_bit_for_bit_alike(uninterrupted, tmp_path):
    run = tmp_path / "run"
    settings = {"output": run, "steps": 6, "evaluate_every": 2}
    out, _ = finish(start(settings, STOP_AT="2"))
    assert "--resume" in out
    assert state(run)[0] == "step-000003"
    finish(start({**settings, "resume": True}))
    assert_same(state(uninterrupted)[1], state(run)[1])


def test_kill_9_loses_at_most_one_interval_and_the_resumed_run_ends_bit_for_bit_alike(uninterrupted, tmp_path):
    run = tmp_path / "run"
    settings = {"output": run, "steps": 6, "evaluate_every": 2}
    finish(start(settings, DIE_AT="5"), code=-9)
    assert state(run)[0] == "step-000004"
    finish(start({**settings, "resume": True, "hub_revision": "dev"}))  # where to push to may change
    assert_same(state(uninterrupted)[1], state(run)[1])
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("where", "left"), [("checkpoint", ["step-000002"]), ("rename", ["step-000002"]), ("best", [])]
)
def test_kill_9_while_something_is_written_leaves_what_was_there_and_loses_one_interval(
    uninterrupted, tmp_path, where, left
):
    run = tmp_path / "run"
    settings = {"output": run, "steps": 6, "evaluate_every": 2}
    finish(start(settings, DIE_IN=where), code=-9)
    assert [path.name for path in (run / "checkpoints").glob("step-*")] == left
    finish(start({**settings, "resume": bool(left)}))
    assert_same(state(uninterrupted)[1], state(run)[1])
    for (step, tensors), (same_step, same_tensors) in zip(best(run), best(uninterrupted), strict=True):
        assert step == same_step
        assert all(torch.equal(value, same_tensors[key]) for key, value in tensors.items())
    assert not list(run.rglob(".*"))  # nothing half is left


def test_the_best_refiner_and_its_discriminator_are_of_the_same_step(uninterrupted):
    (step, _), (same_step, _) = best(uninterrupted)
    assert step == same_step


WHOLE = {"preset": "eyes", "preparation": False, "gradient_penalty": 1.0, "batch_size": 16, "updates": 2}
SUM = {"preset": "eyes-paper", "reduction": "sum", "max_grad_norm": 0.0, "updates": 2}


@pytest.mark.parametrize(
    "settings", [{"preset": "eyes-paper", "updates": 9}, WHOLE, SUM], ids=["patches", "whole", "sum"]
)
def test_two_processes_compute_what_one_does(tmp_path, settings):
    settings = {**settings, "history_size": 24}
    finish(start({**settings, "save": tmp_path / "one"}))
    finish(start({**settings, "save": tmp_path / "two"}, processes=2))
    one, rank_0, rank_1 = (load_file(tmp_path / f"{name}.safetensors") for name in ("one-0", "two-0", "two-1"))
    assert [int(weights.pop("processes")) for weights in (one, rank_0, rank_1)] == [1, 2, 2]
    assert_same(rank_0, rank_1)
    assert (one.pop("history") - rank_0.pop("history")).abs().max() <= 1  # a grey level at a rounding edge
    assert_close(one, rank_0)


def test_r1_counts_in_every_eighth_update_of_the_discriminator():
    def after(number, penalty):
        torch.manual_seed(0)
        config = small(gradient_penalty=penalty, history_size=0)
        trainer = Trainer(config, data(), make_accelerator(config))
        trainer.counters.discriminator_updates = number
        trainer.update_discriminator()
        return torch.cat([p.flatten() for p in trainer.discriminator.parameters()])

    assert not torch.equal(after(8, 0.0), after(8, 10.0))
    assert torch.equal(after(9, 0.0), after(9, 10.0))


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_micro_batches_add_up_to_the_whole_batch(float64):
    results = []
    for parts in (1, 2):
        torch.manual_seed(0)
        config = small(gradient_accumulation_steps=parts)
        trainer = Trainer(config, data(), make_accelerator(config))
        for _ in range(3):
            trainer.update_refiner()
            trainer.update_discriminator()
        results.append({**trainer.refiner.state_dict(), **trainer.discriminator.state_dict()})
    assert_close(*results)


def test_an_update_of_one_network_leaves_the_other_alone():
    trainer = Trainer(small(), data(), make_accelerator(small()))
    copies = [{k: v.clone() for k, v in n.state_dict().items()} for n in (trainer.refiner, trainer.discriminator)]
    trainer.update_refiner()
    assert any(not torch.equal(v, copies[0][k]) for k, v in trainer.refiner.state_dict().items())
    assert all(torch.equal(v, copies[1][k]) for k, v in trainer.discriminator.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.discriminator.parameters())
    refiner = {k: v.clone() for k, v in trainer.refiner.state_dict().items()}
    trainer.update_discriminator()
    assert all(torch.equal(v, refiner[k]) for k, v in trainer.refiner.state_dict().items())
    assert any(not torch.equal(v, copies[1][k]) for k, v in trainer.discriminator.state_dict().items())


def test_updates_of_the_refiner_lower_the_probability_of_being_refined():
    config = small(regularization_weight=0.0, augment=[], flip=False, learning_rate=1e-3)
    trainer = Trainer(config, data(), make_accelerator(config))
    for _ in range(10):
        trainer.update_discriminator()
    trainer.take_log()
    trainer.update_refiner()
    first = trainer.take_log()[0]["realism"]
    for _ in range(10):
        trainer.update_refiner()
    assert trainer.take_log()[0]["realism"] < first


def test_the_discriminator_alone_learns_to_tell_both_sides_apart():
    config = small(augment=[], learning_rate=1e-3, preparation=False)
    trainer = Trainer(config, data(), make_accelerator(config))
    for _ in range(40):
        trainer.update_discriminator()
    trainer.take_log()
    trainer.update_discriminator()
    log, _ = trainer.take_log()
    assert log["accuracy_refined"] > 0.7
    assert log["accuracy_real"] > 0.7


def test_half_of_a_refined_mini_batch_comes_from_the_history_once_it_can():
    config = small()
    trainer = Trainer(config, data(), make_accelerator(config))
    trainer.update_discriminator()
    assert len(trainer.history.state(1)) == 8  # the whole first mini-batch was new
    trainer.update_discriminator()
    assert len(trainer.history.state(2)) == 12  # then half of one


def test_batches_are_the_same_by_number_and_shares_are_even():
    sources = [np.full((10, 16, 16), 50, np.uint8), np.full((30, 16, 16), 200, np.uint8)]
    bank = Bank("real", sources, 8, seed=3)
    for first in (0, 40, 136):
        whole = bank.draw(np.arange(first, first + 8))
        assert (whole[:, 0, 0, 0] < 0).sum() == 4
        assert torch.equal(torch.cat([bank.draw(np.arange(start, start + 4)) for start in (first, first + 4)]), whole)
    places, mirrored = bank.places(np.arange(240))
    assert all(np.array_equal(np.sort(epoch), np.arange(10, 40)) for epoch in places[places >= 10].reshape(-1, 30))
    assert 60 < mirrored.sum() < 180


@pytest.mark.parametrize("sources", [1, 2])
def test_a_bank_that_is_streamed_gives_what_one_in_memory_gives(sources):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (20, 18, 16), np.uint8) for _ in range(sources)]
    numbers, found = np.arange(48).reshape(6, 8), []
    for most in (1e9, 0):
        bank = Bank("synthetic", images, 8, seed=1)
        bank.change(torch.sin)
        bank.weigh(torch.abs)
        bank.hold(torch.device("cpu"), most)
        block = bank.block(numbers)
        assert ("images" in block) is not bool(most)
        found.append([bank.take({name: values[row] for name, values in block.items()}) for row in range(6)])
    for (x, mask), (other, other_mask) in zip(*found, strict=True):
        assert torch.equal(x, other) and torch.equal(mask, other_mask)
    assert torch.allclose(found[0][2][0], bank.draw(numbers[2]), atol=1e-6)


def test_a_run_does_not_depend_on_how_many_draws_are_sent_together(monkeypatch):
    found = []
    for settings in ({}, {"DRAWN": 3}, {"SHARE": 0.0}, {"SHARE": 0.0, "STREAMED_BYTES": 1}):
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setattr(f"simgan.training.step.{name}", value)
            trainer = Trainer(small(), data(), make_accelerator(small()))
            assert bool(trainer.synthetic.held) is ("SHARE" not in settings)
            for _ in range(4):
                trainer.update_refiner()
                trainer.update_discriminator()
        found.append({**trainer.refiner.state_dict(), **trainer.discriminator.state_dict()})
    for other in found[1:]:
        assert_same(found[0], other)


def test_a_large_source_is_prepared_once_and_in_memory_where_the_disk_is_full(monkeypatch, tmp_path):
    monkeypatch.setattr(bank_module, "CACHED", 10)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path))
    images = eyes.render(range(12))[0]
    crops = Crops(as_dataset([{"image": image_cell(image)} for image in images], Features({"image": Image()})))
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda place: full)
        in_memory = Bank("real", [crops], 4, 0, equalize=True).parts[0]
    with monkeypatch.context() as patch, pytest.raises(SourceError, match="broken"):
        patch.setattr("simgan.training.bank._write", lambda *arguments: (_ for _ in ()).throw(SourceError("broken")))
        Bank("real", [crops], 4, 0, equalize=True)
    assert not list(tmp_path.rglob("*.npy"))  # no half of one either
    first = Bank("real", [crops], 4, 0, equalize=True).parts[0]
    (kept,) = tmp_path.rglob("*.npy")
    with monkeypatch.context() as patch:
        patch.setattr(Crops, "__getitem__", None)  # not decoded again
        second = Bank("real", [crops], 4, 0, equalize=True).parts[0]
    assert torch.equal(first, in_memory) and torch.equal(second, in_memory)
    changed = []
    for kind in ([crops], [np.stack(crops[np.arange(12)])]):  # in a file, in memory
        bank = Bank("real", kind, 4, 0)
        bank.change(torch.sin)
        changed.append(bank.parts[0])
    assert torch.equal(*changed)
    assert np.array_equal(in_memory[:, 0].numpy(), equalize_images(images))
    Bank("real", [crops], 4, 0)  # not equalized: another file
    assert len(list(tmp_path.rglob("*.*"))) == 2 and kept.is_file()  # and nothing else


def test_augmentation_lets_the_gradient_through_and_moves_as_drawn():
    images = torch.rand(4, 1, 20, 20, dtype=torch.float64, requires_grad=True)
    draws = torch.from_numpy(generator(0, "a", 0).uniform(-1, 1, (4, 4)))
    assert torch.autograd.gradcheck(lambda x: augment(x, draws, ("brightness", "contrast")), images)
    moved = augment(images, torch.tensor([[0, 0, 1.0, 0]] * 4), ("translation",))
    assert torch.equal(moved[..., :17], images[..., 3:])


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="batch_size must be even"):
        small(batch_size=7)
    with pytest.raises(ConfigError, match="multiple of 32"):
        Trainer(small(gradient_accumulation_steps=8), data(), make_accelerator(small()))
    with pytest.raises(SourceError, match="has only 40"):
        Trainer(small(batch_size=48, history_size=24), data(), make_accelerator(small()))
    with pytest.raises(TrainingError, match="nothing to resume"):
        Run(small(output=tmp_path / "none", resume=True), data())
    with pytest.raises(ConfigError, match=r"augment must be of brightness.*cutout"):
        small(augment=["cutout"])
    with pytest.raises(ConfigError, match="unknown preset 'ears'"):
        from_command_line(["--preset", "ears"])


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(uninterrupted):
    with pytest.raises(TrainingError, match="holds a run already"):
        Run(small(output=uninterrupted, steps=6, evaluate_every=2), data())
    with pytest.raises(TrainingError, match="seed 0 → 5"):
        Run(small(output=uninterrupted, steps=6, evaluate_every=2, resume=True, seed=5), data())


def test_a_full_disk_leaves_the_older_checkpoints_whole(uninterrupted, monkeypatch):
    run = Run(small(output=uninterrupted, steps=6, evaluate_every=2, resume=True), data())
    before = state(uninterrupted)[1]

    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simgan.training.checkpoints.save_file", full)
    run.trainer.counters.step = 8
    with pytest.raises(TrainingError, match="the disk is full: free some space"):
        run._checkpoint()
    assert_same(before, state(uninterrupted)[1])
    assert not list((uninterrupted / "checkpoints").glob(".*"))


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("state.json", "{}", "cannot be read"),
        ("state.json", '{"config": 1}', "cannot be read"),
        ("state.json", "half", "cannot be read"),
        ("state.safetensors", None, "cannot be read"),
        ("state.safetensors", b"", "cannot be read"),
    ],
)
def test_a_broken_checkpoint_is_named(uninterrupted, tmp_path, file, content, sentence):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    place = run / "checkpoints" / "step-000006" / file
    if content is None:
        place.write_bytes(place.read_bytes()[:5000])
    else:
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrainingError, match=rf"step-000006 {sentence}.*: delete it, and the one before is resumed"):
        Run(small(output=run, steps=6, evaluate_every=2, resume=True, mixed_precision="auto"), data())


def test_a_checkpoint_of_another_network_is_refused(uninterrupted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    place = run / "checkpoints" / "step-000006" / "state.safetensors"
    tensors = load_file(place)
    save_file({key: value for key, value in tensors.items() if key != "refiner/head.bias"}, place)
    with pytest.raises(TrainingError, match="is of another refiner than the preset's"):
        Run(small(output=run, steps=6, evaluate_every=2, resume=True), data())


def test_the_scale_of_fp16_gradients_is_resumed(tmp_path):
    run = Run(small(output=tmp_path / "run", steps=2), data())
    run.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=7.0)
    run._checkpoint()
    resumed = make_accelerator(small())
    resumed.scaler = torch.amp.GradScaler("cpu")
    checkpoints.restore(Trainer(run.config, data(), resumed), checkpoints.read(run.config.output))
    assert resumed.scaler.get_scale() == 7.0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_are_those_of_the_whole_batch_in_any_number_of_parts(float64, reduction):
    found = []
    for parts in (1, 2):
        config = small(
            gradient_accumulation_steps=parts, reduction=reduction, max_grad_norm=0.0, gradient_penalty=1.0, augment=[]
        )
        trainer = Trainer(config, data(), make_accelerator(config))
        gradients = []
        for optimizer, network in (
            (trainer.refiner_optimizer, trainer.refiner),
            (trainer.discriminator_optimizer, trainer.discriminator),
        ):
            optimizer.step = partial(
                lambda network, kept: kept.extend(p.grad.clone() for p in network.parameters()), network, gradients
            )
        trainer.update_refiner()
        trainer.update_discriminator()
        found.append((gradients, trainer.take_log()[0]))
    assert len(found[0][0]) > 20
    for one, two in zip(found[0][0], found[1][0], strict=True):
        assert torch.allclose(one, two, rtol=1e-6, atol=1e-9)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_backward_and_the_penaltys_gradient_run_outside_autocast(fresh_accelerate, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    config = small(mixed_precision="bf16", gradient_penalty=1.0)
    trainer = Trainer(config, data(), make_accelerator(config))
    backward, grad, calls = trainer.accelerator.backward, torch.autograd.grad, []

    def outside(function, *arguments, **settings):
        calls.append(torch.is_autocast_enabled("cpu"))
        return function(*arguments, **settings)

    monkeypatch.setattr(trainer.accelerator, "backward", partial(outside, backward))
    monkeypatch.setattr(torch.autograd, "grad", partial(outside, grad))
    trainer.update_refiner()
    trainer.update_discriminator()
    assert calls == [False] * 3


def test_the_penaltys_gradient_takes_the_scale_of_fp16(monkeypatch):
    config = small(gradient_penalty=1.0, max_grad_norm=0.0)
    seen = []

    def kept(*arguments):
        seen.append(arguments[3])
        return gradient_penalty(*arguments)

    monkeypatch.setattr("simgan.training.step.gradient_penalty", kept)
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**12)):
        trainer = Trainer(config, data(), make_accelerator(config))
        trainer.accelerator.scaler = scaler
        trainer.update_discriminator()
    assert seen == [1.0, 2.0**12]


def test_updates_take_the_next_images_of_a_stream_and_waste_none():
    trainer = Trainer(small(), data(), make_accelerator(small()))
    plan = Plan(trainer.config, trainer.synthetic, trainer.real, trainer.history, trainer.accelerator)
    block, drawn = trainer.synthetic.block, []
    trainer.synthetic.block = lambda numbers: drawn.append(numbers) or block(numbers)
    plan.of_refiner(range(64, 128))
    plan.of_discriminator(range(64))
    assert np.array_equal(drawn[0].ravel(), np.arange(64 * 8, 128 * 8))
    seen = [row[: 8 - trainer.history.past(update)] for update, row in enumerate(drawn[1])]
    assert [len(row) for row in seen[:3]] == [8, 4, 4]  # half comes from the history
    assert np.array_equal(np.concatenate(seen), np.arange(8 + 63 * 4))


def test_the_newest_checkpoint_is_that_of_the_largest_number(tmp_path):
    run = Run(small(output=tmp_path / "run", keep_checkpoints=2, steps=10**7), data())
    for step in (999_000, 1_000_000, 1_001_000):
        run.trainer.counters.step = step
        run._checkpoint()
    names = [place.name for place in checkpoints.all_of(run.config.output)]
    assert names == ["step-1000000", "step-1001000"]
    assert checkpoints.read(run.config.output).place.name == "step-1001000"


def test_a_history_of_less_than_half_a_batch_is_refused():
    with pytest.raises(ConfigError, match=r"history_size 3 is less than half of batch_size 8.*at least 4, or 0"):
        small(history_size=3)
    config = small(history_size=4)
    trainer = Trainer(config, data(), make_accelerator(config))
    for _ in range(3):
        trainer.update_discriminator()
    assert len(trainer.history.state(3)) == 4


def test_the_first_row_of_the_log_is_of_steps_alone(tmp_path):
    run = Run(small(output=tmp_path / "run", discriminator_warm_up=3, steps=1), data())
    for _ in run.discriminator_warm_up():
        run.trainer.update_discriminator()
    assert run.trainer.take_log()[0] == {}
    assert not (run.config.output / "metrics.jsonl").exists()


def test_a_warm_up_that_is_not_finite_stops_the_run(tmp_path):
    run = Run(small(output=tmp_path / "run"), data())
    with torch.no_grad():
        run.trainer.discriminator.layers[-1].bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match="discriminator is not finite at discriminator warm-up 2: train again"):
        for _ in run.discriminator_warm_up():
            run.trainer.update_discriminator()


def test_what_could_not_be_measured_is_null_in_json_and_comes_back(tmp_path, monkeypatch):
    run = Run(small(output=tmp_path / "run", steps=1), data())
    measured = record(step=0, realism_raw=0.2, realism_floor=0.1, shift=float("nan"), shift_failed=1.0)
    monkeypatch.setattr("simgan.training.loop.measure", lambda trainer, sheet: measured)
    run._evaluate()
    run._checkpoint()
    (place,) = checkpoints.all_of(run.config.output)
    for file in (run.config.output / "metrics.jsonl", place / "state.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)
    assert np.isnan(checkpoints.read(run.config.output).records[0]["shift"])
    (measures,) = read_records(run.config.output).measures
    assert "shift" not in measures
    assert measures["realism"] == 0.1


def test_auto_resumes_in_the_recorded_precision(uninterrupted, monkeypatch):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "1")
    run = Run(small(output=uninterrupted, steps=6, evaluate_every=2, resume=True, mixed_precision="auto"), data())
    assert run.config.mixed_precision == "no"


def test_a_checkpoint_that_counts_otherwise_is_of_another_version(uninterrupted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    file = run / "checkpoints" / "step-000006" / "state.json"
    facts = json.loads(file.read_text())
    facts["counters"]["real"] = facts["counters"].pop("discriminator_updates")
    file.write_text(json.dumps(facts))
    with pytest.raises(TrainingError, match=r"another version of simgan \(it counts real\): resume with that version"):
        Run(small(output=run, steps=6, evaluate_every=2, resume=True), data())


@pytest.fixture
def deterministic():
    yield small(deterministic=True, gradient_penalty=1.0)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def test_deterministic_turns_on_what_pytorch_has(deterministic, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    make_accelerator(deterministic)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("preset", ["eyes", "eyes-paper"])
def test_deterministic_runs_are_the_same_bit_for_bit_on_a_gpu(fresh_accelerate, deterministic, preset):
    config = replace(deterministic, preset=preset, batch_size=16)
    weights = []
    for _ in range(2):
        trainer = Trainer(config, data(), make_accelerator(config))
        for _ in range(10):
            trainer.update_refiner()
            trainer.update_discriminator()
        weights.append({**trainer.refiner.state_dict(), **trainer.discriminator.state_dict()})
    assert_same(*weights)


def test_precisions_and_trackers_that_this_machine_lacks_are_refused(fresh_accelerate, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(ConfigError, match="fp16 is for GPUs"):
        make_accelerator(small(mixed_precision="fp16"))
    AcceleratorState._reset_state(True)
    with pytest.raises(ConfigError, match="trackers json: Unsupported logging capability: json"):
        make_accelerator(small(trackers=["json"]))
    missing = next(name for name in ("aim", "comet_ml", "swanlab") if find_spec(name) is None)
    with pytest.raises(ConfigError, match=f"tracker {missing} is not installed"):
        make_accelerator(small(trackers=["tensorboard", missing]))


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_accumulation_steps": 0},
        {"steps": 0},
        {"seed": -1},
        {"learning_rate": 0.0},
        {"max_shift": 0.0},
        {"history_size": -1},
        {"channels": 2},
        {"mixed_precision": "fp8"},
        {"reduction": "median"},
        {"scope": "regional"},
        {"betas": [0.5, 1.0]},
        {"ema_decay": 1.0},
        {"holdout": 1.0},
    ],
)
def test_settings_out_of_their_range_are_refused_by_name(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=name):
        small(**settings)


def record(**values):
    return {
        "step": 500,
        "change": 0.1,
        "contrast": 1.0,
        "map_spread": 0.2,
        "shift": 0.5,
        "shift_median": 0.2,
        "realism": 0.1,
        "realism_raw": 1.0,
        "realism_floor": 0.0,
        **values,
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"contrast": 0.01}, "collapsed to a constant image"),
        ({"change": 0.0001}, "returns its input unchanged: train with another --seed"),
        ({"map_spread": 1e-5}, "discriminator is dead"),
    ],
)
def test_a_run_that_cannot_become_good_stops_with_a_diagnosis(values, sentence):
    selection.diagnose([record()] * 5)
    selection.diagnose([record(step=0, **values)] * 3)  # too early
    with pytest.raises(TrainingError, match=sentence):
        selection.diagnose([record()] + [record(**values)] * 4)


def spoil(trainer, kind):
    """Make the trainer's networks what the diagnoses are about."""
    with torch.no_grad():
        head, last = trainer.average.head, trainer.discriminator.layers[-1]
        if kind == "constant":  # R(x) = 0 for every x
            trainer.average.config = replace(trainer.average.config, predict_residual=False)
            head.weight.zero_()
            head.bias.zero_()
        elif kind == "identity":
            head.weight.zero_()
        elif kind == "dead":
            head.weight.fill_(0.01)
            last.weight.zero_()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("constant", "constant image"), ("identity", "returns its input unchanged"), ("dead", "discriminator is dead")],
)
def test_what_is_measured_of_spoilt_networks_leads_to_the_diagnosis(tmp_path, kind, sentence):
    run = Run(small(output=tmp_path / "run"), data())
    spoil(run.trainer, kind)
    measured = {**held_out.measure(run.trainer, tmp_path / "sheet.png"), "step": 500}
    with pytest.raises(TrainingError, match=sentence):
        selection.diagnose([measured] * 3)


def test_weights_that_are_not_finite_are_neither_measured_nor_kept(tmp_path):
    run = Run(small(output=tmp_path / "run", evaluate_every=1), data())
    with torch.no_grad():
        run.trainer.refiner.head.bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"realism.* not finite at step 1"):
        for _ in run.steps():
            run.trainer.update_refiner()
    assert not (run.config.output / "checkpoints").exists()
    assert all(torch.isfinite(value).all() for value in Refiner.from_pretrained(run.config.output).parameters())


def test_without_a_measure_of_shift_realism_chooses_and_lambda_stays():
    config, nan = small(), float("nan")
    records = [record(realism=value, shift=nan, shift_median=nan) for value in (0.9, 0.2, 0.4)]  # raw 1, floor 0
    assert selection.best(records, config)["realism"] == 0.2
    assert selection.steered(2.0, records, config) == 2.0
    records.insert(0, record(realism=0.95))  # measured before, and then no longer: that is beyond every bound
    assert selection.best(records, config)["realism"] == 0.95
    assert selection.steered(2.0, records, config) > 2.0


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    run = Run(small(output=tmp_path / "run"), data())
    with pytest.raises(TrainingError, match="realism is not finite at step 0"):
        run._log({"realism": float("nan"), "discriminator": 1.0})


def test_the_last_refiner_that_is_as_real_as_any_within_the_bounds_is_the_best():
    config = small()
    records = [record(realism=0.9), record(realism=0.3), record(realism=0.1, shift=2.0)]
    assert selection.best(records, config)["realism"] == 0.3
    records += [record(realism=0.38), record(realism=0.5)]  # as real but for chance, a tenth of the gap; less real
    assert selection.best(records, config)["realism"] == 0.38
    records.append(record(realism=0.25))
    assert selection.best(records, config)["realism"] == 0.25
    moved = (record(shift=shift, shift_median=shift / 4) for shift in (2.2, 0.1))
    moved_far, moved_little = (selection.steered(1.0, [one], config) for one in moved)
    assert moved_far > 1.0 > moved_little
    less = [record(shift=0.5 * config.max_shift, shift_median=0.0)]
    assert 1.0 < selection.steered(1.6, less, config) < 1.6  # back to its first value, and not below
    assert selection.steered(1.0, less, config) == 1.0


def test_presets_keep_the_papers_values():
    assert preset_of("eyes-paper").batch_size == preset_of("hands-paper").batch_size == 512
    assert (preset_of("eyes-paper").refiner_warm_up, preset_of("hands-paper").refiner_warm_up) == (1000, 500)
    config = from_command_line(["--preset", "eyes-paper", "--steps", "7"])
    assert (config.steps, config.discriminator_warm_up, config.refiner_updates) == (7, 200, 2)
