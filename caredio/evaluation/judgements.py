"""Several statements to a question, each judged true or false; the question is right where all of them are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from caredio.evaluation import metrics
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, Document, Kind, Metric, Scores, finite
from caredio.evaluation.choice import CHANCE, PARTS, UNPARSED, read
from caredio.prompts import Prompt

ALWAYS_FALSE = "always False"
WORDS = ("True", "False")
_METRICS = (Metric("acc", "questions"), Metric("judgement_acc", "judgements"))


def turns(document: Document, prompt: Prompt, variant: str) -> list[str]:
    """The question with one of its statements each."""
    question = document["question"]
    return [prompt.part(PARTS[variant], question=question, statement=one) for one in document["statements"]]


def by_likelihoods(document: Document, found: list[float]) -> Scores:
    """acc: 1 if every judgement is right; judgement_acc: the share that is. A tie is False.

    Raises:
        InputError: a likelihood is no number.
    """
    finite(found)
    return _score(document, [true > false for true, false in zip(found[::2], found[1::2], strict=True)])


def by_replies(document: Document, replies: list[str]) -> Scores:
    """As `by_likelihoods`, of the words that were written; unparsed: the share of replies that are neither."""
    said = [read(reply, WORDS) for reply in replies]
    judged = [None if word is None else word == "True" for word in said]
    return {**_score(document, judged), "unparsed": mean(float(word is None) for word in said)}


def baselines(own: Sequence[Document], others: Sequence[Document]) -> dict[str, Scores]:
    """Each judgement by a coin; and every statement judged false."""
    truths = [document["truth"] for document in own]
    return {
        CHANCE: {"acc": mean(0.5 ** len(truth) for truth in truths), "judgement_acc": 0.5},
        ALWAYS_FALSE: {
            "acc": mean(float(not any(truth)) for truth in truths),
            "judgement_acc": mean(1 - sum(truth) / len(truth) for truth in truths),
        },
    }


def _score(document: Document, judged: Sequence[bool | None]) -> Scores:
    truths = document["truth"]
    said = [not truth if judgement is None else judgement for judgement, truth in zip(judged, truths, strict=True)]
    return {"acc": metrics.all_right([said], [truths]), "judgement_acc": metrics.accuracy(said, truths)}


KIND = Kind(
    name="judgements",
    columns=("question", "statements", "truth"),
    prompt="judgements",
    metrics={LIKELIHOOD: _METRICS, GENERATED: (*_METRICS, UNPARSED), COT: (*_METRICS, UNPARSED)},
    turns=turns,
    choices=lambda document: list(WORDS),
    by_likelihoods=by_likelihoods,
    by_replies=by_replies,
    baselines=baselines,
)
