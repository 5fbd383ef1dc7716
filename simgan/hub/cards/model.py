"""The card of a model: the YAML that the Hub reads, and a text for people, both from the run's own records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from simgan.hub.cards.records import ABOUT_THE_RUN, Records, datasets, licence, terms

CURVES = "figures/curves.png"
MEASURES = (  # key of a record, metric type, its name, which may take a domain's words
    ("realism", "patch-distance", "Patch distance to real images"),
    ("realism_raw", "patch-distance-raw", "Patch distance to real images before refining"),
    ("realism_floor", "patch-distance-floor", "Patch distance between real images (floor)"),
    ("shift", "annotation-shift-mean", "Annotation shift: {words.shift}, {words.unit}"),
    ("shift_median", "annotation-shift-median", "Annotation shift: {words.middle}, {words.unit}"),
)


def render_model_card(
    records: Records,
    name: str,
    *,
    curves: bool = False,
    data: ModelCardData | None = None,
    templates: Sequence[Path] = (),
    template: str = "model.md.jinja",
    **facts: Any,
) -> str:
    """Return the card of a model that is loaded by `name`; `curves`: their figure is beside it.

    `templates`: folders of more templates, which may extend `model.md.jinja` and use `facts`.
    """
    settings = {key: value for key, value in records.settings.items() if key not in ABOUT_THE_RUN}
    text = environment(templates).get_template(template)
    return text.render(
        card_data=(data or model_card_data(records, name)).to_yaml(),
        name=name,
        records=records,
        words=records.words,
        best=records.best,
        sides={side: settings.pop(side, []) for side in ("synthetic", "real")},
        settings=settings,
        terms=terms,
        licence=licence(records.sources),
        curves=CURVES if curves else None,
        **facts,
    )


def environment(templates: Sequence[Path] = ()) -> Any:
    """Return the `jinja2.Environment` of the templates here, and before them of those in other folders."""
    import jinja2

    loader = jinja2.FileSystemLoader([*templates, Path(__file__).parent])
    made = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # A setting as the command line takes it:
    made.filters["as_set"] = lambda value: " ".join(map(str, value)) if isinstance(value, list) else value
    return made


def model_card_data(records: Records, name: str, **changed: Any) -> ModelCardData:
    """Return the metadata of a card; `changed` replaces some."""
    tags = ["simgan", "simulated-unsupervised-learning", "domain-adaptation", "synthetic-data", records.words.tag]
    results = eval_results(records)
    values: dict[str, Any] = {
        "library_name": "simgan",
        "pipeline_tag": "image-to-image",
        **licence(records.sources),
        "datasets": datasets(records.sources) or None,
        "tags": tags,
        **({"eval_results": results, "model_name": name.rsplit("/", 1)[-1]} if results else {}),
    }
    return ModelCardData(**values | changed)


def eval_results(records: Records) -> list[EvalResult]:
    """Return the figures that the records have as the Hub's `model-index`."""
    words, best = records.words, records.best
    sources = records.settings.get("real", ())
    held_out: dict[str, Any] = {
        "task_type": "image-to-image",
        "task_name": "Refining synthetic images",
        "dataset_type": (datasets(sources) or ["held-out"])[0],
        "dataset_name": f"held out of {', '.join(sources)}" if sources else "held-out images",
    }
    real = records.experiment.get("real", "")
    trained: dict[str, Any] = {
        "task_type": words.tag,
        "task_name": f"{words.tag.replace('-', ' ').capitalize()}, trained on synthetic images",
        "dataset_type": (datasets([real]) or ["labelled"])[0],
        "dataset_name": real or "labelled real images",
    }
    rows = [(held_out, kind, name.format(words=words), best[key]) for key, kind, name in MEASURES if key in best]
    for kind in ("refined", "raw"):
        reached = records.reached(kind)
        if reached is not None:
            name = f"{words.labels} of networks trained on {kind} images,{words.sign.replace('°', ' degrees')}"
            rows.append((trained, f"{words.metric}-{kind}", name, words.scale * reached))
    return [
        EvalResult(**task, metric_type=kind, metric_name=name, metric_value=value) for task, kind, name, value in rows
    ]
