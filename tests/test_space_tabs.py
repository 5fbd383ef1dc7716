"""The tabs Batch, Can you tell? and Training, called as code calls them, and what they compute."""

import io
import json
import random
import re
import threading
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import gradio as gr
import numpy as np
import pytest
from browser import connect, is_near, wait_until
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from simgan import Refiner, SourceError
from simgan.hub.cards.records import read_records
from simgan.hub.loading import SHIPPED
from simgan.refining.files import Refined
from simgan.simulators.eyes import renders as eyes
from simgan.space import batch_tab, training_tab, turing_tab
from simgan.space.failures import stay_in_place
from simgan.space.models import Models
from simgan.space.training_plots import REALISM, SHIFT


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pack(file, entries):
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file


def long_work(folder):
    """An archive that takes some seconds."""
    return pack(folder / "long.zip", dict.fromkeys((f"{i}.png" for i in range(1900)), png(eyes.render([0])[0][0])))


def unpack(file):
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def models():
    return Models()


@pytest.fixture(scope="module")
def client(space):
    opened = connect(space)
    yield opened
    opened.close()


# Batch


def damage(file, name):
    """Change a byte at the end of a stored file in a ZIP."""
    with zipfile.ZipFile(file) as packed:
        entry = packed.getinfo(name)
    data = bytearray(file.read_bytes())
    data[data.index(name.encode(), entry.header_offset) + len(name) + entry.compress_size - 1] ^= 1
    file.write_bytes(data)


def test_a_batch_with_an_image_like_a_label_names_the_field_for_it(client, tmp_path):
    mask = np.zeros((35, 55), np.uint8)
    mask[10:20] = 255
    file = pack(tmp_path / "eyes.zip", {"0.png": png(eyes.render([0])[0][0]), "1.png": png(mask)})
    with pytest.raises(AppError) as told:
        client.predict([handle_file(file)], "eyes", 1.0, "", api_name="/batch")
    ways = '"1.png" copies them as they are, "not:1.png" refines them, written into the field "Images that are labels"'
    assert str(told.value) == f"1.png seems to be a label, as it has 2 values, 0, 255: {ways}"
    for pattern, refined in (("1.png", 1), ("not:1.png", 2)):
        told, _ = client.predict([handle_file(file)], "eyes", 1.0, pattern, api_name="/batch")
        assert f"<strong>{refined} images refined" in told


def test_a_zip_comes_back_refined_with_labels_and_names_untouched(client, tmp_path):
    images = eyes.render(range(5))[0]
    deep = images[4].astype(np.uint16) * 200
    sent = {f"a/eye #{i} (ä).png": png(image) for i, image in enumerate(images[:4])}
    sent |= {"a/eye #0 (ä).json": b'{"gaze": [0, 0, -1]}', "deep.png": png(deep), "masks/0.png": png(images[0])}
    large = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)  # more than its header takes to read
    broken = {"broken.png": sent["a/eye #0 (ä).png"][:900], "damaged.png": png(large)}
    file = pack(tmp_path / "eyes.zip", sent | broken)
    damage(file, "damaged.png")
    job = client.submit([handle_file(file)], "eyes", 1.0, "masks/*", api_name="/batch")
    summary, result = job.result()
    assert "<strong>5 images refined</strong>, 2 other files copied" in summary
    assert "broken.png" in summary
    assert "damaged.png in eyes.zip cannot be read: Bad CRC-32" in summary
    assert Path(result).name == "eyes refined.zip"
    back = unpack(result)
    assert list(back) == list(sent)
    for name in ("a/eye #0 (ä).json", "masks/0.png"):
        assert back[name] == sent[name]
    refiner = Refiner.from_pretrained("eyes")
    for i, name in enumerate(list(sent)[:4]):
        assert is_near(Image.open(io.BytesIO(back[name])), refiner.refine(images[i]))
    refined = np.array(Image.open(io.BytesIO(back["deep.png"])))
    assert refined.dtype == np.uint16
    assert is_near(refined, refiner.refine(deep))
    assert any(re.search(r"Refining \d of 7 images", update[0]) for update in job.outputs())


def test_many_files_come_back_as_a_zip_under_the_visitors_own_names(client, tmp_path):
    names = ["1#.png", "2 & 'b'.png", "1#.json"]
    for name, data in zip(names, (*map(png, eyes.render([1, 2])[0]), b"{}"), strict=True):
        (tmp_path / name).write_bytes(data)
    result = client.predict([handle_file(tmp_path / name) for name in names], "eyes", 0.0, "", api_name="/batch")[1]
    back = unpack(result)
    assert back.keys() == set(names)
    assert (np.array(Image.open(io.BytesIO(back["1#.png"]))) == eyes.render([1])[0][0]).all()  # strength 0
    assert back["1#.json"] == b"{}"


