"""MPIIGaze's adapter, on files in its exact layout of eyes that this file projects itself."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from simgan import SourceError
from simgan.data import load

TO_IRIS, IRIS_RADIUS = 10.5, 5.85  # mm: from the eyeball's centre to the plane of the limbus, and its radius


def gaze_of(pitch, yaw):
    return np.array([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)])


def project(points, focal, middle):
    """A camera at the origin: x right, y down, z forward (mm) to px whose whole numbers are pixel centres."""
    points = np.asarray(points, float)
    return focal * points[..., :2] / points[..., 2:] + np.array(middle) - 0.5


def limbus(eyeball, gaze, count=32):
    """Points of the iris' rim in space."""
    side = np.cross(gaze, [0, 1, 0])
    side /= np.linalg.norm(side)
    up = np.cross(side, gaze)
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
    return eyeball + TO_IRIS * gaze + IRIS_RADIUS * (np.cos(turn) * side + np.sin(turn) * up)


def draw(shape, focal, middle, eyeball, gaze):
    """A grey frame with a dark disc where the iris is."""
    frame = np.full(shape, 200, np.uint8)
    rim = project(limbus(eyeball, gaze), focal, middle)
    cv2.fillPoly(frame, [np.round(rim * 16).astype(np.int32)], 20, cv2.LINE_AA, shift=4)
    return frame


def dark_centre(image):
    dark = np.clip(110 - image.astype(float), 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(dark * columns).sum(), (dark * rows).sum()]) / dark.sum()


def write_mpiigaze(folder, person="p00", day="day01", count=3):
    """Both eyes of a face looking at the same place, as the normalization's virtual camera sees them."""
    truth, sides = {}, {}
    for side, sign in (("left", 1), ("right", -1)):
        images, gazes, poses = [], [], []
        for number in range(count):
            gaze = gaze_of(-0.1 * number, 0.12 * number)
            gazes.append(gaze)
            poses.append([0.05 * number, 0.2 * sign, 0.0])
            images.append(draw((36, 60), 960.0, (30.0, 18.0), np.array([0.0, 0.0, 600.0]), gaze))
        truth[side] = np.array(gazes)
        sides[side] = {"image": np.stack(images), "gaze": np.array(gazes), "pose": np.array(poses)}
    names = np.array([f"{number:04}.jpg" for number in range(count)], dtype=object)
    place = folder / "Data" / "Normalized" / person
    place.mkdir(parents=True, exist_ok=True)
    savemat(place / f"{day}.mat", {"data": sides, "filenames": names[:, None]})
    return truth


def test_right_eyes_of_mpiigaze_are_mirrored_with_their_labels(tmp_path):
    truth = write_mpiigaze(tmp_path)
    data = load(f"mpiigaze:{tmp_path}")
    assert data["file_name"][0] == "p00/day01/0000_left.png"
    assert len(data) == 6
    gaze = np.array(data["gaze"])
    assert np.allclose(gaze[:3], truth["left"], atol=1e-6)
    assert np.allclose(gaze[3:], truth["right"] * [-1, 1, 1], atol=1e-6)
    for row in data:  # the drawn iris is where the gaze of the row puts it, mirrored or not
        where = project(np.array([0, 0, 600.0]) + TO_IRIS * np.array(row["gaze"]), 960.0, (30.0, 18.0)) - [2, 0]
        assert np.allclose(dark_centre(np.array(row["image"])), where, atol=0.6)
    left, right = (np.reshape(data[k]["head_rotation"], (3, 3)) for k in (0, 3))
    assert np.allclose(left, right, atol=1e-6)  # the poses are mirror images of each other


def test_one_image_a_day_and_the_evaluation_lists_are_read(tmp_path):
    write_mpiigaze(tmp_path, "p00", "day01")
    write_mpiigaze(tmp_path, "p01", "day02", count=1)
    assert load(f"mpiigaze:{tmp_path}")["person"] == ["p00"] * 6 + ["p01"] * 2
    with pytest.raises(SourceError, match=r"has no Evaluation Subset/.*/p00\.txt …; take the whole set"):
        load(f"mpiigaze:{tmp_path}@evaluation")
    lists = tmp_path / "Evaluation Subset" / "sample list for eye image"
    lists.mkdir(parents=True)
    (lists / "p00.txt").write_text("day01/0002.jpg left\nday01/0000.jpg right\n")
    names = load(f"mpiigaze:{tmp_path}@evaluation")["file_name"]
    assert names == ["p00/day01/0002_left.png", "p00/day01/0000_right.png"]
    (lists / "p00.txt").write_text("day01-0002\n")
    with pytest.raises(SourceError, match=r"p00\.txt has a line 'day01-0002'"):
        load(f"mpiigaze:{tmp_path}@evaluation")


def test_another_layout_is_no_mpiigaze(tmp_path):
    with pytest.raises(SourceError, match=r"has no Data/Normalized/p00/day01\.mat"):
        load(f"mpiigaze:{tmp_path}")
    place = tmp_path / "Data" / "Normalized" / "p00"
    place.mkdir(parents=True)
    savemat(place / "day01.mat", {"eyes": np.zeros(3)})
    with pytest.raises(SourceError, match=r"day01\.mat is not laid out"):
        load(f"mpiigaze:{tmp_path}")
    (place / "day01.mat").write_bytes(b"no matrix")
    with pytest.raises(SourceError, match=r"day01\.mat is not laid out"):
        load(f"mpiigaze:{tmp_path}")
