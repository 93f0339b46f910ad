"""The test split of a run or of a release: questions of the data itself that a release's train split does not hold.

It measures in-distribution, and for any culture that the data has; where a model wrote the answers, it measures
likeness to that model's idea of a culture. The margin compares answers of one condition, as preference pairs do: those
that were given without seeing other cultures', where the row has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from caredio import features, runs
from caredio.errors import InputError
from caredio.evaluation import majority, short_answers
from caredio.evaluation.benchmark import Benchmark, Document
from caredio.publishing.settings import Settings as Release
from caredio.publishing.split import is_test

NAME = "held_out"
_COLUMNS = ("question_id", "culture", "language", "question", "response", "isolated_response", "others", "generator")


def table(path: Path) -> Path:
    """What is read of a run folder or a release's: `ranked`, or `all`, which holds every culture."""
    if (path / "run.json").is_file():
        return path / "ranked"
    return path / "all" if (path / "all").is_dir() else path


def read(path: Path) -> list[Document]:
    """A document for each held-out question of a culture: of `ranked` as a release would hold it out by default.

    Raises:
        InputError: there is no such table, or it holds nothing out.
    """
    split = path / "test.parquet"
    files = [path] if path.is_file() else [split] if split.is_file() else sorted(path.glob("*.parquet"))
    if not files or (files != [split] and (path / "train.parquet").is_file()):
        raise InputError(f"{path}: holds no test split; name a run with a ranked split, or a release of one.")
    rows, share = _rows(files), Release().share
    if files[0].name != split.name:
        out = [is_test(name, share) for name in rows["question_id"][:]]
        rows = rows.select([row for row, held in enumerate(out) if held])
    if not len(rows):
        raise InputError(
            f"{path}: none of its questions is held out, at a share of {share}; release it with a larger --test-share"
            f" and name the release with --benchmark-data {NAME}=FOLDER."
        )
    return documents(rows)


def documents(rows: Iterable[Mapping[str, Any]]) -> list[Document]:
    """Rows of `features.RANKED`, the best first, by culture and question: what was answered, and rival answers."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["culture"], row["question_id"]), []).append(row)
    return [_document(name, culture, own) for (culture, name), own in grouped.items()]


def _document(name: str, culture: str, rows: Sequence[Mapping[str, Any]]) -> Document:
    first, said = rows[0], list(dict.fromkeys(row["response"] for row in rows))
    own = first["isolated_response"] or first["response"]
    mine = [own, *said]
    others = {one["response"]: one["culture"] for row in rows for one in row["others"] or () if one["response"]}
    rivals = majority.rivals({other: other for other, of in others.items() if of != culture}, mine)
    return {
        "id": name,
        "culture": culture,
        "language": first["language"],
        "question": first["question"],
        "answers": [{"text": answer, "weight": 1} for answer in said],
        "own": own,
        "rivals": [{"culture": others[answer], "text": answer} for answer in rivals],
        "generator": first["generator"],
        "topic_id": first.get("topic_id"),
    }


def caveat(found: Sequence[Document]) -> str:
    """What its numbers do not tell."""
    written = "; a model wrote the answers too" if any(one["generator"] for one in found) else ""
    return f"{NAME} is in-distribution{written}: it tells how much of the data was learnt, not how true the data is."


def _rows(files: Sequence[Path]) -> Dataset:
    try:
        found = runs.read(files)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{files[0]}: cannot be read ({str(error).splitlines()[0]}).") from None
    ranks = features.require(found, [*_COLUMNS, "rank"], str(files[0]))["rank"][:]
    columns = [*_COLUMNS, *(name for name in ("topic_id",) if name in found.column_names)]
    return found.select(sorted(range(len(found)), key=ranks.__getitem__)).select_columns(columns)


HELD_OUT = Benchmark(
    name=NAME,
    title="held out (in-distribution)",
    kind=short_answers.KIND,
    source=NAME,
    read=read,
    licence="that of the data",
    file="a run with a ranked split, or a release of one",
    part=table,
    caveat=caveat,
)
BENCHMARKS = (HELD_OUT,)
