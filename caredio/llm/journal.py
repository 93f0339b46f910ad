"""What a run spends, on disk before each request leaves, so that a killed process has spent nothing in secret."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import astuple
from pathlib import Path

from caredio.errors import InputError
from caredio.llm.budget import Rate
from caredio.llm.prices import Usage


class Journal:
    """Appends to a file what each request holds and, after it, what it used."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            InputError: it cannot be written.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); name another --out.") from None

    def held(self, number: int, rate: Rate, upper_bound: Usage) -> None:
        """Note a request before it leaves, and the most it can use."""
        self._append([number, [*rate], upper_bound.prompt_tokens, upper_bound.completion_tokens])

    def used(self, number: int, usage: Usage) -> None:
        """Note what the request used."""
        self._append([number, *astuple(usage)])

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _append(self, entry: list[object]) -> None:
        line = b"\n" + json.dumps(entry).encode()  # the break first: a line cut short ends where the next begins
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); make room, and run the same command again."
            ) from None


def read(path: Path) -> dict[Rate, Usage]:
    """What a journal's requests used, by rate; one without an end is taken to have used the most it could.

    A last line that a killed process left unfinished is passed over: its request never left, or is counted as held.
    """
    held: dict[int, tuple[Rate, Usage]] = {}
    spent: dict[Rate, Usage] = {}
    for line in path.read_bytes().splitlines():
        try:
            number, first, *rest = json.loads(line)
        except ValueError:
            continue
        if isinstance(first, list):
            prompt_tokens, completion_tokens = rest
            held[number] = Rate(*first), Usage(1, 0, prompt_tokens, completion_tokens, uncounted=1)
        elif number in held:
            rate, _ = held.pop(number)
            spent.setdefault(rate, Usage()).add(Usage(first, *rest))
    for rate, upper_bound in held.values():
        spent.setdefault(rate, Usage()).add(upper_bound)
    return spent
