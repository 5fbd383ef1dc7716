"""Requests that write: a commit, and before it the bytes of its large files through Git LFS."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from loopback_hub.access import Access, refusal
from loopback_hub.storage import LFS_SIZE, LFS_SUFFIXES, File


class Uploads(Access):
    """What the client asks before, the bytes, the commit."""

    async def preupload(self, request: Request) -> Response:
        body = await request.json()
        repository, _ = self.writable(request)
        commit = self.at_revision(request, repository)
        answer = []
        for file in body["files"]:
            path, size = file["path"], file["size"]
            lfs = size > LFS_SIZE or path.endswith(LFS_SUFFIXES)
            known = commit.files.get(path)
            entry = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            answer.append(entry | ({"oid": known.oid} if known else {}))
        return JSONResponse({"files": answer, "commitOid": commit.id})

    async def lfs_batch(self, request: Request) -> Response:
        body = await request.json()
        repository = self.repository(request)
        user = self.user(request)
        if user is None or not user.write:  # who may only read here may still open a pull request
            self.writer(request, repository.namespace)
        page = f"{self.page(repository)}.git/info/lfs"
        objects = []
        for asked in body["objects"]:
            sha256, size = asked["oid"], asked["size"]
            found: dict[str, Any] = {"oid": sha256, "size": size}
            if not self.storage.object(sha256).is_file():
                upload = f"{self.hub.url}/lfs/{sha256}?size={size}&key={self.hub.upload_key}"
                found["actions"] = {"upload": {"href": upload}, "verify": {"href": f"{page}/verify"}}
            objects.append(found)
        return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")

    async def lfs_upload(self, request: Request) -> Response:
        if request.query_params.get("key") != self.hub.upload_key:  # the address itself is the permission
            raise refusal(403, "this address was not signed by the Hub")
        data = await request.body()
        sha256 = request.path_params["sha256"]
        if len(data) != int(request.query_params["size"]) or hashlib.sha256(data).hexdigest() != sha256:
            raise refusal(400, "the bytes that arrived are not those that were announced")
        self.storage.add_object(data)
        return Response()

    async def lfs_verify(self, request: Request) -> Response:
        body = await request.json()
        self.repository(request)
        file = self.storage.object(body["oid"])
        if not file.is_file() or file.stat().st_size != body["size"]:
            raise refusal(404, "this object was not uploaded")
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line]
        repository, user = self.writable(request)
        base, revision = self.at_revision(request, repository), request.path_params["revision"]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, base.id):
            raise refusal(412, "A commit has happened since. Please refresh and try again.")
        pull_request = bool(request.query_params.get("create_pr"))
        if pull_request:
            number = sum(reference.startswith("refs/pr/") for reference in repository.refs) + 1
            reference = f"refs/pr/{number}"
        else:
            reference = next((name for name in (f"refs/heads/{revision}", revision) if name in repository.refs), "")
        if not reference or reference.startswith("refs/tags/"):
            raise refusal(400, f"cannot commit to {revision}: it is no branch")
        files = self._apply(dict(base.files), lines)
        title, message = header["summary"], header.get("description", "")
        made = self.storage.commit(
            repository, reference, files, title=title, message=message, author=user.name, parent=base.id
        )
        answer = {"success": True, "commitOid": made.id, "commitUrl": f"{self.page(repository)}/commit/{made.id}"}
        if pull_request:
            answer["pullRequestUrl"] = f"{self.page(repository)}/discussions/{number}"
        return JSONResponse(answer)

    def _apply(self, files: dict[str, File], lines: list[dict[str, Any]]) -> dict[str, File]:
        for line in lines:
            key, value = line["key"], line["value"]
            path = value.get("path", "")
            if key != "header" and (not path or any(part in ("", ".", "..", ".git") for part in path.split("/"))):
                raise refusal(400, f"no path for a file: {path!r}")
            if key == "file":
                files[path] = self.storage.regular(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                try:
                    files[path] = self.storage.lfs(value["oid"])
                except FileNotFoundError:
                    raise refusal(400, f"{path}: its LFS object {value['oid']} was not uploaded") from None
            elif key == "deletedFile":
                if files.pop(path, None) is None:
                    raise refusal(404, f"{path} does not exist", "EntryNotFound")
            elif key == "deletedFolder":
                files = {name: file for name, file in files.items() if not name.startswith(f"{path.rstrip('/')}/")}
        return files
