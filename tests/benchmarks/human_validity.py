"""Do the scores mean what they say? Tested on what people in 16 regions answered (BLEnD, Myung et al., 2024).

    python tests/benchmarks/human_validity.py BLEnD/data/annotations --out runs/validity
    python tests/benchmarks/human_validity.py BLEnD/data/annotations --out runs/validity --half confirm

Estimators were chosen on the tune half: six regions, and the questions whose `half_of` is tune. The confirm half is the
other ten regions on the other questions; a half never reads the other's answers.

a  Representativeness: Spearman correlation of a score with how many annotators gave the answer, within a region's
   answers to a question; mean over those with at least three answers and counts that differ. Once with text alone,
   where the score reads no count, and once with half of the annotators as the table's `weight` and the other half's
   counts as the label.
b  Distinctiveness: area under the ROC curve for telling answers that no other region gives. The regions fall in two
   halves: a score compares with the rest of its region's half, and the label says whether a region of the other half
   gave the answer, by stems and containment among all spellings. Pooled, and within a region's answers to a question.
c  Selection: what stands in the best 10 % of a table's rows, by measures that no score saw: `excess`, the share of the
   other half of the annotators that gave a row less the mean of its region and question; `here - elsewhere`, that
   share less the mean share of the regions of the other half; `region-only`, as in b. Against one random row of each
   of as many random questions.

Intervals are 95 %, by bootstrap over questions and regions jointly; the second number is the paired difference to the
line named. The annotators are split four times, the regions twice (in c four times), all taken together; what is
random is drawn 40 times.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from validity_people import Elsewhere, annotators, halves, read, stems, table
from validity_statistics import Clusters, concordant, gain, line, spearman
from wordfreq import zipf_frequency

from caredio import features
from caredio.llm.model import connect
from caredio.llm.spec import Spec
from caredio.runs import Run
from caredio.selection import cluster, distinct, embed, ifd, match, rank, rds, represent
from caredio.selection.embedders import MINILM
from caredio.selection.settings import PAPER, Settings, threshold

HALVES, SPLITS, SEEDS, SHARE = 2, 4, 40, 0.1
TARGETS = 0.25  # of a region's questions, how many are the target set of rds
PROPOSED, DEFAULT = "support + hybrid, one a question", "support + hybrid, of centres"
CENTERS = {  # arms that rank the centres of clusters alone
    "size x cosine (the paper's)": Settings(**PAPER),
    "typicality + 0.5 cosine, of centres": Settings(
        representativeness="typicality", distinctiveness="cosine", weight=0.5
    ),
    DEFAULT: Settings(),
}
BASELINES = ("ifd, one a question", "rds, one a question")
REPRESENTATIVE = ("typicality", "support", "prevalence")
Rows = list[dict[str, Any]]


class Pool:
    """Candidates of some rows with their vectors, in the order of the rows; each scored as if it were a centre."""

    def __init__(self, rows: Rows, vectors: Dataset) -> None:
        self.candidates = features.kept(match.run(table(rows), Settings(), warn=False))
        slots = {(row["culture"], row["question_id"], row["response"]): row for row in rows}
        keys = zip(*(self.candidates[name] for name in ("culture", "question_id", "response")), strict=True)
        self.rows, self.vectors = [slots[key] for key in keys], vectors
        self.cultures = np.array([row["culture"] for row in self.rows])
        self.questions = np.array([row["question_id"] for row in self.rows])
        self._every = self._scorable()

    def _scorable(self) -> Dataset:
        columns = features.columns("cluster cluster_size is_center")
        number = len(self.candidates)
        alone = {"cluster": range(number), "cluster_size": [1.0] * number, "is_center": [True] * number}
        return features.beside(self.candidates, Dataset.from_dict(alone, features=columns))

    def r(self, measure: str, **options: Any) -> np.ndarray:
        settings = Settings(representativeness=measure, **options)
        found = represent.run(self._every, self.vectors, settings, *self._asked(measure))
        return np.array(found["representativeness"][:], float)

    def d(self, measure: str, compared: int | None = None) -> np.ndarray:
        settings = Settings(distinctiveness=measure, compared=compared)
        found = distinct.run(self._every, self.vectors, settings, *self._asked(measure))
        return np.array(found["distinctiveness"][:], float)

    def _asked(self, measure: str) -> tuple[Any, ...]:
        return (connect(Spec()),) if measure == "information" else ()

    def others_giving(self) -> np.ndarray:
        """How many other regions of the table give the row's answer, letter by letter but for case."""
        said = defaultdict(set)
        for row in self.rows:
            said[row["question_id"], row["response"].lower()].add(row["culture"])
        return np.array([len(said[row["question_id"], row["response"].lower()]) - 1.0 for row in self.rows])

    def others_holding(self) -> np.ndarray:
        """How many other regions of the table give it by stems and containment of the spelling that stands there."""
        of_question = defaultdict(list)
        for row in self.rows:
            of_question[row["question_id"]].append(row)
        return np.array([len(_holding(row, of_question[row["question_id"]])) for row in self.rows], float)

    def cells(self) -> Iterable[tuple[tuple[str, str], np.ndarray]]:
        """(question, region) and the places of its rows."""
        found = defaultdict(list)
        for place, row in enumerate(self.rows):
            found[row["question_id"], row["culture"]].append(place)
        return ((cell, np.array(places)) for cell, places in found.items())


