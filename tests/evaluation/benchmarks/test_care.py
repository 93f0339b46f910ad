from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark
from caredio.evaluation.benchmarks import care

(DECLARED,) = care.BENCHMARKS
ROW = {
    "question": "何を食べますか。",
    "answer": "おせち料理です。",
    "culture_type": "Social norms",
    "associated_culture": "Native (Japanese)",
    "geographic_scope": "Nationwide",
}


def test_a_row_is_a_question_with_its_reference(tmp_path: Path) -> None:
    (tmp_path / "Japanese-test.json").write_text(json.dumps([ROW]), encoding="utf-8")
    (found,) = DECLARED.documents(tmp_path)
    assert found.pop("id")
    assert found == {
        "culture": "Japanese",
        "language": "ja",
        "question": "何を食べますか。",
        "answers": [{"text": "おせち料理です。", "weight": 1, "also": []}],
        "own": None,
        "rivals": [],
        "category": "Social norms",
        "scope": "Nationwide",
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"answer": None}, "row 1: lacks answer; give CARE's folder"), ({"answer": " "}, "question or answer is empty")],
)
def test_a_changed_row_is_named(changed: dict[str, str | None], message: str, tmp_path: Path) -> None:
    (tmp_path / "Japanese-test.json").write_text(json.dumps([{**ROW, **changed}]))
    with pytest.raises(InputError, match=rf"Japanese-test\.json, .*{message}"):
        care.read(tmp_path)


def test_the_three_files_are_read(published) -> None:
    folder = published("care")
    rows = [row for file in sorted(folder.glob("*.json")) for row in json.loads(file.read_text())]
    documents = DECLARED.documents(folder)
    assert len(documents) == len(rows) == len({one["id"] for one in documents}) == 450
    assert Counter(one["culture"] for one in documents) == {"Arab": 150, "Chinese": 150, "Japanese": 150}
    assert Counter(one["category"] for one in documents) == Counter(row["culture_type"] for row in rows)
    assert set(Counter(one["category"] for one in documents).values()) == {90}
    assert Counter(one["scope"] for one in documents) == Counter(row["geographic_scope"] for row in rows)
    asked = {(one["question"], one["answers"][0]["text"]) for one in documents}
    assert asked == {(row["question"], row["answer"]) for row in rows}


@pytest.mark.parametrize(("slug", "count"), [("china", 150), ("japan", 150), ("egypt", 0)])
def test_cultures_find_their_questions(slug: str, count: int, published) -> None:
    spellings = DECLARED.spellings(cultures.load()[slug])
    found = DECLARED.about(slug, spellings, published("care"), benchmark.GENERATED)
    assert len(found) == count


def test_a_cultures_file_may_name_the_arab_world(published) -> None:
    arab = cultures.Culture("arab", "Arab", "Arab", ("ar",), "Northern Africa", ())
    assert len(DECLARED.about("arab", DECLARED.spellings(arab), published("care"), benchmark.GENERATED)) == 150
