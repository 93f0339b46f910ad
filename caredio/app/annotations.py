"""What annotators say of a task, kept as they say it: an append-only file of JSON Lines for each annotator.

    ratings/salt                   random; a name is stored as its hash with it
    ratings/<annotator>.jsonl      a line a click, with all that the annotator says of the task by then; the last counts
                                   (before it, a line with what the annotator said since of its rows in other tasks)
    ratings/<annotator>.damaged    lines that could not be read, as they stood

A line ends up on the disk before the click is answered, and carries its checksum. A process that is killed while it
writes leaves at most a part of a line; it, and what a bad disk made unreadable, is moved beside when a server starts.

An answer can stand in several tasks, as another ranking of a run makes others. What was said of it last, under the same
question, counts in each.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from caredio import disk
from caredio.app.rating_tasks import RATE, Item, Said, Task, clicked
from caredio.errors import InputError

SALT, _LINES, _DAMAGED = "salt", ".jsonl", ".damaged"
_ANNOTATOR = re.compile(r"[0-9a-f]{16}")
_LONGEST_NAME = 200  # characters
_OF_ROWS = ("ratings", "untrue")  # the fields of `Said` that speak of a row each


class Annotation(NamedTuple):
    """What an annotator said of a task in the end."""

    annotator: str  # hash of the name
    task: Task
    said: Said


class _Words:
    """What one annotator said, a line after another."""

    def __init__(self, lines: Iterable[tuple[Task, Said]] = ()) -> None:
        self.last: dict[str, tuple[Task, Said]] = {}  # task_id -> its last line
        self._rows: dict[tuple[str, ...], Any] = {}  # what was said of a row; None: it was taken back
        for task, said in lines:
            self.add(task, said)

    def line(self, task: Task) -> Said:
        """What the last line of a task says."""
        return self.last[task.task_id][1] if task.task_id in self.last else Said()

    def add(self, task: Task, said: Said) -> None:
        """Take a line, which speaks of the rows of which the line before of its task says something else."""
        for what in _OF_ROWS:
            before, now = getattr(self.line(task), what), getattr(said, what)
            for item in task.items:
                if before.get(item.sample_id) != now.get(item.sample_id):
                    self._rows[_row(what, task, item)] = now.get(item.sample_id)
        self.last[task.task_id] = (task, said)

    def said(self, task: Task) -> Said:
        """What is said of a task by now, be it of its rows in other tasks."""
        ratings = self._of("ratings", task) if task.kind == RATE else {}
        return replace(self.line(task), ratings=ratings, untrue=self._of("untrue", task))

    def _of(self, what: str, task: Task) -> dict[str, Any]:
        found = {item.sample_id: self._rows.get(_row(what, task, item)) for item in task.items}
        return {name: value for name, value in found.items() if value is not None}


def _row(what: str, task: Task, item: Item) -> tuple[str, ...]:
    return what, task.culture, item.sample_id, item.question, item.response


class Annotations:
    """A folder of annotations that this process writes; a second process is refused.

    `notes` are sentences on what was damaged.
    """

    def __init__(self, place: Path | str) -> None:
        """Open the folder, made where it is not there; damaged lines are moved beside.

        Raises:
            InputError: it cannot be written, or another process writes there.
        """
        folder = self.folder = Path(place)
        self._writing = threading.Lock()
        self._lock = FileLock(folder / ".lock")
        with disk.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InputError(
                    f"{folder}: another process is rating here; open its page, or name another folder."
                ) from None
        try:
            with disk.writing(folder):
                self._salt = _salted(folder)
                self.notes = [note for file in _files(folder) if (note := _mended(file))]
                self._words = {file.stem: _Words(map(_parsed, _lines(file)[0])) for file in _files(folder)}
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Annotations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def annotator(self, name: str) -> str:
        """What the files of a person are called: the hash of the name, in any case and spacing.

        Raises:
            InputError: the name is empty, or too long.
        """
        known = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if not known or len(name) > _LONGEST_NAME:
            raise InputError(f"a name has 1 to {_LONGEST_NAME} characters; type the one you always use here.")
        return hmac.new(self._salt, known.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]

    def of(self, annotator: str) -> dict[str, Annotation]:
        """task_id -> what the annotator says of it by now, of each task that was begun."""
        words = self._words.get(annotator, _Words())
        return {name: Annotation(annotator, task, words.said(task)) for name, (task, _) in list(words.last.items())}

    def said(self, annotator: str, task: Task) -> Said:
        """What the annotator says of a task by now, be it of its rows in other tasks."""
        return self._words.get(annotator, _Words()).said(task)

    def click(self, annotator: str, task: Task, click: Mapping[str, Any]) -> Said:
        """What the annotator says of a task after a click, which is on the disk when this returns.

        Raises:
            InputError: it is no click of the task, or the disk refuses; nothing of it is kept then.
        """
        file = self.folder / f"{annotator}{_LINES}"
        with self._writing, disk.writing(file):
            words = self._words.setdefault(annotator, _Words())
            before = words.said(task)
            said = clicked(task, before, annotator, click)
            # what was said in other tasks is written first, so that the file tells what the click takes back
            lines = [said] if before == words.line(task) else [before, said]
            _append(file, b"".join(_line(task, one) for one in lines))
            for one in lines:
                words.add(task, one)
        return said


def read(folder: Path) -> tuple[list[Annotation], list[str]]:
    """What all annotators said, by annotator and in the order of their tasks, and a sentence on each damaged file."""
    found: list[Annotation] = []
    notes: list[str] = []
    for file in _files(folder):
        good, bad = _lines(file)
        words = _Words(map(_parsed, good))
        found += [Annotation(file.stem, task, words.said(task)) for task, _ in words.last.values()]
        if bad:
            notes.append(f"{file}: {_count(bad)} cannot be read and {'is' if len(bad) == 1 else 'are'} left out.")
    return found, notes


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{_LINES}") if _ANNOTATOR.fullmatch(file.stem))


def _salted(folder: Path) -> bytes:
    """The folder's salt, made where there is none.

    Raises:
        InputError: it is gone while annotators are there, whose names could not be told again.
    """
    file = folder / SALT
    with suppress(FileNotFoundError):
        if content := file.read_bytes().strip():
            return content
    if _files(folder):
        raise InputError(f"{file}: is missing, and annotators are known by it; put it back, or name another folder.")
    content = secrets.token_hex(16).encode()
    with disk.replacing(file) as making:
        making.write(content + b"\n")
        making.flush()
        os.fsync(making.fileno())
    return content


def _line(task: Task, said: Said) -> bytes:
    """A line of the file, with the checksum of what it holds."""
    text = json.dumps({"task": asdict(task), "said": asdict(said)}, ensure_ascii=False)
    body = text.encode("utf-8", "replace")
    return b'{"crc32": %d, "line": %s}\n' % (zlib.crc32(body), body)


_LINE = re.compile(rb'\{"crc32": (\d+), "line": (\{.*\})\}\n', re.DOTALL)


def _lines(file: Path) -> tuple[list[bytes], list[bytes]]:
    """The lines of a file that are as they were written, then the others."""
    good: list[bytes] = []
    bad: list[bytes] = []
    for line in file.read_bytes().splitlines(keepends=True):
        (good if _whole(line) else bad).append(line)
    return good, bad


def _whole(line: bytes) -> bool:
    found = _LINE.fullmatch(line)
    return bool(found and zlib.crc32(found[2]) == int(found[1]))


def _parsed(line: bytes) -> tuple[Task, Said]:
    content: Mapping[str, Any] = json.loads(line)["line"]
    return Task.of(content["task"]), Said.of(content["said"])


def _mended(file: Path) -> str | None:
    """A file without its damaged lines, which are kept beside it; a sentence on them, if there were any."""
    good, bad = _lines(file)
    if not bad:
        return None
    beside = file.with_suffix(_DAMAGED)
    for line in bad:
        _append(beside, line if line.endswith(b"\n") else line + b"\n")
    with disk.replacing(file) as making:
        making.writelines(good)
        making.flush()
        os.fsync(making.fileno())
    kept = f"{'is' if len(bad) == 1 else 'are'} kept in {beside.name}"
    return f"{file}: {_count(bad)} could not be read and {kept}; what was clicked then is to be clicked again."


def _count(lines: Sequence[bytes]) -> str:
    return "a line" if len(lines) == 1 else f"{len(lines)} lines"


def _append(file: Path, line: bytes) -> None:
    """Add a line, on the disk when this returns; a failure leaves the file as it was."""
    new = not file.exists()
    at = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(at).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(at, rest) :]
            os.fsync(at)
        except OSError:
            with suppress(OSError):
                os.ftruncate(at, size)
            raise
    finally:
        os.close(at)
    if new:
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file's name
        finally:
            os.close(folder)
