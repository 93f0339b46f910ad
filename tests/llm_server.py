"""A scripted OpenAI-compatible endpoint: what it answers depends on the request alone, and it keeps a log.

A test peer, served over HTTP to the real `openai` client. Faults are chosen per request by a function of the test's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SUBJECTS = [
    "an aunt",
    "the neighbours",
    "the family",
    "a colleague",
    "the shopkeeper",
    "a grandmother",
    "the children",
    "old friends",
]
_VERBS = [
    "cooks",
    "visits",
    "saves",
    "argues",
    "waits",
    "celebrates",
    "travels",
    "mends",
    "teaches",
    "sings",
    "walks",
    "plans",
]
_THINGS = [
    "rice",
    "the garden",
    "a letter",
    "new shoes",
    "the accounts",
    "a kite",
    "the market",
    "warm bread",
    "the festival",
    "an old song",
]
_TIMES = [
    "on Sundays",
    "before dawn",
    "in winter",
    "after school",
    "every evening",
    "once a year",
    "when it rains",
    "at the weekend",
]
_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

Fault = int | str | dict[str, Any] | None


class LLMServer:
    """`with LLMServer() as server:` serves `server.url` (ending in /v1) until the block ends.

    Args:
        fault: (number of the request from 0, request body) -> None for an answer; a status to refuse with, or
            {"status": status, "message": text} or {"status": status, "body": body}; "drop" to close the connection;
            "hang" to answer after `hang` seconds; a text for the model to say; {"body": body} for a reply that is this
            text, bytes or JSON and nothing else; {"content": content} for a completion of this content (text, parts or
            null), with "finish_reason", more fields of the "message" and of the "reply", and "logprobs" {token:
            logprob} of its first token, for who asks for them. "headers" go with a body.
        latency: seconds before each answer.
        logprobs: whether it tells the log-probabilities of prompts, as vLLM does, or passes over the wish.
    """

    def __init__(
        self,
        fault: Callable[[int, dict[str, Any]], Fault] | None = None,
        latency: float = 0.0,
        hang: float = 5.0,
        logprobs: bool = True,
    ) -> None:
        self.fault, self.latency, self.hang, self.logprobs = fault, latency, hang, logprobs
        self.seen: list[str] = []  # hash of every chat request's body, as it arrives
        self.bodies: dict[str, dict[str, Any]] = {}
        self.keys: set[str | None] = set()  # Authorization headers, or Azure's
        self.paths: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                server.answer(self)

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *args: object) -> None:
                pass  # a client that was killed

        self.httpd = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/v1"

    def __enter__(self) -> LLMServer:
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()

    def repeats(self) -> int:
        """How many requests came again after they had come once."""
        return sum(count - 1 for count in Counter(self.seen).values())

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        body = json.loads(raw)
        with self.lock:
            number = len(self.seen)
            name = hashlib.sha256(raw).hexdigest()
            self.seen.append(name)
            self.bodies[name] = body
            self.keys.add(handler.headers.get("api-key") or handler.headers.get("Authorization"))
            self.paths.append(handler.path)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        fault = self.fault(number, body) if self.fault else None
        time.sleep(self.hang if fault == "hang" else self.latency)
        with self.lock:
            self.in_flight -= 1  # before the answer leaves, as the next call may come before this line otherwise
        if fault == "drop":
            handler.close_connection = True
            return
        if isinstance(fault, dict) and "status" in fault:
            words = {"error": {"message": fault.get("message"), "code": None}}
            self.send(handler, fault["status"], fault.get("body", words), fault.get("headers"))
            return
        if isinstance(fault, int):
            error = {"message": f"scripted refusal for key {handler.headers.get('Authorization')}", "code": None}
            self.send(handler, fault, {"error": error}, {"Retry-After": "0.01"} if fault == 429 else {})
            return
        if handler.path.partition("?")[0].endswith("/embeddings"):
            self.send(handler, 200, fault if isinstance(fault, dict) else embeddings(body))
            return
        if isinstance(fault, dict) and "body" in fault:
            self.send(handler, 200, fault["body"], fault.get("headers"))
            return
        if isinstance(fault, dict):
            made = completion(body, fault.get("content"), name)
            made["choices"][0]["finish_reason"] = fault.get("finish_reason", "stop")
            made["choices"][0]["message"] |= fault.get("message", {})
            if body.get("logprobs") and "logprobs" in fault:
                made["choices"][0]["logprobs"] = first_token(fault["logprobs"], body["top_logprobs"])
            self.send(handler, 200, made | fault.get("reply", {}))
            return
        text = fault if isinstance(fault, str) and fault != "hang" else reply(body)
        told = {"prompt_logprobs": prompt_logprobs(body)} if self.logprobs and "prompt_logprobs" in body else {}
        self.send(handler, 200, completion(body, text, name) | told)

    def send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        body: dict[str, Any] | str | bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        payload = text if isinstance(text, bytes) else text.encode()
        handler.send_response(status)
        for header, value in {"Content-Type": "application/json", **(headers or {})}.items():
            handler.send_header(header, value)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)
        handler.wfile.flush()


def completion(body: dict[str, Any], text: Any, name: str) -> dict[str, Any]:
    """`text` (or parts, or nothing) as a chat completion."""
    words = sum(len(message["content"].split()) for message in body["messages"])
    written = len(text.split()) if isinstance(text, str) else 0
    message = {"role": "assistant", "content": text}
    return {
        "id": f"chatcmpl-{name[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": f"{body['model']}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": words,
            "completion_tokens": written,
            "total_tokens": words + written,
        },
    }


def first_token(logprobs: dict[str, float], most: int) -> dict[str, Any]:
    """The first token as OpenAI tells of it: itself and the likeliest ones, itself among them."""
    likeliest = sorted(logprobs, key=lambda token: -logprobs[token])[:most]
    top = [{"token": one, "logprob": logprobs[one], "bytes": list(one.encode("utf-8", "replace"))} for one in likeliest]
    return {"content": [{**top[0], "top_logprobs": top}], "refusal": None}


def embeddings(body: dict[str, Any], dim: int = 16) -> dict[str, Any]:
    """A vector for each input that depends on the input alone; the last comes first, for order is not promised."""
    data = [
        {"object": "embedding", "index": index, "embedding": embedding(text, dim, body.get("encoding_format"))}
        for index, text in enumerate(body["input"])
    ]
    words = sum(len(text.split()) for text in body["input"])
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "model": body["model"], "data": data[::-1], "usage": usage}


def embedding(text: str, dim: int = 16, encoding: str | None = None) -> list[float] | str:
    draw = random.Random(text)
    vector = [draw.gauss(0, 1) for _ in range(dim)]
    return base64.b64encode(struct.pack(f"<{dim}f", *vector)).decode() if encoding == "base64" else vector


def reply(body: dict[str, Any]) -> str:
    """Text that depends on the request alone, fitting its JSON schema where it has one."""
    draw = random.Random(json.dumps(body, sort_keys=True))
    form = body.get("response_format", {})
    schema = form.get("json_schema", form).get("schema")
    asked = body["messages"][-1]["content"].partition("fitting this JSON schema: ")[2]
    schema = schema or (json.loads(asked) if asked else None)
    fewest = _words_asked(body)
    return json.dumps(_fitting(schema, draw, fewest)) if schema else _answer(draw, fewest)


def _words_asked(body: dict[str, Any]) -> int:
    """The fewest words that the request asks an answer to have; 0 where it says none."""
    found = (re.search(r"\bin (\d+) to \d+ words of\b", message["content"]) for message in body["messages"])
    return next((int(one[1]) for one in found if one), 0)


def _answer(draw: random.Random, fewest: int) -> str:
    """Two sentences, or so many words, of which no stretch stands in another answer by chance."""
    sentences = [] if fewest else [_sentence(draw), _sentence(draw)]
    while sum(len(sentence.split()) for sentence in sentences) < fewest:
        count = f"{draw.choice(_ONES)} hundred and {draw.choice(_TENS)}-{draw.choice(_ONES)}"
        sentences.append(f"{_sentence(draw)} {count} times")
    return ". ".join([*sentences, ""]).strip()


def prompt_logprobs(body: dict[str, Any]) -> list[dict[str, dict[str, Any]] | None]:
    """What vLLM says of a prompt's tokens, here the words of the chat's template: nothing of the first."""
    words = template(body).split()
    return [
        {str(place): {"logprob": logprob(word), "rank": 1, "decoded_token": word}} if place else None
        for place, word in enumerate(words)
    ]


def template(body: dict[str, Any]) -> str:
    """The chat as one text: its last turn left open, or the model's begun, as the request wishes."""
    turns = [f"<{message['role']}> {message['content']} <end>" for message in body["messages"]]
    if body.get("continue_final_message"):
        turns[-1] = turns[-1].removesuffix(" <end>")
    return " ".join([*turns, "<assistant>"] if body.get("add_generation_prompt", True) else turns)


def logprob(word: str) -> float:
    """A number of the word alone, from -8 to 0: the scripted model's log p, in nats."""
    return -8 * int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) / 2**32


def _fitting(schema: dict[str, Any], draw: random.Random, fewest: int = 0) -> Any:
    if schema["type"] == "object":
        return {
            name: _answer(draw, fewest) if name == "answer" and fewest else _fitting(kind, draw)
            for name, kind in schema["properties"].items()
        }
    if schema["type"] == "array":
        return [_fitting(schema["items"], draw) for _ in range(schema["maxItems"])]
    if schema["type"] == "boolean":
        return True
    if schema["type"] == "number":
        return round(draw.uniform(schema["minimum"], schema["maximum"]), 2)
    if schema["type"] == "integer":
        return max(schema["enum"])
    if "enum" in schema:
        return draw.choice(schema["enum"])
    return f"{_sentence(draw)}?" if "pattern" in schema else _sentence(draw)


def _sentence(draw: random.Random) -> str:
    words = [draw.choice(pool) for pool in (_SUBJECTS, _VERBS, _THINGS, _TIMES, _SUBJECTS, _VERBS, _THINGS)]
    return " ".join(words).capitalize()
