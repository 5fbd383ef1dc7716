"""The house: what is where, and that nothing outside of the domains knows a domain."""

import ast
import re
from pathlib import Path

import simgan

PACKAGE = Path(simgan.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
DOMAINS_AND_THEIRS = (  # may name their domain
    "domains/",
    "simulators/",
    "data/adapters/",
    "experiments/gaze/",
    "experiments/hand_pose/",
    "experiments/__init__.py",  # lists the tasks of both
    "pretrained/",
)
NAMES = re.compile(r"(?<!torch\.)\b(eyes?|hands?|iris(es)?)\b", re.IGNORECASE)
LONGEST = 350


def test_nothing_outside_the_domains_names_one() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*"))
        if path.suffix in (".py", ".jinja", ".js", ".css")
        and not path.relative_to(PACKAGE).as_posix().startswith(DOMAINS_AND_THEIRS)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NAMES.search(line)
    ]
    assert len(FILES) > 50
    assert not found, "\n".join(found)


def test_the_root_and_files_stay_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    long = {str(path.relative_to(PACKAGE)): n for path in FILES if (n := len(path.read_text().splitlines())) > LONGEST}
    assert not long


def test_nothing_is_found_by_a_string() -> None:
    assert not [path for path in FILES if re.search(r"import_module|__import__", path.read_text())]


def opens_text(call: ast.Call) -> bool:
    """Whether it is `read_text()`, `write_text(…)`, or `open` of a path with a mode of text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    mode = ast.literal_eval(call.args[0]) if call.args and isinstance(call.args[0], ast.Constant) else "rb"
    return name in ("read_text", "write_text") or (name == "open" and (not call.args or "b" not in mode))


def test_text_is_utf_8_whatever_the_code_page_of_the_system() -> None:
    root = PACKAGE.parent
    scripts = [file for folder in (".", "benchmarks", "docs", "model_cards") for file in root.glob(f"{folder}/*.py")]
    wrong = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in {*FILES, *scripts}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text(node) and "encoding" not in {key.arg for key in node.keywords}
    ]
    assert not wrong
