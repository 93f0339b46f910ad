"""The scripted endpoint with OpenAI's files and batches, shaped as `openai.types` says.

`BatchServer(fault=...)` answers each line of a batch as `LLMServer` would; a status is the line's error, "expire" what
a batch did not come to. A batch is done when it has been looked at `looks` times.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from llm_server import LLMServer, completion, reply


class BatchServer(LLMServer):
    def __init__(
        self, fault: Any = None, looks: int = 2, refuse: Callable[[list[Any]], str | None] | None = None
    ) -> None:
        """`refuse`: lines of a new batch -> code of the error it fails with, None to begin it."""
        super().__init__(fault)
        self.looks, self.refuse = looks, refuse
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.left: dict[str, int] = {}
        self.dropped: set[str] = set()  # such as "POST batches": the work is done, its answer lost, once

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path.removeprefix("/v1/")
        if not path.startswith(("files", "batches")):
            super().answer(handler)
            return
        data = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self.lock:
            body = self.route(handler.command, path.split("/"), handler.headers.get("Content-Type") or "", data)
        if f"{handler.command} {path}" in self.dropped:
            self.dropped.remove(f"{handler.command} {path}")
            handler.close_connection = True
        elif body is None:
            self.send(handler, 404, {"error": {"message": "no such object", "code": None}})
        else:
            self.send(handler, 200, body)

    def route(self, method: str, path: list[str], kind: str, data: bytes) -> Any:
        if path == ["files"]:
            return self.upload(kind, data)
        if path[0] == "files":
            return self.files[path[1]].decode() if path[1] in self.files else None
        if path == ["batches"]:
            return self.create(json.loads(data)) if method == "POST" else self.listed()
        return self.look(path[1]) if path[1] in self.batches else None

    def upload(self, kind: str, data: bytes) -> dict[str, Any]:
        boundary = kind.split("boundary=")[1].encode()
        parts = [part.partition(b"\r\n\r\n") for part in data.split(b"--" + boundary)]
        fields = {head.split(b'name="')[1].split(b'"')[0]: body[:-2] for head, _, body in parts if b'name="' in head}
        assert fields[b"purpose"] == b"batch"
        return self.file("batch", fields[b"file"])

    def file(self, purpose: str, data: bytes) -> dict[str, Any]:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        about = {"id": name, "object": "file", "bytes": len(data), "created_at": int(time.time())}
        return {**about, "filename": "calls.jsonl", "purpose": purpose, "status": "processed"}

    def listed(self) -> dict[str, Any]:
        newest = list(self.batches.values())[::-1]
        return {"object": "list", "data": newest, "has_more": False}

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        assert all(line["method"] == "POST" and line["url"] == asked["endpoint"] for line in lines)
        code = self.refuse(lines) if self.refuse else None
        batch: dict[str, Any] = {
            **asked,
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "created_at": int(time.time()),
            "status": "failed" if code else "validating",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        if code:
            batch["errors"] = {"object": "list", "data": [{"code": code, "message": f"scripted {code}"}]}
        self.batches[batch["id"]] = batch
        self.left[batch["id"]] = self.looks
        return batch

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        self.left[name] -= 1
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            if self.left[name] <= 0:
                self.finish(batch)
        return batch

    def finish(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            name = hashlib.sha256(json.dumps(line["body"]).encode()).hexdigest()
            number = len(self.seen)
            self.seen.append(name)
            self.bodies[name] = line["body"]
            fault = self.fault(number, line["body"]) if self.fault else None
            about = {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if fault == "expire":
                bad.append(
                    {**about, "error": {"code": "batch_expired", "message": "This request could not be executed"}}
                )
            elif isinstance(fault, int):
                refusal = {"error": {"message": "scripted", "code": None}}
                bad.append({**about, "response": {"status_code": fault, "request_id": "r", "body": refusal}})
            elif fault != "lose":
                text = fault if isinstance(fault, str) else reply(line["body"])
                said = completion(line["body"], text, name)
                good.append({**about, "response": {"status_code": 200, "request_id": "r", "body": said}})
        good.reverse()  # the order of the lines is not kept
        for field, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[field] = self.file("batch_output", "".join(json.dumps(line) + "\n" for line in lines).encode())[
                    "id"
                ]
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}
        batch["status"] = "expired" if any((line["error"] or {}).get("code") for line in bad) else "completed"
