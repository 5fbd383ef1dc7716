"""A public Space: what is sent makes it ask nobody else, read no file of its own, keep nothing, and mix nobody up."""

import asyncio
import concurrent.futures
import contextlib
import functools
import io
import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
from browser import ROOT, connect, is_near, wait_until
from gradio_client import Client, handle_file
from PIL import Image
from starlette.middleware import Middleware
from starlette.requests import Request

from simgan import Refiner
from simgan.simulators.eyes import renders as eyes
from simgan.space import fair_queue, guard
from simgan.space.events import show_errors
from simgan.space.fair_queue import FairQueue
from simgan.space.guard import Guard
from simgan.space.page import own_temporary_folder

ADDRESS = "http://simgan.invalid/eye.png"  # a name that nobody has
HTTP = httpx.Client(timeout=60)


def asks(url):
    """Send an address wherever Gradio takes files; return the statuses."""
    file = {"path": ADDRESS, "meta": {"_type": "gradio.FileData"}}
    gallery = [{"image": file, "caption": None}]
    call = {"data": [gallery, "eyes", 1.0], "fn_index": 0, "session_hash": "s"}
    hidden = str(call).replace("'", '"').replace("None", "null").replace("http:", "\\u0068ttp:")
    return [
        HTTP.post(f"{url}gradio_api/queue/join", json=call).status_code,
        HTTP.post(f"{url}gradio_api/queue/join", content=hidden, headers={"Content-Type": "text/plain"}).status_code,
        HTTP.post(f"{url}gradio_api/call/refine", json={"data": [gallery, "eyes", 1.0]}).status_code,
        HTTP.post(f"{url}gradio_api/run/refine", json={"data": [file]}).status_code,
        HTTP.get(f"{url}gradio_api/file={ADDRESS}").status_code,
        HTTP.get(f"{url}gradio_api/file/{ADDRESS}").status_code,
        HTTP.get(f"{url}gradio_api/proxy={ADDRESS}").status_code,
    ]


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
    with served(page, **kwargs) as url:
        statuses = asks(url)
        if not guarded:
            assert wait_until(lambda: asked)
    if guarded:
        assert not asked
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
    answer = HTTP.post(f"{space}gradio_api/call/refine", json={"data": [[{"image": {"path": ADDRESS}}], "eyes", 1.0]})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Files are taken, addresses are not: download the image and send the file."
    assert HTTP.get(f"{space}gradio_api/file={ADDRESS}").status_code == 403
    assert HTTP.get(f"{space}gradio_api/deep_link?session_hash=s").status_code == 403
    assert HTTP.get(f"{space}?deep_link=x").status_code == 403
    assert HTTP.get(f"{space}gradio_api/run-history/buckets").status_code == 404
    assert HTTP.post(f"{space}gradio_api/component_server", json={}).status_code == 404
    assert HTTP.post(f"{space}gradio_api/call/refine", content=b"no JSON").status_code == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_pages_of_other_sites_cannot_read_answers(space, origin):
    call = {"data": [[], "eyes"]}
    for headers, allowed in (({"Origin": origin}, None), ({"Origin": space.rstrip("/")}, space.rstrip("/"))):
        answer = HTTP.post(f"{space}gradio_api/call/inspect", json=call, headers=headers)
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "app.py"), str(ROOT / "simgan" / "space" / "guard.py")])
def test_no_file_of_the_machine_is_served(space, path):
    assert HTTP.get(f"{space}gradio_api/file={path}").status_code == 403


def named_in_many_ways(path, uploads):
    """Return inputs that name one file, each of another form."""
    link = uploads / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    meta = {"meta": {"_type": "gradio.FileData"}}
    files = [
        {"path": str(path)},
        {"path": str(path), **meta},
        {"path": str(path), "url": "http://127.0.0.1/gradio_api/file=eye.png", "orig_name": "eye.png", "size": 1},
        {"path": str(path), "is_stream": True, **meta},
        {"path": f"{uploads}/../{os.path.relpath(path, uploads.parent)}"},
        {"path": os.path.relpath(path, ROOT)},
        {"path": f"file://{path}"},
        {"path": str(link)},
        {"path": str(link), **meta},
        {"path": None, "url": f"file://{path}"},
        {"url": f"file://{path}", **meta},
        {"path": {"path": str(path)}},
        {"path": [str(path)]},
        {"image": {"path": str(path)}},
        str(path),
        f"file://{path}",
    ]
    return files, [
        wrap(file) for file in files for wrap in (lambda file: {"image": file}, lambda file: {"video": file})
    ]


