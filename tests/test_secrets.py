"""Tokens, passwords and proxies: what cannot work is a sentence; nothing printed, raised or written shows a secret."""

import json
import runpy
import sys
import traceback
from pathlib import Path
from urllib.request import proxy_bypass

import httpx
import pytest
from huggingface_hub import close_session
from publishing_runs import make_run

import simgan
from simgan import Discriminator, Refiner, SimGANError
from simgan.cli import main
from simgan.data import load
from simgan.hub import push, uploading
from simgan.hub.access import reach_loopback
from simgan.hub.cards.records import read_records
from simgan.hub.push import BackgroundPushes, gather, push_model
from simgan.hub.uploading import upload
from simgan.space import serve

ROOT = Path(__file__).parents[1]
SECRET = "S3cretS3cretS3cret"
TOKENS = ["", f"{SECRET}\n", f"{SECRET} ", f"{SECRET}ü", f"{SECRET} {SECRET}"]
ADDRESS = f"https://anna:{SECRET}@huggingface.co/org/model"
ADDRESSES = [ADDRESS, ADDRESS.removeprefix("https://"), f"https://{SECRET}@huggingface.co/org/model", f"hub:{ADDRESS}"]
PROXIES = [f"{kind}://anna:{SECRET}@127.0.0.1:9" for kind in ("socks", "socks5", "http")]
PROXIES += [f"http://anna:{SECRET}#@127.0.0.1:9", f"anna:{SECRET}@127.0.0.1:9"]


@pytest.fixture(autouse=True)
def fresh_clients(monkeypatch):
    """Clients read the variables of proxies when they are made."""
    monkeypatch.setattr(uploading, "WAITS", ())
    monkeypatch.setattr(push, "draw_curves", lambda records: None)  # for speed
    close_session()
    yield
    monkeypatch.undo()
    close_session()


@pytest.fixture
def told(capsys, caplog):
    """Call something, and return its `SimGANError` as text, once all that it told is found to hold no secret."""

    def call(function, *arguments, **options):
        with pytest.raises((SimGANError, SystemExit)) as caught:
            function(*arguments, **options)
        printed = capsys.readouterr()
        shown = "".join(traceback.format_exception(caught.value)) + printed.out + printed.err + caplog.text
        assert SECRET not in shown
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return call


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("way", ["argument", "variable"])
def test_what_can_be_no_token_is_a_sentence(told, hub, tmp_path, monkeypatch, token, way):
    if way == "variable":
        monkeypatch.setenv("HF_TOKEN", token)
    given = {"token": token} if way == "argument" else {}
    told_by = [told(kind.from_pretrained, "org/model", **given) for kind in (Refiner, Discriminator)]
    told_by += [told(upload, tmp_path, "org/model", message="test", **given)]
    cleaned = way == "variable" and token.strip() in ("", SECRET)  # as the Hub's client does it
    assert cleaned or all("the token for the Hub" in sentence for sentence in told_by)


def test_commands_and_networks_take_no_such_token(told, hub):
    assert "the token for the Hub is empty" in told(main, ["push", "eyes", "org/model", "--token", ""])
    assert "the token for the Hub holds" in told(Discriminator().push_to_hub, "org/model", token=f"{SECRET}\n")


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_password_is_refused_without_it(told, hub, tmp_path, address):
    run = {"output": tmp_path / "run", "steps": 1}
    for call in (
        lambda: Refiner.from_pretrained(address),
        lambda: Refiner.from_pretrained("eyes").refine(address),
        lambda: Refiner().push_to_hub(address),
        lambda: push_model(address, "org/model"),
        lambda: load(address),
        lambda: simgan.train(address, "camera:eyes", **run),
        lambda: simgan.train("simulator:eyes", "camera:eyes", push_to_hub=address, **run),
        lambda: main(["push", "eyes", address]),
        lambda: main(["refine", address, str(tmp_path / "out")]),
        lambda: main(["refine", "in.png", "out.png", "--model", address]),
        lambda: main(["evaluate", "shift", address]),
        lambda: main(["report", address]),
    ):
        told(call)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["push", "eyes", "org/model", "--tokn", SECRET],
        ["push", "eyes", "org/model", f"--hub-token={SECRET}"],
        ["push", "eyes", "org/model", f"hf_{SECRET}"],
        ["push", "--token", SECRET],
        ["push", "--token", SECRET, "--help"],
        ["space", "--token", SECRET, "push", "org/demo"],
        ["refine", "a.png", "b.png", "--token", SECRET],
        ["refine", "a.png", "b.png", "--batch-size", ADDRESS],
        ["train_accelerate.py", "--token", SECRET],
        ["app.py", "--token", SECRET],
    ],
)
def test_wrong_arguments_are_told_without_secrets(told, monkeypatch, arguments):
    if arguments[0].endswith(".py"):
        monkeypatch.setattr(sys, "argv", arguments)
        assert "takes a token" in told(runpy.run_path, str(ROOT / arguments[0]), run_name="__main__")
    else:
        assert told(main, arguments) in ("0", "2")


def test_what_the_hub_says_of_a_token_is_told_without_it(told, hub, tmp_path, monkeypatch, capsys):
    fault = hub.fail("*", status=500)
    fault.headers["X-Error-Message"] = f"no such token: {SECRET}"
    told(Refiner.from_pretrained, "org/model", token=SECRET)
    assert "no such token: ***" in told(upload, tmp_path, "org/model", message="test", token=SECRET)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    pushes = BackgroundPushes(Path("eyes"), "org/model")
    pushes.finish()
    printed = "".join(capsys.readouterr())
    assert "no such token: ***" in printed
    assert SECRET not in printed


def test_what_a_run_recorded_is_pushed_without_secrets(tmp_path):
    run = make_run(tmp_path / "run")
    settings = json.loads((run / "training.json").read_text())
    odd = {"synthetic": [ADDRESS], "real": [f"hub:{ADDRESS}"], "start_from": ADDRESS, "weight": f"hf_{SECRET}"}
    (run / "training.json").write_text(json.dumps(settings | odd | {"push_to_hub": ADDRESS}))
    gather(read_records(run), tmp_path, "org/model")
    files = [file for file in tmp_path.rglob("*") if file.is_file() and run not in file.parents]
    assert {"README.md", "training.json"} <= {file.name for file in files}
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]


@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTP_PROXY"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(told, hub, tmp_path, monkeypatch, variable, proxy):
    monkeypatch.setenv(variable, proxy)
    for call in (
        lambda: Refiner.from_pretrained("org/model"),
        lambda: push_model("eyes", "org/model", token="hf_anna"),
    ):
        assert variable in told(call)


def test_a_proxy_that_answers_for_the_hub_is_named(told, hub, monkeypatch):
    hub.fail("*", status=503)
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    sentence = told(Refiner.from_pretrained, "org/model")
    assert sentence.endswith("the Hub answered 503 for org/model through the proxy of HTTP_PROXY: fault 503")


def test_the_space_names_a_proxy_that_no_client_takes(told, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"socks://anna:{SECRET}@127.0.0.1:9")
    assert told(serve).startswith("ALL_PROXY must be as http://proxy:8080")


def test_no_proxy_is_between_a_process_and_itself(hub, monkeypatch):
    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):  # which are as before in the end
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(httpx.ConnectError):
        httpx.get(hub.url)
    reach_loopback()
    assert httpx.get(hub.url).status_code == 404
    assert proxy_bypass("localhost")
    assert not proxy_bypass("huggingface.co")
