"""Models come back from the Hub bit for bit, or a sentence says why not. A real client against a real server."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from huggingface_hub import HfApi
from loopback_hub import LoopbackHub, url_of

from simgan import Discriminator, ModelError, Refiner

NAME = "org/simgan-eyes"


def save(folder):
    networks = {kind: kind.from_preset("eyes") for kind in (Refiner, Discriminator)}
    for network in networks.values():
        network.save_pretrained(folder)
    return networks


@pytest.fixture
def api(hub):
    return HfApi(token="hf_anna")


@pytest.fixture
def pushed(api, tmp_path):
    """Both networks as they were pushed to the repository `NAME`."""
    networks = save(tmp_path / "pushed")
    push(api, tmp_path / "pushed")
    return networks


def push(api, folder, **how):
    api.create_repo(NAME, exist_ok=True)
    return api.upload_folder(repo_id=NAME, folder_path=folder, **how)


def same(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return a.config == b.config and ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def refused(sentence, name=NAME, kind=Refiner, **how):
    with pytest.raises(ModelError) as caught:
        kind.from_pretrained(name, **how)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Refiner, Discriminator])
def test_both_networks_come_back_bit_for_bit_from_the_same_name(pushed, kind):
    assert same(kind.from_pretrained(NAME), pushed[kind])


def test_every_kind_of_revision_can_be_named(api, pushed, tmp_path):
    api.create_tag(NAME, tag="v1")
    first = api.model_info(NAME).sha
    newer, proposed = save(tmp_path / "newer")[Refiner], save(tmp_path / "proposed")[Refiner]
    push(api, tmp_path / "newer")
    proposal = push(api, tmp_path / "proposed", create_pr=True).pr_revision
    expected = {None: newer, "main": newer, "v1": pushed[Refiner], first: pushed[Refiner], proposal: proposed}
    assert proposal == "refs/pr/1"
    for revision, network in expected.items():
        assert same(Refiner.from_pretrained(NAME, revision=revision), network), revision


def test_both_files_are_of_one_commit_though_another_one_lands_in_between(hub, api, pushed, tmp_path):
    wider = dataclasses.replace(pushed[Refiner].config, width=48)
    Refiner(wider).save_pretrained(tmp_path / "wider")
    slow = hub.fail("*/resolve/*/model.safetensors", times=1, delay=2.0)
    hub.requests.clear()
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(Refiner.from_pretrained, NAME)
        while not slow.hits:
            time.sleep(0.01)
        push(api, tmp_path / "wider")
        assert same(loading.result(), pushed[Refiner])
    paths = [path for _, path in hub.requests]
    commit = paths.index(f"/api/models/{NAME}/commit/main")
    assert any(path.endswith("/model.safetensors") for path in paths[commit:])  # so the weights came after it
    assert Refiner.from_pretrained(NAME).config == wider


def test_what_was_loaded_once_costs_one_question_and_no_download(hub, pushed):
    Refiner.from_pretrained(NAME)
    hub.requests.clear()
    Refiner.from_pretrained(NAME)
    assert hub.requests == [("GET", f"/api/models/{NAME}/revision/main")]


def test_the_cache_is_used_when_told_so_and_when_the_hub_is_ill(hub, pushed, tmp_path):
    refused("is not in the cache: check the name and the network, or load it once without", local_files_only=True)
    Refiner.from_pretrained(NAME, cache_dir=tmp_path / "cache")
    hub.requests.clear()
    cached = Refiner.from_pretrained(NAME, cache_dir=tmp_path / "cache", local_files_only=True)
    assert same(cached, pushed[Refiner])
    elsewhere = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    refused("its discriminator is not in the cache", kind=Discriminator, **elsewhere)
    assert hub.requests == []
    hub.fail("*", status=503)
    assert same(Refiner.from_pretrained(NAME, cache_dir=tmp_path / "cache"), pushed[Refiner])
    refused(f"cannot load the refiner: the Hub answered 503 for {NAME}")


def test_without_a_network_the_cache_is_used_and_what_is_not_there_is_said(pushed):
    Refiner.from_pretrained(NAME)
    code = """
from simgan import Discriminator, ModelError, Refiner
print(Refiner.from_pretrained("org/simgan-eyes").config.domain)
for kind, name in ((Discriminator, "org/simgan-eyes"), (Refiner, "org/never-seen")):
    try:
        kind.from_pretrained(name)
    except ModelError as error:
        print(error)
