from __future__ import annotations

import itertools
from math import comb, sqrt
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from caredio.evaluation import paired
from caredio.intervals import wilson

TRIALS = 200


def one_culture(values: list[float]) -> dict[str, dict[str, float]]:
    return {"china": {f"q{place}": value for place, value in enumerate(values)}}


def test_mcnemar_by_hand() -> None:
    # 9 pairs differ, 8 of them one way: 2 (C(9, 0) + C(9, 1)) / 2^9
    assert paired.mcnemar(8, 1) == pytest.approx(2 * (1 + 9) / 512)
    assert paired.mcnemar(1, 8) == paired.mcnemar(8, 1)
    assert paired.mcnemar(3, 3) == 1
    assert paired.mcnemar(0, 0) == 1


def test_scores_of_one_bit_are_compared_by_mcnemar() -> None:
    one = one_culture([1, 1, 1, 1, 1, 1, 0, 1])
    other = one_culture([0, 0, 0, 0, 0, 0, 1, 1])
    found = paired.compare(one, other)
    assert found.method == "McNemar, exact"
    assert (found.difference, found.n, found.questions) == ((6 - 1) / 8, 8, 8)
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)


def test_sign_flips_of_few_are_all_tried() -> None:
    values = [0.5, 0.25, -0.125, 0.75, 0.0]
    observed = abs(sum(values))
    every = [
        sum(sign * one for sign, one in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    by_hand = sum(abs(one) >= observed for one in every) / len(every)
    found = paired.compare(one_culture(values), one_culture([0.0] * 5))
    assert found.method == "sign-flips, exact"
    assert found.p == pytest.approx(by_hand)
    assert found.difference == pytest.approx(fmean(values))


def test_a_single_difference_is_no_evidence() -> None:
    assert paired.sign_flips(np.array([0.5, 0.0])) == 1
    assert paired.sign_flips(np.array([])) == 1
    assert paired.compare(one_culture([0.5, 0.25]), one_culture([0.25, 0.25])).p == 1


def test_sign_flips_of_bits_are_mcnemars_test() -> None:
    bits = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 30)
    assert paired.sign_flips(bits / 41) == pytest.approx(paired.mcnemar(9, 2))


def test_drawn_sign_flips_come_near_the_exact_value_and_are_the_same_with_a_seed() -> None:
    bits = np.array([1.0] * 40 + [-1.0] * 22)
    exact = 2 * sum(comb(62, k) for k in range(23)) / 2**62
    error = sqrt(exact * (1 - exact) / paired.RESAMPLES)
    assert paired.sign_flips(bits, 1) == pytest.approx(exact, abs=5 * error)
    assert paired.sign_flips(bits, 1) == paired.sign_flips(bits, 1)
    assert paired.sign_flips(bits, 1) != paired.sign_flips(bits, 2)


def test_a_question_that_cultures_share_is_flipped_as_one() -> None:
    shared = {"a": 0.2, "b": 0.1, "c": 0.3, "d": 0.4, "e": 0.25}
    one = dict.fromkeys(("china", "japan", "india"), shared)
    other = {culture: dict.fromkeys(shared, 0.0) for culture in one}
    found = paired.compare(one, other)
    assert (found.n, found.questions) == (15, 5)
    assert found.p == 2 / 2**5  # three copies of the same five are no fifteen
    apart = {culture: {f"{culture}{name}": score for name, score in shared.items()} for culture in one}
    zeros = {culture: dict.fromkeys(scores, 0.0) for culture, scores in apart.items()}
    assert paired.compare(apart, zeros).questions == 15
    assert paired.compare(apart, zeros).p < 0.001


def test_bits_of_shared_questions_are_not_mcnemars() -> None:
    one = {culture: {"a": 1.0, "b": 1.0} for culture in ("china", "japan")}
    other = {culture: {"a": 0.0, "b": 0.0} for culture in one}
    assert paired.compare(one, other)[1:] == (4, 2, 0.5, "sign-flips, exact")


def test_only_common_questions_count() -> None:
    one = {"china": {"a": 1.0, "b": 0.5}, "japan": {"z": 1.0}}
    other = {"china": {"a": 0.0, "c": 1.0}, "india": {"z": 0.0}}
    assert paired.differences(one, other) == {"china": {"a": 1.0}}
    assert paired.compare(one, other)[:4] == (1.0, 1, 1, 1.0)
    assert paired.compare(one, {"india": {"z": 1.0}}) == (0.0, 0, 0, 1.0, "no common questions")


@pytest.mark.parametrize("graded", [False, True])
def test_p_values_are_uniform_where_nothing_differs(graded: bool) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(TRIALS):
        hard = rng.random(30)  # a question's own difficulty, which both systems share
        pair = [
            np.clip(hard + rng.normal(0, 0.2, 30), 0, 1) if graded else (rng.random(30) > hard).astype(float)
            for _ in range(2)
        ]
        found.append(paired.compare(one_culture(list(pair[0])), one_culture(list(pair[1]))).p)
    for level in (0.05, 0.2, 0.5):
        rejected = sum(p <= level for p in found)
        # no more than chance allows; an exact test of bits stays below the level, as few p-values are possible
        assert stats.binomtest(rejected, TRIALS, level, alternative="greater").pvalue > 0.01
        if graded:
            assert stats.binomtest(rejected, TRIALS, level).pvalue > 0.01


def test_joint_flips_keep_the_level_where_separate_ones_do_not() -> None:
    """Ten cultures answer the same 20 questions alike: flips of single answers find far too much."""
    rng = np.random.default_rng(1)
    joint, separate = 0, 0
    for _ in range(200):
        common = rng.normal(0, 1, 20)
        answers = common[None, :] + rng.normal(0, 0.3, (10, 20))
        one = {f"c{c}": {f"q{q}": float(answers[c, q]) for q in range(20)} for c in range(10)}
        zeros = {culture: dict.fromkeys(scores, 0.0) for culture, scores in one.items()}
        joint += paired.compare(one, zeros).p <= 0.05
        separate += stats.ttest_1samp(answers.ravel(), 0).pvalue <= 0.05
    assert stats.binomtest(joint, 200, 0.05).pvalue > 0.01
    assert separate > 80


def test_questions_that_two_means_share_are_flipped_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two means are of the same questions, on which systems differ alike; flips of each alone find too much."""
    monkeypatch.setattr(paired, "RESAMPLES", 999)
    rng = np.random.default_rng(7)
    joint, separate = 0, 0
    for _ in range(100):
        easy = rng.normal(0, 1, 20)
        means = [one_culture(list(easy)), one_culture(list(easy + rng.normal(0, 0.3, 20)))]
        other = one_culture(list(rng.normal(0, 0.3, 20)))  # the same ids, of another file
        joint += paired.sign_flips(paired.joined([("a", one, 0.5) for one in means] + [("b", other, 0.5)])) <= 0.05
        flips = np.concatenate([paired.clusters(one) for one in [*means, other]])
        separate += paired.sign_flips(flips) <= 0.05
    assert stats.binomtest(joint, 100, 0.05).pvalue > 0.01
    assert separate > 10


def test_what_two_means_share_is_added_up_by_hand() -> None:
    one = {"china": {"a": 1.0, "b": 0.5}, "japan": {"a": 0.0, "c": -1.0}}
    found = paired.joined([("x", one, 1.0), ("x", {"china": {"c": 1.0}}, 0.25), ("y", {"china": {"a": 2.0}}, 1.0)])
    assert list(found) == [0.25, 0.125, 0.0, 2.0]  # x: 1/4, 0.5/4, -1/4 + 0.25; y


def test_equal_systems_differ_by_nothing_however_their_scores_are_rounded() -> None:
    one, other = one_culture([1, 1 / 3]), one_culture([2 / 3, 2 / 3])
    assert sum(paired.clusters(paired.differences(one, other))) != 0  # in the order of the ids
    assert paired.compare(one, other).difference == 0
    shared = {f"c{place}": {"q": score} for place, score in enumerate([0.1, 0.2, -0.3])}
    assert list(paired.clusters(shared)) == [0]


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.04: x4 = 0.04, x3 = 0.06, x2 = 0.06, x1 = 0.04 -> 0.06 as it may not fall
    assert paired.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert paired.holm([0.5, 0.9]) == [1.0, 1.0]
    assert paired.holm([]) == []


def test_sign_test_over_cultures() -> None:
    found = paired.sign_test([0.1] * 12 + [-0.1] * 2 + [0.0])
    assert found[:3] == (12, 2, 1)
    assert found.p == pytest.approx(2 * (1 + 14 + 91) / 2**14)  # C(14, 0) + C(14, 1) + C(14, 2)
    assert paired.sign_test([]).p == 1


def test_interval_of_bits_is_that_of_the_binomial() -> None:
    low, high = paired.interval(one_culture([1.0] * 120 + [0.0] * 80))
    middle, half = 0.6, 1.96 * sqrt(0.6 * 0.4 / 200)
    assert low == pytest.approx(middle - half, abs=0.008)
    assert high == pytest.approx(middle + half, abs=0.008)
    assert paired.interval(one_culture([0.5] * 9)) == (0.5, 0.5)


def test_interval_is_scipys_for_one_culture() -> None:
    values = np.random.default_rng(3).gamma(2, 1, 80)
    there = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", random_state=np.random.default_rng(0)
    ).confidence_interval
    assert paired.interval(one_culture(list(values))) == pytest.approx((there.low, there.high), abs=0.03)


def test_interval_of_shared_questions_is_as_wide_as_that_of_one_culture() -> None:
    values = {f"q{place}": float(place % 2) for place in range(100)}
    alone = paired.interval({"china": values})
    shared = paired.interval(dict.fromkeys(("china", "japan", "india", "egypt"), values))
    assert shared == alone  # four copies of an answer are one
    apart = paired.interval({c: {f"{c}{q}": s for q, s in values.items()} for c in ("a", "b", "c", "d")})
    assert apart[1] - apart[0] == pytest.approx((alone[1] - alone[0]) / 2, rel=0.15)


def test_interval_covers_what_it_should() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        answers = rng.normal(0, 1, 40)[None, :] + rng.normal(0, 0.5, (3, 40)) + 1
        low, high = paired.interval({f"c{c}": {f"q{q}": float(answers[c, q]) for q in range(40)} for c in range(3)})
        covered += low <= 1 <= high
    assert 180 <= covered <= 200


def test_questions_of_different_sets_of_cultures_are_drawn_from_one_urn() -> None:
    """Three questions, each asked of other cultures: 27 draws as likely, worked out one by one."""
    answers = {"q1": [0.1, 0.2], "q2": [0.9], "q3": [0.8]}
    scores = {"a": {"q1": 0.1, "q2": 0.9}, "b": {"q1": 0.2, "q3": 0.8}}
    means = [fmean([one for name in drawn for one in answers[name]]) for drawn in itertools.product(answers, repeat=3)]
    assert min(means) == pytest.approx(0.15)  # q1 three times: one draw of 27, which is more than 2.5 %
    assert paired.interval(scores) == pytest.approx((0.15, max(means)))


def test_interval_covers_where_hardly_two_questions_are_asked_of_the_same_cultures() -> None:
    rng = np.random.default_rng(6)
    asked = rng.random((60, 8)) < 0.4  # 255 sets of cultures, and 60 questions
    asked[:, 0] |= ~asked.any(axis=1)
    covered = 0
    for _ in range(200):
        # what people of all cultures find hard: answers to a question are alike, whoever is asked
        right = (rng.random(60)[:, None] + rng.normal(0, 0.1, (60, 8))) * asked
        scores = {f"c{c}": {f"q{q}": float(right[q, c]) for q in range(60) if asked[q, c]} for c in range(8)}
        low, high = paired.interval(scores)
        covered += low <= 0.5 <= high
    assert 180 <= covered <= 200


def test_power_by_formula() -> None:
    assert 100 * paired.detectable(526) == pytest.approx(4.7, abs=0.05)
    assert paired.power_sentence(526) == "n = 526: 4.7 points are found at 80 % if 15 % of pairs differ."
    assert paired.power_sentence(100, 0.5) == (
        "n = 100: 0.14 is found at 80 % if differences of pairs deviate by 0.5, as here."
    )


def test_too_few_questions_show_no_difference() -> None:
    few = "no difference can be shown with so few questions."
    assert paired.power_sentence(1) == f"n = 1: {few}"
    # five signs that agree: p is 2 / 2^5 = 0.06; six: 0.03
    assert paired.mcnemar(5, 0) > paired.LEVEL > paired.mcnemar(6, 0)
    assert paired.power_sentence(5) == f"n = 5: {few}"
    assert paired.power_sentence(6) == "n = 6: 44.3 points are found at 80 % if 15 % of pairs differ."
    assert paired.power_sentence(4, 0.1) == f"n = 4: {few}"
    assert paired.power_sentence(6, 100, most=100) == f"n = 6: {few}"  # 114 points
    assert paired.power_sentence(6, 100).startswith("n = 6: 114 is found")  # of a metric without an end


def test_power_by_simulation() -> None:
    """That many pairs, with that share of them differing, reject four times in five."""
    rng = np.random.default_rng(5)
    difference = paired.detectable(526)
    better = (paired.DIFFERING + difference) / 2
    drawn = rng.multinomial(526, [better, paired.DIFFERING - better, 1 - paired.DIFFERING], size=1000)
    # McNemar's chi-square with one degree of freedom, without correction
    rejected = sum((b - c) ** 2 / (b + c) > 3.8415 for b, c, _ in drawn)
    assert rejected / 1000 == pytest.approx(0.8, abs=0.04)


def test_seeds_are_told_by_their_names() -> None:
    names = ["raw", "trained (seed 0)", "trained (seed 1)", "ours-seed-3", "ours-seed-4", "seedless", "one seed=7"]
    names += ["trained (models_seed1)", "trained (models_seed2)", "reseed 1", "reseed 2"]
    assert paired.of_seeds(names) == {
        "trained": ["trained (seed 0)", "trained (seed 1)"],
        "ours": ["ours-seed-3", "ours-seed-4"],
        "trained (models)": ["trained (models_seed1)", "trained (models_seed2)"],
    }


def test_intervals_of_many_questions_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = one_culture([float(place % 3 == 0) for place in range(50)])
    whole = paired.interval(scores)
    monkeypatch.setattr(paired, "_AT_ONCE", 1000)
    assert paired.interval(scores) == whole


def test_items_of_a_question_are_one_draw() -> None:
    """Ten items of each of nine questions, alike within a question, say no more than nine items."""
    of_questions = {f"q{place}": float(place < 8) for place in range(9)}
    items = {f"{name}{paired.WITHIN}{item}": one for name, one in of_questions.items() for item in range(10)}
    one, other = {"china": items}, {"china": dict.fromkeys(items, 0.0)}
    found = paired.compare(one, other)
    assert (found.n, found.questions, found.p) == (90, 9, 2 / 2**8)  # of 80 pairs that differ it would be 2 / 2^80
    assert paired.interval(one) == pytest.approx(paired.interval({"china": of_questions}))
    assert paired.of_mean(items, share=True) == pytest.approx(paired.interval({"": of_questions}))
    assert paired.of_mean(dict.fromkeys(items, 1.0), share=True) == pytest.approx(wilson(1, 9))
    assert paired.of_mean(dict.fromkeys(items, 1.0), share=False) == (None, None)
    assert paired.of_mean(of_questions, share=True) == wilson(8 / 9, 9)
