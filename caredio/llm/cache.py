"""Every answer and vector on disk the moment it arrives, by what was asked, so that nothing is paid for twice.

Both lie in SQLite files with a write-ahead log: a killed process loses nothing that was committed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caredio.disk import cache_dir, writing
from caredio.errors import InputError
from caredio.llm.spec import TOP_LOGPROBS, Chat, FirstToken, Likelihood, Messages, Spec

if TYPE_CHECKING:
    import numpy as np

_COLUMNS = "text, finish_reason, model, prompt_tokens, completion_tokens"  # of an answer
_AT_ONCE = 500  # keys of one look into the vectors


@dataclass(frozen=True)
class Answer:
    """A model's answer to one call."""

    text: str
    finish_reason: str  # one of `marks.REASONS`: "stop", "length" when max_tokens cut it, or why there is no text
    model: str  # who says it answered
    prompt_tokens: int
    completion_tokens: int
    messages: Messages = field(default_factory=list, repr=False, compare=False)  # what was first asked; not stored


def key_of(spec: Spec, request: Chat | Likelihood | FirstToken) -> str:
    """The sha256 under which the answer to a request is stored; how answers are sampled is part of a chat's alone.

    What is paid for is found by it, so its bytes never change (tests hold some of them). It is written out field by
    field: a setting that is added or renamed changes none.
    """
    own, counts = spec.as_stored(), ["model", "provider", "model_revision"]
    call: dict[str, Any] = {"messages": request.messages}
    if isinstance(request, Likelihood):
        call |= {"kind": "likelihood", "completion": request.completion}
    elif isinstance(request, FirstToken):
        call |= {"kind": "first_token", "top_logprobs": TOP_LOGPROBS}
    else:
        counts += ["temperature", "top_p", "max_tokens"]
        call |= {"kind": "chat", "schema": request.schema, "draw": int(request.draw)}
        if request.schema is not None:
            counts.append("json_mode")
            if request.instruction is not None:
                call["instruction"] = request.instruction
    call |= {name: own[name] for name in counts}
    return hashlib.sha256(json.dumps(call, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def vector_key(spec: Spec, text: str) -> str:
    """The sha256 under which a text's vector is stored.

    A deployment of Azure's bears a name that its owner chose, so its vectors are not shared with OpenAI's model.
    """
    model = spec.model if spec.provider == "openai" else f"{spec.provider}:{spec.model}"
    return hashlib.sha256(json.dumps(["embedding", model, text]).encode()).hexdigest()


class _File:
    """An SQLite file that threads of this process share."""

    NAME = HOLDS = REMEDY = ""
    TABLES: tuple[str, ...] = ()

    def __init__(self, path: Path | str | None = None) -> None:
        """Open or create the file, by default `NAME` in `cache_dir()`.

        Raises:
            InputError: the file cannot be opened or is something else.
        """
        self.path = Path(path) if path else cache_dir() / self.NAME
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, check_same_thread=False, timeout=60)
            tables = (f"CREATE TABLE IF NOT EXISTS {table}" for table in self.TABLES)
            for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *tables):
                self._db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{self.path}: cannot hold stored {self.HOLDS} ({error}); {self.REMEDY}.") from None

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, writing(self.path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """All of the changes within are kept, or none."""
        with self._lock, writing(self.path), self._db:
            yield

    def close(self) -> None:
        self._db.close()


class Store(_File):
    """Answers by call key, and the batches that are still to be collected."""

    NAME, HOLDS, REMEDY = "answers.sqlite", "answers", "name another file"
    TABLES = (
        "answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL, model TEXT NOT NULL,"
        " prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,"
        " created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID",
        "batches (file TEXT PRIMARY KEY, batch TEXT, since REAL)",
        "pending (key TEXT PRIMARY KEY, file TEXT NOT NULL)",
    )

    def get(self, key: str) -> Answer | None:
        found = self._rows(f"SELECT {_COLUMNS} FROM answers WHERE key = ?", (key,))  # noqa: S608 (ours)
        return Answer(*found[0]) if found else None

    def put(self, answers: dict[str, Answer]) -> None:
        """Keep answers by key, all of them or none; the first answer to a key stays."""
        with self._changing():
            self._put(answers)

    def _put(self, answers: dict[str, Answer]) -> None:
        self._db.executemany(
            f"INSERT OR IGNORE INTO answers (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 (ours)
            [
                (key, one.text, one.finish_reason, one.model, one.prompt_tokens, one.completion_tokens)
                for key, one in answers.items()
            ],
        )

    def submit(self, file: str, keys: Iterable[str], batch: str | None = None) -> None:
        """Note the calls that an uploaded file asks, then the batch that answers it."""
        with self._changing():
            noted = "INSERT INTO batches VALUES (?, ?, ?) ON CONFLICT (file) DO UPDATE SET batch = excluded.batch"
            self._db.execute(noted, (file, batch, time.time()))
            self._db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?)", [(key, file) for key in keys])

    def pending(self, keys: Iterable[str]) -> dict[str, str]:
        """Key -> the uploaded file that asks for it, of those among `keys` whose answer is still to be collected."""
        return dict(row for key in keys for row in self._rows("SELECT key, file FROM pending WHERE key = ?", (key,)))

    def submitted(self) -> int:
        """How many calls are in batches that are still to be collected."""
        return self._rows("SELECT count(*) FROM pending")[0][0]

    def batch(self, file: str) -> tuple[str | None, float]:
        """The batch of an uploaded file, if it was made, and when the file was noted (seconds since 1970)."""
        return self._rows("SELECT batch, since FROM batches WHERE file = ?", (file,))[0]

    def keys(self, file: str) -> list[str]:
        """The calls that an uploaded file asks."""
        return [key for (key,) in self._rows("SELECT key FROM pending WHERE file = ?", (file,))]

    def collect(self, file: str, answers: dict[str, Answer]) -> None:
        """Keep the answers to a file's calls, and forget the file."""
        with self._changing():
            self._put(answers)
            self._db.execute("DELETE FROM pending WHERE file = ?", (file,))
            self._db.execute("DELETE FROM batches WHERE file = ?", (file,))

    def __len__(self) -> int:
        return self._rows("SELECT count(*) FROM answers")[0][0]


class Vectors(_File):
    """float32 vectors by key."""

    NAME, HOLDS, REMEDY = "vectors.sqlite", "vectors", "set CAREDIO_HOME elsewhere"
    TABLES = ("vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)",)

    def put(self, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Keep float32[n, d] by key, all of them or none; the first vector of a key stays."""
        rows = [(key, vector.tobytes()) for key, vector in zip(keys, vectors.astype("<f4"), strict=True)]
        with self._changing():
            self._db.executemany("INSERT OR IGNORE INTO vectors (key, vector) VALUES (?, ?)", rows)

    def missing(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that have no vector yet."""
        return set(keys) - {key for key, _ in self._find(keys, "length(vector)")}

    def get(self, keys: Sequence[str]) -> np.ndarray:
        """float32[n, d] in the order of `keys`, of which each is there and no two are equal.

        Raises:
            InputError: they are not of one length.
        """
        import numpy as np

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
            yield from self._rows(query, some)
