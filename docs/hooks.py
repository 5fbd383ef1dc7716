"""For MkDocs: the cards of the shipped models are pages too; links to them hold in the repository and on the site."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

CARDS = "model_cards"


def on_files(files: Files, config: Any) -> Files:
    """Add the cards, which lie beside docs/."""
    for card in sorted((Path(config.config_file_path).parent / CARDS).glob("*.md")):
        files.append(File.generated(config, f"{CARDS}/{card.name}", abs_src_path=str(card)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to the cards lead to these pages."""
    return markdown.replace(f"](../{CARDS}/", f"]({CARDS}/")
