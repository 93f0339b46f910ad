"""Do the scores mean what they say? Tested on what people in 16 regions answered (BLEnD, Myung et al., 2024).

    python tests/benchmarks/human_validity.py BLEnD/data/annotations --out runs/validity
    python tests/benchmarks/human_validity.py BLEnD/data/annotations --out runs/validity --half test
    python tests/benchmarks/human_validity.py BLEnD/data/annotations --out runs/validity --information 6

a  Representativeness: Spearman correlation of a score with how many annotators gave the answer, within a region's
   answers to a question; mean over those with at least three answers and counts that differ. Counts are no input.
b  Distinctiveness: area under the ROC curve for telling answers that only their own region gives from shared ones.
   Shared or not is looked up in one half of the regions, by normalised text; the score compares with the other half.
c  Selection: of the 10 % that a ranking takes, the mean share of annotators who gave the answer, and the share of
   answers that no other region gave.

Estimators were chosen on the tune half of the questions (even sha256 of the id). Intervals are 95 %, by bootstrap over
question ids, drawn jointly for all regions; `against` is the paired difference to the line named.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features
from scipy.stats import rankdata, spearmanr

from caredio import features
from caredio.llm.model import connect
from caredio.llm.spec import Spec
from caredio.runs import Run
from caredio.selection import cluster, distinct, embed, match, rank, represent
from caredio.selection.settings import Settings, threshold

DRAWS = 2000
_KEY = ("culture", "question_id", "response")


def answers(folder: Path, half: str) -> tuple[Dataset, dict[tuple[str, str, str], float]]:
    """The first English form of every answer, as a table of one's own, and its share of what the region answered."""
    rows, share = [], {}
    for path in sorted(folder.glob("*_data.json")):
        region = path.stem.removesuffix("_data").lower()
        for question_id, item in json.loads(path.read_text(encoding="utf-8")).items():
            if half != "all" and (hashlib.sha256(question_id.encode()).digest()[-1] % 2 == 0) != (half == "tune"):
                continue
            given = sum(answer["count"] for answer in item["annotations"])
            for answer in item["annotations"]:
                for response in (answer["en_answers"] or answer["answers"])[:1]:
                    rows.append(
                        {
                            "question_id": question_id,
                            "question": item["en_question"],
                            "response": response.strip(),
                            "culture": region,
                        }
                    )
                    share.setdefault((region, question_id, response.strip()), answer["count"] / given)
    return Dataset.from_list(rows), share


