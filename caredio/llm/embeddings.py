"""Embeddings from an OpenAI-compatible endpoint; every vector is on disk the moment it arrives."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caredio.disk import writing
from caredio.errors import EndpointError, InputError
from caredio.llm import faults, loop
from caredio.llm.chat import CallFailed
from caredio.llm.client import Client, Endpoint
from caredio.llm.prices import Usage, cost
from caredio.llm.spec import Spec
from caredio.llm.store import cache_dir

log = logging.getLogger("caredio")

# what one request may hold, by OpenAI's reference: texts, and tokens, of which every one is at least a byte
TEXTS, BYTES = 2048, 300_000
_IN_FLIGHT = 8  # requests this large are bound by tokens a minute, not by their number
_AT_ONCE = 500  # keys of one look into the store


class Vectors:
    """float32 vectors by key, in one SQLite file (write-ahead log: a killed process loses none)."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or create the file, by default `vectors.sqlite` beside the stored answers.

        Raises:
            InputError: the file cannot be opened or is something else.
        """
        self.path = path or cache_dir() / "vectors.sqlite"
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, check_same_thread=False, timeout=60)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{self.path}: cannot hold stored vectors ({error}); set CAREDIO_HOME elsewhere."
            ) from None

    def put(self, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Keep float32[n, d] by key, all of them or none; the first vector of a key stays."""
        rows = [(key, vector.tobytes()) for key, vector in zip(keys, vectors.astype("<f4"), strict=True)]
        with self._lock, writing(self.path), self._db:
            self._db.executemany("INSERT OR IGNORE INTO vectors (key, vector) VALUES (?, ?)", rows)

    def missing(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that have no vector yet."""
        return set(keys) - {key for key, _ in self._find(keys, "length(vector)")}

    def get(self, keys: Sequence[str]) -> np.ndarray:
        """float32[n, d] in the order of `keys`, of which each is there and no two are equal.

        Raises:
            InputError: they are not of one length.
        """
        place = {key: row for row, key in enumerate(keys)}
        found = np.empty((0, 0), np.float32)
        for key, blob in self._find(keys, "vector"):
            if not found.size:
                found = np.empty((len(keys), len(blob) // 4), np.float32)
            if len(blob) // 4 != found.shape[1]:
                raise InputError(
                    f"{self.path}: holds vectors of {found.shape[1]} and of {len(blob) // 4} numbers for one model, so"
                    " two models have borne its name; remove the file to embed again."
                )
            found[place[key]] = np.frombuffer(blob, "<f4")
        return found

    def _find(self, keys: Sequence[str], what: str) -> Iterator[tuple[str, Any]]:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            query = f"SELECT key, {what} FROM vectors WHERE key IN ({', '.join('?' * len(some))})"  # noqa: S608 (ours)
            with self._lock, writing(self.path):
                rows = self._db.execute(query, some).fetchall()
            yield from rows

    def close(self) -> None:
        self._db.close()


class _Reply(NamedTuple):
    """A reply: float32[n, d] in the order of the texts."""

    vectors: np.ndarray
    prompt_tokens: int
    completion_tokens: int = 0


class Embeddings:
    """texts -> float32[n, d] by `model`; called again, it sends only what the store does not hold.

    The key comes from `OPENAI_API_KEY`, or Azure's; a named endpoint may go without one.
    """

    def __init__(self, model: str, endpoint: Endpoint, store: Vectors | None = None, provider: str = "openai") -> None:
        """Read the environment; nothing is sent yet. `provider`: `azure`, where `model` is the name of a deployment.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: the store cannot be opened, or dollars are limited and the model has no listed price.
        """
        self.usage = Usage()
        self.model, self.provider = model, provider
        self.client = Client(Spec(model=model, provider=provider), endpoint, self.usage, "--embedder")
        self.store = store or Vectors()

    def key(self, text: str) -> str:
        """The sha256 under which a text's vector is stored: of model and text, not of the address.

        A deployment of Azure's bears a name that its owner chose, so its vectors are not shared with OpenAI's model.
        """
        model = self.model if self.provider == "openai" else f"{self.provider}:{self.model}"
        return hashlib.sha256(json.dumps(["embedding", model, text]).encode()).hexdigest()

    def __call__(self, texts: list[str]) -> np.ndarray:
        """The vectors of distinct `texts`, in their order.

        Raises:
            BudgetError: the next request could cost more than is left. What arrived is stored.
            EndpointError: the endpoint refuses, fails after its retries, or answers with something else. So it is.
        """
        keys = [self.key(text) for text in texts]
        missing = self.store.missing(keys)
        waiting = [text for text, key in zip(texts, keys, strict=True) if key in missing]
        self.usage.stored += len(texts) - len(waiting)
        if waiting:
            loop.run(self._embed(waiting))
        log.info("%s: %d texts, %d of them stored before", self.model, len(texts), len(texts) - len(waiting))
        return self.store.get(keys)

    def used(self) -> dict[str, Any]:
        """What was used, and what that costs in US dollars (None where the model has no listed price)."""
        return {**asdict(self.usage), "cost_usd": cost(self.model, self.usage)}

    async def _embed(self, texts: list[str]) -> None:
        """Ask for the vectors of `texts` and store what comes; whoever fails is told once the others are done."""
        waiting = batches(texts)

        async def work() -> None:
            for batch in waiting:
                await self._ask(batch)

        workers = (work() for _ in range(min(_IN_FLIGHT, self.client.endpoint.concurrency)))
        for failure in await asyncio.gather(*workers, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _ask(self, texts: list[str]) -> None:
        body = {"model": self.model, "input": texts, "encoding_format": "base64"}  # a quarter of the numbers' length
        try:
            reply = await self.client.post("/embeddings", lambda _: body, lambda reply: _read(reply, len(texts)))
        except CallFailed as failure:
            raise EndpointError(
                f"embedder {self.provider}:{self.model} got no answer ({failure.told}). Vectors that arrived are"
                " stored; check --embedder and --base-url, and run the same command again."
            ) from None
        self.store.put([self.key(text) for text in texts], reply.vectors)


def _read(reply: Any, count: int) -> _Reply:
    """A reply's vectors, base64 of little-endian float32 or lists of numbers (not every server knows base64).

    Raises:
        CallFailed: it is something else than `count` vectors of one length; in the server's words where it says why.
    """
    if failure := faults.no_object(reply, "embeddings"):
        raise failure
    stated = {"error": reply.get("error")} if reply.get("error") or "data" in reply else reply
    if failure := faults.error_object(stated):
        raise failure
    try:
        told = [one["embedding"] for one in sorted(reply["data"], key=lambda one: one["index"])]
        rows = [np.frombuffer(base64.b64decode(one), "<f4") if isinstance(one, str) else one for one in told]
        vectors = np.array(rows, np.float32)
        tokens = int((reply.get("usage") or {}).get("prompt_tokens") or 0)
    except (AttributeError, KeyError, TypeError, ValueError):
        # a list without embeddings can be a host's slip; something else is another interface
        raise CallFailed("something else than embeddings", passing="data" in reply) from None
    if vectors.ndim != 2 or len(vectors) != count or not vectors.size or not np.isfinite(vectors).all():
        raise CallFailed("something else than one embedding a text", passing=True)
    return _Reply(vectors, tokens)


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """`texts` in order, as many at a time as one request may hold."""
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == TEXTS or size + length > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch
