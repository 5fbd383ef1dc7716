"""`simgan refine --ray`: the same files as on one machine, whatever dies."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from simgan import ConfigError, Refiner
from simgan.refining.files import refine_path
from simgan.simulators.eyes import renders as eyes

pytest.importorskip("ray")


def contents(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*.*") if path.name[0] != "."}


@pytest.fixture(scope="module")
def cluster():
    """Three machines of one core each, on this one."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster, nodes
    cluster.shutdown()


def test_a_machine_that_is_killed_loses_and_doubles_nothing(cluster, tmp_path):
    cluster, nodes = cluster
    rng = np.random.default_rng(0)
    place = tmp_path / "in"
    for number in range(24):
        folder = tmp_path / f"{number:02}"
        folder.mkdir()
        for k in range(40):
            Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(folder / f"{k}.png")
        place.mkdir(exist_ok=True)
        subprocess.run(["tar", "-cf", place / f"{number:02}.tar", "-C", folder, "."], check=True)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "simgan", "refine", place, out, "--ray", cluster.address, "--device", "cpu"]
    run = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 180
    while len(list(out.glob("*.tar"))) < 4 and run.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert 4 <= len(list(out.glob("*.tar"))) < 24
    os.kill(nodes[0].all_processes["raylet"][0].process.pid, signal.SIGKILL)
    said, _ = run.communicate(timeout=180)
    assert run.returncode == 0 and "archives" not in said
    refine_path(Refiner.from_pretrained("eyes"), place, tmp_path / "alone")
    assert contents(out).keys() == contents(tmp_path / "alone").keys()
    for path in out.glob("*.tar"):
        for where in (out, tmp_path / "alone"):
            (where / path.stem).mkdir()
            subprocess.run(["tar", "-xf", where / path.name, "-C", where / path.stem], check=True)
        assert contents(out / path.stem) == contents(tmp_path / "alone" / path.stem)


def test_images_of_a_folder_are_refined_on_a_cluster(cluster, tmp_path):
    for number, image in enumerate(eyes.render(range(40))[0]):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / f"{number:02}.png")
    (tmp_path / "in" / "39.png").write_bytes(b"no image")
    refiner = Refiner.from_pretrained("eyes")
    done = [
        refine_path(refiner, tmp_path / "in", tmp_path / f"out{k}", skip_bad=True, ray=address)
        for k, address in enumerate((None, cluster[0].address))
    ]
    assert done[0] == done[1] and done[1].broken
    assert contents(tmp_path / "out0") == contents(tmp_path / "out1")


def test_a_cluster_that_is_not_there_is_told(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(
        ConfigError, match=r"there is no Ray cluster at 127\.0\.0\.1:1 .*: give its address, auto, or local"
    ):
        refine_path(Refiner.from_pretrained("eyes"), tmp_path / "in", tmp_path / "out", ray="127.0.0.1:1")
    with pytest.raises(ConfigError, match="workers are processes of this machine: leave them out"):
        refine_path(Refiner.from_pretrained("eyes"), tmp_path / "in", tmp_path / "out", ray="local", workers=2)
