"""Where a model's images came from, as a card may tell it: without this machine's paths, with the terms of each."""

import re
from collections.abc import Sequence

from simgan.domains import Terms, all_domains

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
EMBEDDED = ("simulator", "camera")
KINDS = (*EMBEDDED, "hub", "folder")  # of `simgan.data.sources`, beside those that domains know


RENDERED = "Apache-2.0: drawn by simgan itself"
KNOWN = {
    "simulator": Terms("clean renders of simgan's own simulator", "apache-2.0", RENDERED),
    "camera": Terms("simgan's look-alike of a camera's images", "apache-2.0", RENDERED),
}
UNKNOWN = Terms("images of whoever trained it", "unknown", "unknown: not in the run's records")


def shown(source: str) -> str:
    """Name a source without telling where it lies on this machine: `mpiigaze:/home/me/MPIIGaze` → `mpiigaze:MPIIGaze`.

    Ids on the Hub and embedded domains stay as they are, and so does what was shown before.
    """
    kind, place = _kind(source)
    if kind in EMBEDDED or (kind == "hub" and HUB_ID.fullmatch(place)):
        return source
    path, at, split = place.partition("@") if kind in ("mpiigaze", "nyu", "hub") else (place, "", "")
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    if last in ("", ".", "..", "~"):
        last = "folder"
    return f"{kind}:{last}{at}{split}" if kind else last


def terms(source: str) -> Terms:
    """Give the terms of a source; those of folders and repositories are not known."""
    kind, place = _kind(source)
    if kind == "hub" and HUB_ID.fullmatch(place):
        return Terms(f"{place} on the Hub", "unknown", "unknown: see its page")
    return (KNOWN | _data_sets()).get(kind, UNKNOWN)


def licence(sources: Sequence[str]) -> dict[str, str]:
    """Give `license` (and `license_name`) of what was trained on the sources, "unknown" as soon as one of them is."""
    found = {terms(source).licence for source in sources} or {"unknown"}
    if "unknown" in found:
        return {"license": "unknown"}
    bound = sorted(found - {"apache-2.0"}) or ["apache-2.0"]
    if bound == ["cc-by-nc-sa-4.0"] or bound == ["apache-2.0"]:
        return {"license": bound[0]}
    return {"license": "other", "license_name": "-and-".join(bound)}


def datasets(sources: Sequence[str]) -> list[str]:
    """Name the data sets among the sources: their ids on the Hub, or the name that one is known by."""
    names = []
    for source in sources:
        kind, place = _kind(source)
        if kind == "hub" and HUB_ID.fullmatch(place):
            names.append(place.partition("@")[0])
        elif kind in _data_sets():
            names.append(kind)
    return list(dict.fromkeys(names))


def _kind(source: str) -> tuple[str, str]:
    kind, colon, place = source.partition(":")
    return (kind, place) if colon and kind in (*KINDS, *_data_sets()) else ("", source)


def _data_sets() -> dict[str, Terms]:
    """Return the terms of the data sets that domains know, by the kind of source."""
    return {kind: terms for domain in all_domains() for kind, terms in domain.terms.items()}
