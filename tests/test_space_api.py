"""The Space called by code: every event by its name, limits, models that a visitor may name, errors as a sentence."""

import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from browser import ROOT, is_near
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from simgan import Refiner
from simgan.simulators.eyes import renders as eyes
from simgan.space.page import build
from simgan.space.refine_tab import _zip
from simgan.space.samples import examples


@pytest.fixture(scope="module")
def client(space, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("downloads"))
    return Client(space, verbose=False, download_files=folder, httpx_kwargs={"timeout": 60})


@pytest.fixture
def images():
    return [{"image": handle_file(path)} for path in examples("eyes")[:3]]


def answered(client, name):
    client.predict(api_name="/start_turing_test")
    return client.predict(api_name=name)


CALLS = {
    "/refine": lambda client, images: client.predict(images, "eyes", 1.0, api_name="/refine"),
    "/refine_model": lambda client, images: client.predict(images, "eyes", api_name="/refine_model"),
    "/compare": lambda client, images: client.predict(images, "eyes", api_name="/compare"),
    "/inspect": lambda client, images: client.predict(images, "eyes", api_name="/inspect"),
    "/inspect_eyes_example": lambda client, images: client.predict(0, api_name="/inspect_eyes_example"),
    "/inspect_hands_example": lambda client, images: client.predict(0, api_name="/inspect_hands_example"),
    "/inspect_model": lambda client, images: client.predict(images, "eyes", api_name="/inspect_model"),
    "/batch": lambda client, images: client.predict([images[0]["image"]], "eyes", 1.0, "", api_name="/batch"),
    "/stop_batch": lambda client, images: client.predict(api_name="/stop_batch"),
    "/start_turing_test": lambda client, images: client.predict(api_name="/start_turing_test"),
    "/answer_real": lambda client, images: answered(client, "/answer_real"),
    "/answer_refined": lambda client, images: answered(client, "/answer_refined"),
    "/training": lambda client, images: client.predict("eyes", api_name="/training"),
    "/training_play": lambda client, images: client.predict("eyes", 0, api_name="/training_play"),
    "/training_next": lambda client, images: client.predict("eyes", 0, api_name="/training_next"),
    "/training_step": lambda client, images: client.predict("eyes", 0, api_name="/training_step"),
}


def test_every_event_has_a_name_that_code_can_call(client):
    # One that only stops another has no function; private ones are of the page's own places.
    events = [event for event in build().fns.values() if event.fn and event.api_visibility != "private"]
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == set(CALLS)
    assert {f"/{event.api_name}" for event in events} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_event_answers(client, images, name):
    assert CALLS[name](client, images)


def test_files_come_back_in_order_under_their_names_and_refined(client, images):
    files = client.predict(images, "eyes", 1.0, api_name="/refine")[3]
    assert [file.rsplit("/")[-1] for file in files] == ["eye 1.png", "eye 2.png", "eye 3.png"]
    refined = Refiner.from_pretrained("eyes").refine(list(examples("eyes")[:3]))
    for file, expected in zip(files, refined, strict=True):
        assert is_near(Image.open(file), expected)


def test_images_of_one_name_all_come_back(client, tmp_path):
    """All pastes of a page have one name, as have many photographs of telephones."""
    folders = [tmp_path / place for place in "ab"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        Image.fromarray(eyes.render([number])[0][0]).save(folder / "image.png")
    sent = [{"image": handle_file(folder / "image.png")} for folder in folders]
    files = client.predict(sent, "eyes", 1.0, api_name="/refine")[3]
    refined = Refiner.from_pretrained("eyes").refine([folder / "image.png" for folder in folders])
    assert len(files) == 2
    assert all(is_near(Image.open(file), expected) for file, expected in zip(files, refined, strict=True))


def test_a_zip_numbers_files_of_one_name():
    with zipfile.ZipFile(_zip([("a.png", b"1"), ("a.png", b"2"), ("a.png", b"3")])["value"]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a.png": b"1",
            "a 2.png": b"2",
            "a 3.png": b"3",
        }


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("deep.png", "I;16", "PNG"),
        ("deep.tiff", "I;16", "TIFF"),
        ("colour.jpg", "RGB", "JPEG"),
        ("alpha.png", "RGBA", "PNG"),
        ("grey.bmp", "L", "BMP"),
    ],
)
def test_a_download_has_the_uploads_size_format_mode_and_bit_depth(client, tmp_path, name, mode, kind):
    grey = eyes.render([7])[0][0][:34, :53]
    image = Image.fromarray(grey.astype(np.uint16) * 200) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(tmp_path / name)
    (file,) = client.predict([{"image": handle_file(tmp_path / name)}], "eyes", 1.0, api_name="/refine")[3]
    came = Image.open(file)
    assert (came.size, came.mode, came.format) == ((53, 34), mode, kind)
    assert file.endswith(name)
    if mode == "I;16":
        assert len(np.unique(np.array(came))) > 256


