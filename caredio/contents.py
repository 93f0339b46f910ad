"""What files hold, as a hash: equal wherever they lie and whatever their folder is called."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from caredio.disk import cache_dir

_LARGE = 1 << 20  # bytes from which a file's hash is kept on disk
_SETTLED = 2.0  # seconds after which a file's time tells it from a later version


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
    """The sha256 of a file's contents; a large one's is kept in the cache, by path, size and times."""
    stat = file.stat()
    key = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
    kept = cache_dir() / "hashes.json"
    settled = stat.st_size >= _LARGE and time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED
    known = _read_json(kept) if settled else {}
    if key not in known:
        with file.open("rb") as content:
            known[key] = hashlib.file_digest(content, "sha256").hexdigest()
        if settled:
            _keep(kept, known)
    return known[key]


def _read_json(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _keep(file: Path, known: dict[str, str]) -> None:
    """Write the cache; where that fails, the next command hashes again."""
    making = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        making.write_text(json.dumps(known), encoding="utf-8")
        os.replace(making, file)
    except OSError:
        with contextlib.suppress(OSError):
            making.unlink()
