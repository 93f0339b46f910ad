"""match, embed, cluster, represent, distinct and rank after one another: what holds of every table."""

import functools
import hashlib
import json
import math
import random
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics.pairwise import cosine_similarity

from caredio import features
from caredio.selection import cluster, distinct, embed, match, rank, represent
from caredio.selection.settings import Settings

THETA = 0.75
BUDGET = 3
BLEND = Path(__file__).parents[1] / "data" / "blend"
WORDS = ("rice", "bread", "tea", "coffee", "family", "work", "shoes", "bow", "hand", "gift", "elder", "child", "school")


def encode(texts):
    """A toy encoder: counts of words, each in one of 48 places."""
    vectors = np.zeros((len(texts), 48))
    for row, text in enumerate(texts):
        for word in text.lower().split():
            vectors[row, zlib.crc32(word.strip("?.,").encode()) % 48] += 1
    return vectors


def synthetic(seed):
    """A table with duplicates, empty cells and questions that one culture answered alone; ties everywhere."""
    draw = random.Random(seed)
    rows = [
        {
            "question_id": f"q{question}",
            "question": f"Is it {WORDS[question]} or {WORDS[question // 2]}?",
            "culture": culture,
            "response": " ".join(draw.choices(WORDS[: 4 + seed], k=draw.randint(1, 3))),
        }
        for question in range(12)
        for culture in draw.sample(["japan", "china", "india", "egypt", "brazil", "kenya"], draw.randint(1, 6))
        for _ in range(draw.randint(1, 3))
    ]
    rows += draw.sample(rows, 5)
    rows += [{**row, draw.choice(list(row)): draw.choice(["", " ", None])} for row in draw.sample(rows, 4)]
    return Dataset.from_list(rows)


PAPER = {"representativeness": "size", "distinctiveness": "cosine"}


def selected(table, budget=BUDGET, seed=0, encode=encode, settings=None, theta=THETA):
    settings = settings or Settings(budget=budget, seed=seed, per_question=None, **PAPER)
    candidates = match.run(table, settings)
    vectors = embed.run(candidates, settings, encode)
    pool = cluster.run(candidates, vectors, settings, theta)
    pool = distinct.run(represent.run(pool, vectors, settings), vectors, settings)
    pool = rank.score(pool, vectors, settings)
    return candidates, pool, rank.run(pool)


SEEDS = range(8)


DEFAULT = Settings(budget=BUDGET)


@functools.cache
def of_seed(seed, settings=None):
    return selected(synthetic(seed), settings=settings)


@pytest.mark.parametrize("settings", [None, DEFAULT], ids=["paper", "default"])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_order_changes_no_rank(seed, settings):
    table = synthetic(seed)
    _, pool, ranked = of_seed(seed, settings)
    for shuffle in range(3):
        order = random.Random(shuffle).sample(range(len(table)), len(table))
        _, again_pool, again = selected(table.select(order), settings=settings)
        assert again.to_list() == ranked.to_list()
        assert by_id(again_pool) == by_id(pool)


