"""`Refiner.refine` gives back the kind, size, mode, bit depth and order that it took; bad input gets a sentence."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from simgan import ImageError, Refiner, RefinerConfig, Stopped
from simgan.images.arrays import equalize, to_array, to_tensor
from simgan.refining import engine as refining


@pytest.fixture(scope="module")
def refiner():
    torch.manual_seed(0)
    return Refiner(RefinerConfig(width=4, blocks=1)).eval()


@pytest.fixture(scope="module")
def equalizing():
    return Refiner.from_preset("eyes").eval()  # untrained, hence equalization alone


def noise(*shape, dtype="uint8", seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


IMAGES = {
    "grey": noise(35, 55),
    "odd": noise(17, 31),
    "colour": noise(20, 20, 3),
    "alpha": noise(20, 20, 4),
    "grey alpha": noise(20, 20, 2),
    "depth": noise(35, 55, dtype="uint16"),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("as_pil", [False, True])
def test_kind_size_mode_and_depth_come_back(refiner, name, as_pil):
    array = IMAGES[name]
    image = Image.fromarray(array) if as_pil else array
    out = refiner.refine(image)
    assert type(out) is (Image.Image if as_pil else np.ndarray)
    assert np.asarray(out).shape == array.shape
    assert np.asarray(out).dtype == array.dtype
    assert not np.array_equal(np.asarray(out), array)
    if as_pil:
        assert out.mode == image.mode
    if "alpha" in name:
        assert np.array_equal(np.asarray(out)[..., -1], array[..., -1])


@pytest.mark.parametrize("name", IMAGES)
def test_strength_zero_gives_the_input_back(equalizing, name):
    assert np.array_equal(equalizing.refine(IMAGES[name], strength=0), IMAGES[name])


@pytest.mark.parametrize("mode", ["P", "I", "I;16B"])
def test_modes_that_say_the_same_otherwise_come_back(refiner, mode):
    array = IMAGES["grey" if mode == "P" else "depth"]
    image = Image.fromarray(array.astype({"P": "u1", "I": "i4", "I;16B": ">u2"}[mode]))
    image = image.convert("P") if mode == "P" else image
    assert image.mode == mode
    out = refiner.refine(image)
    assert out.mode == mode
    assert np.array_equal(np.array(out.convert("L") if mode == "P" else out), refiner.refine(array))


def test_strength_blends_input_and_refined(refiner):
    x = torch.rand(1, 20, 20) * 2 - 1
    full, half = refiner.refine(x), refiner.refine(x, strength=0.5)
    assert torch.allclose(half, (x + full) / 2, atol=1e-6)


def test_a_tensor_gives_a_tensor_and_a_path_a_pil_image(refiner, tmp_path):
    assert refiner.refine(-torch.ones(1, 35, 55)).shape == (1, 35, 55)
    assert refiner.refine(-torch.ones(2, 1, 35, 55)).shape == (2, 1, 35, 55)
    Image.fromarray(IMAGES["depth"]).save(tmp_path / "depth.png")
    out = refiner.refine(tmp_path / "depth.png")
    assert out.mode == "I;16"
    assert np.array_equal(np.asarray(out), refiner.refine(IMAGES["depth"]))


def test_a_list_keeps_its_order_whatever_the_sizes(refiner):
    images = [noise(20 + i % 3, 30, seed=i) for i in range(9)]
    together = refiner.refine(images, batch_size=4)
    assert len(together) == 9
    for image, out in zip(images, together, strict=True):
        assert np.abs(out.astype(int) - refiner.refine(image)).max() <= 1


def test_an_iterator_is_read_no_further_than_a_batch_ahead(refiner):
    read = []

    def source():
        for i in range(100):
            read.append(i)
            yield noise(16, 16, seed=i)

    out = refiner.refine(source(), batch_size=5)
    assert read == []
    next(out)
    assert len(read) == 5


def test_a_refiner_that_equalizes_takes_raw_images(equalizing):
    dark = (IMAGES["grey"] // 4).astype(np.uint8)
    assert np.array_equal(equalizing.refine(dark), equalize(dark))
    tensor = equalizing.refine(to_tensor(dark[None]))
    assert np.array_equal(to_array(tensor, np.uint8)[0], equalize(dark))


def test_equalizing_sixteen_bits_spreads_them_and_keeps_their_order():
    depth = np.repeat(np.arange(16, dtype=np.uint16) * 3, 16).reshape(16, 16)
    out = equalize(depth)
    assert out.dtype == np.uint16
    assert (out.min(), out.max()) == (0, 65535)
    assert (np.diff(out[:, 0].astype(int)) > 0).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_stored_images_become_tensors_and_come_back(dtype):
    for shape in ((2, 20, 20), (2, 20, 20, 3)):
        array = noise(*shape, dtype=dtype)
        tensor = to_tensor(array)
        assert tensor.shape == (2, 3 if array.ndim == 4 else 1, 20, 20)
        assert tensor.abs().max() <= 1
        assert np.array_equal(to_array(tensor, dtype), array)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.full((20, 20), np.nan), "type float64"),
        (np.zeros((20, 20, 5), np.uint8), r"shape \(20, 20, 5\)"),
        (np.zeros((10, 20), np.uint8), "20×10 pixels: at least 16×16"),
        (torch.full((1, 20, 20), torch.nan), r"outside \[-1, 1\]"),
        (torch.zeros(2, 20, 20), "C = 1"),
        (np.zeros((0, 0), np.uint8), "0×0 pixels: at least 16×16"),
        (np.zeros((20, 20, 1), np.uint8), r"shape \(20, 20, 1\)"),
        (Image.new("CMYK", (20, 20)), "mode CMYK: convert it to one of"),
        (Image.new("RGB", (20, 20), "red").quantize(), "mode P: it has a colour palette"),
        (Image.new("1", (20, 20)), "mode 1: it has 1 bit"),
        (Image.new("I", (20, 20), -1), "mode I: it has values that do not fit 16 bits"),
        (Image.new("F", (20, 20)), "mode F: its floats have no known range"),
        ([np.zeros((20, 20), np.uint8), "no-such.png"], "no-such.png does not exist"),
        (7, "cannot refine a int"),
    ],
)
def test_what_is_no_image_is_refused(refiner, image, sentence):
    with pytest.raises(ImageError, match=sentence):
        refiner.refine(image)


def test_broken_files_are_refused_by_name(refiner, tmp_path):
    Image.fromarray(noise(200, 200)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.png", "empty.png", "text.png"):
        with pytest.raises(ImageError, match=f"{name} cannot be read as an image"):
            refiner.refine(tmp_path / name)
    frames = [Image.fromarray(noise(20, 20, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"moving.gif is animated \(3 frames\)"):
        refiner.refine(tmp_path / "moving.gif")


def test_a_gigapixel_image_is_refused_before_it_is_decoded(refiner, tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(ImageError, match=r"huge.png has too many pixels: more than 64,000,000"):
        refiner.refine(tmp_path / "huge.png")


def test_an_image_without_pixels_or_with_more_bits_than_pillow_reads_is_refused(refiner, tmp_path):
    whole = cv2.imencode(".png", noise(20, 20, 3, dtype="uint16"))[1].tobytes()
    (tmp_path / "deep.png").write_bytes(whole)
    with pytest.raises(ImageError, match=r"deep.png has 16 bits a channel, of which Pillow keeps 8"):
        refiner.refine(tmp_path / "deep.png")
    header = struct.pack(">IIBBBBB", 0, 0, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "none.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(ImageError, match=r"none.png (cannot be read|has)"):
        refiner.refine(tmp_path / "none.png")


def test_strips_of_a_large_image_are_the_image_at_once(refiner, monkeypatch):
    large = noise(100, 40)
    whole = refiner.refine(large)
    monkeypatch.setattr(refining, "STRIP", 40 * 30)
    assert np.abs(refiner.refine(large).astype(int) - whole).max() <= 1
    tensor = to_tensor(large[None])
    assert torch.allclose(refining.run_network(refiner, tensor), refiner(tensor), atol=1e-5)


def test_work_can_be_stopped_within_a_large_image(refiner, monkeypatch):
    monkeypatch.setattr(refining, "STRIP", 40 * 30)
    asked = []
    with pytest.raises(Stopped, match="was stopped before it was done"):
        refiner.refine(noise(100, 40), should_stop=lambda: asked.append(1) or len(asked) == 3)
    assert len(asked) == 3  # of 4 strips


@pytest.mark.parametrize("fast", [False, True])
def test_bfloat16_changes_eight_bits_by_a_level_and_sixteen_not_at_all(monkeypatch, fast):
    torch.manual_seed(0)
    refiner = Refiner.from_preset("eyes").eval()
    torch.nn.init.normal_(refiner.head.weight, std=0.1)
    monkeypatch.setattr(refining, "has_fast_bfloat16", lambda device: fast)
    with torch.no_grad():
        for array, tolerance in ((equalize(IMAGES["grey"]), 1), (equalize(IMAGES["depth"]), 1)):
            expected = to_array(refiner(to_tensor(array[None]), equalized=True), array.dtype)[0]
            assert np.abs(refiner.refine(array).astype(int) - expected).max() <= tolerance


def test_an_error_names_the_file_of_a_path(refiner, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "tiny.png")
    with pytest.raises(ImageError, match=r"tiny\.png is 8×8 pixels: at least 16×16"):
        refiner.refine([tmp_path / "tiny.png"])


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_a_strength_out_of_range_is_refused(refiner, strength):
    with pytest.raises(ImageError, match="between 0"):
        refiner.refine(IMAGES["grey"], strength=strength)
    with pytest.raises(ImageError, match="batch of 0 images"):
        refiner.refine(IMAGES["grey"], batch_size=0)
