"""The history of section 2.3: half a mini-batch from it, as many random places replaced."""

import numpy as np
import pytest

from simgan.history import History


def images(first, count, dtype="uint8"):
    """Images (count, 1, 2, 2) that hold their own number."""
    return np.broadcast_to(np.arange(first, first + count, dtype=dtype)[:, None, None, None], (count, 1, 2, 2)).copy()


def test_new_images_are_appended_while_it_fills():
    history, rng = History(6), np.random.default_rng(0)
    assert len(history.sample(2, rng)) == 0
    history.replace(images(0, 4), rng)
    assert len(history) == 4
    assert len(history.sample(5, rng)) == 0
    history.replace(images(4, 2), rng)
    assert history.state()[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_as_many_random_places_are_replaced_as_images_come():
    history, rng = History(100), np.random.default_rng(0)
    history.replace(images(0, 100), rng)
    history.replace(images(100, 10), rng)
    values = history.state()[:, 0, 0, 0]
    assert sorted(values[values >= 100]) == list(range(100, 110))
    assert len(history) == len(values) == 100
    assert np.flatnonzero(values >= 100).tolist() != list(range(10))


def test_a_sample_holds_different_images_and_reaches_all_places():
    history, rng = History(10), np.random.default_rng(0)
    history.replace(images(0, 10), rng)
    seen = set()
    for _ in range(50):
        sample = history.sample(4, rng)[:, 0, 0, 0].tolist()
        assert len(set(sample)) == 4
        seen |= set(sample)
    assert seen == set(range(10))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_restored_history_goes_on_as_the_first(dtype):
    first, second = History(8), History(8)
    first.replace(images(0, 8, dtype), np.random.default_rng(0))
    second.replace(first.state(), np.random.default_rng(1))
    for history in (first, second):
        history.replace(images(20, 3, dtype), np.random.default_rng(5))
    assert np.array_equal(first.state(), second.state())
    assert first.state().dtype == dtype
