"""Annotation shift by optical flow: known shifts are found at what is labelled; colours, light and noise are no motion.

And what is left of edges: what fades is seen, and what is not there is said to be not measured.
"""

import cv2
import numpy as np
import pytest

from simgan import ImageError
from simgan.measures.shift import edges_left, flow_shift, likeness, part_shift
from simgan.simulators.eyes import renders as eyes


def textures(count=8, side=64):
    """Smooth noise in colour, at three scales."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (3, count, side, side, 3))
    blurred = [[cv2.GaussianBlur(image, (0, 0), s) for image in of] for s, of in zip((1.5, 4, 9), noise, strict=True)]
    scales = [np.array(of) / np.std(of) for of in blurred]
    return levels(128 + sum(a * of for a, of in zip((25, 30, 40), scales, strict=True)))


def levels(values):
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


IMAGES = {"textures": textures(), "eyes": eyes.render(range(16))[0]}


@pytest.fixture(params=IMAGES)
def images(request):
    return IMAGES[request.param]


def moved(images, pixels, smooth=False):
    """Move each image in a random direction; a smooth warp turns the direction from place to place."""
    rng, (high, wide) = np.random.default_rng(0), images.shape[1:3]
    down, across = np.mgrid[:high, :wide].astype(np.float32)
    after = []
    for image in images:
        turn = cv2.GaussianBlur(rng.normal(0, 1, (high, wide)), (0, 0), wide / 5)
        angle = rng.uniform(0, 2 * np.pi) + smooth * (turn - turn.mean()) / turn.std()
        x, y = (start - pixels * way for start, way in ((across, np.cos(angle)), (down, np.sin(angle))))
        place = x.astype(np.float32), y.astype(np.float32)
        after.append(cv2.remap(image, *place, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
    return np.stack(after)


def swap_hues(images):
    return images[..., [1, 2, 0]] if images.ndim == 4 else images


def invert_one_channel(images):
    return np.concatenate([255 - images[..., :1], images[..., 1:]], -1) if images.ndim == 4 else 255 - images


def gamma(images):
    return levels(255 * (images / 255) ** 0.5)


def blur(images):
    return np.stack([cv2.GaussianBlur(image, (0, 0), 1) for image in images])


def disturb(images):
    return levels(images + np.random.default_rng(2).normal(0, 8, images.shape))


def dim(images):
    return levels(0.6 * images.astype(float) + 40)


RECOLOURED = (swap_hues, invert_one_channel, gamma, dim)
CHANGES = (*RECOLOURED, blur, disturb)


def contrast(images, share):
    """Leave a share of the contrast of each image."""
    mean = images.mean((1, 2), keepdims=True)
    return levels(mean + share * (images - mean))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("pixels", "within"), [(0.0, 0.15), (0.5, 0.15), (1.0, 0.15), (2.0, 0.15), (4.0, 0.4)])
def test_a_known_shift_is_found_in_other_colours_light_blur_and_noise(images, pixels, within, smooth):
    after = moved(images, pixels, smooth)
    found = [flow_shift(images, change(after)) for change in CHANGES]
    errors = [np.nanmean(np.abs(one[:, 0] - pixels)) for one in found]
    assert np.mean(errors) <= within
    assert np.isnan(found).mean() <= 0.15
    assert np.nanmean(np.abs(np.array(found)[..., 1] - pixels)) <= 0.3


def test_what_only_changes_light_does_not_move():
    assert np.nanmedian(flow_shift(IMAGES["eyes"], dim(IMAGES["eyes"]))[:, 0]) < 0.05


def test_a_grey_image_and_the_same_one_in_three_channels_have_one_shift():
    grey = IMAGES["eyes"]
    after = moved(grey, 1.0)
    colour = flow_shift(*(np.repeat(images[..., None], 3, -1) for images in (grey, after)))
    assert np.allclose(colour, flow_shift(grey, after), atol=0.05)


def test_colours_of_one_luminance_have_edges():
    images = np.full((2, 48, 48, 3), (100, 100, 100), np.uint8)
    images[:, 16:32, 16:32] = (167, 66, 100)  # as bright
    assert np.ptp(cv2.cvtColor(images[0], cv2.COLOR_RGB2GRAY)) <= 1
    assert np.allclose(flow_shift(images, moved(images, 1.0))[:, 0], 1, atol=0.15)


def test_images_without_edges_or_of_other_things_are_not_measured(images):
    flat, noise = np.full_like(images, 128), np.random.default_rng(1).integers(0, 256, images.shape).astype(np.uint8)
    assert np.isnan(flow_shift(flat, flat)).all() and np.isnan(edges_left(flat, images)).all()
    assert np.isnan(flow_shift(images, flat)).all()  # where all has faded, nothing is known to have stayed
    assert np.isnan(flow_shift(images, noise)[:, 0]).mean() > 0.9
    assert np.isnan(flow_shift(images, np.roll(images, 1, 0))[:, 0]).mean() > 0.4
    assert np.abs(edges_left(images, noise)).max() < 0.3


def test_the_smallest_images_are_measured():
    images = textures(4, 16)
    assert np.allclose(flow_shift(images, images), 0, atol=0.02)


def test_edges_are_left_in_other_colours_and_fall_with_their_contrast(images):
    assert np.allclose(edges_left(images, images), 1)
    assert min(edges_left(images, change(images)).mean() for change in RECOLOURED) >= 0.8
    left = [edges_left(images, contrast(images, share)).mean() for share in (1, 0.6, 0.3, 0.1, 0)]
    assert left == sorted(left, reverse=True)
    assert left[1] > 0.8 and left[2] == pytest.approx(0.55, abs=0.05) and abs(left[4]) < 0.05


@pytest.mark.parametrize("pixels", [0.0, 0.5, 1.0, 2.0])
def test_a_part_moves_as_a_whole_in_other_light_blur_and_noise(images, pixels):
    after = moved(images, pixels)
    found = [part_shift(images, change(after)) for change in CHANGES]
    assert np.nanmean(np.abs(np.array(found) - pixels)) <= 0.1 and np.isnan(found).mean() <= 0.15


def test_looks_are_alike_in_other_light_blur_and_noise_but_not_inverted_or_elsewhere(images):
    assert np.allclose(likeness(images, images), 1, atol=1e-3)
    assert min(likeness(images, change(images)).mean() for change in (gamma, dim, blur, disturb)) > 0.9
    assert likeness(images, 255 - images).max() < -0.9
    assert abs(likeness(images, np.roll(images, 1, 0)).mean()) < 0.35  # eyes lie at much the same place
    assert np.abs(likeness(images, 0 * images)).max() < 0.01


def test_a_part_that_moves_or_fades_is_measured_where_it_is_labelled():
    """A plate on a texture: the plate moves or fades, and what is around it stays."""
    before = textures(6) // 4
    plate, away = np.s_[:, 20:40, 24:44], np.s_[:, 21:41, 26:46]
    before[plate] = textures(6, 20) // 2 + 110
    box = {"boxes": [[24, 20, 44, 40]] * 6}
    labels = [box, {"bbox": [[[24, 20, 20, 20]]] * 6}, {"polygons": [[[[24, 20], [44, 20], [44, 40], [24, 40]]]] * 6}]
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 24:44] = 1
    labels += [{"mask": [mask] * 6}, {"points": [[[30, 26], [36, 34]]] * 6}]
    after = textures(6) // 4
    after[away] = before[plate]
    for one in labels:
        assert np.nanmean(flow_shift(before, after, one)[:, 0]) == pytest.approx(np.hypot(1, 2), abs=0.4)
    still = {"boxes": [[2, 2, 18, 60]] * 6}
    assert np.nanmax(flow_shift(before, after, still)[:, 0]) < 0.1
    faded = before.copy()
    faded[plate] = (textures(6) // 4)[plate]
    assert np.isnan(flow_shift(before, faded, box)).all()
    assert max(np.abs(edges_left(before, faded, box)).max(), np.abs(likeness(before, faded, box)).max()) < 0.5
    assert min(edges_left(before, faded, still).min(), likeness(before, faded, still).min()) > 0.95


def test_an_image_where_nothing_is_labelled_is_not_measured():
    images = textures(3)
    boxes = {"boxes": [[[10, 10, 50, 50]], [], None]}
    assert np.isfinite(flow_shift(images, images, boxes)[:, 0]).tolist() == [True, False, False]
    for measure in (edges_left, part_shift, likeness):
        assert np.isfinite(measure(images, images, boxes)).tolist() == [True, False, False]
    assert np.isfinite(flow_shift(images, images, {"boxes": [None] * 3, "yaw": [1.0] * 3})).all()


def test_labels_that_do_not_fit_are_refused():
    images = textures(3)
    with pytest.raises(ImageError, match="3 images need the boxes of each, not 2"):
        flow_shift(images, images, {"boxes": [[1, 1, 9, 9]] * 2})
    with pytest.raises(ImageError, match="mask mark nothing in any image"):
        edges_left(images, images, {"mask": [np.zeros((64, 64), np.uint8)] * 3})
    with pytest.raises(ImageError, match="one shape"):
        flow_shift(images, images[:2])
