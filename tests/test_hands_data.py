"""Sources of hands, on files in their exact layouts whose joints this file projects and paints itself."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from simgan import ConfigError, ImageError, SourceError
from simgan.data import Crops, load
from simgan.data.adapters.hands import CORRESPONDING, Pinhole, crop_hand
from simgan.data.columns import as_dataset, features, image_cell, mirrored
from simgan.data.crop import Crop
from simgan.data.prepare import prepare
from simgan.domains.hands import JOINTS

NYU = [0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32]
SIZE = (224, 224)


def hand(count, centre, seed=0):
    """Joints (N, 3) in mm, x right, y down and z away, each at a depth of its own and 10 mm or more from the others."""
    grid = np.stack(np.meshgrid(np.arange(-75, 76, 25), np.arange(-75, 76, 25)), -1).reshape(-1, 2)
    places = np.random.default_rng(seed).permutation(grid)[:count]
    return np.concatenate([places, (3 * np.arange(count) - 50)[:, None]], 1) + np.array(centre, float)


def paint(joints, focal, centre, shape, wall=0):
    """A depth frame where each joint is a small square of its own depth, at the pixel that it projects to."""
    frame = np.full(shape, wall, np.uint16)
    for x, y, z in joints:
        u, v = round(focal[0] * x / z + centre[0]), round(focal[1] * y / z + centre[1])
        frame[v - 2 : v + 3, u - 2 : u + 3] = round(z)
    return frame


def write_nyu(folder, count=2, joints=36):
    """Frames and pairs of one Kinect; y points up in the labels."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.stack([hand(joints, (30 - 60 * k, 20, 700 + 100 * k), seed=k) for k in range(count)])
    for number in range(count):
        for kind, wall in (("depth", 2001), ("synthdepth", 0)):
            frame = paint(truth[number], (588.03, 587.07), (320, 240), (480, 640), wall)
            colours = np.stack([frame & 255, frame >> 8, 0 * frame], -1).astype(np.uint8)  # BGR
            cv2.imwrite(str(folder / f"{kind}_1_{number + 1:07}.png"), colours)
    xyz = truth[None] * [1, -1, 1]
    x, y, z = np.moveaxis(xyz, -1, 0)
    uvd = np.stack([588.03 * x / z + 320, 240 - 587.07 * y / z, z], -1)
    names = np.array([f"J{k}" for k in range(joints)], dtype=object)
    savemat(folder / "joint_data.mat", {"joint_xyz": xyz, "joint_uvd": uvd, "joint_names": names})
    return truth[:, NYU] if joints == 36 else truth


def write_msra(folder, count=2):
    """Two frames of P0 and gesture 1; y points up and z to the camera in the labels."""
    place = folder / "P0" / "1"
    place.mkdir(parents=True)
    truth = np.stack([hand(21, (20 + 10 * k, -10, 400), seed=k) for k in range(count)])
    for number in range(count):
        frame = paint(truth[number], (241.42,) * 2, (160, 120), (240, 320))
        left, top, right, bottom = 100, 30, 260, 200
        box = frame[top:bottom, left:right].astype("<f4")
        header = struct.pack("<6I", 320, 240, left, top, right, bottom)
        (place / f"{number:06}_depth.bin").write_bytes(header + box.tobytes())
    lines = [" ".join(f"{value:.6f}" for value in (joints * [1, -1, -1]).ravel()) for joints in truth]
    (place / "joint.txt").write_text("\n".join([str(count), *lines]) + "\n")
    return truth


def write_icvl(folder, count=2):
    truth = np.stack([hand(16, (20 + 10 * k, -10, 350), seed=k) for k in range(count)])
    lines = []
    for number in range(count):
        name = f"201403121135/image_{number:04}.png"
        (folder / "Depth" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(truth[number], (241.42,) * 2, (160, 120), (240, 320))).save(folder / "Depth" / name)
        x, y, z = truth[number].T
        uvd = np.stack([241.42 * x / z + 160, 241.42 * y / z + 120, z], -1)
        lines.append(f"{name} " + " ".join(f"{value:.4f}" for value in uvd.ravel()))
    (folder / "labels.txt").write_text("\n".join(lines) + "\n")
    return truth