def test_an_image_that_is_none_or_too_large_refuses_no_other_one(client, tmp_path):
    large = png(np.zeros((2100, 2000), np.uint8))
    sent = {"eye.png": png(eyes.render([1])[0][0]), "none.png": b"none", "large.png": large, "notes.txt": b"x"}
    summary, result = client.predict(
        [handle_file(pack(tmp_path / "mixed.zip", sent))], "eyes", 1.0, "", api_name="/batch"
    )
    assert "<strong>1 images refined</strong>, 1 other files copied" in summary and "2 left out" in summary
    assert "none.png in mixed.zip is no image that can be read here" in summary
    assert "large.png in mixed.zip has 2000×2100 pixels: at most 4,000,000 are taken here" in summary
    assert unpack(result).keys() == {"eye.png", "notes.txt"}


def test_every_failure_is_a_sentence_in_the_place_of_the_result(monkeypatch, caplog):
    def failing(error):
        @stay_in_place(None)
        def event():
            yield "<p>at work</p>", None
            raise error

        shown = event()
        assert next(shown)[0] == "<p>at work</p>"
        told = next(shown)
        with pytest.raises(gr.Error) as caught:
            next(shown)
        assert told[1] is None and not caught.value.visible
        return told[0], caught.value.message

    told, message = failing(SourceError("<b>.zip holds no images"))
    assert "&lt;b&gt;.zip holds no images." in told and message == "&lt;b&gt;.zip holds no images"
    assert "send it again" in failing(FileNotFoundError("/tmp/secret"))[0]
    told, message = failing(RuntimeError("/tmp/secret"))
    assert "try again" in told and "secret" not in told + message
    assert "/tmp/secret" in caplog.text


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"../x.png": png(np.zeros((20, 20), np.uint8))}, "eyes.zip holds '../x.png', a name that leads out of it"),
        ({"x.txt": b""}, "eyes.zip holds no images"),
        ({"<img src=x>.png": b"none"}, "&lt;img src=x&gt;.png in eyes.zip is no image that can be read here"),
        (None, "there is no file yet"),
    ],
)
def test_an_error_is_a_sentence_that_names_no_path_of_the_server(client, server, tmp_path, entries, sentence):
    files = [] if entries is None else [handle_file(pack(tmp_path / "eyes.zip", entries))]
    before = server.log.read_text()
    with pytest.raises(AppError) as caught:
        client.predict(files, "eyes", 1.0, "", api_name="/batch")
    assert sentence in str(caught.value)
    assert str(server.temporary) not in str(caught.value)
    assert "Traceback" not in server.log.read_text()[len(before) :]


def test_a_cancelled_batch_ends_and_leaves_nothing(client, server, tmp_path):
    file = long_work(tmp_path)
    job = client.submit([handle_file(file)], "eyes", 1.0, "", api_name="/batch")

    def folders():
        return list(server.temporary.glob("simgan-space-*/simgan-batch-*"))

    assert wait_until(folders)
    job.cancel()
    assert wait_until(lambda: not folders())
    assert not list(server.temporary.rglob("long refined.zip"))
    assert client.predict(api_name="/stop_batch") == "Stopped. Nothing of it was kept."


def test_clients_that_wait_see_their_place_in_the_queue(space, tmp_path):
    file = long_work(tmp_path)
    clients = [connect(space) for _ in range(3)]
    jobs = [one.submit([handle_file(file)], "eyes", 1.0, "", api_name="/batch") for one in clients]
    ranks = set()

    def both_are_known():
        ranks.update({job.status().rank for job in jobs} - {None})
        return ranks == {0, 1}  # of the two that wait; one is at work

    assert wait_until(both_are_known), ranks
    for one, job in zip(clients, jobs, strict=True):
        job.cancel()
        one.close()


def batch(models, file):
    return batch_tab.refine_all(models, [(str(file), file.name)], "eyes", 1.0, ())


