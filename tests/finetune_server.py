"""The scripted endpoint with OpenAI's files and fine-tuning jobs, shaped as `openai.types` says.

A file is read when it has been looked at `reads` times, a job done when it has been looked at `looks` times.
`faults["POST files"] = [500, "lose"]` is what befalls the first two of these requests: a status, or a status with a
message and headers; "drop" (the connection, before anything is done), "lose" (the reply, after all is done) or "hang".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llm_server import LLMServer

MODELS = ("gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14")
_PAGE = 2  # objects of a list at once


class FinetuneServer(LLMServer):
    def __init__(
        self,
        looks: int = 3,
        reads: int = 1,
        outcome: str = "succeeded",
        error: dict[str, Any] | None = None,
        file_error: str | None = None,
    ) -> None:
        """`outcome`: the job's last status, with `error` if it failed; `file_error`: why files are refused."""
        super().__init__()
        self.looks, self.reads, self.outcome, self.error, self.file_error = looks, reads, outcome, error, file_error
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.bodies_of_jobs: list[dict[str, Any]] = []
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.looked: dict[str, int] = {}
        self.requests: list[str] = []
        self.faults: dict[str, list[Any]] = {}
        self.after: Callable[[str], None] = lambda request: None  # is called once the work is done

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        path = parts.path.partition("/v1/")[2]
        if not path.startswith(("files", "fine_tuning")):
            super().answer(handler)
            return
        data = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        request, query = f"{handler.command} {path}", {key: one[0] for key, one in parse_qs(parts.query).items()}
        with self.lock:
            self.requests.append(request)
            self.paths.append(handler.path)
            self.keys.add(handler.headers.get("api-key") or handler.headers.get("Authorization"))
            fault = self.faults[request].pop(0) if self.faults.get(request) else None
        if fault == "hang":
            time.sleep(self.hang)
        if fault in ("drop", "hang"):
            handler.close_connection = True
            return
        if isinstance(fault, int):
            fault = {"status": fault, "message": f"scripted refusal of {handler.headers.get('Authorization')}"}
        if isinstance(fault, dict):
            words = {"error": {"message": fault.get("message"), "type": "x", "code": fault.get("code"), "param": None}}
            self.send(handler, fault["status"], fault.get("body", words), fault.get("headers"))
            return
        with self.lock:
            body = self.route(handler.command, path.split("/"), query, handler.headers.get("Content-Type") or "", data)
        self.after(request)
        if fault == "lose":
            handler.close_connection = True
        elif body is None:
            self.send(handler, 404, {"error": {"message": "no such object", "code": None}})
        elif "refused" in body:
            self.send(handler, body["refused"], {"error": {"message": body["message"], "code": body["code"]}})
        else:
            self.send(handler, 200, body)

    def route(self, method: str, path: list[str], query: dict[str, str], kind: str, data: bytes) -> Any:
        if path == ["files"]:
            return self.upload(kind, data) if method == "POST" else page(self.files, query)
        if path[0] == "files":
            return self.read(path[1]) if path[1] in self.files else None
        if path == ["fine_tuning", "jobs"]:
            return self.create(json.loads(data)) if method == "POST" else page(self.jobs, query)
        if path[2] not in self.jobs:
            return None
        if path[3:] == ["events"]:
            return page({event["id"]: event for event in self.events[path[2]]}, query)
        if path[3:] == ["cancel"]:
            self.jobs[path[2]]["status"] = "cancelled"
            return self.jobs[path[2]]
        return self.look(path[2])

    def upload(self, kind: str, data: bytes) -> dict[str, Any]:
        boundary = kind.split("boundary=")[1].encode()
        parts = [part.partition(b"\r\n\r\n") for part in data.split(b"--" + boundary)]
        fields = {
            head.split(b'name="')[1].split(b'"')[0]: (head, body[:-2]) for head, _, body in parts if b"name" in head
        }
        assert fields[b"purpose"][1] == b"fine-tune"
        head, content = fields[b"file"]
        name = f"file-{len(self.files)}"
        self.contents[name] = content
        self.files[name] = {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": head.split(b'filename="')[1].split(b'"')[0].decode(),
            "purpose": "fine-tune",
            "status": "uploaded",
        }
        return self.files[name]

    def read(self, name: str) -> dict[str, Any]:
        self.looked[name] = self.looked.get(name, 0) + 1
        if self.looked[name] >= self.reads:
            self.files[name]["status"] = "error" if self.file_error else "processed"
            self.files[name]["status_details"] = self.file_error
        return self.files[name]

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.bodies_of_jobs.append(asked)
        if asked["model"] not in MODELS:
            message = f"The model `{asked['model']}` does not exist or is not available for fine-tuning."
            return {"refused": 404, "message": message, "code": "model_not_found"}
        assert self.files[asked["training_file"]]["status"] == "processed"
        name = f"ftjob-{len(self.jobs)}"
        self.jobs[name] = {
            "id": name,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "error": None,
            "fine_tuned_model": None,
            "finished_at": None,
            "hyperparameters": {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"},
            "model": asked["model"],
            "organization_id": "org-1",
            "result_files": [],
            "seed": asked["seed"],
            "status": "validating_files",
            "trained_tokens": None,
            "training_file": asked["training_file"],
            "validation_file": asked.get("validation_file"),
            "method": asked["method"],
        }
        self.events[name] = []
        self.tell(name, f"Created fine-tuning job: {name}")
        return self.jobs[name]

    def tell(self, name: str, message: str, level: str = "info") -> None:
        event = {"object": "fine_tuning.job.event", "level": level, "message": message, "type": "message"}
        self.events[name].append({**event, "id": f"ftevent-{len(self.events[name])}", "created_at": int(time.time())})

    def look(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        if job["status"] in ("succeeded", "failed", "cancelled"):
            return job
        self.looked[name] = self.looked.get(name, 0) + 1
        if self.looked[name] < self.looks:
            job["status"] = "running"
            self.tell(name, f"Step {self.looked[name]}/{self.looks}: training loss={1 / self.looked[name]:.2f}")
            return job
        job["status"] = self.outcome
        self.tell(name, f"The job has {self.outcome}", "error" if self.outcome == "failed" else "info")
        if self.outcome == "succeeded":
            lines = len(self.contents[job["training_file"]].splitlines())
            made = {**job["hyperparameters"], "n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0}
            kind = job["method"]["type"]
            job |= {"trained_tokens": 1000 * lines, "finished_at": int(time.time()), "hyperparameters": made}
            job |= {
                "fine_tuned_model": f"ft:{job['model']}:org:{self.bodies_of_jobs[-1]['suffix']}:abc",
                "result_files": ["file-r"],
            }
            job["method"] = {"type": kind, kind: {"hyperparameters": made}}
        elif self.outcome == "failed":
            job["error"] = self.error or {"code": "x", "message": "scripted", "param": None}
        return job


def page(objects: dict[str, dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """A page of a list, the newest first."""
    newest = list(objects.values())[::-1]
    ids = [one["id"] for one in newest]
    first = ids.index(query["after"]) + 1 if "after" in query else 0
    shown = newest[first : first + _PAGE]
    return {"object": "list", "data": shown, "has_more": first + _PAGE < len(newest)}
