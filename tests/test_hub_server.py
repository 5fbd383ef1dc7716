"""The test Hub keeps the real clients' promises; the other Hub tests stand on this."""

from pathlib import Path

import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError


@pytest.fixture
def api(hub):
    return HfApi(token="hf_anna")


@pytest.mark.parametrize("type", ["model", "dataset", "space"])
def test_a_folder_comes_back_bit_for_bit_from_every_type_of_repository(hub, api, type, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    files = {"README.md": b"---\nsdk: gradio\n---\n# x\n", "weights.safetensors": bytes(range(256)) * 4000}
    files["sub/a \u00e4+#.txt"] = b""  # a name that has to be quoted, an empty file
    for name, data in files.items():
        (source / name).write_bytes(data)
    api.create_repo("org/thing", repo_type=type, space_sdk="gradio" if type == "space" else None)
    api.upload_folder(repo_id="org/thing", repo_type=type, folder_path=source)
    back = snapshot_download("org/thing", repo_type=type)
    assert api.list_repo_files("org/thing", repo_type=type) == sorted([".gitattributes", *files])
    for name, data in files.items():
        assert Path(back, name).read_bytes() == data


def test_what_one_may_not_see_is_refused_as_the_hub_refuses_it(hub, api):
    stranger, nobody = HfApi(token="hf_bob"), HfApi(token=False)
    api.create_repo("org/secret", private=True)
    api.create_repo("org/gated")
    api.update_repo_settings("org/gated", gated="manual")
    for other in (stranger, nobody):
        for name in ("org/secret", "org/nothing"):
            with pytest.raises(RepositoryNotFoundError):
                other.model_info(name)
        with pytest.raises(GatedRepoError):
            other.hf_hub_download("org/gated", ".gitattributes")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/gated", revision="never")
    api.grant_access("org/gated", "bob")
    stranger.hf_hub_download("org/gated", ".gitattributes")


def test_a_fault_takes_as_many_requests_as_it_was_told(hub, api, tmp_path):
    api.create_repo("org/model")
    api.upload_file(repo_id="org/model", path_or_fileobj=bytes(100_000), path_in_repo="w.safetensors")
    busy = hub.fail("*/resolve/*", method="GET", times=1, status=429, retry_after=0)
    cut = hub.fail("*/resolve/*", method="GET", times=1, cut_after=50_000)
    assert Path(api.hf_hub_download("org/model", "w.safetensors")).read_bytes() == bytes(100_000)
    assert (busy.hits, cut.hits) == (1, 1)
    assert hub.requests.count(("GET", "/org/model/resolve/main/w.safetensors")) == 3


def test_an_upload_that_is_cut_is_sent_again(hub, api):
    api.create_repo("org/model")
    cut = hub.fail("/lfs/*", method="PUT", times=1, cut_upload_after=10_000)
    api.upload_file(repo_id="org/model", path_or_fileobj=bytes(3_000_000), path_in_repo="w.safetensors")
    assert cut.hits == 1
    assert api.get_paths_info("org/model", "w.safetensors")[0].size == 3_000_000


def test_a_pull_request_is_a_revision_of_its_own(hub, api):
    api.create_repo("org/model")
    proposal = HfApi(token="hf_bob").upload_file(
        repo_id="org/model", path_or_fileobj=b"{}", path_in_repo="config.json", create_pr=True
    )
    assert proposal.pr_revision == "refs/pr/1"
    assert not api.file_exists("org/model", "config.json")
    assert api.file_exists("org/model", "config.json", revision="refs/pr/1")


def test_a_data_set_is_pushed_and_loaded(hub, api, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    made = Dataset.from_dict({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    made.push_to_hub("org/data", private=True)
    assert load_dataset("org/data", split="train").to_dict() == made.to_dict()
