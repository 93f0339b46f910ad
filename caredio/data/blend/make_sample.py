"""Make the files of this folder of BLEnD's annotations: the same annotations give the same rows.

git clone https://github.com/nlee0212/BLEnD
python caredio/data/blend/make_sample.py BLEnD/data/annotations caredio/data/blend
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from caredio.evaluation import majority

REGIONS = {"china": "China", "mexico": "Mexico", "south_korea": "South_Korea"}  # culture -> name of the source's file
_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("question_id", "culture", "question", "response")]
    + [("annotators", pa.int8()), ("drop_reason", pa.string()), ("also", pa.list_(pa.string()))]
)
_OWN = pa.schema([(name, pa.string()) for name in ("question_id", "culture", "response")])


def table(annotations: Path) -> pa.Table:
    """One row per answer, in the order of the source: its English wordings and how many annotators gave it."""
    rows = []
    for culture, name in REGIONS.items():
        for question_id, item in _questions(annotations / f"{name}_data.json").items():
            for wordings, count in _answers(item):
                row = {"question_id": question_id, "culture": culture, "question": item["en_question"]}
                row |= {"response": wordings[0], "annotators": count, "also": wordings[1:]}
                rows.append({**row, "drop_reason": drop_reason(wordings[0], count)})
    return pa.Table.from_pylist(rows, schema=_COLUMNS)


def own(annotations: Path) -> pa.Table:
    """One row per region and question that has an own answer, of every region of the source (majority.py says which).

    Questions that the source's own evaluation leaves out have none: three annotators or more found no answer or the
    question not applicable, or five did not know.
    """
    rows = []
    for file in sorted(annotations.glob("*_data.json")):
        culture = file.stem.removesuffix("_data").lower()
        for question_id, item in _questions(file).items():
            idks = {name: count or 0 for name, count in item["idks"].items()}
            if idks["no-answer"] + idks["not-applicable"] >= 3 or idks["idk"] >= 5:
                continue
            counts = {"": max([one["count"] for one in item["annotations"] if not _english(one)], default=0)}
            for wordings, count in _answers(item):
                counts[wordings[0]] = max(count, counts.get(wordings[0], 0))
            if answer := majority.own(counts):
                rows.append({"question_id": question_id, "culture": culture, "response": answer})
    return pa.Table.from_pylist(rows, schema=_OWN)


def drop_reason(response: str, annotators: int) -> str | None:
    """Why an answer stays out of the ranking; None where it is ranked."""
    if annotators < 2:
        return "one_annotator"
    if not any(letter.isalpha() for letter in response):
        return "no_letters"
    return None


def _questions(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _answers(item: dict[str, Any]) -> list[tuple[list[str], int]]:
    """Each answer's English wordings, and how many annotators gave it; none of one without such wordings."""
    found = [(_english(one), one["count"]) for one in item["annotations"]]
    return [(wordings, count) for wordings, count in found if wordings]


def _english(answer: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(wording.strip() for wording in answer["en_answers"] if wording.strip()))


if __name__ == "__main__":
    for name, made in (("blend_sample", table), ("blend_own", own)):
        pq.write_table(made(Path(sys.argv[1])), Path(sys.argv[2]) / f"{name}.parquet", compression="zstd")
