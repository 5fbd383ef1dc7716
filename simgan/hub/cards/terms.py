"""Sources of images as a card may name them: without folders of this machine, with the terms of each."""

import re
from collections.abc import Sequence

from simgan.domains import Terms, all_domains

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
RENDERED = "Apache-2.0: drawn by simgan itself"
EMBEDDED = {
    "simulator": Terms("clean renders of simgan's own simulator", "apache-2.0", RENDERED),
    "camera": Terms("simgan's look-alike of a camera's images", "apache-2.0", RENDERED),
}
UNKNOWN = Terms("images of whoever trained it", "unknown", "unknown: not in the run's records")


def name_source(source: str) -> str:
    """Return a source without its folder on this machine: `mpiigaze:/home/me/MPIIGaze` → `mpiigaze:MPIIGaze`.

    Ids on the Hub and embedded domains stay as they are, and so does what this function returned.
    """
    kind, place = _split(source)
    if kind in EMBEDDED or _is_id(kind, place):
        return source
    path, at, split = place.partition("@") if kind and kind != "folder" else (place, "", "")
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    if last in ("", ".", "..", "~"):
        last = "folder"
    return f"{kind}:{last}{at}{split}" if kind else last


def terms(source: str) -> Terms:
    """Return the terms of a source; those of folders are unknown, those of repositories on their pages."""
    kind, place = _split(source)
    if _is_id(kind, place):
        return Terms(f"{place} on the Hub", "unknown", "unknown: see its page")
    return (EMBEDDED | _data_sets()).get(kind, UNKNOWN)


def licence(sources: Sequence[str]) -> dict[str, str]:
    """Return `license` (and `license_name`) of a model trained on the sources; "unknown" where one of them is."""
    found = {terms(source).licence for source in sources} or {"unknown"}
    restricted = ["unknown"] if "unknown" in found else sorted(found - {"apache-2.0"}) or ["apache-2.0"]
    if len(restricted) == 1 and restricted[0] != "research":
        return {"license": restricted[0]}
    return {"license": "other", "license_name": "-and-".join(restricted)}


def datasets(sources: Sequence[str]) -> list[str]:
    """Return the data sets among the sources: ids on the Hub, and kinds that a domain has the terms of."""
    split = [_split(source) for source in sources]
    names = [place.partition("@")[0] if _is_id(kind, place) else kind for kind, place in split]
    known = _data_sets()
    return list(dict.fromkeys(name for name in names if "/" in name or name in known))


def _split(source: str) -> tuple[str, str]:
    """Return the kind of a source, "" where it has none, and the rest."""
    kind, colon, place = source.partition(":")
    return (kind, place) if colon and kind in ("hub", "folder", *EMBEDDED, *_data_sets()) else ("", source)


def _is_id(kind: str, place: str) -> bool:
    return kind == "hub" and HUB_ID.fullmatch(place) is not None


def _data_sets() -> dict[str, Terms]:
    """Return the terms of the data sets that domains know, by the kind of source."""
    return {kind: terms for domain in all_domains() for kind, terms in domain.terms.items()}
