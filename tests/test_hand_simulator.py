"""The embedded hand domain: images depend on seed and index alone, and labels agree with the surface that is drawn."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from datasets import load_from_disk

from simgan import ConfigError, SourceError
from simgan.cli import main
from simgan.data import Crops, load
from simgan.domains.hands import JOINTS
from simgan.preparation.triangulation import unlit
from simgan.simulators.base import RandomNumbers
from simgan.simulators.hands import camera as depth_camera
from simgan.simulators.hands import renders as hands
from simgan.simulators.hands.camera import BASELINE
from simgan.simulators.hands.pose import (
    EDGES,
    FINGERS,
    KNUCKLE,
    MIDDLE,
    PLACE,
    PLATES,
    SWING,
    THUMB,
    draw_pose,
    measure,
    place_fingers,
    place_thumb,
    settle,
)
from simgan.simulators.hands.raycast import FOCAL, NO_HIT, cast

MODULES = pytest.mark.parametrize("module", [hands, depth_camera])
IMAGES = 60


@pytest.fixture(scope="module")
def rendered():
    """Images and labels of both modules, rendered once."""
    return {module: module.render(range(IMAGES)) for module in (hands, depth_camera)}


@MODULES
def test_an_image_depends_on_seed_and_index_alone(module, rendered):
    images, labels = rendered[module]
    some = [37, 5, 58]
    again, same = module.render(some)
    assert np.array_equal(images[some], again)
    assert all(np.array_equal(labels[name][some], same[name]) for name in labels)
    assert not np.array_equal(module.render([5], seed=1)[0], images[[5]])
    assert (images.shape, images.dtype) == ((IMAGES, 224, 224), np.uint16)
    assert labels["joints"].shape == labels["joints_mm"].shape == (IMAGES, len(JOINTS), 3)
    assert module.render([])[0].shape == (0, 224, 224)
    with pytest.raises(ConfigError):
        module.render([-1])


def populate(module, count):
    (person, image, _), _ = module.SIMULATOR.numbers(range(count), seed=0)
    return module.SIMULATOR.populate(person, image)


def swept(x, y, centres, radii):
    """Depth of the spheres that lie between two or three spheres, by trying many of them."""
    steps = np.linspace(0, 1, 400 if len(centres) == 2 else 90)
    weights = np.stack([1 - steps, steps], -1)
    if len(centres) == 3:
        first, second = (side.ravel() for side in np.meshgrid(steps, steps))
        weights = np.stack([1 - first - second, first, second], -1)[first + second <= 1]
    rays = np.stack([*np.broadcast_arrays(x[None], y[:, None]), np.ones((len(y), len(x)))], -1).astype(float)
    nearest = np.full(rays.shape[:2], float(NO_HIT))
    for centre, radius in zip(weights @ centres, weights @ radii, strict=True):
        along, square = rays @ centre, (rays * rays).sum(-1)
        disc = along**2 - square * (centre @ centre - radius**2)
        hit = disc > 0
        nearest[hit] = np.minimum(nearest[hit], (along[hit] - np.sqrt(disc[hit])) / square[hit])
    return nearest


@pytest.mark.parametrize(
    ("centres", "radii"),
    [
        ([[-40, 10, 600], [45, -20, 640]], [9, 14]),
        ([[0, 0, 560], [4, 3, 640]], [8, 24]),  # seen along the axis, widening
        ([[2, 1, 560], [0, 0, 640]], [20, 6]),  # and narrowing
        ([[-30, -30, 600], [40, -10, 630], [0, 45, 580]], [10, 16, 7]),
        ([[-30, -30, 640], [40, -30, 600], [40, 40, 560]], [8, 8, 12]),
    ],
)
def test_rays_meet_what_a_sphere_sweeps(centres, radii):
    centres, radii = np.array(centres, np.float32), np.array(radii, np.float32)
    axis = np.linspace(-0.13, 0.13, 64).astype(np.float32)
    pairs = [pair for pair in ([0, 1], [1, 2], [0, 2]) if max(pair) < len(radii)]
    plates = np.array([[0, 1, 2]] if len(radii) == 3 else []).reshape(-1, 3).astype(int)
    rays = (axis, axis * np.float32(0.9))
    found, wanted = cast(*rays, centres, radii, np.array(pairs), plates), swept(*rays, centres, radii)
    both = (found < NO_HIT) & (wanted < NO_HIT)
    assert both.sum() > 200
    assert ((found < NO_HIT) != (wanted < NO_HIT)).mean() < 0.003  # pixels at the rim
    inner = cv2.erode(both.astype(np.uint8), np.ones((3, 3))) > 0
    assert np.abs(found - wanted)[inner].max() < 0.15
    assert (found <= wanted + 0.01)[both].all()  # trying some spheres finds no nearer one than the exact solid


@MODULES
def test_joints_project_into_the_crop_around_the_middle_of_their_box(module, rendered):
    joints, place = (rendered[module][1][name].astype(float) for name in ("joints", "joints_mm"))
    assert np.array_equal(joints[..., 2], place[..., 2])
    middle = (place.min(1) + place.max(1)) / 2
    width = FOCAL * hands.CUBE / middle[:, 2]
    off = FOCAL * (place[..., :2] / place[..., 2:] - middle[:, None, :2] / middle[:, None, 2:])
    assert np.allclose(joints[..., :2], 111.5 + off * 224 / width[:, None, None], atol=0.02)
    assert (np.abs(joints[..., :2] - 111.5) < 112).all()
    assert middle[:, 2].min() > 440
    assert middle[:, 2].max() < 910


@MODULES
def test_a_joint_in_sight_lies_behind_the_surface_by_the_radius_of_its_bone(module, rendered):
    images, labels = rendered[module]
    names = [f"{finger} {part}" for finger in FINGERS[::-1] for part in ("tip", "middle")] + ["thumb tip"]
    radii = populate(module, IMAGES).radii[:, [PLACE[name] for name in names]]
    u, v, d = np.moveaxis(labels["joints"][:, :9], -1, 0)
    surface = images[np.arange(IMAGES)[:, None], v.round().astype(int), u.round().astype(int)].astype(float)
    read = surface > 0
    if module is hands:
        assert (read | (np.abs(d - d.mean()) > 100)).all()
        assert (surface < d)[read].all()  # nothing is drawn behind a joint: what hides it is nearer
    behind = (d - surface) / radii
    seen = read & (behind < 2)
    assert seen.mean() > 0.4
    assert (~seen & read).mean() > 0.02  # others are hidden by the hand itself
    assert abs(np.median(behind[seen]) - 1) < 0.05
    assert np.quantile(np.abs(behind[seen] - 1), 0.75) < (0.15 if module is hands else 0.25)


def drawn(count):
    draw = RandomNumbers(0, 7, np.arange(count))
    own = measure(RandomNumbers(0, 8, np.arange(count)), hands.SIMULATOR.length, hands.SIMULATOR.girth)
    return own, draw_pose(draw, hands.SIMULATOR.deviation)


def test_bones_keep_their_lengths_and_joints_their_limits():
    own, pose = drawn(500)
    settled = settle(own, pose)
    assert np.allclose(np.linalg.norm(np.diff(place_fingers(own, settled), axis=2), axis=-1), own.phalanges, atol=1e-3)
    assert np.allclose(np.linalg.norm(np.diff(place_thumb(own, settled), axis=1), axis=-1), own.thumb, atol=1e-3)
    for angles, limits in zip(np.moveaxis(settled.fingers, -1, 0), (KNUCKLE, SWING, MIDDLE), strict=True):
        assert angles.min() >= limits[0]
        assert angles.max() <= limits[1]
    for angles, limits in zip(settled.thumb.T, THUMB, strict=True):
        assert angles.min() >= limits[0]
        assert angles.max() <= limits[1]
    scene, names = populate(hands, 600), hands.SIMULATOR.numbers(range(600), seed=0)[1]
    bone = np.linalg.norm(scene.joints[:, 8] - scene.joints[:, 9], axis=-1)  # the thumb's last one
    people = [bone[names == person] for person in np.unique(names)]
    assert max(np.ptp(lengths) for lengths in people) < 0.01
    assert np.ptp([lengths[0] for lengths in people]) > 3


def test_fingertips_stay_out_of_the_palm():
    own, pose = drawn(2000)
    pose.fingers[:500, :, 0], pose.fingers[:500, :, 2] = 90, 105  # as closed as joints allow
    joints = place_fingers(own, settle(own, pose))
    worst = np.full(2000, np.inf)
    for number, finger in enumerate(FINGERS):
        tip, radius = joints[:, number, 3], own.radii[:, PLACE[f"{finger} tip"]]
        for root, knuckle, name in zip(own.roots.transpose(1, 0, 2), own.knuckles.transpose(1, 0, 2), FINGERS,
                                       strict=True):  # fmt: skip
            bone = knuckle - root
            share = np.clip(((tip - root) * bone).sum(1) / (bone * bone).sum(1), 0, 1)[:, None]
            flesh = own.radii[:, PLACE[f"{name} root"]] * (1 - share[:, 0]) + share[:, 0] * own.radii[
                :, PLACE[f"{name} knuckle"]]  # fmt: skip
            worst = np.minimum(worst, np.linalg.norm(tip - root - share * bone, axis=1) - flesh - radius)
    assert worst.min() > -4  # mm that soft flesh gives way


def test_every_plate_has_its_edges_and_chains_their_bones():
    edges = {tuple(edge) for edge in np.sort(EDGES, 1)}
    for plate in PLATES:
        assert all(tuple(sorted((int(a), int(b)))) in edges for a, b in pairwise([*plate, plate[0]]))
    assert (PLACE["index end"], PLACE["index tip"]) in edges


def test_the_shadow_lies_right_of_what_is_near_as_wide_as_the_disparities_differ():
    disparity = np.full((20, 60), 40, np.float32)
    disparity[5:15, 20:30] = 47
    found = unlit(disparity)
    assert not found[:5].any()
    assert not found[:, :29].any()
    assert 5 <= found[10].sum() <= 8
    assert np.flatnonzero(found[10]).min() >= 29
    assert np.flatnonzero(found[10]).max() <= 37


def test_the_camera_reads_in_steps_that_grow_with_depth_and_misses_what_kinect_does(rendered):
    images, _ = rendered[depth_camera]
    for image in images[:10]:
        levels = np.unique(image[image > 0]).astype(float)
        steps = 8 * FOCAL * BASELINE / levels  # in eighths of a px of disparity
        error = np.abs(steps - steps.round()) * levels**2 / (8 * FOCAL * BASELINE)
        assert error.max() < 0.51  # mm, what rounding to whole ones leaves
    holes, clean = (np.mean([_holes(image) for image in module]) for module in (images, rendered[hands][0]))
    assert 0.001 < holes - clean < 0.03
    ragged, smooth = (np.mean([_ragged(image) for image in module]) for module in (images, rendered[hands][0]))
    assert ragged > 1.5 * smooth


def _filled(image):
    mask = np.pad((image > 0).astype(np.uint8), 1)
    outside = mask.copy()
    cv2.floodFill(outside, None, (0, 0), 2)
    return (outside != 2).astype(np.uint8), mask


def _holes(image):
    filled, mask = _filled(image)
    return (filled != mask).sum() / filled.sum()


def _ragged(image):
    filled = _filled(image)[0][8:-8, 8:-8]
    smooth = cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 3) > 0.5
    return (filled != smooth).sum() / (cv2.Canny(smooth.astype(np.uint8) * 255, 50, 100) > 0).sum()


@pytest.mark.parametrize("source", ["simulator:hands", "camera:hands"])
def test_hands_are_sources_of_16_bits(source, tmp_path):
    data = load(source, size=None, limit=3, seed=4)
    images = Crops(data)[:]
    assert (images.shape, images.dtype) == ((3, 224, 224), np.uint16)
    module = hands if source == "simulator:hands" else depth_camera
    wanted, labels = module.render(range(3), seed=4)
    assert np.array_equal(images, wanted)
    assert np.allclose(data["joints_mm"], labels["joints_mm"], atol=1e-3)
    data.save_to_disk(tmp_path / "saved")
    assert load_from_disk(str(tmp_path / "saved"))["person"][:] == labels["person"].tolist()
    with pytest.raises(SourceError, match="renders 224×224 pixels"):
        load(source, size=(55, 35), limit=1)
    with pytest.raises(ConfigError, match="leave the channels at 1"):
        load(source, size=None, channels=3, limit=1)


def test_simulated_hands_come_back_from_their_folder_and_shuffled(tmp_path):
    main(["simulate", "camera:hands", str(tmp_path / "hands"), "--count", "3", "--seed", "2"])
    wanted, labels = depth_camera.render(range(3), seed=2)
    data = load(f"folder:{tmp_path / 'hands'}", size=(224, 224))
    assert np.array_equal(Crops(data)[:], wanted)
    assert np.allclose(data["joints"], labels["joints"], atol=1e-3)
    mixed = load("shuffled:camera:hands", size=(224, 224), limit=3, seed=2)
    assert "joints" not in mixed.column_names
    for image, original in zip(Crops(mixed)[:], wanted, strict=True):
        assert image.dtype == np.uint16
        assert np.array_equal(np.sort(image, None), np.sort(original, None))
        assert not np.array_equal(image, original)
