"""For the API page: the fields of a dataclass are one list, in the words of the docstring or the comment of each."""

import re
from pathlib import Path
from typing import Any

from griffe import Attribute, Class, Extension


def words_of(field: Attribute) -> str:
    """Return the docstring of a field, or the comment beside it; "" if there is neither."""
    if field.docstring:
        return field.docstring.value
    if not field.lineno or not isinstance(field.filepath, Path):
        return ""
    lines = field.filepath.read_text(encoding="utf-8").splitlines()[field.lineno - 1 : field.endlineno]
    comment = "".join(line.partition("  # ")[2] for line in lines)
    words = re.sub("^[a-z](?=[a-z])", lambda first: first[0].upper(), comment.rstrip("."))  # b and λ stay
    return f"{words}." if words else ""


class Fields(Extension):
    """Moves what is said of the fields of a dataclass into its own docstring."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """List the public fields that have words."""
        if not (cls.docstring and any(decorator.callable_path.endswith("dataclass") for decorator in cls.decorators)):
            return
        listed = []
        for name, field in cls.members.items():
            if isinstance(field, Attribute) and "property" not in field.labels and (words := words_of(field)):
                listed.append(f"    {name}: " + words.replace("\n", "\n        "))
                field.docstring = None
        if listed:
            cls.docstring.value = "\n".join([cls.docstring.value, "", "Attributes:", *listed])
