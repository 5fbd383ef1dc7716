"""A Space without a server: a folder of files whose page refines in the visitor's browser, by ONNX Runtime Web."""

import base64
import dataclasses
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from simgan.discriminator import Discriminator, receptive_field
from simgan.domains import DEFAULT_MODEL, find
from simgan.errors import ConfigError, ModelError, PublishError, SourceError, reason
from simgan.hub.loading import CONFIG, SHIPPED, local_folder
from simgan.hub.uploading import CARD
from simgan.images import codecs
from simgan.images.depth import CUBE
from simgan.refiner import Refiner
from simgan.refining.export import judge_to_onnx
from simgan.space.patch_tab import SCALE
from simgan.space.samples import examples

PAGE = Path(__file__).parent / "static"
VENDOR = "vendor"  # the folder of what comes from npm
HEADERS = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}
"""What a server must send with each file so that browsers let WebAssembly compute in several threads."""


class Package(NamedTuple):
    """A package of npm: its version, the hash of its archive as npm's lock files give it, and the files that serve."""

    version: str
    integrity: str
    files: tuple[str, ...]


# Of ONNX Runtime's builds the smallest one, and the smallest one with WebGPU, for browsers in which WebAssembly can
# wait for a GPU (JSPI). The second alone would not do: on the processor it lacks operations on depth and starts slower.
PACKAGES = {
    "onnxruntime-web": Package(
        "1.30.0",
        "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        (
            *("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm"),
            *("dist/ort.jspi.min.mjs", "dist/ort-wasm-simd-threaded.jspi.mjs", "dist/ort-wasm-simd-threaded.jspi.wasm"),
        ),
    ),
    "fast-png": Package(
        "8.0.0",
        "sha512-gCysNasJ8KEMgfdYIKd/wTDo6ENK1PWT0RJO7O+0pgmuHPw2O6tA1WvdxFRJoLf9V8yFYpG0FA1YgI8X97OhJA==",
        ("lib/*.js",),
    ),
    "iobuffer": Package(
        "6.0.1",
        "sha512-SZWYkWNfjIXIBYSDpXDYIgshqtbOPsi4lviawAEceR1Kqk+sHDlcQjWrzNQsii80AyBY0q5c8HCTNjqo74ul+Q==",
        ("lib/*.js",),
    ),
    "fflate": Package(
        "0.8.3",
        "sha512-tbZNuJrLwGUp3zshBtdy4W+ORxZuIh8a5ilyIEQDC5rY1f3U20JMry0Ll3WBzU58EZKsEuJFXhb5gwv8CsPvgA==",
        ("esm/browser.js",),
    ),
}


def build_site(folder: Path, models: Sequence[str] = ()) -> None:
    """Write the page, what it needs from npm, and models (shipped names, folders, Hub ids) into a new folder.

    Without `models`, those that ship. Where something fails, no folder is left. `SourceError` where the folder holds
    something, `ConfigError` without npm or PyTorch's exporter, or where two models have one name; `PublishError` where
    npm's registry was not reached.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SourceError(f"{folder} exists and is not an empty folder: give another output")
    names = models or sorted((path.name for path in SHIPPED.iterdir()), key=lambda name: (name != DEFAULT_MODEL, name))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
            part = Path(place) / folder.name
            shutil.copytree(PAGE, part)
            fetch_packages(part / VENDOR)
            told = [_write_model(part, name) for name in names]
            site = {"models": told, "scale": SCALE.tolist(), "viridis": codecs.VIRIDIS.tolist()}
            (part / "site.json").write_text(json.dumps(site), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            part.replace(folder)
    except OSError as error:
        raise SourceError(f"{folder} cannot be written ({reason(error)})") from error


def fetch_packages(folder: Path) -> None:
    """Put the needed files of all `PACKAGES`, and their licences, into a folder, a package a subfolder.

    The command `npm` fetches them, by its user's settings and from its cache. `ConfigError` where it is not installed,
    `PublishError` where it fails, or where an archive is not the one of the hash.
    """
    wanted = [f"{name}@{package.version}" for name, package in PACKAGES.items()]
    with TemporaryDirectory() as place:
        command = ["npm", "pack", "--ignore-scripts", "--prefer-offline", "--pack-destination", place, *wanted]
        try:
            command[0] = shutil.which("npm") or "npm"
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise ConfigError(
                "a static Space needs npm, which fetches ONNX Runtime and is not installed: install Node.js"
            ) from error
        if done.returncode:
            lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if "npm error" in line]
            said = next((line for line in lines if not line.startswith("code ")), f"status {done.returncode}")
            raise PublishError(
                f"npm could not fetch {', '.join(wanted)} ({said}): check the network, and `npm config get registry`"
            )
        for name, package in PACKAGES.items():
            content = (Path(place) / f"{name}-{package.version}.tgz").read_bytes()
            if package.integrity != f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}":
                raise PublishError(f"npm sent another {name} {package.version} than the known one: check its registry")
            _unpack(content, package.files, folder / name)


def _unpack(content: bytes, patterns: Sequence[str], folder: Path) -> None:
    """Write the files of a package that fit patterns, and its licence, into a folder."""
    with tarfile.TarFile(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        for member in archive:
            path = member.name.partition("/")[2]  # without the root, "package"
            if member.isfile() and any(fnmatch(path, pattern) for pattern in (*patterns, "LICENSE*")):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]


def _write_model(folder: Path, name: str) -> dict[str, Any]:
    """Export a model and its examples into the site, and return what the page must know of it."""
    refiner, place = Refiner.from_pretrained(name), local_folder(name)
    shown = place.resolve().name if place else name
    home = folder / "models" / re.sub(r"[^\w.-]+", "-", shown)
    if home.exists():
        raise ConfigError(f"two models are named {shown}: rename the folder of one")
    home.mkdir(parents=True)
    domain, codec = find(refiner.config.domain), refiner.codec
    told = {
        "name": shown,
        "images": domain.words.images,
        "takes": domain.words.takes,
        "size": domain.size,
        "channels": codec.channels,
        "bits": 8 * codec.dtype().itemsize,
        "cube": CUBE if codec.is_depth else None,  # mm of depth that are seen
        "file": _put(folder, home / "refiner.onnx", refiner.export("onnx")),
        "examples": [_put(folder, home / Path(one).name, Path(one).read_bytes()) for one in examples(domain.name)],
    }
    if place and (place / CARD).is_file():
        told["card"] = _put(folder, home / CARD, (place / CARD).read_bytes())
    try:
        discriminator = Discriminator.from_pretrained(name)
    except ModelError as error:
        if f"holds no {CONFIG}" not in str(error):
            raise
        return told
    is_local = discriminator.config.scope == "local"  # else one value for the image
    field = dataclasses.asdict(receptive_field(discriminator.config.layers)) if is_local else None
    judge = _put(folder, home / "discriminator.onnx", judge_to_onnx(refiner, discriminator))
    return told | {"judge": judge, "field": field}


def _put(folder: Path, file: Path, content: bytes) -> str:
    """Write a file of the site, and return its address from the site's root."""
    file.write_bytes(content)
    return file.relative_to(folder).as_posix()
