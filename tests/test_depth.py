"""Depth in millimetres: to a tensor and back, through a refiner, and what is told of what is no depth."""

import io

import cv2
import numpy as np
import pytest
import torch
from datasets import Dataset, load_from_disk
from PIL import Image

from simgan import ConfigError, ImageError, Refiner, RefinerConfig
from simgan.data.columns import image_cell
from simgan.images.depth import Window, check_depth, find_window, pack, to_tensor, unpack
from simgan.images.files import decode
from simgan.preparation.triangulation import Triangulation
from simgan.refining import engine as refining
from simgan.refining.files import refine_path


def scene(high=96, wide=128, wall=2001, seed=0):
    """A tilted disc of a hand with holes, 700 to 760 mm away, before a wall (0: none)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:high, :wide]
    depth = np.full((high, wide), wall, np.uint16)
    disc = (rows - 40) ** 2 + (columns - 50) ** 2 < 18**2
    depth[disc] = (700 + columns - rows)[disc]
    depth[disc & (rng.random(depth.shape) < 0.05)] = 0
    return depth


def network(padding="zeros", seed=4, **others):
    """Change depths by some mm, and open and close holes."""
    torch.manual_seed(seed)
    config = {"width": 4, "kernel_size": 3, "blocks": 2, "predict_residual": True} | others
    refiner = Refiner(RefinerConfig(domain="hands", padding=padding, **config))
    if refiner.config.predict_residual:
        torch.nn.init.normal_(refiner.head.weight, std=1.0)
        with torch.no_grad():  # background stays so, far from readings and the border
            refiner.head.bias += 1 - refiner(torch.ones(1, 1, 33, 33))[..., 16, 16].flatten()
    return refiner.eval()


def test_whole_mm_of_a_window_come_back_and_all_else_is_no_reading():
    window = Window(near=641.0)
    image = np.arange(0, 1600, dtype=np.uint16).reshape(1, 40, 40)
    tensor = to_tensor(image, [window])
    inside = (image >= 641) & (image <= 941)
    assert tensor.shape == (1, 1, 40, 40)
    assert tensor[0, 0][torch.from_numpy(inside[0])].aminmax() == (-1, pytest.approx(0.8))
    assert (tensor[0, 0][torch.from_numpy(~inside[0])] == 1).all()
    assert np.array_equal(window.to_depth(tensor[:, 0].numpy()), np.where(inside, image, 0))


def test_a_window_begins_at_the_hand_whatever_strays_before_it():
    depth = scene()
    assert find_window(depth).near == pytest.approx(depth[depth > 0].min() - 20, abs=5)
    depth[0, :4] = 300
    assert find_window(depth).near == pytest.approx(depth[depth > 300].min() - 20, abs=5)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("centre", "radius"), [((40, 50), 10), ((2, 60), 9), ((90, 120), 12), ((48, 64), 70)])
def test_only_what_readings_reach_is_computed_and_nothing_changes(monkeypatch, padding, residual, centre, radius):
    rows, columns = np.mgrid[:96, :128]
    hand = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    depth = np.where(hand, 700 + rows + columns, 0).astype(np.uint16)
    refiner = network(padding, predict_residual=residual)  # without the residual, background is no background
    window = find_window(depth)
    whole = refining.run_network(refiner, to_tensor(depth[None], [window]))
    computed = []
    convolve = refiner.convolve
    monkeypatch.setattr(refiner, "convolve", lambda x: computed.append(x.shape[2] * x.shape[3]) or convolve(x))
    part = refining.run_on_readings(refiner, to_tensor(depth[None], [window]), 1.0)[0]
    assert torch.allclose(part, whole[0], atol=1e-6)
    assert (sum(computed) < depth.size / 2) == (radius < 20)
    assert np.array_equal(refiner.refine(depth), window.to_depth(whole[0, 0].numpy()))


def test_whole_images_as_a_gpu_takes_them_give_the_same_depths(monkeypatch):
    refiner, frames = network(), [scene(), scene()[::-1].copy()]
    told = refiner.refine(frames)
    shapes = []
    convolve = refiner.convolve
    monkeypatch.setattr(refining, "_device", lambda refiner: "cuda")
    monkeypatch.setattr(refiner, "convolve", lambda x: shapes.append(tuple(x.shape)) or convolve(x))
    assert np.array_equal(refiner.refine(frames), told)
    assert shapes == [(2, 1, *frames[0].shape)]


def test_the_wall_stays_holes_are_0_and_depths_are_refined():
    depth, refiner = scene(), network()
    window = find_window(depth)
    seen = window.holds(depth)
    value = refining.run_network(refiner, to_tensor(depth[None], [window]))[0, 0].numpy()
    found = value <= 0.9
    out = refiner.refine(depth)
    assert (seen & ~found).any() and (seen & found).any() and (~seen & found).any() and (~seen & ~found).any()
    assert (out[seen & ~found] == 0).all()
    assert np.array_equal(out[~seen & ~found], depth[~seen & ~found])
    assert np.array_equal(out[found], window.to_depth(value)[found])


def test_strength_blends_depths_and_tells_readings_by_the_nearer_side():
    depth, refiner = scene(), network()
    full = refiner.refine(depth)
    both = find_window(depth).holds(depth) & find_window(depth).holds(full) & (full != 0)
    for strength, side in ((0.25, depth), (0.75, full)):
        out = refiner.refine(depth, strength=strength)
        blend = depth + strength * (full.astype(float) - depth)
        assert np.abs(out - blend)[both].max() <= 1
        assert np.array_equal(out == 0, side == 0)
    assert np.array_equal(refiner.refine(depth, strength=0), depth)


def test_depth_gets_the_shadows_and_steps_of_the_camera():
    camera = Triangulation(scale=345_000.0, phase=0.3, baseline=75.0)
    depth = scene(wall=0)
    depth[35:45, 46:54] = 600  # a finger before the hand
    shaded = camera.shade(depth)
    stepped = network(triangulation=camera)
    out = stepped.refine(depth)
    assert np.array_equal(out, np.where(shaded > 0, camera.snap(torch.from_numpy(network().refine(shaded)).int()), out))
    dark = (depth > 0) & (shaded == 0)
    assert dark.sum() > 20 and (out[dark] == 0).mean() > 0.5
    assert np.array_equal(stepped.refine(depth, strength=0), depth)


def test_kind_mode_and_size_come_back(tmp_path):
    depth, refiner = scene(35, 61), network()
    out = refiner.refine(depth)
    Image.fromarray(depth).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", depth)
    assert np.array_equal(refiner.refine([depth, depth[:, :50]])[0], out)
    assert np.array_equal(next(refiner.refine(iter([depth]))), out)
    assert np.array_equal(refiner.refine(tmp_path / "a.npy"), out)
    for image in (tmp_path / "a.png", Image.fromarray(depth), Image.fromarray(depth.astype(np.int32))):
        refined = refiner.refine(image)
        assert refined.mode == ("I;16" if not isinstance(image, Image.Image) else image.mode)
        assert np.array_equal(np.asarray(refined), out)
    packed = refiner.refine(Image.fromarray(pack(depth)))
    assert packed.mode == "RGB" and np.array_equal(unpack(np.asarray(packed)), out)


def files(folder, depth):
    """Write a depth image in every format: PNG and TIFF of 16 bits, NumPy's, and NYU's PNG."""
    folder.mkdir()
    Image.fromarray(depth).save(folder / "a.png")
    Image.fromarray(depth).save(folder / "b.tiff", compression="tiff_lzw")
    cv2.imwrite(str(folder / "c.png"), np.stack([depth & 255, depth >> 8, depth * 0], -1).astype(np.uint8))  # BGR
    return folder


def read_back(path):
    array = decode(path)
    return unpack(array) if array.ndim == 3 else array


def test_files_of_every_format_keep_every_mm(tmp_path):
    rng = np.random.default_rng(0)
    depth = rng.integers(0, 65536, (64, 64)).astype(np.uint16)
    folder = files(tmp_path / "in", depth)
    (folder / "labels.npy").write_bytes(b"are no image beside images")
    refiner = network()
    refine_path(refiner, folder, tmp_path / "same", strength=0)
    refine_path(refiner, folder, tmp_path / "out")
    assert (tmp_path / "out/labels.npy").read_bytes() == (folder / "labels.npy").read_bytes()
    for name in ("a.png", "b.tiff", "c.png"):
        assert np.array_equal(read_back(tmp_path / "same" / name), depth)
        assert np.array_equal(read_back(tmp_path / "out" / name), refiner.refine(depth))


def test_a_folder_of_arrays_and_one_array(tmp_path):
    depth, refiner = scene(), network()
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/a.npy", depth)
    assert refine_path(refiner, tmp_path / "in", tmp_path / "out").images == 1
    refine_path(refiner, tmp_path / "in/a.npy", tmp_path / "b.npy")
    for name in ("out/a.npy", "b.npy"):
        assert np.array_equal(np.load(tmp_path / name), refiner.refine(depth))


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_data_sets_keep_16_bits_and_labels(tmp_path, kind):
    depth, refiner = scene(), network()
    joints = [[[1.5 * k, 2.5, 700.25] for k in range(14)]]
    data = Dataset.from_dict({"image": [image_cell(depth)], "joints": joints})
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    if kind == "parquet":
        data.to_parquet(str(source))
    else:
        source, output = tmp_path / "in", tmp_path / "out"
        data.save_to_disk(str(source))
    refine_path(refiner, source, output)
    refined = Dataset.from_parquet(str(output)) if kind == "parquet" else load_from_disk(str(output))
    assert refined["joints"][0] == joints[0]
    image = refined[0]["image"]
    array = np.array(image if isinstance(image, Image.Image) else Image.open(io.BytesIO(image["bytes"])))
    assert np.array_equal(array, refiner.refine(depth))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.full((20, 20), 90, np.uint8), r"image 1 is uint8 of shape \(20, 20\), and depth is needed: give uint16"),
        (np.zeros((20, 20), np.uint16), "image 1 has no reading, all of its pixels are 0"),
        (np.full((20, 20), 0.7, np.float32), "image 1 is float32 of shape .*metres times 1000"),
        (Image.fromarray(np.full((20, 20), 0.7, np.float32)), "image 1 is float32"),
        (np.full((20, 20), 2, np.uint16), "image 1 has no depth beyond 2, as if in metres: multiply by 1000"),
        (np.full((20, 20), 700, np.int64), "image 1 is int64 of shape"),
        (np.full((20, 20, 2), 700, np.uint16), "image 1 is uint16 of shape"),
        (np.full((20, 9), 700, np.uint16), "image 1 is 9×20 pixels"),
    ],
)
def test_what_is_no_depth_is_told_by_name(image, told):
    with pytest.raises(ImageError, match=told):
        network().refine([scene(), image])


def test_a_bad_file_is_named_and_left_out(tmp_path):
    folder = files(tmp_path / "in", scene())
    Image.fromarray(np.full((20, 20), 90, np.uint8)).save(folder / "d.png")
    done = refine_path(network(), folder, tmp_path / "out", skip_bad=True)
    assert done.images == 3
    assert "d.png is uint8" in done.broken[0]


def test_depth_has_one_channel_and_is_not_equalized():
    for settings in ({"channels": 3}, {"equalize": True}):
        with pytest.raises(ConfigError, match=r"needs channels = 1|are for brightness"):
            RefinerConfig(domain="hands", **settings)
    check_depth(scene())