"""
    command = [sys.executable, "-c", code]
    with LoopbackHub.bind() as dead:
        settings = [{"HF_ENDPOINT": url_of(dead)}, {"HF_HUB_OFFLINE": "1"}]
        started = [
            subprocess.Popen(command, env={**os.environ, **setting}, stdout=subprocess.PIPE, text=True)
            for setting in settings
        ]
        unreachable, offline = (process.communicate(timeout=300)[0].splitlines() for process in started)
    remedy = "check the name and the network, or load it once without local_files_only and HF_HUB_OFFLINE"
    for answer in (unreachable, offline):
        assert answer == [
            "eyes",
            *(
                f"cannot load the {kind}: {name} is no folder here, and its {kind} is not in the cache: {remedy}"
                for kind, name in (("discriminator", "org/simgan-eyes"), ("refiner", "org/never-seen"))
            ),
        ]


def test_a_repository_that_is_not_there_or_not_for_all_is_refused(api, pushed):
    missing = "no repository org/noses on the Hub, or it is private: check the name, or log in"
    refused(missing, "org/noses")
    refused(missing, "org/noses", token="hf_anna")
    api.update_repo_settings(NAME, private=True)
    private = f"no repository {NAME} on the Hub, or it is private"
    for token in (None, False, "hf_bob"):
        refused(private, token=token)
    refused("the Hub took no token for org/simgan-eyes (401: none, wrong or expired): log in", token="hf_expired")
    assert same(Refiner.from_pretrained(NAME, token="hf_anna"), pushed[Refiner])
    refused("'org/no such name' is not the id of a repository: give org/name", "org/no such name")


def test_a_private_model_loads_for_who_is_logged_in(api, pushed, monkeypatch, tmp_path):
    api.update_repo_settings(NAME, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    assert same(Refiner.from_pretrained(NAME), pushed[Refiner])
    refused("or it is private", token=False, cache_dir=tmp_path / "nothing cached")


def test_a_gated_model_loads_for_who_has_access(api, pushed):
    api.update_repo_settings(NAME, gated="manual")
    for token in (None, "hf_bob"):
        refused(f"{NAME} is gated: ask for access on its page", token=token)
    api.grant_access(NAME, "bob")
    assert same(Refiner.from_pretrained(NAME, token="hf_bob"), pushed[Refiner])


def test_a_revision_that_is_not_there_is_refused(pushed):
    for revision in ("v9", "0" * 40, "refs/pr/7"):
        refused(f"{NAME} has no such revision: give a branch, tag or commit", revision=revision)


def pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def empty(folder):
    for file in ("config.json", "model.safetensors"):
        (folder / file).unlink()


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def half_the_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def another_library(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')


def a_newer_simgan(folder):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "attention": 4}))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (pickle_only, "org/simgan-eyes holds only a pickle (pytorch_model.bin), which can run code: convert it to"),
        (empty, "org/simgan-eyes holds no config.json of a simgan refiner"),
        (no_weights, "org/simgan-eyes holds no model.safetensors of a simgan refiner"),
        (half_the_weights, "org/simgan-eyes/model.safetensors is not a whole safetensors file"),
        (another_library, "org/simgan-eyes/config.json is not of a simgan refiner: its model_type is 'bert'"),
        (a_newer_simgan, "has unknown keys attention: made by a newer simgan? Update simgan"),
    ],
)
def test_what_is_no_simgan_model_is_refused_and_named(api, tmp_path, damage, sentence):
    save(tmp_path)
    damage(tmp_path)
    push(api, tmp_path)
    refused(sentence)


def test_a_refiner_without_a_discriminator_says_so(api, tmp_path):
    Refiner.from_preset("eyes").save_pretrained(tmp_path)
    push(api, tmp_path)
    Refiner.from_pretrained(NAME)
    refused("org/simgan-eyes/discriminator holds no config.json of a simgan discriminator", kind=Discriminator)


def weights_in(cache):
    """What was kept of files as large as weights, whole or not."""
    return [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 10_000]


def test_a_download_that_is_cut_is_taken_up_again(hub, pushed, tmp_path):
    cut = hub.fail("*/resolve/*/model.safetensors", method="GET", times=1, cut_after=20_000)
    assert same(Refiner.from_pretrained(NAME, cache_dir=tmp_path / "cache"), pushed[Refiner])
    assert cut.hits == 1


def test_a_download_that_stays_cut_is_refused_and_leaves_nothing_broken(hub, pushed, tmp_path):
    cut = hub.fail("*/resolve/*/model.safetensors", method="GET", times=1, cut_after=20_000)
    gone = hub.fail("*/resolve/*/model.safetensors", method="GET", status=500)
    refused("cannot load the refiner: the Hub answered 500 for org/simgan-eyes", cache_dir=tmp_path / "c")
    assert (cut.hits, gone.hits) == (1, 1)
    assert weights_in(tmp_path / "c") == []
    hub.faults.clear()
    assert same(Refiner.from_pretrained(NAME, cache_dir=tmp_path / "c"), pushed[Refiner])


def test_an_answer_that_breaks_off_is_refused_in_a_sentence(hub, pushed):
    hub.fail(f"/api/models/{NAME}/revision/main", times=1, cut_after=100)
    refused("peer closed connection")
    assert same(Refiner.from_pretrained(NAME), pushed[Refiner])


def test_weights_that_broke_in_the_cache_are_named_and_deleting_them_helps(pushed, tmp_path):
    Refiner.from_pretrained(NAME, cache_dir=tmp_path / "cache")
    (blob,) = (tmp_path / "cache").rglob("blobs/" + "?" * 64)
    blob.write_bytes(blob.read_bytes()[:-1])
    refused(f"delete {blob} and fetch it again", cache_dir=tmp_path / "cache")
    blob.unlink()
    assert same(Refiner.from_pretrained(NAME, cache_dir=tmp_path / "cache"), pushed[Refiner])
