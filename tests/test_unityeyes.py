"""UnityEyes' adapter, on files as the simulator writes them of an eyeball that this file projects itself.

World: cm, x to the person's right, y up, z where the face looks (left-handed, as Unity's); the eyeball's centre is the
origin, 10 cm from the camera, which looks at it from anywhere. In the crop: x right, y down, z away from the camera.
"""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from simgan import ImageError, SourceError
from simgan.data import load

FRAME, FOCAL = (640, 480), 546.0
LIMBUS, TO_LIMBUS = 0.585, 1.05  # cm: radius of the limbus where iris_size is 1, and from the eyeball's centre to it
SCALE = 960 / 60  # px of MPIIGaze's virtual camera in a cm
AHEAD = np.array([0.0, 0.0, 1.0])


class Camera:
    """At `position` (cm), looking at the origin, upright."""

    def __init__(self, position):
        self.position = np.asarray(position, float)
        self.forward = -self.position / np.linalg.norm(self.position)
        self.right = np.cross([0, 1, 0], self.forward)
        self.right /= np.linalg.norm(self.right)
        self.up = np.cross(self.forward, self.right)

    def turn(self, direction):
        """A direction of the world as the crop's labels give it."""
        return np.array([direction @ self.right, -(direction @ self.up), direction @ self.forward])

    def screen(self, points):
        """Points (N, 3) of the world to what UnityEyes writes: px from the frame's lower left corner, and depth."""
        seen = np.asarray(points) - self.position
        depth = seen @ self.forward
        x, y = FOCAL * (seen @ self.right) / depth, FOCAL * (seen @ self.up) / depth
        return np.stack([x + FRAME[0] / 2, y + FRAME[1] / 2, depth], 1)

    def euler(self):
        """Pitch, yaw, roll in degrees that turn a camera from z ahead to here: down first, then to the right."""
        down, right = np.arcsin(-self.forward[1]), np.arctan2(self.forward[0], self.forward[2])
        return np.degrees([down, right, 0]) % 360


def limbus(gaze, size=1.0):
    side = np.cross(gaze, [0, 1, 0])
    side /= np.linalg.norm(side)
    up = np.cross(side, gaze)
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)[:, None]
    return TO_LIMBUS * gaze + LIMBUS * size * (np.cos(turn) * side + np.sin(turn) * up)


def margin():
    """The nasal corner first, the temporal one eighth, of the person's left eye."""
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return np.stack([1.5 * np.cos(turn), 0.6 * np.sin(turn), np.full(16, 0.9)], 1)


def text(numbers):
    return "(" + ", ".join(f"{number:.4f}" for number in numbers) + ")"


def write(folder, gaze=AHEAD, position=(0, 0, 10), size=1.0, name="1"):
    """A grey frame with a dark disc where the iris is, and its labels; gives the camera."""
    camera, gaze = Camera(position), np.asarray(gaze, float) / np.linalg.norm(gaze)
    rim = camera.screen(limbus(gaze, size))
    frame = np.full(FRAME[::-1], 200, np.uint8)
    drawn = np.stack([rim[:, 0], FRAME[1] - rim[:, 1]], 1) - 0.5  # whole numbers are pixel centres
    cv2.fillPoly(frame, [np.round(drawn * 16).astype(np.int32)], 20, cv2.LINE_AA, shift=4)
    Image.fromarray(frame).convert("RGB").save(folder / f"{name}.jpg", quality=95)
    x, y, z = camera.turn(gaze)
    labels = {
        "interior_margin_2d": [text(point) for point in camera.screen(margin())],
        "caruncle_2d": [text(point) for point in camera.screen(margin()[:7])],
        "iris_2d": [text(point) for point in rim],
        "eye_details": {"look_vec": text((x, -y, z, 0)), "pupil_size": "0.1", "iris_size": str(size)},
        "head_pose": text(camera.euler()),
    }
    (folder / f"{name}.json").write_text(json.dumps(labels))
    return camera


