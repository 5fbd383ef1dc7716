"""What the Hub keeps on disk: objects by their sha256, and one folder a repository with its commits and references.

    objects/9f86d0…                       the bytes of a file, Git LFS or not
    models/org/name/repository.json       visibility, access list and references: {"refs/heads/main": commit}
    models/org/name/commits/<commit>.json parent, title, date and the whole list of files

Every JSON file is written aside and renamed. One event loop calls this, so nothing is locked.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

TYPES = ("models", "datasets", "spaces")
ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
MAIN = "refs/heads/main"
# As the `.gitattributes` of a new repository says; larger files go through LFS whatever their name is.
_ARRAYS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".onnx", ".h5", ".npy", ".npz", ".parquet", ".arrow")
LFS_SUFFIXES = (*_ARRAYS, ".zip", ".tar", ".gz")
LFS_SIZE = 10_000_000
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


@dataclass(frozen=True)
class File:
    """One file of a commit: where its bytes lie, and the name that git has for it."""

    sha256: str
    size: int
    git: str  # sha1 of the blob, or of the LFS pointer
    lfs: bool

    @property
    def oid(self) -> str:
        """What the Hub compares and serves as `ETag`: sha256 of an LFS file, git's sha1 of any other."""
        return self.sha256 if self.lfs else self.git

    @property
    def pointer_size(self) -> int:
        """Bytes of the LFS pointer that git would store."""
        return len(_pointer(self.sha256, self.size))


@dataclass(frozen=True)
class Commit:
    """A commit: the whole list of files, and who made it from which parent."""

    id: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, File]


@dataclass
class Repository:
    """A repository's settings and references."""

    type: str
    id: str
    created: str
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    granted: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The user or organization that owns it."""
        return self.id.split("/")[0]


class Storage:
    """Repositories and objects under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "objects").mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        while self.root.exists():  # a client that was killed may still be writing
            shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "objects").mkdir(parents=True)

    # ---- objects

    def object(self, sha256: str) -> Path:
        """Where the bytes with this hash lie, or would."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError(f"no sha256: {sha256!r}")
        return self.root / "objects" / sha256

    def add_object(self, data: bytes) -> str:
        """Store bytes and give back their sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        _write(self.object(sha256), data)
        return sha256

    def regular(self, data: bytes) -> File:
        """Store the bytes of a file that git keeps itself."""
        return File(self.add_object(data), len(data), _git_blob(data), lfs=False)

    def lfs(self, sha256: str) -> File:
        """Describe an LFS file whose bytes were uploaded; `FileNotFoundError` if they were not."""
        size = self.object(sha256).stat().st_size
        return File(sha256, size, _git_blob(_pointer(sha256, size)), lfs=True)

    # ---- repositories

    def repository(self, type: str, id: str) -> Repository | None:
        """Read a repository's record, `None` where there is none."""
        file = self._folder(type, id) / "repository.json"
        return Repository(**json.loads(file.read_text())) if ID.fullmatch(id) and file.is_file() else None

    def repositories(self, type: str) -> Iterator[Repository]:
        """All repositories of a type, by name."""
        for file in sorted((self.root / type).glob("*/*/repository.json")):
            yield Repository(**json.loads(file.read_text()))

    def create(self, type: str, id: str, *, author: str, private: bool, sdk: str | None) -> Repository:
        """Make a repository with its first commit, as the Hub does."""
        repository = Repository(type, id, _now(), private=private, sdk=sdk)
        files = {".gitattributes": self.regular(GITATTRIBUTES)}
        self.commit(repository, MAIN, files, title="initial commit", message="", author=author, parent=None)
        return repository

    def save(self, repository: Repository) -> None:
        """Write a repository's record."""
        file = self._folder(repository.type, repository.id) / "repository.json"
        _write(file, json.dumps(asdict(repository), indent=1).encode())

    def delete(self, repository: Repository) -> None:
        """Remove a repository; its objects stay, other repositories may have them."""
        shutil.rmtree(self._folder(repository.type, repository.id))

    # ---- commits

    def resolve(self, repository: Repository, revision: str) -> str | None:
        """Commit of a branch, tag, `refs/…` or commit hash; `None` where there is none."""
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in repository.refs:
                return repository.refs[name]
        known = re.fullmatch(r"[0-9a-f]{40}", revision) and self._commit_file(repository, revision).is_file()
        return revision if known else None

    def read_commit(self, repository: Repository, id: str) -> Commit:
        """Read a commit that exists."""
        values = json.loads(self._commit_file(repository, id).read_text())
        files = {path: File(**file) for path, file in values.pop("files").items()}
        return Commit(id=id, files=files, **values)

    def history(self, repository: Repository, id: str | None) -> Iterator[Commit]:
        """A commit and its ancestors, newest first."""
        while id is not None:
            commit = self.read_commit(repository, id)
            yield commit
            id = commit.parent

    def commit(
        self,
        repository: Repository,
        reference: str,
        files: dict[str, File],
        *,
        title: str,
        message: str,
        author: str,
        parent: str | None,
    ) -> Commit:
        """Write a commit and move a reference to it."""
        listed = {path: asdict(files[path]) for path in sorted(files)}
        values = {"parent": parent, "title": title, "message": message, "author": author, "date": _now()}
        text = json.dumps(values | {"files": listed}, indent=1).encode()
        id = hashlib.sha1(text).hexdigest()
        _write(self._commit_file(repository, id), text)
        repository.refs[reference] = id
        self.save(repository)
        return self.read_commit(repository, id)

    def _folder(self, type: str, id: str) -> Path:
        return self.root / type / id

    def _commit_file(self, repository: Repository, id: str) -> Path:
        return self._folder(repository.type, repository.id) / "commits" / f"{id}.json"


def folders(paths: Iterable[str]) -> set[str]:
    """Every folder that lies on the way to these files."""
    return {"/".join(parts[:depth]) for parts in (path.split("/") for path in paths) for depth in range(1, len(parts))}


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}")
    aside.write_bytes(data)
    aside.replace(file)


def _git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