def _holding(row: dict[str, Any], answers: Rows) -> set[str]:
    own = stems(row["response"])
    return {
        one["culture"]
        for one in answers
        if one["culture"] != row["culture"] and (own <= stems(one["response"]) or stems(one["response"]) <= own)
    }


def frequency(rows: Rows) -> np.ndarray:
    return np.array([zipf_frequency(row["response"], "en") for row in rows])


def length(rows: Rows) -> np.ndarray:
    return np.array([float(len(row["response"])) for row in rows])


def part_a(rows: Rows, vectors: Dataset, asked: bool) -> None:
    for what in ("text alone", "half of the annotators as weight"):
        print(f"a. Representativeness, {what}: Spearman, and against the number of other regions giving it")
        weighted = what != "text alone"
        found: dict[str, list[float]] = defaultdict(list)
        of_cells: list[tuple[str, str]] = []
        for seed in range(SPLITS if weighted else 1):
            plain = [row | {"weight": 1.0, "label": float(row["count"])} for row in rows]
            pool = Pool(annotators(rows, seed) if weighted else plain, vectors)
            scores = {
                "word frequency": frequency(pool.rows),
                "other regions giving it": pool.others_giving(),
                "other regions giving it, by stems": pool.others_holding(),
                **({"own half's count": np.array([row["weight"] for row in pool.rows])} if weighted else {}),
                **{measure: pool.r(measure) for measure in REPRESENTATIVE},
                **({"information": pool.r("information", references=4)} if asked else {}),
            }
            labels = np.array([row["label"] for row in pool.rows])
            for cell, places in pool.cells():
                if len(places) < 3 or np.ptp(labels[places]) < 1e-12:
                    continue
                of_cells.append(cell)
                for name, score in scores.items():
                    known = np.nan_to_num(score[places], nan=np.nanmin(score))
                    found[name].append(spearman(known, labels[places]))
        clusters = Clusters(*zip(*of_cells, strict=True))
        means = {name: clusters.means(np.array(values), np.ones(len(values))) for name, values in found.items()}
        print(f"  {len(of_cells)} regions' answers to a question")
        base = means["other regions giving it"]
        for name, values in means.items():
            print(line(name, values, None if name == "other regions giving it" else base))
        for name in REPRESENTATIVE[1:]:
            others = [other for other in means if other not in ("other regions giving it", *REPRESENTATIVE[1:])]
            print(
                "".join([f"  {name}, against", *(f"\n{gain(other, means[name] - means[other])}" for other in others)])
            )


