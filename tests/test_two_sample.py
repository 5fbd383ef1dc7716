"""A network that is asked whether two sets differ says so when they do, and seldom when they do not."""

import numpy as np
import pytest
import torch

from simgan import ImageError
from simgan.measures.two_sample import _accuracy, _split, measure_two_sample, two_sample_test
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes


def noise(seed, count=24, deviation=20.0, size=16):
    values = np.random.default_rng(seed).normal(120, deviation, (count, size, size))
    return np.clip(values, 0, 255).astype(np.uint8)


def test_alike_sets_seldom_raise_an_alarm():
    found = [two_sample_test(noise(2 * n), noise(2 * n + 1), steps=6, seed=n) for n in range(200)]
    assert np.mean([one.low > 0.5 for one in found]) <= 0.06
    assert np.mean([one.value for one in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([one.low <= 0.5 <= one.high for one in found]) >= 0.9


def test_sets_that_differ_are_told_apart():
    result = two_sample_test(noise(0, 60), noise(1, 60, deviation=35), steps=60)
    assert result.value > 0.95
    assert result.low > 0.8


def test_who_is_seen_is_not_learned_by_heart():
    persons = np.tile(np.arange(12), 8)  # 8 frames of each, in any order; each set has persons of its own
    sets = [
        np.clip(noise(k, 12, 40)[persons].astype(int) + noise(5, 96, 4) - 120, 0, 255).astype(np.uint8) for k in (0, 1)
    ]
    names = [[f"{k} {person}" for person in persons] for k in (0, 1)]
    leaking, kept_apart = (
        two_sample_test(*sets, persons=persons, steps=80) for persons in ((None, None), tuple(names))
    )
    assert leaking.value > 0.85
    assert kept_apart.low < 0.5 < kept_apart.high


def test_a_person_in_both_sets_is_on_one_side_of_the_split():
    faces = noise(0, 8, 40)
    persons = np.tile(np.arange(8), 10)
    names = persons.astype(str)
    sets = [np.clip(faces[persons].astype(int) + noise(k, 80, 4) - 120, 0, 255).astype(np.uint8) for k in (1, 2)]
    result = two_sample_test(*sets, persons=(names, names), steps=20)
    assert result.low <= 0.5 <= result.high


def test_half_of_the_persons_of_both_sets_are_tested_and_as_many_images_of_each():
    names = [np.repeat(list("abcdef"), 10), np.repeat(list("efghij"), 15)]
    train, test = _split(names, np.random.default_rng(0))
    seen, held_out = (
        {str(name) for own, chosen in zip(names, part, strict=True) for name in own[chosen]} for part in (train, test)
    )
    assert not seen & held_out
    assert len(train[0]) == len(train[1]) >= 30 and len(test[0]) == len(test[1]) >= 30


def test_accuracies_of_clustered_answers_are_covered_as_often_as_the_interval_says():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 15)
    covered = []
    for _ in range(300):
        chance = rng.beta(7, 3, 20)  # persons are told apart more or less well, 0.7 on average
        right = rng.random(300) < np.repeat(chance, 15)
        found = _accuracy([right[:150], right[150:]], [groups, groups])
        covered.append(found.low <= 0.7 <= found.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_a_seed_gives_the_same_answer_and_leaves_other_draws_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    sets = noise(0, 40), noise(1, 30, 24)
    assert two_sample_test(*sets, steps=10, seed=3) == two_sample_test(*sets, steps=10, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_world_is_told_from_real_and_real_is_not():
    real = camera.render(range(160))[0]
    measured = measure_two_sample(camera.render(range(200, 280))[0], real, eyes.render(range(80))[0], steps=40)
    refined, raw, floor = measured
    assert raw.low > 0.8
    assert refined.low < 0.5 < refined.high  # as if refined perfectly
    assert floor.low < 0.5 < floor.high


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(ImageError, match="takes uint8"):
        two_sample_test(noise(0).astype(float), noise(1))
    with pytest.raises(ImageError, match="crop them to one size"):
        two_sample_test(noise(0), noise(1, size=20))
    with pytest.raises(ImageError, match="needs at least 8 real images, not 5"):
        measure_two_sample(*(np.zeros((5, 20, 20), np.uint8),) * 3)
    with pytest.raises(ImageError, match="too few persons"):
        two_sample_test(noise(0, 4), noise(1, 4), persons=(list("aaab"), list("aaab")))