def check(dataset, truth, column):
    """Every joint lies on the pixel where it was painted, at its depth, and in space where it was put."""
    for row, joints in zip(dataset, truth, strict=True):
        image = np.array(row["image"])
        assert image.shape == SIZE[::-1] and image.dtype == np.uint16
        assert np.allclose(row[f"{column}_mm"], joints, atol=0.01)
        for u, v, d in row[column]:
            assert image[round(v), round(u)] == round(d)
        middle = (joints.min(0) + joints.max(0)) / 2
        assert image[image > 0].min() > middle[2] - 150 and image.max() < middle[2] + 150


@pytest.mark.parametrize("kind", ["", "@synthetic"])
def test_nyu(tmp_path, kind):
    truth = write_nyu(tmp_path / "train")
    dataset = load(f"nyu:{tmp_path}/train{kind}", size=SIZE)
    check(dataset, truth, "joints")
    assert dataset["file_name"][0] == ("synthdepth" if kind else "depth") + "_1_0000001.png"


def test_msra(tmp_path):
    truth = write_msra(tmp_path)
    dataset = load(f"msra:{tmp_path}", size=SIZE)
    check(dataset, truth, "own_joints")
    assert "joints" not in dataset.column_names
    assert (dataset["person"][0], dataset["file_name"][0]) == ("P0", "P0/1/000000_depth.png")


def test_icvl(tmp_path):
    truth = write_icvl(tmp_path)
    dataset = load(f"icvl:{tmp_path}", size=SIZE)
    check(dataset, truth, "own_joints")
    assert dataset["file_name"][1] == "201403121135/image_0001.png"


def test_own_joints_that_correspond_are_told_by_name():
    for source, count, missing in (("msra", 21, 3), ("icvl", 16, 2)):
        table = CORRESPONDING[source]
        assert set(table) < set(JOINTS) and len(table) == len(JOINTS) - missing
        assert len(set(table.values())) == len(table) and max(table.values()) < count


def test_what_is_broken_gets_a_sentence(tmp_path):
    write_nyu(tmp_path / "n", joints=21)
    with pytest.raises(SourceError, match=r"joint_data\.mat has joint_xyz of shape .* 36 joints × 3 are due"):
        load(f"nyu:{tmp_path}/n", size=SIZE)
    write_nyu(tmp_path / "n", count=3)
    write_nyu(tmp_path / "n", count=2)
    with pytest.raises(SourceError, match=r"joints of 1 × 2 frames, and none of depth_1_0000003\.png"):
        load(f"nyu:{tmp_path}/n", size=SIZE)
    (tmp_path / "n/depth_1_0000003.png").unlink()
    with pytest.raises(ConfigError, match="squares, not to 55×35"):
        load(f"nyu:{tmp_path}/n")
    Image.fromarray(np.full((480, 640), 700, np.uint16)).save(tmp_path / "n/depth_1_0000002.png")
    with pytest.raises(ImageError, match=r"depth_1_0000002\.png is no depth of NYU's"):
        load(f"nyu:{tmp_path}/n", size=SIZE)
    (tmp_path / "n/joint_data.mat").write_bytes(b"broken")
    with pytest.raises(SourceError, match=r"joint_data\.mat is not laid out as NYU's joints are"):
        load(f"nyu:{tmp_path}/n", size=SIZE)
    (tmp_path / "n/joint_data.mat").unlink()
    with pytest.raises(SourceError, match=r"has no labels: joint_data\.mat is missing beside it"):
        load(f"nyu:{tmp_path}/n", size=SIZE)

    write_msra(tmp_path / "m")
    frame, labels = tmp_path / "m/P0/1/000001_depth.bin", tmp_path / "m/P0/1/joint.txt"
    frame.write_bytes(frame.read_bytes()[:-4])
    with pytest.raises(ImageError, match=r"000001_depth\.bin is no depth of MSRA's"):
        load(f"msra:{tmp_path}/m", size=SIZE)
    labels.write_text("1\n" + " ".join(["1"] * 48) + "\n")
    with pytest.raises(SourceError, match=r"joint\.txt has 48 numbers a frame, where 21 joints × 3 are due"):
        load(f"msra:{tmp_path}/m", size=SIZE)

    write_icvl(tmp_path / "i")
    (tmp_path / "i/Depth/201403121135/image_0001.png").unlink()
    with pytest.raises(ImageError, match=r"image_0001\.png does not exist"):
        load(f"icvl:{tmp_path}/i", size=SIZE)
    (tmp_path / "i/labels.txt").write_text("a/image_0000.png 1 2 3\n")
    with pytest.raises(SourceError, match=r"labels\.txt has 3 numbers a frame, where 16 joints × 3 are due"):
        load(f"icvl:{tmp_path}/i", size=SIZE)


