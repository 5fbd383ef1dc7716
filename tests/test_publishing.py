"""Models on the Hub: one commit, nothing sent twice, every refusal a sentence, and no run lost or held up by a push."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, snapshot_download
from publishing_runs import HEADER, SECRET, make_run
from safetensors import safe_open

from simgan import Discriminator, PublishError, Refiner
from simgan.cli import main
from simgan.hub import uploading
from simgan.hub.cards.records import read_records
from simgan.hub.push import SHEETS, BackgroundPushes, gather, push_model

SCRIPT = Path(__file__).parents[1] / "train_accelerate.py"
STEPS = range(0, 40, 10)
PUSHED = {
    *(".gitattributes", "README.md", "config.json", "model.safetensors", "metrics.jsonl", "training.json"),
    *("discriminator/config.json", "discriminator/model.safetensors", "figures/curves.png"),
    *(f"samples/step-{step:06}.png" for step in STEPS),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(uploading, "WAITS", (0, 0, 0))
    monkeypatch.setenv("HF_TOKEN", "hf_anna")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def api(hub):
    return HfApi(token="hf_anna")


def commits(api, repo="org/model", **where):
    return len(api.list_repo_commits(repo, **where)) - 1  # without the one that makes the repository


def uploads(hub):
    return [path for method, path in hub.requests if method == "PUT" or "/commit/" in path]


def test_a_run_is_one_commit_that_loads_bit_for_bit_and_tells_no_path(run, hub, api):
    pushed = push_model(run, "org/model")
    assert pushed.changed
    assert pushed.url.startswith(f"{hub.url}/org/model/commit/")
    assert commits(api) == 1
    assert set(api.list_repo_files("org/model")) == PUSHED
    for kind in (Refiner, Discriminator):
        here, there = kind.from_pretrained(run), kind.from_pretrained("org/model")
        assert here.config == there.config
        assert all(torch.equal(value, there.state_dict()[key]) for key, value in here.state_dict().items())
    there = Path(snapshot_download("org/model"))
    with safe_open(there / "model.safetensors", "pt") as weights:
        assert weights.metadata() == HEADER | {"format": "pt"}
    for file in PUSHED:
        assert SECRET.encode() not in (there / file).read_bytes(), file
        assert str(run.parent).encode() not in (there / file).read_bytes(), file


def test_a_second_push_sends_nothing_and_a_copy_of_it_neither(run, hub, api, tmp_path):
    push_model(run, "org/model")
    snapshot_download("org/model", local_dir=tmp_path / "copy")
    hub.requests.clear()
    assert not push_model(run, "org/model").changed
    assert not push_model(tmp_path / "copy", "org/model").changed
    assert uploads(hub) == []


def test_private_revision_and_pull_request(run, hub, api):
    push_model(run, "org/model", private=True, revision="dev")
    assert api.model_info("org/model").private
    assert (commits(api), commits(api, revision="dev")) == (0, 1)
    assert Refiner.from_pretrained("org/model", revision="dev", token="hf_anna")
    proposed = push_model(run, "org/model", create_pr=True)
    assert proposed.url.endswith("/org/model/discussions/1")
    assert commits(api) == 0
    assert api.file_exists("org/model", "model.safetensors", revision="refs/pr/1")
    api.update_repo_settings("org/model", visibility="public")
    with pytest.raises(PublishError, match="org/model exists and is public"):
        push_model(run, "org/model", private=True)


def test_a_stranger_may_propose(run, hub, api):
    push_model("eyes", "org/model")
    assert push_model(run, "org/model", token="hf_bob", create_pr=True).url.endswith("/discussions/1")


@pytest.mark.parametrize(
    ("repo", "token", "sentence"),
    [
        ("org/model", "hf_expired", "took no token for org/model .*log in with `hf auth login`"),
        ("org/model", False, "took no token for org/model"),
        ("org/model", "hf_bob", "may not write to org/model .*--create-pr"),
        ("org/model", "hf_read", "may not write to org/model"),
        ("model", "hf_anna", "'model' is not the id of a repository: give org/name"),
        ("org/mo del", "hf_anna", "'org/mo del' is not the id of a repository: give org/name"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence_and_not_tried_again(run, hub, repo, token, sentence):
    hub.add_user("eve", token="hf_read", organizations=("org",), write=False)
    with pytest.raises(PublishError, match=sentence):
        push_model(run, repo, token=token)
    assert len([path for _, path in hub.requests if path == "/api/repos/create"]) <= 1
    assert uploads(hub) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "*/commit/*", "times": 2, "status": 503},
        {"path": "*/commit/*", "times": 1, "cut_upload_after": 1000},
        {"path": "*/commit/*", "times": 1, "cut_after": 0},  # it was done, but the answer is lost
        {"path": "/api/repos/create", "times": 1, "status": 500},
        {"path": "/api/models/org/model", "times": 1, "status": 502},
    ],
)
def test_what_may_pass_is_tried_again_and_is_one_commit_in_the_end(run, hub, api, fault):
    switched = hub.fail(**fault)
    push_model(run, "org/model")
    assert switched.hits == fault["times"]
    assert commits(api) == 1
    assert set(api.list_repo_files("org/model")) == PUSHED


def test_a_hub_that_stays_out_of_order_is_given_up(run, hub):
    fault = hub.fail("/api/repos/create", status=503)
    with pytest.raises(PublishError, match="the Hub answered 503 for org/model"):
        push_model(run, "org/model")
    assert fault.hits == 4


def test_a_card_on_the_hub_stays_until_it_is_to_be_replaced(run, hub, api, tmp_path, capsys):
    push_model(run, "org/model")
    mine = ModelCard.load("org/model").content.replace("## Limits", "## Limits, says Anna")
    api.upload_file(repo_id="org/model", path_in_repo="README.md", path_or_fileobj=mine.encode())
    later = make_run(tmp_path / "later", seed=7)
    ill = hub.fail("*/resolve/*/README.md", times=1, status=502)
    main(["push", str(later), "org/model"])
    assert ill.hits == 1
    assert "(the README.md there stays; pass --replace-card to replace it)" in capsys.readouterr().out
    assert ModelCard.load("org/model").content == mine
    main(["push", str(later), "org/model", "--replace-card"])
    assert "README.md" not in capsys.readouterr().out
    assert "| seed | 7 |" in ModelCard.load("org/model").text
    assert "says Anna" not in ModelCard.load("org/model").text


def test_sheets_that_a_run_has_no_more_go_unless_the_card_shows_them(run, hub, api, tmp_path):
    push_model(run, "org/model")
    mine = "---\nlicense: mit\n---\n\n![in between](samples/step-000000.png)"
    api.upload_file(repo_id="org/model", path_in_repo="README.md", path_or_fileobj=mine.encode())
    api.upload_file(repo_id="org/model", path_in_repo="notes.txt", path_or_fileobj=b"mine")
    other = make_run(tmp_path / "run")
    for step in (0, 10):
        (other / "samples" / f"step-{step:06}.png").unlink()
    assert push_model(other, "org/model").card_kept
    assert set(api.list_repo_files("org/model")) == PUSHED - {"samples/step-000010.png"} | {"notes.txt"}
    assert not push_model(other, "org/model", replace_card=True).card_kept
    assert "samples/step-000000.png" not in api.list_repo_files("org/model")


def test_of_many_sheets_some_are_pushed_first_last_and_the_model_s_own_among_them(tmp_path):
    run = make_run(tmp_path / "run")
    sheet = (run / "samples" / "step-000020.png").read_bytes()
    for step in range(0, 1000, 10):
        (run / "samples" / f"step-{step:06}.png").write_bytes(sheet)
    (tmp_path / "out").mkdir()
    gather(read_records(run), tmp_path / "out", "org/model")
    steps = [int(path.stem[5:]) for path in sorted((tmp_path / "out" / "samples").iterdir())]
    assert len(steps) <= SHEETS + 1
    assert {0, 20, 990} <= set(steps)


def test_networks_push_themselves_and_leave_the_card_alone(run, hub, api, tmp_path):
    refiner, discriminator = Refiner.from_pretrained(run), Discriminator.from_pretrained(run)
    first = refiner.push_to_hub("org/model", private=True, commit_message="The refiner")
    assert api.list_repo_commits("org/model")[0].title == "The refiner"
    assert first.changed
    discriminator.push_to_hub("org/model")
    assert Discriminator.from_pretrained("org/model").config == discriminator.config
    assert ModelCard.load("org/model").data.library_name == "simgan"
    push_model(run, "org/model")
    full = ModelCard.load("org/model").content
    assert not refiner.push_to_hub("org/model").changed  # the same bytes, header and all
    assert not discriminator.push_to_hub("org/model").changed
    Refiner.from_preset("eyes-paper").push_to_hub("org/model")
    assert ModelCard.load("org/model").content == full
    assert Refiner.from_pretrained("org/model").config.width == 64


def test_the_command_pushes_a_shipped_model_and_tells_what_is_wrong(
    hub, api, capsys, tmp_path, exported, monkeypatch
):
    monkeypatch.setattr(Refiner, "export", lambda refiner, kind: exported(refiner.origin))  # as that takes long
    main(["push", "eyes", "org/simgan-eyes", "--private"])
    assert capsys.readouterr().out.startswith(f"pushed: {hub.url}/org/simgan-eyes/commit/")
    assert "SynthesEyes" in ModelCard.load("org/simgan-eyes").text
    main(["push", "eyes", "org/simgan-eyes"])
    assert capsys.readouterr().out.startswith("nothing new to push: ")
    for wanted in (["--onnx"], []):  # a file of other weights must not stay
        main(["push", "eyes", "org/simgan-eyes", *wanted])
        assert api.file_exists("org/simgan-eyes", "model.onnx") == bool(wanted)
    main(["push", "eyes", "org/simgan-eyes", "--onnx"])
    Refiner.from_pretrained("eyes-simulated").push_to_hub("org/simgan-eyes")
    assert not api.file_exists("org/simgan-eyes", "model.onnx")
    with pytest.raises(SystemExit, match="error: no model 'nowhere': it is no folder, no shipped model"):
        main(["push", "nowhere", "org/model"])
    with pytest.raises(SystemExit, match="error: runs/nowhere is no folder here and no shipped model"):
        main(["push", "runs/nowhere", "org/model"])
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(SystemExit, match=r"holds no config\.json of a simgan refiner"):
        main(["push", str(tmp_path), "org/model"])


def test_a_run_is_pushed_while_it_trains(hub, api, tmp_path, capsys):
    run = make_run(tmp_path / "run")
    pushes = BackgroundPushes(run, "org/model", every=2, private=True, revision="dev")
    pushes.checkpoint()
    assert not pushes.thread.is_alive()
    held = hub.hold("/api/repos/create")
    pushes.checkpoint()
    first = pushes.thread
    (run / "metrics.jsonl").write_text("half a li")  # training goes on; what is pushed is a copy
    pushes.checkpoint()
    pushes.checkpoint()
    assert pushes.thread is first  # never two at a time
    held.set()
    first.join(60)
    assert api.model_info("org/model").private
    assert set(api.list_repo_files("org/model", revision="dev")) == PUSHED - {"README.md"}
    make_run(run)
    hub.requests.clear()
    pushes.finish()
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].startswith("pushed: ")  # the card; what was copied is the run
    assert [path for method, path in hub.requests if method == "PUT"] == []
    assert "warning" not in told.err
    assert not list(run.glob(".pushing*"))
    assert set(api.list_repo_files("org/model", revision="dev")) == PUSHED


def test_a_push_that_fails_while_training_is_a_warning_and_the_next_one_is_tried(hub, api, tmp_path, capsys):
    run = make_run(tmp_path / "run")
    pushes = BackgroundPushes(run, "org/model", every=1)
    hub.fail("/api/repos/create", times=4, status=503)
    pushes.checkpoint()
    pushes.thread.join(60)
    assert "warning: not pushed after this checkpoint: the Hub answered 503 for org/model" in capsys.readouterr().err
    pushes.checkpoint()
    pushes.thread.join(60)
    assert api.file_exists("org/model", "model.safetensors")
    shutil.rmtree(run)
    pushes.checkpoint()  # there is nothing to copy
    assert "warning: not pushed after this checkpoint: " in capsys.readouterr().err


HANGING = """
import sys
from pathlib import Path
from simgan.hub import push
push.PATIENCE = float(sys.argv[2])
stopped = []
push.BackgroundPushes(Path(sys.argv[1]), "org/model", revision="dev").finish(lambda: sys.argv[3] == "stopped")
"""


@pytest.mark.parametrize("path", ["/api/repos/create", "*/commit/*", "*/lfs/*"])
def test_a_hub_that_does_not_answer_holds_up_no_process_and_the_command_is_the_last_line(hub, tmp_path, path):
    """A process of its own, as its end is what is tested."""
    run = make_run(tmp_path / "my run")
    held = hub.hold(path)
    command = [sys.executable, "-c", HANGING, str(run), "3" if path != "/api/repos/create" else "1000"]
    command += ["stopped" if path == "/api/repos/create" else "waiting"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        held.set()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2].startswith("The model was not pushed (it took too long). It is safe in ")
    assert done.stdout.splitlines()[-1] == f"simgan push '{run}' org/model --revision dev"


@pytest.mark.parametrize(
    ("token", "repo", "sentence"),
    [
        ("hf_expired", "org/model", "would fail now: the Hub took no token"),
        ("hf_read", "org/model", "would fail now: the Hub token may only read"),
        ("hf_anna", "bob/model", "would fail now: anna is no member of bob"),
        ("", "org/model", "would fail now: nobody is logged in"),
    ],
)
def test_a_push_that_could_not_work_is_told_before_training(hub, tmp_path, capsys, monkeypatch, token, repo, sentence):
    monkeypatch.setenv("HF_TOKEN", token)
    hub.add_user("eve", token="hf_read", organizations=("org",), write=False)
    BackgroundPushes(tmp_path, repo)
    assert sentence in capsys.readouterr().err


def test_without_a_network_training_ends_well_and_the_printed_command_works_later(hub, api, tmp_path):
    """Two processes of the script, with a Hub at a closed port, and then the command with the real one."""
    run = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    settings = ["--limit=60", "--steps=2", "--batch-size=8", "--discriminator-warm-up=1", "--evaluate-every=1"]
    push = ["--push-to-hub", "org/model", "--private"]
    command = [*launcher, SCRIPT, *settings, "--trackers", "--output", run, *push]
    nowhere = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **nowhere}, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("warning: a push to org/model would fail now: the Hub was not reached") == 1
    assert done.stdout.count("The model was not pushed (the Hub was not reached") == 1  # by one process of the two
    last = done.stdout.splitlines()[-1]
    assert last == f"simgan push {run} org/model --private"
    main(shlex.split(last)[1:])
    assert api.model_info("org/model").private
    card = ModelCard.load("org/model")
    best = next(result for result in card.data.eval_results if result.metric_type == "patch-distance")
    assert f'"realism": {best.metric_value}' in (run / "metrics.jsonl").read_text()
    assert card.data.license == "apache-2.0"
    sheets = re.findall(r"\((samples/.*?\.png)\)", card.text)
    assert sheets and api.file_exists("org/model", sheets[0])
