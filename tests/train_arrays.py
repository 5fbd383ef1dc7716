"""A run on small simulated images, in one or several processes of its own.

`start({"steps": 4, …})` trains with these settings; `{"updates": 20, "save": FILE}` does that many steps of Algorithm 1
without the run around it and saves the weights, one file a process. With `"sources": true` the images come from the
simulators, which only the main process may call. Environment: `STOP_AT` a step sends SIGTERM to the last process alone,
`DIE_AT` kills, `ELSEWHERE` is the output of all processes but the first.
"""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import save_file

from simgan import SimGANError, Stopped
from simgan.preparation.photometry import Photometry
from simgan.simulators import SIMULATORS
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.training import checkpoints, held_out, loop
from simgan.training.config import TrainingConfig
from simgan.training.data import TrainingData
from simgan.training.loop import Run
from simgan.training.processes import make_accelerator
from simgan.training.sources import load
from simgan.training.step import Trainer

HERE = Path(__file__).parent
FORKS: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
if sys.platform != "win32":
    FORKS.set_forkserver_preload(["train_arrays"])  # so that processes begin with PyTorch imported

held_out.MEASURED = 48  # for speed
loop.LOG_EVERY = 3  # so that several processes stop within a short run


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
        os.kill(os.getpid(), signal.SIGKILL)

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


gradients: dict[torch.nn.Module, dict[str, torch.Tensor]] = {}


def step_and_keep_gradients(network: torch.nn.Module, step: Callable[[], None]) -> None:
    gradients[network] = {f"gradient/{k}": p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
    step()


def forbid_rendering_and_learning() -> None:
    def forbidden(*arguments: object, **settings: object) -> None:
        raise AssertionError("only the main process renders and learns closed forms")

    camera.render = eyes.render = Photometry.learn = forbidden
    for simulator in SIMULATORS.values():
        type(simulator).render = forbidden


def main(settings: dict) -> None:
    torch.set_num_threads(1)
    rank, last = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)) - 1
    updates, save, sources = (settings.pop(name, None) for name in ("updates", "save", "sources"))
    if settings.pop("float64", updates):  # sums in another order then differ by nothing that Adam could blow up
        torch.set_default_dtype(torch.float64)
    if rank and "ELSEWHERE" in os.environ:
        settings["output"] = os.environ["ELSEWHERE"]
    config = small(**settings)
    if updates:
        accelerator = make_accelerator(config)
        trainer = Trainer(config, data(), accelerator)
        networks = {"r": trainer.refiner, "d": trainer.discriminator}
        for name, optimizer in (("r", trainer.refiner_optimizer), ("d", trainer.discriminator_optimizer)):
            optimizer.step = partial(step_and_keep_gradients, networks[name], optimizer.step)
        for _ in range(updates):
            trainer.update_refiner()
            trainer.update_discriminator()
            trainer.counters.step += 1
        weights = {
            f"{name}/{key}": value.clone().contiguous()
            for name, network in networks.items()
            for key, value in (*network.state_dict().items(), *gradients[network].items())
        }
        assert trainer.history is not None
        weights["history"] = trainer.history.state(trainer.counters.discriminator_updates).to(torch.int16)
        weights["processes"] = torch.tensor(accelerator.num_processes)
        save_file(weights, f"{save}-{accelerator.process_index}.safetensors")
        trainer.end()
        threads = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
        assert not any("gloo" in name for name in threads), "the process group outlives its end"
        return
    die(os.environ.get("DIE_IN", ""))
    if rank and sources:
        forbid_rendering_and_learning()
    with Run(config, load(config) if sources else data()) as run:
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
                os.kill(os.getpid(), signal.SIGKILL)
            if os.environ.get("STOP_AT") == str(step) and rank == last:
                os.kill(os.getpid(), signal.SIGTERM)
        run.finish()


def begin(settings: str, environment: dict[str, str], log: str) -> None:
    """Train in a fork, with what is printed in two files."""
    os.environ.update(environment)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT), number)
    try:
        main(json.loads(settings))
    except Stopped as error:
        print(error)
    except SimGANError as error:
        sys.exit(f"error: {error}")


def start(settings: dict, processes: int = 1, **environment: str) -> tuple[list[Any], Path]:
    """Start processes that share a run; return them and the folder of what they print."""
    logs = Path(tempfile.mkdtemp())
    own = {"ACCELERATE_USE_CPU": "true", **environment}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = []
    # Where the server of forks finds this module, when the first one starts it.
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (HERE.parent, HERE)))):
        for rank in map(str, range(processes)):
            place = shared | {"RANK": rank, "LOCAL_RANK": rank} if processes > 1 else {}
            given = json.dumps(settings, default=str), own | place, str(logs / rank)
            started.append(FORKS.Process(target=begin, args=given))
            started[-1].start()
    return started, logs


def finish(run: tuple[list[Any], Path], code: int = 0) -> tuple[str, str]:
    """Wait for processes that all exit with that status; return what they printed, and their errors."""
    started, logs = run
    for process in started:
        process.join(600)
        process.kill()  # one that hangs
    out, err = ("".join(file.read_text() for file in sorted(logs.glob(f"*.{name}"))) for name in ("out", "err"))
    shutil.rmtree(logs)
    assert [process.exitcode for process in started] == [code] * len(started), err[-3000:]
    return out, err
