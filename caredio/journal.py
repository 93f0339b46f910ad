"""What a run spends, on disk before each request leaves, so that what a killed process spent is known."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from caredio.disk import writing
from caredio.llm.limits import Rate, Usage
from caredio.llm.prices import cost, price_list

NOTHING: dict[str, Any] = {"next": 0, "models": []}
_COUNTS = ("calls", "prompt_tokens", "completion_tokens", "uncounted")


class Journal:
    """Appends to a file what each request holds and, after it, what it used."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            InputError: it cannot be written.
        """
        self.path = path
        with writing(path):
            self._file = path.open("ab", buffering=0)

    def held(self, number: int, rate: Rate, upper_bound: Usage) -> None:
        """Note a request before it leaves, and the most it can use."""
        self._append([number, [*rate], upper_bound.prompt_tokens, upper_bound.completion_tokens])

    def used(self, number: int, usage: Usage) -> None:
        """Note what the request used."""
        self._append([number, *astuple(usage)])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, entry: list[object]) -> None:
        line = b"\n" + json.dumps(entry).encode()  # the break first: a line cut short ends where the next begins
        with writing(self.path):
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def added(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A run's spending with that of the journals in its folder which it does not hold yet.

    Args:
        record: `next`, the number of the first journal that is not in it, `models`: a row for each model and price, and
            `prices`: the list they are of.

    Returns:
        The record itself where no journal adds to it: what was spent is not priced anew.
    """
    spent = {
        Rate(row["model"], row["batch"]): Usage(**{name: row[name] for name in _COUNTS}) for row in record["models"]
    }
    following = record["next"]
    for number, file in _files(folder):
        if number >= record["next"] and file.stat().st_size:
            following = max(following, number + 1)
            for rate, usage in read(file).items():
                spent.setdefault(rate, Usage()).add(usage)
    if following == record["next"]:
        return dict(record)
    return {"next": following, "models": [_row(rate, spent[rate]) for rate in sorted(spent)], "prices": price_list()}


def totals(models: Sequence[Mapping[str, Any]]) -> tuple[int, int, float | None]:
    """Calls, tokens and US dollars of a record's `models`; no dollars where a model has no listed price."""
    calls = sum(row["calls"] for row in models)
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in models)
    dollars = [row["cost_usd"] for row in models]
    return calls, tokens, None if None in dollars else sum(dollars)


def remove(record: Mapping[str, Any], folder: Path) -> None:
    """Delete the journals that a record holds, once it is written, and those that hold nothing."""
    for number, file in _files(folder):
        if number < record["next"] or not file.stat().st_size:
            file.unlink(missing_ok=True)


def file_of(record: Mapping[str, Any], folder: Path) -> Path:
    """The file of the journal that is to follow what a record holds."""
    return folder / f".spending-{record['next']}.jsonl"


def _files(folder: Path) -> list[tuple[int, Path]]:
    return [(int(file.stem.split("-")[1]), file) for file in folder.glob(".spending-*.jsonl")]


def _row(rate: Rate, usage: Usage) -> dict[str, Any]:
    dollars = cost(rate.model, usage, rate.batch)
    counts = {name: getattr(usage, name) for name in _COUNTS}
    return {**rate._asdict(), **counts, "cost_usd": None if dollars is None else round(dollars, 6)}


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
