"""Table stage (ranking): the ranked split, best first, until the budget is used (seed 001, 3.3 'Selection Strategy').

scored -> scored with score, rank and drop_reason; scored -> ranked.
"""

from __future__ import annotations

import functools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value

from caredio import features
from caredio.errors import InputError
from caredio.markdown import code
from caredio.selection import coverage, facility, ifd, rds
from caredio.selection.embed import matrix
from caredio.selection.settings import Settings
from caredio.stages import Stage

STAGE = Stage("ranked", {"scored": " ".join(features.SCORED)}, features.RANKED, modules=(__name__,), split_by="culture")


def product(r: Sequence[float], d: Sequence[float]) -> list[float]:
    """s = r * d (seed 001, 3.3)."""
    return [one * other for one, other in zip(r, d, strict=True)]


def sum_of_z(r: Sequence[float], d: Sequence[float], weight: float) -> list[float]:
    """s = z(r) + weight z(d), z over the culture's rows."""
    return (z(np.array(r)) + weight * z(np.array(d))).tolist()


def z(values: np.ndarray) -> np.ndarray:
    """Values in standard deviations (of all of them) from their mean; 0 where all are equal."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-12 else np.zeros(len(values))


def random_order(names: list[str], responses: list[str], unit: np.ndarray, settings: Settings) -> list[float | None]:
    """Rows by chance: a number of the seed and the sample_id."""
    return [random.Random(f"{settings.seed}/{name}").random() for name in names]


def longest(names: list[str], responses: list[str], unit: np.ndarray, settings: Settings) -> list[float | None]:
    """Rows by the length of their response, in characters."""
    return [float(len(response)) for response in responses]


def kcenter(names: list[str], responses: list[str], unit: np.ndarray, settings: Settings) -> list[float | None]:
    """Farthest-first traversal (Gonzalez, 1985): each next row is the one farthest from those chosen, by cosine.

    It starts with the row nearest to the mean; a row's score is its distance when it was chosen.
    """
    scores: list[float | None] = [None] * len(unit)
    to_chosen = np.full(len(unit), 2.0)  # the largest cosine distance
    row = int((unit @ unit.mean(axis=0)).argmax())
    for _ in range(min(settings.budget, len(unit))):
        scores[row] = float(to_chosen[row])
        to_chosen = np.minimum(to_chosen, 1.0 - unit @ unit[row])
        to_chosen[row] = -1.0
        row = int(to_chosen.argmax())
    return scores


def facility_location(
    names: list[str], responses: list[str], unit: np.ndarray, settings: Settings
) -> list[float | None]:
    """Greedy maximum of the rows' similarity to their nearest chosen row (Mirchandani and Francis, 1990).

    A row's score is its gain when it was chosen.
    """
    scores: list[float | None] = [None] * len(unit)
    for row, gain in zip(*facility.greedy(unit, settings.budget), strict=True):
        scores[row] = gain
    return scores


BASELINES: dict[str, Callable[[list[str], list[str], np.ndarray, Settings], list[float | None]]] = {
    "random": random_order,
    "longest": longest,
    "kcenter": kcenter,
    "facility_location": facility_location,
}


MEASURED = (ifd.NAME, rds.NAME)  # baselines whose scores are found before, as they read more than a table
CHOOSING = ("kcenter", "facility_location", rds.NAME)  # which take rows by those taken before: no quota holds for them


ORDERS = {  # what comes first by each
    "random": "by chance",
    "longest": "the response of most characters first",
    "kcenter": "each next row is the farthest from those taken (farthest-first traversal)",
    "facility_location": "each next row is the one that makes all rows most similar to their nearest taken row",
    "ifd": "the response of the highest Instruction-Following Difficulty first, the loss of {model} on it after its"
    " question over that without a question (Li et al., 2024); above 1 it is left out, as there",
    "rds": "up to {validation_items} questions a culture of {validation}, each with its right answer, take in turn the"
    " row that is nearest by cosine, as in RDS+ (Ivison et al., 2025), which compares pooled hidden states of a"
    " language model where these are the vectors of the embedder",
}


def score(
    scored: Dataset, vectors: Dataset, settings: Settings, measured: Mapping[str, float | None] | None = None
) -> Dataset:
    """Add `score`, `rank` and `drop_reason`; the pool that a culture's ranked split comes from.

    drop_reason: redundant (not its cluster's centre), no_other_culture (nothing to compare with), unmeasured (a score
    is unknown), question_of_no_help (`ifd`), over_budget. A baseline ranks all rows that another culture's can be
    compared with, cluster centres or not: the rows that the score could have ranked. In which order a budget takes
    them, coverage.py says; a baseline that is CHOOSING scores the rows of the budget alone, in its own order.

    Args:
        measured: sample_id -> score by a baseline that is MEASURED.

    Raises:
        InputError: a column is missing, or the scores of such a baseline.
    """
    columns = "sample_id culture question_id topic_id response representativeness distinctiveness compared is_center"
    needed = Features({name: features.SCORED[name] for name in columns.split()})
    scored = features.require(scored, needed, "scored candidates")
    if settings.ranking in MEASURED and measured is None:
        raise InputError(f"ranking {settings.ranking} needs scores that were found before, and none were given.")
    reasons = _reasons(scored, by_score=settings.ranking == "score")
    scores: list[float | None] = [None] * len(scored)
    ranks: list[int | None] = [None] * len(scored)
    questions, topics, names = (scored[name][:] for name in ("question_id", "topic_id", "sample_id"))
    subjects = functools.cache(lambda: _subjects(scored, vectors))
    value = _scorer(scored, vectors, settings, measured or {})
    for rows in _by_culture(scored["culture"][:], names, reasons):
        for row, found in zip(rows, value(rows), strict=True):
            scores[row] = found
            reasons[row] = _left_out(found, settings.ranking) or "over_budget"
        rows = [row for row in rows if reasons[row] == "over_budget"]
        if settings.ranking in CHOOSING:
            taken = sorted(rows, key=lambda row: _order(scores[row], names[row]))[: settings.budget]
        else:
            asked, of = [questions[row] for row in rows], [topics[row] for row in rows]
            values = np.array([scores[row] for row in rows], float)
            taken = [rows[place] for place in coverage.ordered(values, asked, of, subjects, settings)]
        for number, row in enumerate(taken, start=1):
            ranks[row], reasons[row] = number, None
    added = {"score": scores, "rank": ranks, "drop_reason": reasons}
    kinds = Features(
        {"score": features.SCORED["score"], "rank": features.SCORED["rank"], "drop_reason": Value("string")}
    )
    return features.beside(scored, Dataset.from_dict(added, features=kinds))


def run(pool: Dataset) -> Dataset:
    """The rows of the pool without a drop_reason, by culture and rank, with prompt and completion.

    Returns:
        `features.RANKED`; rank counts from 1 within the culture.
    """
    kept = features.require(pool, features.SCORED, "scored candidates")
    keys = list(zip(kept["culture"][:], kept["rank"][:], strict=True))
    kept = kept.select(sorted(range(len(kept)), key=keys.__getitem__))
    columns = Features({name: features.RANKED[name] for name in ("prompt", "completion")})
    added = {
        "prompt": [[{"role": "user", "content": text}] for text in kept["question"][:]],
        "completion": [[{"role": "assistant", "content": text}] for text in kept["response"][:]],
    }
    return features.beside(kept, Dataset.from_dict(added, features=columns)).select_columns(list(features.RANKED))


def describe(settings: Mapping[str, Any], combine: str, model: str = "") -> str:
    """Sentences for the card on what the rank follows: settings as run.json holds them, how r and d combined, who was
    asked.
    """
    ranking, budget = settings["ranking"], settings["budget"]
    if ranking == "score":
        how = {
            "product": "the `product` of representativeness and distinctiveness",
            "sum": "the `sum` of representativeness and distinctiveness in standard deviations within the culture, the"
            f" latter with weight {settings['weight']:g}",
        }[combine]
        rule = f"Rank: by `score`, {how}. Only the centre of a cluster is ranked"
    else:
        named = {"model": code(model), "validation": code(Path(settings.get("validation") or "").name)}
        order = ORDERS[ranking].format(**{**settings, **named})
        rule = (
            f"Rank: `{ranking}`, a baseline: {order}. Representativeness and distinctiveness are in the"
            " rows, but decided nothing. Rows are ranked whether or not they are the centre of a cluster"
        )
    most = f"{budget} row{'s' if budget > 1 else ''}"
    rest = coverage.describe(settings) if ranking not in CHOOSING else ""
    return f"{rule}, where another culture answered its question.{rest} A culture keeps at most {most}."


def describe_order(settings: Mapping[str, Any]) -> str:
    """In which order ranked rows come, for the card: settings as run.json holds them."""
    ranking, spread = settings["ranking"], settings.get("coverage", "none")
    if ranking != "score":
        return f"in the order of the baseline `{ranking}`"
    each = settings.get("per_question")
    first, then = ("best row", "second") if each == 1 else (f"best {each} rows", f"next {each}")
    turns = f", first the {first} of each question, then the {then} of each, whose scores begin high again"
    return (
        "**best first**, by their score"
        + (f" and the order `{spread}`" if spread != "none" else "")
        + (turns if each else "")
    )


def describe_limits(settings: Mapping[str, Any], combine: str) -> list[str]:
    """Sentences for the card on what a rank does not mean: settings of run.json, and how r and d combined."""
    if settings["ranking"] != "score" or (combine == "sum" and not settings["weight"]):
        return []
    return ["Distinctive does not mean typical: rows were preferred for differing from other cultures' answers."]


def _reasons(scored: Dataset, by_score: bool) -> list[str | None]:
    """Why a row is not ranked at all: drop_reasons."""
    r, d, compared = (scored[name][:] for name in ("representativeness", "distinctiveness", "compared"))
    reasons: list[str | None] = [None] * len(scored)
    for row, is_center in enumerate(scored["is_center"][:]):
        if by_score and not is_center:
            reasons[row] = "redundant"
        elif not compared[row]:
            reasons[row] = "no_other_culture"
        elif by_score and (r[row] is None or d[row] is None):
            reasons[row] = "unmeasured"
    return reasons


def _left_out(score: float | None, ranking: str) -> str | None:
    """Why a row is not ranked for its score: a drop_reason."""
    if ranking == ifd.NAME:
        return "unmeasured" if score is None else ifd.LEFT_OUT if score > ifd.HIGHEST else None
    return None


def _scorer(
    scored: Dataset, vectors: Dataset, settings: Settings, measured: Mapping[str, float | None]
) -> Callable[[list[int]], Sequence[float | None]]:
    """rows of a culture -> their scores, by what the settings rank by."""
    names, responses = scored["sample_id"][:], scored["response"][:]
    r, d = scored["representativeness"][:], scored["distinctiveness"][:]

    def score(rows: list[int]) -> Sequence[float | None]:
        own = [names[row] for row in rows]
        if settings.ranking == "score":
            of_r, of_d = [r[row] for row in rows], [d[row] for row in rows]
            by_product = settings.combine == "product"
            return product(of_r, of_d) if by_product else sum_of_z(of_r, of_d, settings.weight)
        if settings.ranking in MEASURED:
            return [measured[name] for name in own]
        unit = matrix(vectors, "sample_embedding", own)
        return BASELINES[settings.ranking](own, [responses[row] for row in rows], unit, settings)

    return score


def _subjects(scored: Dataset, vectors: Dataset) -> coverage.Subjects:
    rows = sorted(zip(scored["sample_id"][:], scored["question_id"][:], strict=True))
    return coverage.Subjects([of for _, of in rows], matrix(vectors, "sample_embedding", [name for name, _ in rows]))


def _by_culture(cultures: list[str], names: list[str], reasons: list[str | None]) -> list[list[int]]:
    """Each culture's rows without a reason, by sample_id."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(names)), key=names.__getitem__):
        if reasons[row] is None:
            rows[cultures[row]].append(row)
    return list(rows.values())


def _order(score: float | None, sample_id: str) -> tuple[float, str]:
    return (math.inf if score is None else -score, sample_id)
