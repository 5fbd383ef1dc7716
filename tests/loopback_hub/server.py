"""The Hub's HTTP API: who may do what, and what the clients are told.

Paths are matched as they were sent, quoted: in `/revision/refs%2Fpr%2F1` the revision is one segment. Handlers do their
work without awaiting in between, so that each request sees and leaves a whole state.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from loopback_hub.cards import front_matter, problems
from loopback_hub.storage import LFS_SIZE, LFS_SUFFIXES, MAIN, TYPES, Commit, File, Repository, folders

if TYPE_CHECKING:
    from loopback_hub.hub import LoopbackHub, User

Handler = Callable[[Request], Awaitable[Response]]


class _Segment(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        raise NotImplementedError


class _Rest(_Segment):
    regex = ".+"


class _Type(_Segment):
    regex = "models|datasets|spaces"


class _Owned(_Segment):  # in the addresses of pages, models have no prefix
    regex = "datasets/|spaces/|"

    def convert(self, value: str) -> str:
        return value.rstrip("/") or "models"


for name, convertor in {"part": _Segment, "rest": _Rest, "type": _Type, "owned": _Owned}.items():
    register_url_convertor(name, convertor())


class _QuotedPath:
    """Has the router match the path as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "path": scope["raw_path"].decode("ascii")}, receive, send)


def build(hub: LoopbackHub) -> ASGIApp:
    """The application that answers for a Hub."""
    api = _Api(hub)
    of_repository = "/api/{type:type}/{org:part}/{name:part}"
    routes = [
        Route("/api/whoami-v2", api.whoami),
        Route("/api/validate-yaml", api.validate_yaml, methods=["POST"]),
        Route("/api/repos/create", api.create, methods=["POST"]),
        Route("/api/repos/delete", api.delete, methods=["DELETE"]),
        Route("/api/{type:type}", api.list),
        Route(of_repository, api.info),
        Route(of_repository + "/revision/{revision:part}", api.info),
        Route(of_repository + "/settings", api.settings, methods=["PUT"]),
        Route(of_repository + "/user-access-request/grant", api.grant, methods=["POST"]),
        Route(of_repository + "/auth-check", api.auth_check),
        Route(of_repository + "/auth-check/write", api.auth_check_write),
        Route(of_repository + "/refs", api.references),
        Route(of_repository + "/commits/{revision:part}", api.commits),
        Route(of_repository + "/branch/{branch:part}", api.branch, methods=["POST", "DELETE"]),
        Route(of_repository + "/tag/{revision:part}", api.tag, methods=["POST", "DELETE"]),
        Route(of_repository + "/tree/{revision:part}", api.tree),
        Route(of_repository + "/tree/{revision:part}/{path:rest}", api.tree),
        Route(of_repository + "/paths-info/{revision:part}", api.paths_info, methods=["POST"]),
        Route(of_repository + "/preupload/{revision:part}", api.preupload, methods=["POST"]),
        Route(of_repository + "/commit/{revision:part}", api.commit, methods=["POST"]),
        Route("/lfs/{sha256:part}", api.lfs_upload, methods=["PUT"]),
        Route("/{type:owned}{org:part}/{name:part}.git/info/lfs/objects/batch", api.lfs_batch, methods=["POST"]),
        Route("/{type:owned}{org:part}/{name:part}.git/info/lfs/verify", api.lfs_verify, methods=["POST"]),
        Route("/{type:owned}{org:part}/{name:part}/resolve/{revision:part}/{path:rest}", api.resolve),
    ]
    handlers = {HTTPException: _refuse}
    return _QuotedPath(Starlette(routes=routes, exception_handlers=handlers))  # type: ignore[arg-type]


async def _refuse(request: Request, error: HTTPException) -> Response:
    headers = {**(error.headers or {}), "X-Error-Message": error.detail.splitlines()[0]}
    return JSONResponse({"error": error.detail}, error.status_code, headers)


def _refusal(status: int, message: str, code: str | None = None, **headers: str) -> HTTPException:
    return HTTPException(status, message, headers | ({"X-Error-Code": code} if code else {}))


