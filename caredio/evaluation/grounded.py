"""Questions of a benchmark that grounded the rows a model learned (synthesis' evidence): these do not test it.

A question is left out by its id, where its survey's shares were shown to the writing model, and by its words, where
they stand in a piece of whatever source, as `leakage` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from caredio.errors import InputError
from caredio.evaluation import leakage
from caredio.evaluation.benchmark import VARIED, Benchmark, Document
from caredio.evaluation.leakage import Row, Training
from caredio.evaluation.results import LeaveOut
from caredio.runs import Run

TABLE = "evidence"
# surveys that ask the same in other words, which words do not tell
_SHARED = {
    "globalopinionqa": ("wvs", "wvs_culturespa"),
    "wvs": ("globalopinionqa", "wvs_culturespa"),
    "wvs_culturespa": ("globalopinionqa", "wvs"),
}


def pieces(run: Run) -> list[Row]:
    """The run's evidence: of each piece its id, culture, texts, and (source, id)."""
    if TABLE not in run.stages:
        return []
    return [
        Row(row["evidence_id"], row["culture"], _texts(row), ((row["source"], row["evidence_id"]),))
        for row in run.table(TABLE)
    ]


def _texts(row: dict[str, str | None]) -> tuple[str, ...]:
    return tuple(text for text in (row["question"], row["text"]) if text)


def leave_out(learned: Training, said: Sequence[Row]) -> LeaveOut:
    """What gives the ids of those of a benchmark's documents on a culture that grounded the rows.

    Args:
        learned: the rows, which name their evidence.
        said: the evidence of the run itself, as `pieces`.

    Raises (what it gives):
        InputError: evidence is a survey's whose questions the benchmark asks in other words.
    """
    sources: dict[str, set[str]] = {}
    for row in (*said, *learned.rows):
        for source, name in row.evidence:
            sources.setdefault(source, set()).add(name)

    def found(benchmark: Benchmark, documents: Sequence[Document]) -> set[str]:
        name = benchmark.name.partition(VARIED)[0]
        if other := next((one for one in _SHARED.get(name, ()) if one in sources), None):
            raise InputError(
                f"{benchmark.title} asks questions of {other} in other words, whose answers grounded the rows of"
                " training; leave the benchmark out, or report it all the same with --allow-leaked."
            )
        by_id = {str(one["id"]) for one in documents if str(one["id"]) in sources.get(name, ())}
        rest = [one for one in documents if str(one["id"]) not in by_id]
        by_words = leakage.find({benchmark.title: rest}, said) if said and rest else []
        return by_id | {leak.id for leak in by_words}

    return found
