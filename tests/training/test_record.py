"""What training.json tells of the rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import caredio
from caredio.training import record


def test_the_ranking_of_a_run_s_rows_is_recorded(tmp_path: Path) -> None:
    rows = [
        {"question_id": "q", "question": "What is eaten?", "response": answer, "culture": culture}
        for culture, answer in (("china", "rice"), ("japan", "fish"))
    ]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    caredio.select(file, out=tmp_path / "run", ranking="longest")
    assert record.ranking(tmp_path / "run" / "ranked") == "longest"


@pytest.mark.parametrize(
    ("place", "expected"), [("curve/china/rows/random-1", "random-1"), ("release", None), ("owner/name", None)]
)
def test_the_ranking_of_other_rows_is_that_of_a_curve_or_unknown(place: str, expected: str | None) -> None:
    assert record.ranking(Path(place)) == expected


def test_a_damaged_record_tells_no_ranking(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert record.ranking(tmp_path / "ranked") is None
