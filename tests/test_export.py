"""ONNX files: ONNX Runtime gives what PyTorch gives, for any batch and size; nothing of the machine is in them."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from simgan import ConfigError, Discriminator, Refiner, RefinerConfig
from simgan.cli import main
from simgan.refining.export import judge_to_onnx, normal_quantile
from simgan.simulators import SIMULATORS
from simgan.space.patch_tab import judge

SHIPPED = ("eyes", "eyes-simulated", "hands", "hands-simulated")


def images_of(name, count):
    return SIMULATORS[f"simulator:{name.removesuffix('-simulated')}"].render(np.arange(count))[0]


def run(content, images, strength=1.0):
    session = onnxruntime.InferenceSession(content)
    return session.run(None, {"images": images, "strength": np.array(strength, np.float32)})[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_refiner_gives_the_same_images_in_another_engine(name, exported, monkeypatch):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "0")
    refiner, images = Refiner.from_pretrained(name), images_of(name, 3)
    for given, strength in ((images, 1.0), (images[:1, :-2, :-1], 1.0), (images[:2, 1:, 2:], 0.7), (images, 0.3)):
        found = run(exported(name), np.ascontiguousarray(given), strength)
        told = np.stack(refiner.refine(list(given), strength))
        assert found.dtype == told.dtype and found.shape == told.shape
        apart = np.abs(found.astype(int) - told)
        assert (apart == 0).mean() > 0.99 and (apart > 1).mean() < 1e-4
    assert np.array_equal(run(exported(name), images, 0.0), images)


def test_a_refiner_of_colour_takes_colour(monkeypatch):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "0")
    torch.manual_seed(0)
    config = RefinerConfig(domain="images", codec="rgb8", channels=3, width=4, kernel_size=3, blocks=1, noise=True)
    refiner = Refiner(config).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 31, 3), np.uint8)
    told = np.stack(refiner.refine(list(images)))
    assert np.abs(run(refiner.export("onnx"), images).astype(int) - told).max() <= 1


def test_the_file_names_what_it_takes_and_no_folder_of_this_machine(exported):
    content = exported("hands-simulated")
    session = onnxruntime.InferenceSession(content)
    told = [(value.name, value.shape, value.type) for value in (*session.get_inputs(), *session.get_outputs())]
    shape = ["batch", "height", "width"]
    assert told == [
        ("images", shape, "tensor(uint16)"),
        ("strength", [], "tensor(float)"),
        ("refined", shape, "tensor(uint16)"),
    ]
    assert session.get_modelmeta().custom_metadata_map == {"domain": "hands", "codec": "depth16"}
    assert b".py" not in content and str(Path.cwd()).encode() not in content


@pytest.mark.parametrize("name", ["eyes-simulated", "hands"])
def test_a_discriminator_judges_before_and_after_as_in_training(name):
    refiner, discriminator = Refiner.from_pretrained(name), Discriminator.from_pretrained(name)
    (before,) = images_of(name, 1)
    scene = before, refiner.refine(before)
    session = onnxruntime.InferenceSession(judge_to_onnx(refiner, discriminator))
    for given in (scene, [image[:-2, 1:] for image in scene]):
        (found,) = session.run(None, {"images": np.stack(given)})
        told = np.stack([one.probability_real for one in judge(refiner, discriminator, *given)])
        assert found.shape == told.shape and np.abs(found - told).max() < 1e-5


def test_quantiles_of_the_normal_distribution_are_those_of_pytorch():
    p = (torch.arange(0, 2**23, 97) + 0.5) / 2**23
    assert torch.allclose(normal_quantile(p), torch.special.ndtri(p), atol=2e-6, rtol=2e-6)


def test_the_command_writes_a_file_and_replaces_none(exported, tmp_path, capsys):
    file = tmp_path / "hands.onnx"
    main(["export", "hands", str(file)])
    assert file.read_bytes() == exported("hands") and "MB" in capsys.readouterr().out
    for arguments, sentence in (
        (["hands", str(file)], r"hands\.onnx exists: give another output, or --overwrite"),
        (["hands", str(tmp_path / "hands.bin")], r"hands\.bin has no suffix \.onnx"),
    ):
        with pytest.raises(SystemExit, match=sentence):
            main(["export", *arguments])


def test_what_cannot_be_exported_is_refused():
    with pytest.raises(ConfigError, match="can be exported as 'onnx', not as 'tflite'"):
        Refiner().export("tflite")
    with pytest.raises(ConfigError, match=r"weights are torch\.bfloat16 on cpu: call cpu\(\)\.float\(\)"):
        Refiner().bfloat16().export("onnx")
