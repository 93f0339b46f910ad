"""How far a number moves when the same questions are asked in other ways, as in arXiv 2503.08688.

A way makes of a multiple-choice benchmark another one, `culturalbench_easy+digits`, which is asked and kept as any is:
the options in up to four orders, called otherwise, written otherwise, and questions that are put in other words. All
ways are compared on the questions that a system was asked in each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial, wraps
from pathlib import Path
from statistics import fmean, pstdev
from typing import NamedTuple

from caredio import contents, tablefile
from caredio.errors import InputError
from caredio.evaluation import choice, formats, samples
from caredio.evaluation.benchmark import VARIED, Benchmark, Document
from caredio.evaluation.benchmarks import held_out
from caredio.evaluation.samples import Measured

PARAPHRASED = "paraphrased"
_ORDERS = 4
_ORDER, _DIGITS = "order", "123456789"
_VERSION = "1"  # of what the ways do
_COLUMNS = ("id", "question")  # of a file of paraphrases
_COLUMN = re.compile(rf"(?P<benchmark>.+)\{VARIED}(?P<way>[a-z]+\d?)(?P<variant>(?:_generated|_cot)?)")
_HEADINGS = ("culture", "benchmark", "system", "n", "mean", "lowest", "highest", "changed", "to raw")
Change = Callable[[Document], Document]
Scores = Mapping[str, float]  # by question


class Spread(NamedTuple):
    """A system's accuracies on a benchmark of a culture, by way of asking, on the same questions."""

    culture: str
    benchmark: str  # with its variant
    system: str
    n: int
    by_way: dict[str, float]
    changed: float  # share of questions that are right in some ways and wrong in others

    @property
    def deviation(self) -> float:
        """The standard deviation over the ways."""
        return pstdev(self.by_way.values())


def _from(first: int, document: Document) -> Document:
    """The options from one of them on, then those before it."""
    options = document["options"]
    order = choice.rotations(len(options))[first % len(options)]
    return {**_plain(document), "options": [options[place] for place in order], "key": order.index(document["key"])}


def _called(names: str, document: Document) -> Document:
    return {**_plain(document), "letters": list(names[: len(document["options"])])}


def _bracketed(document: Document) -> Document:
    return {**_plain(document), "form": "({letter}) {option}"}


def _plain(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "orders"}


# what else may be done to a question, and what that is called
WAYS: dict[str, tuple[str, Change]] = {
    **{
        f"{_ORDER}{first + 1}": (f"options from number {first + 1} on", partial(_from, first))
        for first in range(_ORDERS)
    },
    "digits": ("options called 1, 2, ...", partial(_called, _DIGITS)),
    "lower": ("options called a, b, ...", partial(_called, "abcdefghijklmnopqrstuvwxyz")),
    "brackets": ("options written as (A)", _bracketed),
}


def ways(asked: Iterable[tuple[Benchmark, str]], paraphrases: str | None) -> list[tuple[Benchmark, str]]:
    """The other ways to ask those of the benchmarks that are multiple choice, with their variants.

    Args:
        paraphrases: file of questions in other words.

    Raises:
        InputError: no benchmark is multiple choice, and none is of held-out questions, whose topics are compared.
    """
    every = list(asked)
    found = [(one, variant) for one, variant in every if one.kind.name == choice.KIND.name and VARIED not in one.name]
    if not found and (paraphrases or not any(one.source == held_out.NAME for one, _ in every)):
        raise InputError("robustness is for multiple choice, and no benchmark is; name one, such as blend.")
    given = [f"{PARAPHRASED}={Path(paraphrases).absolute()}"] if paraphrases else []
    return [(vary(one, way), variant) for one, variant in found for way in (*WAYS, *given)]


def vary(benchmark: Benchmark, way: str) -> Benchmark:
    """A benchmark, asked in another way.

    Raises:
        InputError: there is no such way, or no such file of paraphrases.
    """
    name, _, file = way.partition("=")
    if name == PARAPHRASED and file:
        return _varied(benchmark, way, contents.of_file(Path(file)) if Path(file).is_file() else "")
    if name not in WAYS:
        raise InputError(f"{way!r} is no way to ask {benchmark.name}; there are {', '.join(WAYS)}.")
    return _varied(benchmark, name, "")


@cache
def _varied(benchmark: Benchmark, way: str, hashed: str) -> Benchmark:
    name, _, file = way.partition("=")

    @wraps(benchmark.read)  # by whose module a task is known
    def read(path: Path) -> list[Document]:
        found = list(benchmark.read(path))
        if not file:
            fewest = min((len(document["options"]) for document in found), default=0)
            return [WAYS[name][1](document) for document in found if _has(name, len(document["options"]), fewest)]
        texts = _paraphrases(Path(file), {str(document["id"]) for document in found})
        return [{**_plain(one), "question": texts[str(one["id"])]} for one in found if str(one["id"]) in texts]

    return replace(
        benchmark,
        name=f"{benchmark.name}{VARIED}{name}",
        title=f"{benchmark.title}, {WAYS[name][0] if name in WAYS else 'in other words'}",
        kind=replace(benchmark.kind, baselines=_no_baselines),
        read=read,
        version=f"{benchmark.version}{VARIED}{_VERSION}{hashed[:8]}",
        referred=f"{benchmark.reference}{VARIED}{way}",
    )


