"""Requests about the whole Hub, about a repository, and about its branches and tags."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from loopback_hub.access import Access, owns, refusal
from loopback_hub.cards import front_matter, problems
from loopback_hub.storage import ID, MAIN, TYPES, Commit, File, Repository


class Repositories(Access):
    """Create, describe, list, change and delete."""

    async def whoami(self, request: Request) -> Response:
        user = self.user(request)
        if user is None:
            raise refusal(401, "Invalid username or password.")
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
            raise refusal(400, f"no such type of repository: {type}")
        if type == "spaces" and body.get("sdk") not in ("gradio", "docker", "static"):
            raise refusal(400, "a Space needs an sdk: gradio, docker or static")
        id = f"{namespace}/{body['name']}"
        if not ID.fullmatch(id):
            raise refusal(400, f"Invalid repo name: {id}")
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
            raise refusal(404, "Repository not found", "RepoNotFound")
        self.storage.delete(repository)
        return Response()

    async def list(self, request: Request) -> Response:
        user = self.user(request)
        author, search = request.query_params.get("author"), request.query_params.get("search", "")
        return JSONResponse(
            [
                self._describe(repository, self.storage.read_commit(repository, repository.refs[MAIN]), blobs=False)
                for repository in self.storage.repositories(request.path_params["type"])
                if not repository.private or owns(user, repository)
                if author in (None, repository.namespace) and search.lower() in repository.id.lower()
            ]
        )

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
        body = await request.json()
        repository = self.repository(request)
        self.writer(request, repository.namespace)
        repository.gated = body.get("gated", repository.gated)
        if "visibility" in body or "private" in body:
            repository.private = body.get("visibility") == "private" or bool(body.get("private"))
        self.storage.save(repository)
        return JSONResponse({"private": repository.private, "gated": repository.gated})

    async def grant(self, request: Request) -> Response:
        user = (await request.json())["user"]
        repository = self.repository(request)
        self.writer(request, repository.namespace)
        repository.granted.append(user)
        self.storage.save(repository)
        return JSONResponse({})

    async def auth_check(self, request: Request) -> Response:
        self.check_gate(request, self.repository(request))
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
        start = json.loads(await request.body() or b"{}").get("startingPoint", "main")
        reference = f"refs/heads/{request.path_params['branch']}"
        return self._change(request, reference, start)

    async def tag(self, request: Request) -> Response:
        revision = request.path_params["revision"]
        name = json.loads(await request.body() or b"{}").get("tag", revision)  # to remove one, it is in the path
        return self._change(request, f"refs/tags/{name}", revision)

    def _change(self, request: Request, reference: str, start: str) -> Response:
        """Make a reference that points to where `start` does, or remove it."""
        repository = self.repository(request)
        self.writer(request, repository.namespace)
        if request.method == "DELETE":
            if reference == MAIN or repository.refs.pop(reference, None) is None:
                raise refusal(404, f"Cannot remove {reference}", "RevisionNotFound")
        elif reference in repository.refs:
            raise refusal(409, f"Reference already exists: {reference}")
        else:
            commit = self.storage.resolve(repository, start)
            if commit is None:
                raise refusal(404, f"Invalid rev id: {start}", "RevisionNotFound")
            repository.refs[reference] = commit
        self.storage.save(repository)
        return JSONResponse({})


def _sibling(file: File) -> dict[str, Any]:
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return {"size": file.size, "blobId": file.git} | ({"lfs": lfs} if file.lfs else {})
