"""Requests that read: lists of files, and the files."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from loopback_hub.access import Access, refusal
from loopback_hub.storage import Commit, File, Repository, folders


class Files(Access):
    """Trees and downloads."""

    async def tree(self, request: Request) -> Response:
        repository = self.repository(request)
        commit, path = self.at_revision(request, repository), request.path_params.get("path", "").strip("/")
        prefix = f"{path}/" if path else ""
        entries = sorted(name for name in {*commit.files, *folders(commit.files)} if name.startswith(prefix))
        if path and not entries:
            raise refusal(404, f"{path} does not exist on {commit.id}", "EntryNotFound")
        if request.query_params.get("recursive", "").lower() not in ("1", "true"):
            entries = [name for name in entries if "/" not in name.removeprefix(prefix)]
        expand = request.query_params.get("expand", "").lower() in ("1", "true")
        return JSONResponse([self._entry(repository, commit, name, expand=expand) for name in entries])

    async def paths_info(self, request: Request) -> Response:
        repository = self.repository(request)
        commit = self.at_revision(request, repository)
        form = parse_qs((await request.body()).decode())
        known = {*commit.files, *folders(commit.files)}
        expand = form.get("expand", [""])[0].lower() in ("1", "true")
        asked = [path.strip("/") for path in form.get("paths", [])]
        return JSONResponse([self._entry(repository, commit, path, expand=expand) for path in asked if path in known])

    def _entry(self, repository: Repository, commit: Commit, path: str, *, expand: bool) -> dict[str, Any]:
        file = commit.files.get(path)
        if file is None:
            inside = {name: entry.git for name, entry in commit.files.items() if name.startswith(f"{path}/")}
            oid = hashlib.sha1(json.dumps(inside, sort_keys=True).encode()).hexdigest()
            entry: dict[str, Any] = {"type": "directory", "path": path, "oid": oid, "size": 0}
        else:
            entry = {"type": "file", "path": path, "oid": file.git, "size": file.size}
            if file.lfs:
                entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
        if expand:
            last = self._last_change(repository, commit, path)
            entry["lastCommit"] = {"id": last.id, "title": last.title, "date": last.date}
        return entry

    def _last_change(self, repository: Repository, commit: Commit, path: str) -> Commit:
        def content(at: Commit) -> dict[str, File]:
            return {name: file for name, file in at.files.items() if name == path or name.startswith(f"{path}/")}

        last = commit
        for earlier in self.storage.history(repository, commit.id):
            if content(earlier) != content(commit):
                break
            last = earlier
        return last

    async def resolve(self, request: Request) -> Response:
        repository = self.repository(request)
        self.check_gate(request, repository)
        commit, path = self.at_revision(request, repository), request.path_params["path"]
        file = commit.files.get(path)
        if file is None:
            message = f"{path} does not exist on {commit.id}"
            raise refusal(404, message, "EntryNotFound", **{"X-Repo-Commit": commit.id})
        headers = {"X-Repo-Commit": commit.id, "ETag": f'"{file.oid}"'}
        if file.lfs:
            headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        # FileResponse answers ranges, and HEAD without a body.
        return FileResponse(self.storage.object(file.sha256), headers=headers, media_type="application/octet-stream")