@pytest.mark.parametrize("settings", [None, DEFAULT], ids=["paper", "default"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_row_is_ranked_or_says_why_not(seed, settings):
    table = synthetic(seed)
    candidates, pool, ranked = of_seed(seed, settings)
    assert sum(candidates["weight"]) == len(table)
    rejects = features.rejected(candidates)
    assert set(rejects["drop_reason"]) == {"empty"}
    assert len(rejects) + sum(pool["weight"]) == len(table)
    dropped = features.rejected(pool)
    assert set(dropped["drop_reason"]) <= {"redundant", "no_other_culture", "over_budget"}
    assert len(dropped) + len(ranked) == len(pool)
    ids = [*dropped["sample_id"], *ranked["sample_id"]]
    assert len(set(ids)) == len(ids)
    full = [row for row in table if all((row[name] or "").strip() for name in features.OWN)]
    assert set(ids) == {features.sample_id(row["culture"], row["question"], row["response"]) for row in full}


def test_all_reasons_occur_in_these_tables():
    reasons = {reason for seed in SEEDS for reason in of_seed(seed)[1]["drop_reason"]}
    assert reasons == {None, "redundant", "no_other_culture", "over_budget"}


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_what_another_reading_of_the_paper_gives(seed):
    _, pool, ranked = of_seed(seed)
    rows = pool.to_list()
    for row in rows:
        of_culture = {}  # the distance of each other culture's nearest answer
        for one in row["others"]:
            distance = 1 - cosine_similarity(*encode_pair(row["response"], one["response"])).item()
            of_culture[one["culture"]] = min(distance, of_culture.get(one["culture"], 2.0))
        d = list(of_culture.values())
        assert row["compared"] == len(d)
        assert row["distinctiveness"] == (pytest.approx(np.mean(d), abs=1e-5) if d else None)
        mates = [one for one in rows if (one["culture"], one["cluster"]) == (row["culture"], row["cluster"])]
        size = sum(one["weight"] for one in mates)
        assert row["cluster_size"] == size
        assert sum(one["is_center"] for one in mates) == 1
        if row["is_center"]:
            assert row["representativeness"] == size
            assert row["score"] == (pytest.approx(size * np.mean(d), abs=1e-4) if d else None)
    for culture in set(ranked["culture"]):
        of = [row for row in ranked if row["culture"] == culture]
        left = [row["score"] for row in rows if row["culture"] == culture and row["drop_reason"] == "over_budget"]
        assert [row["rank"] for row in of] == list(range(1, len(of) + 1))
        assert len(of) == BUDGET or not left
        assert [row["sample_id"] for row in of] == [
            row["sample_id"] for row in sorted(of, key=lambda row: (-row["score"], row["sample_id"]))
        ]
        assert not left or max(left) <= of[-1]["score"]


@pytest.mark.parametrize("seed", SEEDS)
def test_by_default_rows_are_ranked_by_support_and_hybrid(seed):
    _, pool, ranked = of_seed(seed, DEFAULT)
    rows = [row for row in pool if row["is_center"] and row["others"]]
    for culture in {row["culture"] for row in rows}:
        own = [row for row in rows if row["culture"] == culture]
        r, d = [support(row, pool) for row in own], [hybrid(row) for row in own]
        assert [row["representativeness"] for row in own] == pytest.approx(r, abs=1e-4)
        assert [row["distinctiveness"] for row in own] == pytest.approx(d, abs=1e-5)
        assert [row["score"] for row in own] == pytest.approx(standard(r) + standard(d), abs=1e-3)
        taken = [row for row in ranked if row["culture"] == culture]
        best = {}  # of each question
        for row in sorted(own, key=lambda row: (-row["score"], row["sample_id"])):
            best.setdefault(row["question_id"], row["sample_id"])
        assert [row["sample_id"] for row in taken][: len(best)] == list(best.values())[:BUDGET]


def near(one, other):
    return cosine_similarity(*encode_pair(one, other)).item()


def support(row, pool):
    """By a loop over what the culture answers to other questions: its rows, of which panels are a part here."""
    rest = [one for one in pool if one["culture"] == row["culture"] and one["question_id"] != row["question_id"]]
    kernel = [math.exp(10 * (near(row["response"], one["response"]) - 1)) for one in rest]
    density = math.log2(np.average(kernel, weights=[one["weight"] for one in rest])) if rest else 0.0
    return density + 6 * math.log2(row["weight"])


def hybrid(row):
    """By a loop over the other cultures' answers, whose words are short and without a plural."""
    said = {}
    for one in row["others"]:
        said.setdefault(one["culture"], []).append(one["response"])
    own = set(row["response"].split())
    nearest = [max(near(row["response"], text) for text in of) for of in said.values()]
    unsaid = [not any(own <= set(text.split()) or own >= set(text.split()) for text in of) for of in said.values()]
    return (1 - np.mean(nearest) + np.mean(unsaid)) / 2


def standard(values):
    spread = np.std(values)
    return (np.array(values) - np.mean(values)) / spread if spread > 1e-9 else np.zeros(len(values))


def encode_pair(one, other):
    vectors = encode([one, other])
    return vectors[:1], vectors[1:]


def by_id(pool):
    return {row["sample_id"]: row for row in pool}


def test_the_seed_changes_what_is_compared_and_nothing_else():
    settings = [Settings(budget=BUDGET, seed=seed, compared=2, per_question=None, **PAPER) for seed in (0, 1)]
    first, second = (by_id(selected(synthetic(2), settings=one)[1]) for one in settings)
    assert {name: row["cluster"] for name, row in first.items()} == {
        name: row["cluster"] for name, row in second.items()
    }
    assert any(row["distinctiveness"] != second[name]["distinctiveness"] for name, row in first.items())


def blend():
    """Every region's most shared answer to each question of the sample."""
    regions = {path.name.removesuffix("_data.json"): path for path in sorted(BLEND.glob("*_data.json"))}
    rows = []
    for region, path in regions.items():
        for question, entry in json.loads(path.read_text(encoding="utf-8")).items():
            if entry["annotations"]:
                answer = max(entry["annotations"], key=lambda one: one["count"])["en_answers"][0]
                rows.append((question, entry["en_question"], region.lower(), answer))
    return Dataset.from_list(
        [dict(zip(("question_id", "question", "culture", "response"), row, strict=True)) for row in rows]
    )


def test_the_blend_sample_asks_16_regions_the_same_24_questions():
    asked = [list(json.loads(path.read_text(encoding="utf-8"))) for path in BLEND.glob("*_data.json")]
    assert len(asked) == 16
    assert all(set(of) == set(asked[0]) and len(of) == 24 for of in asked)
    assert sum(path.stat().st_size for path in BLEND.iterdir()) < 700_000


def test_blend_is_ranked_in_every_region():
    turn = np.random.default_rng(0).normal(size=(48, 64))  # without ties, which scikit-learn breaks by row order

    def turned(texts):
        return encode(texts) @ turn

    table = blend()
    candidates, pool, ranked = selected(table, budget=10, encode=turned)
    assert len(features.rejected(candidates)) == 0
    answered = Counter(table["question_id"])  # a row a region: all other regions that answered are compared
    assert all(row["compared"] == answered[row["question_id"]] - 1 for row in pool)
    assert len(set(table["culture"])) == 16
    for region in sorted(set(table["culture"])):
        of = [row for row in pool if row["culture"] == region]
        labels = AgglomerativeClustering(
            n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - THETA
        ).fit_predict(turned([f"{row['question']}\n{row['response']}" for row in of]))
        sizes = Counter(labels)
        assert [sizes[label] for label in labels] == [row["cluster_size"] for row in of]
        assert ranked["culture"][:].count(region) == min(10, len(sizes))


def people(repeats=1):
    """Without equal rows; each is there `repeats` times."""
    draw = random.Random(5)
    rows = {
        (question, culture, f"{draw.choice('abcdefgh')}{draw.randrange(4)}"): None
        for question in range(25)
        for culture in ("china", "egypt", "india", "japan", "kenya", "mexico")
        for _ in range(draw.randint(1, 5))
    }
    return Dataset.from_list(
        [
            {"question_id": f"q{question}", "question": f"What is eaten on day {question}?"}
            | {"culture": culture, "response": response}
            for question, culture, response in rows
            for _ in range(repeats)
        ]
    )


def scattered(texts):
    """Vectors that a text's last letters draw, with noise of all of it."""
    drawn = [np.random.default_rng(list(text.split("\n")[0][-3:].encode())).normal(size=24) * 1.2 for text in texts]
    return np.array(drawn) + [np.random.default_rng(list(text.encode())).normal(size=24) for text in texts]


def digest(rows, columns):
    cells = [[round(row[name], 9) if isinstance(row[name], float) else row[name] for name in columns] for row in rows]
    return hashlib.sha256(repr(cells).encode()).hexdigest()[:16]


SCORES = ("sample_id", "cluster", "is_center", "representativeness", "distinctiveness", "compared", "score")


@pytest.mark.parametrize(
    ("measure", "weight", "of_pool", "of_ranks"),
    [
        ("size", None, "9950d772e181ecb1", "a27060afc55d35a0"),
        ("size", 1.0, "9950d772e181ecb1", "a27060afc55d35a0"),
        ("typicality", None, "9d58d94271c6eca0", "7871a7c9038981b1"),
        ("typicality", "1", "9d58d94271c6eca0", "7871a7c9038981b1"),
    ],
)
def test_rows_that_weigh_the_same_have_the_scores_they_had_before_there_were_weights(
    measure, weight, of_pool, of_ranks
):
    table = people()
    if weight is not None:
        table = table.add_column("weight", [weight] * len(table))
    chosen = {"representativeness": measure, "distinctiveness": "cosine"}
    settings = Settings(compared=4, budget=20, per_question=None, **chosen)
    _, pool, ranked = selected(table, settings=settings, encode=scattered, theta=0.6)
    assert digest(sorted(pool, key=lambda row: row["sample_id"]), (*SCORES, "drop_reason")) == of_pool
    assert digest(sorted(ranked, key=lambda row: row["sample_id"]), ["sample_id", "rank"]) == of_ranks


def test_a_weight_of_three_is_three_equal_rows():
    counted = people().add_column("weight", [3] * len(people()))
    for settings in (None, DEFAULT):
        found = [
            {row["sample_id"]: row for row in selected(table, encode=scattered, theta=0.6, settings=settings)[1]}
            for table in (counted, people(3))
        ]
        assert found[0] == found[1]
        assert {row["weight"] for row in found[0].values()} == {3.0}


def test_two_answers_to_one_question_are_ranked_and_two_questions_of_two_cultures():
    asked = [("q1", "china", "rice"), ("q1", "egypt", "bread"), ("q2", "china", "tea"), ("q2", "egypt", "tea")]
    for number in (2, 4):
        rows = [dict(zip(("question_id", "culture", "response"), row, strict=True)) for row in asked[:number]]
        table = Dataset.from_list([{**row, "question": f"What is in {row['question_id']}?"} for row in rows])
        _, _, ranked = selected(table, settings=DEFAULT)
        assert len(ranked) == number
        if number == 4:  # two answers are as near to each other, so that distinctiveness decides
            assert [row["response"] for row in ranked] == ["rice", "tea", "bread", "tea"]