class _Api:
    def __init__(self, hub: LoopbackHub) -> None:
        self.hub, self.storage = hub, hub.storage

    # ---- who asks, and for what

    def user(self, request: Request) -> User | None:
        """Whose token came with the request; an unknown token is refused whatever is asked for."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        user = self.hub.users.get(header.removeprefix("Bearer "))
        if user is None:
            raise _refusal(401, "Invalid credentials in Authorization header")
        return user

    def writer(self, request: Request, namespace: str) -> User:
        """Who may write there; anyone else is refused."""
        user = self.user(request)
        if user is None:
            raise _refusal(401, "Invalid username or password.")
        if not user.write:
            raise _refusal(403, "Forbidden: this token may only read, create one with the role write")
        if namespace not in user.namespaces:
            raise _refusal(403, f'You don\'t have the rights to write in the namespace "{namespace}"')
        return user

    def repository(self, request: Request) -> Repository:
        """The repository of the request's path, if the user may know of it."""
        user, type = self.user(request), request.path_params["type"]
        id = "{org}/{name}".format(**request.path_params)
        repository = self.storage.repository(type, id)
        if repository is None or (repository.private and not _owns(user, repository)):
            # As the Hub does: without a token one cannot tell a private repository from a missing one.
            status, message = (401, "Invalid username or password.") if user is None else (404, "Repository not found")
            raise _refusal(status, message, "RepoNotFound")
        return repository

    def writable(self, request: Request) -> tuple[Repository, User]:
        """The repository and its writer. Who opens a pull request need only be logged in."""
        repository = self.repository(request)
        user = self.user(request)
        if request.query_params.get("create_pr") and user is not None and user.write:
            return repository, user
        return repository, self.writer(request, repository.namespace)

    def at_revision(self, request: Request, repository: Repository) -> Commit:
        """The commit that the request's path names."""
        revision = request.path_params.get("revision", "main")
        id = self.storage.resolve(repository, revision)
        if id is None:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.storage.read_commit(repository, id)

    def page(self, repository: Repository) -> str:
        """The repository's address."""
        prefix = "" if repository.type == "models" else f"{repository.type}/"
        return f"{self.hub.url}/{prefix}{repository.id}"

    # ---- the whole Hub

    async def whoami(self, request: Request) -> Response:
        user = self.user(request)
        if user is None:
            raise _refusal(401, "Invalid username or password.")
        token = {"type": "access_token", "accessToken": {"role": "write" if user.write else "read"}}
        organizations = [{"type": "org", "name": name, "roleInOrg": "write"} for name in user.organizations]
        return JSONResponse({"type": "user", "name": user.name, "orgs": organizations, "auth": token})

    async def validate_yaml(self, request: Request) -> Response:
        body = await request.json()
        errors, warnings = problems(body["content"], body["repoType"])
        found = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
        return JSONResponse(found, 400 if errors else 200)

    async def create(self, request: Request) -> Response:
        body = await request.json()
        type = f"{body.get('type') or 'model'}s"
        user = self.user(request)
        namespace = body.get("organization") or (user.name if user else "")
        user = self.writer(request, namespace)
        if type not in TYPES:
            raise _refusal(400, f"no such type of repository: {type}")
        if type == "spaces" and body.get("sdk") not in ("gradio", "docker", "static"):
            raise _refusal(400, "a Space needs an sdk: gradio, docker or static")
        id = f"{namespace}/{body['name']}"
        existing = self.storage.repository(type, id)
        if existing is not None:
            message = f"You already created this {type[:-1]} repo"
            return JSONResponse({"error": message, "url": self.page(existing)}, 409)
        private = body.get("visibility") == "private" or bool(body.get("private"))
        repository = self.storage.create(type, id, author=user.name, private=private, sdk=body.get("sdk"))
        return JSONResponse({"url": self.page(repository), "name": id, "id": id})

    async def delete(self, request: Request) -> Response:
        body = await request.json()
        user = self.user(request)
        namespace = body.get("organization") or (user.name if user else "")
        self.writer(request, namespace)
        repository = self.storage.repository(f"{body.get('type') or 'model'}s", f"{namespace}/{body['name']}")
        if repository is None:
            raise _refusal(404, "Repository not found", "RepoNotFound")
        self.storage.delete(repository)
        return Response()

    async def list(self, request: Request) -> Response:
        user = self.user(request)
        author, search = request.query_params.get("author"), request.query_params.get("search", "")
        return JSONResponse(
            [
                self._describe(repository, self.storage.read_commit(repository, repository.refs[MAIN]), blobs=False)
                for repository in self.storage.repositories(request.path_params["type"])
                if not repository.private or _owns(user, repository)
                if author in (None, repository.namespace) and search.lower() in repository.id.lower()
            ]
        )

    # ---- one repository

    async def info(self, request: Request) -> Response:
        repository = self.repository(request)
        blobs = request.query_params.get("blobs", "").lower() in ("1", "true")
        return JSONResponse(self._describe(repository, self.at_revision(request, repository), blobs=blobs))

    def _describe(self, repository: Repository, commit: Commit, *, blobs: bool) -> dict[str, Any]:
        readme = commit.files.get("README.md")
        card = front_matter(self.storage.object(readme.sha256).read_text(errors="replace")) if readme else None
        card = card if isinstance(card, dict) else {}
        siblings = [{"rfilename": path} | (_sibling(file) if blobs else {}) for path, file in commit.files.items()]
        found = {
            "_id": hashlib.sha1(f"{repository.type}/{repository.id}".encode()).hexdigest()[:24],
            "id": repository.id,
            "author": repository.namespace,
            "sha": commit.id,
            "lastModified": commit.date,
            "createdAt": repository.created,
            "private": repository.private,
            "gated": repository.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "siblings": siblings,
            "cardData": card,
        }
        if repository.type == "models":
            found |= {key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card}
        if repository.type == "spaces":
            found["sdk"] = repository.sdk
        return found

    async def settings(self, request: Request) -> Response:
        repository = self.repository(request)
        self.writer(request, repository.namespace)
        body = await request.json()
        repository.gated = body.get("gated", repository.gated)
        if "visibility" in body or "private" in body:
            repository.private = body.get("visibility") == "private" or bool(body.get("private"))
        self.storage.save(repository)
        return JSONResponse({"private": repository.private, "gated": repository.gated})

    async def grant(self, request: Request) -> Response:
        repository = self.repository(request)
        self.writer(request, repository.namespace)
        repository.granted.append((await request.json())["user"])
        self.storage.save(repository)
        return JSONResponse({})

    async def auth_check(self, request: Request) -> Response:
        self._check_gate(request, self.repository(request))
        return JSONResponse({})

    async def auth_check_write(self, request: Request) -> Response:
        self.writer(request, self.repository(request).namespace)
        return JSONResponse({})

    async def references(self, request: Request) -> Response:
        repository = self.repository(request)
        found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        for reference, commit in repository.refs.items():
            kind, name = reference.removeprefix("refs/").split("/", 1)
            key = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}[kind]
            found[key].append({"name": name, "ref": reference, "targetCommit": commit})
        if not request.query_params.get("include_prs"):
            del found["pullRequests"]
        return JSONResponse(found)

    async def commits(self, request: Request) -> Response:
        repository = self.repository(request)
        tip = self.at_revision(request, repository)
        return JSONResponse(
            [
                {"id": commit.id, "title": commit.title, "message": commit.message, "date": commit.date}
                | {"authors": [{"user": commit.author}]}
                for commit in self.storage.history(repository, tip.id)
            ]
        )

    async def branch(self, request: Request) -> Response:
        repository, branch = self.repository(request), request.path_params["branch"]
        self.writer(request, repository.namespace)
        if request.method == "DELETE":
            return self._remove(repository, f"refs/heads/{branch}")
        start = json.loads(await request.body() or b"{}").get("startingPoint", "main")
        return self._add(repository, f"refs/heads/{branch}", start)

    async def tag(self, request: Request) -> Response:
        repository, revision = self.repository(request), request.path_params["revision"]
        self.writer(request, repository.namespace)
        if request.method == "DELETE":
            return self._remove(repository, f"refs/tags/{revision}")
        return self._add(repository, f"refs/tags/{(await request.json())['tag']}", revision)

    def _add(self, repository: Repository, reference: str, start: str) -> Response:
        if reference in repository.refs:
            raise _refusal(409, f"Reference already exists: {reference}")
        commit = self.storage.resolve(repository, start)
        if commit is None:
            raise _refusal(404, f"Invalid rev id: {start}", "RevisionNotFound")
        repository.refs[reference] = commit
        self.storage.save(repository)
        return JSONResponse({})

    def _remove(self, repository: Repository, reference: str) -> Response:
        if reference == MAIN or repository.refs.pop(reference, None) is None:
            raise _refusal(404, f"Cannot remove {reference}", "RevisionNotFound")
        self.storage.save(repository)
        return JSONResponse({})

    # ---- files

    async def tree(self, request: Request) -> Response:
        repository = self.repository(request)
        commit, path = self.at_revision(request, repository), request.path_params.get("path", "").strip("/")
        prefix = f"{path}/" if path else ""
        entries = sorted(name for name in {*commit.files, *folders(commit.files)} if name.startswith(prefix))
        if path and not entries:
            raise _refusal(404, f"{path} does not exist on {commit.id}", "EntryNotFound")
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
        self._check_gate(request, repository)
        commit, path = self.at_revision(request, repository), request.path_params["path"]
        file = commit.files.get(path)
        if file is None:
            message = f"{path} does not exist on {commit.id}"
            raise _refusal(404, message, "EntryNotFound", **{"X-Repo-Commit": commit.id})
        headers = {"X-Repo-Commit": commit.id, "ETag": f'"{file.oid}"'}
        if file.lfs:
            headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        # FileResponse answers ranges, and HEAD without a body.
        return FileResponse(self.storage.object(file.sha256), headers=headers, media_type="application/octet-stream")

    def _check_gate(self, request: Request, repository: Repository) -> None:
        user = self.user(request)
        if not repository.gated or _owns(user, repository) or (user and user.name in repository.granted):
            return
        message = f"Access to {repository.type[:-1]} {repository.id} is restricted. You must have access to it and be"
        raise _refusal(403 if user else 401, f"{message} authenticated to access it.", "GatedRepo")

    # ---- uploads

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
        if user is None or not user.write:
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
            raise _refusal(403, "this address was not signed by the Hub")
        data = await request.body()
        sha256 = request.path_params["sha256"]
        if len(data) != int(request.query_params["size"]) or hashlib.sha256(data).hexdigest() != sha256:
            raise _refusal(400, "the bytes that arrived are not those that were announced")
        self.storage.add_object(data)
        return Response()

    async def lfs_verify(self, request: Request) -> Response:
        body = await request.json()
        self.repository(request)
        file = self.storage.object(body["oid"])
        if not file.is_file() or file.stat().st_size != body["size"]:
            raise _refusal(404, "this object was not uploaded")
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line]
        repository, user = self.writable(request)
        base, revision = self.at_revision(request, repository), request.path_params["revision"]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, base.id):
            raise _refusal(412, "A commit has happened since. Please refresh and try again.")
        pull_request = bool(request.query_params.get("create_pr"))
        if pull_request:
            number = sum(reference.startswith("refs/pr/") for reference in repository.refs) + 1
            reference = f"refs/pr/{number}"
        else:
            reference = next((name for name in (f"refs/heads/{revision}", revision) if name in repository.refs), "")
        if not reference or reference.startswith("refs/tags/"):
            raise _refusal(400, f"cannot commit to {revision}: it is no branch")
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
                raise _refusal(400, f"no path for a file: {path!r}")
            if key == "file":
                files[path] = self.storage.regular(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                try:
                    files[path] = self.storage.lfs(value["oid"])
                except FileNotFoundError:
                    raise _refusal(400, f"{path}: its LFS object {value['oid']} was not uploaded") from None
            elif key == "deletedFile":
                if files.pop(path, None) is None:
                    raise _refusal(404, f"{path} does not exist", "EntryNotFound")
            elif key == "deletedFolder":
                files = {name: file for name, file in files.items() if not name.startswith(f"{path.rstrip('/')}/")}
        return files


def _owns(user: User | None, repository: Repository) -> bool:
    return user is not None and repository.namespace in user.namespaces


def _sibling(file: File) -> dict[str, Any]:
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return {"size": file.size, "blobId": file.git} | ({"lfs": lfs} if file.lfs else {})
