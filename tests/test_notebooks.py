"""The notebooks run from start to end in any folder, and stay small."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from simgan import Refiner

FOLDER = Path(__file__).parents[1] / "notebooks"
LARGEST = 300_000  # bytes, with the pictures that a reader sees before anything is run


def executed(name, folder, monkeypatch):
    """Run a notebook in a folder, as Jupyter does; an error in a cell raises. Return what its cells print and show."""
    monkeypatch.setenv("STEPS", "2")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def text(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(outputs):
    return sum(any(kind.startswith("image/") for kind in output.get("data", ())) for output in outputs)


def test_the_notebook_of_refining_runs_in_a_folder_of_its_own(tmp_path, monkeypatch):
    outputs = executed("refine", tmp_path, monkeypatch)
    assert pictures(outputs) == 6
    assert "labels are the same: True" in text(outputs)
    assert len(list((tmp_path / "refine-example" / "refined").glob("*.png"))) == 5


def test_the_notebook_of_training_leaves_a_refiner_refined_images_and_a_comparison(tmp_path, monkeypatch):
    outputs = executed("train", tmp_path, monkeypatch)
    assert pictures(outputs) == 3
    assert "step 2: patch distance" in text(outputs)
    assert Refiner.from_pretrained(tmp_path / "runs" / "notebook").config.domain == "images"
    assert len(list((tmp_path / "refined").glob("*.png"))) == 1200
    assert (tmp_path / "runs" / "notebook" / "classes.json").is_file()


@pytest.mark.parametrize("name", ["refine", "train"])
def test_what_is_kept_of_a_notebook_is_small_shows_pictures_and_names_no_machine(name):
    file = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(file, as_version=4)
    assert file.stat().st_size < LARGEST
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not outputs or pictures(outputs) >= 3
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert not any(f'"{place}' in file.read_text(encoding="utf-8") for place in ("/root", "/home", "/tmp"))
