"""A survey's question: how near what a model would choose is to what people of the culture chose.

The similarity is `metrics.js_similarity`, and the mode `metrics.modal_accuracy`. The model's shares are the softmax of
its letters' log-likelihoods, or the counts of answers that were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp
from statistics import mean

from caredio.evaluation import choice, metrics
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, Document, Kind, Metric, Scores
from caredio.prompts import Prompt

UNIFORM, MODAL_ELSEWHERE = "uniform", "fixed letter"
DRAWS = 10  # answers of which the shares are counted
_METRICS = (Metric("js_similarity", "1 - JS distance", share=False), Metric("modal_acc", "modal accuracy"))
_WRITTEN = (*_METRICS, choice.UNPARSED)


def turns(document: Document, prompt: Prompt, variant: str) -> list[str]:
    """The question with its options: once, or for each answer that is drawn."""
    return choice.turns(document, prompt, variant) * (1 if variant == LIKELIHOOD else DRAWS)


def by_likelihoods(document: Document, found: list[float]) -> Scores:
    """js_similarity of the softmax of the letters' log-likelihoods; modal_acc: whether its largest is people's."""
    top = max(found)
    weights = [exp(one - top) for one in found]
    return _score(document, [weight / sum(weights) for weight in weights])


def by_replies(document: Document, replies: list[str]) -> Scores:
    """As `by_likelihoods`, of the shares of the letters that were written; unparsed: the share of other replies.

    Replies that are no letter count as an option that nobody of the culture chose: replies without any letter score 0.
    """
    counts = Counter(choice.read(reply, choice.letters(document)) for reply in replies)
    unparsed = counts[None] / len(replies)
    shares = [counts[letter] / len(replies) for letter in choice.letters(document)]
    return {**_score({"shares": [*document["shares"], 0.0]}, [*shares, unparsed]), "unparsed": unparsed}


def baselines(own: Sequence[Document], others: Sequence[Document]) -> dict[str, Scores]:
    """Every option alike (whose mode is a guess); and always the letter that is most often the mode elsewhere."""
    people = [one["shares"] for one in own]
    uniform = [[1 / len(shares)] * len(shares) for shares in people]
    found = {
        UNIFORM: {
            "js_similarity": metrics.js_similarity(uniform, people),
            "modal_acc": metrics.modal_accuracy(uniform, people),
        }
    }
    modes = Counter(one["shares"].index(max(one["shares"])) for one in others)
    if modes:
        place = min(modes, key=lambda mode: (-modes[mode], mode))
        right = [place < len(shares) and shares[place] == max(shares) for shares in people]
        found[MODAL_ELSEWHERE] = {"modal_acc": mean(map(float, right))}
    return found


def _score(document: Document, shares: list[float]) -> Scores:
    people = [document["shares"]]
    return {
        "js_similarity": metrics.js_similarity([shares], people),
        "modal_acc": metrics.modal_accuracy([shares], people),
    }


KIND = Kind(
    name="distribution",
    columns=("question", "options", "shares"),
    prompt="choice",
    metrics={LIKELIHOOD: _METRICS, GENERATED: _WRITTEN, COT: _WRITTEN},
    turns=turns,
    choices=choice.letters,
    by_likelihoods=by_likelihoods,
    by_replies=by_replies,
    baselines=baselines,
    sampled=True,
)
