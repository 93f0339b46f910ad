"""The product and the sum of r and d, best first within each culture, until the budget is used."""

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import zscore

from caredio import features
from caredio.errors import InputError
from caredio.selection import rank
from caredio.selection.settings import DISTINCTIVENESS, REPRESENTATIVENESS, Settings


def scored(rows):
    columns = features.Features({name: kind for name, kind in features.SCORED.items() if name != "drop_reason"})
    del columns["score"]
    records = [
        {
            **dict.fromkeys(columns),
            "others": [],
            "sample_id": name,
            "culture": culture,
            "question": f"Why {name}?",
            "response": f"Because {name}.",
            "is_center": r is not None,
            "representativeness": r,
            "distinctiveness": d,
            "compared": 0 if d is None else 4,
        }
        for name, culture, r, d in rows
    ]
    return Dataset.from_list(records, features=columns)


NO_VECTORS = features.table([], features.vectors(2))
ROWS = [
    ("a", "japan", 2.0, 0.5),
    ("b", "japan", 3.0, 0.9),
    ("c", "china", 1.0, 0.7),
    ("d", "japan", None, 0.9),
    ("e", "japan", 4.0, None),
    ("f", "china", 8.0, 0.2),
    ("g", "japan", 5.0, 0.1),
    ("h", "china", None, None),
    ("i", "china", 1.0, 0.0),
    ("j", "china", 2.0, -0.1),
]
BEST_FIRST = [
    ("china", "f"),
    ("china", "c"),
    ("china", "i"),
    ("china", "j"),
    ("japan", "b"),
    ("japan", "a"),
    ("japan", "g"),
]


def score(table, **settings):
    return rank.score(table, NO_VECTORS, Settings(representativeness="size", **settings))


def by_id(table, column):
    return dict(zip(table["sample_id"], table[column], strict=True))


def test_the_score_is_the_product():
    assert rank.product([3.0, 4.0, 2.0], [0.5, 0.0, -0.25]) == [1.5, 0.0, -0.5]


def test_score_says_why_a_row_is_not_ranked():
    pool = score(scored(ROWS))
    expected = {"a": 1.0, "b": 2.7, "c": 0.7, "f": 1.6, "g": 0.5, "i": 0.0, "j": -0.2, "d": None, "e": None, "h": None}
    assert by_id(pool, "score") == pytest.approx(expected)
    reasons = {name: reason for name, reason in by_id(pool, "drop_reason").items() if reason}
    assert reasons == {"d": "redundant", "h": "redundant", "e": "no_other_culture"}
    assert pool["sample_id"][:] == [row[0] for row in ROWS]
    assert {name: pool.features[name] for name in features.SCORED} == dict(features.SCORED)


@pytest.mark.parametrize("unknown", ["representativeness", "distinctiveness"])
def test_a_row_that_could_not_be_measured_says_so(unknown):
    table = scored(ROWS).map(lambda row: {unknown: None} if row["sample_id"] == "b" else {})
    pool = score(table)
    reasons = {name: reason for name, reason in by_id(pool, "drop_reason").items() if reason}
    assert reasons == {"b": "unmeasured", "d": "redundant", "h": "redundant", "e": "no_other_culture"}
    assert by_id(pool, "score")["b"] is None


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 100])
def test_the_budget_takes_a_culture_s_best(budget):
    pool = score(scored(ROWS), budget=budget)
    ranked = rank.run(pool)
    expected = [
        one for culture in ("china", "japan") for one in [row for row in BEST_FIRST if row[0] == culture][:budget]
    ]
    assert list(zip(ranked["culture"], ranked["sample_id"], strict=True)) == expected
    over = [name for name, reason in by_id(pool, "drop_reason").items() if reason == "over_budget"]
    assert len(over) == len(BEST_FIRST) - len(expected)


def test_ranks_count_from_1_within_a_culture():
    ranked = rank.run(score(scored(ROWS), budget=3))
    assert ranked["rank"][:] == [1, 2, 3, 1, 2, 3]


