"""What the Hub reads in a README's YAML header, and what it finds wrong there."""

from __future__ import annotations

import re
from typing import Any

import yaml

_HEADER = re.compile(r"^\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_LISTS = ("tags", "datasets", "metrics", "model-index", "configs", "task_categories")
_TEXTS = ("license", "library_name", "pipeline_tag", "sdk", "title", "app_file")


def front_matter(readme: str) -> Any:
    """The YAML header's value, `None` where there is none or it cannot be read."""
    found = _HEADER.match(readme)
    try:
        return yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return None


def problems(readme: str, repo_type: str) -> tuple[list[str], list[str]]:
    """Errors, which refuse a card, and warnings, which do not."""
    found = _HEADER.match(readme)
    try:
        values = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        return [f"the metadata is not valid YAML: {error}"], []
    if values is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(values, dict):
        return ["the metadata is no mapping"], []
    errors = [f'"{key}" must be a string' for key in _TEXTS if not isinstance(values.get(key, ""), str)]
    errors += [
        f'"{key}" must be an array'
        for key in _LISTS
        if not isinstance(values.get(key) or [], list if key in ("model-index", "configs") else (list, str))
    ]
    if not errors:
        for number, model in enumerate(values.get("model-index") or []):
            errors += [f'"model-index[{number}].{key}" is required' for key in ("name", "results") if key not in model]
    if repo_type == "space" and values.get("sdk") not in ("gradio", "docker", "static"):
        errors.append('"sdk" must be one of gradio, docker, static')
    return errors, []
