"""Files as this package writes them: names and text in UTF-8 whatever the locale, refusals of the disk in one sentence.

Python encodes file names, and text without a named encoding, as the locale has it. In a locale of another encoding the
command line and the recipes start once more in Python's UTF-8 mode (`in_utf8`). A program that imports the package
stays in its own mode: there `named` and `name` keep the names of files UTF-8.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from caredio.errors import InputError


def in_utf8() -> None:
    """Start this process anew in Python's UTF-8 mode, where the locale has another encoding.

    What the terminal shows stays in the locale's encoding; characters it lacks are written as escapes.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode:
        return
    terminal = {"PYTHONIOENCODING": f"{sys.stdout.encoding}:backslashreplace"} if sys.stdout else {}
    arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execve(sys.executable, arguments, {**terminal, **os.environ, "PYTHONUTF8": "1"})  # noqa: S606 (this command)


def cache_dir() -> Path:
    """Where this machine keeps what it can make again: `$CAREDIO_HOME`, else `~/.cache/caredio`."""
    return Path(os.environ.get("CAREDIO_HOME") or Path.home() / ".cache" / "caredio")


def named(folder: Path, name: str) -> Path:
    """The file or folder called `name` in `folder`: in UTF-8 on disk, as pyarrow and other machines read it."""
    return folder / os.fsdecode(name.encode())


def name(path: Path) -> str:
    """What `path` is called, given as `named` makes it; of a path with folders, with '/' between them."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


@contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """A file to write into, which takes the place of `file` once it is whole; a failure leaves that as it was.

    Raises:
        InputError: the disk refuses.
    """
    making = file.with_name(f"{file.name}.making")
    with writing(file):
        try:
            with making.open("wb") as content:
                yield content
            os.replace(making, file)
        except BaseException:
            with suppress(OSError):
                making.unlink(missing_ok=True)
            raise


@contextmanager
def writing(where: Path | str) -> Iterator[None]:
    """What the disk or a database refuses within is one sentence.

    Raises:
        InputError: `where`, or the file that the error names, cannot be written.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise InputError(refusal(error, where)) from None


def refused(error: Exception) -> bool:
    """Whether an error is the disk's or a database's, and not a connection's or a mistake in a program."""
    if isinstance(error, OSError):
        return (error.errno or 0) > 0 and not isinstance(error, (ConnectionError, TimeoutError))
    return isinstance(error, sqlite3.Error) or "(os error " in str(error)  # of safetensors


def refusal(error: Exception, where: Path | str) -> str:
    """The sentence on what cannot be written, and why."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if isinstance(number, int) else " ".join(str(error).split()) or type(error).__name__
    place = getattr(error, "filename", None)
    return (
        f"{os.fsdecode(place) if isinstance(place, (str, bytes, Path)) else where}: cannot be written ({reason}); mend"
        " that or name another place, and the same command goes on from there."
    )
