from __future__ import annotations

from typing import Any

from datasets import Dataset

from caredio import features
from caredio.report import rows
from caredio.report.rows import Answer


def ranked(**changed: Any) -> Dataset:
    row = {"sample_id": "a", "culture": "china", "rank": 1, "score": 0.25, "question": "Tea?", "response": "Green."}
    return features.table([{**row, "others": [], **changed}], features.RANKED)


def others(**answers: list[str]) -> list[dict[str, Any]]:
    return [
        {"culture": culture, "sample_id": text, "response": text, "shown": True}
        for culture, texts in answers.items()
        for text in texts
    ]


def test_a_row_stands_beside_three_cultures_and_the_others_are_folded() -> None:
    given = others(uk=["Black.", "Black.", "Milk."], iran=["Mint. " * 20, "Lemon."], us=["Iced."], greece=["Sage."])
    (row,) = rows.best(ranked(others=given))["china"]
    assert (row.rank, row.score, row.question, row.response) == (1, "0.25", "Tea?", "Green.")
    assert row.beside == [
        Answer("uk", [("Black.", ""), ("Milk.", "")]),  # an answer that comes again is one
        Answer("iran", [("Mint. " * 20, "")], more=1),  # a long one stands alone
        Answer("us", [("Iced.", "")]),
    ]
    assert row.folded == [Answer("greece", [("Sage.", "")])]


def answered(*rows: tuple[str, str, float | None]) -> Dataset:
    return features.table(
        [
            {"question_id": "q", "culture": culture, "response": text, "weight": weight}
            for culture, text, weight in [("china", "Green.", 12.0), *rows]
        ],
        features.SCORED,
    )


def test_of_a_table_the_most_frequent_answers_of_others_come_first_with_their_people_and_the_rest_is_counted() -> None:
    pool = answered(("uk", "Milk.", None), ("uk", "Black.", 1200.0), ("uk", "Oat.", 2.5), ("uk", "Soy.", 1.0))
    table = ranked(question_id="q", others=others(uk=["Soy.", "Milk."], us=["Iced."]))
    (row,) = rows.best(table, pool)["china"]
    assert row.people == "12 people"
    assert row.beside == [
        Answer("uk", [("Black.", "1,200 people"), ("Oat.", "weight 2.5"), ("Milk.", "1 person")], more=1),
        Answer("us", [("Iced.", "1 person")]),  # which stands in no other row
    ]


def test_of_a_table_without_weights_nobody_is_counted() -> None:
    pool = answered(("uk", "Milk.", 1.0), ("uk", "Black.", 1.0))
    alone = pool.select(range(1, 3))
    (row,) = rows.best(ranked(question_id="q", others=others(uk=["Black."])), alone)["china"]
    assert (row.people, row.beside) == ("", [Answer("uk", [("Milk.", ""), ("Black.", "")])])


def test_the_first_rows_of_each_culture_are_shown_and_long_text_is_clipped() -> None:
    many = [{"culture": culture, "rank": rank} for culture in ("uk", "china") for rank in range(1, 9)]
    table = features.table([ranked(**one)[0] for one in many], features.RANKED)
    assert {culture: [row.rank for row in own] for culture, own in rows.best(table).items()} == {
        "china": [1, 2, 3, 4, 5, 6],
        "uk": [1, 2, 3, 4, 5, 6],
    }
    (row,) = rows.best(ranked(response="x" * 5000, score=None))["china"]
    assert (row.response, row.score) == ("x" * 1200 + " …", "")
