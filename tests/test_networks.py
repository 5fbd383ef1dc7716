"""What both networks promise: the paper's size, any image size, and weights that come back bit for bit."""

import json
import subprocess
import sys

import pytest
import torch

from simgan import ConfigError, Discriminator, ModelError, Refiner
from simgan.discriminator import DiscriminatorConfig
from simgan.preparation.noise import NOISE_MAPS
from simgan.refiner import RefinerConfig
from simgan.refining import engine
from simgan.refining.engine import run_network, run_on_readings


@pytest.mark.parametrize(
    ("preset", "refiner", "discriminator"), [("eyes-paper", 296_129, 75_906), ("hands-paper", 4_018_625, 178_050)]
)
def test_paper_networks_have_the_papers_parameters(preset, refiner, discriminator):
    assert Refiner.from_preset(preset).number_of_parameters == refiner
    assert Discriminator.from_preset(preset).number_of_parameters == discriminator


@pytest.mark.parametrize("preset", ["eyes", "eyes-paper"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 16), (35, 55), (17, 40)])
def test_refined_images_keep_their_size(preset, channels, size):
    refiner = Refiner.from_preset(preset, channels=channels)
    assert refiner(torch.zeros(2, channels, *size)).shape == (2, channels, *size)


@pytest.mark.parametrize("shape", [(1, 2, 35, 55), (1, 1, 15, 55), (1, 35, 55)])
def test_a_batch_of_another_shape_is_refused(shape):
    with pytest.raises(ConfigError, match="this refiner takes"):
        Refiner.from_preset("eyes-paper")(torch.zeros(shape))


def test_a_residual_refiner_starts_as_the_identity():
    x = torch.randn(2, 1, 35, 55)
    assert torch.equal(Refiner.from_preset("eyes")(x, equalized=True), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folded_network_refines_a_part_as_within_the_whole(channels, monkeypatch):
    torch.manual_seed(0)
    config = RefinerConfig("images", channels=channels, width=8, blocks=2, fold=True, padding="reflect")
    refiner, x = Refiner(config).eval(), torch.rand(1, channels, 101, 43)
    whole = refiner(x)
    monkeypatch.setattr(engine, "STRIP", 800)
    assert torch.allclose(run_network(refiner, x), whole.clamp(-1, 1), atol=1e-6)
    x.requires_grad_()
    refiner(x)[0, 0, 50, 20].backward()
    seen = torch.nonzero(x.grad.abs().sum((0, 1)).amax(1))[:, 0]
    assert config.reach - 2 <= (seen - 50).abs().max() <= config.reach


def test_a_folded_network_of_depth_runs_on_the_readings_alone():
    torch.manual_seed(0)
    refiner = Refiner(RefinerConfig("hands", width=8, blocks=1, fold=True, predict_residual=True, padding="reflect"))
    torch.nn.init.normal_(refiner.head.weight, 0, 0.1)
    x = torch.ones(2, 1, 91, 83)
    x[0, :, 31:48, 20:31], x[1, :, 3:77, 50:81] = 0.3, torch.rand(74, 31)
    assert torch.allclose(run_on_readings(refiner, x, 1.0), refiner(x).clamp(-1, 1), atol=1e-6)


def test_a_folded_network_of_colour_starts_from_a_grey_one(tmp_path):
    settings = {"width": 8, "blocks": 1, "fold": True, "noise": True}
    grey = Refiner(RefinerConfig("images", **settings))
    grey.save_pretrained(tmp_path)
    colour = Refiner(RefinerConfig("images", channels=3, noise=True)).start_from(tmp_path)
    x = torch.rand(1, 1 + NOISE_MAPS, 20, 20)
    three = torch.cat([x[:, :1].expand(-1, 3, -1, -1), x[:, 1:]], 1)
    assert torch.allclose(colour.convolve(three), grey.convolve(x).expand(-1, 3, -1, -1), atol=1e-6)


def test_local_discriminator_decides_a_patch_and_global_an_image():
    x = torch.zeros(2, 1, 35, 55)
    assert Discriminator.from_preset("eyes-paper")(x).shape == (2, 2, 9, 14)
    assert Discriminator.from_preset("eyes-paper", scope="global")(x).shape == (2, 2, 1, 1)


def test_a_branch_decides_on_the_whole_image_beside_its_patches():
    torch.manual_seed(0)
    discriminator, x = Discriminator.from_preset("eyes").eval(), torch.randn(6, 1, 35, 55)
    patches, whole = discriminator(x).chunk(2, 2)
    assert torch.equal(patches, discriminator.layers(x))
    assert (whole == whole[:, :, :1, :1]).all()
    assert torch.allclose(discriminator.probability_real(x), patches.softmax(1)[:, 0])
    # compared in groups of four, so processes that share a batch see what one sees
    assert torch.allclose(discriminator(x[4:]).chunk(2, 2)[1], whole[4:], atol=1e-6)
    assert (discriminator(x[:2]).chunk(2, 2)[1] - whole[:2]).abs().max() > 1e-5


def test_refined_and_real_images_are_never_compared_with_one_another():
    torch.manual_seed(0)
    discriminator, refined, real = Discriminator.from_preset("eyes"), *torch.randn(2, 6, 1, 35, 55)
    apart = torch.cat([discriminator(refined), discriminator(real)])
    assert torch.allclose(discriminator(torch.cat([refined, real]), sides=2), apart, atol=1e-6)


def test_probability_real_is_one_value_a_patch_between_0_and_1():
    map_ = Discriminator.from_preset("eyes-paper").probability_real(torch.randn(3, 1, 35, 55))
    assert map_.shape == (3, 9, 14)
    assert ((map_ >= 0) & (map_ <= 1)).all()


def test_both_networks_of_one_folder_come_back_bit_for_bit(tmp_path):
    saved = (Refiner.from_preset("eyes"), Discriminator.from_preset("eyes"))
    for network in saved:
        network.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "discriminator", "model.safetensors"]
    for network in saved:
        loaded = type(network).from_pretrained(tmp_path)
        assert loaded.config == network.config
        assert not loaded.training
        state = network.state_dict()
        assert state.keys() == loaded.state_dict().keys()
        assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_a_folder_with_only_a_pickle_is_refused(tmp_path):
    Refiner.from_preset("eyes").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="only a pickle"):
        Refiner.from_pretrained(tmp_path)


