"""Where the Hub is not reached the error is one sentence, whatever HTTP library the client uses."""

import httpx
import pytest
import requests
from huggingface_hub import HfApi
from huggingface_hub.hf_api import ModelInfo

from simgan import Refiner
from simgan.errors import ModelError, PublishError
from simgan.hub import loading, uploading
from simgan.space import fetching

try:
    from httpx2 import ConnectError  # of huggingface_hub 2
except ModuleNotFoundError:
    from httpx import ConnectError


class TransportError(Exception):
    """Of a library that does not exist yet."""


SECRET = "https://anna:password@proxy:8080 hf_secretsecretsecretsecretsecretsecre"
ERRORS = [ConnectError, httpx.ConnectTimeout, requests.ConnectionError, TransportError, OSError, EOFError]
EACH = pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")


def failing(kind):
    def fail(*_, **__):
        raise kind(SECRET)

    return fail


@EACH
@pytest.mark.parametrize("call", ["model_info", "snapshot_download"])
def test_a_model_that_a_visitor_asks_for(monkeypatch, tmp_path, kind, call):
    files = [{"rfilename": name, "size": 100} for name in (fetching.CONFIG, fetching.WEIGHTS)]
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: ModelInfo(id="org/eyes", siblings=files))
    monkeypatch.setattr(*(HfApi, call) if call == "model_info" else (fetching, call), failing(kind))
    with pytest.raises(
        ModelError, match=r"^org/eyes could not be fetched from the Hub: try later, or choose a shipped"
    ):
        fetching.fetch((str(tmp_path), 2**20), "org/eyes")


@EACH
def test_a_model_that_is_loaded(monkeypatch, kind):
    monkeypatch.setattr(loading, "snapshot_download", failing(kind))
    with pytest.raises(ModelError, match="the Hub was not reached for org/eyes") as caught:
        Refiner.from_pretrained("org/eyes")
    assert "password" not in str(caught.value) and "hf_secret" not in str(caught.value)


@EACH
def test_a_push(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(HfApi, "create_repo", failing(kind))
    monkeypatch.setattr(uploading, "WAITS", ())
    with pytest.raises(PublishError, match="the Hub was not reached for org/eyes") as caught:
        uploading.upload(tmp_path, "org/eyes", message="test", token="hf_anna")
    assert "password" not in str(caught.value) and "hf_secret" not in str(caught.value)


def test_a_port_where_nothing_listens(monkeypatch, tmp_path):
    api = HfApi(endpoint="http://127.0.0.1:9", token=False)
    monkeypatch.setattr(fetching, "HfApi", lambda **_: api)
    with pytest.raises(ModelError, match="could not be fetched from the Hub: try later") as caught:
        fetching.fetch((str(tmp_path), 2**20), "org/eyes")
    assert type(caught.value.__cause__).__name__ == "ConnectError"
