"""Batch, Can you tell? and Training in a real browser, at the widths of a desk and of a telephone."""

import re
import zipfile

import pytest
from browser import SIZES, check_accessible, check_fits, connect, resize
from gradio_client import handle_file
from test_space_tabs import long_work, pack, png

from simgan.hub.cards.records import read_records, step_of
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


def tab_to(page, place):
    """Press Tab until the focus is there."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("place => document.activeElement.matches(place)", place):
            return
    raise AssertionError(f"{place} is not reached by Tab")


def test_an_image_is_sent_refined_and_downloaded_by_keyboard_alone(visit, tmp_path):
    page = visit()
    (tmp_path / "own.png").write_bytes(png(eyes.render([7])[0][0]))
    with page.expect_file_chooser() as chosen:
        tab_to(page, "#refine-images [aria-label='Click to Upload']")
        page.keyboard.press("Enter")
    chosen.value.set_files(tmp_path / "own.png")
    page.locator('#refine-download a[download="own.png"]').wait_for()
    page.locator('#refine-download a[download="eye 1.png"]').wait_for(state="detached")  # the example makes way
    tab_to(page, "#refine-download a")
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    assert started.value.suggested_filename == "own.png"


def test_a_batch_is_sent_refined_and_downloaded_by_keyboard_alone(visit, tmp_path):
    page = visit()
    sent = {f"{i}.png": png(image) for i, image in enumerate(eyes.render(range(2))[0])}
    tab_to(page, "[role=tab]:nth-of-type(3)")
    page.keyboard.press("Enter")
    with page.expect_file_chooser() as chosen:
        tab_to(page, "#batch-files button")
        page.keyboard.press("Enter")
    chosen.value.set_files(pack(tmp_path / "eyes.zip", sent))
    page.locator('#batch-files [aria-label="eyes.zip"]').wait_for()
    tab_to(page, "#batch-start")
    page.keyboard.press("Enter")
    wait_for_text(page, "#batch-progress", "2 images refined")
    tab_to(page, "#batch-result a[download]")
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    with zipfile.ZipFile(started.value.path()) as archive:
        assert archive.namelist() == list(sent)


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
        """text => document.querySelector("#batch-progress").innerText.includes(text)
            || void document.getElementById("batch-start").click()""",
        arg="there is no file yet: choose a ZIP, or images and their labels",
        polling=300,
    )
    page.wait_for_timeout(11_000)  # longer than a toast of Gradio is there
    wait_for_text(page, "#batch-progress", "That did not work:")
    assert page.locator("#batch-progress").get_attribute("role") == "status"
    assert not page.locator(".toast-body").count()
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


def play(page, answer):
    """Play a round with `answer(number)`, and return how many answers were right."""
    right, seen = 0, ""
    for number in range(1, 11):
        wait_for_text(page, "#tell-note", f"Image {number} of 10")
        page.wait_for_function(
            "seen => { const image = document.querySelector('#tell-image img');"
            " return image && image.complete && image.src != seen }",
            arg=seen,
        )
        seen = page.get_attribute("#tell-image img", "src")
        page.wait_for_timeout(100)  # answers while one is on its way are not taken
        answer(number)
        if number < 10:
            wait_for_text(page, "#tell-note", f"of {number} right so far")
            right = int(re.search(r"(\d+) of \d+ right so far", page.inner_text("#tell-note"))[1])
    wait_for_text(page, "#tell-note", "of 10 right")
    last = int(re.search(r"(\d+) of 10 right", page.inner_text("#tell-note"))[1])
    assert last in (right, right + 1)
    return last


def test_a_round_is_played_by_touch_on_one_screen_and_its_score_is_shared(visit):
    page = visit(390, tab="Can you tell?")
    assert "Real means an image of a simulated camera" in page.inner_text("#tell").split(".")[0]

    def tap(number):
        for part in ("#tell-image img", "#tell-real", "#tell-refined", "#tell-note"):
            box = page.locator(part).bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= SIZES[390], part  # not scrolled
        page.tap("#tell-real" if number % 2 else "#tell-refined")

    page.tap("#tell-start")
    right = play(page, tap)
    assert page.evaluate("scrollY") == 0
    told = page.inner_text("#tell-note")
    assert "517 of 1,000 (51.7%)" in told and "0.148" in told
    page.evaluate("delete Navigator.prototype.share")
    page.tap("#tell-share")
    wait_for_text(page, "#tell-shared", "Copied")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith(f"I was right about {right} of 10 eye crops")
    assert text.endswith(f"Can you tell? {page.url}")
    page.evaluate("Navigator.prototype.share = async (given) => { window.given = given }")
    page.tap("#tell-share")
    wait_for_text(page, "#tell-shared", "Shared")
    assert page.evaluate("given.text + ' ' + given.url") == text
    page.wait_for_function("document.querySelectorAll('#tell-seen img').length == 10")
    for width in (390, 1280):
        resize(page, width)
        check_fits(page)
        check_accessible(page)


def test_a_round_is_played_by_keyboard_alone(visit):
    page = visit(1280, dark=True, tab="Can you tell?")

    def press(number):
        focus = "document.activeElement.id"
        if number % 2:
            page.keyboard.press("r" if number % 4 == 1 else "s")
        else:
            page.wait_for_function(f"{focus} == 'tell-real'")  # the focus is not lost with the button Start
            page.keyboard.press("Enter")

    page.locator("#tell-start").press("Enter")
    play(page, press)
    page.wait_for_function("document.activeElement.id == 'tell-start'")
    check_accessible(page)
    page.keyboard.press("Enter")
    wait_for_text(page, "#tell-note", "Image 1 of 10")


@WIDTHS
def test_plots_can_be_read_and_sheets_follow_the_slider_and_play(visit, width):
    page = visit(width, dark=width == 390, tab="Training")
    wait_for_text(page, "#training-note", "eyes ships the refiner of step")
    page.locator("#training-plots svg").nth(2).scroll_into_view_if_needed()
    colliding = page.evaluate(
        """() => [...document.querySelectorAll("#training-plots svg")].flatMap((svg) => {
            const all = [...svg.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()]);
            return all.flatMap(([a, p], i) => all.slice(i + 1).filter(([, q]) =>
                p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom).map(([b]) => [a, b]));
        })"""
    )
    assert page.locator("#training-plots text").count() > 40 and colliding == []
    page.locator("#training-sheet img").wait_for()
    slider = page.locator("#training-step input[type=range]")
    seen = set()
    found = read_records(SHIPPED / "eyes")
    steps, sheets = [row["step"] for row in found.measures], [step_of(sheet) for sheet in found.sheets]
    for key, step in (("Home", steps[0]), ("End", steps[-1])):
        slider.press(key)
        wait_for_text(page, "#training-figures", f"Step {step}: patch distance")
        page.wait_for_function(
            "seen => !seen.includes(document.querySelector('#training-sheet img').src)", arg=list(seen)
        )
        seen.add(page.get_attribute("#training-sheet img", "src"))
    button = page.locator("#training-play")
    button.tap() if width == 390 else button.press("Enter")
    for step in sheets[:3]:  # from the first one, as the last was shown
        wait_for_text(page, "#training-figures", f"Step {step}: patch distance")
    button.tap() if width == 390 else button.press("Enter")
    wait_for_text(page, "#training-play", "Play")
    check_fits(page)
    check_accessible(page)
