"""The Space in a real browser, at the widths of a desk and of a telephone: each tab does its job and is usable."""

import io

import numpy as np
import pytest
from browser import check_accessible, check_fits, open_tab
from PIL import Image

from simgan import Refiner
from simgan.simulators import eyes

TABS = ("Refine", "Where it looks fake", "Batch", "Can you tell?", "Training")
WIDTHS = pytest.mark.parametrize("width", [1280, 390])
LOOKS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])


def file(name, image, kind="PNG"):
    data = io.BytesIO()
    image.save(data, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": data.getvalue()}


def upload(page, gallery, *files):
    page.locator(f"{gallery} [aria-label=Clear]").click()
    page.locator(f"{gallery} input[type=file]").set_input_files(list(files))


def downloaded(page, name):
    link = page.locator("a", has_text=name.rsplit(".")[0]).or_(page.locator(f'a[download="{name}"]')).first
    with page.expect_download() as started:
        link.click()
    assert started.value.suggested_filename == name
    return Image.open(started.value.path())


@LOOKS
def test_it_opens_ready_fits_the_screen_and_is_accessible(visit, server, width, dark):
    assert server.seconds_to_answer <= 20
    page = visit(width, dark=dark)
    for tab in TABS:
        open_tab(page, tab)
        page.wait_for_timeout(300)
        check_fits(page)
        check_accessible(page)


@WIDTHS
def test_an_upload_is_refined_and_downloaded_in_its_own_format(visit, width):
    page = visit(width)
    deep = Image.fromarray(eyes.render([11])[0][0].astype(np.uint16) * 16)
    upload(page, "#refine-images", file("deep.png", deep))
    page.wait_for_function("document.querySelector('#refine-note').innerText.includes('16-bit')")
    image = downloaded(page, "deep.png")
    assert image.mode == "I;16"
    assert (np.array(image) == np.array(Refiner.from_pretrained("eyes").refine(deep))).all()
    check_fits(page)