def dark_centre(image):
    dark = np.clip(110 - image.astype(float), 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(dark * columns).sum(), (dark * rows).sum()]) / dark.sum()


def rotation(row):
    return np.reshape(row["head_rotation"], (3, 3))


VIEWS = [(0, 0, 10), (5, 2, 8.4), (-4, -3, 8.7)]


@pytest.mark.parametrize("position", VIEWS)
@pytest.mark.parametrize("gaze", [(0, 0, 1), (0.2, -0.2, 1), (-0.3, 0.1, 1)])
def test_labels_are_where_geometry_puts_them(tmp_path, gaze, position):
    camera = write(tmp_path, gaze, position)
    row = load(f"unityeyes:{tmp_path}")[0]
    image = np.array(row["image"])
    assert image.shape == (35, 55)
    assert np.allclose(dark_centre(image), row["pupil"], atol=0.3)
    assert np.allclose(np.mean(row["iris"], 0), row["pupil"], atol=0.2)
    assert np.allclose(row["gaze"], camera.turn(np.array(gaze) / np.linalg.norm(gaze)), atol=1e-3)
    x, y, z = row["gaze"]
    assert np.allclose((row["pitch"], row["yaw"]), (-np.arcsin(y), np.arctan2(-x, -z)), atol=1e-6)
    # x of the head is to the right of whom it faces, y down, and z from there through the head
    assert np.allclose(rotation(row), np.stack([camera.turn(axis) for axis in -np.eye(3)], 1), atol=1e-3)


@pytest.mark.parametrize("size", [0.9, 1.0])
@pytest.mark.parametrize("position", VIEWS)
def test_a_millimetre_is_as_long_as_in_mpiigaze_whatever_the_size_of_the_iris(tmp_path, position, size):
    write(tmp_path, position, position, size)  # an eye that looks into the camera
    iris = np.array(load(f"unityeyes:{tmp_path}")[0]["iris"])
    across = max(np.linalg.norm(iris - point, axis=1).max() for point in iris)
    assert across == pytest.approx(2 * LIMBUS * size * SCALE, rel=0.01)


def test_the_corners_sit_where_those_of_syntheseyes_do(tmp_path):
    write(tmp_path)
    lids = np.array(load(f"unityeyes:{tmp_path}")[0]["lids"])
    assert np.allclose((lids[0] + lids[8]) / 2, [27 + 2, 17 + 1.5], atol=0.01)
    assert lids[0, 0] < lids[8, 0]  # a left eye: the nose is on the image's left


def test_looking_to_a_side_moves_the_iris_there(tmp_path):
    for name, gaze in {"1": AHEAD, "2": (0, 0.3, 1), "3": (-0.3, 0, 1)}.items():
        write(tmp_path, gaze, name=name)
    data = load(f"unityeyes:{tmp_path}")
    ahead, up, aside = (np.array(point) for point in data["pupil"])
    assert up[1] < ahead[1] - 2 and data["pitch"][1] > 0.2
    assert aside[0] > ahead[0] + 2 and data["yaw"][2] < -0.2  # to the person's left, the image's right


def test_a_frame_of_another_size_is_turned_by_its_own_height(tmp_path):
    write(tmp_path)
    before = load(f"unityeyes:{tmp_path}")[0]
    frame = Image.open(tmp_path / "1.jpg")
    taller = Image.new("RGB", (640, 600), (200, 200, 200))
    taller.paste(frame, (0, 600 - 480))  # more above it: px from the lower edge stay what they were
    taller.save(tmp_path / "1.jpg", quality=95)
    after = load(f"unityeyes:{tmp_path}")[0]
    assert np.allclose(after["pupil"], before["pupil"], atol=1e-4)
    assert np.allclose(dark_centre(np.array(after["image"])), after["pupil"], atol=0.3)


