"""A scripted endpoint in a process of its own, light enough not to be what a benchmark measures.

`with served(latency=0.5) as url:` answers chat completions at `url`. The answer, its latency (half to one and a half
times the mean) and its fault depend on the request's bytes alone; a fault strikes only the first time they come, and a
hang lasts as long as the caller waits. Embeddings are vectors of 1,536 numbers, of the text alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import multiprocessing
import random
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from llm_server import completion, reply

FAULTS = {429: 0.05, 500: 0.03, "drop": 0.02, "bad JSON": 0.02, "hang": 0.01}  # shares of requests
_HANG = 3600.0
_NUMBERS = 1536  # of a vector, as text-embedding-3-small has


def answered(body: dict[str, Any]) -> str:
    """A good answer; that to a repair is what should have been said at first."""
    first = [message for message in body["messages"] if message["role"] != "assistant"]
    return reply({**body, "messages": first[: len(first) - (len(first) < len(body["messages"]))]})


def embedded(body: dict[str, Any]) -> dict[str, Any]:
    """A vector for each input; what asks for base64 alone is answered."""
    data = []
    for index, text in enumerate(body["input"]):
        draw = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
        vector = draw.standard_normal(_NUMBERS, np.float32).tobytes()
        data.append({"object": "embedding", "index": index, "embedding": base64.b64encode(vector).decode()})
    words = sum(len(text.split()) for text in body["input"])
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


class _Peer(asyncio.Protocol):
    """One connection: one request at a time, as a chat client sends them."""

    seen: ClassVar[Counter[str]] = Counter()
    in_flight = most_in_flight = 0
    began = ended = 0.0
    latency, faults = 0.0, False

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self.data = b""
            requests = sum(_Peer.seen.values())
            counted = {"requests": requests, "repeats": requests - len(_Peer.seen), "most": _Peer.most_in_flight}
            self.write(200, {**counted, "in_flight": _Peer.in_flight, "seconds": _Peer.ended - _Peer.began})
            return
        length = int(
            next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split(b":")[1]
        )
        if len(body) < length:
            return
        self.data = b""
        self.request(body)

    def request(self, raw: bytes) -> None:
        name = hashlib.sha256(raw).hexdigest()
        draw = random.Random(name)
        first = name not in _Peer.seen
        _Peer.began = _Peer.began or time.monotonic()
        _Peer.seen[name] += 1
        _Peer.in_flight += 1
        _Peer.most_in_flight = max(_Peer.in_flight, _Peer.most_in_flight)
        latency = self.latency * draw.uniform(0.5, 1.5)
        fault = draw.choices([*FAULTS, None], [*FAULTS.values(), 1 - sum(FAULTS.values())])[0]
        fault = fault if self.faults and first else None
        wait = _HANG if fault == "hang" else latency
        asyncio.get_running_loop().call_later(wait, self.answer, raw, name, fault)

    def answer(self, raw: bytes, name: str, fault: Any) -> None:
        _Peer.in_flight -= 1
        _Peer.ended = time.monotonic()
        if fault == "drop":
            self.transport.close()
        elif isinstance(fault, int):
            self.write(fault, {"error": {"message": "scripted", "code": None}})
        else:
            body = json.loads(raw)
            if "input" in body:
                self.write(200, embedded(body))
            else:
                self.write(200, completion(body, "{cut" if fault == "bad JSON" else answered(body), name))

    def write(self, status: int, body: dict[str, Any]) -> None:
        payload = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        self.transport.write(head.encode() + payload)


def _serve(pipe: Any, latency: float, faults: bool) -> None:
    async def forever() -> None:
        _Peer.latency, _Peer.faults = latency, faults
        server = await asyncio.get_running_loop().create_server(_Peer, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@contextlib.contextmanager
def served(latency: float = 0.5, faults: bool = False) -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, latency, faults), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.kill()
        process.join()


def counts(url: str) -> dict[str, float]:
    """requests, repeats (whose bytes had come before), most at once, in_flight, seconds from first to last."""
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)
