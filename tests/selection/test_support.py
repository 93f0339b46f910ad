"""`support` and `prevalence` are worked by hand, on vectors whose cosines are 1, 0.6 and 0."""

import math
import random

import numpy as np
import pytest
from datasets import Dataset

from caredio import features
from caredio.errors import InputError
from caredio.selection import distinct, match, rank, represent, support
from caredio.selection.settings import Settings

UNIT = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])


def of(*spans, own=(1.0,), weights=(1.0, 1.0, 1.0), responses=UNIT[:1]):
    return support.support(responses, np.array(own), UNIT, np.array(weights), np.array(spans))


def test_support_is_the_density_at_other_questions_by_weight():
    wanted = (2 * math.exp(-4) + 3 * math.exp(-10)) / 5  # cosines 0.6 and 0, people 2 and 3
    assert of((0, 1), weights=(1.0, 2.0, 3.0))[0] == pytest.approx(math.log2(wanted))


def test_a_mate_at_the_same_question_does_not_count():
    assert of((0, 2))[0] == pytest.approx(-10 / math.log(2))  # the row of cosine 0 alone


def test_each_doubling_of_the_people_adds_six_bits():
    assert of((0, 1), own=(4.0,))[0] - of((0, 1))[0] == pytest.approx(12)


@pytest.mark.parametrize(("own", "weights"), [(0.0, (1.0, 1.0, 1.0)), (1.0, (1.0, 0.0, 0.0))])
def test_what_nobody_gave_is_unknown(own, weights):
    assert math.isnan(of((0, 1), own=(own,), weights=weights)[0])


def test_of_a_single_question_people_alone_count():
    found = of((0, 3), (0, 3), own=(4.0, 0.5), responses=UNIT[:2], weights=(4.0, 0.5, 0.1))
    assert found.tolist() == [12.0, -6.0]


@pytest.mark.parametrize("seed", range(20))
def test_two_answers_are_as_near_to_each_other(seed):
    """Else what float32 rounds would be all that tells their r apart, and a standard deviation of it."""
    vectors = np.random.default_rng(seed).normal(size=(2, 384))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = support.support(unit, np.ones(2), unit, np.ones(2), np.array([[0, 1], [1, 2]]))
    assert rank.z(found).tolist() == [0.0, 0.0]


def test_blocks_change_nothing(monkeypatch):
    among = np.tile(UNIT, (5, 1))
    spans = np.array([(row, row + 1) for row in range(15)])
    found = support.support(among, np.ones(15), among, np.ones(15), spans)
    monkeypatch.setattr(support, "_BLOCK", 4)
    assert support.support(among, np.ones(15), among, np.ones(15), spans).tolist() == found.tolist()


def test_shared_is_the_mean_share_of_other_cultures_with_a_floor():
    same, far = (UNIT[:1], np.array([3.0])), (UNIT[[0, 2]], np.array([1.0, 3.0]))
    share = (1 + (1 + 3 * math.exp(-20)) / 4) / 2
    assert support.shared(UNIT[0], [same, far]) == pytest.approx(math.log2(0.01 + share))
    assert support.shared(UNIT[0], []) == pytest.approx(math.log2(0.01))


TABLE = [
    ("q1", "china", "tea", 3),
    ("q1", "china", "milk", 1),
    ("q2", "china", "tea", 2),
    ("q3", "china", "sun", 1),
    ("q1", "mexico", "tea", 1),
    ("q1", "mexico", "milk", 3),
    ("q2", "mexico", "sun", 1),
    ("q3", "mexico", "sun", 1),
]
WORDS = {"tea": UNIT[0], "milk": UNIT[1], "sun": UNIT[2]}


def scored(measure):
    names = ("question_id", "culture", "response", "weight")
    rows = [dict(zip(names, row, strict=True)) | {"question": f"{row[0]}?"} for row in TABLE]
    candidates = features.kept(match.run(Dataset.from_list(rows), Settings()))
    ids = sorted(zip(candidates["sample_id"], candidates["response"], strict=True))
    vectors = Dataset.from_list(
        [{"sample_id": name, "sample_embedding": WORDS[text], "response_embedding": WORDS[text]} for name, text in ids],
        features=features.vectors(2),
    )
    alone = {"cluster": range(8), "cluster_size": [1.0] * 8, "is_center": [True] * 8}
    columns = features.columns("cluster cluster_size is_center")
    clustered = features.beside(candidates, Dataset.from_dict(alone, features=columns))
    found = represent.run(clustered, vectors, Settings(representativeness=measure))
    cells = (found[name] for name in ("question_id", "culture", "response", "representativeness"))
    return {tuple(key): value for *key, value in zip(*cells, strict=True)}


def test_of_a_table_each_row_is_read_among_its_culture_s_other_questions():
    r = scored("support")
    density = (2 * 1 + 1 * math.exp(-10)) / 3  # q2's two of tea, q3's one of sun
    assert r["q1", "china", "tea"] == pytest.approx(math.log2(density) + 6 * math.log2(3), abs=1e-5)
    assert scored("prevalence")["q1", "china", "tea"] == pytest.approx(
        r["q1", "china", "tea"] + math.log2(0.01 + (1 + 3 * math.exp(-8)) / 4), abs=1e-5
    )


def test_hybrid_is_half_of_the_distance_and_half_of_the_wording():
    others = [["Fried rice.", "noodles"], ["bread"], ["RICES"]]
    assert distinct.hybrid(0.4, "rice", others) == pytest.approx((0.4 + 1 / 3) / 2)
    assert distinct.words("Rices, the bus") == {"rice", "the", "bus"}
    assert distinct.hybrid(0.4, "?", [["?"]]) == pytest.approx(0.7)  # no word is no match


@pytest.mark.parametrize("measure", ["support", "prevalence", "typicality"])
def test_a_product_with_bits_is_refused(measure):
    with pytest.raises(InputError, match="need the score sum"):
        Settings(representativeness=measure, distinctiveness="hybrid", score="product")


def test_of_long_answers_hybrid_orders_as_cosine():
    """No answer of many words holds all of another's, so that the half of wording is the same for all."""
    draw = random.Random(0)
    long = [" ".join(f"w{draw.randrange(300)}" for _ in range(80)) for _ in range(6)]
    assert [distinct.hybrid(0.1 * n, text, [long[:n] + long[n + 1 :]]) for n, text in enumerate(long)] == [
        pytest.approx((0.1 * n + 1) / 2) for n in range(6)
    ]


def test_hybrid_is_a_share():
    assert Settings(representativeness="size").combine == "product"
    assert Settings().combine == "sum"
