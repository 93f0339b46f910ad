"""Every answer on disk the moment it arrives, so that nothing is paid for twice."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from caredio.disk import writing
from caredio.errors import InputError


def default_path() -> Path:
    """`answers.sqlite` in `$CAREDIO_HOME`, else in `~/.cache/caredio`."""
    return cache_dir() / "answers.sqlite"


def cache_dir() -> Path:
    """Where this machine keeps what it can make again: `$CAREDIO_HOME`, else `~/.cache/caredio`."""
    return Path(os.environ.get("CAREDIO_HOME") or Path.home() / ".cache" / "caredio")


@dataclass(frozen=True)
class Answer:
    """A model's answer to one call."""

    text: str
    finish_reason: str  # one of `chat.REASONS`: "stop", "length" when max_tokens cut it, or why there is no text
    model: str  # who says it answered
    prompt_tokens: int
    completion_tokens: int


class Store:
    """Answers by call key, in one SQLite file (write-ahead log: a killed process loses no committed answer)."""

    def __init__(self, path: Path | str | None = None) -> None:
        """Open or create the file.

        Raises:
            InputError: the file cannot be opened or is something else.
        """
        self.path = Path(path) if path else default_path()
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, check_same_thread=False, timeout=60)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT"
                " NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,"
                " created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS batches (file TEXT PRIMARY KEY, batch TEXT, since REAL)")
            self._db.execute("CREATE TABLE IF NOT EXISTS pending (key TEXT PRIMARY KEY, file TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{self.path}: cannot hold stored answers ({error}); name another file.") from None

    def get(self, key: str) -> Answer | None:
        with self._lock, writing(self.path):
            row = self._db.execute(
                "SELECT text, finish_reason, model, prompt_tokens, completion_tokens FROM answers WHERE key = ?", (key,)
            ).fetchone()
        return Answer(*row) if row else None

    def put(self, answers: dict[str, Answer]) -> None:
        """Keep answers by key, all of them or none; the first answer to a key stays."""
        with self._lock, writing(self.path), self._db:
            self._put(answers)

    def _put(self, answers: dict[str, Answer]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO answers (key, text, finish_reason, model, prompt_tokens, completion_tokens)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(key, *astuple(answer)) for key, answer in answers.items()],
        )

    def submit(self, file: str, keys: Iterable[str], batch: str | None = None) -> None:
        """Note the calls that an uploaded file asks, then the batch that answers it."""
        with self._lock, writing(self.path), self._db:
            self._db.execute("INSERT OR IGNORE INTO batches VALUES (?, NULL, ?)", (file, time.time()))
            self._db.execute("UPDATE batches SET batch = ? WHERE file = ?", (batch, file))
            self._db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?)", [(key, file) for key in keys])

    def pending(self, keys: Iterable[str]) -> dict[str, str]:
        """Key -> the uploaded file that asks for it, of those among `keys` whose answer is still to be collected."""
        with self._lock, writing(self.path):
            rows = (self._db.execute("SELECT key, file FROM pending WHERE key = ?", (key,)).fetchone() for key in keys)
            return dict(row for row in rows if row)

    def submitted(self) -> int:
        """How many calls are in batches that are still to be collected."""
        with self._lock, writing(self.path):
            return self._db.execute("SELECT count(*) FROM pending").fetchone()[0]

    def batch(self, file: str) -> tuple[str | None, float]:
        """The batch of an uploaded file, if it was made, and when the file was noted (seconds since 1970)."""
        with self._lock, writing(self.path):
            return self._db.execute("SELECT batch, since FROM batches WHERE file = ?", (file,)).fetchone()

    def keys(self, file: str) -> list[str]:
        """The calls that an uploaded file asks."""
        with self._lock, writing(self.path):
            return [key for (key,) in self._db.execute("SELECT key FROM pending WHERE file = ?", (file,))]

    def collect(self, file: str, answers: dict[str, Answer]) -> None:
        """Keep the answers to a file's calls, and forget the file."""
        with self._lock, writing(self.path), self._db:
            self._put(answers)
            self._db.execute("DELETE FROM pending WHERE file = ?", (file,))
            self._db.execute("DELETE FROM batches WHERE file = ?", (file,))

    def __len__(self) -> int:
        with self._lock, writing(self.path):
            return self._db.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        self._db.close()
