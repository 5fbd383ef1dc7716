"""Images of any kind: what is found is told, nothing is changed unasked, and what does not go together is refused."""

import dataclasses
import json
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
from datasets import Dataset
from datasets import Image as ImageColumn
from PIL import Image

import simgan
from simgan import ConfigError, ModelError, Refiner, SourceError, Stopped
from simgan.cli import main
from simgan.data.crop import Wanted
from simgan.data.survey import survey
from simgan.experiments.ablation.measures import Unseen
from simgan.simulators.eyes import renders as eyes
from simgan.training import selection
from simgan.training.config import TrainingConfig, from_command_line, preset, to_command_line
from simgan.training.sources import load, resolve

QUICK = {
    "steps": 2,
    "evaluate_every": 1,
    "batch_size": 8,
    "discriminator_warm_up": 1,
    "history_size": 0,
    "trackers": (),
}


def texture(count: int, size: tuple[int, int] = (40, 32), channels: int = 3, seed: int = 0) -> list[Image.Image]:
    """Smooth random images of that width and height."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 5, 5, channels), np.uint8)
    return [Image.fromarray(one.squeeze()).resize(size, Image.Resampling.BICUBIC) for one in coarse]


def folder(path, images, **columns):
    """Write images as PNG files with a metadata.jsonl, and return the folder's path."""
    path.mkdir()
    with (path / "metadata.jsonl").open("w") as metadata:
        for number, image in enumerate(images):
            image.save(path / f"{number:03}.png")
            row = {"file_name": f"{number:03}.png", **{name: values[number] for name, values in columns.items()}}
            metadata.write(json.dumps(row) + "\n")
    return str(path)


def config(tmp_path, synthetic, real, **settings):
    sides = {"synthetic": folder(tmp_path / "s", synthetic), "real": folder(tmp_path / "r", real)}
    return TrainingConfig(preset="images", **{side: (name,) for side, name in sides.items()}, **settings)


@pytest.mark.parametrize(
    ("sizes", "channels", "settings", "resolved", "line"),
    [
        (((40, 32), (40, 32)), 3, {}, {"channels": 3, "window": 0, "size": (40, 32)}, "training on 40×32, colour"),
        (((40, 32), (40, 32)), 1, {}, {"channels": 1, "window": 0, "size": (40, 32)}, "training on 40×32, grey"),
        (
            ((40, 32), (70, 90)),
            3,
            {},
            {"channels": 3, "window": 32, "size": None},
            "training on windows of 32×32 of 40×32 to 70×90, colour",
        ),
        (
            ((40, 32), (70, 90)),
            3,
            {"size": (24, 24), "channels": 1, "equalize": True},
            {"channels": 1, "window": 0, "size": (24, 24)},
            "training on 24×24, cut and resized from 40×32 to 70×90, grey, histograms equalized",
        ),
        (((200, 150), (200, 150)), 3, {}, {"channels": 3, "window": 64, "size": None}, "windows of 64×64 of 200×150"),
    ],
)
def test_size_and_colour_follow_from_the_images_and_are_told(
    sizes, channels, settings, resolved, line, tmp_path, capsys
):
    given = config(tmp_path, texture(6, sizes[0], channels), texture(6, sizes[1], channels), **settings)
    found, lines = resolve(given)
    assert found == resolved
    assert line in lines[2]
    assert "s: 6 images" in lines[0] and "r: 6 images" in lines[1]


@pytest.mark.parametrize(
    ("size", "channels", "settings", "shape"),
    [
        ((40, 32), 3, {}, (32, 40, 3)),
        ((40, 32), 1, {"size": (24, 20)}, (20, 24)),
        ((90, 70), 3, {"window": 32}, (32, 32, 3)),
    ],
)
def test_an_ablation_measures_the_images_that_are_trained_on(size, channels, settings, shape, tmp_path):
    recipe = config(tmp_path, texture(10, size, channels), texture(10, size, channels, seed=1), **settings)
    unseen = Unseen(dataclasses.replace(recipe, **resolve(recipe)[0]))
    assert unseen.real.shape[1:] == unseen.synthetic[0][0].shape[1:] == shape