def test_ranked_rows_are_chat_messages_and_hold_no_drop_reason():
    ranked = rank.run(score(scored(ROWS), budget=1))
    assert ranked.features == features.RANKED
    assert ranked["prompt"][:] == [[{"role": "user", "content": f"Why {name}?"}] for name in "fb"]
    assert ranked["completion"][:] == [[{"role": "assistant", "content": f"Because {name}."}] for name in "fb"]


def test_ties_break_on_sample_id_whatever_the_row_order():
    rows = [(name, "japan", 2.0, 0.5) for name in "dbeac"] + [("z", "japan", 1.0, 1.0)]
    for order in (rows, rows[::-1], rows[2:] + rows[:2]):
        ranked = rank.run(score(scored(order), budget=4))
        assert ranked["sample_id"][:] == list("abcd")


def test_scoring_again_forgets_the_old_budget():
    pool = score(scored(ROWS).add_column("score", [9.0] * len(ROWS)), budget=1)
    assert by_id(pool, "score")["a"] == 1.0


def test_no_ranked_row_is_an_error():
    with pytest.raises(InputError, match="scored candidates: no rows"):
        rank.run(score(scored([ROWS[3], ROWS[4]])))


@pytest.mark.parametrize("missing", ["representativeness", "distinctiveness", "is_center", "sample_id", "culture"])
def test_score_names_a_missing_column(missing):
    with pytest.raises(InputError, match=f"column {missing} is missing"):
        score(scored(ROWS).remove_columns(missing))


def test_run_names_missing_columns():
    with pytest.raises(InputError, match="column score, drop_reason is missing"):
        rank.run(scored(ROWS))


def test_budget_is_positive():
    with pytest.raises(InputError, match="budget"):
        Settings(budget=0)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_sum_is_of_scipy_s_z_scores(weight):
    r, d = np.random.default_rng(0).normal(3, 2, size=(2, 30)).tolist()
    assert rank.sum_of_z(r, d, weight) == pytest.approx(zscore(r) + weight * zscore(d))


@pytest.mark.parametrize("equal", [[2.0, 2.0, 2.0], [0.1 + 0.2, 0.3, 0.3], [7.0]])
def test_equal_values_are_no_deviations_from_their_mean(equal):
    assert rank.z(np.array(equal)).tolist() == [0.0] * len(equal)


def test_the_sum_is_over_a_culture_s_selectable_rows():
    pool = score(scored(ROWS), weight=0.5, score="sum")
    japan = zscore([2.0, 3.0, 5.0]) + 0.5 * zscore([0.5, 0.9, 0.1])
    china = zscore([1.0, 8.0, 1.0, 2.0]) + 0.5 * zscore([0.7, 0.2, 0.0, -0.1])
    expected = dict(zip("abgcfij", [*japan, *china], strict=True))
    assert by_id(pool, "score") == pytest.approx({**expected, "d": None, "e": None, "h": None})


MEASURES = [(r, d) for r in REPRESENTATIVENESS for d in DISTINCTIVENESS]


def measured(r, d, **ranking):
    return Settings(representativeness=r, validation="items.csv", distinctiveness=d, **ranking)


@pytest.mark.parametrize(("r", "d"), MEASURES)
def test_scores_multiply_where_neither_can_be_negative(r, d):
    shares = r in ("size", "in_context") and d in ("cosine", "hybrid")
    assert measured(r, d).combine == ("product" if shares else "sum")
    assert measured(r, d, score="sum").combine == "sum"
    if shares:
        assert measured(r, d, score="product").combine == "product"
    else:
        with pytest.raises(InputError, match=r"^a product of scores that can be negative ranks nothing; .*\.$"):
            measured(r, d, score="product")


@pytest.mark.parametrize(("r", "d"), MEASURES)
def test_a_model_is_asked_where_the_measure_needs_one(r, d):
    assert measured(r, d).asks == (r in ("in_context", "information") or d in ("information", "cci"))


@pytest.mark.parametrize(
    ("setting", "value"), [("score", "mean"), ("ranking", "best"), ("weight", -1.0), ("weight", float("nan"))]
)
def test_settings_that_cannot_be_are_told(setting, value):
    with pytest.raises(InputError, match=f"{setting} is"):
        Settings(**{setting: value})
