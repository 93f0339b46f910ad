"""Where no row is left, the message says how many were dropped, why, and what to change."""

import re
from pathlib import Path

import pytest

import caredio
from caredio import reasons
from caredio.errors import InputError
from caredio.synthesis import checks


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("truncated", "max_tokens"),
        ("reasoning", "max_tokens"),
        ("not JSON", "set json_mode to prompt"),
        ("JSON does not fit: n (type)", "set json_mode to prompt"),
        ("content_filter", "other topics"),
        ("refusal", "set checks to none"),
        ("names another culture", "set checks to none"),
        ("near_duplicate", "rouge_l"),
        ("endpoint: status 503", "run the same command again"),
    ],
)
def test_each_reason_has_its_advice(reason, advice):
    with pytest.raises(InputError) as error:
        reasons.require_left("candidates", 0, {reason: 12})
    assert f"candidates: no rows left (12 {reason}); nothing to work on: " in str(error.value)
    assert advice in str(error.value)


def test_empty_texts_are_the_models_fault_or_the_tables():
    with pytest.raises(InputError) as error:
        reasons.require_left("candidates", 0, {"empty": 12})
    assert str(error.value) == (
        "candidates: no rows left (12 empty); nothing to work on: the model's answers are empty: name another model,"
        " raise max_tokens, or turn tools and thinking off at the endpoint."
    )
    told = str(reasons.nothing_left("the table", {"empty": 12, "near_duplicate": 20}))
    assert told.endswith("or raise rouge_l or question_cosine; the text is empty: check the table's column.")
    assert "max_tokens" not in told


def test_every_reason_that_the_package_gives_has_advice():
    source = "".join(path.read_text(encoding="utf-8") for path in Path(caredio.__file__).parent.rglob("*.py"))
    named = re.findall(r'Unusable\((?:"[^"]+", reason=)?"([^"{]+)"', source)
    given = {*named, *re.findall(r'^        "([a-z -]+)": lambda', source, re.M)}
    given.add("unmeasured")  # of a row without all of its scores
    assert {"truncated", "empty", "toxic", "no trait is named"} <= given
    assert [reason for reason in sorted(given) if not reasons.advice({reason: 1})] == []
    assert reasons.advice({checks.reason("I'm sorry, I can't help with that."): 1})


def test_the_most_frequent_reason_comes_first_and_equal_advice_once():
    told = reasons.advice({"not JSON": 2, "truncated": 5, "JSON does not fit: n (type)": 1, "toxic": 1, "empty": 1})
    assert told.count("json_mode") == 1
    assert told.index("max_tokens") < told.index("json_mode")
    assert told.count("; ") == 2


def test_a_stage_that_kept_a_row_or_had_none_is_no_error():
    reasons.require_left("candidates", 1, {"empty": 3})
    reasons.require_left("preference", 0, {})