def test_scales_that_differ_are_told(tmp_path):
    _, lines = resolve(config(tmp_path, texture(4, (64, 64)), texture(4, (128, 128))))
    assert "Note: 64×64 synthetic and 128×128 real pixels are usual" in lines[-1]


@pytest.mark.parametrize(
    ("real", "settings", "sentence"),
    [
        (texture(4, channels=1), {}, "the real images are grey and the others in colour: choose --channels 1 or 3"),
        (texture(4, (15, 40)), {}, "an image has a side of 15 pixels: at least 16 are needed, so give a --size"),
        (texture(4, (50, 50)), {"window": 0}, "the images differ in size: give --size WIDTH HEIGHT, or a --window"),
        ([Image.fromarray(np.zeros((40, 40), np.uint16))] * 3, {}, "images of 16 bits, and the preset images is for 8"),
    ],
)
def test_images_that_do_not_go_together_are_refused(real, settings, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        resolve(config(tmp_path, texture(4), real, **settings))


def test_labels_of_other_images_are_refused_and_images_without_are_told(tmp_path):
    place = folder(tmp_path / "s", texture(6), label=["a"] * 6)
    lines = (tmp_path / "s/metadata.jsonl").read_text().splitlines()
    (tmp_path / "s/metadata.jsonl").write_text("\n".join(lines[:4]))
    assert "s: 6 images, 40×32 pixels, 8-bit colour; label (WARNING: 2 images have none)" in str(
        survey(place, Wanted())
    )
    (tmp_path / "s/005.png").unlink()
    (tmp_path / "s/metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(SourceError, match=r"metadata.jsonl has labels of 1 images that are not there, such as 005.png"):
        survey(place, Wanted())


def test_labels_that_a_size_cuts_off_are_told(tmp_path):
    points = [[[2.0, 20.0]] if number < 4 else [[32.0, 20.0]] for number in range(20)]
    place = folder(tmp_path / "wide", texture(20, (64, 32)), points=points)
    given = TrainingConfig(preset="images", synthetic=(place,), real=(place,), size=(32, 32), batch_size=4, holdout=0.5)
    with pytest.warns(UserWarning, match=r"wide: points of [1-4] of 10 images lie outside of what was cut to 32×32"):
        load(given)
    with pytest.warns(UserWarning, match=r"points of 4 of 20 images lie outside"):
        main(["prepare", place, str(tmp_path / "out"), "--size", "32", "32"])


def test_an_image_smaller_than_a_given_window_is_named(tmp_path):
    given = config(tmp_path, texture(4, (64, 64)), texture(4, (40, 40)), window=48)
    with pytest.raises(SourceError, match=r"r/000.png is 40×40 pixels, less than a window of 48: lower --window"):
        load(given)


def test_two_images_are_too_few(tmp_path):
    with pytest.raises(SourceError, match="one has only 1 to train on, besides those held out: add images"):
        simgan.train(texture(30), texture(2), output=tmp_path / "run", **QUICK)


def test_a_run_that_failed_leaves_the_next_one_free_to_have_another_precision(tmp_path):
    for precision in ("no", "bf16"):
        with pytest.raises(SourceError, match="add images"):
            simgan.train(texture(30), texture(2), output=tmp_path, **QUICK | {"mixed_precision": precision})


def test_equalize_is_for_grey_images():
    with pytest.raises(ConfigError, match="equalize is for grey images: add --channels 1"):
        TrainingConfig(preset="images", channels=3, equalize=True)


def test_windows_are_parts_of_their_image_and_those_of_one_are_held_out_together(tmp_path):
    photographs = texture(10, (300, 200))
    data = load(config(tmp_path, texture(10, (80, 80)), photographs, window=32))
    whole = [np.asarray(image) for image in photographs]

    def origin(window):
        return [
            number
            for number, image in enumerate(whole)
            if (np.lib.stride_tricks.sliding_window_view(image[..., 0], window.shape[:2]) == window[..., 0])
            .all((-1, -2))
            .any()
        ]

    trained, held_out = data.real[0][:40:13], data.held_out_real[0][::60]
    assert data.real[0].shape == (32, 32, 3)
    assert len(data.real[0]) > 800
    trained, held_out = ([origin(window) for window in some] for some in (trained, held_out))
    assert all(len(found) == 1 for found in (*trained, *held_out))
    assert not {found[0] for found in trained} & {found[0] for found in held_out}


def test_bricks_are_no_eyes(tmp_path):
    things = folder(tmp_path / "things", texture(40, (64, 64)))
    with pytest.raises(SourceError, match=r"things shows no eye crops: \d+% of its images look like such"):
        load(TrainingConfig(preset="eyes", synthetic=("simulator:eyes",), real=(things,), limit=40))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "eyes"),
        (["--synthetic", "renders/", "--real", "photos/"], "images"),
        (["--synthetic", "unityeyes:X", "--real", "photos/"], "eyes"),
        (["--real", "camera:hands"], "hands"),
        (["--synthetic", "renders/", "--preset", "eyes-paper"], "eyes-paper"),
    ],
)
def test_without_a_preset_the_sources_tell_which_kind_of_image_it_is(options, expected):
    assert from_command_line(options).preset == expected