def remove(*keys):
    def change(labels):
        for key in keys[:-1]:
            labels = labels[key]
        del labels[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (remove("iris_2d"), r"2\.json is not laid out as UnityEyes' labels are.*iris_2d"),
        (remove("interior_margin_2d"), r"2\.json .*interior_margin_2d"),
        (remove("eye_details", "look_vec"), r"2\.json .*look_vec"),
        (remove("head_pose"), r"2\.json .*head_pose"),
        (lambda labels: labels.update(iris_2d=[]), r"2\.json is not laid out"),
        (lambda labels: labels.update(head_pose="none"), r"2\.json is not laid out"),
        (lambda labels: labels["eye_details"].update(iris_size="0"), r"2\.json is not laid out"),
    ],
)
def test_labels_that_lack_something_are_named(tmp_path, change, sentence):
    for name in "12":
        write(tmp_path, name=name)
    labels = json.loads((tmp_path / "2.json").read_text())
    change(labels)
    (tmp_path / "2.json").write_text(json.dumps(labels))
    with pytest.raises(SourceError, match=sentence):
        load(f"unityeyes:{tmp_path}")
    with pytest.warns(UserWarning, match=r"left out 1: .*2\.json"):
        assert load(f"unityeyes:{tmp_path}", skip_bad=True)["file_name"] == ["1.jpg"]


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    with pytest.raises(SourceError, match="no images below"):
        load(f"unityeyes:{tmp_path}")
    write(tmp_path)
    (tmp_path / "1.json").write_text('{"iris_2d": ')
    with pytest.raises(SourceError, match=r"1\.json is not laid out"):
        load(f"unityeyes:{tmp_path}")
    (tmp_path / "1.json").unlink()
    with pytest.raises(SourceError, match=r"1\.jpg has no labels: 1\.json is missing"):
        load(f"unityeyes:{tmp_path}")
    write(tmp_path)
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:600])
    with pytest.raises(ImageError, match=r"1\.jpg cannot be read"):
        load(f"unityeyes:{tmp_path}")


def test_geometry_explains_the_labels_that_unityeyes_itself_writes(shared_data, tmp_path):
    file = shared_data / "formats" / "unityeyes_1.json"
    labels = json.loads(file.read_text())
    points = {key: np.array([json.loads(f"[{p[1:-1]}]") for p in labels[key]]) for key in ("iris_2d", "caruncle_2d")}
    middle, iris = np.array([400, 300]), points["iris_2d"]  # its frame was 800×600
    (tmp_path / "1.json").write_text(file.read_text())
    Image.new("RGB", (800, 600), (128, 128, 128)).save(tmp_path / "1.jpg")
    row = load(f"unityeyes:{tmp_path}")[0]
    gaze, lids = np.array(row["gaze"]), np.array(row["lids"])
    # The camera is 10 cm from the eyeball's centre, so that depth says how far from it the limbus is along the gaze,
    # the place of its centre gives the focal length, and that the limbus' diameter, 11.7 mm × iris_size.
    depth = iris[:, 2].mean()
    distance = (10 - depth) / -gaze[2]
    focal = (iris[:, :2].mean(0) - middle) * depth / (distance * gaze[:2] * [1, -1])
    assert focal[0] == pytest.approx(focal[1], rel=0.01)
    radius = np.linalg.norm(
        np.concatenate([(iris[:, :2] - middle) * iris[:, 2:] / focal.mean(), iris[:, 2:]], 1)
        - [*(distance * gaze[:2] * [1, -1]), depth],
        axis=1,
    )
    size = float(labels["eye_details"]["iris_size"])
    assert radius.mean() == pytest.approx(LIMBUS * size, rel=0.02)
    across = cv2.fitEllipse(np.array(row["iris"], np.float32))[1][1]
    assert across == pytest.approx(2 * radius.mean() * SCALE, rel=0.02)
    # The line through the eye's corners, right of which the temple lies farther back: the face looks to the right.
    assert -rotation(row)[0, 2] > 0.3
    assert lids[:, 0].min() > 0 and lids[:, 0].max() < 55
    assert points["caruncle_2d"][:, 0].max() < iris[:, 0].min()
