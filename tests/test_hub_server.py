"""The test Hub keeps the real clients' promises; the other Hub tests stand on this."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, HfFileSystem, ModelCard, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError


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


def test_what_was_uploaded_once_is_not_sent_again(hub, api, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(bytes(20_000))
    for name in ("org/one", "org/two"):
        api.create_repo(name)
        api.upload_folder(repo_id=name, folder_path=tmp_path)
    assert len([path for method, path in hub.requests if method == "PUT"]) == 1
    before = api.model_info("org/one").sha
    api.upload_folder(repo_id="org/one", folder_path=tmp_path)
    assert api.model_info("org/one").sha == before


def test_the_history_has_branches_tags_and_all_commits(api):
    api.create_repo("org/model")
    first = api.upload_file(repo_id="org/model", path_or_fileobj=b"1", path_in_repo="a/b/c.txt", commit_message="one")
    api.create_branch("org/model", branch="x/y", revision=first.oid)
    api.create_tag("org/model", tag="v1", revision="x/y")
    api.delete_file("a/b/c.txt", "org/model", revision="x/y", commit_message="two")
    refs = api.list_repo_refs("org/model")
    assert [ref.name for ref in refs.branches] == ["main", "x/y"]
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", first.oid)]
    titles = [commit.title for commit in api.list_repo_commits("org/model", revision="x/y")]
    assert titles == ["two", "one", "initial commit"]
    assert api.list_repo_files("org/model", revision="x/y") == [".gitattributes"]
    assert api.list_repo_files("org/model", revision="v1") == [".gitattributes", "a/b/c.txt"]
    tree = api.list_repo_tree("org/model", "a", recursive=True, expand=True)
    assert [(entry.path, entry.last_commit.title) for entry in tree] == [("a/b", "one"), ("a/b/c.txt", "one")]
    api.delete_branch("org/model", branch="x/y")
    with pytest.raises(RevisionNotFoundError):
        api.list_repo_files("org/model", revision="x/y")
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        start = api.list_repo_commits("org/model")[-1].commit_id
        api.upload_file(repo_id="org/model", path_or_fileobj=b"2", path_in_repo="d", parent_commit=start)


def test_only_a_token_that_may_write_writes(hub, api):
    hub.add_user("anna", token="hf_reader", organizations=("org",), write=False)
    assert (api.whoami()["name"], [org["name"] for org in api.whoami()["orgs"]]) == ("anna", ["org"])
    api.create_repo("org/secret", private=True)
    assert [model.id for model in api.list_models(author="org")] == ["org/secret"]
    assert list(HfApi(token="hf_bob").list_models(author="org")) == []
    assert HfApi(token="hf_reader").file_exists("org/secret", ".gitattributes")
    for token, status in (("hf_reader", 403), ("hf_bob", 403), ("hf_expired", 401)):
        with pytest.raises(HfHubHTTPError) as caught:
            HfApi(token=token).create_repo("org/other")
        assert caught.value.response.status_code == status
        with pytest.raises(HfHubHTTPError):
            HfApi(token=token).upload_file(repo_id="org/secret", path_or_fileobj=b"", path_in_repo="a")
    api.delete_repo("org/secret")
    assert not api.repo_exists("org/secret")


def test_a_part_of_a_file_is_sent_when_only_a_part_is_asked_for(api):
    api.create_repo("org/model")
    data = bytes(range(256)) * 40
    api.upload_file(repo_id="org/model", path_or_fileobj=data, path_in_repo="w.bin")
    assert HfFileSystem(token="hf_anna").read_block("org/model/w.bin", 1000, 50) == data[1000:1050]


def test_a_card_with_wrong_metadata_is_refused(api):
    api.create_repo("org/model")
    ModelCard("---\nlicense: mit\ntags: [a]\n---\n# x\n").validate()
    for wrong in ("license: [mit]", "tags: 3", "a: [", "model-index: [{name: x}]"):
        with pytest.raises(ValueError, match=r"Invalid metadata in README.md"):
            api.upload_file(
                repo_id="org/model", path_or_fileobj=f"---\n{wrong}\n---\n".encode(), path_in_repo="README.md"
            )
    assert not api.file_exists("org/model", "README.md")