def answer_of(url, name, data, way):
    """Call an event in one of the ways that Gradio knows; return all that comes back, as text."""
    if way in ("run", "api"):
        return HTTP.post(f"{url}gradio_api/{way}/{name}", json={"data": data}, timeout=60).text
    if way == "call":
        asked = HTTP.post(f"{url}gradio_api/call/{name}", json={"data": data})
        place = f"call/{name}/{asked.json().get('event_id')}"
    else:
        config = HTTP.get(f"{url}config").json()
        number = next(one["id"] for one in config["dependencies"] if one["api_name"] == name)
        session = f"s{time.monotonic_ns()}"
        asked = HTTP.post(
            f"{url}gradio_api/queue/join", json={"data": data, "fn_index": number, "session_hash": session}
        )
        place = f"queue/data?session_hash={session}"
    if asked.status_code != 200:
        return asked.text
    lines = []
    with HTTP.stream("GET", f"{url}gradio_api/{place}", timeout=60) as stream:
        for line in stream.iter_lines():
            lines.append(line)
            if "process_completed" in line:
                break
    return "\n".join(lines)


def images_in(text):
    """Yield every image that an answer names and that the server serves."""
    for link in set(re.findall(r"http[^\"\\ ]*file=[^\"\\ ]*", text)):
        with contextlib.suppress(OSError):
            yield np.array(Image.open(io.BytesIO(HTTP.get(link).content)))


@pytest.mark.parametrize("name", ["refine", "compare", "inspect", "refine_model", "inspect_model", "batch"])
def test_no_file_outside_the_uploads_is_opened_whatever_the_form_of_a_call(server, tmp_path, name):
    secret = tmp_path / "secret.png"
    pixels = eyes.render([77])[0][0]
    Image.fromarray(pixels).save(secret)
    (uploads,) = server.temporary.glob("simgan-space-*/gradio")
    files, images = named_in_many_ways(secret, uploads)
    rest = {"refine": ["eyes", 0], "batch": ["eyes", 0, ""]}.get(name, ["eyes"])
    for data in [[file] for file in (files if name == "batch" else images)] + [files[0]]:
        text = answer_of(server.url, name, [data, *rest], "call")
        assert any(
            word in text for word in ("not a file that was uploaded here", "addresses are not", "event: error")
        ), data
        assert not any(np.array_equal(image, pixels) for image in images_in(text)), data


@pytest.mark.parametrize("way", ["call", "queue", "run", "api"])
def test_no_file_outside_the_uploads_is_opened_by_any_way_of_calling(server, tmp_path, way):
    secret = tmp_path / "secret.png"
    pixels = eyes.render([77])[0][0]
    Image.fromarray(pixels).save(secret)
    text = answer_of(server.url, "refine", [[{"image": {"path": str(secret)}}], "eyes", 0], way)
    assert "not a file that was uploaded here" in text
    assert not any(np.array_equal(image, pixels) for image in images_in(text))


def test_an_upload_and_an_example_are_opened(server, tmp_path):
    """The same calls as above give an image back for what was uploaded, without `meta` too."""
    pixels = eyes.render([77])[0][0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    (path,) = HTTP.post(f"{server.url}gradio_api/upload", files={"files": ("eye.png", file.getvalue())}).json()
    text = answer_of(server.url, "refine", [[{"image": {"path": path}}], "eyes", 0], "queue")
    assert any(np.array_equal(image, pixels) for image in images_in(text))


def test_the_queue_of_the_space_limits_each_visitor(space):
    number = next(
        one["id"] for one in HTTP.get(f"{space}config").json()["dependencies"] if one["api_name"] == "inspect"
    )
    call = {"data": [[], "eyes"], "fn_index": number, "session_hash": "many"}
    with concurrent.futures.ThreadPoolExecutor(50) as at_once:
        answers = list(at_once.map(lambda _: HTTP.post(f"{space}gradio_api/queue/join", json=call), range(300)))
    assert {answer.status_code for answer in answers} == {200, 429}


def test_no_call_skips_the_queue(server):
    assert "join the queue" in answer_of(server.url, "refine", [[], "eyes", 0], "run")


# Bodies


def sent(app, *, path="/gradio_api/call/refine", headers=(), messages=()):
    """Return the status and body with which an ASGI app answers a POST of these messages, after which none comes."""
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers)}
    answer, waiting = [], list(messages)

    async def receive():
        if waiting:
            return {"type": "http.request", "more_body": True, **waiting.pop(0)}
        return await asyncio.Event().wait()

    async def send(message):
        answer.append(message)

    with ThreadPoolExecutor(1) as pool:  # a thread without an event loop: the browser's may run in this one
        pool.submit(asyncio.run, app(scope, receive, send)).result()
    return answer[0]["status"], b"".join(message.get("body", b"") for message in answer).decode()


