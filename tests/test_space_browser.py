"""The Space in a real browser, at the widths of a desk and of a telephone: each tab does its job and is usable."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browser import check_accessible, check_fits, is_near, open_tab
from PIL import Image

from simgan import Refiner
from simgan.simulators.eyes import renders as eyes

HERE = Path(__file__).parent
TABS = ("Refine", "Where it looks fake", "Batch", "Can you tell?", "Training")
WIDTHS = pytest.mark.parametrize("width", [1280, 390])
LOOKS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
COPY = """async () => {
    const canvas = new OffscreenCanvas(60, 40), pen = canvas.getContext("2d");
    pen.fillRect(0, 0, 30, 40);
    const png = await canvas.convertToBlob({ type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
}"""


def file(name, image, kind="PNG"):
    data = io.BytesIO()
    image.save(data, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": data.getvalue()}


def eye(number):
    return Image.fromarray(eyes.render([number])[0][0])


def upload(page, gallery, *files):
    page.locator(f"{gallery} [aria-label=Clear]").click()
    page.locator(f"{gallery} input[type=file]").set_input_files(list(files))


def wait_for_text(page, selector, text):
    page.wait_for_function("([s, t]) => document.querySelector(s)?.innerText.includes(t)", arg=[selector, text])


def downloaded(page, name):
    with page.expect_download() as started:
        page.locator(f'#refine-download a[download="{name}"]').click()
    assert started.value.suggested_filename == name
    return Image.open(started.value.path())


@LOOKS
def test_it_opens_ready_fits_the_screen_and_is_accessible(visit, width, dark):
    page = visit(width, dark=dark)
    for tab in TABS:
        open_tab(page, tab)
        page.wait_for_timeout(300)
        check_fits(page)
        check_accessible(page)


@WIDTHS
def test_uploads_are_refined_looked_at_one_by_one_and_downloaded_in_their_own_formats(visit, width):
    page = visit(width)
    deep = Image.fromarray(np.array(eye(11)).astype(np.uint16) * 16)
    jpegs = (file(f"{number}.jpg", eye(number), "JPEG") for number in (1, 2))
    upload(page, "#refine-images", *jpegs, file("deep.png", deep))
    page.locator("#refine-download a").nth(2).wait_for()
    image = downloaded(page, "deep.png")
    assert image.mode == "I;16"
    assert is_near(image, Refiner.from_pretrained("eyes").refine(deep))
    for number in (1, 2):
        assert downloaded(page, f"{number}.jpg").format == "JPEG"
    with page.expect_download() as started:
        page.locator("#refine-zip").click()
    assert len(zipfile.ZipFile(started.value.path()).namelist()) == 3
    wait_for_text(page, "#refine-note", "16-bit")
    page.locator("#refine-results button").nth(0).click()
    wait_for_text(page, "#refine-note", "8-bit")
    page.get_by_role("button", name="The same in Python").click()
    wait_for_text(page, "#refine-code", '"1.jpg"')
    check_fits(page)
    check_accessible(page)


def test_a_paste_is_refined(visit):
    page = visit()
    page.evaluate(COPY)
    page.get_by_label("Paste from Clipboard").first.click()
    wait_for_text(page, "#refine-note", "60×40")
    page.locator('#refine-download a[download="eye 1.png"]').wait_for(state="detached")  # the example makes way


def test_what_is_chosen_after_all_images_were_cleared_is_shown(visit):
    page = visit()
    page.locator("#refine-images [aria-label=Clear]").click()
    wait_for_text(page, "#refine-result", "Upload an image, paste one, or pick an example.")
    page.locator("#wall button").nth(1).click()
    page.locator('#refine-download a[download="eye 2.png"]').wait_for()
    page = visit(tab="Where it looks fake")
    page.locator("#patch-images [aria-label=Clear]").click()
    wait_for_text(page, "#patch-maps", "Upload an image, paste one, or pick an example.")
    page.locator("#inspect-eyes-examples .gallery-item").nth(1).click()
    wait_for_text(page, "#patch-maps", "Refined")


def test_an_example_and_a_strength_are_chosen_by_keyboard_and_the_line_moves(visit):
    page = visit()
    page.locator("#wall button").nth(1).press("Enter")
    page.locator('#refine-download a[download="eye 2.png"]').wait_for()
    page.locator("input[type=range]").first.press("ArrowLeft")
    wait_for_text(page, "#refine-note", "strength 0.95")
    number = page.get_by_label("number input for Strength").first
    number.fill("0.4")
    wait_for_text(page, "#refine-note", "strength 0.4")
    line = page.get_by_role("slider", name="Line between before and after")
    start = int(line.get_attribute("aria-valuenow"))
    for _ in range(4):
        line.press("ArrowRight")
    page.wait_for_function(
        "start => +document.querySelector('[data-testid=slider]').ariaValueNow >= start + 15", arg=start
    )


def test_the_wall_is_whole_on_every_screen(visit):
    page = visit()
    for width in (1280, 768, 320):
        page.set_viewport_size({"width": width, "height": 900})
        edge = page.locator("#wall").bounding_box()
        for picture in page.locator("#wall img").all():
            box = picture.bounding_box()
            assert edge["x"] <= box["x"] and box["x"] + box["width"] <= edge["x"] + edge["width"]
            assert box["width"] > 60


@WIDTHS
def test_a_pair_of_the_wall_opens_with_its_model_its_labels_and_a_close_up(visit, width):
    page = visit(width)
    pairs = page.locator("#wall button")
    assert pairs.count() == 12
    last = pairs.nth(11)
    last.scroll_into_view_if_needed()
    (last.tap if width < 500 else last.click)()
    page.locator('#refine-download a[download="hand 6.png"]').wait_for()
    wait_for_text(page, "#refine-note", "hands-simulated")
    page.locator("#refine-closeup img").wait_for()
    page.locator("#refine-labels img").wait_for()
    page.wait_for_function("document.querySelector('#comparison').getBoundingClientRect().top > -1")
    assert page.locator("#comparison").bounding_box()["y"] < 844
    check_fits(page)
    check_accessible(page)


def test_eyes_in_a_photograph_are_refined_and_a_broken_file_beside_it_is_left_out_by_a_button(visit):
    page = visit(390)
    face = {"name": "face.jpg", "mimeType": "image/jpeg", "buffer": (HERE / "astronaut.jpg").read_bytes()}
    upload(page, "#refine-images", {"name": "b.png", "mimeType": "image/png", "buffer": b"no image"}, face)
    wait_for_text(page, "#refine-above", "2 eye crops were found in face.jpg")
    assert "b.png is no image that can be read here" in page.locator("#refine-above").inner_text()
    assert page.locator("#refine-results button").count() == 3
    page.locator("#refine-results button").nth(1).tap()
    wait_for_text(page, "#refine-note", "55×35")
    assert "b.png is no image" in page.locator("#refine-above").inner_text()
    check_accessible(page)
    page.get_by_role("button", name="Leave it out").tap()
    page.wait_for_function("!document.querySelector('#refine-above').innerText.includes('b.png')")
    assert downloaded(page, "face.jpg").size == (256, 200)


def test_what_goes_wrong_is_a_sentence_in_the_page(visit):
    page = visit()
    model = page.get_by_label("Model").first
    model.fill("../<b>secrets")
    model.press("Enter")
    wait_for_text(page, "#refine-above", "There is no model '../<b>secrets': choose one of eyes, eyes-simulated")
    assert not page.locator("#comparison").is_visible()
    assert "Traceback" not in page.locator("body").inner_text()
    model.fill("eyes-simulated")
    model.press("Enter")
    wait_for_text(page, "#refine-note", "eyes-simulated")


@WIDTHS
def test_a_patch_tells_its_value_on_hover_tap_and_arrow_keys(visit, width):
    page = visit(width, tab="Where it looks fake")
    upload(page, "#patch-images", file("wide.png", eye(5).resize((110, 35))))
    page.wait_for_function("document.querySelector('.patch-map')?.dataset.map.includes('\"width\": 110')")
    means = [float(text) for text in re.findall(r"(\d+) %", " ".join(page.locator(".patch-map").all_inner_texts()))]
    assert len(means) == 2
    stage = page.locator(".patch-map .stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    place = {"x": box["width"] * 40.5 / 110, "y": box["height"] * 16.5 / 35}  # the middle of pixel (40, 16)
    (stage.tap if width < 500 else stage.hover)(position=place)
    value = page.locator(".patch-value")
    assert re.fullmatch(
        r"Input: \d+ % real · Refined: \d+ % real Patch 11, 5 sees x 29–51, y 5–27\.", value.inner_text()
    )
    stage.press("ArrowRight")
    assert "Patch 12, 5" in value.inner_text()
    stage.press("ArrowUp")
    assert "Patch 12, 4" in value.inner_text()
    assert page.locator(".patch-map .cell").first.is_visible()
    check_fits(page)
    check_accessible(page)
