"""r and d of candidates by answers that are given once: the objective of synthesis/optimize.py.

The formulas are those of represent.py and distinct.py; the answers they are read on do not change with the candidates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from datasets import Dataset

from caredio.llm import plan
from caredio.llm.model import Model
from caredio.llm.rows import Call, likelihoods
from caredio.llm.spec import Spec
from caredio.selection import distinct, represent
from caredio.selection.conditioning import Conditioning
from caredio.selection.embed import Encoder
from caredio.selection.settings import Settings
from caredio.stages import Expected

_HASHED = 1024  # numbers of a vector of hashed character n-grams
_EQUAL = 1e-12  # a spread below is none, as in rank.py


class Measure(Protocol):
    def __call__(self, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        """r and d of candidates: float64[n, 2], nan where unknown."""


class ByEmbeddings:
    """r = `represent.typicality`, d = `distinct.cosine`, among answers that are given once."""

    def __init__(self, answers: dict[str, dict[str, str]], encode: Encoder, compared: int) -> None:
        """`answers`: culture -> name -> answer. A row's own is named by its question_id, and left out of its r."""
        self.encode, self.compared = encode, compared
        self.place = {culture: {name: row for row, name in enumerate(own)} for culture, own in answers.items()}
        self.among = {culture: unit(encode, list(own.values())) for culture, own in answers.items()}

    def __call__(self, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        against = [distinct.compared_to(row, self.compared) for row in rows]
        texts = [other["response"] for row in against for culture in row for other in culture]
        texts = list(dict.fromkeys([*(row["response"] for row in rows), *texts]))
        place = {text: number for number, text in enumerate(texts)}
        vectors = unit(self.encode, texts)
        found = np.full((len(rows), 2), np.nan)
        of_culture: dict[str, list[int]] = defaultdict(list)
        for number, (row, others) in enumerate(zip(rows, against, strict=True)):
            if row["question_id"] in self.place.get(row["culture"], {}):
                of_culture[row["culture"]].append(number)
            if others:
                of_others = [vectors[[place[other["response"]] for other in culture]] for culture in others]
                found[number, 1] = distinct.cosine(vectors[place[row["response"]]], of_others)
        for culture, numbers in of_culture.items():
            responses = vectors[[place[rows[number]["response"]] for number in numbers]]
            own = np.array([self.place[culture][rows[number]["question_id"]] for number in numbers])
            found[numbers, 0] = represent.typicality(responses, self.among[culture], own)
        return found


class ByLikelihood:
    """r = `represent.informed` on answers of the culture drawn once, d = `distinct.information`."""

    def __init__(
        self,
        start: Dataset,
        model: Model,
        settings: Settings,
        conditioning: Conditioning = Conditioning(),
    ) -> None:
        """`conditioning`: how the model is asked."""
        self.model, self.compared, self.conditioning = model, settings.asked_for, conditioning
        start = represent.apart(start)
        index = represent.CultureIndex(start)
        self.references: dict[tuple[str, str], list[dict[str, str]]] = {}
        calls: list[Call] = []
        for row in start:
            placebo = represent.placebo(row, index, settings)
            references = represent.references(row, placebo, index, settings) if placebo else []
            self.references[_slot(row)] = references
            calls += [self._after(placebo, row["culture"], other) for other in references if placebo]
        bits = iter(likelihoods(calls, model, "information without the sample"))
        self.without = {
            slot: np.array([next(bits) for _ in references]) for slot, references in self.references.items()
        }

    def __call__(self, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        calls: list[Call] = []
        spans = []
        for row in rows:
            references = self.references[_slot(row)]
            others = [culture[0]["culture"] for culture in distinct.compared_to(row, self.compared)]
            spans.append((len(calls), len(references), len(others)))
            calls += [self._after(row, row["culture"], other) for other in references]
            calls += [
                (self.conditioning.chat(culture, [], row["question"]), row["response"])
                for culture in (row["culture"], *others)
            ]
        bits = likelihoods(calls, self.model, "information")
        found = []
        for row, (start, references_n, others_n) in zip(rows, spans, strict=True):
            lengths = np.array([len(other["response"].encode()) for other in self.references[_slot(row)]])
            own = start + references_n
            r = represent.informed(bits[start:own], self.without[_slot(row)], lengths)
            d = distinct.information(bits[own], bits[own + 1 : own + 1 + others_n], len(row["response"].encode()))
            found.append((r, d))
        return np.array(found, np.float64).reshape(-1, 2)

    def _after(self, shown: Mapping[str, Any], culture: str, other: dict[str, str]) -> Call:
        return self.conditioning.chat(culture, [shown], other["question"]), other["response"]


def measuring(
    candidates: Sequence[Expected], responses: int, questions: int, settings: Settings, spec: Spec
) -> plan.Step:
    """The requests for likelihoods by which candidates to come are optimised.

    Args:
        responses, questions: how many others of each are tried for a candidate.
    """
    texts = chats = 0
    for one in candidates:
        references, without = represent.most_references(one.rows, settings), represent.expected(one, settings)
        cultures, tried = 1 + min(settings.asked_for, one.compared), responses + questions
        texts += without + one.rows * (cultures + tried * (references + cultures))
        chats += without + one.rows * ((1 + questions) * cultures + tried * references)
    chat = plan.tokens(Conditioning(prompts=settings.prompts).chat("", [plan.SAMPLE], plan.SAMPLE["question"]))
    return plan.likelihoods("likelihoods", texts, chats, chat, spec)


def scales(cultures: Sequence[str], found: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and standard deviation of each culture's r and d: culture -> float64[2, 2], of its rows that have both."""
    known = np.isfinite(found).all(axis=1)
    of_culture = {culture: found[[own == culture for own in cultures] & known] for culture in dict.fromkeys(cultures)}
    return {
        culture: np.stack([values.mean(axis=0), values.std(axis=0)]) if len(values) else np.full((2, 2), np.nan)
        for culture, values in of_culture.items()
    }


def z(values: np.ndarray, scale: np.ndarray) -> tuple[float, float]:
    """r and d in standard deviations from their mean; 0 where all were equal, as in selection's rank."""
    mean, spread = scale
    found = np.where(spread > _EQUAL, (values - mean) / np.maximum(spread, _EQUAL), values * 0)
    return float(found[0]), float(found[1])


def unit(encode: Encoder, texts: list[str]) -> np.ndarray:
    """Unit float32[n, d] of distinct or repeated texts."""
    distinct_texts = list(dict.fromkeys(texts))
    if not distinct_texts:
        return np.empty((0, 1), np.float32)
    vectors = encode(distinct_texts)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    place = {text: row for row, text in enumerate(distinct_texts)}
    return vectors[[place[text] for text in texts]]


def hashed(texts: list[str]) -> np.ndarray:
    """Texts -> float32[n, 1024] of their hashed character n-grams: an embedder that no model is needed for."""
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=_HASHED, dtype=np.float32)
    return grams.transform(texts).toarray()


def _slot(row: dict[str, Any]) -> tuple[str, str]:
    return row["culture"], row["question_id"]
