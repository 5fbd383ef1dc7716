"""Light, tones, sharpness of real images: learnt without a label, the same for the same image; no edge is moved."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from train_arrays import small

from simgan import ConfigError, Refiner
from simgan.domains.iris import iris_distances
from simgan.errors import SourceError
from simgan.images.arrays import equalize, to_array, to_tensor
from simgan.preparation.photometry import LEVELS, _bands, _slopes, _strengths
from simgan.refiner import RefinerConfig
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.training.data import TrainingData
from simgan.training.processes import make_accelerator
from simgan.training.step import Trainer


def both_worlds(places, seed):
    """Clean and photographed eyes, (N, 1, 35, 55) each."""
    renders = (world.render(places, seed=seed)[0] for world in (eyes, camera))
    return [to_tensor(np.stack([equalize(image) for image in images])) for images in renders]


@pytest.fixture(scope="module")
def worlds():
    """What is learnt from."""
    return both_worlds(range(600), seed=3)


@pytest.fixture(scope="module")
def unseen():
    """Eyes of other persons."""
    return both_worlds(range(1000, 1600), seed=4)


@pytest.fixture(scope="module")
def refiner(worlds):
    """Gives light, tones and sharpness, and no texture."""
    refiner = Refiner(RefinerConfig(width=2, blocks=1, predict_residual=True, photometry=True)).eval()
    refiner.photometry.learn(*worlds)
    return refiner


def test_before_it_learns_nothing_changes(worlds):
    untrained = Refiner(RefinerConfig(width=2, blocks=1, predict_residual=True, photometry=True))
    assert torch.allclose(untrained(worlds[0]), worlds[0], atol=1e-5)


def test_light_and_tones_become_those_of_real_images_that_it_has_not_seen(refiner, unseen):
    synthetic, real = unseen
    refined = refiner(synthetic).detach()
    assert refined.shape == synthetic.shape
    assert refined.abs().max() <= 1

    def apart(a, b):  # of the distributions of grey levels about each of 15 places
        places = [F.unfold(x, 11, stride=11).permute(2, 0, 1).flatten(1).sort(1).values for x in (a, b)]
        return (places[0] - places[1]).abs().mean().item()

    assert apart(refined, real) < 0.65 * apart(synthetic, real)
    before, after, wanted = (_slopes(x) for x in (synthetic, refined, real))
    assert ((after.mean(0) - wanted.mean(0)).abs() < 0.6 * (before.mean(0) - wanted.mean(0)).abs()).all()


def test_renders_become_as_soft_as_real_images_that_it_has_not_seen(refiner, unseen):
    synthetic, real = unseen
    before, after, wanted = (_strengths(_bands(x)[0]) for x in (synthetic, refiner(synthetic).detach(), real))
    assert (before.mean(0) > wanted.mean(0)).all()
    assert ((after.mean(0) - wanted.mean(0)).abs() < 0.5 * (before.mean(0) - wanted.mean(0)).abs()).all()
    assert (after.std(0) / wanted.std(0)).min() > 0.5  # as various as real ones, not all as soft as their mean


def test_what_is_softer_than_real_images_is_not_sharpened(refiner, worlds):
    x = F.avg_pool2d(worlds[0], 9, 1, 4, count_include_pad=False)
    lit = Refiner(refiner.config).eval()
    endless = torch.full_like(refiner.photometry.details, torch.inf)
    lit.load_state_dict({**refiner.state_dict(), "photometry.details": endless})
    assert torch.allclose(refiner(x), lit(x), atol=1e-5)


def test_an_image_takes_the_same_light_whatever_is_refined_beside_it(refiner, worlds):
    x = worlds[0][:20]
    together, alone = refiner(x), torch.cat([refiner(image[None]) for image in x.flip(0)]).flip(0)
    assert torch.allclose(together, alone, atol=1e-5)
    other = x.clone()
    other[:, 0, 0, 0] += 2 / 255  # another image: another of the real ones' lights
    assert ((refiner(other) - together).abs().mean((1, 2, 3)) > 0.02).float().mean() > 0.5


def test_irises_stay_where_they_are(refiner, worlds):
    before = to_array(worlds[0], np.uint8)
    truth = eyes.render(range(600), seed=3)[1]["iris"].mean(1)
    moved, _ = iris_distances(before, to_array(refiner(worlds[0]).detach(), np.uint8), {"pupil": truth})
    assert np.nanmedian(moved) < 0.25  # what the finder answers to another light


def test_a_larger_image_takes_light_and_tones_at_the_same_places(refiner, worlds):
    x = worlds[0][:1]
    large = F.interpolate(x, scale_factor=4, mode="nearest")
    light = refiner.photometry.lights[:1].expand_as(refiner.photometry.lights).clone()  # one for all
    lit = Refiner(refiner.config).eval()
    endless = torch.full_like(refiner.photometry.details, torch.inf)  # detail is of pixels, and so is not softened here
    lit.load_state_dict({**refiner.state_dict(), "photometry.lights": light, "photometry.details": endless})
    assert (F.avg_pool2d(lit(large), 4) - lit(x)).abs().mean() < 0.03


def test_what_was_learnt_is_saved_and_loaded(refiner, worlds, tmp_path):
    refiner.save_pretrained(tmp_path)
    assert torch.equal(Refiner.from_pretrained(tmp_path)(worlds[0]), refiner(worlds[0]))


def test_depth_has_no_light():
    with pytest.raises(ConfigError, match="photometry are for brightness"):
        RefinerConfig(domain="hands", photometry=True)


def trainer_of(synthetic, real, **settings):
    config = small(**settings)
    return Trainer(config, TrainingData([synthetic], [real]), make_accelerator(config))


def test_training_learns_it_first_and_holds_the_network_to_what_it_gives():
    synthetic, real = (world.render(range(64))[0] for world in (eyes, camera))
    trainer = trainer_of(synthetic, real)
    assert torch.isfinite(trainer.refiner.photometry.lights).all()
    assert torch.equal(trainer.average.photometry.tones, trainer.refiner.photometry.tones)
    trainer.update_refiner(adversarial=False)  # of a network that does nothing yet
    assert trainer.take_log()[0]["regularization"] < 1e-6
    assert not list(trainer_of(synthetic, real, preparation=False).refiner.photometry.buffers())


def test_tones_are_learnt_from_eyes_that_look_where_the_real_ones_look():
    images, labels = eyes.render(range(600), seed=5)
    ahead = np.abs(labels["yaw"]) < 0.08
    trainer = trainer_of(images, images[ahead], flip=False)  # they differ in where they look, and in nothing else
    tones = trainer.refiner.photometry.tones
    unchanged = torch.linspace(-1, 1, LEVELS)[:, None]
    assert (tones[:, 3, 3:8] - unchanged).abs().mean() < 0.05  # amid the eye: 0.15 where any eyes are compared


def test_images_without_an_iris_are_told_of(monkeypatch):
    monkeypatch.setattr("simgan.domains.iris.iris_centres", lambda images: np.full((len(images), 2), np.nan))
    images = eyes.render(range(64))[0]
    with pytest.raises(SourceError, match=r"no iris is found .*--no-preparation"):
        trainer_of(images, images)