def normalised(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


class People:
    """The candidates with what people did: shares, and which regions gave which answer."""

    def __init__(self, candidates: Dataset, share: dict[tuple[str, str, str], float]) -> None:
        self.rows = candidates.to_list()
        self.share = np.array([share[tuple(row[name] for name in _KEY)] for row in self.rows])
        self.text = [normalised(row["response"]) for row in self.rows]
        self.said: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # question -> region -> texts
        for row, text in zip(self.rows, self.text, strict=True):
            self.said[row["question_id"]][row["culture"]].add(text)
        self.questions = np.array([row["question_id"] for row in self.rows])

    def given_in(self, row: int, regions: Sequence[str]) -> int:
        """How many of the regions gave the row's answer to its question."""
        said = self.said[self.rows[row]["question_id"]]
        return sum(self.text[row] in said.get(region, ()) for region in regions)


def interval(per_question: dict[str, Any], statistic: Callable[[list[Any]], float]) -> tuple[float, float, float]:
    """(value, low, high) of a statistic over questions, by bootstrap."""
    names = sorted(per_question)
    draws = np.random.default_rng(0)
    drawn = [
        statistic([per_question[names[place]] for place in draws.integers(len(names), size=len(names))])
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return statistic([per_question[name] for name in names]), float(low), float(high)


def told(label: str, own: tuple[float, float, float], against: tuple[float, float, float] | None) -> str:
    line = f"  {label:<34}{own[0]:>8.3f} [{own[1]:6.3f}, {own[2]:6.3f}]"
    return line + (f"   {against[0]:+.3f} [{against[1]:+.3f}, {against[2]:+.3f}]" if against else "")


def mean_of(cells: list[tuple[float, int]]) -> float:
    """The mean over all values, out of (their sum, their number) a question."""
    return sum(total for total, _ in cells) / max(1, sum(number for _, number in cells))


def difference(cells: list[tuple[tuple[float, int], tuple[float, int]]]) -> float:
    return mean_of([one for one, _ in cells]) - mean_of([other for _, other in cells])


def correlations(people: People, score: np.ndarray) -> dict[str, tuple[float, int]]:
    """question -> (sum of Spearman correlations, number of eligible regions)."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(people.rows):
        if not np.isnan(score[place]):
            groups[row["question_id"], row["culture"]].append(place)
    found: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for (question, _), places in groups.items():
        counts = people.share[places]
        if len(places) < 3 or np.ptp(counts) < 1e-12:
            continue
        values = score[places].round(9)
        rho = spearmanr(values, counts)[0] if np.ptp(values) else 0.0  # a constant score tells nothing
        total, number = found[question]
        found[question] = total + float(rho), number + 1
    return dict(found)


def part_a(people: People, scores: dict[str, np.ndarray]) -> None:
    print("a. Representativeness: Spearman with annotator counts, and against random")
    found = {name: correlations(people, score) for name, score in scores.items()}
    for name, cells in found.items():
        base = found["random"]
        paired = {question: (cells[question], base[question]) for question in cells}
        number = sum(count for _, count in cells.values())
        against = None if name == "random" else interval(paired, difference)
        print(told(f"{name} (n={number})", interval(cells, mean_of), against))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half."""
    ones, ranks = labels.sum(), rankdata(scores)
    return float((ranks[labels].sum() - ones * (ones + 1) / 2) / (ones * (len(labels) - ones)))


def pooled(cells: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return auc(np.concatenate([labels for labels, _ in cells]), np.concatenate([scores for _, scores in cells]))


def halves(people: People) -> tuple[list[str], list[str]]:
    """The regions in two halves, drawn by seed."""
    regions = sorted({row["culture"] for row in people.rows})
    random.Random(0).shuffle(regions)
    return regions[: len(regions) // 2], regions[len(regions) // 2 :]


def part_b(people: People, vectors: Dataset, informed: Callable[[Dataset], np.ndarray] | None) -> None:
    print("b. Distinctiveness: AUC of region-only answers, and against exact match")
    first, second = halves(people)
    scores: dict[str, list[float]] = defaultdict(list)
    labels: list[bool] = []
    questions: list[str] = []
    for own, other in ((first, second), (second, first)):
        # what a region is compared with: the rest of its half, told apart from the half that says what is shared
        seen = [place for place, row in enumerate(people.rows) if row["culture"] in own]
        table = Dataset.from_list([{name: people.rows[place][name] for name in features.OWN} for place in seen])
        candidates = features.kept(match.run(table, Settings()))
        scored = distinct.run(candidates, vectors, Settings())
        cosine, met = scored["distinctiveness"][:], scored["others"][:]
        information = informed(candidates) if informed else np.full(len(candidates), np.nan)
        place_of = {row["sample_id"]: place for place, row in enumerate(people.rows)}
        for row, d, others, bits in zip(candidates, cosine, met, information, strict=True):
            place = place_of[row["sample_id"]]
            if d is None or (informed and np.isnan(bits)):
                continue
            labels.append(people.given_in(place, other) == 0)
            questions.append(row["question_id"])
            compared = list(dict.fromkeys(answer["culture"] for answer in others))
            scores["answer length"].append(len(people.text[place]))
            scores["exact match, same regions"].append(-people.given_in(place, compared))
            scores["cosine, one answer a region"].append(_one_each(row, others, vectors))
            scores["cosine"].append(d)
            if informed:
                scores["information"].append(bits)
    shared = np.array(labels)
    print(f"  {len(shared)} answers, {shared.mean():.1%} region-only")
    by_question: dict[str, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        by_question[question].append(place)
    base = np.array(scores["exact match, same regions"])
    for name, values in scores.items():
        score = np.array(values)
        cells = {question: (shared[places], score[places]) for question, places in by_question.items()}
        paired = {q: (cells[q], (shared[places], base[places])) for q, places in by_question.items()}
        gain = interval(paired, lambda both: pooled([one for one, _ in both]) - pooled([other for _, other in both]))
        print(told(name, interval(cells, pooled), None if name.startswith("exact") else gain))


@functools.cache
def _units(vectors: Dataset) -> tuple[dict[str, int], np.ndarray]:
    names = vectors["sample_id"][:]
    return {name: place for place, name in enumerate(names)}, embed.matrix(vectors, "response_embedding", names)


def _one_each(row: dict[str, Any], others: list[dict[str, Any]], vectors: Dataset) -> float:
    """Eq. 1 with a single answer of each compared region."""
    place, unit = _units(vectors)
    first = {other["culture"]: other["sample_id"] for other in reversed(others)}
    return distinct.cosine(unit[place[row["sample_id"]]], [unit[place[name]] for name in first.values()])


def part_c(people: People, candidates: Dataset, vectors: Dataset) -> None:
    print("c. The 10 % selected: mean share of annotators, share of region-only answers; each against random")
    regions = sorted({row["culture"] for row in people.rows})
    alone = np.array([people.given_in(place, regions) == 1 for place in range(len(people.rows))])
    budget = round(len(people.rows) / len(regions) / 10)
    place_of = {row["sample_id"]: place for place, row in enumerate(people.rows)}
    chosen: dict[str, list[int]] = {}
    rankings = {name: Settings(budget=budget, ranking=name) for name in rank.BASELINES}
    rankings["size x cosine"] = Settings(budget=budget)
    for weight in (0.5, 1.0):
        rankings[f"typicality + {weight:g} cosine"] = Settings(
            budget=budget, weight=weight, representativeness="typicality"
        )
    clustered = cluster.run(candidates, vectors, Settings(), threshold(Settings()))
    for name, settings in rankings.items():
        pool = represent.run(clustered, vectors, settings)
        pool = distinct.run(pool, vectors, settings)
        pool = rank.score(pool, vectors, settings)
        chosen[name] = [place_of[name] for name in features.kept(pool)["sample_id"]]
    print(f"  budget {budget} a region")
    for what, values in (("annotator share", people.share), ("region-only share", alone.astype(float))):
        print(f" {what}")
        cells = {name: _by_question(people, values, places) for name, places in chosen.items()}
        for name in chosen:
            paired = {
                q: (cells[name].get(q, (0.0, 0)), cells["random"].get(q, (0.0, 0))) for q in set(people.questions)
            }
            own = {question: one for question, (one, _) in paired.items()}
            print(told(name, interval(own, mean_of), None if name == "random" else interval(paired, difference)))


def _by_question(people: People, values: np.ndarray, places: list[int]) -> dict[str, tuple[float, int]]:
    cells: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for place in places:
        total, number = cells[people.questions[place]]
        cells[people.questions[place]] = total + float(values[place]), number + 1
    return dict(cells)


def every_row(clustered: Dataset) -> Dataset:
    """The candidates as if each were its cluster's centre, so that all of them are scored."""
    everywhere = {"is_center": [True] * len(clustered)}
    return features.beside(
        clustered, Dataset.from_dict(everywhere, features=Features({"is_center": features.SCORED["is_center"]}))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path, help="BLEnD's folder data/annotations")
    parser.add_argument("--out", type=Path, required=True, help="run folder that keeps the embeddings")
    parser.add_argument("--half", choices=("tune", "test"), default="tune")
    parser.add_argument("--information", type=int, default=0, metavar="N", help="also by a model, on N questions alone")
    parser.add_argument("--model", default=Spec().model, help="that model; by default the embedded one")
    given = parser.parse_args()
    table, share = answers(given.annotations, given.half)
    with Run(given.out / given.half) as run:
        candidates = run.stage("candidates", lambda: match.run(table, Settings()), columns=features.CANDIDATES)
        vectors = embed.STAGE.run(run, lambda: embed.run(candidates, Settings()), [Settings()])
    model = None
    if given.information:
        model = connect(Spec(model=given.model))
        some = sorted(set(candidates["question_id"]), key=lambda name: hashlib.sha256(name.encode()).digest())
        kept = set(some[: given.information])
        candidates = candidates.filter(lambda row: row["question_id"] in kept)
    people = People(candidates, share)
    print(f"{given.half} half: {len(people.rows)} answers to {len(set(people.questions))} questions")
    clustered = every_row(cluster.run(candidates, vectors, Settings(), threshold(Settings())))

    def measured(measure: str) -> np.ndarray:
        settings = Settings(representativeness=measure, references=4)
        found = represent.run(clustered, vectors, settings, model)["representativeness"][:]
        return np.array(found, dtype=np.float64)

    chance = np.array([random.Random(row["sample_id"]).random() for row in people.rows])
    scores = {"random": chance, "size": measured("size"), "typicality": measured("typicality")}
    informed = None
    if model is not None:
        scores["information"] = measured("information")

        def informed(candidates: Dataset) -> np.ndarray:
            settings = Settings(distinctiveness="information")
            return np.array(distinct.run(candidates, vectors, settings, model)["distinctiveness"][:], dtype=np.float64)

    part_a(people, scores)
    part_b(people, vectors, informed)
    if model is None:
        part_c(people, candidates, vectors)


if __name__ == "__main__":
    main()
