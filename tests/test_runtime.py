"""What the hardware is asked, and that the answer is used as stated."""

import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from simgan import runtime
from simgan.runtime import has_fast_bfloat16, keep_freed_pages


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_the_allocator_can_be_told_on_linux():
    assert keep_freed_pages() is True


def test_the_probe_of_bfloat16_gives_one_answer_a_process():
    answer = has_fast_bfloat16()
    assert answer in (True, False)
    assert all(has_fast_bfloat16() is answer for _ in range(3))


def test_the_probe_of_bfloat16_is_decided_once_for_a_process_and_those_it_starts(monkeypatch):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "")  # and restored in the end
    monkeypatch.delenv("SIMGAN_FAST_BFLOAT16")
    seconds = iter([1.0, 2.0] * 8 + [2.0, 1.0] * 8)  # bfloat16, float32; a second time it would answer otherwise
    monkeypatch.setattr(runtime, "_seconds", lambda *_: next(seconds))
    assert [has_fast_bfloat16() for _ in range(2)] == [True, True]
    command = [sys.executable, "-c", "from simgan.runtime import has_fast_bfloat16; print(has_fast_bfloat16())"]
    for decided, answer in (("1", "True"), ("0", "False")):
        environment = {**os.environ, "SIMGAN_FAST_BFLOAT16": decided}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [answer]


def test_a_gpu_that_emulates_bfloat16_is_not_fast_at_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert has_fast_bfloat16("cuda:0") is False


@pytest.mark.parametrize("shape", [(2, 3, 9, 12), (1, 1, 35, 55)])
def test_deterministic_substitutes_compute_the_same_with_the_same_gradients(shape, monkeypatch):
    monkeypatch.setattr(runtime, "_needs_substitute", lambda x: True)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    pairs = [
        (runtime.reflect_pad(x, 3), F.pad(x, [3] * 4, mode="reflect")),
        (runtime.adaptive_average(x, (6, 8)), F.adaptive_avg_pool2d(x, (6, 8))),
    ]
    for substitute, original in pairs:
        assert torch.allclose(substitute, original, atol=1e-12)
        direction = torch.randn_like(original)
        first, second = (torch.autograd.grad((y * direction).sum(), x)[0] for y in (substitute, original))
        assert torch.allclose(first, second, atol=1e-12)