def test_a_batch_that_takes_too_long_or_is_too_much_work_ends_with_a_sentence(models, tmp_path, monkeypatch):
    file = pack(tmp_path / "eyes.zip", {f"{i}.png": png(image) for i, image in enumerate(eyes.render(range(3))[0])})
    monkeypatch.setattr(batch_tab, "SECONDS", 0.0)
    with pytest.raises(SourceError, match=r"^eyes\.zip takes longer than 0 seconds, which is the limit"):
        list(batch(models, file))
    monkeypatch.setattr(batch_tab, "WORK", 10**6)
    with pytest.raises(SourceError, match="send it in parts"):
        list(batch(models, file))


def test_a_cancelled_batch_holds_its_place_until_its_thread_has_ended(models, tmp_path, monkeypatch):
    begun, go_on = [], threading.Event()

    def work_that_does_not_stop(refiner, archive, *_, **__):
        begun.append(archive.name)
        assert go_on.wait(30)
        return Refined(images=1)

    monkeypatch.setattr(batch_tab, "refine_path", work_that_does_not_stop)
    for name in ("first", "second", "third"):
        work = batch(models, pack(tmp_path / f"{name}.zip", {"1.png": png(eyes.render([0])[0][0])}))
        assert "Reading" in next(work)[0]
        assert "Refining" in next(work)[0]
        if name != "third":
            work.close()
    assert begun == ["first.zip"]
    go_on.set()
    assert "1 images refined" in list(work)[-1][0]
    assert begun == ["first.zip", "third.zip"]  # the second was cancelled before it began


def test_a_batch_stops_within_an_image(models, tmp_path, monkeypatch):
    strips, model = [], models.get("eyes")
    file = pack(tmp_path / "large.zip", {"large.png": png(np.zeros((2000, 2000), np.uint8))})
    convolve = type(model.refiner).convolve
    begun, stopped = threading.Event(), threading.Event()

    def counted(refiner, prepared):
        strips.append(prepared.shape)
        begun.set()
        assert stopped.wait(30)
        return convolve(refiner, prepared)

    monkeypatch.setattr(type(model.refiner), "convolve", counted)
    work = batch(models, file)
    next(work), next(work)
    assert begun.wait(30)
    work.close()
    stopped.set()
    batch_tab._THREAD.submit(int).result(30)  # what comes after it
    assert len(strips) == 1  # of four


# Can you tell?


def test_p_is_the_papers():
    assert round(turing_tab.p_value(*turing_tab.PAPER), 3) == 0.148
    assert turing_tab.p_value(0, 20) == 1
    assert turing_tab.p_value(20, 20) == pytest.approx(2**-20)


def test_a_round_is_scored_and_the_truth_is_sent_only_after_the_answer(client):
    shown = client.predict(api_name="/start_turing_test")
    images, right = set(), 0
    for number in range(1, turing_tab.COUNT + 1):
        image, note, seen, score, _ = shown
        assert f"Image {number} of 10" in note
        assert (seen["value"] in ([], None)) and not score
        images.add(Path(image["value"] if isinstance(image, dict) else image).read_bytes())
        choice = "real" if number % 3 else "refined"
        shown = client.predict(api_name=f"/answer_{choice}")
        verdict, truth = re.search(r"\*\*(Right|Wrong)\*\*: it was (real|refined)\.", shown[1]).groups()
        assert (verdict == "Right") == (truth == choice)
        right += verdict == "Right"
    assert len(images) == 10
    assert f"## {right} of 10 right" in shown[1]
    p = turing_tab.p_value(right, 10)
    assert f"| you | {right} of 10 ({right / 10:.1%}) | {f'{p:.3f}' if p >= 0.001 else '< 0.001'} |" in shown[1]
    assert "517 of 1,000 (51.7%) | 0.148 |" in shown[1]
    assert len(shown[2]["value"]) == 10
    assert shown[3].startswith(
        f"I was right about {right} of 10 eye crops, real or refined; ten people in the paper about"
    )
    with pytest.raises(AppError, match="There is no image to answer: press Start"):
        client.predict(api_name="/answer_real")


def test_nothing_that_is_sent_before_an_answer_differs_between_real_and_refined(client, space):
    """The whole stream of events, not only what the page makes of it."""
    import httpx

    sent = {}
    session = "s" + str(random.random())
    named = {one["api_name"]: one["id"] for one in client.config["dependencies"]}
    for name in ("start_turing_test", "answer_real", "answer_real"):
        call = {"data": [None] * (name != "start_turing_test"), "fn_index": named[name], "session_hash": session}
        httpx.post(f"{space}gradio_api/queue/join", json=call).raise_for_status()
        events = []
        with httpx.stream(
            "GET", f"{space}gradio_api/queue/data", params={"session_hash": session}, timeout=30
        ) as stream:
            for line in stream.iter_lines():
                events.append(line)
                if "process_completed" in line:
                    break
        output = json.loads(next(line for line in events if "process_completed" in line).removeprefix("data:"))
        assert output["success"]
        assert output["output"]["data"][0] is None  # the state stays
        image = output["output"]["data"][1]
        described = {**image, **image.get("value", {})}
        sent.setdefault("names", set()).add(Path(described["path"]).name)
        sent.setdefault("keys", set()).add(tuple(sorted(described)))
    assert sent["names"] == {"image.png"}
    assert len(sent["keys"]) == 1


