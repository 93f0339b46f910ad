"""Agreement with people, compared with a computation by the definitions and with published numbers."""

from __future__ import annotations

import json
import math
import random
from itertools import combinations, permutations
from math import sqrt
from pathlib import Path

import pytest
from scipy import stats

from caredio.errors import InputError
from caredio.evaluation import agreement
from caredio.evaluation.agreement import ALPHA, AMONG, Item


def pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    both = sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True))
    return both / sqrt(sum((one - mean_x) ** 2 for one in x) * sum((one - mean_y) ** 2 for one in y))


def ranks(x: list[float]) -> list[float]:
    return [sum(other < one for other in x) + (sum(other == one for other in x) + 1) / 2 for one in x]


def tau_b(x: list[float], y: list[float]) -> float:
    pairs = [(x[i] - x[j], y[i] - y[j]) for i, j in combinations(range(len(x)), 2)]
    balance = sum((a * b > 0) - (a * b < 0) for a, b in pairs)
    return balance / sqrt(sum(a != 0 for a, _ in pairs) * sum(b != 0 for _, b in pairs))


def alpha(units: list[list[float]]) -> float:
    """1 - Do/De over all ordered pairs: within units, each weighted by 1/(m - 1); and of all values."""
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    observed = sum(sum((a - b) ** 2 for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum((a - b) ** 2 for a, b in permutations(values, 2)) / (len(values) - 1)
    return 1 - observed / expected


def rated(seed: int = 1, n: int = 40) -> list[Item]:
    draw = random.Random(seed)
    items = []
    for number in range(n):
        judge = draw.randint(1, 10)
        people = [float(min(10, max(1, judge + draw.randint(-2, 2)))) for _ in range(2)]
        items.append(Item(f"q{number // 2}", float(judge), (people[0], people[1] if number % 4 else None)))
    return items


def found(items: list[Item], **more: int) -> dict[str, agreement.Agreement]:
    return {one.measure: one for one in agreement.agreement(items, **more)}


def test_each_coefficient_is_its_definition() -> None:
    items = rated()
    judge = [item.judge for item in items]
    people = [sum(known) / len(known) for item in items if (known := [one for one in item.people if one is not None])]
    given = found(items)
    assert given["Pearson"].value == pytest.approx(pearson(judge, people))
    assert given["Spearman"].value == pytest.approx(pearson(ranks(judge), ranks(people)))
    assert given["Kendall"].value == pytest.approx(tau_b(judge, people))
    all_of = [[item.judge, *(one for one in item.people if one is not None)] for item in items]
    assert given[ALPHA].value == pytest.approx(alpha(all_of))
    assert given[AMONG].value == pytest.approx(alpha([unit[1:] for unit in all_of]))
    for one in given.values():
        assert one.n == 40
        assert one.low is not None
        assert one.high is not None
        assert one.value is not None
        assert one.low < one.value < one.high


def test_krippendorff_s_own_example() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), C: four observers, missing data; interval."""
    observers = (
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    )
    units = [tuple(None if one is None else float(one) for one in unit) for unit in zip(*observers, strict=True)]
    assert agreement.alpha(units) == pytest.approx(0.849, abs=0.0005)


def test_a_judge_that_says_what_people_say_and_one_that_says_the_opposite() -> None:
    same = [Item(str(number), number % 10 + 1.0, (number % 10 + 1.0,)) for number in range(30)]
    for one in found(same).values():
        assert (one.value, one.low, one.high) == pytest.approx((1, 1, 1))
    assert AMONG not in found(same)  # of one person
    opposite = [item._replace(judge=11 - item.judge) for item in same]
    for name in ("Pearson", "Spearman", "Kendall"):
        assert found(opposite)[name].value == pytest.approx(-1)
    assert found(opposite)[ALPHA].value == pytest.approx(alpha([[item.judge, 11 - item.judge] for item in same]))


def test_intervals_are_over_questions() -> None:
    items = [Item(str(number), item.judge, item.people) for number, item in enumerate(rated(2, 24))]
    alike = found([one for item in items for one in (item, item)])["Pearson"]  # a second reply adds no question
    apart = found([one for item in items for one in (item, item._replace(question=f"{item.question}'"))])["Pearson"]
    once = found(items)["Pearson"]
    assert (alike.low, alike.high) == pytest.approx((once.low, once.high))
    assert once.high is not None
    assert once.low is not None
    assert apart.high is not None
    assert apart.low is not None
    assert apart.high - apart.low < 0.85 * (once.high - once.low)


def test_a_side_that_does_not_vary_has_no_correlation() -> None:
    given = found([Item(str(number), 5.0, (float(number % 3 + 1),)) for number in range(12)])
    assert given["Pearson"] == ("Pearson", 12, None, None, None)
    assert "not defined" in str(given["Kendall"])
    assert given[ALPHA].value is not None
    assert found([Item(str(number), 5.0, (5.0,)) for number in range(12)])[ALPHA].value is None


def test_replies_that_nobody_rated_are_no_items() -> None:
    items = rated()
    more = [*items, Item("q99", 1.0, (None, None))]
    assert found(more) == found(items)


# --- people's ratings in a file


def written(folder: Path, text: str) -> Path:
    file = folder / "people.csv"
    file.write_text(text)
    return file


def test_a_file_of_ratings(tmp_path: Path) -> None:
    file = written(tmp_path, "id,system,rating_a,rating_b,note\nq1,raw,3,,x\nq2,trained,10,9.5,\n")
    first, second = agreement.load(file, 1, 10)
    assert first == ("q1", "raw", None, (3.0, None), f"{file}, line 2")
    assert second[:4] == ("q2", "trained", None, (10.0, 9.5))
    lines = tmp_path / "people.jsonl"
    lines.write_text(json.dumps({"sample": "ab12", "rating": 4, "culture": "japan"}) + "\n")
    assert agreement.load(lines, 1, 5)[0][:4] == ("ab12", None, "japan", (4.0,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("question,rating\na,1\n", "people.csv: column id or sample is missing; found question, rating."),
        ("id,score\na,1\n", "people.csv: column rating is missing; found id, score."),
        ("id,rating\na,1\n,2\n", "people.csv, line 3: column id is empty; name the question that was replied to."),
        (
            "id,rating\na,x\n",
            "people.csv, line 2, column rating: 'x' is no rating from 1 to 5, which is the judge's scale.",
        ),
        (
            "id,rating\na,7\n",
            "people.csv, line 2, column rating: '7' is no rating from 1 to 5, which is the judge's scale.",
        ),
        ("id,rating\na,nan\n", "'nan' is no rating from 1 to 5"),
    ],
)
def test_a_file_that_is_not_one_of_ratings(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        agreement.load(written(tmp_path, text), 1, 5)
    assert said in str(error.value)


def test_people_among_themselves_are_compared_two_by_two() -> None:
    """Amina and Bo rated five replies, Bo and Chen three, Amina and Chen two: each pair counts by what it shares."""
    replies = [(1, 2, None), (3, 3, 4), (9, 7, 8), (5, 6, None), (2, 4, None), (None, 8, 8), (None, 9, None)]
    items = [
        Item(f"q{number}", math.nan, tuple(None if one is None else float(one) for one in row))
        for number, row in enumerate(replies)
    ]
    given = {one.measure: one for one in agreement.among(items)}
    amina, bo = [1, 3, 9, 5, 2], [2, 3, 7, 6, 4]
    for name, of in (("Pearson", stats.pearsonr), ("Spearman", stats.spearmanr), ("Kendall", stats.kendalltau)):
        pairs = [(of(amina, bo)[0], 5), (of([3, 7, 8], [4, 8, 8])[0], 3), (of([3, 9], [4, 8])[0], 2)]
        assert given[name].value == pytest.approx(sum(value * n for value, n in pairs) / 10)
        assert given[name].n == 6  # the last reply was rated once
    assert given["Pearson"].value == pytest.approx(
        (pearson(amina, bo) * 5 + pearson([3, 7, 8], [4, 8, 8]) * 3 + 2) / 10
    )
    assert given[ALPHA].value == pytest.approx(alpha([[one for one in row if one is not None] for row in replies]))


def test_people_who_share_nothing_have_no_agreement() -> None:
    items = [Item("q0", math.nan, (3.0, None)), Item("q1", math.nan, (None, 4.0))]
    assert {one.value for one in agreement.among(items)} == {None}


def test_alpha_is_nltk_s_too() -> None:
    metrics = pytest.importorskip("nltk.metrics")
    draw = random.Random(3)
    for _ in range(20):
        rows = [[draw.choice([None, 1.0, 2.0, 5.0, 9.0]) for _ in range(4)] for _ in range(12)]
        triples = [
            (rater, unit, one)
            for unit, row in enumerate(rows)
            for rater, one in enumerate(row)
            if one is not None and sum(other is not None for other in row) > 1
        ]
        theirs = metrics.agreement.AnnotationTask(triples, distance=metrics.interval_distance).alpha()
        assert agreement.alpha(rows) == pytest.approx(theirs)
