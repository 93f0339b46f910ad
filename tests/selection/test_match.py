"""A table of one's own: every row meets what other cultures said to the same question."""

import random
from collections import Counter

import pytest
from datasets import Dataset, Features, Value

from caredio import features
from caredio.errors import InputError
from caredio.selection import match
from caredio.selection.settings import Settings

CULTURES = ("brazil", "china", "egypt", "india", "japan", "mexico", "nigeria", "turkey")


def table(*rows, **columns):
    """Rows written as 'question_id culture response'."""
    cells = [row.split(maxsplit=2) for row in rows]
    data = {
        "question_id": [cell[0] for cell in cells],
        "question": [f"Question {cell[0]}?" for cell in cells],
        "culture": [cell[1] for cell in cells],
        "response": [cell[2] for cell in cells],
    }
    return Dataset.from_dict({**data, **columns})


def others(candidates):
    return {row["sample_id"]: [(one["culture"], one["response"]) for one in row["others"]] for row in candidates}


def many(questions=20):
    """Every culture answers every question, some twice."""
    return table(
        *(
            f"q{question} {culture} {culture} says {answer} to {question}"
            for question in range(questions)
            for culture in CULTURES
            for answer in range(1 + (question + len(culture)) % 2)
        )
    )


def test_rows_become_candidates():
    candidates = match.run(table("q1 japan rice", "q1 china noodles"), Settings())
    assert candidates.features == Features({**features.CANDIDATES, "drop_reason": Value("string")})
    first, second = candidates
    assert first["sample_id"] == features.sample_id("japan", "Question q1?", "rice")
    assert [first[name] for name in features.OWN] == ["q1", "Question q1?", "rice", "japan"]
    assert first["others"] == [
        {"culture": "china", "sample_id": second["sample_id"], "response": "noodles", "shown": False}
    ]
    assert second["others"] == [
        {"culture": "japan", "sample_id": first["sample_id"], "response": "rice", "shown": False}
    ]
    assert candidates["drop_reason"][:] == [None, None]


def test_others_are_of_other_cultures_and_of_the_same_question():
    source = many()
    said = {(row["question_id"], row["culture"], row["response"]) for row in source}
    for row in match.run(source, Settings(compared=5)):
        cultures = {one["culture"] for one in row["others"]}
        assert len(cultures) == 5
        assert row["culture"] not in cultures
        for one in row["others"]:
            assert (row["question_id"], one["culture"], one["response"]) in said
            assert one["sample_id"] == features.sample_id(one["culture"], row["question"], one["response"])


def test_the_panel_is_what_the_own_culture_said_besides_to_the_same_question():
    rows = table("q1 japan rice", "q1 japan soup", "q1 japan rice", "q1 china noodles", "q2 japan tea", "q1 japan fish")
    candidates = match.run(rows, Settings())
    said = [{(one["persona"], one["response"]) for one in row["panel"]} for row in candidates]
    assert said == [
        {(None, "soup"), (None, "fish")},
        {(None, "rice"), (None, "fish")},
        set(),
        set(),
        {(None, "rice"), (None, "soup")},
    ]
    ids = candidates["sample_id"][:]
    assert {one["sample_id"] for one in candidates[0]["panel"]} == {ids[1], ids[4]}


def test_a_panel_is_bounded_and_does_not_depend_on_the_row_order():
    rows = table(*(f"q1 japan answer {number}" for number in range(30)))
    panels = [
        {row["sample_id"]: row["panel"] for row in match.run(rows.select(order), Settings())}
        for order in (range(30), range(29, -1, -1))
    ]
    assert panels[0] == panels[1]
    assert {len({one["sample_id"] for one in panel}) for panel in panels[0].values()} == {8}


@pytest.mark.parametrize("compared", [1, 2, 4, 9, None])
def test_as_many_others_as_asked_for_or_as_there_are(compared):
    rows = table("q1 japan a", "q1 china b", "q1 india c", "q2 japan d", "q2 china e", "q3 japan f", "q3 japan g")
    counts = [len(row["others"]) for row in match.run(rows, Settings(compared=compared))]
    assert counts == [min(compared or 9, there) for there in (2, 2, 2, 1, 1, 0, 0)]


