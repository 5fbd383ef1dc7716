"""On ZeroGPU all that the page computes runs in calls that are lent a GPU; without the package `spaces` on the CPU.

A package of that name stands in for the real one, and the CPU for the GPU: what crosses between the processes is
pickled, and a network that was moved to the GPU computes only inside of such a call.
"""

import os
import subprocess
import sys

import pytest
from browser import ROOT

SPACES = """
import functools, pickle
import torch
import torch.cuda

lent, inside, moved = [], False, set()
torch.cuda.is_available = lambda: True
original = torch.nn.Module.to


def to(network, *target, **layout):
    if target == ("cuda",):
        moved.add(network)
        for part in network.modules():
            part.register_forward_pre_hook(lambda *_: None if inside else refuse())
        return network
    return original(network, *target, **layout)


def refuse():
    raise AssertionError("computed outside of a call that was lent a GPU")


torch.nn.Module.to = to


def GPU(duration):
    assert duration <= 60

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            global inside
            inside = True
            try:
                result = function(*pickle.loads(pickle.dumps(arguments)))
            finally:
                inside = False
            lent.append(arguments[0].__name__)
            return pickle.loads(pickle.dumps(result))

        return wrapper

    return decorate
"""
SCRIPT = """
import random
from dataclasses import replace
import numpy as np
from simgan import ImageError
from simgan.simulators.eyes import renders as eyes
from simgan.space import accelerator, patch_tab, turing_tab
from simgan.space.models import Models
from simgan.space.refined import refine_uploads
from simgan.space.samples import examples

if __name__ == "__main__":
    models = Models()
    image = eyes.render([3])[0][0]
    model = models.get("eyes")
    here = accelerator.compute(patch_tab.judge_both, model, image)
    assert not spaces.lent  # before the page opens
    accelerator.hold(map(models.get, models.shipped))
    assert len(spaces.moved) == 2 * len(models.shipped)
    lent = accelerator.compute(patch_tab.judge_both, model, image)
    assert spaces.lent == ["judge_both"]
    assert all((a.probability_real == b.probability_real).all() for a, b in zip(here, lent))
    sent = refine_uploads(models.get("eyes"), examples("eyes")[:3], 1.0)
    assert len(sent.refined) == 3 and spaces.lent == ["judge_both", "_network"]  # lent once for all of them
    round_ = turing_tab.draw(*turing_tab.find_images(models), 4, random.Random(1))
    assert spaces.lent == ["judge_both", "_network", "_refine"] and len(round_.images) == 4
    try:
        accelerator.compute(patch_tab.judge_both, model, np.zeros((4, 4), np.uint8))
    except ImageError as error:
        assert "16" in str(error), error
    else:
        raise AssertionError("too small an image was taken")
    try:
        accelerator._held["eyes"].refiner.refine(image)
    except AssertionError as error:
        assert "outside" in str(error)
    else:
        raise AssertionError("the stand-in let a network compute outside")
    before = list(spaces.lent)
    fetched = replace(model, name="org/eyes")  # after the page opened
    accelerator.compute(patch_tab.judge_both, fetched, image)
    assert spaces.lent == before
    assert (model.refiner.refine(image) == fetched.refiner.refine(image)).all()  # Batch, on the CPU
    print("all is well")
"""


@pytest.mark.parametrize("there", [True, False], ids=["with spaces", "without"])
def test_what_is_computed_on_a_lent_gpu(tmp_path, there):
    script = SCRIPT
    if there:
        (tmp_path / "spaces.py").write_text(SPACES)
        script = "import spaces\n" + SCRIPT
    else:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['spaces'] = None\n")
        script = SCRIPT[: SCRIPT.index("    assert len(spaces.moved)")].replace("assert not spaces.lent", "pass")
        script += '    assert not accelerator._held\n    print("all is well")\n'
    (tmp_path / "run.py").write_text(script)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.endswith("all is well\n"), done.stderr
