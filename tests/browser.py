"""The Space in a process of its own, as `python app.py` starts it, and a real browser that visits it.

Fixtures for all tests of the Space: `space` is its address, `visit` opens it in a page. Needs Chromium.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {1280: 900, 390: 844}  # widths and heights of a desk's and a telephone's screen
SECONDS = 60


class Server:
    """`python app.py` of `place` on a port of its own, with a folder of its own for all temporary files."""

    def __init__(self, folder, place=ROOT, **environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.log = folder / "log.txt"
        settings = {
            "PYTHONPATH": os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "GRADIO_SERVER_PORT": str(port),
            "TMPDIR": str(self.temporary),
            "HF_HUB_OFFLINE": "1",
            **environment,
        }
        start = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=place, env=os.environ | settings, stdout=log, stderr=log
            )
        assert wait_until(lambda: self.process.poll() is not None or self._answers(), 3 * SECONDS), self.log.read_text()
        assert self.process.poll() is None, self.log.read_text()
        self.seconds_to_answer = time.monotonic() - start

    def _answers(self):
        try:
            with urllib.request.urlopen(self.url, timeout=5) as page:
                return page.status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def wait_until(condition, seconds=SECONDS):
    """Look again and again until a condition holds, and return whether it did in so many seconds."""
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(holds)


def connect(url):
    """Return the client that code uses, with patience for a busy machine."""
    return Client(url, verbose=False, httpx_kwargs={"timeout": 60})


def is_near(image, expected):
    """Whether an image is the expected one, of the same type, size and bit depth, but for the precision of the network.

    One process may find bfloat16 fast where another does not: with the shipped weights that makes 5 of 255 levels at
    most in 224 eyes, while any two of these differ by 200 somewhere.
    """
    image, expected = np.asarray(image), np.asarray(expected)
    assert (image.dtype, image.shape) == (expected.dtype, expected.shape)
    return np.abs(image.astype(int) - expected.astype(int)).max() <= 8 / 255 * np.iinfo(expected.dtype).max


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The Space, started once for all tests."""
    running = Server(tmp_path_factory.mktemp("space"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def space(server):
    """The Space's address."""
    return server.url


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def contexts(browser):
    """Return the context of a width and a colour scheme, shared by all tests: its cache makes pages open fast."""
    made = {}

    def of(width, dark):
        if (width, dark) not in made:
            made[width, dark] = browser.new_context(
                viewport={"width": width, "height": SIZES[width]},
                color_scheme="dark" if dark else "light",
                has_touch=width < 500,
                accept_downloads=True,
                permissions=["clipboard-read", "clipboard-write"],
            )
            made[width, dark].set_default_timeout(1000 * SECONDS)
        return made[width, dark]

    return of


@pytest.fixture
def visit(contexts, space):
    """Open the Space at a width of 1280 or 390, light or dark; afterwards nothing may have gone wrong in the page."""
    pages, wrong, waiting = [], [], set()

    def open_page(width=1280, *, dark=False, tab=None, url=space):
        page = contexts(width, dark).new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", note_failed)
        page.on("request", lambda request: wrong.append(f"asked {request.url}") if _is_elsewhere(request.url) else None)
        page.on("request", lambda request: waiting.add(request) if "/heartbeat/" not in request.url else None)
        for over in ("requestfinished", "requestfailed"):
            page.on(over, lambda request: waiting.discard(request))
        pages.append(page)
        page.goto(url)
        page.wait_for_selector("#comparison img")
        page.wait_for_function("document.querySelector('#comparison img').complete")
        if tab:
            open_tab(page, tab)
        return page

    def note_failed(request):
        if request.failure != "net::ERR_ABORTED":  # the page itself closed it
            wrong.append(f"{request.url}: {request.failure}")

    def _is_elsewhere(url):
        return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))

    yield open_page
    end = time.monotonic() + 15
    while waiting and time.monotonic() < end:
        pages[0].wait_for_timeout(50)
    problems = [*wrong, *(f"unanswered: {request.url}" for request in waiting)]
    for page in pages:
        page.close()
    assert not problems, problems


def open_tab(page, name):
    """Open a tab; on a narrow screen they are in several rows."""
    page.get_by_role("tab", name=name).click()


def resize(page, width):
    """Change the width of the page."""
    page.set_viewport_size({"width": width, "height": SIZES[width]})


def check_fits(page):
    """Assert that nothing is wider than the screen."""
    width, screen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= screen


def check_accessible(page):
    """Assert that axe finds nothing: names, roles, contrast, keyboard."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    problems = [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]
    assert not problems, "\n".join(problems)
