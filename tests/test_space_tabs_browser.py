"""Batch, Can you tell? and Training in a real browser, at the widths of a desk and of a telephone."""

import re
import zipfile

import pytest
from browser import check_accessible, check_fits, connect, resize
from gradio_client import handle_file
from test_space_tabs import long_work, pack, png

from simgan.hub.cards.records import read_records
from simgan.hub.loading import SHIPPED
from simgan.simulators.eyes import renders as eyes

WIDTHS = pytest.mark.parametrize("width", [1280, 390])


def wait_for_text(page, place, text):
    page.wait_for_function(
        "([place, text]) => document.querySelector(place)?.innerText.includes(text)", arg=[place, text]
    )


@WIDTHS
def test_batch_takes_a_zip_shows_how_far_it_is_and_gives_the_refined_zip(visit, tmp_path, width):
    page = visit(width, tab="Batch")
    sent = {f"{i}.png": png(image) for i, image in enumerate(eyes.render(range(4))[0])} | {"labels.csv": b"0.png,1\n"}
    page.locator("#batch-files input[type=file]").set_input_files(pack(tmp_path / "eyes.zip", sent))
    page.locator('#batch-files [aria-label="eyes.zip"]').wait_for()
    page.click("#batch-start")
    wait_for_text(page, "#batch-progress", "4 images refined, 1 other files copied as they are")
    with page.expect_download() as started:
        page.locator("#batch-result a[download]").first.click()
    assert started.value.suggested_filename == "eyes refined.zip"
    with zipfile.ZipFile(started.value.path()) as archive:
        assert archive.namelist() == list(sent)
        assert archive.read("labels.csv") == sent["labels.csv"]
    check_fits(page)
    check_accessible(page)


def test_batch_can_be_stopped_and_tells_what_is_wrong_in_the_page(visit, tmp_path):
    page = visit(1280, tab="Batch")
    page.locator("#batch-files input[type=file]").set_input_files(long_work(tmp_path))
    page.locator('#batch-files [aria-label="long.zip"]').wait_for()
    page.click("#batch-start")
    wait_for_text(page, "#batch-progress", "images")
    assert page.locator("#batch-progress progress").count() == 1
    page.click("#batch-stop")
    wait_for_text(page, "#batch-progress", "Stopped. Nothing of it was kept.")
    page.locator("#batch-files [aria-label=Clear]").click()
    page.wait_for_function(  # until the server has ended what was stopped, Gradio takes no other click
        """text => document.querySelector(".toast-body")?.innerText.includes(text)
            || void document.getElementById("batch-start").click()""",
        arg="there is no file yet: choose a ZIP, or images and their labels",
        polling=300,
    )
    page.wait_for_function(  # while it fades in its contrast is too low
        """() => { for (let part = document.querySelector(".toast-body"); part; part = part.parentElement)
            if (getComputedStyle(part).opacity !== "1") return false;
            return true; }"""
    )
    check_accessible(page)


def test_who_waits_for_a_batch_sees_the_place_in_the_queue(visit, space, tmp_path):
    file, other = long_work(tmp_path), connect(space)
    job = other.submit([handle_file(file)], "eyes", 1.0, "", api_name="/batch")
    while not job.outputs():  # it has begun
        assert not job.done()
    page = visit(1280, tab="Batch")
    page.locator("#batch-files input[type=file]").set_input_files(file)
    page.locator('#batch-files [aria-label="long.zip"]').wait_for()
    page.click("#batch-start")
    page.get_by_text(re.compile(r"queue: 1/1")).first.wait_for()
    page.click("#batch-stop")
    job.cancel()
    other.close()


def test_a_visitor_answers_a_round_by_keys_and_buttons_and_sees_score_p_and_the_papers(visit):
    page = visit(390, tab="Can you tell?")
    page.click("#tell-start")
    right, seen = 0, ""
    for number in range(1, 21):
        wait_for_text(page, "#tell-note", f"Image {number} of 20")
        page.wait_for_function(
            "seen => { const image = document.querySelector('#tell-image img');"
            " return image && image.complete && image.src != seen && !document.getElementById('tell-real').disabled }",
            arg=seen,
        )
        seen = page.get_attribute("#tell-image img", "src")
        page.wait_for_timeout(100)  # answers while one is on its way are not taken
        if number % 2:
            page.keyboard.press("r" if number % 4 == 1 else "s")
        else:
            page.click("#tell-real" if number % 4 == 2 else "#tell-refined")
        if number < 20:
            wait_for_text(page, "#tell-note", f"of {number} right so far")
            right = int(re.search(r"(\d+) of \d+ right so far", page.inner_text("#tell-note"))[1])
        else:
            wait_for_text(page, "#tell-note", "of 20 right")
    last = page.inner_text("#tell-note")
    assert int(re.search(r"(\d+) of 20 right", last)[1]) in (right, right + 1)
    assert "517 of 1,000 (51.7%)" in last and "0.148" in last
    page.wait_for_function("document.querySelectorAll('#tell-seen img').length == 20")
    for width in (390, 1280):
        resize(page, width)
        check_fits(page)
    check_accessible(page)
    page.click("#tell-start")
    wait_for_text(page, "#tell-note", "Image 1 of 20")


def test_curves_stand_beside_each_other_and_sheets_follow_the_slider(visit):
    page = visit(390, dark=True, tab="Training")
    wait_for_text(page, "#training-note", "eyes ships the refiner of step")
    page.wait_for_function("document.querySelectorAll('#training-plots :is(canvas, svg.marks)').length == 3")
    page.locator("#training-sheet img").wait_for()
    slider = page.locator("#training-step input[type=range]")
    seen = set()
    steps = [row["step"] for row in read_records(SHIPPED / "eyes").measures]
    for key, step in (("Home", steps[0]), ("End", steps[-1])):
        slider.press(key)
        wait_for_text(page, "#training-figures", f"Step {step}: patch distance")
        page.wait_for_function(
            "seen => !seen.includes(document.querySelector('#training-sheet img').src)", arg=list(seen)
        )
        seen.add(page.get_attribute("#training-sheet img", "src"))
    for width in (390, 1280):
        resize(page, width)
        check_fits(page)
        check_accessible(page)
