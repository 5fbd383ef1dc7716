"""Screenshots of every tab of the Space, on a desk and on a telephone, light and dark: docs/space-*.png.

PYTHONPATH=.:tests python docs/screenshots.py
"""

import tempfile
from pathlib import Path

from browser import CHROMIUM, FLAGS, SIZES, Server
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent


def main() -> None:
    """Take them all."""
    server = Server(Path(tempfile.mkdtemp()))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for width, height in SIZES.items():
                for look in ("light", "dark"):
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=look)
                    page.goto(server.url)
                    page.wait_for_selector("#comparison img")
                    for tab in page.get_by_role("tab").all_inner_texts():
                        page.get_by_role("tab", name=tab).click()
                        page.wait_for_timeout(1000)
                        for map_ in page.locator(".patch-map .stage:visible").all()[:1]:
                            map_.hover()
                        name = "-".join(word.strip("?") for word in tab.lower().split())
                        page.screenshot(path=FOLDER / f"space-{name}-{width}-{look}.png", full_page=True)
                    page.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
