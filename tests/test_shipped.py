"""The refiners that ship: small, with discriminator and card, the same output everywhere, and their promises kept."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from simgan import Discriminator, Refiner
from simgan.data import Crops, hold_out, load
from simgan.domains.eye_shift import IRIS, LIDS, measure_eye_shift
from simgan.hub.cards.records import read_records
from simgan.hub.loading import SHIPPED
from simgan.images.arrays import equalize
from simgan.measures.depth import edge_jaggedness, measure_surface_shift
from simgan.measures.two_sample import two_sample_test
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands

NAMES = pytest.mark.parametrize("name", sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir()))
LARGEST = {"eyes": 5_000_000, "hands": 20_000_000}  # bytes
EXPECTED = Path(__file__).parent / "expected"


@NAMES
def test_a_shipped_folder_is_small_and_holds_both_networks_the_card_and_the_records(name):
    files = {path.relative_to(SHIPPED / name).as_posix() for path in (SHIPPED / name).rglob("*") if path.is_file()}
    networks = {"config.json", "model.safetensors", "discriminator/config.json", "discriminator/model.safetensors"}
    sheets = {file for file in files if file.startswith("samples/step-")}
    records = read_records(SHIPPED / name)
    measured = {records.words.records} if records.experiment else set()  # by networks that learnt from its images
    assert files == networks | {"README.md", "training.json", "metrics.jsonl"} | sheets | measured
    assert records.best["shift_median"] <= records.settings["max_median_shift"]
    assert records.best["realism"] < records.best["realism_raw"]
    assert {records.step} < {int(sheet.stem.removeprefix("step-")) for sheet in records.sheets}
    domain = Refiner.from_pretrained(name).config.domain
    assert domain == name.removesuffix("-simulated") == Discriminator.from_pretrained(name).config.domain
    assert sum((SHIPPED / name / file).stat().st_size for file in files) < LARGEST[domain]


@NAMES
def test_the_card_tells_terms_and_figures(name):
    card = ModelCard.load(SHIPPED / name / "README.md")
    assert card.data.library_name == "simgan"
    assert card.data.license == ("apache-2.0" if name.endswith("-simulated") else "other")
    assert "TRIED" not in card.text  # what a facts file has yet to tell
    for heading in ("## Trained on", "**Terms.**", "## Measured on images that were held out", "## Limits"):
        assert heading in card.text
    assert card.content == (SHIPPED.parents[1] / "model_cards" / f"{name}.md").read_text()


def refined_renders(name):
    """Renders of the model's own domain, refined, beside each other: what lies in `expected/`."""
    refiner = Refiner.from_pretrained(name)
    world, count = {"eyes": (eyes, 8), "hands": (hands, 3)}[refiner.config.domain]
    return np.hstack(refiner.refine(list(world.render(range(count))[0])))


@NAMES
def test_the_output_is_the_expected_one_everywhere(name):
    refined = refined_renders(name)
    expected = np.array(Image.open(EXPECTED / f"{name}.png"))
    assert expected.dtype == refined.dtype
    apart = np.abs(refined.astype(int) - expected)
    if refined.dtype == np.uint8:
        assert apart.max() <= 8  # bfloat16 where it is fast, float32 elsewhere
        assert apart.mean() < 0.5
    else:
        both = apart[(refined > 0) & (expected > 0)]  # mm, rounded; float32 everywhere
        assert both.max() <= 4 and (both > 1).mean() < 1e-3  # a step of the camera's, half-way between two
        assert ((refined > 0) != (expected > 0)).mean() < 1e-4


def test_labels_stay_and_images_change_on_persons_that_training_did_not_see(shared_data):
    source = f"syntheseyes:{shared_data / 'eyes_synthetic' / 'syntheseyes_grey.parquet'}"
    data = hold_out(load(source), 0.2)[1]
    data = data.select(range(0, len(data), 20))
    before = np.stack([equalize(image) for image in Crops(data)[:]])
    after = np.stack(Refiner.from_pretrained("eyes").refine(list(before)))
    shift = measure_eye_shift(before, after, {name: data[name][:] for name in (*IRIS, *LIDS)})
    assert shift.trimmed_mean.value <= 0.2 and shift.median.value <= 0.15
    further = {one.name: one.estimate.value for one in shift.further}
    assert (
        further["beyond 3 px"] == 0
        and further["edges left of irises"] >= 0.85
        and further["irises faded or changed"] <= 0.01
    )
    assert np.abs(after.astype(int) - before).mean() > 8


def test_a_network_hardly_tells_refined_renders_from_photographs_of_the_embedded_domain():
    (renders, labels), (photographs, of) = (world.render(range(400), seed=11) for world in (eyes, camera))
    persons = (labels["person"], of["person"])
    refined = np.stack(Refiner.from_pretrained("eyes-simulated").refine(list(renders)))
    raw = np.stack([equalize(image) for image in renders])
    assert two_sample_test(raw, photographs, persons=persons).value > 0.95
    assert two_sample_test(refined, photographs, persons=persons).value < 0.8  # 0.65 of 500


@pytest.mark.parametrize("name", [name for name in ("hands", "hands-simulated") if (SHIPPED / name).is_dir()])
def test_the_surface_stays_and_readings_change_on_hands_that_training_did_not_see(name):
    before = hands.render(range(24), seed=7)[0]
    after = np.stack(Refiner.from_pretrained(name).refine(list(before)))
    shift = measure_surface_shift(before, after)
    assert shift.median.value <= 3
    assert shift.further[0].estimate.value < 0.2  # readings lost
    ragged_before, ragged_after = (np.mean([edge_jaggedness(image) for image in side]) for side in (before, after))
    assert ragged_after > 1.05 * ragged_before  # as a camera's
