"""The house: what is where, and that nothing outside of the domains knows a domain."""

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
