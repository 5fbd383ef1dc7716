"""How fast the Space starts and answers, and how it bears ten waves of visitors who come at once.

Each of 40 visitors sends 5 images of their own and compares what comes back. `python benchmarks/space.py`
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

PORT = 7899
WAVES, VISITORS, IMAGES = 10, 40, 5
NEAR = 8  # levels: one process may find bfloat16 fast, the other not; images differ from each other by 200
PATIENCE = {"timeout": 300}
ROOT = Path(__file__).parents[1]


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def measure_imports() -> None:
    """Print the seconds of processor time that imports take."""
    for module in ("simgan.space", "simgan.space.page", "gradio, torch"):
        code = f"import {module}, time; print(time.process_time())"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        print(f"import {module}: {float(done.stdout):.1f} s of processor time")


def refine(client: Client, file: Path) -> tuple[float, np.ndarray]:
    """Return the seconds that an image took, upload and download included, and the refined image."""
    start = time.monotonic()
    refined = client.predict([{"image": handle_file(file)}], "eyes", 1.0, api_name="/refine")[3][0]
    return time.monotonic() - start, np.array(Image.open(refined)).astype(int)


def run_wave(url: str, folder: Path, expected: np.ndarray) -> str:
    """Let all visitors come at once, compare each answer with its own image, and return the figures as a sentence."""
    seconds, mixed_up, failed = [], [], []

    def visit(visitor: int) -> None:
        try:
            client = Client(url, verbose=False, download_files=str(folder / f"{visitor}"), httpx_kwargs=PATIENCE)
            for number in range(visitor * IMAGES, (visitor + 1) * IMAGES):
                took, refined = refine(client, folder / f"{number}.png")
                seconds.append(took)
                if np.abs(refined - expected[number]).max() > NEAR:
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
    lost = VISITORS * IMAGES - len(seconds)
    text = f"{lost} lost, {len(mixed_up)} mixed up, {time.monotonic() - start:.0f} s, "
    text += f"an image after {statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s at most"
    return text + "".join(f"; failed: {error!r}" for error in failed[:3])


def main() -> None:
    measure_imports()
    images = eyes.render(range(1000, 1000 + VISITORS * IMAGES))[0]
    expected = np.stack(Refiner.from_pretrained("eyes").refine(list(images))).astype(int)
    folder = Path(tempfile.mkdtemp())
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    settings = {"GRADIO_SERVER_PORT": str(PORT), "HF_HUB_OFFLINE": "1"}
    url = f"http://127.0.0.1:{PORT}/"
    start = time.monotonic()
    space = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        while not answers(url):
            time.sleep(0.1)
        print(f"page answers after {time.monotonic() - start:.1f} s")
        client = Client(url, verbose=False)
        first, *later = [refine(client, folder / f"{number}.png")[0] for number in range(12)]
        print(f"first image refined after {first:.2f} s, later ones after {statistics.median(later):.2f} s (median)")
        client.close()
        process = psutil.Process(space.pid)

        def state() -> str:
            others = sum(child.memory_info().rss for child in process.children(recursive=True)) / 2**20
            memory = f"{process.memory_info().rss / 2**20:.0f} MiB and {others:.0f} MiB in processes that read files"
            return f"{memory}, {process.num_threads()} threads"

        print(f"before: {state()}")
        for wave in range(1, WAVES + 1):
            figures = run_wave(url, folder, expected)
            print(f"wave {wave} of {VISITORS} visitors × {IMAGES} images: {figures}; {state()}", flush=True)
    finally:
        space.terminate()
        space.wait()


if __name__ == "__main__":
    main()
