"""The frame of the page: all tabs on a narrow screen, what previews of a link show, what it has on the Hub only."""

import io
import re
import urllib.request

from browser import check_fits
from PIL import Image

from simgan.space.page import build

TABS = ("Refine", "Where it looks fake", "Batch", "Can you tell?", "Training")


def test_all_tabs_are_in_view_on_a_narrow_telephone_and_large_enough_to_be_touched(visit):
    page = visit(390)
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 640})
        for name in TABS:
            tab = page.get_by_role("tab", name=name)
            tab.tap()
            box = tab.bounding_box()
            assert box["height"] >= 24 and box["x"] >= 0 and box["x"] + box["width"] <= width
            assert tab.get_attribute("aria-selected") == "true"
            check_fits(page)
        for link in page.locator("#introduction a").all():
            assert link.bounding_box()["height"] >= 24


def test_a_preview_of_a_link_shows_the_spaces_own_title_words_and_picture(space):
    with urllib.request.urlopen(space) as answer:
        page = answer.read().decode()
    assert "<title>Make synthetic eyes and hands look real</title>" in page
    found = re.findall(r'<meta (?:property|name)="([\w:]+)" content="([^"]*)">', page)
    named = dict(found)
    assert len(found) == len(named)  # none twice
    for key in ("og", "twitter"):
        assert named[f"{key}:title"] == "Make synthetic eyes and hands look real"
        assert named[f"{key}:description"].startswith("A refiner makes labelled synthetic images look like a camera")
        assert named[f"{key}:image"] == f"{space}preview.png"
    assert "githubusercontent" not in page.split("<style>")[0]
    with urllib.request.urlopen(named["og:image"]) as answer, Image.open(io.BytesIO(answer.read())) as picture:
        assert picture.size == (1200, 630)
        assert len(picture.convert("L").getcolors()) > 100


def test_the_hub_alone_gets_a_button_that_duplicates_and_a_link_to_the_code(visit, monkeypatch):
    page = visit()
    assert not page.locator("#duplicate").count() and not page.locator("#introduction a[href*='/spaces/']").count()
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "org/demo")
    parts = {one["props"].get("elem_id"): one["props"] for one in build().config["components"]}
    assert parts["duplicate"]["visible"]
    assert "(https://huggingface.co/spaces/org/demo/tree/main)" in parts["introduction"]["value"]
