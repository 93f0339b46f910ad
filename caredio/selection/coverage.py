"""In which order rows are taken that have a score: the best first, or so that many questions and subjects are covered.

Quotas hold in each order, and at each rank: the first n rows of a ranking are the ranking of a budget of n.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caredio.selection.settings import Settings

_EQUAL = 10  # decimals of gains that count: else rounding errors would break ties

ORDERS = {  # what comes first by each
    "mmr": "a row counts {coverage_weight:g} standard deviations less where its question equals that of a row taken"
    " before, and in proportion where it is near (maximal marginal relevance)",
    "facility": "each next row is the one that adds most to the sum, over all questions, of the similarity to a row"
    " taken times that row's worth, its score from 0 (the lowest) to 1 (facility location)",
    "best_answer": "first the best row of each question, questions by chance, then the second of each",
}


def describe(settings: Mapping[str, Any]) -> str:
    """Sentences for the card on quotas and the order: settings as run.json holds them, of older versions too."""
    each, share = settings.get("per_question"), settings.get("topic_share")
    spread, said = settings.get("coverage", "none"), ""
    if each is not None:
        rows = "a second row" if each == 1 else f"more than {each} rows"
        room = "" if share is None else ", as far as the topics' shares leave room"
        said += (
            f" No question has {rows} before every other has {'one' if each == 1 else 'as many'} that can be"
            f" ranked{room}."
        )
    if share is not None:
        said += f" No topic has more than {share:g} times its share of the rows that can be ranked."
    if spread != "none":
        said += f" Order: `{spread}`, {ORDERS[spread].format(**settings)}."
    return said


class Quotas:
    """Which rows may be taken next.

    No question has more than `per_question` rows while another has fewer and one that its topic allows. A topic with a
    share s of the rows has at most `topic_share` * s of those taken, rounded up; rows without one are not held back.
    """

    def __init__(self, questions: Sequence[str], topics: Sequence[str | None], settings: Settings) -> None:
        self._question = np.unique(np.array(questions, dtype=str), return_inverse=True)[1]
        known = [topic or "" for topic in topics]
        names, self._topic = np.unique(np.array(known, dtype=str), return_inverse=True)
        share = np.bincount(self._topic) / max(1, len(known))
        self._share = np.where(names == "", np.inf, share * (settings.topic_share or np.inf))
        self._each = settings.per_question or len(known)
        self._of_question = np.zeros(self._question.max(initial=-1) + 1, int)
        self._of_topic = np.zeros(len(names), int)
        self._left = np.ones(len(known), bool)

    def free(self) -> np.ndarray:
        """bool[n]: which rows may be taken; some, while any is left."""
        taken = len(self._left) - int(self._left.sum())
        under = self._of_topic + 1 <= np.ceil((self._share * (taken + 1)).round(_EQUAL))
        able = self._left & under[self._topic]
        times = self._of_question[self._question] // self._each
        return able & (times == times[able].min(initial=len(times)))

    def take(self, row: int) -> None:
        """Count a row as taken."""
        self._left[row] = False
        self._of_question[self._question[row]] += 1
        self._of_topic[self._topic[row]] += 1


def ordered(
    values: np.ndarray,
    questions: Sequence[str],
    topics: Sequence[str | None],
    subjects: Callable[[], Subjects],
    settings: Settings,
) -> list[int]:
    """The rows that a budget takes, in their order, of a culture's float[n] values; of equals the first.

    Args:
        subjects: makes those of all questions, where the order depends on them.
    """
    best = np.argsort(-values, kind="stable")  # so that of equal gains, too, the best row comes first
    values, questions, topics = values[best], [questions[row] for row in best], [topics[row] for row in best]
    quotas, count = Quotas(questions, topics, settings), settings.budget
    order = settings.coverage if settings.ranking == "score" else "none"
    if order == "best_answer":
        values = best_answers(values, questions, settings.seed)
    if order in ("none", "best_answer"):
        taken = _greedy(lambda taken: values, quotas, count)
    else:
        names, unit = subjects().of(questions)
        question = np.array([names[name] for name in questions])
        if order == "mmr":
            taken = mmr(values / (values.std() or 1.0), question, unit, settings.coverage_weight, quotas, count)
        else:
            spread = np.ptp(values)
            worth = (values - values.min()) / spread if spread > 0 else np.ones(len(values))
            taken = facility(worth, question, unit, quotas, count)
    return best[taken].tolist()


def mmr(
    values: np.ndarray, question: np.ndarray, unit: np.ndarray, weight: float, quotas: Quotas, count: int
) -> list[int]:
    """Rows by maximal marginal relevance (Carbonell and Goldstein, 1998): value - weight * similarity to those taken.

    float[n] values in standard deviations, int[n] question of each row, and unit float[m, d], the questions. The
    similarity is the cosine of the row's question to the nearest question of a row taken, at least 0.
    """
    near = np.zeros(len(unit))

    def value(taken: list[int]) -> np.ndarray:
        if taken:
            np.maximum(near, unit @ unit[question[taken[-1]]], out=near)
        return (values - weight * near[question]).round(_EQUAL)

    return _greedy(value, quotas, count)


def facility(worth: np.ndarray, question: np.ndarray, unit: np.ndarray, quotas: Quotas, count: int) -> list[int]:
    """Rows by the greedy maximum of sum over questions q of max over rows j taken of worth_j max(0, cos(q, q_j)).

    float[n] worths from 0 to 1, int[n] question of each row, and unit float[m, d], the questions. The sum is monotone
    and submodular, so the greedy maximum is at least 1 - 1/e of the best. A row's gain only falls as others are taken:
    it is computed again when the row would be next (Minoux, 1978). Of equal gains the first row's counts.
    """
    covered = np.zeros(len(unit))
    bounds, known = np.full(len(worth), np.inf), np.full(len(worth), -1)
    taken: list[int] = []
    while len(taken) < min(count, len(worth)):
        able = quotas.free()
        while True:
            row = int(np.where(able, bounds, -np.inf).argmax())
            if known[row] == len(taken):
                break
            bounds[row] = np.maximum(worth[row] * (unit @ unit[question[row]]) - covered, 0).sum().round(_EQUAL)
            known[row] = len(taken)
        quotas.take(row)
        taken.append(row)
        covered = np.maximum(covered, worth[row] * (unit @ unit[question[row]]))
    return taken


def best_answers(values: np.ndarray, questions: Sequence[str], seed: int) -> np.ndarray:
    """float[n]: the best row of each question before the second of any, questions by chance; of equals the first."""
    drawn = sorted(set(questions), key=lambda name: (random.Random(f"{seed}/{name}").random(), name))
    place = {name: number for number, name in enumerate(drawn)}
    found, seen = np.zeros(len(values)), np.zeros(len(drawn), int)
    for row in np.argsort(-values, kind="stable"):
        number = place[questions[row]]
        found[row] = -(seen[number] * len(drawn) + number)
        seen[number] += 1
    return found


class Subjects:
    """Questions as vectors: the mean of the sample vectors that answer each, in whatever culture."""

    def __init__(self, questions: Sequence[str], samples: np.ndarray) -> None:
        """`samples`: unit float[n, d], of the same rows as `questions`."""
        names, place = np.unique(np.array(questions, dtype=str), return_inverse=True)
        sums = np.zeros((len(names), samples.shape[1]))
        np.add.at(sums, place, samples)
        self._place = {name: row for row, name in enumerate(names.tolist())}
        self._unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    def of(self, questions: Iterable[str]) -> tuple[dict[str, int], np.ndarray]:
        """Question -> its row in the second: unit float64[m, d], of these questions alone."""
        names = sorted(set(questions))
        return {name: row for row, name in enumerate(names)}, self._unit[[self._place[name] for name in names]]


def _greedy(value: Callable[[list[int]], np.ndarray], quotas: Quotas, count: int) -> list[int]:
    """Rows, each the one of the highest value among those that may be taken, given those taken."""
    taken: list[int] = []
    while True:
        values = value(taken)
        if len(taken) == min(count, len(values)):
            return taken
        row = int(np.where(quotas.free(), values, -np.inf).argmax())
        quotas.take(row)
        taken.append(row)