def test_truncated_weights_are_refused(tmp_path):
    Refiner.from_preset("eyes").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        Refiner.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": 1}, "unknown keys colour"),
        ({"width": None}, "lacks the keys width"),
        ({"model_type": "bert"}, "not of a simgan refiner"),
        ({"channels": 2}, "1 or 3 channels"),
        ({"width": 8}, "of another refiner than its config.json says: size mismatch for "),
        ({"width": "wide"}, "width must be a whole number"),
        ({"blocks": -1}, "blocks must be a whole number"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path, change, sentence):
    Refiner.from_preset("eyes").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = {**json.loads(file.read_text()), **change}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(ModelError, match=sentence):
        Refiner.from_pretrained(tmp_path)


def test_what_came_later_is_off_where_a_configuration_does_not_tell_it(tmp_path):
    for network, folder in ((Refiner, tmp_path), (Discriminator, tmp_path / "discriminator")):
        network.from_preset("eyes-paper").save_pretrained(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        for key in ("fold", "noise", "whole", "slope"):
            config.pop(key, None)
        (folder / "config.json").write_text(json.dumps(config))
        assert network.from_pretrained(tmp_path).config == network.from_preset("eyes-paper").config


@pytest.mark.parametrize("layers", ["conv", [["conv", 3, 1]], [["conv", "3", 1, 2]], [["norm", 3, 1, 2]], []])
def test_layers_that_build_no_discriminator_are_refused(tmp_path, layers):
    Discriminator.from_preset("eyes").save_pretrained(tmp_path)
    file = tmp_path / "discriminator" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "layers": layers}))
    with pytest.raises(ModelError, match=r"does not describe a discriminator: layers must be"):
        Discriminator.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"whole": -1}, {"whole": 8, "scope": "global"}, {"whole": 8, "layers": [["conv", 3, 1, 2]]}, {"slope": 1}],
)
def test_a_discriminator_that_cannot_judge_as_told_is_refused(changes):
    with pytest.raises(ConfigError, match=r"whole must be|slope must lie"):
        DiscriminatorConfig(**changes)


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (36, 60)])
@pytest.mark.parametrize("preset", ["eyes", "eyes-paper", "hands-paper"])
def test_discriminators_take_every_size_from_16_by_16(preset, size):
    map_ = Discriminator.from_preset(preset).probability_real(torch.zeros(1, 1, *size))
    assert min(map_.shape) >= 1


def test_an_unknown_name_says_what_was_tried():
    for name in ("noses", ""):
        with pytest.raises(ModelError, match=f"no model '{name}': it is no folder, no shipped model"):
            Refiner.from_pretrained(name)
    with pytest.raises(ConfigError, match="unknown preset 'noses': choose one of"):
        Refiner.from_preset("noses")


def test_importing_simgan_pulls_in_no_heavy_library():
    code = "import simgan, sys; print([m for m in ('gradio', 'datasets', 'matplotlib', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
