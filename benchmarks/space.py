"""How fast the Space is, and what it is like when all come at once.

Seconds until its page answers, until the first image is refined, and later ones; then 40 visitors at once who each send
5 images of their own and compare what comes back, and the memory before and after. `python benchmarks/space.py`
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
from gradio_client import Client, handle_file
from PIL import Image

from simgan import Refiner
from simgan.simulators.eyes import renders as eyes
from simgan.space.samples import examples

PORT = 7899
VISITORS, IMAGES = 40, 5
NEAR = 8  # levels: one process may find bfloat16 fast, the other not; images differ from each other by 200
PATIENCE = {"timeout": 300}


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def load(url: str) -> None:
    """Let all visitors come at once, and match each answer to its own image."""
    images = eyes.render(range(1000, 1000 + VISITORS * IMAGES))[0]
    expected = np.stack(Refiner.from_pretrained("eyes").refine(list(images))).astype(int)
    folder = Path(tempfile.mkdtemp())
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    answered, mixed_up, failed = [], [], []

    def visit(visitor: int) -> None:
        try:
            client = Client(url, verbose=False, download_files=str(folder / f"{visitor}"), httpx_kwargs=PATIENCE)
            for number in range(visitor * IMAGES, (visitor + 1) * IMAGES):
                start = time.monotonic()
                sent = [{"image": handle_file(folder / f"{number}.png")}]
                refined = client.predict(sent, "eyes", 1.0, api_name="/refine")[3][0]
                answered.append(time.monotonic() - start)
                if np.abs(np.array(Image.open(refined)) - expected[number]).max() > NEAR:
                    mixed_up.append(number)
            client.close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=visit, args=[visitor]) for visitor in range(VISITORS)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    lost = VISITORS * IMAGES - len(answered)
    print(f"{VISITORS} visitors × {IMAGES} images at once: {lost} lost, {len(mixed_up)} mixed up, in {seconds:.0f} s")
    print(f"an image after {statistics.median(answered):.1f} s (median), {max(answered):.1f} s at most")
    for error in failed[:3]:
        print(f"failed: {error}")


def main() -> None:
    settings = {"GRADIO_SERVER_PORT": str(PORT), "HF_HUB_OFFLINE": "1"}
    url = f"http://127.0.0.1:{PORT}/"
    start = time.monotonic()
    root = Path(__file__).parents[1]
    space = subprocess.Popen([sys.executable, "app.py"], cwd=root, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        while not answers(url):
            time.sleep(0.1)
        print(f"page answers after {time.monotonic() - start:.1f} s")
        client = Client(url, verbose=False)
        seconds = []
        for number in range(12):
            images = [{"image": handle_file(examples()[number % 6])}]
            start = time.monotonic()
            client.predict(images, "eyes", 1.0, api_name="/refine")
            seconds.append(time.monotonic() - start)
        print(f"first image refined after {seconds[0]:.2f} s, upload and download included")
        print(f"later ones after {statistics.median(seconds[1:]):.2f} s (median)")
        client.close()
        memory = psutil.Process(space.pid).memory_info
        before = memory().rss
        for _ in range(2):
            load(url)
            time.sleep(10)
            print(f"memory before {before / 2**20:.0f} MiB, afterwards {memory().rss / 2**20:.0f} MiB")
    finally:
        space.terminate()
        space.wait()


if __name__ == "__main__":
    main()
