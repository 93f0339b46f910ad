"""A release on its way to the local Hub while it fails: each route by each fault, and `kill -9` at each request.

    python tests/publishing/fault_matrix.py          prints both as tables

A cell says how the repository stood after the command, and whether the same command then finished. `once` is a fault of
a single request, `always` one that stays.
"""

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from hub_server import HubServer

OWNER = "caredio"
ROUTES = {  # name -> method, path
    "look: refs": ("GET", "/refs$"),
    "look: info": ("GET", "/api/datasets/[^/]+/[^/]+$"),
    "fetch": ("GET|HEAD", "/resolve/"),
    "validate-yaml": ("POST", "/api/validate-yaml"),
    "create": ("POST", "/api/repos/create"),
    "settings": ("PUT", "/settings$"),
    "preupload": ("POST", "/preupload/"),
    "lfs: batch": ("POST", "/info/lfs/objects/batch"),
    "lfs: file": ("PUT", "^/lfs/"),
    "xet-write-token": ("GET", "/xet-write-token/"),
    "xorbs": ("POST", "/v1/xorbs/"),
    "shards": ("POST", "/v1/shards$"),
    "commit": ("POST", "/commit/"),
    "tag": ("POST", "/tag/"),
}
FAULTS = {  # name -> arguments of HubServer.fail
    **{str(status): {"status": status} for status in (401, 403, 404, 409, 412, 429, 500)},
    "hangs": {"hang": True},
    "drops before": {},
    "drops after": {"after": True},
}
XET = ("xet-write-token", "xorbs", "shards")  # asked where files go by Xet, and not by LFS
QUICK = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1", "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms"}  # of Xet's own attempts
SLOW = {(route, "hangs") for route in XET}  # left out: Xet waits long before it takes a request for lost
MOMENTS = 10