async def nobody(*_):
    raise AssertionError("the request was handed on")


def test_a_body_that_is_too_long_is_refused_before_it_is_read():
    declared = [(b"content-length", str(guard.BODY + 1).encode())]
    status, text = sent(Guard(nobody), headers=declared)
    assert status == 413 and "A call may have 256 kB" in text
    status, text = sent(Guard(nobody), messages=[{"body": b" " * 2**16}] * 5)  # not declared
    assert status == 413 and "A call may have 256 kB" in text


def test_a_body_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.05)
    status, text = sent(Guard(nobody), messages=[{"body": b'{"data"'}])
    assert status == 408 and "did not arrive" in text


@pytest.mark.parametrize("values", [[[]] * 50_000, functools.reduce(lambda inner, _: [inner], range(500), [])])
def test_a_call_of_very_many_or_deeply_nested_values_is_refused(values):
    body = json.dumps({"data": values}, separators=(",", ":")).encode()
    assert len(body) < guard.BODY
    status, text = sent(Guard(nobody), messages=[{"body": body, "more_body": False}])
    assert status == 413 and "too many values" in text


def test_the_server_answers_long_bodies_with_413(space):
    long = b'{"data": ["' + b"x" * 15 * 2**20 + b'"]}'
    assert HTTP.post(f"{space}gradio_api/call/refine", content=long).status_code == 413
    assert HTTP.post(f"{space}gradio_api/queue/join", content=iter([long])).status_code == 413  # chunked


@contextlib.contextmanager
def served(page, **settings):
    """Serve a page of Gradio in this process; yields its address."""
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, **settings)
    try:
        yield url
    finally:
        page.close()


def test_an_upload_is_bounded_with_all_its_files_and_leaves_nothing(monkeypatch, tmp_path):
    declared = [(b"content-length", str(guard.UPLOAD + 1).encode())]
    status, text = sent(Guard(nobody), path="/gradio_api/upload", headers=declared)
    assert status == 413 and "An upload may have 288 MB" in text
    monkeypatch.setattr(guard, "UPLOAD", 2**18)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks(analytics_enabled=False) as page:
        gr.File()
    files = [("files", (f"{number}.png", bytes(2**17))) for number in range(8)]  # each is small, together they are not
    body = httpx.Request("POST", "http://x", files=files)
    with served(page, app_kwargs={"middleware": [Middleware(Guard)]}) as url:
        headers = {"content-type": body.headers["content-type"]}
        pieces = (body.read()[start : start + 2**14] for start in range(0, 2**20, 2**14))  # chunked: no length is named
        assert HTTP.post(f"{url}gradio_api/upload", content=pieces, headers=headers).status_code == 413
        assert HTTP.post(f"{url}gradio_api/upload", files=files[:1]).status_code == 200
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["0.png"]


# The queue


class SlowPage:
    """A page with one event, `work`, that takes until `go_on` is set; notes in which order visitors were served."""

    def __init__(self):
        self.go_on, self.begun, self.order = threading.Event(), threading.Semaphore(0), []
        with gr.Blocks(analytics_enabled=False) as self.page:
            gr.Button().click(show_errors(self.work), gr.Textbox(), None, api_name="work", concurrency_limit=1)
        self.page.queue(max_size=200)
        self.page._queue = FairQueue(self.page._queue)

    def work(self, visitor):
        self.begun.release()
        self.order.append(visitor)
        assert self.go_on.wait(30)


def join(url, visitor, address, session=None):
    """Call `work` from an address, as a proxy reports it."""
    call = {"data": [visitor], "session_hash": session}
    return HTTP.post(f"{url}gradio_api/call/work", json=call, headers={"X-Forwarded-For": f"8.8.4.4, {address}"})


