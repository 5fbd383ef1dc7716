"""A trained model on the Hub, in one commit: both networks, the card, samples, figures and records."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simgan.errors import ModelError, PublishError
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import CURVES, render_model_card
from simgan.hub.cards.records import Records, read_records
from simgan.hub.loading import CONFIG, WEIGHTS, local_folder
from simgan.hub.uploading import CARD, Pushed, upload

NETWORKS = tuple(f"{folder}{file}" for folder in ("", "discriminator/") for file in (CONFIG, WEIGHTS))
OWNED = ("samples/", "figures/")
SHEETS = 24  # sample sheets that are pushed, evenly spread over the steps


def push_model(
    source: str | Path, repo_id: str, *, card: bool = True, commit_message: str | None = None, **options: Any
) -> Pushed:
    """Push a run, the folder of a model, or a shipped model; a second push of the same sends nothing.

    `card`: with its card. `options` are those of `simgan.hub.uploading.upload`: revision, create_pr, private, token,
    replace_card. `ModelError` where `source` holds no refiner, `PublishError` where the Hub refuses it or is out of
    reach.
    """
    found = local_folder(str(Path(source).expanduser()))
    if found is None:
        raise ModelError(f"{source} is no folder here and no shipped model: give the folder of a run")
    records = read_records(found)
    with TemporaryDirectory() as folder:
        try:
            gather(records, Path(folder), repo_id)
            if not card:
                (Path(folder) / CARD).unlink()
        except OSError as error:
            raise PublishError(f"{source} cannot be copied for the push: {error}") from error
        step = f" of step {records.step}" if records.step is not None else ""
        return upload(Path(folder), repo_id, message=commit_message or f"Refiner{step}", owned=OWNED, **options)


def gather(records: Records, target: Path, repo_id: str) -> None:
    """Write what is pushed of a model into the folder `target`; no folder of this machine is named in it."""
    folder, sheets = records.folder, records.sheets
    chosen = {sheets[round(i * (len(sheets) - 1) / (SHEETS - 1))] for i in range(SHEETS)} if sheets else set()
    # A card that is there is a shipped model's, or edited: it holds facts that no record has.
    for file in {*(folder / name for name in (*NETWORKS, "metrics.jsonl", CARD)), *chosen, records.sheet}:
        if file and file.is_file():
            place = target / file.relative_to(folder)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)
    for name, values in (("training.json", records.settings), (records.words.records, records.experiment)):
        if values:
            (target / name).write_text(json.dumps(values, indent=2) + "\n")
    if curves := draw_curves(records):
        (target / CURVES).parent.mkdir()
        (target / CURVES).write_bytes(curves)
    if not (target / CARD).is_file():
        (target / CARD).write_text(render_model_card(records, repo_id, curves=curves is not None))
