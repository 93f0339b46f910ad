"""A test peer of the Hugging Face Hub: the real clients speak to it over HTTP, so nothing of theirs is mocked.

It keeps repositories as git does, in a folder that outlives the server: blobs named by their sha256, commits that list
their files, branches and tags that name commits. Both upload protocols are understood (git LFS and Xet); downloads are
plain HTTP. It is a peer for tests on loopback, not a product: one lock, no paging; a pull request is a ref alone.

    with HubServer(folder) as hub:
        subprocess.run([sys.executable, "script.py"], env=hub.environment(home))

Both client libraries read HF_ENDPOINT when they are imported: run them in a process of their own.
"""

import base64
import hashlib
import json
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

USER = "tester"
LICENSES = ("apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "mit", "other", "unknown")  # of those the Hub lists
LFS_SUFFIXES = (".arrow", ".bin", ".gguf", ".model", ".npy", ".npz", ".parquet", ".pt", ".safetensors", ".zip")
LFS_BYTES = 10 * 2**20
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()

NAME = r"(?P<name>\w[\w.-]*/\w[\w.-]*)"
REPO = rf"/api/(?P<kind>models|datasets|spaces)/{NAME}"
REVISION = r"(?P<revision>[^/]+)"


class Answer(NamedTuple):
    """What goes back to the client."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012


class HubError(Exception):
    """An answer that is an error; the client makes RepositoryNotFoundError and its sisters of `code`."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        header = message.encode("ascii", "backslashreplace").decode()
        named = {"X-Error-Message": header, "X-Error-Code": code, "Content-Type": "application/json"}
        self.answer = Answer(json.dumps({"error": message}).encode(), status, named | (headers or {}))


# ---------------------------------------------------------------- what is stored


def git_oid(content: bytes) -> str:
    """The name git gives to a blob; the client computes the same one to see whether a file has changed."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repo:
    """Commits, and the names that point at them: JSON read at each request, so a restarted server knows them too."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder, self.path, self.name = folder, path, re.sub("^(datasets|spaces)/", "", path)
        self.exists = (folder / "refs.json").exists()
        self.refs = json.loads((folder / "refs.json").read_text()) if self.exists else {"branches": {}, "tags": {}}
        self.branches, self.tags = self.refs["branches"], self.refs["tags"]
        self.pulls = self.refs.setdefault("pulls", {})  # refs/pr/1 -> its commit

    def save(self) -> None:
        draft = self.folder / "refs.json.new"
        draft.write_text(json.dumps(self.refs))
        draft.replace(self.folder / "refs.json")

    def commit(self, revision: str) -> dict[str, Any]:
        """The commit that a branch, a tag or a (shortened) sha names."""
        sha = self.branches.get(revision) or self.tags.get(revision) or self.pulls.get(revision) or revision
        found = list((self.folder / "commits").glob(f"{sha}*.json")) if re.fullmatch("[0-9a-f]{7,40}", sha) else []
        if len(found) != 1:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return json.loads(found[0].read_text()) | {"id": found[0].stem}

    def history(self, revision: str) -> Iterator[dict[str, Any]]:
        """A commit and its ancestors, newest first."""
        commit = self.commit(revision)
        yield commit
        if commit["parent"]:
            yield from self.history(commit["parent"])

    def advance(self, branch: str, title: str, message: str, files: dict[str, dict]) -> str:
        """Put a commit on top of a branch; its sha is that of its content."""
        date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        parent = self.branches.get("main" if branch.startswith("refs/pr/") else branch)
        commit = {"parent": parent, "title": title, "message": message, "date": date}
        content = json.dumps(commit | {"authors": [{"user": USER}], "files": files})
        sha = hashlib.sha1(content.encode()).hexdigest()
        (self.folder / "commits").mkdir(parents=True, exist_ok=True)
        (self.folder / "commits" / f"{sha}.json").write_text(content)
        (self.pulls if branch.startswith("refs/pr/") else self.branches)[branch] = sha
        self.save()
        return sha


class Store:
    """The folder under everything: blobs by sha256, Xet's xorbs by their own hash, one folder a repository."""

    def __init__(self, folder: Path) -> None:
        self.repos, self.blobs, self.xorbs = folder / "repos", folder / "blobs", folder / "xorbs"
        for part in (self.repos, self.blobs, self.xorbs):
            part.mkdir(parents=True, exist_ok=True)

    def repo(self, kind: str, name: str) -> Repo:
        return Repo(self.repos / kind / name, name if kind == "models" else f"{kind}/{name}")

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        (self.blobs / sha256).write_bytes(content)
        return sha256

    def has(self, sha256: str) -> bool:
        return re.fullmatch("[0-9a-f]{64}", sha256) is not None and (self.blobs / sha256).exists()

    def regular_file(self, path: str, content: bytes) -> dict[str, Any]:
        """A file as tree listings show it; `etag` is the identity that the client compares, `blob` where it lies."""
        oid = git_oid(content)
        named = {"type": "file", "path": path, "size": len(content), "oid": oid}
        return named | {"etag": oid, "blob": self.put(content)}

    def lfs_file(self, path: str, sha256: str) -> dict[str, Any]:
        """The same for a large file, for which git itself keeps a small pointer."""
        if not self.has(sha256):
            raise HubError(400, f"LFS object {sha256} was never uploaded")
        size = (self.blobs / sha256).stat().st_size
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        named = {"type": "file", "path": path, "size": size, "oid": git_oid(pointer)}
        large = {"oid": sha256, "size": size, "sha256": sha256, "pointerSize": len(pointer)}
        return named | {"lfs": large, "etag": sha256, "blob": sha256}

    def changed(self, files: dict[str, dict], operations: list[dict]) -> dict[str, dict]:
        """The files after a commit: what it deletes goes first, then what it brings is added."""
        files = dict(files)
        for key, value in ((one["key"], one["value"]) for one in operations):
            if key == "deletedFile" and files.pop(value["path"], None) is None:
                raise HubError(404, f"A file with this name doesn't exist: {value['path']}", "EntryNotFound")
            if key == "deletedFolder":
                top = value["path"].rstrip("/") + "/"
                files = {path: file for path, file in files.items() if not path.startswith(top)}
        for key, value in ((one["key"], one["value"]) for one in operations):
            if key == "file":
                files[value["path"]] = self.regular_file(value["path"], base64.b64decode(value["content"]))
            if key == "lfsFile":
                files[value["path"]] = self.lfs_file(value["path"], value["oid"])
        return files


def card_errors(page: str) -> list[str]:
    """What the Hub has against the YAML head of a card, of the rules that its users run into."""
    fenced = re.match(r"---\n(.*?)\n---\n", page, re.DOTALL)
    head = yaml.safe_load(fenced[1]) if fenced else {}
    languages = head.get("language") or []
    codes = [languages] if isinstance(languages, str) else languages
    names = [config["config_name"] for config in head.get("configs", [])]
    faults = {
        '"license" must be one of the listed identifiers': head.get("license", "mit") not in LICENSES,
        '"language" must be ISO 639 codes': not all(
            re.fullmatch("[a-z]{2,3}|code|multilingual", code) for code in codes
        ),
        '"base_model" must be a model id': not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", head.get("base_model", "gpt2")),
        '"configs" must have names of their own': len(set(names)) < len(names),
    }
    return [message for message, found in faults.items() if found]


def with_folders(files: dict[str, dict], top: str = "") -> dict[str, dict]:
    """Files and folders below `top`, by path; a folder's oid changes with what is in it."""
    found = {}
    for path, file in sorted(files.items()):
        if path.startswith(top):
            for folder in (f"{parent}/" for parent in reversed(Path(path).parents[:-1])):
                if folder.startswith(top) and folder != top:
                    oids = "".join(one["oid"] for one in files.values() if one["path"].startswith(folder))
                    entry = {"type": "directory", "path": folder[:-1], "size": 0, "oid": git_oid(oids.encode())}
                    found[folder[:-1]] = entry
            found[path] = file
    return found


# ---------------------------------------------------------------- routes

Handler = Callable[["Call"], Any]
ROUTES: list[tuple[str, re.Pattern[str], str, Handler]] = []


def route(method: str, path: str, needs: str | None = None) -> Callable[[Handler], Handler]:
    """Register a handler; everything but GET needs a token that may write, unless `needs` says otherwise."""

    def register(handler: Handler) -> Handler:
        role = needs if needs is not None else "" if method == "GET" else "write"
        ROUTES.append((method, re.compile(path), role, handler))
        return handler

    return register


@dataclass
class Call:
    """One request, and the handlers that may serve it: each gives an Answer, or a value to send as JSON.

    `slots` are the named parts of the path, %-decoded.
    """

    hub: "HubServer"
    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    slots: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    @property
    def role(self) -> str:
        """What the bearer may do: write, read, or nothing (an empty word)."""
        return self.hub.roles.get(self.headers.get("Authorization", "").removeprefix("Bearer "), "")

    @property
    def repo(self) -> Repo:
        """The repository in the path; a private one does not exist for strangers."""
        repo = self.hub.store.repo(self.slots.get("kind", "models"), self.slots["name"])
        if not repo.exists or (repo.refs["private"] and not self.role):
            raise HubError(404 if self.role else 401, "Repository not found", "RepoNotFound")
        return repo

    @property
    def commit(self) -> dict[str, Any]:
        return self.repo.commit(self.slots.get("revision", "main"))

    def answer(self) -> Answer:
        """Let the first fitting route answer."""
        for method, pattern, needs, handler in ROUTES:
            match = pattern.fullmatch(self.path)
            if match and method == self.method.replace("HEAD", "GET"):
                self.slots = {name: unquote(part) for name, part in match.groupdict().items() if part is not None}
                if needs and not self.role:
                    raise HubError(401, "Invalid credentials in Authorization header")
                if needs == "write" != self.role:
                    raise HubError(403, "This token may only read")
                value = handler(self)
                return value if isinstance(value, Answer) else Answer(json.dumps(value).encode())
        raise HubError(404, f"No route {self.method} {self.path}")

    @route("GET", "/api/whoami-v2", needs="read")
    def whoami(self) -> Any:
        orgs = [{"type": "org", "name": name} for name in self.hub.orgs or ()]
        return {"type": "user", "name": USER, "orgs": orgs, "auth": {"accessToken": {"role": self.role}}}

    @route("POST", "/api/validate-yaml", needs="")
    def validate_yaml(self) -> Any:
        errors = [{"message": message} for message in card_errors(self.json["content"])]
        return Answer(json.dumps({"errors": errors, "warnings": []}).encode(), 400 if errors else 200)

    @route("POST", "/api/repos/create")
    def create_repo(self) -> Any:
        asked = {"type": "model", "organization": None, "visibility": "public"} | self.json
        if self.hub.orgs is not None and asked["organization"] not in (None, USER, *self.hub.orgs):
            raise HubError(403, f"You don't have the rights to create a {asked['type']} under this namespace")
        repo = self.hub.store.repo(f"{asked['type']}s", f"{asked['organization'] or USER}/{asked['name']}")
        url = {"url": f"{self.hub.url}/{repo.path}"}
        if repo.exists:
            return Answer(json.dumps(url | {"error": f"You already created {repo.path}"}).encode(), 409)
        repo.refs["private"] = asked["visibility"] == "private"
        attributes = self.hub.store.regular_file(".gitattributes", GIT_ATTRIBUTES)
        repo.advance("main", "initial commit", "", {".gitattributes": attributes})
        return url

    @route("GET", rf"{REPO}(/revision/{REVISION})?")
    def info(self) -> Any:
        repo, commit, blobs = self.repo, self.commit, "blobs" in self.query

        def sibling(file: dict[str, Any]) -> dict[str, Any]:
            detail = {"size": file["size"], "blobId": file["oid"], "lfs": file.get("lfs")} if blobs else {}
            return {"rfilename": file["path"]} | detail

        siblings = [sibling(file) for _, file in sorted(commit["files"].items())]
        known = {"id": repo.name, "sha": commit["id"], "lastModified": commit["date"], "tags": []}
        return known | {
            "private": repo.refs["private"], "gated": repo.refs.get("gated", False), "siblings": siblings
        }  # fmt: skip

    @route("PUT", rf"{REPO}/settings")
    def settings(self) -> Any:
        repo, asked = self.repo, self.json
        if "gated" in asked:
            repo.refs["gated"] = asked["gated"]
        if "visibility" in asked:
            repo.refs["private"] = asked["visibility"] == "private"
        repo.save()
        return {"private": repo.refs["private"], "gated": repo.refs.get("gated", False)}

    @route("GET", rf"{REPO}/refs")
    def refs(self) -> Any:
        def listed(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in names.items()]

        branches, tags = listed("heads", self.repo.branches), listed("tags", self.repo.tags)
        pulls = [{"name": ref[8:], "ref": ref, "targetCommit": sha} for ref, sha in self.repo.pulls.items()]
        asked = {"pullRequests": pulls} if "include_prs" in self.query else {}
        return {"branches": branches, "tags": tags, "converts": [], **asked}

    @route("GET", rf"{REPO}/commits/{REVISION}")
    def commits(self) -> Any:
        return list(self.repo.history(self.slots["revision"]))

    @route("GET", rf"{REPO}/tree/{REVISION}(/(?P<path>.+))?")
    def tree(self) -> Any:
        top = f"{self.slots['path'].rstrip('/')}/" if "path" in self.slots else ""
        found = with_folders(self.commit["files"], top)
        if top and not found:
            raise HubError(404, f"{top} does not exist on this revision", "EntryNotFound")
        deep = self.query.get("recursive", "").lower() == "true"
        return [entry for path, entry in found.items() if deep or "/" not in path.removeprefix(top)]

    @route("POST", rf"{REPO}/paths-info/{REVISION}", needs="")
    def paths_info(self) -> Any:
        found = with_folders(self.commit["files"])
        wanted = [path.rstrip("/") for key, path in parse_qsl(self.body.decode()) if key == "paths"]
        return [found[path] for path in wanted if path in found]

    @route("POST", rf"{REPO}/(?P<sort>branch|tag)/(?P<ref>[^/]+)")
    def create_ref(self) -> Any:
        """A branch is named in the path and starts at the body's point; a tag is named in the body, on the path's."""
        repo, ref, revision = self.repo, self.slots["ref"], self.json.get("startingPoint", "main")
        if self.slots["sort"] == "tag":
            ref, revision = self.json["tag"], ref
        names = repo.tags if self.slots["sort"] == "tag" else repo.branches
        if ref in names:
            raise HubError(409, f"Reference already exists: {ref}")
        names[ref] = repo.commit(revision)["id"]
        repo.save()
        return {}

    @route("DELETE", rf"{REPO}/(?P<sort>branch|tag)/(?P<ref>[^/]+)")
    def delete_ref(self) -> Any:
        repo, ref = self.repo, self.slots["ref"]
        names = repo.tags if self.slots["sort"] == "tag" else repo.branches
        if names is repo.branches and ref == "main":
            raise HubError(403, "The main branch cannot be deleted")
        if names.pop(ref, None) is None:
            raise HubError(404, f"Reference does not exist: {ref}", "RevisionNotFound")
        repo.save()
        return {}

    @route("POST", rf"{REPO}/preupload/{REVISION}")
    def preupload(self) -> Any:
        """How each file is to be sent, and which is there already: that is how a client sees that nothing changed."""
        files = self.commit["files"]

        def plan(path: str, size: int, sample: str) -> dict[str, Any]:
            large = path.endswith(LFS_SUFFIXES) or size > LFS_BYTES or b"\0" in base64.b64decode(sample)
            known = {"oid": files[path]["etag"]} if path in files else {}
            return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False} | known

        return {"files": [plan(**sent) for sent in self.json["files"]]}

    @route("POST", rf"{REPO}/commit/{REVISION}")
    def create_commit(self) -> Any:
        repo, branch = self.repo, self.slots["revision"]
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        said = {"description": "", "parentCommit": ""} | header["value"]
        if branch not in repo.branches:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        if not repo.branches[branch].startswith(said["parentCommit"]):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = self.hub.store.changed(self.commit["files"], operations)
        pull = f"refs/pr/{len(repo.pulls) + 1}" if self.query.get("create_pr") == "1" else ""
        sha = repo.advance(pull or branch, said["summary"], said["description"], files)
        made = {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{repo.path}/commit/{sha}"}
        page = {"pullRequestUrl": f"{self.hub.url}/{repo.path}/discussions/{pull[8:]}"}
        return made | (page if pull else {})

    @route("GET", rf"/((?P<kind>datasets|spaces)/)?{NAME}/resolve/{REVISION}/(?P<path>.+)")
    def resolve(self) -> Any:
        """A file's bytes, or the span of them that the client asks for."""
        commit = self.commit
        if self.repo.refs.get("gated") and not self.role:
            raise HubError(401, "Access to this repository is restricted", "GatedRepo")
        headers = {"X-Repo-Commit": commit["id"], "Accept-Ranges": "bytes"}
        file = commit["files"].get(self.slots["path"])
        if file is None:
            raise HubError(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = headers["X-Linked-Etag"] = f'"{file["etag"]}"'
        content = (self.hub.store.blobs / file["blob"]).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return Answer(content, 200, headers)
        start, stop = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
        if start >= stop:
            raise HubError(416, f"Nothing in {asked[0]} of {len(content)} bytes")
        return Answer(content[start:stop], 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"})

    @route("POST", rf"/((datasets|spaces)/)?{NAME}\.git/info/lfs/objects/batch")
    def lfs_batch(self) -> Any:
        """Where to send each large file; one that is stored already gets no actions."""

        def plan(sent: dict[str, Any]) -> dict[str, Any]:
            place = {"href": f"{self.hub.url}/lfs/{sent['oid']}"}
            return sent if self.hub.store.has(sent["oid"]) else sent | {"actions": {"upload": place}}

        return {"transfer": "basic", "objects": [plan(sent) for sent in self.json["objects"]]}

    @route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", needs="")
    def lfs_upload(self) -> Any:
        if hashlib.sha256(self.body).hexdigest() != self.slots["oid"]:
            raise HubError(400, "The content does not have the announced sha256")
        return self.hub.store.put(self.body)

    @route("GET", rf"{REPO}/xet-write-token/{REVISION}", needs="write")
    def xet_token(self) -> Any:
        return {"accessToken": self.hub.token, "exp": int(time.time()) + 3600, "casUrl": self.hub.url}

    @route("POST", "/v1/xorbs/default/(?P<hash>[0-9a-f]{64})")
    def xet_xorb(self) -> Any:
        (self.hub.store.xorbs / self.slots["hash"]).write_bytes(self.body)
        return {"was_inserted": True}

    @route("POST", "/v1/shards")
    def xet_shard(self) -> Any:
        for content in shard_files(self.hub.store.xorbs, self.body):
            self.hub.store.put(content)
        return {"result": 1}


# ---------------------------------------------------------------- Xet's formats


def shard_files(xorbs: Path, shard: bytes) -> Iterator[bytes]:
    """The files that a shard describes, as runs of chunks in xorbs.

    After a header come 48-byte records: for each file one that counts its segments, the segments, as many checksums
    (bit 31 of the flags) and one sha256 (bit 30). A hash of ones ends the list.
    """
    at = 48
    while shard[at : at + 32] != b"\xff" * 32:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        yield b"".join(segment(xorbs, shard[at + 48 * i : at + 48 * (i + 1)]) for i in range(1, count + 1))
        at += 48 * (1 + count * (1 + (flags >> 31)) + (flags >> 30 & 1))


def segment(xorbs: Path, record: bytes) -> bytes:
    """The bytes of a run of chunks; Xet prints a hash as four little-endian words."""
    name = "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", record))
    start, end = struct.unpack_from("<II", record, 40)
    return b"".join(list(xorb_chunks((xorbs / name).read_bytes()))[start:end])


def xorb_chunks(xorb: bytes) -> Iterator[bytes]:
    """A xorb's chunks, each behind 8 bytes: version 0, packed size, scheme (0 plain, 1 LZ4, 2 grouped), size."""
    from pyarrow import Codec

    at = 0
    while at < len(xorb) and xorb[at] == 0:
        packed, size = (int.from_bytes(xorb[at + i : at + i + 3], "little") for i in (1, 5))
        chunk, scheme = xorb[at + 8 : at + 8 + packed], xorb[at + 4]
        if scheme:
            chunk = Codec("lz4").decompress(chunk, size, asbytes=True)
        yield ungrouped(chunk) if scheme == 2 else chunk
        at += 8 + packed


def ungrouped(chunk: bytes) -> bytes:
    """Undo Xet's byte grouping: every fourth byte was put together, which compresses floats better."""
    whole, start = bytearray(len(chunk)), 0
    for lane in range(4):
        size = len(whole[lane::4])
        whole[lane::4] = chunk[start : start + size]
        start += size
    return bytes(whole)


# ---------------------------------------------------------------- the server


class Request(NamedTuple):
    """A line of the log; the path is %-decoded, a dropped connection has no status."""

    method: str
    path: str
    status: int | None


class Fault(NamedTuple):
    """One failure to come; see `HubServer.fail`."""

    method: str
    path: str
    status: int | None
    after: bool
    words: str
    hang: bool


class Exchange(BaseHTTPRequestHandler):
    """HTTP under the routes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: "Listener"

    def serve(self) -> None:
        """Read the request, body and all (no client here sends one in chunks), and send what the Hub answers."""
        url, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        call = Call(self.server.hub, self.command, url.path, query, self.headers, body)
        answer = self.server.hub.answer(call)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the log that tests read is `HubServer.requests`."""


class Listener(ThreadingHTTPServer):
    """The socket, and the Hub that answers on it."""

    hub: "HubServer"
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent on a client that was killed: what the Hub itself raises is not to be lost."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class HubServer:
    """The Hub on a port of 127.0.0.1, over a folder; reads are public, writes need one of the `writers` tokens."""

    def __init__(
        self,
        folder: Path,
        writers: Collection[str] = ("hf_writer",),
        readers: Collection[str] = ("hf_reader",),
        orgs: Collection[str] | None = None,
    ) -> None:
        """`orgs`: those in which the user may create; None is every name."""
        self.orgs = orgs
        self.witness: Callable[[str, int], None] = lambda moment, number: None  # before and after each request
        self.waiting = threading.Event()  # ends what hangs
        self.store = Store(Path(folder))
        self.roles = dict.fromkeys(readers, "read") | dict.fromkeys(writers, "write")
        self.token = next(iter(writers))
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.listener = Listener(("127.0.0.1", 0), Exchange)
        self.listener.hub = self
        self.url = f"http://127.0.0.1:{self.listener.server_port}"
        self.closed = False

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        self.waiting.set()
        self.listener.shutdown()
        self.listener.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """This process's environment for a client: our endpoint, a cache in `home`, no proxy, no outside host."""
        foreign = re.compile(r"HF_|HUGGING|TRANSFORMERS_|.*_proxy$", re.IGNORECASE)
        kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        ours = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": self.token}
        silent = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_XET_TELEMETRY_ENABLED": "0", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
        return kept | ours | silent | {"HF_HUB_DISABLE_XET": "1"}

    def fail(
        self,
        method: str,
        path: str,
        status: int | None = None,
        times: int = 1,
        after: bool = False,
        words: str = "injected fault",
        hang: bool = False,
    ) -> None:
        """Answer the next `times` requests that fit both patterns with `status`, or hang up when it is None.

        With `after`, the request is carried out first and only its answer is lost. With `hang`, nothing is answered
        until the server is closed.
        """
        self.faults += [Fault(method, path, status, after, words, hang)] * times

    def answer(self, call: Call) -> Answer | None:
        """Answer a request and log it; None means to hang up.

        A closed server hangs up too: connections that clients keep open outlive it.
        """
        if self.closed:
            return None
        path = unquote(call.path)
        with self.lock:
            fits = (one for one in self.faults if re.fullmatch(one.method, call.method) and re.search(one.path, path))
            fault = next(fits, None)
            self.witness("before", len(self.requests))
            answer = self.honest_answer(call) if fault is None or fault.after else None
            if fault:
                self.faults.remove(fault)
                answer = HubError(fault.status, fault.words).answer if fault.status else None
            self.requests.append(Request(call.method, path, answer.status if answer else None))
            self.witness("after", len(self.requests) - 1)
        if fault and fault.hang:
            self.waiting.wait()
        return answer

    def honest_answer(self, call: Call) -> Answer:
        try:
            return call.answer()
        except HubError as error:
            return error.answer