def test_row_order_changes_no_draw():
    source = many()
    first = others(match.run(source, Settings()))
    for seed in range(3):
        order = random.Random(seed).sample(range(len(source)), len(source))
        assert others(match.run(source.select(order), Settings())) == first


def test_the_seed_changes_the_draw_and_repeats_it():
    first, again, second = (others(match.run(many(), Settings(seed=seed))) for seed in (0, 0, 1))
    assert first == again
    assert sum(first[name] != second[name] for name in first) > len(first) / 2


def test_every_culture_is_drawn_about_equally_often():
    source = table(*(f"q{question} {culture} yes" for question in range(60) for culture in CULTURES))
    drawn = Counter(one["culture"] for row in match.run(source, Settings(compared=4)) for one in row["others"])
    assert drawn.total() == 4 * len(source)
    beside = match.run(source, Settings())["others"]
    assert {len({one["culture"] for one in row}) for row in beside} == {len(CULTURES) - 1}
    first = Counter(row[0]["culture"] for row in beside)  # what a preference pair rejects
    assert all(0.6 < first[culture] * len(CULTURES) / len(source) < 1.4 for culture in CULTURES)
    assert all(0.85 * len(source) / 2 < drawn[culture] < 1.15 * len(source) / 2 for culture in CULTURES)


def test_a_culture_brings_its_answers_up_to_a_bound_each_about_equally_often():
    source = table(*(f"q1 china tea{row}" for row in range(16)), *(f"q1 japan rice {row}" for row in range(200)))
    japanese = [row for row in match.run(source, Settings()) if row["culture"] == "japan"]
    assert {len(row["others"]) for row in japanese} == {match.ANSWERS}
    drawn = Counter(one["response"] for row in japanese for one in row["others"])
    assert len(drawn) == 16
    assert all(70 < times < 130 for times in drawn.values())
    first = Counter(row["others"][0]["response"] for row in japanese)  # what a preference pair rejects
    assert len(first) == 16


def others_of(row):
    return [(one["culture"], one["response"]) for one in row["others"]]


@pytest.mark.parametrize("column", ["question_id", "question", "culture", "response"])
@pytest.mark.parametrize("empty", ["", " \n", None])
def test_a_row_with_an_empty_cell_is_dropped_and_nobody_meets_it(column, empty):
    rows = table("q1 japan rice", "q1 china noodles", "q1 india bread").to_dict()
    rows[column][1] = empty
    candidates = match.run(Dataset.from_dict(rows), Settings())
    assert candidates["drop_reason"][:] == [None, "empty", None]
    assert [[one["culture"] for one in row["others"]] for row in candidates] == [["india"], [], ["japan"]]


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_an_empty_row_hides_no_full_one(order):
    """A copy without its question_id is empty; the row that has one is not its duplicate."""
    rows = Dataset.from_dict(
        {
            "question_id": [None, "q1", "q1"],
            "question": ["Why?"] * 3,
            "culture": ["japan", "japan", "china"],
            "response": ["rice", "rice", "noodles"],
        }
    )
    candidates = match.run(rows.select(order), Settings())
    reasons = dict(zip(order, candidates["drop_reason"], strict=True))
    assert reasons == {0: "empty", 1: None, 2: None}


def test_equal_rows_are_one_that_counts_as_all_of_them(caplog):
    rows = table("q1 japan rice", "q1 china noodles", "q1 japan rice ", "q1 japan Rice", "q1 india rice")
    with caplog.at_level("INFO", "caredio"):
        candidates = match.run(rows, Settings())
    assert candidates["response"][:] == ["rice", "noodles", "Rice", "rice"]
    assert candidates["weight"][:] == [2.0, 1.0, 1.0, 1.0]
    assert candidates["drop_reason"][:] == [None] * 4
    assert caplog.messages[-1] == "rows that say what another says: 1; their weights are added to its weight"
    counted = match.run(rows.add_column("weight", [3, 1, 0.5, None, 2]), Settings(), warn=False)
    assert counted["weight"][:] == [3.5, 1.0, 1.0, 2.0]