def test_strength_0_gives_the_input_back(client, images):
    files = client.predict(images[:1], "eyes", 0, api_name="/refine")[3]
    assert (np.array(Image.open(files[0])) == np.array(Image.open(examples("eyes")[0]))).all()


def test_all_models_of_a_kind_are_compared_at_all_strengths(client, images):
    shown = client.predict(images, "eyes-simulated", api_name="/compare")
    captions = [one["caption"] for one in shown["value"]]
    strengths = ("0.25", "0.5", "0.75", "1")
    assert captions == ["as it is", *(f"{name} · {k}" for name in ("eyes-simulated", "eyes") for k in strengths)]


def test_what_is_unlike_a_models_images_is_told_above_its_maps_too(client, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8)).save(tmp_path / "noise.png")
    page, _ = client.predict([{"image": handle_file(tmp_path / "noise.png")}], "eyes", api_name="/inspect")
    assert page.index("Unusual size.") < page.index("patch-maps")


def test_patch_values_come_as_numbers_with_their_fields(client, images):
    page, numbers = client.predict(images[:1], "eyes", api_name="/inspect")
    assert numbers["receptive_field"]["x"] == {"first": -11, "size": 23, "stride": 4}
    for name in ("input", "refined"):
        values = np.array(numbers[name]["map"])
        assert values.shape == (9, 14)
        assert numbers[name]["mean"] == pytest.approx(values.mean(), abs=1e-3)
        assert f"{100 * numbers[name]['mean']:.0f} %" in page
    assert numbers["refined"]["mean"] > numbers["input"]["mean"]


@pytest.mark.parametrize("name", ["", "nothing", "../eyes", "/etc/passwd", "a/b/c", "http://127.0.0.1:1/x", "org/.."])
def test_a_model_name_that_is_no_hub_id_is_refused_with_the_ones_that_exist(client, images, name):
    with pytest.raises(AppError, match=r"There is no model .*eyes, eyes-simulated.*, or type a Hub id"):
        client.predict(images[:1], name, 1.0, api_name="/refine")


def test_a_hub_id_never_names_a_folder_here(client, images):
    with pytest.raises(AppError, match="simgan/pretrained could not be fetched from the Hub"):
        client.predict(images[:1], "simgan/pretrained", 1.0, api_name="/refine")


def test_without_an_image_the_note_says_what_to_do(client):
    assert "Upload an image" in client.predict([], "eyes", 1.0, api_name="/refine")[2]
    assert "Upload an image" in client.predict([], "eyes", api_name="/inspect")[0]


def test_a_broken_file_is_named_in_a_sentence(client, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    for name, rest in (("/refine", ["eyes", 1.0]), ("/inspect", ["eyes"])):
        with pytest.raises(AppError, match=r"broken\.png") as raised:
            client.predict([{"image": handle_file(tmp_path / "broken.png")}], *rest, api_name=name)
        assert "/tmp" not in str(raised.value)
        assert "Traceback" not in str(raised.value)


def test_images_far_from_training_are_refined_with_a_note(client, tmp_path, images):
    assert "⚠️" not in client.predict(images[:1], "eyes", 1.0, api_name="/refine")[4]
    large = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "noise.png")
    result = client.predict([{"image": handle_file(tmp_path / "noise.png")}], "eyes", 1.0, api_name="/refine")
    assert "Unusual size" in result[4]
    assert "Unusual layout" in result[4]
    assert Image.open(result[3][0]).size == (400, 300)


def test_the_calls_on_the_page_work_as_printed(space, tmp_path):
    text = (ROOT / "docs/space.md").read_text().split("## Call it from code")[1]
    python, shell = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[-1] for kind in ("python", "bash"))
    assert "curl" in shell
    Image.fromarray(eyes.render([3])[0][0]).save(tmp_path / "eye.png")
    expected = np.array(Refiner.from_pretrained("eyes").refine(tmp_path / "eye.png"))
    shown = "print(files[0]); print(patches['refined']['mean'])"
    for command in ([sys.executable, "-c", python + shown], ["bash", "-c", shell]):
        command[-1] = command[-1].replace("http://127.0.0.1:7860", space.rstrip("/"))
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert is_near(Image.open(tmp_path / "refined.png"), expected)


def test_the_package_is_light_and_the_page_imports_nothing_heavy_but_what_computes_draws_and_serves():
    heavy = "{'torch', 'gradio', 'scipy', 'matplotlib', 'datasets', 'timm', 'accelerate'} & sys.modules.keys()"
    for module, expected in (("simgan.space", "[]"), ("simgan.space.page", "['gradio', 'matplotlib', 'torch']")):
        code = f"import sys, {module}; print(sorted({heavy}))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