def record(step, realism, shift, change=0.1):
    measured = {"step": step, "realism": realism, "realism_raw": 5, "realism_floor": 1, "change": change}
    return measured | {"shift": shift, "shift_median": shift / 3}


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (
            [record(0, 5, 0), record(1, 3, 9)],
            "step 0 is kept, which changes nothing, as all later ones moved or faded the edges",
        ),
        ([record(0, 5, 0), record(1, 5.1, 0)], "step 0 is kept, which changes nothing, as no later one is more real"),
        ([record(0, 5, 0), record(1, 4.999, 0, 1e-7)], "changes nothing: train again with another --seed"),
        ([record(0, 5, np.nan), record(1, 3, np.nan)], "how far the edges moved could not be measured"),
    ],
)
def test_a_refiner_of_which_little_is_known_is_told_loudly(records, sentence):
    (warning,) = selection.warnings(records, preset("images"), "edges")
    assert warning.startswith("WARNING: ") and sentence in warning
    assert not selection.warnings([record(0, 5, 0), record(1, 3, 0)], preset("images"), "edges")


def test_a_run_goes_on_with_its_own_settings(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    given = ["--preset", "eyes-paper", "--steps", "7", "--augment", "contrast", "--output", str(run)]
    config = from_command_line(given)
    (run / "training.json").write_text(config.to_json())
    for options in (["--resume", str(run)], ["--resume", "--output", str(run)]):
        resumed = from_command_line(options)
        assert resumed.resume
        assert resumed.to_json() == config.to_json().replace('"resume": false', '"resume": true')
    assert from_command_line(["--resume", str(run), "--steps", "9"]).steps == 9
    assert from_command_line(to_command_line(config)) == config


@pytest.mark.parametrize("name", ["eyes", "eyes-simulated"])
def test_colour_starts_from_grey_with_the_same_function(name):
    grey = torch.rand(2, 1, 35, 55) * 2 - 1
    for kind in (Refiner, simgan.Discriminator):
        trained = kind.from_pretrained(name)
        started = kind.from_preset("images", channels=3).start_from(name)
        assert started.config.domain == "images"
        if kind is Refiner and not trained.config.noise:
            expected = trained.convolve(grey).expand(-1, 3, -1, -1)
            torch.testing.assert_close(started(grey.expand(-1, 3, -1, -1)), expected, atol=1e-5, rtol=0)
        if kind is not Refiner:
            torch.testing.assert_close(started(grey.expand(-1, 3, -1, -1)), trained(grey), atol=1e-4, rtol=1e-4)


def test_grey_does_not_start_from_colour(tmp_path):
    Refiner.from_preset("images", channels=3).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is of colour, and a grey network cannot start from it"):
        Refiner.from_preset("images", channels=1).start_from(tmp_path)


def red(x):
    """A ψ that sees the first channel alone."""
    return (x[:, :1],)


class Half(Refiner):
    """A refiner that changes half as much."""

    def convolve(self, prepared):
        return (prepared + super().convolve(prepared)) / 2


def test_training_from_python_takes_objects_in_a_thread_too(tmp_path):
    photographs = np.stack([np.asarray(image) for image in texture(30)])
    rows, results = [], []
    own = Half(simgan.RefinerConfig(domain="images", channels=3, width=4, blocks=1, predict_residual=True))

    def train():
        results.append(
            simgan.train(
                texture(30, (50, 60)), photographs, output=tmp_path, size=(24, 24), transform=red, log=rows.append,
                refiner=own, **QUICK,
            )
        )  # fmt: skip

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    (refiner,) = results
    assert type(refiner) is Half
    assert [row["step"] for row in rows] == [0, 1, 1, 2, 2]  # measures, and values of steps
    settings = json.loads((tmp_path / "training.json").read_text())
    assert (settings["transform"], settings["synthetic"], settings["channels"]) == ("red", ["memory:synthetic"], 3)
    image = texture(1)[0]
    assert refiner.refine(image).size == image.size
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["class"] == "Half"
    (tmp_path / "config.json").write_text(json.dumps(written | {"class": "Quarter"}))
    with pytest.raises(ModelError, match="holds a Quarter, no Refiner that is known here: import its module first"):
        Refiner.from_pretrained(tmp_path)


def test_a_data_set_trains_with_its_labels_and_from_another_model(tmp_path):
    def rows(count):
        mask = Image.fromarray(np.pad(np.full((16, 16), 255, np.uint8), 8))
        return {"image": texture(count, (32, 32), 1), "mask": [mask] * count, "part": ["a"] * count}

    synthetic = Dataset.from_dict(rows(20)).cast_column("image", ImageColumn())
    synthetic = synthetic.cast_column("mask", ImageColumn())
    refiner = simgan.train(
        synthetic, eyes.render(range(20))[0][:, :32, :32], output=tmp_path, start_from="eyes", weight="mask", **QUICK
    )
    assert (refiner.config.width, refiner.config.kernel_size, refiner.config.channels) == (12, 7, 1)
    with pytest.raises(ConfigError, match="the column part does not move with the crop"):
        simgan.train(synthetic, synthetic, output=tmp_path / "other", weight="part", **QUICK)


def test_settings_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no setting 'stepz': there are augment"):
        simgan.train(texture(3), texture(3), output=tmp_path, stepz=3)
    with pytest.raises(SourceError, match="the real images are int: give a folder, a data set, an array or a list"):
        simgan.train(texture(3), 7, output=tmp_path)


def test_a_log_that_interrupts_leaves_a_checkpoint_to_go_on_from(tmp_path):
    def stop(row):
        if row["step"] == 1 and "shift" in row:  # once: a second Ctrl-C ends at once
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="go on with --resume"):
        simgan.train(texture(20), texture(20), output=tmp_path, log=stop, **QUICK)
    assert signal.getsignal(signal.SIGINT) is before
    simgan.train(texture(20), texture(20), output=tmp_path, resume=True, **QUICK)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "shift" in row] == [0, 1, 2]


def test_refining_things_with_a_refiner_of_eyes_warns(tmp_path):
    things = folder(tmp_path / "things", texture(10, (55, 35)))
    with pytest.warns(UserWarning, match="the input shows no eye crops: "):
        main(["refine", things, str(tmp_path / "out"), "--model", "eyes"])
    crops = folder(tmp_path / "crops", [Image.fromarray(image) for image in eyes.render(range(10))[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        main(["refine", crops, str(tmp_path / "out2"), "--model", "eyes"])