def part_b(rows: Rows, vectors: Dataset, asked: bool) -> None:
    print("b. Distinctiveness: AUC of answers that no region of the other half gives, against exact match by length")
    elsewhere, regions = Elsewhere(rows), sorted({row["culture"] for row in rows})
    scores: dict[str, list[np.ndarray]] = defaultdict(list)
    labels, questions, cultures, cells = [], [], [], []
    for seed in range(HALVES):
        first, second = halves(regions, seed)
        for own, unseen in ((first, second), (second, first)):
            pool = Pool([row | {"weight": 1.0} for row in rows if row["culture"] in own], vectors)
            found = {
                "answer length": length(pool.rows),
                "word frequency": -frequency(pool.rows),
                "exact match": -pool.others_giving(),
                "exact match, ties by length": -pool.others_giving() + 1e-4 * length(pool.rows),
                "match by stems, ties by length": -pool.others_holding() + 1e-4 * length(pool.rows),
                "cosine, of 4 regions": pool.d("cosine", compared=4),
                "cosine": pool.d("cosine"),
                "hybrid": pool.d("hybrid"),
                **({"information": pool.d("information")} if asked else {}),
            }
            known = np.isfinite(found["cosine"])
            start = sum(map(len, labels))
            labels.append(np.array([not any(elsewhere.shares(row, unseen)) for row in pool.rows])[known])
            questions.append(pool.questions[known])
            cultures.append(pool.cultures[known])
            place = np.cumsum(known) - 1
            cells += [(cell, start + place[places[known[places]]]) for cell, places in pool.cells()]
            for name, values in found.items():
                scores[name].append(values[known])
    label = np.concatenate(labels)
    clusters = Clusters(np.concatenate(questions), np.concatenate(cultures))
    found_of = {name: np.concatenate(values) for name, values in scores.items()}
    pooled = {name: clusters.aucs(label, values) for name, values in found_of.items()}
    cells = [(cell, places) for cell, places in cells if len(places) > 1]
    inside = Clusters(*zip(*(cell for cell, _ in cells), strict=True))
    within = {}
    for name, values in found_of.items():
        pairs = np.array([concordant(label[places], values[places]) for _, places in cells])
        within[name] = inside.means(pairs[:, 0], pairs[:, 1])
    print(f"  {len(label)} answers, {label.mean():.1%} region-only")
    for what, table_of in (("pooled", pooled), ("within a region's answers to a question", within)):
        print(f" {what}")
        base = table_of["exact match, ties by length"]
        for name, values in table_of.items():
            print(line(name, values, None if name == "exact match, ties by length" else base))
        print("  hybrid, against")
        for other in ("match by stems, ties by length", "word frequency", "cosine"):
            print(gain(other, table_of["hybrid"] - table_of[other]))


def one_a_question(order: Iterable[int], questions: np.ndarray) -> list[int]:
    """The places in their order, of each question the first."""
    first: dict[str, int] = {}
    for place in order:
        first.setdefault(questions[place], int(place))
    return list(first.values())


def falling(score: np.ndarray) -> np.ndarray:
    return np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")


def within_cultures(pool: Pool, score: np.ndarray) -> np.ndarray:
    """z of a score within each culture; nan where it is unknown."""
    found = np.full(len(score), np.nan)
    for culture in np.unique(pool.cultures):
        known = (pool.cultures == culture) & np.isfinite(score)
        found[known] = rank.z(score[known])
    return found


