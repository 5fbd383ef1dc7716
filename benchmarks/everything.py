"""All benchmarks, and on a GPU its tests, in about five minutes: `python benchmarks/everything.py results.json`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def run(name: str, *command: str) -> dict[str, Any]:
    """Run a command of Python, and return its status and the end of what it printed."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=HERE.parent)
    print(f"{name}: {'done' if done.returncode == 0 else 'failed'}", flush=True)
    return {"status": done.returncode, "output": (done.stdout + done.stderr)[-4000:]}


def main(output: Path) -> None:
    """Write all results so far after each part, so that an interruption loses one."""
    on_gpu = torch.cuda.is_available()
    results: dict[str, Any] = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if on_gpu else "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "training.json"
        batches = ("32", "512") if on_gpu else ("32",)
        parts = {
            "training": [str(HERE / "training.py"), "--batches", *batches, "--output", str(figures)],
            "refining": [str(HERE / "refine.py")],
            "tests": ["-m", "pytest", "-n", "0", "-q", "-k", "on_a_gpu", "tests"],
        }
        for name, command in parts.items():
            results[name] = run(name, *command)
            if name == "training" and figures.is_file():
                results[name]["rows"] = json.loads(figures.read_text(encoding="utf-8"))["rows"]
            output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
