"""A row whole: every part that its table holds is there, and none that it does not."""

from dataclasses import replace

import pyarrow as pa
from app.test_compare import of as shelf_of
from app.test_markup import Seen

from caredio.app import opened, shelf


def text_of(page):
    return Seen(page).text


def test_a_row_stands_beside_what_others_answered_and_its_cluster(ranked):
    opened_shelf = shelf.open(ranked)
    (place,) = opened_shelf.search('"tortilla and ham"')
    said = text_of(opened.opened(opened_shelf, int(place)))
    for part in ("mexico", "What is eaten at feast 49?", "rice with ham", "potato, then ham", "Scores"):
        assert part in said
    assert "rice with jam" not in said  # of another question
    assert "Rounds of optimisation" not in said
    assert "Review" not in said


def test_a_score_is_placed_among_those_of_its_culture(ranked):
    opened_shelf = shelf.open(ranked)
    rows = opened_shelf.cells(opened_shelf.of(culture="peru"), "key", "distinctiveness")
    scores = {row["key"]: row["distinctiveness"] for row in rows if row["distinctiveness"] is not None}
    best = max(scores, key=scores.__getitem__)
    below = sum(score < scores[best] for score in scores.values()) / len(scores)
    said = text_of(opened.opened(opened_shelf, opened_shelf.place(best)))
    by = opened_shelf.record["stages"]["scored"]["made_from"]["config"]["distinctiveness"]
    assert f"what other cultures answer, by {by}; above {100 * below:.0f} % of its culture's rows" in said


def test_the_rows_of_its_cluster_are_listed():
    table = shelf_of(*(("peru", f"q{number}", f"s{number}", 1.0) for number in range(10)))
    cells = pa.array([0] * 3 + [1] * 7, pa.int32())
    rows = table.rows.set_column(table.rows.schema.get_field_index("cluster"), "cluster", cells)
    clustered = replace(table, rows=rows)
    row = {"culture": "peru", "cluster": 0, "key": "s1", "is_center": True}
    keys = {attributes.get("data-row") for _, attributes in Seen(opened._mates(clustered, row)).elements} - {None}
    assert keys == {"s0", "s2"}
    assert "This row stands for the cluster." in text_of(opened._mates(clustered, row))


def test_why_a_row_was_dropped_is_said(ranked):
    opened_shelf = shelf.open(ranked)
    place = opened_shelf.of(drop_reason="over_budget")[0]
    said = text_of(opened.opened(opened_shelf, int(place)))
    assert "Dropped in stage scored: it ranks below the rows that the budget takes." in said


def test_a_row_that_a_stage_dropped_is_shown_with_what_the_judge_said(written):
    opened_shelf = shelf.open(written)
    place = next(place for place in range(len(opened_shelf)) if opened_shelf.row(place).get("review"))
    row = opened_shelf.row(place)
    said = text_of(opened.opened(opened_shelf, place))
    for one in row["review"]:
        assert one["reason"] in said
    assert row["recognised_as"] in said
    assert f"caredio answers --out {written} --sample {row['sample_id']}" in said


def test_the_rounds_of_optimisation_are_listed():
    steps = [
        {"round": 0, "question": "What?", "response": "rice", "reflection": None, "objective": 0.5},
        {"round": 2, "question": "What then?", "response": "rice & tea", "reflection": None, "objective": 0.75},
    ]
    said = text_of(opened._history({"history": steps}))
    assert said == "Rounds of optimisationroundobjectivetext00.5What?rice20.75What then?rice & tea"
