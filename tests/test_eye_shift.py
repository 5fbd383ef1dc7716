"""Annotation shift of eyes at their labels: known shifts are found, and parts that are gone are missed.

Without labels the iris finder measures, and says how far it errs by itself.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from simgan.domains import find
from simgan.domains.eye_shift import FINDER, IRIS, LIDS, eye_edges_left, eye_shift, measure_eye_shift
from simgan.domains.iris import iris_centres
from simgan.images.arrays import equalize
from simgan.measures.shift import known_mean, trimmed_mean
from simgan.simulators.eyes import camera, renders
from simgan.training import selection
from simgan.training.config import preset

RENDERS, LABELS = renders.render(range(60))
IMAGES = np.stack([equalize(image) for image in RENDERS])
POINTS = {part: LABELS[part].tolist() for part in (*IRIS, *LIDS)}


def warped(pixels):
    """Each image moved in a direction of its own."""
    turns = np.random.default_rng(0).uniform(0, 2 * np.pi, len(IMAGES))
    matrices = [np.array([[1, 0, pixels * np.cos(turn)], [0, 1, pixels * np.sin(turn)]]) for turn in turns]
    how = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    return np.stack([cv2.warpAffine(image, m, (55, 35), **how) for image, m in zip(IMAGES, matrices, strict=True)])


def without_pupils():
    """The same images with the iris' tone where the pupil was."""
    erased = []
    for image, centre in zip(IMAGES, LABELS["pupil"], strict=True):
        pupil = np.zeros(image.shape, np.uint8)
        cv2.circle(pupil, tuple(int(value) for value in centre.round()), 5, 255, -1)
        erased.append(cv2.inpaint(image, pupil, 3, cv2.INPAINT_TELEA))
    return np.stack(erased)


@pytest.mark.parametrize("pixels", [0.0, 0.5, 1.0, 2.0])
def test_a_shift_that_was_made_is_found_at_the_labels(pixels):
    assert np.abs(eye_shift(IMAGES, warped(pixels), POINTS) - pixels).max() < 0.2


def test_lids_that_move_are_the_part_that_moved_most():
    lower = np.stack([np.concatenate([one[:1], one[:-1]]) for one in IMAGES])
    iris = np.hypot(*(np.mgrid[:35, :55] - LABELS["pupil"][:, ::-1, None, None]).swapaxes(0, 1)) < 11
    iris, most = np.nanmedian(eye_shift(IMAGES, np.where(iris, IMAGES, lower), POINTS), 0)
    assert iris < 0.3 and 0.5 < most < 1


def test_photographs_of_the_same_scenes_and_faces_are_within_the_bounds():
    """Light, sharpness, noise and tones differ as in reality, and nothing has moved."""
    photographs = replace(renders.SIMULATOR, camera=camera.Webcam).render(range(60))[0]
    shift, left = eye_shift(IMAGES, photographs, POINTS), eye_edges_left(IMAGES, photographs, POINTS)
    config = preset("eyes")
    assert np.nanmedian(shift[:, 0]) < 0.25 and np.nanmax(shift) < config.max_single_shift
    assert trimmed_mean(shift[np.isfinite(shift[:, 1]), 1]) < 0.3 < config.max_shift
    assert (left >= 1 - config.max_faded_95).mean() >= 0.95


def test_a_pupil_that_is_gone_has_not_moved_but_nothing_is_left_of_it():
    erased = without_pupils()
    assert np.nanmedian(eye_shift(IMAGES, erased, POINTS)[:, 0]) < 0.1
    assert (eye_edges_left(IMAGES, erased, POINTS) < 0.6).mean() > 0.9
    assert np.isnan(eye_edges_left(IMAGES, erased, {"lids": POINTS["lids"]})).all()
    further = {one.name: one.estimate.value for one in measure_eye_shift(IMAGES, erased, POINTS).further}
    assert further["beyond 3 px"] == 0 and further["edges left of irises"] < 0.5
    assert further["irises faded or changed"] > 0.9


def test_at_labels_the_measure_errs_by_less_than_a_tenth_of_a_pixel():
    shift = measure_eye_shift(IMAGES, warped(0.5), POINTS)
    assert shift.moved == "labelled parts" and FINDER not in shift.note
    assert shift.median.value == pytest.approx(0.5, abs=0.05) and shift.missed == 0
    assert shift.repeatability < 0.05


def test_without_labels_the_finder_measures_and_tells_its_error():
    unknown = {part: [None] * len(IMAGES) for part in POINTS}
    boxes = {"boxes": [[[0, 0, 9, 9]]] * len(IMAGES)}  # not of parts that are measured
    assert not find("eyes").is_labelled(unknown | boxes) and find("eyes").is_labelled(POINTS)
    assert np.isnan(eye_edges_left(IMAGES, IMAGES, unknown)).all()
    words = find("eyes").words
    assert words.beside({"shift_labelled": 1.0}) == "" and words.beside({"shift": 0.5}) == FINDER
    shift = measure_eye_shift(IMAGES, IMAGES, unknown)
    assert shift.moved == "iris" and shift.note.startswith(FINDER)
    assert [one.name for one in shift.further] == ["iris, mean", "beyond 3 px"]


def test_the_error_that_is_told_of_the_finder_is_its_error():
    images, labels = renders.render(range(400), seed=80_000)
    errors = np.linalg.norm(iris_centres(np.stack([equalize(one) for one in images])) - labels["pupil"], axis=1)
    assert "0.6 px in the median" in FINDER and np.nanmedian(errors) == pytest.approx(0.6, abs=0.05)
    far = known_mean(np.where(np.isfinite(errors), errors > 3, np.nan))
    assert "more than 3 px in 3 %" in FINDER and far == pytest.approx(0.03, abs=0.01)


def test_an_image_without_labels_beside_others_is_not_measured():
    some = {part: [None, *values[1:]] for part, values in POINTS.items()}
    assert np.isnan(eye_shift(IMAGES, IMAGES, some)[:, 0]).tolist() == [True] + [False] * 59


def test_where_lids_alone_are_labelled_they_are_measured():
    shift = eye_shift(IMAGES, warped(1.0), {"lids": POINTS["lids"]})
    assert np.allclose(shift, 1, atol=0.15) and (shift[:, 0] == shift[:, 1]).all()


def test_all_presets_of_eyes_have_the_same_bounds():
    names = ("max_shift", "max_median_shift", "max_single_shift", "max_faded", "max_faded_95")
    bounds = {tuple(getattr(preset(name), key) for key in names) for name in find("eyes").recipes}
    assert bounds == {(0.8, 0.4, 3.0, 0.3, 0.4)}


def test_a_refiner_is_kept_within_all_bounds_of_eyes():
    config = preset("eyes")
    good = {"shift": 0.4, "shift_median": 0.2, "shift_single": 1.0, "edges_left": 0.8, "edges_left_95": 0.7}
    assert selection.excess(good, config) == pytest.approx(0.75)
    for name, value in (("shift_single", 3.1), ("edges_left_95", 0.5), ("shift", 0.9), ("shift_median", 0.5)):
        assert selection.excess(good | {name: value}, config) > 1
    assert selection.excess({"shift": 0.4, "shift_median": 0.2}, config) == 0.5  # of a run by the finder