def test_a_row_that_nobody_gave_is_dropped_and_nobody_meets_it():
    rows = table("q1 japan rice", "q1 china noodles", "q1 india bread", "q1 india bread", weight=["2", "1", "0", ""])
    candidates = match.run(rows.select([0, 1, 2]), Settings())
    assert candidates["drop_reason"][:] == [None, None, "no_weight"]
    assert others_of(candidates[0]) == [("china", "noodles")]
    assert match.run(rows, Settings())["weight"][:] == [2.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("wrong", ["heavy", "-1", "nan", "inf", -2, True, ["3"]])
def test_a_weight_that_is_no_count_is_named_with_its_row(wrong):
    rows = table("q1 japan rice", "q1 china noodles").to_dict() | {"weight": [wrong, wrong]}
    with pytest.raises(InputError, match=r"the table, row 1: column weight holds .*, where a number from 0 on was"):
        match.run(Dataset.from_dict(rows), Settings())


def test_the_copy_that_is_kept_does_not_depend_on_the_row_order():
    rows = table("q1 japan rice", "q1 china noodles", "q2 japan rice", "q2 india bread")
    rows = rows.map(lambda row: {"question": "Same text?"})
    candidates = [match.run(rows.select(order), Settings()) for order in ([0, 1, 2, 3], [2, 3, 0, 1])]
    first, second = (
        {row["question_id"]: others_of(row) for row in each if row["drop_reason"] is None and row["culture"] == "japan"}
        for each in candidates
    )
    assert first == second


def test_space_around_text_does_not_count():
    rows = Dataset.from_dict(
        {
            "question_id": ["q1", " q1 "],
            "question": [" Why?\n", "Why?"],
            "culture": ["japan ", "china"],
            "response": ["rice", "\tnoodles"],
        }
    )
    candidates = match.run(rows, Settings())
    assert candidates["culture"][:] == ["japan", "china"]
    assert candidates["question"][:] == ["Why?", "Why?"]
    assert candidates["response"][:] == ["rice", "noodles"]
    assert [len(row["others"]) for row in candidates] == [1, 1]


def test_without_question_ids_the_same_text_is_the_same_question():
    rows = Dataset.from_dict(
        {"question": ["A?", "B?", "A?"], "culture": ["japan", "china", "india"], "response": ["x", "y", "z"]}
    )
    candidates = match.run(rows, Settings())
    ids = candidates["question_id"][:]
    assert ids[0] == ids[2] != ids[1]
    assert [[one["culture"] for one in row["others"]] for row in candidates] == [["india"], [], ["japan"]]
    assert match.run(rows.select([2]), Settings())["question_id"][:] == ids[2:]


def test_without_question_ids_space_around_the_text_does_not_count():
    rows = Dataset.from_dict({"question": ["A? ", "A?"], "culture": ["japan", "china"], "response": ["x", "y"]})
    assert [len(row["others"]) for row in match.run(rows, Settings())] == [1, 1]


def test_other_columns_of_candidates_are_kept_and_the_rest_is_left():
    rows = table(
        "q1 japan rice", "q1 china noodles", level=["customs", "customs"], note=["x", "y"], language=["ja", None]
    )
    candidates = match.run(rows, Settings())
    assert candidates["level"][:] == ["customs", "customs"]
    assert candidates["language"][:] == ["ja", None]
    assert "note" not in candidates.column_names


def test_numbers_as_ids_are_text():
    rows = table("q1 japan rice", "q1 china noodles").remove_columns("question_id").add_column("question_id", [7, 7])
    candidates = match.run(rows, Settings())
    assert candidates["question_id"][:] == ["7", "7"]
    assert [len(row["others"]) for row in candidates] == [1, 1]


def test_rows_that_the_table_drops_are_dropped_for_its_reason_and_nobody_meets_them():
    rows = table("q1 japan rice", "q1 china noodles", "q1 india bread", drop_reason=[None, " re-\nfused ", None])
    candidates = match.run(rows, Settings())
    assert candidates["drop_reason"][:] == [None, "re- fused", None]
    assert others_of(candidates[0]) == [("india", "bread")]
    assert others_of(candidates[2]) == [("japan", "rice")]


def test_an_empty_drop_reason_is_none():
    """A csv file has no null: of a column with reasons, every other cell is empty text."""
    rows = table("q1 japan rice", "q1 china noodles", "q1 india bread", drop_reason=["", " ", "\u200b"])
    assert match.run(rows, Settings())["drop_reason"][:] == [None] * 3


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\u200b", False),  # zero-width space
        ("\ufeff\u2060\u00ad", False),  # byte order mark, word joiner, soft hyphen
        ("\u200e\u202b\u2069", False),  # marks of direction
        ("\u3164\u115f\u1160\uffa0", False),  # Hangul fillers, letters to Unicode
        ("\u2800", False),  # Braille's blank
        ("\u00a0\u3000\u2003\u2028", False),
        ("\u0301\u20dd\ufe0f\u034f", False),  # marks without a letter
        ("\x00\x07\x7f", False),
        ("\u0645\u06cc\u200c\u062e\u0648\u0631\u0646\u062f", True),  # Persian, with the joiner that it needs
        ("\U0001f468\u200d\U0001f33e", True),  # an emoji of two
        ("\u0915\u094d\u200d", True),
        ("\u200b7\u200b", True),
        ("?", True),
    ],
)
def test_text_that_shows_nothing_is_empty(text, seen):
    assert match.visible(text) == seen
    for column in ("question", "response", "culture", "question_id"):
        rows = table("q1 japan rice", "q1 china noodles", "q1 india bread").to_dict()
        if column == "culture" and seen:
            continue  # a culture's name has rules of its own
        rows[column][1] = text
        candidates = match.run(Dataset.from_dict(rows), Settings())
        assert candidates["drop_reason"][:] == [None, None if seen else "empty", None]
        if seen:
            assert candidates[column][1] == text


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        (["culture", "question"], "response"),
        (["question", "response"], "culture"),
        (["culture", "response"], "question"),
        (["culture", "question_id"], "question, response"),
    ],
)
def test_missing_columns_are_named(columns, missing):
    with pytest.raises(InputError, match=f"the table: column {missing} is missing; found"):
        match.run(table("q1 japan rice").select_columns(columns), Settings())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("history", "in 1990"),
        ("traits", "polite"),
        ("round", 3),
        ("others", "none"),
        ("panel", "b"),
        ("sample_id", "s7"),
        ("rank", 1),
        ("score", 0.5),
        ("unusable", "yes"),
        ("isolated_response", "alone"),
        ("prompt_sha", "0"),
    ],
)
def test_a_column_that_is_called_as_an_internal_one_means_nothing(column, value):
    """A table of one's own may well have a column called `history`, or rounds of a survey."""
    plain = match.run(table("q1 japan rice", "q1 china noodles"), Settings())
    rows = table("q1 japan rice", "q1 china noodles", **{column: [value, value]})
    assert match.run(rows, Settings()).to_list() == plain.to_list()