def test_a_cube_is_cut_out_and_joints_move_with_it():
    pinhole = Pinhole((588.03, 587.07), (320.0, 240.0))
    frame = np.full((480, 640), 2001, np.uint16)
    frame[200:280, 280:360] = 700
    frame[239:242, 319:322] = 850
    frame[248:253, 328:333] = 851
    centre = pinhole.project(np.array([0.0, 0.0, 700.0]))
    image, box = crop_hand(frame, centre, 588.03)
    assert box.width == pytest.approx(300 * 588.03 / 700)
    assert set(np.unique(image)) == {0, 700, 850}  # no mixture, nor 851
    u, v = box.move(np.array([320.0, 240.0]))
    assert image[round(v), round(u)] == 850
    corner = box.move_labels({"joints": [[320.0, 240.0, 850.0]]})["joints"][0]
    assert corner == pytest.approx([u, v, 850])
    points = np.array([[10.0, -20.0, 650.0]])
    assert np.allclose(pinhole.lift(pinhole.project(points)), points)


@pytest.mark.parametrize("centre", [(900, 240, 700), (320, 240, 1200), (320, 240, 0), (np.nan, 240, 700)])
def test_a_hand_outside_of_the_frame_is_told(centre):
    frame = np.full((480, 640), 700, np.uint16)
    with pytest.raises(ImageError, match=r"frame 7 has .* leave it out or mend its labels"):
        crop_hand(frame, np.array(centre), 588.03, name="frame 7")


def test_a_crop_of_depth_is_the_nearest_readings_and_0_outside():
    frame = np.arange(1, 401, dtype=np.uint16).reshape(20, 20) * 7
    cut = Crop(-4, 2.25, 12.5, 12.5, (25, 25)).cut(frame)
    assert set(np.unique(cut)) <= {0, *frame.ravel()}
    assert (cut[:, :8] == 0).all()
    assert cut[10, 20] == frame[int(2.25 + 10.5 / 2), int(-4 + 20.5 / 2)]


def test_prepared_depth_keeps_16_bits_through_load_and_crops(tmp_path):
    truth = write_nyu(tmp_path / "train")
    prepare(f"nyu:{tmp_path}/train", tmp_path / "out", size=SIZE, processes=1)
    dataset = load(str(tmp_path / "out"), size=SIZE)
    check(dataset, truth, "joints")
    crops = Crops(dataset)
    assert crops[:].dtype == np.uint16 and crops.shape == SIZE[::-1]
    assert np.array_equal(crops[[1]][0], np.array(dataset[1]["image"]))
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/a.npy", crops[[0]][0])
    assert np.array_equal(Crops(load(str(tmp_path / "folder"), size=SIZE))[:], crops[[0]])


def test_8_and_16_bits_do_not_mix():
    rows = [{"image": image_cell(np.full((20, 20), 5, kind))} for kind in (np.uint16, np.uint8)]
    with pytest.raises(ImageError, match="image 1 is 20×20 pixels of uint8 and the first 20×20 of uint16"):
        Crops(as_dataset(rows, features("image")))[:]


def test_mirrored_hands_change_sides():
    row = mirrored({"joints": [[3.0, 4.0, 700.0]], "joints_mm": [[-20.0, 5.0, 700.0]]}, 224)
    assert row == {"joints": [[220.0, 4.0, 700.0]], "joints_mm": [[20.0, 5.0, 700.0]]}


def test_a_frame_as_distributed_shows_the_hand_where_its_joints_are(shared_data):
    place = shared_data / "formats" / "nyu"
    depth = cv2.imread(str(place / "depth_1_0000001.png"))
    uvd = np.loadtxt(place / "joints36_uvd.txt")
    pinhole = Pinhole((588.03, 587.07), (320.0, 240.0))
    frame = depth[..., 1].astype(np.uint16) * 256 + depth[..., 0]
    image, box = crop_hand(frame, uvd[32], pinhole.focal[0])
    apart = [abs(int(image[round(v), round(u)]) - d) for u, v, d in box.move(uvd[NYU])]
    assert np.median(apart) < 20  # joints lie inside of the hand, the surface before them