def test_a_visitor_with_200_jobs_leaves_places_to_others_who_take_turns_with_them():
    slow = SlowPage()
    with served(slow.page) as url:
        answers = [join(url, "many", "1.1.1.1") for _ in range(200)]
        assert [answer.status_code for answer in answers] == [200] * fair_queue.ADDRESS + [429] * 140
        assert "60 of your calls are waiting, and at most 60 are taken" in answers[-1].json()["detail"]
        one_page = [join(url, "one", "9.9.9.9", session="page").status_code for _ in range(25)]
        assert one_page == [200] * fair_queue.SESSION + [429] * 5
        assert join(url, "late", "8.8.8.8").status_code == 200
        slow.go_on.set()
        for _ in range(81):
            assert slow.begun.acquire(timeout=30)
    assert [slow.order.count(visitor) for visitor in ("many", "one", "late")] == [60, 20, 1]
    assert slow.order.index("late") <= 2  # one was being served, and one waits as long
    first = slow.order[:26]
    assert 4 <= first.count("one") <= 6  # 60 pages of one address have the turns of four


def test_places_in_the_queue_are_those_in_which_visitors_are_served():
    slow = SlowPage()

    def places(url, session):
        seen = []
        with HTTP.stream("GET", f"{url}gradio_api/queue/data", params={"session_hash": session}, timeout=30) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:") or "{}")
                if message.get("msg") == "estimation":
                    seen.append((message["rank"], message["queue_size"]))
                elif message.get("msg") == "process_completed":
                    return seen
        raise AssertionError("the stream ended")

    with served(slow.page) as url:
        for session in ("first", "many", "many", "late"):
            number = next(one["id"] for one in HTTP.get(f"{url}config").json()["dependencies"])
            call = {"data": [session], "fn_index": number, "session_hash": session}
            HTTP.post(f"{url}gradio_api/queue/join", json=call).raise_for_status()
            if session == "first":
                assert slow.begun.acquire(timeout=30)
        slow.go_on.set()
        assert places(url, "late")[0] == (1, 3)  # behind the first of "many", before the second
        assert slow.order[:3] == ["first", "many", "late"]


def test_a_cancelled_event_holds_its_place_until_its_thread_has_ended():
    slow = SlowPage()
    with served(slow.page) as url:
        number = next(one["id"] for one in HTTP.get(f"{url}config").json()["dependencies"])
        events = {}
        for session in ("first", "second"):
            call = {"data": [session], "fn_index": number, "session_hash": session}
            events[session] = HTTP.post(f"{url}gradio_api/queue/join", json=call).json()["event_id"]
        assert slow.begun.acquire(timeout=30)
        cancel = {"session_hash": "first", "fn_index": number, "event_id": events["first"]}
        for _ in range(2):  # answered when the event has ended
            with pytest.raises(httpx.ReadTimeout):
                HTTP.post(f"{url}gradio_api/cancel", json=cancel, timeout=0.5)
        assert slow.order == ["first"]
        slow.go_on.set()
        assert slow.begun.acquire(timeout=30)
        assert slow.order == ["first", "second"]


@pytest.mark.parametrize(
    ("host", "forwarded", "address"),
    [
        ("1.1.1.1", "9.9.9.9", "1.1.1.1"),  # not a proxy, so the header is the visitor's own
        ("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),  # the visitor wrote the first
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
    ],
)
def test_the_address_of_a_visitor_is_the_last_public_one(host, forwarded, address):
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    request = Request({"type": "http", "client": (host, 1), "headers": headers})
    assert fair_queue.address_of(request) == address


def test_uploads_results_and_old_sessions_are_deleted(monkeypatch, tmp_path):
    from simgan.space.page import build, launch

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("simgan.space.page.KEPT", (1, 8))
    monkeypatch.setattr("simgan.space.page.SESSIONS", 3)
    demo = build()
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        Image.fromarray(eyes.render([3])[0][0]).save(tmp_path / "secret.png")
        client = Client(url, verbose=False, download_files=False)
        client.predict(
            [{"image": handle_file(tmp_path / "secret.png"), "caption": None}], "eyes", 1.0, api_name="/refine"
        )
        assert list((tmp_path / "gradio").rglob("secret.png"))
        assert wait_until(lambda: not list((tmp_path / "gradio").rglob("secret.png")))
        client.close()
        for number in range(5):
            call = {"data": [[], "eyes"], "session_hash": f"s{number}"}
            assert HTTP.post(f"{url}gradio_api/call/inspect", json=call).status_code == 200
        assert wait_until(lambda: len(demo.state_holder.session_data) == 3)
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
            signal.pause()
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
