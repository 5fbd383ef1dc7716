"""The history of section 2.3: half a mini-batch from it, as many random places replaced."""

import numpy as np
import pytest
import torch

from simgan.training.history import History


def images(first, count, dtype=torch.uint8):
    """Images (count, 1, 2, 2) that hold their own number."""
    return torch.arange(first, first + count, dtype=torch.int32).to(dtype)[:, None, None, None].expand(-1, 1, 2, 2)


def updates(history, count, seed=0):
    """Do so many updates with images that hold their own number; return those that each saw from the history."""
    found = []
    for update in range(count):
        seen, places = history.plan(update, np.random.default_rng([seed, update]))
        found.append(history.sample(torch.from_numpy(seen))[:, 0, 0, 0].tolist() if len(seen) else [])
        new = images(history.new_before(update), history.size - history.past(update))
        history.replace(new, torch.from_numpy(places))
    return found


def held(history, update):
    return history.state(update)[:, 0, 0, 0].tolist()


def test_new_images_are_appended_while_it_fills_and_none_is_seen_before_it_holds_half_a_batch():
    history = History(10, 4)
    assert [history.held(update) for update in range(6)] == [0, 4, 6, 8, 10, 10]
    assert [history.past(update) for update in range(3)] == [0, 2, 2]
    assert [history.new_before(update) for update in range(5)] == [0, 4, 6, 8, 10]
    assert updates(history, 3)[0] == []
    assert held(history, 3) == list(range(8))


def test_as_many_random_places_are_replaced_as_images_come():
    history = History(100, 20)
    updates(history, 9)
    assert held(history, 9) == list(range(100))
    updates(history, 10)
    new = [place for place, value in enumerate(held(history, 10)) if value >= 100]
    assert len(new) == 10
    assert new != list(range(10))


def test_a_sample_holds_different_images_and_reaches_all_places():
    history = History(10, 8)
    seen = updates(history, 60)
    assert all(len(set(sample)) == 4 for sample in seen[1:])
    places = {place for update in range(2, 60) for place in history.plan(update, np.random.default_rng(update))[0]}
    assert places == set(range(10))


@pytest.mark.parametrize("capacity", [1, 3, 5, 6, 7, 50])
def test_places_are_different_and_exist_whatever_its_size(capacity):
    history = History(capacity, 6)
    for update in range(20):
        seen, places = history.plan(update, np.random.default_rng(update))
        assert len({*places.tolist()}) == len(places) and max(places) < capacity
        assert len({*seen.tolist()}) == len(seen) == history.past(update)
        assert all(place < history.held(update) for place in seen)
        assert history.held(update + 1) == max(history.held(update), *(places + 1).tolist())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_a_restored_history_goes_on_as_the_first(dtype):
    first, second = History(8, 6), History(8, 6)
    first.replace(images(0, 6, dtype), torch.arange(6))
    second.restore(first.state(1), torch.device("cpu"))
    for history in (first, second):
        history.replace(images(20, 3, dtype), torch.from_numpy(history.plan(1, np.random.default_rng(5))[1]))
    assert torch.equal(first.state(2), second.state(2))
    assert first.state(2).dtype == dtype
