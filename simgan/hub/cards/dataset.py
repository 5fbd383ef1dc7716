"""The card of a refined data set: the refiner, the columns and splits, how to load it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from huggingface_hub import DatasetCardData

from simgan.hub import VERSION
from simgan.hub.cards.model import environment

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


@dataclass(frozen=True)
class Provenance:
    """The refiner of a data set: its name, revision and SHA-256, and the strength."""

    refiner: str
    revision: str | None
    digest: str
    strength: float
    version: str = VERSION


def render_dataset_card(
    name: str, by: Provenance, *, splits: Mapping[str, int], columns: Mapping[str, str], column: str
) -> str:
    """Return the card of a data set: `splits` are the numbers of images, `column` is the column of images."""
    count = sum(splits.values())
    data = DatasetCardData(
        license="unknown",
        pretty_name=name.rsplit("/", 1)[-1],
        task_categories=["image-to-image"],
        size_categories=next((name for most, name in SIZES if count < most), "n>10M"),
        tags=["simgan", "simulated-unsupervised-learning", "synthetic-data"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
        refined_by=asdict(by),
    )
    facts = {"by": by, "count": count, "splits": splits, "columns": columns, "column": column}
    return environment().get_template("dataset.md.jinja").render(card_data=data.to_yaml(), name=name, **facts)
