"""The static Space in a real browser: it refines as Python does, on the visitor's machine, and asks no other host."""

import functools
import http.server
import io
import json
import shutil
import threading
import zipfile

import numpy as np
import pytest
from browser import CHROMIUM, FLAGS, SECONDS, check_accessible, check_fits
from huggingface_hub import HfApi, SpaceCard, snapshot_download
from PIL import Image

from simgan import Discriminator, PublishError, Refiner, SourceError
from simgan.cli import main
from simgan.simulators import SIMULATORS
from simgan.space import push, static_site
from simgan.space.patch_tab import judge

SHIPPED = ("eyes", "eyes-simulated", "hands", "hands-simulated")
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Sends the headers of the Space's card."""

    def end_headers(self):
        for name, value in static_site.HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory, exported):
    """The folder of a static Space with all shipped models."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Refiner, "export", lambda refiner, kind: exported(refiner.origin))
        try:
            static_site.build_site(folder)
        except PublishError as error:
            pytest.skip(str(error))
    return folder


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Handler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def contexts(browser):
    """Return the context of a width and a colour scheme; its cache makes pages open fast."""
    with browser.browser_type.launch(executable_path=CHROMIUM, args=FLAGS + CAMERA) as opened:

        @functools.cache
        def of(width, dark):
            context = opened.new_context(
                viewport={"width": width, "height": 844},
                color_scheme="dark" if dark else "light",
                has_touch=width < 500,
                accept_downloads=True,
            )
            context.set_default_timeout(1000 * SECONDS)
            return context

        yield of


@pytest.fixture
def visit(contexts, address):
    """Open the page with its examples refined; afterwards nothing may have gone wrong, nor another host been asked."""
    pages, wrong = [], []

    def open_page(width=1280, *, dark=False):
        page = contexts(width, dark).new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        pages.append(page)
        page.goto(address)
        wait_for(page, 6)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not wrong
    asked = [url for page in pages for url in page.asked]
    assert [url for url in asked if url.endswith(".wasm")]  # those of the worker are among them
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def wait_for(page, count, name=""):
    """Wait until so many images are refined, all of a name that begins so."""
    page.wait_for_function(
        """([count, name]) => {
            const names = [...document.querySelectorAll("figure.ready:not(.wrong) b")].map((one) => one.textContent);
            return names.length === count && names.every((one) => one.startsWith(name))
              && document.querySelector("#status").textContent.startsWith("Refined");
        }""",
        arg=[count, name],
    )


def as_file(image, name):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}


def images_of(model, count=3):
    return SIMULATORS[f"simulator:{model.removesuffix('-simulated')}"].render(range(50, 50 + count))[0]


def set_strength(page, value):
    page.locator("#strength").fill(str(value))


def download_all(page):
    """Return the refined images by name, as arrays."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        return {name: np.array(Image.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()}


