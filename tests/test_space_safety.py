"""A public Space: what is sent makes it ask nobody else, read no file of its own, keep nothing, and mix nobody up."""

import os
import signal
import threading
import time
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
from browser import ROOT, connect, is_near
from gradio_client import handle_file
from PIL import Image
from starlette.middleware import Middleware

from simgan import Refiner
from simgan.simulators.eyes import renders as eyes
from simgan.space.guard import BODY, Guard
from simgan.space.storage import own_temporary_folder

ADDRESS = "http://simgan.invalid/eye.png"  # a name that nobody has


def asks(url, asked):
    """Send an address wherever Gradio takes files; give the statuses, and whether a name was looked up."""
    file = {"path": ADDRESS, "meta": {"_type": "gradio.FileData"}}
    gallery = [{"image": file, "caption": None}]
    call = {"data": [gallery, "eyes", 1.0], "fn_index": 0, "session_hash": "s"}
    hidden = str(call).replace("'", '"').replace("None", "null").replace("http:", "\\u0068ttp:")
    statuses = [
        httpx.post(f"{url}gradio_api/queue/join", json=call).status_code,
        httpx.post(f"{url}gradio_api/queue/join", content=hidden, headers={"Content-Type": "text/plain"}).status_code,
        httpx.post(f"{url}gradio_api/call/refine", json={"data": [gallery, "eyes", 1.0]}).status_code,
        httpx.post(f"{url}gradio_api/run/refine", json={"data": [file]}).status_code,
        httpx.get(f"{url}gradio_api/file={ADDRESS}").status_code,
        httpx.get(f"{url}gradio_api/file/{ADDRESS}").status_code,
        httpx.get(f"{url}gradio_api/proxy={ADDRESS}").status_code,
    ]
    time.sleep(0.5)
    return statuses, bool(asked)


@pytest.mark.parametrize("guarded", [True, False])
def test_an_address_in_place_of_a_file_is_refused_before_its_name_is_looked_up(monkeypatch, guarded):
    """Without the guard the same calls do look the name up: so this test can fail."""
    import safehttpx

    asked = []

    async def look_up(hostname):
        asked.append(hostname)
        raise ValueError

    monkeypatch.setattr(safehttpx, "async_validate_url", look_up)
    with gr.Blocks(analytics_enabled=False) as page:
        image = gr.Gallery()
        gr.Button().click(lambda *_: None, [image, gr.Textbox(), gr.Number()], None, api_name="refine")
    kwargs = {"app_kwargs": {"middleware": [Middleware(Guard)]}} if guarded else {}
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, **kwargs)
    try:
        statuses, looked_up = asks(url, asked)
    finally:
        page.close()
    assert looked_up is not guarded
    if guarded:
        assert statuses == [400, 400, 400, 400, 403, 403, 403]


def test_uploads_are_refused_while_the_disk_is_nearly_full(monkeypatch):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    route = Route("/gradio_api/upload", lambda _: PlainTextResponse("taken"), methods=["POST"])
    with TestClient(Starlette(routes=[route], middleware=[Middleware(Guard)])) as client:
        assert client.post("/gradio_api/upload", content=b"x").text == "taken"
        monkeypatch.setattr("simgan.space.guard.FREE", 2**60)
        refused = client.post("/gradio_api/upload", content=b"x")
    assert refused.status_code == 507
    assert "no room for uploads" in refused.json()["detail"]


def test_the_space_is_guarded(space):
    answer = httpx.post(f"{space}gradio_api/call/refine", json={"data": [[{"image": {"path": ADDRESS}}], "eyes", 1.0]})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Files are taken, addresses are not: download the image and send the file."
    assert httpx.get(f"{space}gradio_api/file={ADDRESS}").status_code == 403
    assert httpx.get(f"{space}gradio_api/deep_link?session_hash=s").status_code == 403
    assert httpx.get(f"{space}?deep_link=x").status_code == 403
    assert httpx.get(f"{space}gradio_api/run-history/buckets").status_code == 404
    long = b'{"data": ["' + b"x" * BODY + b'"]}'
    assert httpx.post(f"{space}gradio_api/call/refine", content=long).status_code == 413
    assert httpx.post(f"{space}gradio_api/call/refine", content=b"no JSON").status_code == 400


@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "app.py"), str(ROOT / "simgan" / "cli.py")])
def test_no_file_of_the_machine_can_be_read(space, path):
    assert httpx.get(f"{space}gradio_api/file={path}").status_code == 403
    for meta in ({}, {"meta": {"_type": "gradio.FileData"}}):
        call = {"data": [[{"image": {"path": path, **meta}, "caption": None}], "eyes", 1.0]}
        event = httpx.post(f"{space}gradio_api/call/refine", json=call).json()["event_id"]
        with httpx.stream("GET", f"{space}gradio_api/call/refine/{event}", timeout=30) as stream:
            told = "".join(stream.iter_text())
        assert told.startswith("event: error")
        assert "root:" not in told and "import" not in told


def test_uploads_and_results_are_deleted_after_a_while(monkeypatch, tmp_path):
    from simgan.space import build, launch

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("simgan.space.KEPT", (1, 1))
    demo = build()
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        Image.fromarray(eyes.render([3])[0][0]).save(tmp_path / "secret.png")
        client = connect(url)
        client.predict(
            [{"image": handle_file(tmp_path / "secret.png"), "caption": None}], "eyes", 1.0, api_name="/refine"
        )
        assert list((tmp_path / "gradio").rglob("secret.png"))
        waited = time.monotonic() + 20
        while list((tmp_path / "gradio").rglob("secret.png")) and time.monotonic() < waited:
            time.sleep(0.2)
        assert not list((tmp_path / "gradio").rglob("secret.png"))
        client.close()
    finally:
        demo.close()


def test_visitors_at_once_each_get_their_own_image_back(space, tmp_path):
    """`benchmarks/space.py` does the same with 40 visitors."""
    images = eyes.render(range(200, 224))[0].reshape(8, 3, 35, 55)
    expected = np.stack(Refiner.from_pretrained("eyes").refine(list(images.reshape(-1, 35, 55)))).reshape(images.shape)
    wrong = []

    def visit(number):
        client = connect(space)
        for place in range(3):
            file = tmp_path / f"{number}-{place}.png"
            Image.fromarray(images[number, place]).save(file)
            sent = [{"image": handle_file(file), "caption": None}]
            refined = client.predict(sent, "eyes", 1.0, api_name="/refine")[3]
            if Path(refined[0]).name != file.name or not is_near(Image.open(refined[0]), expected[number, place]):
                wrong.append((number, place))
        client.close()

    threads = [threading.Thread(target=visit, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert wrong == []


def test_the_temporary_files_of_a_killed_process_are_deleted_by_the_next_and_those_of_a_living_one_are_not(tmp_path):
    def child():
        reader, writer = os.pipe()
        if (process := os.fork()) == 0:
            import tempfile

            tempfile.tempdir = str(tmp_path)
            folder = own_temporary_folder()
            (folder / "upload.png").write_bytes(b"x")
            os.write(writer, str(folder).encode())
            time.sleep(60)
            os._exit(0)
        return process, Path(os.read(reader, 1000).decode())

    first, killed = child()
    second, living = child()
    assert (killed / "upload.png").exists()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    third, latest = child()
    assert not killed.exists()
    assert (living / "upload.png").exists() and (latest / "upload.png").exists()
    for process in (second, third):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