@pytest.mark.parametrize("column", ["level", "language", "topic_id", "generator", "drop_reason"])
@pytest.mark.parametrize("value", [["customs"], {"a": 1}, True])
def test_a_column_that_could_be_taken_over_and_holds_no_text_is_left_out_and_named(column, value, caplog):
    plain = match.run(table("q1 japan rice", "q1 china noodles"), Settings())
    rows = table("q1 japan rice", "q1 china noodles", **{column: [value, value]})
    assert match.run(rows, Settings()).to_list() == plain.to_list()
    assert column in caplog.text


def test_text_columns_that_hold_lists_are_named():
    rows = table("q1 japan rice").remove_columns("response").add_column("response", [["rice", "soup"]])
    with pytest.raises(InputError, match="response"):
        match.run(rows, Settings())


def test_no_rows_is_an_error():
    with pytest.raises(InputError, match="the table: no rows"):
        match.run(table("q1 japan rice").select([]), Settings())


def test_compared_is_positive():
    with pytest.raises(InputError, match="compared"):
        Settings(compared=0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What  is\neaten?", "What is eaten?", True),
        ("Caf\u00e9?", "Cafe\u0301?", True),  # composed and decomposed
        ("What is eaten?", "what is eaten?", False),
        ("What is eaten?", "What is eaten", False),
        ("\ufb01ne?", "fine?", False),  # a ligature is another character, not another writing of the same
    ],
)
def test_texts_are_the_same_but_for_white_space_and_composition(one, other, same):
    rows = Dataset.from_dict({"question": [one, other], "culture": ["japan", "china"], "response": ["x", "y"]})
    candidates = match.run(rows, Settings())
    assert [bool(row["others"]) for row in candidates] == [same, same]
    assert candidates["question"][:] == [one, other]  # what is trained on stays as it was typed


