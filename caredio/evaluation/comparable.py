"""Which measurements are compared, and on which questions: of each benchmark and culture, what most systems were asked
alike, and the mean over the questions that all of them were asked.

What a system was asked in several measurements is joined, the newest answer of a question first. Numbers without the
scores of their questions stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isclose
from statistics import fmean
from typing import TYPE_CHECKING, Any

from caredio.evaluation import paired
from caredio.evaluation.benchmark import is_share

if TYPE_CHECKING:
    from caredio.evaluation.measurements import Number


class _Left:
    """What is left out, each measurement once, whatever metrics it has."""

    def __init__(self) -> None:
        self._n: dict[tuple[str, str, str, int, str], None] = {}
        self._replaced: dict[tuple[str, str, str], int] = {}

    def out(self, one: Number, why: str) -> None:
        self._n[one.system, one.benchmark, one.part, one.n, why] = None

    def replaced(self, one: Number, n: int) -> None:
        key = one.system, one.benchmark, one.part
        self._replaced[key] = max(n, self._replaced.get(key, 0))

    def notes(self) -> list[str]:
        newer = [
            f"{system}: {benchmark} on {part} was asked more than once, and the newer answers count:"
            f" {n} scored otherwise before."
            for (system, benchmark, part), n in self._replaced.items()
            if n
        ]
        return newer + [
            f"{system}: {benchmark} of {n} question{'s' * (n != 1)} on {part} is left out, as {why}."
            for system, benchmark, part, n, why in self._n
        ]


def chosen(numbers: Sequence[Number], notes: list[str]) -> list[Number]:
    """One number of each system, benchmark, metric and part; the notes get what that leaves out."""
    left, found = _Left(), []
    places: dict[tuple[str, str], list[Number]] = {}
    for one in numbers:
        places.setdefault((one.benchmark, one.part), []).append(one)
    for every in places.values():
        alike = _alike(_once(every), left)
        for metric in dict.fromkeys(one.metric for one in alike):
            found += _of_metric([one for one in alike if one.metric == metric], left)
    notes += left.notes()
    return found


def _once(numbers: Sequence[Number]) -> list[Number]:
    """The numbers without the rows of a results table whose measurement has a file of its own."""
    files: dict[tuple[Any, ...], list[Number]] = {}
    for one in numbers:
        if one.made:
            files.setdefault((one.system, one.of, one.metric), []).append(one)
    return [
        one
        for one in numbers
        if one.made or not any(_same(one, other) for other in files.get((one.system, one.of, one.metric), ()))
    ]


def _same(row: Number, other: Number) -> bool:
    """Whether a row of a results table is of a measurement; one of an earlier release is told by its numbers alone."""
    if row.settings and other.settings:
        return (row.settings, row.benchmark_sha256) == (other.settings, other.benchmark_sha256)
    return row.n == other.n and isclose(row.value, other.value, rel_tol=1e-6, abs_tol=1e-9)


def _alike(numbers: Sequence[Number], left: _Left) -> list[Number]:
    """The numbers of what most systems were asked alike, of several the newest.

    Where no two were, all stay, so that the difference is named.
    """
    asked = [one for one in numbers if not one.constant]
    if not asked:
        return list(numbers)
    ways = {(one.benchmark_sha256, repr(sorted(one.asked.items()))): one for one in sorted(asked, key=_made)}

    def systems(way: Number) -> set[tuple[str, str]]:
        return {(one.system, one.of) for one in asked if not differences(one, way)}

    best = max(ways.values(), key=lambda way: (len(systems(way)), way.made, len(way.asked)))
    within, every = systems(best), {(one.system, one.of) for one in asked}
    kept = []
    for one in numbers:
        refused = (one.system, one.of) not in within and len(within) < 2 <= len(every) and not one.constant
        if not (why := differences(one, best)) or refused:
            kept.append(one)
        elif not one.constant:
            left.out(one, f"{' and '.join(why)} not that of what is compared")
    return kept


def differences(one: Number, other: Number) -> list[str]:
    """In what two numbers' questions, or the ways in which they were asked, differ; empty where they are alike."""
    found = []
    if one.benchmark_sha256 and other.benchmark_sha256 and one.benchmark_sha256 != other.benchmark_sha256:
        found.append("its file of questions is")
    for name in sorted({*one.asked} & {*other.asked}):
        if one.asked[name] != other.asked[name]:
            value = one.asked[name]
            who = value.get("model") if name == "judge" and isinstance(value, dict) else None
            found.append(f"its {name}{f' ({who})' if who else ''} is")
    return found


