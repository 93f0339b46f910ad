"""Whether a release, or a run, is what it says: its files, columns, ranks, scores, texts, splits and card.

Each check reads what lies there and works its numbers out anew; what it finds is a sentence with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caredio.errors import InputError
from caredio.evaluation import leakage
from caredio.evaluation.benchmark import Benchmark, Document
from caredio.publishing import released, verify_card, verify_model, verify_rows, verify_views
from caredio.publishing.released import Finding, Released, Unchecked

_SHOWN = 3  # leaks that are named


@dataclass(frozen=True)
class Verified:
    """What was found wrong, what was looked at, and what could not be; `str` of it is a report."""

    place: str
    findings: list[Finding]
    checked: list[str]  # names of the checks that were made, and what each looks at
    unchecked: list[str]

    def __str__(self) -> str:
        found = f"{len(self.findings)} fault{'s' if len(self.findings) != 1 else ''}" if self.findings else "no fault"
        wide = max((len(one.check) for one in self.findings), default=0)
        lines = [f"{self.place}: {found}", *(f"  {one.check:<{wide}}  {one}" for one in self.findings)]
        lines += ["checked:", *(f"  {one}" for one in self.checked)]
        lines += ["not checked:"] if self.unchecked else []
        return "\n".join([*lines, *(f"  {one}" for one in self.unchecked)])


Check = Callable[[Released], Iterable[Finding | Unchecked]]
# name -> what it looks at, and how
CHECKS: dict[str, tuple[str, Check]] = {
    "files": ("each file is there, has the hash that release.json gives, and can be read", verify_card.files),
    "configs": ("the card's configs are the folders and splits that are there", verify_card.configs),
    "schema": ("each table has the columns and types of features.py", verify_rows.schema),
    "sample_ids": (
        "each sample_id, of answers beside a row too, is made anew from its culture, question and response",
        verify_rows.sample_ids,
    ),
    "ranks": ("each culture's ranks are 1, 2, 3, ... in every split, alike in all its configs", verify_rows.ranks),
    "scores": ("clusters, representativeness, distinctiveness, scores and ranks are made anew", verify_rows.scores),
    "views": (
        "all holds the rows of the cultures in turn, each led by one line of its culture; pairs prefer a ranked row's"
        " answer over one that a row of the rejected culture gives to the question; their sides stand one by one too",
        verify_views.views,
    ),
    "splits": ("no question is both in train and in test", verify_rows.splits),
    "equal_texts": ("no two cultures have a ranked row of the same text", verify_rows.equal_texts),
    "card": (
        "the card's rows, cultures, questions, scores, weights, pairs with their median lengths, best rows, example and"
        " download sizes are those of the tables, and versions are release.json's; its other numbers (stages, drops,"
        " models, seeds, cost, what style tells apart, phrases, figures) and the text of croissant.json and"
        " CITATION.cff are taken as they stand",
        verify_card.numbers,
    ),
}
# of a model's release, which has no tables
OF_A_MODEL: dict[str, tuple[str, Check]] = {
    "files": ("each file is there and has the hash that release.json gives", verify_card.files),
    "record": ("training.json is the training that release.json holds", verify_model.record),
    "card": (
        "rows, settings, losses and every other line on the training are those of training.json; the version that"
        " is loaded and cited is release.json's",
        verify_model.card,
    ),
    "results": ("", verify_model.results),
    "weights": ("", lambda _: [Unchecked("whether this training made them cannot be seen in them")]),
    "data": ("", lambda _: [Unchecked("a model's release holds no rows; verify the dataset it was trained on")]),
}


def run(place: Path | str, benchmarks: Sequence[tuple[Benchmark, Path]] = ()) -> Verified:
    """All checks of a release folder, a run folder, or a release on the Hub (`owner/name@v1.0.0`).

    Args:
        benchmarks: whose questions may not stand in ranked rows, each with its file.

    Raises:
        InputError: there is no such place, or a benchmark's file cannot be read.
        EndpointError: the Hub does not give it.
    """
    documents = {one.title: one.documents(path) for one, path in benchmarks}
    given = released.opened(place)
    findings: list[Finding] = []
    checked, unchecked = [], []
    held = ", ".join(f"{len(some):,} of {title}" for title, some in documents.items()) or "none was named"
    leaks = (f"no question of a benchmark stands in a ranked row ({held})", lambda one: _leaks(one, documents))
    checks = OF_A_MODEL if given.record.get("kind") == "model" else {**CHECKS, "leakage": leaks}
    for name, (looks_at, check) in checks.items():
        found = _found(name, check, given)
        findings += [one for one in found if isinstance(one, Finding)]
        left = [f"{name}: {one.why}" for one in found if isinstance(one, Unchecked)]
        checked += [] if left else [f"{name}: {looks_at}"]
        unchecked += left
    return Verified(given.place, findings, checked, unchecked)


def _found(name: str, check: Check, given: Released) -> list[Finding | Unchecked]:
    """What a check finds; that it cannot read what lies there is a fault of that."""
    found: list[Finding | Unchecked] = []
    try:
        found.extend(check(given))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = (str(error).splitlines() or [""])[0][:200]
        found.append(Finding(name, given.place, f"cannot be checked to the end ({type(error).__name__}: {why})"))
    return found


def _leaks(given: Released, documents: dict[str, list[Document]]) -> Iterator[Finding | Unchecked]:
    """Questions of benchmarks in ranked rows, a finding a table."""
    if not documents:
        yield Unchecked("no benchmark was named")
        return
    for config, split, table in given.of(""):
        try:
            leaks = leakage.find(documents, leakage.rows_of(table))
        except InputError as error:  # a package is missing
            yield Unchecked(str(error))
            return
        if leaks:
            more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
            named = ", ".join(f"{leak.benchmark}'s {leak}" for leak in leaks[:_SHOWN])
            yield Finding("leakage", f"{config}/{split}", f"holds what a benchmark asks: {named}{more}")