def test_a_culture_and_an_id_are_the_same_however_their_accents_are_typed():
    rows = table("caf\u00e9 M\u00e9xico a", "cafe\u0301 Me\u0301xico b", "cafe\u0301 Peru c")
    candidates = match.run(rows, Settings())
    assert [one["culture"] for one in candidates[2]["others"]] == ["M\u00e9xico"] * 2
    assert [[one["culture"] for one in row["others"]] for row in candidates][:2] == [["Peru"], ["Peru"]]


def test_names_that_cannot_be_used_are_named_all_at_once_with_their_rows():
    rows = table("q1 japan rice", "q1 .. x", "q1 \u2026 y")
    rows = rows.remove_columns("culture").add_column("culture", ["japan", "..", "a\nb"])
    with pytest.raises(InputError, match=r"2 culture names cannot be used \(row 2: '\.\.' .*; row 3: 'a\\nb' "):
        match.run(rows, Settings())


def test_a_culture_spelled_in_two_cases_is_one_and_a_warning(caplog):
    rows = table("q1 japan a", "q1 Japan b", "q2 Japan c", "q1 china d")
    candidates = match.run(rows, Settings())
    assert candidates["culture"][:] == ["Japan", "Japan", "Japan", "china"]
    assert [one["culture"] for one in candidates[0]["others"]] == ["china"]
    assert caplog.messages == ["culture 'Japan' is also spelled 'japan'; its rows are one culture."]


def test_what_cannot_be_compared_is_counted_and_told(caplog):
    rows = table("q1 japan a", "q1 china b", "q2 japan c", "q2 japan d", "q3 japan e", "q4 japan f", "q5 japan g")
    candidates = match.run(rows, Settings())
    assert match.report(candidates) == {
        "china": {"rows": 1, "alone": 0, "share": 0.0, "questions": []},
        "japan": {"rows": 6, "alone": 5, "share": 0.8333, "questions": ["q2", "q3", "q4"]},
    }
    assert caplog.messages == [
        "japan: no other culture answered the question of 5 of 6 rows (such as 'Question q2?', 'Question q3?',"
        " 'Question q4?'); they are not ranked."
    ]


def test_a_table_of_one_culture_is_told_that_it_has_no_other():
    with pytest.raises(InputError, match=r"^the table: holds one culture, japan, and no other to compare it with; "):
        match.report(match.run(table("q1 japan a", "q2 japan b"), Settings()))


def test_a_table_in_which_nothing_can_be_compared_is_told_with_its_questions():
    rows = table("q1 japan a", "q2 china b").remove_columns(["question_id", "question"])
    candidates = match.run(rows.add_column("question", ["Who  pays?", "\u8c01" * 61]), Settings())
    with pytest.raises(InputError, match="no question was answered by two cultures") as error:
        match.report(candidates)
    assert f"(such as 'Who pays?', '{chr(0x8C01) * 60}...')" in str(error.value)


def test_of_many_answers_those_that_most_people_gave_are_compared_and_what_is_the_same():
    korean = [f"q1 korea dish {number}" for number in range(14)]
    weights = [1.0, 1.0, 500.0, *[1.0] * 14]
    rows = table("q1 mexico kimchi", "q1 mexico DISH  3", "q1 korea kimchi", *korean, weight=weights)
    first, second, *_ = match.run(rows, Settings())
    assert "kimchi" in [one["response"] for one in first["others"]]
    assert len(first["others"]) == match.ANSWERS
    assert {"kimchi", "dish 3"} <= {one["response"] for one in second["others"]}


def test_of_equal_rows_under_two_ids_the_one_is_kept_that_others_answered():
    rows = table("b1 china rice", "b2 china rice", "b2 uk toast")
    rows = rows.remove_columns("question").add_column("question", ["What is eaten?"] * 3)
    one, other = match.run(rows, Settings())
    assert (one["question_id"], one["weight"]) == ("b2", 2.0)
    assert [len(row["others"]) for row in (one, other)] == [1, 1]


@pytest.mark.parametrize(
    ("languages", "told"),
    [
        (["en", "de"], "de: austria; en: ireland"),
        (["en-IE", "en_GB"], None),
        (["en", None], None),
    ],
)
def test_answers_in_several_languages_are_told(languages, told, caplog):
    match.run(table("q1 ireland football", "q1 austria Fußball", language=languages), Settings())
    assert [f"cultures answer in several languages ({told})" in caplog.text] == [told is not None]
