"""Screenshots of every tab of the Space, on a desk, a tablet and a telephone, light and dark.

PYTHONPATH=.:tests python docs/screenshots.py FOLDER                                    # all of them
PYTHONPATH=.:tests python docs/screenshots.py docs space-refine-{,hands-}1280-light.png   # those that pages show
"""

import io
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from browser import CHROMIUM, FLAGS, Server, open_tab
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from simgan.space.samples import examples

SIZES = {1280: 900, 768: 1024, 390: 844}  # widths and heights
TABS = ("Refine", "Where it looks fake", "Batch", "Can you tell?", "Training")
HANDS = "Refine hands"  # the tab Refine once more, with depth


def use(page: Page, tab: str, archive: Path) -> None:
    """Do what a visitor does there, so that there is something to see."""
    if tab == "Where it looks fake":
        page.locator(".patch-map .stage:visible").first.hover()
    elif tab == "Batch":
        page.locator("#batch-files input[type=file]").set_input_files(archive)
        page.locator("#batch-files .filename").wait_for()
        page.click("#batch-start")
        page.locator("#batch-result .filename").wait_for()
    elif tab == "Can you tell?":
        page.click("#tell-start")
        page.locator("#tell-image img").wait_for()
    elif tab == HANDS:
        model = page.get_by_label("Model").first
        model.fill("hands-simulated")
        model.press("Enter")
        page.locator('#refine-download a[download="hand 1.png"]').wait_for()
    page.wait_for_timeout(1500)


def main(target: Path, wanted: Sequence[str]) -> None:
    """Write those whose file names are `wanted`, or all, to a folder."""
    folder = Path(tempfile.mkdtemp())
    archive = folder / "eyes.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in examples("eyes"):
            packed.write(path, Path(path).name)
            packed.writestr(f"{Path(path).stem}.json", "{}")
    server = Server(folder)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for width, height in SIZES.items():
                for look in ("light", "dark"):
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=look)
                    page.goto(server.url)
                    page.wait_for_selector("#comparison img")
                    for tab in (*TABS, HANDS) if (width, look) == (1280, "light") else TABS:
                        name = "-".join(word.strip("?") for word in tab.lower().split())
                        file = target / f"space-{name}-{width}-{look}.png"
                        if wanted and file.name not in wanted:
                            continue
                        open_tab(page, "Refine" if tab == HANDS else tab)
                        use(page, tab, archive)
                        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
                        if tab != HANDS:  # 256 colours blur those that tell readings lost and won
                            picture = picture.quantize(256)
                        picture.save(file, optimize=True)
                    page.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
