"""The one cluster bootstrap against known answers: means, medians, and distances between sets."""

import numpy as np
import pytest

from simgan import ImageError
from simgan.measures.statistics import Estimate, estimate_all, estimate_errors, group_images


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says_though_frames_of_a_person_are_alike():
    generator = np.random.default_rng(0)
    persons = np.repeat(np.arange(24), 5)
    covered = naive = 0
    for draw in range(200):
        errors = (generator.normal(8, 2, 24)[persons] + generator.normal(0, 0.1, 120))[None]
        interval = estimate_errors(errors, persons, draws=200)
        covered += interval.low <= 8 <= interval.high
        if draw < 50:
            each = estimate_errors(errors, np.arange(120), draws=200)
            naive += each.low <= 8 <= each.high
    assert 0.9 <= covered / 200 <= 0.99
    assert naive / 50 < 0.75  # what resampling near-identical images would claim


@pytest.mark.parametrize(("statistic", "true"), [(np.mean, np.exp(0.125)), (np.median, 1.0)])
def test_means_and_medians_of_skewed_values_are_covered(statistic, true):
    draws = np.random.default_rng(0)
    covered = []
    for _ in range(150):
        values = draws.lognormal(0, 0.5, 80)
        (one,) = estimate_all(lambda chosen, of=values: [statistic(of[chosen])], np.arange(80))
        covered.append(one.low <= true <= one.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_a_distance_between_two_sets_is_covered_though_resampling_moves_it_up():
    rng = np.random.default_rng(0)

    def distance(a, b):
        levels = np.linspace(0, 1, 50)
        return float(np.abs(np.quantile(a, levels) - np.quantile(b, levels)).mean())

    truth = distance(*(np.random.default_rng(1).normal(mean, 1, 200_000) for mean in (0, 0.3)))
    covered, above = [], []
    for _ in range(100):
        a, b = rng.normal(0, 1, 150), rng.normal(0.3, 1, 150)
        places = np.arange(150)
        (one,) = estimate_all(lambda x, y, a=a, b=b: [distance(a[x], b[y])], places, places, draws=100)
        covered.append(one.low <= truth <= one.high)
        above.append(np.mean([distance(rng.choice(a, 150), rng.choice(b, 150)) for _ in range(20)]) > one.value)
    assert 0.88 <= np.mean(covered) <= 1
    assert np.mean(above) > 0.6  # so percentiles of the resampled distances would lie too high


def test_few_seeds_do_not_understate_how_much_seeds_differ():
    errors = np.array([5.0, 7.0, 9.0])[:, None] + np.zeros(40)
    interval = estimate_errors(errors, np.arange(40), draws=4000)
    error = np.std([5, 7, 9], ddof=1) / np.sqrt(3)  # of a mean over three seeds
    assert interval.value == 7
    assert interval.high - interval.low == pytest.approx(2 * 2.02 * error, rel=0.05)  # Student's t of 40 groups


def test_identical_arms_differ_by_zero_and_arms_alike_by_an_interval_around_it():
    generator = np.random.default_rng(1)
    groups, _ = group_images(300)
    hard = generator.gamma(3, 3, 300)  # what makes an image hard is common to both
    one, other = (hard + generator.normal(0, 0.5, (3, 300)) for _ in range(2))
    assert estimate_errors(one - one, groups) == Estimate(0, 0, 0)
    alike, alone = estimate_errors(one - other, groups), estimate_errors(one, groups)
    assert alike.low < 0 < alike.high
    assert alike.high - alike.low < 0.2 * (alone.high - alone.low)  # pairing pays
    assert estimate_errors(one - (other + 0.5), groups).high < 0


def test_a_median_has_an_interval_too():
    errors = np.random.default_rng(2).exponential(5, (2, 400))
    interval = estimate_errors(errors, np.arange(400), median=True)
    assert interval.low < 5 * np.log(2) < interval.high


def test_images_are_grouped_by_persons_or_else_by_neighbours():
    groups, what = group_images(40, [f"p{i % 20}" for i in range(40)])
    assert what == "20 persons"
    assert groups[0] == groups[20] != groups[1]
    groups, what = group_images(200, ["p00"] * 200)
    assert what == "50 blocks of neighbouring images"
    assert list(groups[:5]) == [0, 0, 0, 0, 1]
    with pytest.raises(ImageError, match="at least 2 images"):
        group_images(1)
    with pytest.raises(ImageError, match="40 images need the person of each, not 2 names"):
        group_images(40, ["a", "b"])


def test_exact_values_stay_and_what_cannot_be_estimated_is_no_number():
    (one,) = estimate_all(lambda chosen: [float(chosen.mean())], np.arange(50), values=[3.0])
    assert one.value == 3 and one.low < 3 < one.high
    assert np.isnan(estimate_all(lambda chosen: [1.0], np.zeros(5, int))[0].low)  # one group
    assert Estimate(0.123, 0.1, 0.15).show(100, 1, " %") == "12.3 % (10.0 to 15.0)"
    assert Estimate(0.5, -0.5, 1.5).show(sign=True) == "+0.50 (-0.50 to +1.50)"
