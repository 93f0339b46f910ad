"""What changed between two shelves, worked by hand."""

from collections import Counter

import pyarrow as pa

import caredio
from caredio.app import compare, shelf
from caredio.app.shelf import SHORT, Shelf


def of(*rows):
    """A shelf of ranked rows: (culture, question, sample, score)."""
    names = ("culture", "question_id", "sample_id", "score")
    made = [dict(zip(names, row, strict=True)) for row in rows]
    table = pa.Table.from_pylist([{name: row.get(name) for name in SHORT} for row in made], schema=SHORT.arrow_schema)
    keys, stages, splits = [row["sample_id"] for row in made], ["ranked"] * len(made), [None] * len(made)
    for name, cells in (("key", keys), ("stage", stages), ("split", splits)):
        table = table.append_column(name, pa.array(cells, pa.string()))
    return Shelf("toy", None, {}, table, ())


def test_pairs_are_of_one_culture_and_question():
    before = of(("peru", "q1", "a", 1.0), ("peru", "q2", "b", 1.0), ("peru", "q3", "c", 1.0), ("chad", "q1", "d", 1.0))
    after = of(("peru", "q1", "a", 1.0), ("peru", "q2", "e", 1.0), ("peru", "q4", "f", 1.0), ("chad", "q1", "d", 2.0))
    found = {(pair.kind, pair.culture, pair.before, pair.after) for pair in compare.pairs(before, after)}
    assert found == {
        ("same", "peru", 0, 0),
        ("changed", "peru", 1, 1),
        ("removed", "peru", 2, None),
        ("added", "peru", None, 2),
        ("rescored", "chad", 3, 3),
    }


def test_several_answers_to_a_question_are_told_apart_by_their_sample():
    before = of(("peru", "q", "a", 1.0), ("peru", "q", "b", 1.0))
    after = of(("peru", "q", "b", 1.0), ("peru", "q", "c", 1.0), ("peru", "q", "d", 1.0))
    assert Counter(pair.kind for pair in compare.pairs(before, after)) == {"same": 1, "changed": 1, "added": 1}


def test_a_sample_is_the_same_whatever_its_question_is_called():
    before = of(("peru", "q1", "a", 1.0), ("peru", "q2", "b", 1.0))
    after = of(("peru", "8d5e", "a", 1.0), ("peru", "q2", "c", 1.0))
    found = {(pair.kind, pair.before, pair.after) for pair in compare.pairs(before, after)}
    assert found == {("same", 0, 0), ("changed", 1, 1)}


def test_last_digits_of_scores_are_noise():
    before, after = of(("peru", "q", "a", 1.471), ("peru", "r", "b", 1.0)), of(("peru", "q", "a", 1.471 + 3e-9))
    assert [pair.kind for pair in compare.pairs(before, after)] == ["removed", "same"]


def test_a_run_and_its_release_hold_the_same(ranked, released):
    assert {pair.kind for pair in compare.pairs(shelf.open(ranked), shelf.open(released))} == {"same"}
    found = caredio.diff(released, ranked)  # a release counts ranks within its splits, a run over both
    assert not found.cultures


def test_pairs_are_found_by_words_of_either_side(ranked, released):
    one, other = shelf.open(ranked), shelf.open(released)
    pairs = compare.pairs(one, other)
    found = compare.matching(pairs, one, other, "same", "mexico", "tortilla")
    assert found
    assert {pair.culture for pair in found} == {"mexico"}
    assert compare.matching(pairs, one, other, "added", None, "") == []
    assert "tortilla" in compare.listed(found, one, other)
