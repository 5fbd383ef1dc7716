"""A run on small simulated images, started as a process of its own by `test_training.py`.

`python train_arrays.py '{"steps": 4, …}'` trains with these settings; `{"updates": 20, "save": FILE}` does that many
steps of Algorithm 1 without the run around it and saves the weights, one file a process.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from simgan import SimGANError
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.training import checkpoints
from simgan.training.config import TrainingConfig
from simgan.training.loop import Run
from simgan.training.step import Trainer, TrainingData, make_accelerator


def data() -> TrainingData:
    synthetic, real = eyes.render(range(64))[0], camera.render(range(64))[0]
    return TrainingData([synthetic[:48]], [real[:40]], [synthetic[48:]], [real[40:]])


def small(**settings: object) -> TrainingConfig:
    values = {"batch_size": 8, "discriminator_warm_up": 2, "history_size": 16, "trackers": (), "mixed_precision": "no"}
    for key, value in settings.items():
        values[key] = tuple(value) if isinstance(value, list) else value
    values["output"] = Path(str(values.get("output", "run")))
    return TrainingConfig(**values)  # type: ignore[arg-type]


def die(where: str) -> None:
    """Kill this process in the middle of writing the fourth step's checkpoint, before its rename, or in the best's."""

    def killed() -> None:
        os.kill(os.getpid(), 9)

    rename, replace, save = Path.rename, Path.replace, checkpoints.save_file

    def half(tensors: dict, file: Path) -> None:
        save(tensors, file)
        if "step-000004" in str(file):
            file.write_bytes(file.read_bytes()[:5000])
            killed()

    def renamed(file: Path, target: Path) -> Path:
        return killed() if file.name == ".step-000004" else rename(file, target)

    def replaced(file: Path, target: Path) -> Path:
        replace(file, target)
        return killed() if file.parent.name == checkpoints.BEST else target

    if where == "checkpoint":
        checkpoints.save_file = half
    elif where == "rename":
        Path.rename = renamed
    elif where == "best":
        Path.replace = replaced


def main(settings: dict) -> None:
    torch.set_num_threads(1)
    updates, save = settings.pop("updates", 0), settings.pop("save", None)
    config = small(**settings)
    if updates:
        torch.set_default_dtype(torch.float64)  # sums in another order then differ by nothing that Adam could blow up
        accelerator = make_accelerator(config)
        trainer = Trainer(config, data(), accelerator)
        for _ in range(updates):
            trainer.update_refiner()
            trainer.update_discriminator()
            trainer.counters.step += 1
        weights = {
            f"r/{k}": v.clone().contiguous() for k, v in accelerator.unwrap_model(trainer.refiner).state_dict().items()
        }
        weights |= {
            f"d/{k}": v.clone().contiguous()
            for k, v in accelerator.unwrap_model(trainer.discriminator).state_dict().items()
        }
        assert trainer.history is not None
        weights["history"] = torch.from_numpy(trainer.history.state().astype(np.int16))
        weights["processes"] = torch.tensor(accelerator.num_processes)
        save_file(weights, f"{save}-{accelerator.process_index}.safetensors")
        trainer.end()
        threads = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
        assert not any("gloo" in name for name in threads), "the process group outlives its end"
        return
    die(os.environ.get("DIE_IN", ""))
    run = Run(config, data())
    print("ready", flush=True)
    for _ in run.refiner_warm_up():
        run.trainer.update_refiner(adversarial=False)
    for _ in run.discriminator_warm_up():
        run.trainer.update_discriminator()
    for step in run.steps():
        for _ in range(config.refiner_updates):
            run.trainer.update_refiner()
        for _ in range(config.discriminator_updates):
            run.trainer.update_discriminator()
        if os.environ.get("DIE_AT") == str(step):
            os.kill(os.getpid(), 9)
    run.finish()


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except SimGANError as error:
        sys.exit(f"error: {error}")
