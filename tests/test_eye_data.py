"""UnityEyes and MPIIGaze adapters, on files in their exact layout of an eyeball that this file projects itself."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from simgan import SourceError
from simgan.data import load

IRIS_RADIUS, TO_IRIS = 5.85, 10.5  # mm: of the limbus, and from the eyeball's centre to its plane


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


# UnityEyes

EYEBALL, FOCAL, MIDDLE = np.array([2.0, -1.0, 300.0]), 2100.0, (320.0, 240.0)


def text(points):
    """Landmarks as UnityEyes writes them: y from the lower edge of the frame, and a depth."""
    return [f"({x + 0.5:.4f}, {480 - (y + 0.5):.4f}, 8.8000)" for x, y in points]


def write_unityeyes(folder, pitch, yaw, name="1"):
    gaze = gaze_of(pitch, yaw)
    frame = draw((480, 640), FOCAL, MIDDLE, EYEBALL, gaze)
    rim = project(limbus(EYEBALL, gaze), FOCAL, MIDDLE)
    turn = np.linspace(np.pi, -np.pi, 16, endpoint=False)
    lids = project(
        EYEBALL + [0, 0, -12] + 15 * np.stack([np.cos(turn), 0.5 * np.sin(turn), 0 * turn], 1), FOCAL, MIDDLE
    )
    labels = {
        "interior_margin_2d": text(lids),
        "caruncle_2d": text(lids[:7]),
        "iris_2d": text(rim),
        "eye_details": {"look_vec": f"({gaze[0]:.4f}, {-gaze[1]:.4f}, {gaze[2]:.4f}, 0.0000)", "iris_size": "1.0"},
        "head_pose": "(0.0000, 180.0000, 0.0000)",
    }
    Image.fromarray(frame).convert("RGB").save(folder / f"{name}.jpg", quality=95)
    (folder / f"{name}.json").write_text(json.dumps(labels))
    return rim


@pytest.mark.parametrize(("pitch", "yaw"), [(0.0, 0.0), (0.3, 0.0), (-0.25, 0.4), (0.1, -0.5)])
def test_unityeyes_labels_are_where_geometry_puts_them(tmp_path, pitch, yaw):
    write_unityeyes(tmp_path, pitch, yaw)
    row = load(f"unityeyes:{tmp_path}")[0]
    assert np.allclose((row["pitch"], row["yaw"]), (pitch, yaw), atol=1e-3)
    assert np.allclose(row["gaze"], gaze_of(pitch, yaw), atol=1e-3)
    image = np.array(row["image"])
    assert image.shape == (35, 55)
    assert np.allclose(dark_centre(image), row["pupil"], atol=0.3)
    iris = np.array(row["iris"])
    assert np.allclose(iris.mean(0), row["pupil"], atol=0.1)
    across = max(np.linalg.norm(iris - point, axis=1).max() for point in iris)
    assert across == pytest.approx(11.7 * 960 / 600, rel=0.02)  # as MPIIGaze's virtual camera shows it
    assert np.allclose(np.reshape(row["head_rotation"], (3, 3)), np.eye(3), atol=1e-6)


def test_looking_to_a_side_moves_the_iris_of_unityeyes_there(tmp_path):
    for name, (pitch, yaw) in {"1": (0, 0), "2": (0.3, 0), "3": (0, 0.3)}.items():
        write_unityeyes(tmp_path, pitch, yaw, name)
    ahead, up, aside = (np.array(point) for point in load(f"unityeyes:{tmp_path}")["pupil"])
    assert up[1] < ahead[1] - 2  # pitch > 0 looks up
    assert aside[0] < ahead[0] - 2  # yaw > 0 looks to the left of the image


def test_broken_files_of_unityeyes_are_named(tmp_path):
    with pytest.raises(SourceError, match="no images below"):
        load(f"unityeyes:{tmp_path}")
    write_unityeyes(tmp_path, 0, 0)
    write_unityeyes(tmp_path, 0, 0, "2")
    (tmp_path / "2.json").unlink()
    with pytest.raises(SourceError, match=r"2\.jpg has no labels: 2\.json is missing"):
        load(f"unityeyes:{tmp_path}")
    (tmp_path / "2.json").write_text('{"iris_2d": []}')
    with pytest.raises(SourceError, match=r"2\.json is not laid out .*interior_margin_2d"):
        load(f"unityeyes:{tmp_path}")
    with pytest.warns(UserWarning, match="left out 1"):
        assert len(load(f"unityeyes:{tmp_path}", skip_bad=True)) == 1


def test_the_example_of_unityeyes_own_labels_is_understood(shared_data, tmp_path):
    file = shared_data / "formats" / "unityeyes_1.json"
    (tmp_path / "1.json").write_text(file.read_text())
    Image.new("RGB", (640, 480), (128, 128, 128)).save(tmp_path / "1.jpg")
    row = load(f"unityeyes:{tmp_path}")[0]
    iris, lids = np.array(row["iris"]), np.array(row["lids"])
    assert lids[:, 0].min() > 0 and lids[:, 0].max() < 55
    # The rim's shorter diameter lies along the gaze, and is the longer one times its cosine to the camera.
    (_, axes, _), gaze = cv2.fitEllipse(iris.astype(np.float32)), np.array(row["gaze"])
    assert min(axes) / max(axes) == pytest.approx(-gaze[2], abs=0.02)
    assert gaze[0] > 0 > gaze[1]  # to the right and up, as the iris is against the lids
    assert iris[:, 1].mean() < lids[[0, 8], 1].mean()


# MPIIGaze


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
    with pytest.raises(SourceError, match="has no lists"):
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
