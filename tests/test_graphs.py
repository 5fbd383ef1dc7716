"""Whether updates can be captured as CUDA graphs: the same kernels in every call, on tensors that stay in place.

Without a GPU the same functions run eagerly, and what a capture would need is checked on each of their operations.
"""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hand_images import dataset
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from train_arrays import data, small

from simgan.training import networks
from simgan.training.config import preset
from simgan.training.data import Frames, TrainingData
from simgan.training.graphs import Captured
from simgan.training.processes import make_accelerator
from simgan.training.step import Trainer

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh")  # for the device, or copies to it


class Recorder(TorchDispatchMode):
    """Every operation with shapes and layouts, its numbers, and where the tensors lie that it did not make itself."""

    def __init__(self):
        super().__init__()
        self.operations, self.given, self.kept = [], set(), {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        taken, result = [], function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                place = leaf.untyped_storage().data_ptr()
                own = place in self.kept
                self.given |= set() if own else {place}
                taken.append((tuple(leaf.shape), leaf.stride(), leaf.dtype, None if own else place))
            else:
                taken.append(repr(leaf))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and (place := leaf.untyped_storage().data_ptr()) not in self.given:
                self.kept[place] = leaf  # or its memory would be another tensor's
        if function.namespace != "profiler":  # marks of the optimizer
            self.operations.append((str(function), taken))
        return result


class Recorded:
    """What captures an update, here recording each call."""

    def __init__(self, function, capture):
        self.function, self.calls = function, []

    def __call__(self):
        with Recorder() as recorder:
            self.function()
        self.calls.append(recorder.operations)


def of_preset(name):
    config = replace(preset(name), **{key: getattr(small(), key) for key in ("trackers", "batch_size", "history_size")})
    config = replace(config, mixed_precision="bf16", gradient_penalty=10.0, decay=0.5)
    if name == "hands":
        frames = [Frames(dataset(12, seed)) for seed in (0, 1)]
        return replace(config, window=32, batch_size=4), TrainingData([frames[0]], [frames[1]])
    return config, data()


@pytest.mark.parametrize("name", ["eyes-paper", "eyes", "images", "hands"])
def test_an_update_starts_the_same_kernels_each_time_on_tensors_that_stay_in_place(monkeypatch, fresh_accelerate, name):
    monkeypatch.setattr("simgan.training.step.Captured", Recorded)
    monkeypatch.setattr("simgan.training.step.PENALTY_INTERVAL", 2)
    monkeypatch.setattr("simgan.training.step.DRAWN", 4)  # so that draws are sent again
    config, images = of_preset(name)
    trainer = Trainer(config, images, make_accelerator(config))
    for _ in range(3):
        trainer.update_refiner(adversarial=False)
    for _ in range(7):
        trainer.update_refiner()
        trainer.update_discriminator()
        trainer.counters.step += 1
    every = trainer._captured.items()  # of the refiner two kinds, of the discriminator three
    repeated = {kind: captured.calls[1:] for kind, captured in every if len(captured.calls) > 2}
    assert len(repeated) == 4
    for kind, calls in repeated.items():
        assert len(calls[0]) > 100
        assert all(call == calls[0] for call in calls), kind
        assert not [operation for operation, _ in calls[0] if any(name in operation for name in WAITS)], kind


def test_an_update_is_captured_after_it_ran_and_replayed_from_then_on(monkeypatch):
    did = []

    class Graph:
        def replay(self):
            did.append("replayed")

    @contextmanager
    def graph(_):
        did.append("captured:")
        yield

    @contextmanager
    def stream(_):
        yield

    queue = SimpleNamespace(wait_stream=lambda other: None)
    for name, fake in {"CUDAGraph": Graph, "graph": graph, "stream": stream}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: queue)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: queue)
    for capture in (True, False):
        captured = Captured(lambda: did.append("ran"), capture=capture)
        for _ in range(5):
            captured()
    assert did == ["ran", "ran", "ran", "captured:", "ran", "replayed", "replayed"] + 5 * ["ran"]


@pytest.mark.parametrize(("seconds", "faster"), [((1.0, 0.8), True), ((1.0, 0.95), False), ((1.0, 2.0), False)])
def test_the_precision_is_that_in_which_the_networks_learn_faster(monkeypatch, seconds, faster):
    clock = [0.0]

    class Timed(Captured):
        def __call__(self):
            super().__call__()
            (bfloat16,) = self._function.args
            clock[0] += seconds[bfloat16]

    monkeypatch.setattr(networks, "Captured", Timed)
    monkeypatch.setattr(networks.time, "perf_counter", lambda: clock[0])
    built = networks.build(small(), {})
    assert networks.learns_faster_in_bfloat16(built, (8, 1, 35, 55), torch.device("cpu")) is faster


@pytest.mark.parametrize(("deterministic", "precision"), [(False, "no"), (True, "bf16")])
def test_a_deterministic_run_on_a_gpu_has_a_precision_that_no_clock_decides(monkeypatch, deterministic, precision):
    monkeypatch.setattr(networks, "PartialState", lambda: SimpleNamespace(device=torch.device("cuda")))
    monkeypatch.setattr(networks, "has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr(networks, "learns_faster_in_bfloat16", lambda *_: False)
    assert networks.faster_precision(small(deterministic=deterministic), data()) == precision


def test_a_precision_that_was_launched_stands(monkeypatch, fresh_accelerate):
    for fast, precision in ("0", "no"), ("1", "bf16"):
        monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", fast)
        assert networks.faster_precision(small(), data()) == precision
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")  # as `accelerate launch --mixed_precision fp16` sets it
    assert networks.faster_precision(small(), data()) == "fp16"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", ["eyes-paper", "eyes", "images", "hands"])
def test_replayed_updates_train_as_called_ones_do_on_a_gpu(monkeypatch, fresh_accelerate, name):
    config, images = of_preset(name)
    weights = []
    for warm_up in (3, 10**9):  # captured, and only called
        monkeypatch.setattr("simgan.training.graphs.WARM_UP", warm_up)
        trainer = Trainer(replace(config, deterministic=True), images, make_accelerator(config))
        for _ in range(20):
            trainer.update_refiner()
            trainer.update_discriminator()
            trainer.counters.step += 1
        weights.append([value.float().cpu().numpy() for value in trainer.average.state_dict().values()])
    assert all(np.allclose(*pair, atol=1e-3) for pair in zip(*weights, strict=True))
