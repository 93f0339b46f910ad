"""What files hold, as a hash: equal wherever they lie and whatever their folder is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def sha256(what: Path | Iterable[Path]) -> str:
    """The hash of a folder's files by their paths within it, or of files by their names; the order does not count."""
    if isinstance(what, Path):
        names = {file.relative_to(what).as_posix(): file for file in what.rglob("*") if file.is_file()}
    else:
        names = {file.name: file for file in what}
    digest = hashlib.sha256()
    for name, file in sorted(names.items()):
        digest.update(name.encode() + b"\0" + of_file(file).encode() + b"\0")
    return digest.hexdigest()


def of_file(file: Path) -> str:
    """The SHA-256 of a file's bytes; a process reads a file once for each size and time of change."""
    state = file.stat()
    return _read(file.resolve(), state.st_size, state.st_mtime_ns)


@cache
def _read(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