def _has(way: str, options: int, fewest: int) -> bool:
    """Whether a question can be asked in a way: one of ten options has no digit for the last.

    Args:
        fewest: options that a question of the benchmark has; of three, the fourth order is the first again, and would
            count twice.
    """
    if way.startswith(_ORDER):
        return int(way.removeprefix(_ORDER)) <= fewest
    return way != "digits" or options <= len(_DIGITS)


def _no_baselines(own: Sequence[Document], others: Sequence[Document]) -> dict[str, dict[str, float]]:
    return {}


def _paraphrases(file: Path, known: set[str]) -> dict[str, str]:
    """Question id -> the question in other words.

    Raises:
        InputError: the file lacks a column, names a question twice, or none that is known.
    """
    table = tablefile.table(file)[0]
    if missing := [name for name in _COLUMNS if name not in table.names]:
        raise InputError(f"{file}: column {', '.join(missing)} is missing; give the columns id and question.")
    found: dict[str, str] = {}
    for row, (name, text) in enumerate(zip(*map(table.cells, _COLUMNS), strict=True)):
        if str(name) in found:
            raise InputError(
                f"{table.row(row)}, column id: {name!r} is there twice; give one paraphrase of a question."
            )
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{table.row(row)}, column question: is empty; fill it, or leave the row out.")
        found[str(name)] = text.strip()
    if not found.keys() & known:
        raise InputError(f"{file}: names no question of the benchmark; its ids are such as {min(known)!r}.")
    return found


def spreads(folder: Path, columns: Iterable[str], cultures: Iterable[str]) -> list[Spread]:
    """How far the accuracies in samples below a folder move, of the ways to ask that are named.

    Raises:
        InputError: as `samples.find` and `samples.scores`.
    """
    wanted, slugs = set(columns), set(cultures)
    scores: dict[tuple[str, str, str], dict[str, Scores]] = {}
    found = [one for one in samples.find(folder) if one.benchmark in wanted and one.culture in slugs]
    for one in sorted(found, key=lambda one: one.made):  # the newest of each
        if parts := _COLUMN.fullmatch(one.benchmark):
            key = str(one.culture), parts["benchmark"] + parts["variant"], _name(one, found)
            scores.setdefault(key, {})[parts["way"]] = samples.scores(one, "acc")
    return [_spread(*key, by_way) for key, by_way in scores.items()]


def _name(one: Measured, among: Iterable[Measured]) -> str:
    """The system, and its model where another system has the same name."""
    models = {other.model for other in among if (other.system, other.culture) == (one.system, one.culture)}
    return one.system if len(models) == 1 else f"{one.system} ({Path(one.model).name})"


def _spread(culture: str, benchmark: str, system: str, by_way: Mapping[str, Scores]) -> Spread:
    common = set.intersection(*map(set, by_way.values()))
    means = {way: fmean(scores[one] for one in common) if common else 0.0 for way, scores in by_way.items()}
    changed = [len({scores[one] for scores in by_way.values()}) > 1 for one in common]
    return Spread(culture, benchmark, system, len(common), means, fmean(changed) if changed else 0.0)


def report(found: Sequence[Spread]) -> str:
    """The spreads as text, in per cent, with the differences to the raw model where that was asked in the same ways."""
    raw = {(one.culture, one.benchmark): one for one in found if one.system == "raw"}
    rows = [_HEADINGS, *(_cells(one, raw.get((one.culture, one.benchmark))) for one in found if one.n)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    names = list(dict.fromkeys(way for one in found for way in one.by_way))
    return "\n".join(
        [
            f"Accuracy on the same questions, asked in {len(names)} ways: {', '.join(names)}.",
            *lines,
            "mean: over the ways ± their standard deviation, which is no interval. changed: questions that are right in"
            " some ways and wrong in others. to raw: the difference over the ways, its lowest and highest; one that"
            " changes its sign hangs on how is asked.",
        ]
    )


def _cells(one: Spread, raw: Spread | None) -> tuple[str, ...]:
    low, high = (pick(one.by_way, key=one.by_way.__getitem__) for pick in (min, max))
    mean = f"{100 * fmean(one.by_way.values()):.1f} ± {100 * one.deviation:.1f}"
    shown = [f"{100 * one.by_way[way]:.1f} ({way})" for way in (low, high)]
    return (
        one.culture,
        one.benchmark,
        formats.line(one.system),
        str(one.n),
        mean,
        *shown,
        f"{100 * one.changed:.1f}",
        _to(raw, one),
    )


def _to(raw: Spread | None, one: Spread) -> str:
    if raw is None or raw is one or not (common := raw.by_way.keys() & one.by_way.keys()):
        return "-"
    found = [100 * (one.by_way[way] - raw.by_way[way]) for way in common]
    return f"{fmean(found):+.1f} [{min(found):+.1f}, {max(found):+.1f}]"
