"""A trained model on the Hub, in one commit: both networks, the card, samples, figures and records."""

import json
import os
import shlex
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol

from simgan.errors import ModelError, PublishError
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import CURVES, render_model_card
from simgan.hub.cards.records import Records, read_records, without_places
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
    folder = records.folder
    for name in (*NETWORKS, "metrics.jsonl"):
        if (folder / name).is_file():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, target / name)
    for name, values in (("training.json", records.settings), (records.words.records, records.experiment)):
        if values:
            (target / name).write_text(json.dumps(without_places(values), indent=2) + "\n")
    sheets = records.sheets
    chosen = {round(i * (len(sheets) - 1) / (SHEETS - 1)) for i in range(SHEETS)} if len(sheets) > SHEETS else None
    for number, sheet in enumerate(sheets):
        if chosen is None or number in chosen or sheet == records.sheet:
            (target / "samples").mkdir(exist_ok=True)
            shutil.copyfile(sheet, target / "samples" / sheet.name)
    curves = draw_curves(records)
    if curves is not None:
        (target / CURVES).parent.mkdir()
        (target / CURVES).write_bytes(curves)
    own = folder / CARD
    if own.is_file():  # of a shipped model, or edited: it holds facts that no record has
        shutil.copyfile(own, target / CARD)
    else:
        (target / CARD).write_text(render_model_card(records, repo_id, curves=curves is not None))


def copy_model(folder: Path, target: Path) -> None:
    """Copy what `gather` reads of a run that is still being trained."""
    records = [file.name for file in folder.glob("*.json*")]
    for name in (*NETWORKS, *records, CARD):
        if (folder / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target / name)
    if (folder / "samples").is_dir():
        shutil.copytree(folder / "samples", target / "samples")


class Network(Protocol):
    """What a push needs of a network; `simgan.hub.pretrained.Pretrained` has it."""

    subfolder: ClassVar[str]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write its files into a folder."""


def push_network(network: Network, repo_id: str, *, commit_message: str | None = None, **options: Any) -> Pushed:
    """Push one network; a refiner brings a card where the repository has none. Options are those of `upload`."""
    kind = type(network).__name__
    with TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        if not network.subfolder:
            (Path(folder) / CARD).write_text(render_model_card(read_records(Path(folder)), repo_id))
        return upload(Path(folder), repo_id, message=commit_message or kind, **options)


def push_command(run: Path, repo_id: str, *, private: bool = False, revision: str | None = None) -> str:
    """Return the command line that pushes a run."""
    words = ["simgan", "push", str(run), repo_id]
    words += ["--private"] * private + (["--revision", revision] if revision else [])
    return shlex.join(words)
