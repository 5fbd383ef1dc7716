"""How fast the Space is: seconds until its page answers, until the first image is refined, and later ones.

python benchmarks/space.py
"""

import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from gradio_client import Client, handle_file

from simgan.demo.samples import examples

PORT = 7899


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


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
    finally:
        space.terminate()
        space.wait()


if __name__ == "__main__":
    main()
