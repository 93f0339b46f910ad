"""Metrics against scipy, lm-eval and arithmetic done by hand; the same numbers from the package `evaluate`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from caredio.errors import InputError
from caredio.evaluation import metrics
from caredio.evaluation.metrics import short_answers

SURVEY = "globalopinionqa/distributional_test_globalopinionqa_small.json"


@pytest.mark.parametrize(
    ("predictions", "references", "score"),
    [("ABCD", "ABDD", 0.75), ([0, 1], [1, 0], 0.0), (np.array([True, False]), [True, False], 1.0)],
)
def test_accuracy_is_the_share_that_is_equal(predictions, references, score):
    assert metrics.accuracy(predictions, references) == score


def test_a_question_counts_where_all_of_its_judgements_are_right():
    truth = [[True, False, False, False], [False, True], [False, False, False]]
    never = [[False] * len(statements) for statements in truth]
    assert metrics.all_right(never, truth) == 1 / 3  # of 9 judgements, 7 are right
    assert metrics.all_right(truth, truth) == 1.0
    assert metrics.all_right(np.array([[1, 0]]), np.array([[1, 0]])) == 1.0


def drawn(seed, sizes):
    """Distributions of several sizes, some of them with empty options."""
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.ones(size)) * (rng.random(size) > 0.2) + 1e-9 * (np.arange(size) == 0) for size in sizes]


def test_js_similarity_is_one_less_scipys_distance_in_base_2():
    sizes = np.random.default_rng(0).integers(2, 11, 200)
    left, right = drawn(1, sizes), drawn(2, sizes)
    wanted = [1 - jensenshannon(p, q, base=2) for p, q in zip(left, right, strict=True)]
    for p, q, one in zip(left, right, wanted, strict=True):
        assert metrics.js_similarity([p], [q]) == pytest.approx(one, abs=1e-12)
    assert metrics.js_similarity(left, right) == pytest.approx(np.mean(wanted), abs=1e-12)


def test_js_similarity_is_1_for_equal_and_0_for_disjoint_answers():
    assert metrics.js_similarity([[0.1, 0.2, 0.7]], [[0.1, 0.2, 0.7]]) == 1.0
    assert metrics.js_similarity([[1, 0]], [[0, 1]]) == 0.0
    assert metrics.js_similarity([[2, 6]], [[0.25, 0.75]]) == 1.0  # counts are shares once divided by their sum


def test_scores_of_knowing_nothing_on_globalopinionqa(published):
    people = [np.array(row["gold_distribution"]) for row in json.loads(published(SURVEY).read_text())]
    uniform = [np.full(len(shares), 1 / len(shares)) for shares in people]
    first = [np.eye(len(shares))[0] for shares in people]
    modes = [np.eye(len(shares))[shares.argmax()] for shares in people]
    assert len(people) == 5752
    assert metrics.js_similarity(uniform, people) == pytest.approx(0.6510, abs=5e-5)
    assert metrics.js_similarity(modes, people) == pytest.approx(0.5120, abs=5e-5)
    assert metrics.modal_accuracy(first, people) == pytest.approx(0.4287, abs=5e-5)
    assert metrics.modal_accuracy(modes, people) == 1.0
    guess = np.mean([(shares == shares.max()).sum() / len(shares) for shares in people])
    assert metrics.modal_accuracy(uniform, people) == pytest.approx(guess)


@pytest.mark.parametrize(
    ("predicted", "people", "score"),
    [
        ([0.2, 0.5, 0.3], [0.1, 0.6, 0.3], 1.0),
        ([0.2, 0.5, 0.3], [0.6, 0.1, 0.3], 0.0),
        ([0.2, 0.5, 0.3], [0.4, 0.4, 0.2], 1.0),  # people's tie: either is right
        ([0.4, 0.4, 0.2], [0.6, 0.1, 0.3], 0.5),  # the model's tie: one of the two, drawn
        ([0.25] * 4, [0.6, 0.1, 0.2, 0.1], 0.25),
        ([0.25] * 4, [0.4, 0.1, 0.4, 0.1], 0.5),
    ],
)
def test_modal_accuracy(predicted, people, score):
    assert metrics.modal_accuracy([predicted], [people]) == score


def test_culturespa_similarity_is_of_all_questions_together():
    # |(1, 10, 3) - (1, 4, 4)| = sqrt(0 + 36 + 1); the farthest is |(4, 10, 4) - 1| = sqrt(9 + 81 + 9)
    assert metrics.culturespa_similarity([1, 10, 3], [1, 4, 4], [4, 10, 4]) == pytest.approx(1 - math.sqrt(37 / 99))
    assert metrics.culturespa_similarity([1, 4], [4, 1], [4, 4]) == 0.0
    assert metrics.culturespa_similarity([2, 2], [2, 2], [4, 4]) == 1.0


ANSWERS = [{"text": "fried chicken", "weight": 1}, {"text": "peanuts", "weight": 4, "also": ["groundnuts", "花生米"]}]


@pytest.mark.parametrize(
    ("written", "hit", "weighted"),
    [
        ("Peanuts.", 1, 1),
        ("Answer: roasted peanuts", 1, 1),
        ("one peanut", 1, 1),  # the same stem
        ("groundnuts", 1, 1),
        ("吃花生米", 1, 1),  # a part of the text
        ("chicken that was fried", 1, 0.25),  # every word, in any order
        ("fried-chicken", 1, 0.25),
        ("fried chicken and peanuts", 1, 1),  # the more frequent answer is tried first
        ("chicken", 0, 0),  # a word is missing
        ("pea nut", 0, 0),
        ("", 0, 0),
        ("...", 0, 0),
    ],
)
def test_a_short_answer_is_right_where_it_holds_what_people_said(written, hit, weighted):
    assert metrics.sem_b([written], [ANSWERS]) == hit
    assert metrics.sem_w([written], [ANSWERS]) == weighted


@pytest.mark.parametrize(
    ("language", "answer", "written", "hit"),
    [
        ("es", "comer tamales", "comemos tamales", 1),
        ("es-MX", "comer tamales", "comemos tamales", 1),
        ("en", "comer tamales", "comemos tamales", 0),
        ("id", "makanan", "dimakan", 1),
        ("ko", "김치 찌개", "찌개 그리고 김치", 1),  # no stemmer: words as they are
        ("ko", "김치 찌개", "찌개와 김치", 0),
        ("en", "rice", "the price", 1),  # inside of a word, as upstream
        ("en", "children", "a child", 0),  # an irregular form, which a lemmatiser would find
        ("fr", "peanuts", "a peanut", 1),  # an answer in English counts too
    ],
)
def test_words_are_compared_as_stems_of_their_language(language, answer, written, hit):
    assert metrics.sem_b([written], [[{"text": answer, "weight": 2}]], language) == hit


def test_a_missing_stemmer_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "snowballstemmer", None)
    monkeypatch.setattr(short_answers, "_stem", short_answers._stem.__wrapped__)
    monkeypatch.setattr(short_answers, "_words", short_answers._words.__wrapped__)
    with pytest.raises(InputError, match=r"scoring short answers needs snowballstemmer.*caredio\[eval\]"):
        metrics.sem_b(["bread"], [ANSWERS])


def test_sem_is_a_mean_over_questions():
    assert metrics.sem_b(["peanut", "fried chicken", "bread"], [ANSWERS] * 3) == pytest.approx(2 / 3)
    assert metrics.sem_w(["peanut", "fried chicken", "bread"], [ANSWERS] * 3) == pytest.approx(1.25 / 3)


def test_bits_per_byte_weighs_answers_by_annotators():
    bits = math.log(2)  # nats
    assert metrics.bits_per_byte([-8 * bits], ["a"]) == pytest.approx(8)
    assert metrics.bits_per_byte([-8 * bits], ["é"]) == pytest.approx(4)  # two bytes in UTF-8
    # 3 x 6 bits and 1 x 10 bits over 3 x 2 bytes and 1 x 4 bytes
    assert metrics.bits_per_byte([-6 * bits, -10 * bits], ["ab", "abcd"], [3, 1]) == pytest.approx(28 / 10)


def test_bits_per_byte_is_lm_evals_where_weights_are_equal():
    from lm_eval.api.metrics import bits_per_byte

    likelihoods, texts = [-3.5, -20.25, -0.5], ["tea", "夜ご飯", "naïve"]
    lengths = [3, 9, 6]
    wanted = bits_per_byte(list(zip(likelihoods, lengths, strict=True)))
    assert metrics.bits_per_byte(likelihoods, texts) == pytest.approx(wanted)


def test_margin_is_the_own_answer_less_the_mean_of_its_rivals():
    assert metrics.margin([-3.0], [[-5.0, -9.0]]) == 4.0
    assert metrics.margin([-3.0, -8.0], [[-5.0, -9.0], [-2.0]]) == -1.0  # each question once
    # -3 nats over 2 bytes, against -5 over 5 and -9 over 3
    assert metrics.margin_per_byte([-3.0], [[-5.0, -9.0]], ["é"], [["bread", "tea"]]) == pytest.approx(-1.5 + 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([1], [1, 2]), "found 1 predictions and 2 references"),
        (lambda: metrics.accuracy([], []), "there is no question"),
        (lambda: metrics.all_right([[True]], [[True, False]]), "question 0 has 1 judgements and 2 references"),
        (lambda: metrics.js_similarity([[0.5, 0.5]], [[1.0]]), "question 0 has 2 predicted shares and 1 of people"),
        (lambda: metrics.js_similarity([[0.5, -0.5]], [[1.0, 0]]), "question 0 must not be negative"),
        (lambda: metrics.js_similarity([[0, 0]], [[1.0, 0]]), "not all zero"),
        (lambda: metrics.js_similarity([0.5, 0.5], [0.5, 0.5]), "must be a flat list of finite numbers, found 0.5"),
        (lambda: metrics.modal_accuracy([["a", 1]], [[0.5, 0.5]]), "must be a flat list of finite numbers"),
        (lambda: metrics.modal_accuracy([[math.nan, 1]], [[0.5, 0.5]]), "must be a flat list of finite numbers"),
        (lambda: metrics.culturespa_similarity([1], [1], [1]), "two in some question"),
        (lambda: metrics.sem_b(["a"], [[]]), "question 0 has no answer of people"),
        (lambda: metrics.sem_w(["a"], [[{"text": "a", "weight": 0}]]), "weight above 0"),
        (lambda: metrics.bits_per_byte([-1.0], [""]), "an answer is empty"),
        (lambda: metrics.bits_per_byte([-1.0], ["a"], [0]), "weights must not be negative"),
        (lambda: metrics.margin([-1.0], [[]]), "question 0 has no rival"),
        (lambda: metrics.margin_per_byte([-1.0], [[-1.0]], ["a"], [["a", "b"]]), "found 1 references and 2 rivals"),
        (lambda: metrics.path("js_similarit"), "did you mean js_similarity"),
    ],
)
def test_wrong_shapes_are_said_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


SPELLED = [[{"text": "rice", "weight": 3}], [{"text": "bread", "weight": 2}, {"text": "tortillas", "weight": 1}]]
CALLS = {
    "accuracy": (["A", "B"], ["A", "C"], {}),
    "all_right": ([[True, False], [True]], [[True, False], [False]], {}),
    "bits_per_byte": ([-3.0, -4.0], ["ab", "cdé"], {"weights": [1, 3]}),
    "culturespa_similarity": ([1, 2], [2, 2], {"options": [4, 10]}),
    "js_similarity": ([[0.5, 0.5], [1.0, 0.0, 0.0]], [[0.2, 0.8], [0.1, 0.2, 0.7]], {}),
    "margin": ([-3.0, -4.0], [[-5.0], [-6.0, -7.0]], {}),
    "margin_per_byte": ([-3.0, -4.0], [[-5.0], [-6.0, -7.0]], {"texts": ["a", "b"], "rivals": [["cc"], ["d", "ee"]]}),
    "modal_accuracy": ([[0.5, 0.5], [1.0, 0.0, 0.0]], [[0.2, 0.8], [0.1, 0.2, 0.7]], {}),
    "sem_b": (["Rice", "una tortilla"], SPELLED, {"language": "es"}),
    "sem_w": (["Rice", "una tortilla"], SPELLED, {"language": "es"}),
}
LOADING = """
import json, sys, evaluate
for name, (path, predictions, references, others) in json.load(sys.stdin).items():
    print(json.dumps(evaluate.load(path).compute(predictions=predictions, references=references, **others)))
"""


def test_evaluate_loads_each_metric_without_a_network_and_gives_the_same(tmp_path):
    assert set(CALLS) == set(metrics.NAMES)
    closed = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | closed
    asked = json.dumps({name: (metrics.path(name), *call) for name, call in CALLS.items()})
    done = subprocess.run(
        [sys.executable, "-c", LOADING],
        input=asked,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = [{name: getattr(metrics, name)(one, two, **others)} for name, (one, two, others) in CALLS.items()]
    assert found == wanted
    assert found[0] == {"accuracy": 0.5}
