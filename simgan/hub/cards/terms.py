"""Where a model's images came from, as a card may tell it: without this machine's paths, with the terms of each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
EMBEDDED = ("simulator", "camera")
KNOWN_SETS = ("mpiigaze", "syntheseyes", "unityeyes", "nyu", "msra", "icvl")
KINDS = (*EMBEDDED, *KNOWN_SETS, "hub", "folder")  # of `simgan.data.sources`


@dataclass(frozen=True)
class Terms:
    """What a kind of source is, and under which licence it may be used (an identifier of the Hub, or "research")."""

    what: str
    licence: str
    told: str


DRAWN = "Apache-2.0: drawn by simgan itself"
KNOWN = {
    "simulator": Terms("clean renders of simgan's own simulator", "apache-2.0", DRAWN),
    "camera": Terms("simgan's look-alike of a camera's images", "apache-2.0", DRAWN),
    "mpiigaze": Terms("MPIIGaze (Zhang et al. 2015)", "cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0: no commercial use"),
    "syntheseyes": Terms("SynthesEyes (Wood et al. 2015)", "research", "for research"),
    "unityeyes": Terms("UnityEyes (Wood et al. 2016)", "research", "for research"),
    "nyu": Terms("NYU Hand Pose (Tompson et al. 2014)", "research", "for research"),
    "msra": Terms("MSRA hand gestures (Sun et al. 2015)", "research", "for research"),
    "icvl": Terms("ICVL hand postures (Tang et al. 2014)", "research", "for research"),
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
    return KNOWN.get(kind, UNKNOWN)


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
        elif kind in KNOWN_SETS:
            names.append(kind)
    return list(dict.fromkeys(names))


def _kind(source: str) -> tuple[str, str]:
    kind, colon, place = source.partition(":")
    return (kind, place) if colon and kind in KINDS else ("", source)