def release(folder: Path, version: str, seed: int) -> Path:
    """A small release: a card, a table that is no other's, and their record."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"---\nlicense: mit\n---\n# {version}\n")
    (folder / "china").mkdir()
    (folder / "china" / "train.parquet").write_bytes(b"PAR1" + hashlib.sha256(str(seed).encode()).digest() * 30)
    files = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    record = {"kind": "dataset", "version": version, "rows": {"china": {"train": 1}}, "files": files}
    (folder / "release.json").write_text(json.dumps(record))
    return folder


class Stage:
    """A local Hub, and this process as its client: the address is set before the client is imported."""

    def __init__(self, home: Path) -> None:
        self.home, self.count = home, 0
        self.server = HubServer(home / "hub").__enter__()
        os.environ.update(self.server.environment(home / "home"))
        os.environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", **QUICK)
        os.environ.pop("HF_HUB_OFFLINE", None)
        from huggingface_hub import constants, file_download

        from caredio.publishing import hub

        self.hub, self.constants = hub, constants
        hub._PAUSE, hub._SILENCE, hub._PATIENCE, hub.ATTEMPTS = 0, 0.4, 0.4, 3
        constants.HF_HUB_DOWNLOAD_TIMEOUT = file_download._ETAG_RETRY_TIMEOUT = 0.4
        time.sleep = lambda seconds: None  # of the client, between its attempts

    def begun(self, first: bool = True) -> tuple[str, Path]:
        """A repository with a release, or none, and the folder of the next one."""
        self.count += 1
        name = f"{OWNER}/r{self.count}"
        if first:
            self.publish(release(self.home / f"{self.count}a", "v0.1.0", 2 * self.count), name, gated=None)
        return name, release(self.home / f"{self.count}b", "v0.2.0", 2 * self.count + 1)

    def publish(self, folder: Path, name: str, gated: str | None = "auto") -> str:
        """What `caredio publish` does with the Hub: looks, reads the release before, sends the next; else again."""
        for _ in range(self.hub.ATTEMPTS):
            seen = self.hub.look(name, "dataset")
            if tag := max(seen.tags, default=None):
                self.hub.fetched(name, "dataset", tag)
            try:
                return self.hub.push(folder, name, "dataset", gated=gated, seen=seen)
            except self.hub.Moved:
                continue
        raise AssertionError(f"{name} moves for ever")

    def state(self, name: str) -> tuple[str | None, dict[str, str]]:
        """(main's commit, tags) as they lie on the server's disk."""
        file = self.server.store.repos / "datasets" / name / "refs.json"
        if not file.exists():
            return None, {}
        refs = json.loads(file.read_text())
        return refs["branches"]["main"], refs["tags"]

    def holds(self, name: str, commit: str, folder: Path) -> bool:
        """Whether a commit has the files of a release, and no others."""
        file = self.server.store.repos / "datasets" / name / "commits" / f"{commit}.json"
        found = {path: one["blob"] for path, one in json.loads(file.read_text())["files"].items()}
        wanted = {
            one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
            for one in folder.rglob("*")
            if one.is_file()
        }
        return {path: sha for path, sha in found.items() if path != ".gitattributes"} == wanted

    def commits(self, name: str) -> int:
        return len(list((self.server.store.repos / "datasets" / name / "commits").glob("*.json")))

    def stands(self, name: str, folder: Path, before: tuple[str | None, dict[str, str]]) -> str:
        """How a repository stands: as before, whole (without a tag), complete, or broken."""
        head, tags = self.state(name)
        if (head, tags) == before:
            return "as before"
        if head and not before[0] and not tags and not self.holds(name, head, folder):
            return "empty" if self.commits(name) == 1 else "BROKEN"
        if head and self.holds(name, head, folder) and {**before[1], **tags} == tags:
            rest = {tag: sha for tag, sha in tags.items() if tag not in before[1]}
            return "complete" if rest == {"v0.2.0": head} else "BROKEN" if rest else "whole, no tag"
        return "BROKEN"

    def again(self, name: str, folder: Path, commits: int) -> str:
        """Whether the same command, with nothing failing, finishes by one commit over what was there."""
        self.server.faults.clear()
        try:
            self.publish(folder, name)
        except Exception as error:
            return f"FAILS ({error})"
        head, tags = self.state(name)
        done = head is not None and tags.get("v0.2.0") == head and self.holds(name, head, folder)
        return "finishes" if done and self.commits(name) == commits + 1 else "DIFFERS"

    def cell(self, route: str, fault: str, times: int, first: bool = True) -> dict[str, str]:
        """What came of a release while a route failed."""
        name, folder = self.begun(first)
        before, commits = self.state(name), self.commits(name) if first else 1
        self.constants.HF_HUB_DISABLE_XET = route not in XET
        self.server.fail(*ROUTES[route], times=times, **{"status": None, **FAULTS[fault]})
        asked = len(self.server.requests)
        try:
            self.publish(folder, name)
            said = ""
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        hit = len(self.server.faults) < times
        found = {"said": said, "stands": self.stands(name, folder, before), "hit": str(hit)}
        return {**found, "again": self.again(name, folder, commits), "requests": str(len(self.server.requests) - asked)}

    def killed(self, number: int, moment: str) -> dict[str, str]:
        """What came of a release whose process was killed at a request, before or after the Hub did what it asks."""
        name, folder = self.begun()
        before, commits = self.state(name), self.commits(name)
        start = len(self.server.requests)
        child = os.fork()
        if child == 0:
            self.publish(folder, name)
            os._exit(0)

        def witness(when: str, place: int) -> None:
            if (when, place - start) == (moment, number):
                os.kill(child, signal.SIGKILL)

        self.server.witness = witness
        _, status = os.waitpid(child, 0)
        self.server.witness = lambda when, place: None
        asked = [one.path.rsplit("/", 2)[-2:] for one in self.server.requests[start:]]
        dead = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        found = {"killed": str(dead), "at": "/".join(asked[number]) if number < len(asked) else ""}
        return {**found, "stands": self.stands(name, folder, before), "again": self.again(name, folder, commits)}

    def length(self) -> int:
        """How many requests a release makes."""
        name, folder = self.begun()
        start = len(self.server.requests)
        self.publish(folder, name)
        return len(self.server.requests) - start


def matrix(stage: Stage, routes: list[str], faults: list[str]) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """Route -> fault -> once or always -> the cell."""
    return {
        route: {
            fault: {
                often: stage.cell(route, fault, times, first=route != "create")
                for often, times in (("once", 1), ("always", 1000))
            }
            for fault in faults
            if (route, fault) not in SLOW
        }
        for route in routes
    }


def kills(stage: Stage) -> list[dict[str, str]]:
    """The cells of the last ten requests of a release, with which it is sent."""
    length = stage.length()
    return [
        {"request": str(number), "moment": moment, **stage.killed(number, moment)}
        for number in range(length - MOMENTS, length)
        for moment in ("before", "after")
    ]


def table(found: dict) -> str:
    """The matrix as Markdown: what the command did, and how the repository stood."""
    faults = list(next(iter(found.values())))
    lines = [f"| route | {' | '.join(faults)} |", "|---" * (len(faults) + 1) + "|"]
    for route, row in found.items():
        cells = [
            " / ".join(_word(row[fault][often]) for often in ("once", "always")) if fault in row else "-"
            for fault in faults
        ]
        lines.append(f"| {route} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _word(cell: dict[str, str]) -> str:
    said = cell["said"]
    did = "done" if not said else "gave up" if "attempts" in said else "refused"
    return (
        did
        + ("" if did == "done" and cell["stands"] == "complete" else f", {cell['stands']}")
        + ("" if cell["again"] == "finishes" else f", again: {cell['again']}")
    )


def main(out: str | None = None, routes: str = "", faults: str = "") -> None:
    with tempfile.TemporaryDirectory() as home:
        stage = Stage(Path(home))
        found = matrix(
            stage, routes.split(",") if routes else list(ROUTES), faults.split(",") if faults else list(FAULTS)
        )
        ended = kills(stage)
        stage.server.close()
    if out:
        Path(out).write_text(json.dumps({"matrix": found, "kills": ended}))
        return
    print(table(found))
    print("\n| request | killed | repository | the same command |\n|---|---|---|---|")
    for one in ended:
        print(f"| {one['request']} {one['at']} | {one['moment']} | {one['stands']} | {one['again']} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
