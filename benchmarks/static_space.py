"""How soon the static Space shows a first result, and how many crops a second it refines, beside Python.

Chromium opens the page from this machine with a cold cache, so a network's time is not in it. Images go to the page's
worker in batches. `python benchmarks/static_space.py [SITE]`, where SITE is what `simgan space build SITE` wrote.
"""

import functools
import http.server
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from simgan import Refiner
from simgan.simulators import SIMULATORS
from simgan.space.static_site import HEADERS, build_site

VISITS, SECONDS, BATCH = 7, 5, 16
MODELS = {"eyes": 320, "eyes-simulated": 320, "hands": 16}  # and how many images Python refines
FIRST = "document.querySelector('figure.ready') && performance.now()"
RATE = """async ([model, type, numbers, dims, seconds]) => {
  const worker = new Worker("worker.js", { type: "module", name: "wasm" });
  const values = type === "uint16" ? Uint16Array.from(numbers) : Uint8Array.from(numbers);
  const feeds = { images: [type, values, dims], strength: ["float32", [1], []] };
  const run = () => new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage({ id: 1, file: `models/${model}/refiner.onnx`, feeds });
  });
  for (let time = 0; time < 4; time++) await run();
  const start = performance.now();
  let count = 0, engine;
  while (performance.now() - start < 1000 * seconds) {
    engine = (await run()).engine;
    count += dims[0];
  }
  return [(1000 * count) / (performance.now() - start), engine];
}"""


class Plain(http.server.SimpleHTTPRequestHandler):
    """Sends no headers of its own, as where another page embeds the Space: then there is one thread."""

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


class Isolated(Plain):
    """Sends the Space's headers."""

    def end_headers(self) -> None:
        """Send them before the end."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()


def serve(folder: Path, handler: type[Plain]) -> str:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def first_result(browser: Browser, url: str) -> float:
    """Return the seconds from the address to the first refined image, in a new profile."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    found: float = page.wait_for_function(FIRST).json_value() / 1000
    context.close()
    return found


def rate(browser: Browser, url: str, model: str, images: np.ndarray) -> tuple[float, str]:
    """Return the images a second that the page's worker refines, and on what."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.wait_for_function("document.querySelector('#status').textContent.startsWith('Refined')")
    found = page.evaluate(RATE, [model, str(images.dtype), images.ravel().tolist(), list(images.shape), SECONDS])
    context.close()
    return found[0], found[1]


def rate_of_python(model: str, images: np.ndarray, count: int) -> float:
    refiner, many = Refiner.from_pretrained(model), list(images) * (count // len(images))
    refiner.refine(many)
    start = time.perf_counter()
    refiner.refine(many)
    return len(many) / (time.perf_counter() - start)


def main() -> None:
    site = Path(sys.argv[1]) if sys.argv[1:] else Path(tempfile.mkdtemp()) / "site"
    if not sys.argv[1:]:
        build_site(site)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *sys.argv[2:]])
        url, embedded = serve(site, Isolated), serve(site, Plain)
        seconds = [first_result(browser, url) for _ in range(VISITS)]
        print(
            f"{os.cpu_count()} cores; first result after {statistics.median(seconds):.2f} s (median of {VISITS} ",
            end="",
        )
        print(f"visits, {max(seconds):.2f} s at most)")
        for model, count in MODELS.items():
            simulator = next(
                one for one in SIMULATORS.values() if one.domain == Refiner.from_pretrained(model).config.domain
            )
            size = simulator.size[0] * simulator.size[1]
            images = simulator.render(range(max(1, min(BATCH, 2**15 // size))))[0]
            python = rate_of_python(model, images, count)
            for address in (url, embedded):
                found, engine = rate(browser, address, model, images)
                print(
                    f"{model}: {found:.1f} images/s ({engine}), Python {python:.1f}: {found / python:.0%}", flush=True
                )
        browser.close()


if __name__ == "__main__":
    main()