@pytest.mark.parametrize("model", SHIPPED)
def test_the_browser_refines_as_python_does_and_fetches_no_other_model(model, visit, monkeypatch):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "0")
    refiner, page = Refiner.from_pretrained(model), visit()
    assert page.evaluate("crossOriginIsolated")
    page.select_option("#model", model)
    wait_for(page, 6, model[:3])
    images = [*images_of(model), images_of(model, 1)[0][1:, :-2]]
    if not refiner.codec.is_depth:  # colour, with alpha
        grey = images[0]
        images.append(np.dstack([grey, grey // 2, 255 - grey, np.full_like(grey, 99)]))
    page.locator("#files").set_input_files([as_file(image, f"{number}.png") for number, image in enumerate(images)])
    wait_for(page, len(images))
    for strength in (1.0, 0.6):
        set_strength(page, strength)
        wait_for(page, len(images))
        found = download_all(page)
        assert len(found) == len(images)
        for number, told in enumerate(refiner.refine(images, strength)):
            image = found[f"{number}-refined.png"]
            assert (image.dtype, image.shape) == (told.dtype, told.shape)
            assert not np.array_equal(told, images[number])
            assert np.abs(image.astype(int) - told).max() <= 1
    fetched = {url.split("/models/")[1].split("/")[0] for url in page.asked if "/models/" in url}
    assert fetched == {SHIPPED[0], model}
    assert not [url for url in page.asked if "discriminator" in url]


def test_the_heatmap_is_the_discriminators(visit):
    page, name = visit(), SHIPPED[1]
    page.select_option("#model", name)
    wait_for(page, 6)
    (image,) = images_of(name, 1)
    page.locator("#files").set_input_files([as_file(image, "one.png")])
    page.get_by_label("Show where it looks refined").check()
    note = page.locator("figure .note", has_text="Looks")
    refiner, discriminator = Refiner.from_pretrained(name), Discriminator.from_pretrained(name)
    means = [one.probability_real.mean() for one in judge(refiner, discriminator, image, refiner.refine(image))]
    words = note.text_content()
    told = [int(word) for word in words.replace("%", " ").split() if word.isdigit()]
    assert np.abs(np.array(told) - [100 * mean for mean in means]).max() <= 1, words
    assert page.locator("#legend").is_visible()


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_files_that_cannot_be_refined_are_told_in_their_place_and_stop_no_other(visit, width, dark):
    page, (image,) = visit(width, dark=dark), images_of("eyes", 1)
    text = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"}
    deep = as_file(image.astype(np.uint16) * 257, "deep.png")
    files = [text, as_file(image[:9], "small.png"), deep, as_file(image, "good.png")]
    page.locator("#files").set_input_files(files)
    wait_for(page, 1, "good.png")
    problems = page.get_by_role("alert").all_text_contents()
    assert [text.split(":")[0] for text in problems if text] == [
        "notes.png cannot be read as an image here",
        "small.png has 55×9 pixels, and 16×16 are needed at least.",
        "deep.png has 16 bits, and eyes takes 8 here",
    ]
    check_fits(page)
    check_accessible(page)
    page.get_by_role("button", name="Leave notes.png out").click()
    assert page.locator("figure").count() == 3
    page.select_option("#model", "hands")
    page.get_by_text("good.png is no depth, which hands needs").wait_for()
    page.get_by_role("button", name="Examples").click()
    wait_for(page, 6, "hand")


def test_the_line_between_before_and_after_moves_by_key_and_finger(visit):
    page = visit(390)
    figure = page.locator("figure").first
    slider, box = figure.get_by_role("slider"), figure.locator(".compare")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert box.evaluate("box => box.style.getPropertyValue('--at')") == "51%"
    place = box.bounding_box()
    page.touchscreen.tap(place["x"] + 0.8 * place["width"], place["y"] + place["height"] / 2)
    assert 75 <= float(slider.input_value()) <= 85


def test_keys_reach_everything(visit):
    page = visit()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"model", "strength", "heat", "files", "camera", "examples", "all", "save", "remove", "card"} <= reached


def test_a_cameras_frames_are_refined_until_it_is_stopped(visit):
    page = visit()
    page.get_by_role("button", name="Camera").click()
    page.get_by_text("frames a second").wait_for()
    canvas = page.locator("figure canvas.after")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.wait_for_function("before => document.querySelector('canvas.after').toDataURL() !== before", arg=before)
    check_accessible(page)
    page.get_by_role("button", name="Stop the camera").click()
    page.locator("#live").wait_for(state="hidden")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download camera.png").click()
    assert Image.open(download.value.path()).size == (55, 35)


def test_a_static_space_is_pushed_with_headers_and_licences(hub, site, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    monkeypatch.setattr(push, "build_site", lambda folder, models: shutil.copytree(site, folder, dirs_exist_ok=True))
    for said in ("pushed: ", "nothing new to push"):
        main(["space", "push", "org/page", "--static"])
        assert said in capsys.readouterr().out
    assert HfApi().space_info("org/page").sdk == "static"
    place = tmp_path / "clone"
    snapshot_download("org/page", repo_type="space", local_dir=place, allow_patterns=["*.md", "*.json", "*/LICENSE"])
    card = SpaceCard.load(place / "README.md").data
    assert (card.sdk, card.app_file, card.custom_headers) == ("static", "index.html", static_site.HEADERS)
    assert {path.parent.name for path in place.glob("vendor/*/LICENSE")} == {"fast-png", "iobuffer", "fflate"}
    notices = (place / "NOTICES.md").read_text(encoding="utf-8")
    assert all(name in notices for name in static_site.PACKAGES)
    told = json.loads((place / "site.json").read_text(encoding="utf-8"))["models"]
    assert [model["name"] for model in told] == [*SHIPPED]


def test_a_model_of_ones_own_goes_in_and_two_of_one_name_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(static_site, "fetch_packages", lambda folder: None)
    monkeypatch.setattr(Refiner, "export", lambda refiner, kind: b"")
    Refiner().save_pretrained(tmp_path / "run" / "mine")
    static_site.build_site(tmp_path / "site", [str(tmp_path / "run" / "mine")])
    (told,) = json.loads((tmp_path / "site" / "site.json").read_text(encoding="utf-8"))["models"]
    assert told["name"] == "mine" and "judge" not in told and "card" not in told
    Refiner().save_pretrained(tmp_path / "other" / "mine")
    with pytest.raises(SystemExit, match="two models are named mine: rename the folder of one"):
        main(
            [
                "space",
                "build",
                str(tmp_path / "two"),
                "--models",
                str(tmp_path / "run/mine"),
                str(tmp_path / "other/mine"),
            ]
        )


def test_what_is_missing_is_said_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(SourceError, match="full exists and is not an empty folder: give another output"):
        static_site.build_site(tmp_path / "full")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    if shutil.which("npm"):
        with pytest.raises(PublishError, match=r"npm could not fetch .*: check the network"):
            static_site.build_site(tmp_path / "unreached")
        assert not [*tmp_path.glob("*unreached*")]  # a page that lacks something is not left there
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"needs npm, .* is not installed: install Node\.js"):
        main(["space", "build", str(tmp_path / "site")])