def _of_metric(numbers: Sequence[Number], left: _Left) -> list[Number]:
    """The numbers of a benchmark's metric on a part, one a system, on the questions that all of them share."""
    by_system: dict[tuple[str, str], list[Number]] = {}
    for one in numbers:
        by_system.setdefault((one.system, one.of), []).append(one)
    joined = {key: _joined(own, left) for key, own in by_system.items()}
    sampled = [one for one in joined.values() if one is not None]
    shared = set.intersection(*({*(one.scores or ())} for one in sampled)) if sampled else set()
    alone = [by_system[key] for key, one in joined.items() if one is None]
    n = len(shared) or _most_common(alone)
    return [_of(one, shared) if one is not None else _unsampled(by_system[key], n, left) for key, one in joined.items()]


def _joined(numbers: Sequence[Number], left: _Left) -> Number | None:
    """A system's measurements under equal settings as one, with the newest answer of each question; None without."""
    manners: dict[str, list[Number]] = {}
    for one in sorted(numbers, key=_made):
        if one.scores is not None:
            manners.setdefault(one.manner, []).append(one)
    if not manners:
        return None
    own = max(manners.values(), key=lambda some: (len({q for one in some for q in one.scores or ()}), some[-1].made))
    *older, found = own
    otherwise = set()
    for one in reversed(older):
        if any(found.hashes.get(name, sha) != sha for name, sha in one.hashes.items()):
            left.out(one, "a question of it reads otherwise in a newer one")
            continue
        before, now = one.scores or {}, found.scores or {}
        otherwise |= {name for name in before.keys() & now.keys() if before[name] != now[name]}
        scores = {**before, **now}
        found = replace(found, scores=scores, hashes={**one.hashes, **found.hashes})
    left.replaced(found, len(otherwise))
    for one in numbers:
        if one.scores is None:
            left.out(one, f"its samples are not there, and those of {len(found.scores or ())} are")
        elif one.manner != found.manner:
            left.out(one, "it was asked in other settings than the one that is shown")
    return _of(found, {*(found.scores or ())}) if older else found


def _of(number: Number, questions: set[str]) -> Number:
    """A number over some of its questions; over all where there are none of these, as nothing is shared then."""
    every = number.scores or {}
    if not questions:
        return replace(number, alone=True)
    if len(every) == len(questions) == number.n:
        return number
    scores = {name: every[name] for name in every if name in questions}
    value, left = fmean(scores.values()), number.left + len(every) - len(scores)
    low, high = paired.of_mean(scores, is_share(number.benchmark, number.metric, scores.values()))
    return replace(number, scores=scores, n=len(scores), value=value, low=low, high=high, left=left)


def _most_common(systems: Iterable[Sequence[Number]]) -> int:
    """The number of questions that most systems have a number of, the largest of several."""
    counts = Counter(n for own in systems for n in {one.n for one in own if not one.constant})
    return max(counts, key=lambda n: (counts[n], n), default=0)


def _unsampled(numbers: Sequence[Number], n: int, left: _Left) -> Number:
    """The number of as many questions as others have, or else of most, of several the last."""
    places = sorted(range(len(numbers)), key=lambda at: (numbers[at].n == n, numbers[at].n, numbers[at].made, at))
    *others, kept = (numbers[at] for at in places)
    for one in others:
        if not one.constant and (one.n, one.value) != (kept.n, kept.value):
            left.out(one, f"one of {kept.n} is there too")
    return kept


def _made(number: Number) -> str:
    return number.made