def orders(pool: Pool, seed: int) -> dict[str, list[tuple[np.ndarray, bool]]]:
    """Arms: orders of all rows, best first, and whether a question gives one row at most."""
    draw = np.random.default_rng(seed)
    chance = [draw.permutation(len(pool.rows)) for _ in range(SEEDS // SPLITS)]
    weight = np.array([row["weight"] for row in pool.rows])
    asked: dict[str, float] = defaultdict(float)
    for row in pool.rows:
        asked[row["culture"] + row["question_id"]] += row["weight"]
    answered = np.array([asked[row["culture"] + row["question_id"]] for row in pool.rows])
    most = [order[np.argsort(-answered[order], kind="stable")] for order in chance]
    cosine, hybrid = within_cultures(pool, pool.d("cosine")), within_cultures(pool, pool.d("hybrid"))
    r = {measure: within_cultures(pool, pool.r(measure)) for measure in REPRESENTATIVE}
    found: dict[str, list[tuple[np.ndarray, bool]]] = {
        "one random row a question": [(order, True) for order in chance],
        "random rows": [(order, False) for order in chance],
        "most-answered questions, a random row": [(order, True) for order in most],
        "count of half, one a question": [(order[falling(weight[order])], True) for order in chance],
        "longest, one a question": [(falling(length(pool.rows)), True)],
        "typicality + 0.5 cosine": [(falling(r["typicality"] + 0.5 * cosine), False)],
        "typicality + 0.5 cosine, one a question": [(falling(r["typicality"] + 0.5 * cosine), True)],
        "support + hybrid": [(falling(r["support"] + hybrid), False)],
        PROPOSED: [(falling(r["support"] + hybrid), True)],
        "support, one a question": [(falling(r["support"]), True)],
        "hybrid, one a question": [(falling(hybrid), True)],
        "prevalence + 2 hybrid, one a question": [(falling(r["prevalence"] + 2 * hybrid), True)],
    }
    return found


def of_centers(pool: Pool) -> dict[str, list[tuple[np.ndarray, bool]]]:
    """Arms that rank the centres of clusters alone."""
    clustered = cluster.run(pool.candidates, pool.vectors, Settings(), threshold(Settings()))
    found = {}
    for name, settings in CENTERS.items():
        scored = represent.run(clustered, pool.vectors, settings)
        scored = rank.score(distinct.run(scored, pool.vectors, settings), pool.vectors, settings)
        ranks = np.array([np.inf if place is None else place for place in scored["rank"]])
        order = np.argsort(ranks, kind="stable")
        found[name] = [(order[np.isfinite(ranks[order])], False)]
    return found


def difficulties(rows: Rows, vectors: Dataset) -> dict[tuple[str, str, str], float | None]:
    """Culture, question and response -> Instruction-Following Difficulty, by the embedded model."""
    pool = Pool([row | {"weight": 1.0} for row in rows], vectors)
    compared = Dataset.from_dict({"compared": [1] * len(pool.rows)}, features=features.columns("compared"))
    found = ifd.scores(features.beside(pool.candidates, compared), connect(Spec()))
    names = pool.candidates["sample_id"][:]
    return {
        (row["culture"], row["question_id"], row["response"]): found[name]
        for row, name in zip(pool.rows, names, strict=True)
    }


def literature(
    pool: Pool, difficulty: dict[tuple[str, str, str], float | None], seed: int
) -> dict[str, list[tuple[np.ndarray, bool]]]:
    """Arms by rankings of the literature.

    The target set of rds is the answer that most of the table's half of the annotators gave to some questions of a
    region, whose rows are not taken.
    """
    of = [difficulty[row["culture"], row["question_id"], row["response"]] for row in pool.rows]
    value = np.array([-np.inf if one is None or one > ifd.HIGHEST else one for one in of])
    harder = falling(value)
    harder = harder[np.isfinite(value[harder])]
    unit = embed.matrix(pool.vectors, "sample_embedding", pool.candidates["sample_id"][:])
    draw, taken = np.random.default_rng(seed), []
    for region in np.unique(pool.cultures):
        own = np.flatnonzero(pool.cultures == region)
        asked = np.unique(pool.questions[own])
        drawn = draw.choice(asked, max(1, round(TARGETS * len(asked))), replace=False)
        places = [own[pool.questions[own] == question] for question in drawn]
        targets = [max(rows, key=lambda row: pool.rows[row]["weight"]) for rows in places]
        left = own[~np.isin(pool.questions[own], drawn)]
        taken.append(left[rds.round_robin(unit[targets] @ unit[left].T, len(left))])
    return {
        "ifd": [(harder, False)],
        BASELINES[0]: [(harder, True)],
        "rds": [(np.concatenate(taken), False)],
        BASELINES[1]: [(np.concatenate(taken), True)],
    }


def unweighted(rows: Rows, pool: Pool) -> dict[str, list[tuple[np.ndarray, bool]]]:
    """Arms whose scores read no count."""
    plain = Pool([row | {"weight": 1.0} for row in pool.rows], pool.vectors)
    hybrid = within_cultures(plain, plain.d("hybrid"))
    r = within_cultures(plain, plain.r("support"))
    typical = within_cultures(plain, plain.r("typicality")) + 0.5 * within_cultures(plain, plain.d("cosine"))
    return {
        "no weights: support + hybrid, 1 a question": [(falling(r + hybrid), True)],
        "no weights: typicality + 0.5 cosine": [(falling(typical), False)],
        **{f"no weights: {name}": arm for name, arm in of_centers(plain).items()},
    }


def outcomes(pool: Pool, elsewhere: Elsewhere, unseen: list[str]) -> dict[str, np.ndarray]:
    """What the other half of the annotators, and the regions of the other half, say of each row; nan where nothing."""
    label = np.array([row["label"] for row in pool.rows])
    share, excess = np.full(len(label), np.nan), np.full(len(label), np.nan)
    for _, places in pool.cells():
        if total := label[places].sum():
            share[places] = label[places] / total
            excess[places] = share[places] - share[places].mean()
    there = [elsewhere.shares(row, unseen) for row in pool.rows]
    mean = np.array([np.mean(shares) if shares else np.nan for shares in there])
    only = np.array([float(not any(shares)) if shares else np.nan for shares in there])
    return {"share": share, "excess": excess, "here - elsewhere": share - mean, "region-only": only}


def part_c(rows: Rows, vectors: Dataset, difficulty: dict[tuple[str, str, str], float | None]) -> None:
    print(f"c. The best {SHARE:.0%} of a region's rows, against one random row a question")
    elsewhere, regions = Elsewhere(rows), sorted({row["culture"] for row in rows})
    chosen: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    every: dict[str, set[str]] = {"question": {row["question_id"] for row in rows}, "region": set(regions)}
    for seed in range(SPLITS):
        given = annotators(rows, seed)
        first, second = halves(regions, seed)
        for own, unseen in ((first, second), (second, first)):
            pool = Pool([row for row in given if row["culture"] in own], vectors)
            measured = outcomes(pool, elsewhere, unseen)
            arms = orders(pool, seed) | of_centers(pool) | unweighted(rows, pool)
            arms |= literature(pool, difficulty, seed) if difficulty else {}
            for name, several in arms.items():
                for order, one in several:
                    places = np.concatenate([_best(pool, order, one, region) for region in own])
                    for what, values in measured.items():
                        chosen[name][what].append(values[places])
                    chosen[name]["question"].append(pool.questions[places])
                    chosen[name]["region"].append(pool.cultures[places])
    for what in ("share", "excess", "here - elsewhere", "region-only"):
        print(f" {what}")
        means = {name: _drawn(arm, what, every) for name, arm in chosen.items()}
        base = means["one random row a question"]
        for name, values in means.items():
            print(line(name, values, None if name == "one random row a question" else base))
        print(f"  {PROPOSED}, against")
        for other in ("count of half, one a question", *CENTERS, *(BASELINES if difficulty else ())):
            print(gain(other, means[PROPOSED] - means[other]))
        for known in ("", "no weights: "):
            print(f"  {known}{DEFAULT}, against")
            paper = f"{known}{next(iter(CENTERS))}"
            print(gain(paper, means[f"{known}{DEFAULT}"] - means[paper]))


def _best(pool: Pool, order: np.ndarray, one: bool, region: str) -> np.ndarray:
    own = order[pool.cultures[order] == region]
    budget = round(SHARE * (pool.cultures == region).sum())
    return np.array((one_a_question(own, pool.questions) if one else own.tolist())[:budget])


def _drawn(arm: dict[str, list[np.ndarray]], what: str, every: dict[str, set[str]]) -> np.ndarray:
    """The mean of an outcome over what an arm chose; the draws take the same questions and regions for all arms."""
    values = np.concatenate(arm[what])
    known = np.isfinite(values)
    of_rows = [np.concatenate(arm[kind]) for kind in ("question", "region")]
    # a row of each question and region that counts nothing, so that all arms have the same places
    nothing = [(question, region) for question in sorted(every["question"]) for region in sorted(every["region"])]
    clusters = Clusters(*(np.concatenate([of, part]) for of, part in zip(of_rows, np.array(nothing).T, strict=True)))
    none = np.zeros(len(nothing))
    return clusters.means(
        np.concatenate([np.where(known, values, 0.0), none]), np.concatenate([known.astype(float), none])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path, help="BLEnD's folder data/annotations")
    parser.add_argument("--out", type=Path, required=True, help="run folder that keeps the embeddings")
    parser.add_argument("--half", choices=("tune", "confirm"), default="tune")
    parser.add_argument("--embedder", default=MINILM, help="as caredio's")
    parser.add_argument("--information", type=int, default=0, metavar="N", help="also a model's, on N questions")
    parser.add_argument("--literature", type=int, default=0, metavar="N", help="c with ifd and rds, on N questions")
    given = parser.parse_args()
    rows, most = read(given.annotations, given.half), given.information or given.literature
    if most:
        ids = sorted({row["question_id"] for row in rows}, key=lambda name: hashlib.sha256(name.encode()).digest())
        rows = [row for row in rows if row["question_id"] in ids[:most]]
    candidates = match.run(table([row | {"weight": 1.0} for row in rows]), Settings(), warn=False)
    with Run(given.out / f"{given.half}{most or ''}") as run:
        settings = Settings(embedder=given.embedder)
        candidates = run.stage("candidates", lambda: candidates, columns=features.CANDIDATES)
        vectors = embed.STAGE.run(run, lambda: embed.run(candidates, settings), [settings])
    regions, questions = ({row[name] for row in rows} for name in ("culture", "question_id"))
    print(f"{given.half} half: {len(rows)} answers of {len(regions)} regions to {len(questions)} questions")
    if not given.literature:
        part_a(rows, vectors, bool(given.information))
        part_b(rows, vectors, bool(given.information))
    if not given.information:
        part_c(rows, vectors, difficulties(rows, vectors) if given.literature else {})


if __name__ == "__main__":
    main()
