"""Models that a visitor names: from the Hub, small, safetensors, public; never from this machine."""

import json
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from browser import wait_until
from huggingface_hub import HfApi
from PIL import Image

from simgan import Discriminator, DiscriminatorConfig, ImageError, ModelError, Refiner
from simgan.simulators.eyes import renders as eyes
from simgan.space import models as demo_models
from simgan.space import uploads
from simgan.space.events import MODEL_QUEUE
from simgan.space.models import Models
from simgan.space.refined import refine_uploads

NAME = "org/simgan-eyes"


@pytest.fixture(scope="module")
def models():
    return Models()


@pytest.fixture
def push(hub, tmp_path):
    """Put files into the repository: both networks of `eyes`, and what `change` does to their folder."""

    def put(change=lambda folder: None, *, private=False):
        for kind in (Refiner, Discriminator):
            kind.from_pretrained("eyes").save_pretrained(tmp_path / "model")
        change(tmp_path / "model")
        api = HfApi(token="hf_anna")
        api.create_repo(NAME, private=private)
        api.upload_folder(repo_id=NAME, folder_path=tmp_path / "model")

    return put


def refused(sentence, name=NAME):
    with pytest.raises(ModelError) as raised:
        Models().get(name)
    assert sentence in str(raised.value)
    assert "/tmp" not in str(raised.value)


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_public_model_comes_with_both_networks_is_fetched_once_and_leaves_no_files(hub, push, tmp_path, monkeypatch):
    push()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    models = Models()
    model = models.get(NAME)
    image = eyes.render([0])[0][0]
    assert (model.refiner.refine(image) == models.get("eyes").refiner.refine(image)).all()
    assert model.discriminator is not None
    assert not list((tmp_path / "temporary").iterdir())
    hub.requests.clear()
    assert models.get(NAME) is model
    assert not hub.requests


def test_a_model_may_lack_a_discriminator(push):
    import shutil

    push(lambda folder: shutil.rmtree(folder / "discriminator"))
    assert Models().get(NAME).discriminator is None


def test_only_the_four_files_of_a_model_are_downloaded(hub, push):
    push(lambda folder: (folder / "extra.bin").write_bytes(b"anything"))
    hub.requests.clear()
    Models().get(NAME)
    fetched = {path.split("/")[-1] for _, path in hub.requests if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors"}


def test_a_folder_of_that_name_here_is_not_looked_at(hub, tmp_path, monkeypatch):
    Refiner.from_pretrained("eyes").save_pretrained(tmp_path / NAME)
    monkeypatch.chdir(tmp_path)
    refused("There is no public model org/simgan-eyes on the Hub")


def test_the_spaces_own_token_opens_no_private_model(push, monkeypatch):
    push(private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    refused("There is no public model org/simgan-eyes on the Hub")


def test_pickles_are_not_loaded(push):
    push(lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"))
    refused("org/simgan-eyes holds no model.safetensors, so it is no model of simgan (pickles are never loaded)")


def test_what_is_too_large_is_refused_before_it_is_downloaded(hub, push, monkeypatch):
    push()
    monkeypatch.setattr(demo_models, "TOTAL_BYTES", 100_000)
    hub.requests.clear()
    refused("at most 0 are loaded here")
    assert not [path for _, path in hub.requests if "/resolve/" in path]


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"width": 10**9}),
        ("config.json", {"blocks": 10**9}),
        ("config.json", {"kernel_size": "3"}),
        ("config.json", {"kernel_size": 10_001}),
        ("discriminator/config.json", {"channels": 10**9}),
        ("discriminator/config.json", {"layers": [["conv", 3, 1, 2]] * 100}),
        ("discriminator/config.json", {"layers": [["conv", 3, 1, 10**7], ["conv", 1, 1, 2]]}),
        ("discriminator/config.json", {"layers": [["conv"]]}),
        ("discriminator/config.json", {"layers": [["conv", 3, 1, 8]] * 2 + [["conv", 1, 1, 2]], "whole": 30_000}),
        ("config.json", {"width": True}),
        ("config.json", {"triangulation": {"steps": 1}}),
    ],
)
def test_a_small_file_cannot_ask_for_a_huge_or_broken_network(push, file, changes):
    push(lambda folder: edit(folder / file, **changes))
    refused("org/simgan-eyes describes networks that are broken or too large to be loaded here")


def test_a_config_of_another_kind_is_told(push):
    push(lambda folder: edit(folder / "config.json", model_type="bert"))
    refused("is not of a simgan refiner")


def test_a_slow_hub_holds_nobody_up_and_its_model_comes_later(hub, push, models, monkeypatch):
    push()
    monkeypatch.setattr(demo_models, "PATIENCE", 0.2)
    hub.fail("*/resolve/*/model.safetensors", delay=1.5, times=1)
    with pytest.raises(ModelError, match="still being fetched"):
        models.get(NAME)
    assert np.isfinite(models.get("eyes").refiner.refine(eyes.render([0])[0][0])).all()
    monkeypatch.setattr(demo_models, "PATIENCE", 60)
    start = time.monotonic()
    assert models.get(NAME).name == NAME
    assert time.monotonic() - start < 60


def test_a_hub_that_fails_is_a_sentence_and_is_asked_again_the_next_time(hub, push):
    push()
    models = Models()
    hub.fail("/api/models/*", status=500)
    with pytest.raises(ModelError, match="could not be fetched from the Hub"):
        models.get(NAME)
    hub.faults.clear()
    assert models.get(NAME).name == NAME


