"""For the API pages: a field whose words stand in a comment beside it is documented by them."""

from pathlib import Path
from typing import Any

from griffe import Attribute, Docstring, Extension


class Comments(Extension):
    """Takes the comment at the end of a field's line where no docstring follows it."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Give a field its comment."""
        if attr.docstring or not attr.endlineno or not isinstance(attr.filepath, Path):
            return
        line = attr.filepath.read_text(encoding="utf-8").splitlines()[attr.endlineno - 1]
        _, mark, comment = line.partition("  # ")
        if mark and not comment.startswith("type:"):
            words = comment[:1].upper() + comment[1:]
            attr.docstring = Docstring(words if words.endswith(".") else f"{words}.", parent=attr)
