"""finetune.json: what is wanted of a fine-tuning job, what was submitted, and what came of it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from caredio import disk
from caredio.checkpoints import TUNED
from caredio.errors import InputError


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuning as finetune.json records it.

    Attributes:
        path: its folder.
        record: what finetune.json holds.
    """

    path: Path
    record: dict[str, Any]

    @property
    def model(self) -> str | None:
        """The tuned model's name; None until the job has succeeded."""
        return (self.record.get("job") or {}).get("fine_tuned_model")

    def __str__(self) -> str:
        job = self.record.get("job")
        if job is None:
            return f"{self.path}: {self.record['rows']:,} examples are exported; nothing is submitted"
        said = f"{job['id']}: {job['status']}"
        if self.model:
            cost = job.get("cost_usd")
            paid = f", ${cost:,.2f} by the list price" if cost is not None else ""
            return f"{said}, {job['trained_tokens'] or 0:,} trained tokens{paid}\n{self.model}"
        return said


class State:
    """finetune.json: what is wanted, what was submitted, and what came of it."""

    def __init__(self, folder: Path) -> None:
        """Read it.

        Raises:
            InputError: it is damaged.
        """
        self.path = folder / TUNED
        self.record: dict[str, Any] = {}
        if self.path.exists():
            try:
                self.record = json.loads(self.path.read_text(encoding="utf-8"))
                self.record["request"].items(), self.record["token"], self.record["files"].items()
                (self.record.get("job") or {"id": ""})["id"]
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                raise InputError(f"{self.path}: is damaged; name another out.") from None

    @property
    def job(self) -> dict[str, Any] | None:
        """What is known of the job; None where none is known to have been created."""
        return self.record.get("job")

    @property
    def submitted(self) -> bool:
        """Whether a job was created, or may have been."""
        return bool(self.job or self.record.get("creating"))

    @property
    def sent(self) -> bool:
        """Whether anything was sent, or may have been."""
        files = self.record.get("files", {})
        return self.submitted or any(
            about.get("id") or f"sending {name}" in self.record for name, about in files.items()
        )

    def begin(self, described: Mapping[str, Any]) -> None:
        """Take up what is wanted: `request` (what makes it another job), `files`, and what else is to be recorded.

        Raises:
            InputError: a job of other rows or settings was created here, or may have been.
        """
        if self.record and self.record["request"] == described["request"]:
            return
        if self.submitted:
            which = f"the job {self.job['id']}" if self.job else "a job that may have been created"
            raise InputError(
                f"{self.path}: holds {which} of other rows, settings or endpoint; name another out, or repeat the"
                " command that made it."
            )
        token = uuid.uuid4().hex[:16]
        files = {name: {**about, "sent_as": f"caredio-{token}-{name}"} for name, about in described["files"].items()}
        self.record = {**described, "files": files, "token": token, "since": int(time.time())}

    def save(self, **changes: Any) -> None:
        """Write it down, in one step."""
        self.record.update(changes)
        with disk.replacing(self.path) as written:
            written.write((json.dumps(self.record, indent=2, ensure_ascii=False) + "\n").encode())


@contextmanager
def held(folder: Path) -> Iterator[State]:
    """The state in a folder, which no other process works in until the block ends.

    Raises:
        InputError: another does, or the folder cannot be written.
    """
    with disk.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        with disk.writing(folder):
            lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{folder}: another process is working here; wait, or name another out.") from None
    try:
        yield State(folder)
    finally:
        lock.release()
