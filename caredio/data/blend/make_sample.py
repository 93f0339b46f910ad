"""Make `blend_sample.parquet` of BLEnD's annotations: the same folder gives the same rows.

git clone https://github.com/nlee0212/BLEnD
python caredio/data/blend/make_sample.py BLEnD/data/annotations caredio/data/blend/blend_sample.parquet
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

REGIONS = {"china": "China", "mexico": "Mexico", "south_korea": "South_Korea"}  # culture -> name of the source's file
_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("question_id", "culture", "question", "response")]
    + [("annotators", pa.int8()), ("drop_reason", pa.string())]
)


def table(annotations: Path) -> pa.Table:
    """One row per answer, in the order of the source: its first English wording and how many annotators gave it."""
    rows = []
    for culture, name in REGIONS.items():
        questions = json.loads((annotations / f"{name}_data.json").read_text(encoding="utf-8"))
        for question_id, item in questions.items():
            for answer in item["annotations"]:
                wordings = [wording.strip() for wording in answer["en_answers"] if wording.strip()]
                if not wordings:
                    continue
                row = {"question_id": question_id, "culture": culture, "question": item["en_question"]}
                row |= {"response": wordings[0], "annotators": answer["count"]}
                rows.append({**row, "drop_reason": drop_reason(wordings[0], answer["count"])})
    return pa.Table.from_pylist(rows, schema=_COLUMNS)


def drop_reason(response: str, annotators: int) -> str | None:
    """Why an answer stays out of the ranking; None where it is ranked."""
    if annotators < 2:
        return "one_annotator"
    if not any(letter.isalpha() for letter in response):
        return "no_letters"
    return None


if __name__ == "__main__":
    pq.write_table(table(Path(sys.argv[1])), sys.argv[2], compression="zstd")