def test_visitors_do_not_share_a_round(space):
    first, second = connect(space), connect(space)
    first.predict(api_name="/start_turing_test")
    with pytest.raises(AppError, match="press Start"):
        second.predict(api_name="/answer_real")
    second.predict(api_name="/start_turing_test")
    first.predict(api_name="/answer_real")
    assert "Image 3 of 10" in first.predict(api_name="/answer_real")[1]
    assert "Image 2 of 10" in second.predict(api_name="/answer_real")[1]


def test_a_round_is_by_the_toss_of_a_coin_and_of_images_as_they_are(models, tmp_path):
    model, renders, camera = turing_tab.find_images(models)
    assert model.name == "eyes-simulated"
    drawn = [turing_tab.draw(model, renders, camera, 20, random.Random(seed)) for seed in range(10)]
    counts = [sum(one.real) for one in drawn]
    assert len(set(counts)) > 2 and 60 < sum(counts) < 140
    for index in range(3):
        Image.fromarray(np.full((70, 110, 3), 40 * index, np.uint8)).save(tmp_path / f"{index}.jpg", exif=b"Exif\0\0")
    model, renders, photographs = turing_tab.find_images(models, tmp_path)
    mixed = turing_tab.draw(model, renders, photographs, 20, random.Random(0))
    for image, real in zip(mixed.images, mixed.real, strict=True):
        assert image.shape == (35, 55)
        assert real == any((image == photograph).all() for photograph in photographs)


# Training


def test_a_model_that_does_not_ship_has_no_records_here(client):
    for rest, name in (([], "/training"), ([0], "/training_step")):
        with pytest.raises(AppError, match=r"\.\./eyes is not in the list of choices: \['eyes', 'eyes-simulated'"):
            client.predict("../eyes", *rest, api_name=name)


def test_a_model_without_records_says_so(monkeypatch, tmp_path):
    Refiner.from_pretrained("eyes").save_pretrained(tmp_path / "eyes")
    monkeypatch.setattr(training_tab, "SHIPPED", tmp_path)
    note, plots, slider, sheet, figures = training_tab._all("eyes")
    assert "ships **without records**" in note
    assert [plots, sheet, figures] == ["", None, ""]
    assert not slider["visible"]


@pytest.mark.parametrize("name", ["eyes", "eyes-simulated"])
def test_the_records_of_a_shipped_model_become_curves_and_sheets(name):
    found = read_records(SHIPPED / name)
    steps = [row["step"] for row in found.measures]
    assert len(steps) > 2
    note, plots, slider, sheet, figures = training_tab._all(name)
    assert f"**step {found.step}** of {steps[-1]}" in note
    svgs = ElementTree.fromstring(plots.replace("xlink:", "")).findall(".//{http://www.w3.org/2000/svg}svg")
    words = [[text.text.strip() for text in svg.iter("{http://www.w3.org/2000/svg}text")] for svg in svgs]
    assert [{"training step", "patch distance ×1000"} <= set(words[0]), "training step" in words[1]] == [True, True]
    assert f"annotation shift in {found.words.unit}" in words[1] and "patch distance ×1000" in words[2]
    for told, names in zip(words, (REALISM, SHIFT, {}), strict=True):
        assert {f"ships: step {found.step}", *(label for label, _ in names.values())} <= set(told)
    ids = re.findall(r'\bid="([^"]*)"', plots)
    assert len(ids) == len(set(ids)) > 10
    assert (slider["minimum"], slider["maximum"]) == (steps[0], steps[-1])
    assert all((step - steps[0]) % slider["step"] == 0 for step in steps)
    with Image.open(found.sheet) as whole:
        assert sheet.size == (whole.width // 4, 2 * whole.height + 8)
    assert f"**Step {found.step}**: patch distance {1000 * found.best['realism']:.1f} " in figures
    assert training_tab._at(found, 10**9)[1].startswith(f"**Step {steps[-1]}**")
