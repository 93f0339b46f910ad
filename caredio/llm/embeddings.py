"""Embeddings from an OpenAI-compatible endpoint; every vector is on disk the moment it arrives."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from caredio.errors import EndpointError, InputError
from caredio.llm.client import Endpoint
from caredio.llm.store import cache_dir

log = logging.getLogger("caredio")

# what one request may hold, by OpenAI's reference: texts, and tokens, of which every one is at least a byte
_TEXTS, _BYTES = 2048, 300_000
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
        with self._lock, self._db:
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
            with self._lock:
                rows = self._db.execute(query, some).fetchall()
            yield from rows

    def close(self) -> None:
        self._db.close()


class Embeddings:
    """texts -> float32[n, d] by `model`; called again, it sends only what the store does not hold.

    The key comes from `OPENAI_API_KEY`; a named endpoint may go without one.
    """

    def __init__(self, model: str, endpoint: Endpoint, store: Vectors | None = None) -> None:
        """Read the environment; nothing is sent yet.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: the store cannot be opened.
        """
        self.model, self.endpoint = model, endpoint
        self._base_url = endpoint.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._api_key = os.environ.get("OPENAI_API_KEY")
        if not self._api_key and not self._base_url:
            raise EndpointError(
                f"OPENAI_API_KEY is not set, and {model} needs it: export the key, or name an endpoint of your own with"
                " --base-url."
            )
        self._host = (urlsplit(self._base_url).hostname if self._base_url else "") or "api.openai.com"
        self.store = store or Vectors()
        self._lock = threading.Lock()
        self.usage = {"calls": 0, "stored": 0, "prompt_tokens": 0}

    def key(self, text: str) -> str:
        """The sha256 under which a text's vector is stored: of model and text, not of the address."""
        return hashlib.sha256(json.dumps(["embedding", self.model, text]).encode()).hexdigest()

    def __call__(self, texts: list[str]) -> np.ndarray:
        """The vectors of distinct `texts`, in their order.

        Raises:
            EndpointError: the endpoint refuses, fails after its retries, or answers with something else. What arrived
                is stored.
        """
        import openai

        keys = [self.key(text) for text in texts]
        missing = self.store.missing(keys)
        waiting = [text for text, key in zip(texts, keys, strict=True) if key in missing]
        self.usage["stored"] += len(texts) - len(waiting)
        client = openai.OpenAI(
            api_key=self._api_key or "none",
            base_url=self._base_url,
            max_retries=self.endpoint.retries,
            timeout=self.endpoint.timeout,
        )
        pool = ThreadPoolExecutor(min(_IN_FLIGHT, self.endpoint.concurrency))
        try:
            for done in as_completed([pool.submit(self._embed, client, batch) for batch in batches(waiting)]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)
            client.close()
        log.info("%s: %d texts, %d of them stored before", self.model, len(texts), len(texts) - len(waiting))
        return self.store.get(keys)

    def _embed(self, client: Any, texts: list[str]) -> None:
        """Ask for one batch and store what comes."""
        import openai

        try:
            reply = client.embeddings.create(model=self.model, input=texts)
            tokens = reply.usage.prompt_tokens if reply.usage else 0
            vectors = np.array([one.embedding for one in sorted(reply.data, key=lambda one: one.index)], np.float32)
        except openai.APIStatusError as error:
            raise EndpointError(self._told(f"refused the call (status {error.status_code})", error)) from None
        except openai.OpenAIError as error:
            raise EndpointError(self._told(f"did not answer ({type(error).__name__})", error)) from None
        except (AttributeError, TypeError, ValueError):
            raise EndpointError(self._told("answered with something else than embeddings")) from None
        if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.size or not np.isfinite(vectors).all():
            raise EndpointError(self._told("answered with something else than one embedding a text"))
        self.store.put([self.key(text) for text in texts], vectors)
        with self._lock:
            self.usage["calls"] += 1
            self.usage["prompt_tokens"] += tokens

    def _told(self, what: str, error: Any = None) -> str:
        said = error.body.get("message", "") if isinstance(getattr(error, "body", None), dict) else ""
        if self._api_key:
            said = str(said).replace(self._api_key, "[key]")
        said = f" and says: {' '.join(str(said).split())[:300]}" if said else ""
        return (
            f"embedder openai:{self.model}: {self._host} {what}{said}. Vectors that arrived are stored; check"
            " OPENAI_API_KEY, --embedder and --base-url, and run the same command again."
        )


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """`texts` in order, as many at a time as one request may hold."""
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == _TEXTS or size + length > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch
