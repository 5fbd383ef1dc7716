"""A refiner in other people's code: gradients, other types, copies, compilers, workers, and numbers of every kind."""

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simgan import ConfigError, ImageError, Refiner, RefinerConfig
from simgan.images.arrays import equalize, equalize_tensor, to_tensor
from simgan.images.files import encode_png
from simgan.preparation.photometry import Photometry
from simgan.preparation.triangulation import Triangulation
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands


@pytest.fixture(scope="module")
def refiner():
    torch.manual_seed(0)
    return Refiner(RefinerConfig(width=4, blocks=1)).eval()


@pytest.fixture(scope="module")
def colour():
    torch.manual_seed(0)
    return Refiner(RefinerConfig(width=4, blocks=1, channels=3)).eval()


@pytest.fixture(scope="module")
def images():
    return eyes.render(range(4))[0]


@pytest.fixture(scope="module")
def shipped():
    return {name: Refiner.from_pretrained(name) for name in ("eyes", "eyes-simulated")}


SHIPPED = pytest.mark.parametrize("name", ["eyes", "eyes-simulated"])


# forward and refine agree


def test_tensors_are_equalized_to_the_bit_as_arrays_are():
    rng = np.random.default_rng(0)
    for levels in (256, 40, 2, 1):  # one level stays as it is
        planes = rng.integers(256 - levels, 256, (5, 33, 47)).astype(np.uint8)
        assert torch.equal(equalize_tensor(to_tensor(planes)), to_tensor(equalize(planes)))
    assert equalize_tensor(torch.full((1, 1, 16, 16), torch.nan)).isnan().all()


@SHIPPED
def test_forward_and_its_export_do_what_refine_does(shipped, images, name):
    refiner, x = shipped[name], to_tensor(images)
    refined = refiner.refine(x)
    with torch.no_grad():
        assert torch.allclose(refiner(x).clamp(-1, 1), refined, atol=1e-5)
        equalized = to_tensor(equalize(images))
        assert torch.equal(refiner(equalized, equalized=True), refiner(x))
    exported = torch.export.export(refiner, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    assert torch.allclose(exported(x).detach().clamp(-1, 1), refined, atol=1e-5)


def test_forward_refuses_what_is_not_float(refiner):
    with pytest.raises(ConfigError, match=r"takes float \(B, 1, H, W\) .* not uint8 \(1, 1, 20, 20\)"):
        refiner(torch.zeros(1, 1, 20, 20, dtype=torch.uint8))


# gradients


@pytest.mark.parametrize(("value_range", "low", "high"), [(None, -1, 1), ((0, 255), 0, 255)])
def test_refine_gives_the_gradient_of_what_it_computes(value_range, low, high):
    torch.manual_seed(0)
    refiner = Refiner(RefinerConfig(width=4, blocks=1)).double()
    x = ((torch.rand(1, 1, 16, 16, dtype=torch.float64) * 0.8 + 0.1) * (high - low) + low).requires_grad_()
    direction, step = torch.randn_like(x), 1e-3 * (high - low)

    def refined(x):
        return (refiner.refine(x, strength=0.7, value_range=value_range) * direction).sum()

    refined(x).backward()
    with torch.no_grad():
        ahead, behind = (refined(x + sign * step * direction) for sign in (1, -1))
    slope = (x.grad * direction).sum()
    assert torch.isclose(slope, (ahead - behind) / (2 * step), rtol=1e-3)
    assert (slope / direction.square().sum() - 1).abs() > 1e-2  # that of the identity is 1
    assert refiner.head.weight.grad.abs().max() > 0


def test_without_a_gradient_required_refine_keeps_no_graph(refiner):
    x = torch.rand(1, 20, 20) * 2 - 1
    assert not refiner.refine(x).requires_grad
    with torch.no_grad():
        assert not refiner.refine(x.clone().requires_grad_()).requires_grad


def test_light_tones_and_sharpness_have_a_gradient(images):
    photometry = Photometry()
    x = to_tensor(images)
    photometry.learn(x, x.flip(3)[:1])  # of one real image, as another hash would pick another
    x = (x * 0.9).requires_grad_()
    direction, step = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), 1e-3
    (photometry(x) * direction).sum().backward()
    with torch.no_grad():
        ahead, behind = ((photometry(x + sign * step * direction) * direction).sum() for sign in (1, -1))
    assert torch.isclose((x.grad * direction).sum(), (ahead - behind) / (2 * step), rtol=0.02)


def test_untrained_photometry_lets_the_gradient_through():
    x = (torch.rand(2, 1, 20, 30) * 1.8 - 0.9).requires_grad_()
    Photometry()(x).sum().backward()
    assert torch.allclose(x.grad, torch.ones_like(x), atol=1e-3)


@SHIPPED
def test_equalization_has_no_gradient_and_says_the_way_round(shipped, images, name):
    refiner, x = shipped[name], to_tensor(images).requires_grad_()
    for call in (refiner, refiner.refine):
        with pytest.raises(ConfigError, match=r"no gradient: equalize them first, .* forward\(x, equalized=True\)"):
            call(x)
    refiner.refine(images[0])  # what it keeps in inference mode must serve training
    equalized = equalize_tensor(x.detach()).requires_grad_()
    refiner(equalized, equalized=True).sum().backward()
    assert equalized.grad.isfinite().all()
    assert equalized.grad.abs().mean() > 0.1


# numbers of every kind


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (None, (20, 30, 3)),
        ("NHWC", (20, 30, 3)),
        ("NHWC", (2, 20, 30, 3)),
        ("NCHW", (3, 20, 30)),
        ("NCHW", (2, 3, 20, 30)),
    ],
)
def test_arrays_of_floats_come_back_in_their_range_layout_and_type(colour, dtype, layout, shape):
    values = np.random.default_rng(0).uniform(0, 1, shape).astype(dtype)
    out = colour.refine(values, value_range=(0, 1), layout=layout)
    assert (out.dtype, out.shape) == (values.dtype, values.shape)
    assert 0 <= out.min() < out.max() <= 1
    channels_first = values if layout == "NCHW" else np.moveaxis(values, -1, -3)
    expected = colour.refine(torch.from_numpy(channels_first.astype(np.float32) * 2 - 1), value_range=(-1, 1)).numpy()
    expected = (expected if layout == "NCHW" else np.moveaxis(expected, -3, -1)) / 2 + 0.5
    assert np.abs(out - expected).max() < (2e-3 if dtype == "float16" else 1e-5)
    assert np.array_equal(colour.refine(values, 0, value_range=(0, 1), layout=layout), values)


def test_a_grey_array_of_floats_is_two_axes(refiner, images):
    out = refiner.refine(images[0] / 255, value_range=(0, 1))
    assert out.shape == images[0].shape
    assert np.abs(out * 255 - refiner.refine(images[0])).max() <= 1
    batch = refiner.refine(images / 255, value_range=(0, 1), layout="NHW")
    assert np.allclose(batch[0], out, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_other_ranges_and_layouts_come_back_so(colour, dtype):
    x = torch.rand(2, 3, 20, 30).to(dtype)
    out = colour.refine(x, value_range=(0, 1))
    assert (out.dtype, out.shape) == (dtype, x.shape)
    last = colour.refine(x.permute(0, 2, 3, 1), value_range=(0, 1), layout="NHWC")
    assert torch.allclose(last.permute(0, 3, 1, 2), out)
    assert torch.allclose(out.float(), colour.refine(x.float() * 2 - 1) / 2 + 0.5, atol=1e-2)


def test_tensors_between_0_and_1_alone_are_ambiguous(refiner):
    x = torch.rand(1, 1, 20, 20)
    with pytest.raises(ImageError, match=r"image 0 has values in \[0, 1\] alone.*value_range=\(0, 1\) or"):
        refiner.refine(x)
    assert not torch.allclose(refiner.refine(x, value_range=(-1, 1)), refiner.refine(x, value_range=(0, 1)), atol=1e-2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_batches_of_stored_images_are_the_images_one_by_one(refiner, dtype, channels, layout):
    top = np.iinfo(dtype).max
    batch = np.random.default_rng(0).integers(0, top, (5, 20, 30, channels), dtype, endpoint=True)
    given = batch if layout == "NHWC" else np.moveaxis(batch, -1, 1)
    out = refiner.refine(given, layout=layout, batch_size=2)
    assert (out.dtype, out.shape) == (given.dtype, given.shape)
    out = out if layout == "NHWC" else np.moveaxis(out, 1, -1)
    for image, refined in zip(batch, out, strict=True):
        alone = refiner.refine(image[..., 0] if channels == 1 else image)
        assert np.abs(alone.reshape(image.shape).astype(int) - refined).max() <= 1
    assert refiner.refine(given[:0], layout=layout).shape == given[:0].shape
    assert np.array_equal(next(refiner.refine(iter([given]), layout=layout)).shape, given.shape)


@pytest.mark.parametrize(
    ("image", "options", "sentence"),
    [
        (np.zeros((20, 20)), {}, r"type float64.*value_range=\(0, 1\)"),
        (np.zeros((2, 20, 20, 3), np.uint8), {}, r"shape \(2, 20, 20, 3\), not axes HWC: say by layout"),
        (np.zeros((20, 20, 20, 20, 3), np.uint8), {"layout": "NHWC"}, "not axes NHWC"),
        (np.zeros((20, 20), np.uint8), {"layout": "CWH"}, "one of NCHW, NHWC, NHW, not 'CWH'"),
        (np.full((20, 20), 3.0), {"value_range": (0, 1)}, r"outside \[0, 1\]"),
        (np.full((20, 20), np.nan), {"value_range": (0, 1)}, r"outside \[0, 1\]"),
        (np.zeros((20, 20)), {"value_range": (1, 0)}, r"black and white, as \(0, 1\), not \(1, 0\)"),
        (np.zeros((20, 20)), {"value_range": 255}, "black and white"),
        (np.zeros((20, 20), np.longdouble), {"value_range": (0, 1)}, "give float16, float32 or float64"),
        (torch.zeros(1, 20, 20, dtype=torch.uint8), {}, "torch.uint8: give floats, or an array"),
        (io.StringIO("text"), {}, 'open as text: open it with mode "rb"'),
        ({"image": "a.png"}, {}, "image 0 is a dict"),
        ({"bytes": None, "path": None}, {}, "image 0 is a NoneType"),
        (b"", {}, "image 0 cannot be read as an image"),
        ({"bytes": b"no image", "path": "a.png"}, {}, "a.png cannot be read as an image"),
    ],
)
def test_what_says_too_little_is_refused(refiner, image, options, sentence):
    with pytest.raises(ImageError, match=sentence):
        refiner.refine(image, **options)


def test_files_in_any_form_give_what_their_path_gives(refiner, images, tmp_path):
    data, array = encode_png(images[0]), io.BytesIO()
    (tmp_path / "eye.png").write_bytes(data)
    expected = refiner.refine(tmp_path / "eye.png")
    with (tmp_path / "eye.png").open("rb") as file:
        forms = [data, io.BytesIO(data), file, {"bytes": data, "path": None}, {"bytes": data, "path": "eye.png"}]
        forms += [{"bytes": None, "path": str(tmp_path / "eye.png")}]
        for out in [refiner.refine(forms[1]), *refiner.refine([data, *forms[2:]]), refiner.refine(forms[3])]:
            assert (type(out), out.mode) == (Image.Image, "L")
            assert np.abs(np.asarray(out, int) - np.asarray(expected)).max() <= 1
        assert not file.closed  # it is the caller's
    np.save(array, images[0])
    assert isinstance(refiner.refine(array.getvalue()), np.ndarray)


def test_a_depth_camera_is_never_left_out_without_a_word():
    depth, x = hands.render(range(1))[0][0], torch.rand(1, 224, 224) * 2 - 1
    camera = Refiner(RefinerConfig("hands", width=4, blocks=1, triangulation=Triangulation(scale=350_000.0))).eval()
    for floats, options in ((x, {}), (depth / 65535, {"value_range": (0, 1)})):
        with pytest.raises(ImageError, match=r"depth in mm is unknown.* give uint16 in mm, or call forward"):
            camera.refine(floats, **options)
    with torch.no_grad():
        alone = camera(x[None])[0].clamp(-1, 1)
    off = Refiner(RefinerConfig("hands", width=4, blocks=1, triangulation=Triangulation())).eval()
    off.load_state_dict(camera.state_dict())
    assert torch.allclose(off.refine(x), alone, atol=1e-5)
    with pytest.raises(ImageError, match="float64"):
        camera.refine(depth.astype(float))


# types, copies, compilers


@SHIPPED
@pytest.mark.parametrize(("dtype", "levels"), [(torch.float16, 2), (torch.bfloat16, 8), (torch.float64, 1)])
def test_weights_of_any_type_give_the_same_light_and_noise(shipped, images, monkeypatch, name, dtype, levels):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "0")
    refiner = copy.deepcopy(shipped[name]).to(dtype)
    for given in (images, images.astype(np.uint16) * 257):
        refined, expected = (
            np.stack(network.refine(list(given))).astype(float) for network in (refiner, shipped[name])
        )
        apart = np.abs(refined - expected) / (np.iinfo(given.dtype).max / 255)
        assert apart.max() <= levels
    x = to_tensor(images)
    with torch.no_grad():
        of_its_type, expected = refiner(x.to(dtype)), shipped[name](x)
        assert of_its_type.dtype == dtype
        assert (of_its_type.float() - expected).abs().max() <= levels / 127.5


def test_weights_of_a_type_that_cannot_compute_are_refused(refiner):
    with pytest.raises(ConfigError, match=r"weights are torch.float8_e4m3fn cannot refine: call its float"):
        copy.deepcopy(refiner).to(torch.float8_e4m3fn).refine(np.zeros((35, 55), np.uint8))


@SHIPPED
def test_copies_and_pickles_refine_alike(shipped, images, name):
    refiner, expected = shipped[name], shipped[name].refine(images[0])
    channels_last = copy.deepcopy(refiner).to(memory_format=torch.channels_last)
    for other in (copy.deepcopy(refiner), pickle.loads(pickle.dumps(refiner)), channels_last):
        assert np.array_equal(other.refine(images[0]), expected)


@SHIPPED
def test_a_compiled_refiner_refines_alike(shipped, images, name):
    torch.compiler.reset()
    compiled, x = torch.compile(shipped[name], backend="aot_eager"), to_tensor(images)
    with torch.no_grad():
        assert torch.allclose(compiled(x), shipped[name](x), atol=1e-5)
    assert np.array_equal(compiled.refine(images[0]), shipped[name].refine(images[0]))


# workers


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")
@pytest.mark.parametrize(("method", "kinds"), [("fork", ["loader", "map"]), ("spawn", ["loader"])])
def test_workers_refine_as_their_parent_does(method, kinds):
    command = [sys.executable, Path(__file__).with_name("refine_in_workers.py"), method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == [f"{kind} same" for kind in kinds]
