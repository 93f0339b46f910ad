"""What stages share: rows made of rows, and the walk of a plan."""

import pytest
from datasets import Dataset, Features, List, Value

from caredio.llm import plan
from caredio.llm.spec import Spec
from caredio.selection.settings import Settings as Selection
from caredio.stages import Expected, Planned, Planning, Stage, fan_out, in_all, planned
from caredio.synthesis.settings import Settings

COLUMNS = Features({"letter": Value("string"), "place": Value("int32"), "all": List(Value("string"))})


def letters(row):
    return [{"letter": letter, "place": place, "word": row["word"]} for place, letter in enumerate(row["word"])]


def test_rows_are_made_of_rows_in_their_order():
    words = Dataset.from_dict({"word": ["ab", "", "c"], "other": [1, 2, 3]})
    made = fan_out(words, letters, COLUMNS, "letters")
    assert made.features == COLUMNS
    assert made.to_list() == [
        {"letter": "a", "place": 0, "all": None},
        {"letter": "b", "place": 1, "all": None},
        {"letter": "c", "place": 0, "all": None},
    ]
    assert not made.cache_files
    assert words.to_dict() == {"word": ["ab", "", "c"], "other": [1, 2, 3]}


@pytest.mark.parametrize("words", [[], ["", ""]])
def test_no_rows_are_a_table_too(words):
    words = Dataset.from_dict({"word": words}, features=Features({"word": Value("string")}))
    made = fan_out(words, letters, COLUMNS, "letters")
    assert made.features == COLUMNS
    assert len(made) == 0


def test_the_rows_of_many_batches_are_all_there():
    words = Dataset.from_dict({"word": [f"{number:02d}" for number in range(2500)]})
    made = fan_out(words, letters, COLUMNS, "letters")
    assert "".join(made["letter"][:]) == "".join(words["word"][:])


def test_a_stage_is_planned_with_the_rows_of_those_before_it():
    """Two topics of three questions, each answered by two cultures; a stage that asks nobody passes nothing on."""

    def stage(name, calls, **declared):
        return Stage(name, {}, None, modules=(), calls=calls, **declared)

    def asked(planning):
        rows = [Expected(3, 5).times(2)]
        return Planned([plan.answers("asked", rows[0], 7, planning.spec)], rows)

    def answered(planning):
        (questions,) = planning.rows["asked"]
        rows = [questions.times(1), questions.times(1)]
        return Planned([plan.answers("answered", in_all(rows), 11, planning.spec, answer=90)], rows)

    planning = Planning(Spec(model="m", max_tokens=50), Settings(), Selection())
    stages = [stage("asked", asked), stage("silent", None), stage("answers", answered, writes_to="candidates")]
    steps, after = planned(stages, planning)
    assert steps == [
        plan.Step("asked", 6, 6 * 7, 6 * 50, upper_bound=20),  # an answer of 100 tokens is cut at 50
        plan.Step("answered", 12, 12 * 11, 12 * 50, upper_bound=40),
    ]
    assert list(after.rows) == ["asked", "candidates"]
    assert in_all(after.rows["candidates"]) == Expected(12, 20)
