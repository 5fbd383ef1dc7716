"""Screenshots of every tab of the Space, on a desk and on a telephone, light and dark: docs/space-*.png.

PYTHONPATH=.:tests python docs/screenshots.py
"""

import io
import tempfile
import zipfile
from pathlib import Path

from browser import CHROMIUM, FLAGS, SIZES, Server, open_tab
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from simgan.demo.samples import examples

FOLDER = Path(__file__).parent
TABS = ("Refine", "Where it looks fake", "Batch", "Can you tell?", "Training")


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
    page.wait_for_timeout(1500)


def main() -> None:
    """Take them all."""
    folder = Path(tempfile.mkdtemp())
    archive = folder / "eyes.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in examples():
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
                    for tab in TABS:
                        open_tab(page, tab)
                        use(page, tab, archive)
                        name = "-".join(word.strip("?") for word in tab.lower().split())
                        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
                        picture.quantize(256).save(FOLDER / f"space-{name}-{width}-{look}.png", optimize=True)
                    page.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
