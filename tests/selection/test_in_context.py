"""Marks of questions with known answers become r: by hand."""

import numpy as np
import pytest

from caredio.errors import InputError
from caredio.selection import in_context
from caredio.selection.settings import Settings
from caredio.selection.validation import Item


def test_r_is_drawn_towards_the_mean_by_the_reliability_of_the_questions():
    # centres' means .75, .5, .25; sums of squares: centres .5 (2), questions 5/3 (3), all 3 (11), so rest 5/6 (6)
    marks = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    reliability = 1 - (5 / 36) / (1 / 4)  # 1 - MS rest / MS centres
    expected = [0.5 + reliability * 0.25, 0.5, 0.5 - reliability * 0.25]
    assert in_context.shrunk(marks) == pytest.approx(expected)


def test_without_noise_nothing_is_drawn_and_with_noise_alone_all_have_the_mean():
    assert in_context.shrunk(np.array([[0.5, 0.75], [0.25, 0.5]])) == pytest.approx([0.625, 0.375])
    assert in_context.shrunk(np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])) == pytest.approx([0.5, 0.5])
    assert in_context.shrunk(np.array([[1.0], [0.0]])) == pytest.approx([0.5, 0.5])
    assert in_context.shrunk(np.array([[1.0, 0.0]])) == pytest.approx([0.5])


def test_a_centre_without_an_answer_is_unknown_and_a_question_it_missed_is_no_gain():
    found = in_context.shrunk(np.array([[1.0, 0.0, np.nan], [1.0, 0.0, 0.0], [np.nan] * 3]))
    assert found[:2] == pytest.approx([1 / 3, 1 / 3])  # equal on what both answered
    assert np.isnan(found[2])


def test_a_probability_is_of_the_options_alone():
    item = Item("?", "B", ("A", "B"), "?")
    tokens = [{"token": " (B)", "logprob": np.log(0.3)}, {"token": "A", "logprob": np.log(0.1)}]
    assert in_context.probability([*tokens, {"token": "Ah", "logprob": -0.1}], item) == pytest.approx(0.75)
    assert in_context.probability([{"token": "C", "logprob": -0.1}], item) == 0.0


def test_more_rows_than_are_measured_are_refused():
    wanted = {"representativeness": "in_context", "validation": "v.csv", "centers": 2}
    with pytest.raises(InputError, match="at most 2 rows a culture"):
        in_context.check(Settings(budget=3, **wanted), 5)
    in_context.check(Settings(budget=3, **wanted), 2)
    in_context.check(Settings(budget=2, **wanted), 5)