def test_feature_maps_are_bounded_by_the_size_of_an_image_before_anything_is_computed(push):
    """100,000 maps of 1×1 kernels are 1 MB of weights, and 400 GB of maps for a megapixel."""
    wide = [["conv", 1, 1, 100_000], ["conv", 1, 1, 2]]

    def change(folder):
        Discriminator(DiscriminatorConfig(layers=wide)).save_pretrained(folder)

    push(change)
    model = Models().get(NAME)
    model.check_work([1000])
    with pytest.raises(ImageError, match=r"needs \d+\.\d GB for an image of 1,000,000 pixels, and 2 are free"):
        model.check_work([1_000_000])
    assert model.memory_of(1_000_000) > 400e9


@pytest.mark.parametrize("name", ["eyes", "eyes-simulated"])
def test_the_bound_on_feature_maps_holds_what_networks_allocate(models, name):
    """Counted by PyTorch, for an image of 300 × 200 pixels."""
    model, pixels = models.get(name), 300 * 200
    with (
        torch.inference_mode(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile,
    ):
        x = torch.zeros(1, 1, 200, 300)
        model.refiner(x)
        model.discriminator(x)
    allocated = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            allocated += event.nbytes()
            peak = max(peak, allocated)
    assert 0 < peak < 1.3 * model.memory_of(pixels) < 10 * peak


def test_images_of_an_event_are_bounded_together(models):
    with pytest.raises(ImageError, match="pixels at once here, not 40,000,000: use fewer"):
        models.get("eyes").check_work([4_000_000] * 10)


def test_a_hub_that_is_not_reached_is_a_sentence(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="could not be fetched from the Hub: try later"):
        Models().get(NAME)


def test_a_download_has_a_time_limit(hub, push, monkeypatch, tmp_path):
    push()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(demo_models, "SECONDS", 3)
    hub.fail("*/resolve/*/model.safetensors", delay=60, times=5)
    begin = time.monotonic()
    with pytest.raises(ModelError, match="took more than 3 seconds to fetch"):
        Models().get(NAME)
    assert time.monotonic() - begin < 20
    assert not list(tmp_path.glob("tmp*/models*"))


def test_few_visitors_wait_for_models_of_the_hub_so_that_others_find_places(monkeypatch):
    models = Models()
    coming = Future()
    monkeypatch.setitem(models._fetched, NAME, coming)
    told = []

    def wait():
        with pytest.raises(ModelError) as raised:
            models.get(NAME)
        told.append(str(raised.value))

    waiting = [threading.Thread(target=wait) for _ in range(demo_models.WAITING)]
    monkeypatch.setattr(demo_models, "PATIENCE", 60)
    for thread in waiting:
        thread.start()
    while models._waiting._value:
        assert all(thread.is_alive() for thread in waiting)
    begin = time.monotonic()
    with pytest.raises(ModelError, match="still being fetched"):
        models.get(NAME)
    assert time.monotonic() - begin < 30
    coming.set_exception(ModelError("there is none"))
    for thread in waiting:
        thread.join(30)
    assert told == ["there is none"] * demo_models.WAITING


def test_what_goes_wrong_on_this_machine_is_a_sentence_too(push, monkeypatch):
    push()
    monkeypatch.setattr(demo_models, "_load", lambda *_: [][0])
    with pytest.raises(ModelError, match="could not be loaded here: try later"):
        Models.get(_without_loading(monkeypatch), NAME)


def _without_loading(monkeypatch):
    monkeypatch.setattr(demo_models, "SHIPPED", type("None", (), {"iterdir": lambda: ()}))
    return Models()


def test_neither_a_slow_file_nor_a_slow_hub_keeps_others_from_the_model(tmp_path, monkeypatch):
    """Visitors who wait for a file or for the Hub hold neither the model nor all places of its queue."""
    models = Models()
    slow, fast = (str(tmp_path / name) for name in ("slow.png", "fast.png"))
    for path in (slow, fast):
        Image.fromarray(eyes.render([0])[0][0]).save(path)
    begun, go_on = threading.Event(), threading.Event()
    read = uploads.Worker.call

    def call(worker, function, named, seconds):
        if named[0][1] == "slow.png":
            begun.set()
            assert go_on.wait(60)
        return read(worker, function, named, seconds)

    monkeypatch.setattr(uploads.Worker, "call", call)
    waiting = [threading.Thread(target=refine_uploads, args=(models.get("eyes"), [slow], 1.0))]
    monkeypatch.setitem(models._fetched, "org/slow", Future())
    monkeypatch.setattr(demo_models, "PATIENCE", 60)
    waiting += [threading.Thread(target=models.get, args=("org/slow",)) for _ in range(demo_models.WAITING)]
    for thread in waiting:
        thread.start()
    assert begun.wait(60)
    assert len(waiting) < MODEL_QUEUE["concurrency_limit"]
    (refined,) = refine_uploads(models.get("eyes"), [fast], 1.0).refined
    assert (refined.before != refined.after).any()
    assert all(thread.is_alive() for thread in waiting)
    go_on.set()
    models._fetched["org/slow"].set_result(models.get("eyes"))
    for thread in waiting:
        thread.join(60)
        assert not thread.is_alive()


def test_few_models_of_the_hub_are_kept_and_those_that_failed_take_no_place(monkeypatch):
    models = Models()

    def fetch(name):
        if "bad" in name:
            raise ModelError("bad")
        return name

    monkeypatch.setattr(demo_models, "_fetch", fetch)
    for number in range(6):
        assert models.get(f"org/{number}") == f"org/{number}"
        with pytest.raises(ModelError, match="bad"):
            models.get(f"org/bad{number}")
    assert wait_until(lambda: list(models._fetched) == [f"org/{number}" for number in range(2, 6)])
