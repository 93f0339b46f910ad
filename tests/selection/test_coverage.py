"""The order that a budget takes rows in: quotas, and the orders that cover many questions, against brute force."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest

from caredio.errors import InputError
from caredio.selection import coverage
from caredio.selection.settings import COVERAGE, Settings

FREE = {"per_question": None, "topic_share": None}


def drawn(seed, rows=9, questions=4, topics=("food", "power", None)):
    """Values with ties, the question and the topic of each row, and the questions as unit vectors."""
    draw = random.Random(seed)
    asked = [f"q{draw.randrange(questions)}" for _ in range(rows)]
    of = {name: draw.choice(topics) for name in sorted(set(asked))}
    values = np.array([draw.randrange(6) / 2 for _ in range(rows)])
    raw = np.random.default_rng(seed).normal(size=(rows, 3))
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return values, asked, [of[name] for name in asked], unit


def order(values, questions, topics=None, unit=None, **settings):
    topics = topics or [None] * len(values)
    samples = np.ones((len(values), 1)) if unit is None else unit
    chosen = Settings(**{"budget": len(values), **settings})
    return coverage.ordered(
        np.asarray(values, float), questions, topics, lambda: coverage.Subjects(questions, samples), chosen
    )


def test_without_quotas_the_highest_come_first_and_of_equals_the_first():
    assert order([1, 3, 2, 3], list("aaab"), **FREE) == [1, 3, 2, 0]
    assert order([1, 3, 2, 3], list("aaab"), budget=2, **FREE) == [1, 3]


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (1, [0, 3, 5, 1, 4, 2]),  # the best of a, b and c; then the second of a and b; then the third of a
        (2, [0, 1, 3, 4, 5, 2]),
        (None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_question_waits_until_every_other_has_as_many_rows(each, expected):
    assert order([9, 8, 7, 6, 5, 4], list("aaabbc"), per_question=each) == expected


def test_no_topic_has_more_than_twice_its_share_at_any_rank():
    """Two of eight rows are of power, and the best: at most ceil(2 * 2/8 * n) of the first n."""
    topics = ["power", "power", *["food"] * 4, None, None]
    values = [9, 8, 7, 6, 5, 4, 3, 2]
    questions = [f"q{row}" for row in range(8)]
    assert order(values, questions, topics) == [0, 2, 1, 3, 4, 5, 6, 7]
    assert order(values, questions, topics, topic_share=1) == [0, 2, 3, 6, 1, 4, 5, 7]
    assert order(values, questions, topics, topic_share=None) == list(range(8))


def test_a_question_has_a_second_row_only_while_its_topic_leaves_room_for_no_other():
    """Half of the rows are of power: the sixth is p's second one, as food has had its share; q's waits for d."""
    values = [9, 8, 7, 6, 5, 4, 3, 2]
    questions, topics = [*"ppqq", *"abcd"], ["power"] * 4 + ["food"] * 4
    assert order(values, questions, topics, topic_share=1.0) == [0, 4, 2, 5, 6, 1, 7, 3]
    assert order(values, questions, topics) == [0, 2, 4, 5, 6, 7, 1, 3]


@pytest.mark.parametrize("share", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("kind", COVERAGE)
@pytest.mark.parametrize("seed", range(6))
def test_quotas_hold_in_every_order_at_every_rank_and_all_rows_are_taken(kind, share, seed):
    values, asked, topics, unit = drawn(seed, rows=40, questions=12, topics=("food", "power", "work", None))
    taken = order(values, asked, topics, unit, coverage=kind, topic_share=share)
    assert sorted(taken) == list(range(40))
    shares = Counter(topics)
    for n in range(1, 41):
        counts = Counter(topics[row] for row in taken[:n])
        for topic in ("food", "power", "work"):
            assert counts[topic] <= math.ceil(round(share * shares[topic] / 40 * n, 9))
    for budget in (1, 7, 20):
        assert order(values, asked, topics, unit, coverage=kind, topic_share=share, budget=budget) == taken[:budget]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("each", [1, 2])
def test_no_question_is_ahead_of_another_that_has_rows_left(seed, each):
    _, asked, _, unit = drawn(seed, rows=30, questions=8)
    values = drawn(seed, rows=30)[0]
    there = Counter(asked)
    for kind in COVERAGE:
        taken = order(values, asked, None, unit, coverage=kind, per_question=each)
        for n in range(1, 31):
            counts = Counter(asked[row] for row in taken[:n])
            behind = [counts[name] for name in there if counts[name] < there[name]]
            floor = min(behind, default=30) // each * each
            assert all(count <= floor + each for count in counts.values())


def total(chosen, worth, question, unit):
    near = [np.maximum(unit @ unit[question[row]], 0) * worth[row] for row in chosen]
    return float(np.max(near, axis=0).sum())


@pytest.mark.parametrize("seed", range(12))
def test_lazy_facility_location_is_the_greedy_one_and_near_the_best(seed):
    values, asked, _, unit = drawn(seed)
    names = sorted(set(asked))
    sums = np.array([np.sum([unit[row] for row in range(9) if asked[row] == name], axis=0) for name in names])
    subjects = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    question = [names.index(name) for name in asked]
    worth = (values - values.min()) / np.ptp(values)
    greedy = []
    for _ in range(5):
        rest = [row for row in range(9) if row not in greedy]
        gains = {row: round(total([*greedy, row], worth, question, subjects), 9) for row in rest}
        greedy.append(max(rest, key=lambda row: (gains[row], worth[row], -row)))
    found = order(values, asked, None, unit, coverage="facility", budget=5, **FREE)
    assert found == greedy
    for size in (1, 2, 3, 4):
        best = max(total(some, worth, question, subjects) for some in itertools.combinations(range(9), size))
        assert best >= total(found[:size], worth, question, subjects) >= (1 - 1 / math.e) * best - 1e-9


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("seed", range(6))
def test_mmr_is_what_its_formula_says_step_by_step(seed, weight):
    values, asked, _, unit = drawn(seed)
    names = sorted(set(asked))
    of = {name: np.sum([unit[row] for row in range(9) if asked[row] == name], axis=0) for name in names}
    of = {name: vector / np.linalg.norm(vector) for name, vector in of.items()}
    expected = []
    for _ in range(9):
        rest = [row for row in range(9) if row not in expected]
        worth = {
            row: values[row] / values.std()
            - weight * max([0.0, *(float(of[asked[row]] @ of[asked[other]]) for other in expected)])
            for row in rest
        }
        expected.append(max(rest, key=lambda row: (round(worth[row], 8), values[row], -row)))
    found = order(values, asked, None, unit, coverage="mmr", coverage_weight=weight, **FREE)
    assert found == expected
    if not weight:
        assert found == order(values, asked, **FREE)


def test_the_best_answer_of_each_question_comes_before_the_second_of_any_whatever_the_question():
    values, asked = [1, 9, 8, 3, 2, 0], list("abbccd")
    orders = [order(values, asked, coverage="best_answer", seed=seed, **FREE) for seed in range(40)]
    for found in orders:
        assert set(found[:4]) == {0, 1, 3, 5}  # the best of a, b, c and d
        assert set(found[4:]) == {2, 4}
    first = Counter(found[0] for found in orders)
    assert set(first) == {0, 1, 3, 5}  # questions by chance
    assert orders[0] == order(values, asked, coverage="best_answer", seed=0, **FREE)


def test_a_question_s_vector_is_the_direction_of_the_mean_of_its_samples():
    names, unit = coverage.Subjects(list("baab"), np.array([[1, 0], [0, 1], [0, 1], [0, 1]])).of(["b"])
    assert names == {"b": 0}
    assert unit == pytest.approx(np.array([[1, 1]]) / math.sqrt(2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_question": 0},
        {"topic_share": 0.9},
        {"coverage": "all"},
        {"coverage_weight": -1.0},
        {"coverage": "mmr", "ranking": "random"},
    ],
)
def test_settings_that_cover_nothing_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)
