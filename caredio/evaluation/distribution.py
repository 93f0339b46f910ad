"""A survey's question: how near what a model would choose is to what people of the culture chose.

The similarity is `metrics.js_similarity`, and the mode `metrics.modal_accuracy`. The model's shares are the softmax of
its letters' log-likelihoods, the counts of answers that were drawn, or the probabilities of the first token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp
from statistics import mean

from caredio.evaluation import choice, metrics
from caredio.evaluation.benchmark import (
    COT,
    GENERATED,
    LIKELIHOOD,
    LOGPROBS,
    Document,
    Kind,
    Metric,
    Scores,
    Tokens,
    finite,
)
from caredio.prompts import Prompt

UNIFORM, MODAL_ELSEWHERE = "uniform", "fixed letter"
DRAWS = 10  # answers of which the shares are counted
_METRICS = (Metric("js_similarity", "1 - JS distance", share=False), Metric("modal_acc", "modal accuracy"))
_WRITTEN = (*_METRICS, choice.UNPARSED)


def turns(document: Document, prompt: Prompt, variant: str) -> list[str]:
    """The question with its options: once, or for each answer that is drawn."""
    return choice.turns(document, prompt, variant) * (DRAWS if variant in (GENERATED, COT) else 1)


def by_likelihoods(document: Document, found: list[float]) -> Scores:
    """js_similarity of the softmax of the letters' log-likelihoods; modal_acc: whether its largest is people's.

    Raises:
        InputError: a likelihood is no number.
    """
    top = max(finite(found))
    weights = [exp(one - top) for one in found]
    return _score(document, [weight / sum(weights) for weight in weights])


def by_replies(document: Document, replies: list[str]) -> Scores:
    """As `by_likelihoods`, of the shares of the letters that were written; unparsed: the share of other replies.

    Replies that are no letter count as an option that nobody of the culture chose: replies without any letter score 0.
    """
    counts = Counter(choice.read(reply, choice.letters(document)) for reply in replies)
    unparsed = counts[None] / len(replies)
    shares = [counts[letter] / len(replies) for letter in choice.letters(document)]
    return _with_unparsed(document, shares, unparsed)


def shares(document: Document, tokens: Tokens) -> list[float]:
    """Each option's share: the probabilities of the first tokens that are its letter, read as a reply is."""
    called = choice.letters(document)
    said = [choice.read(one["token"], called) for one in tokens]
    return [sum(exp(one["logprob"]) for one, read in zip(tokens, said, strict=True) if read == it) for it in called]


def by_shares(document: Document, found: list[float]) -> Scores:
    """As `by_replies`, of the options' shares in the first token; unparsed: what no letter has."""
    return _with_unparsed(document, found, max(0.0, 1 - sum(found)))


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


def _with_unparsed(document: Document, shares: list[float], unparsed: float) -> Scores:
    """The scores where a share went to no option, which nobody of the culture chose."""
    return {**_score({"shares": [*document["shares"], 0.0]}, [*shares, unparsed]), "unparsed": unparsed}


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
    metrics={LIKELIHOOD: _METRICS, GENERATED: _WRITTEN, COT: _WRITTEN, LOGPROBS: _WRITTEN},
    turns=turns,
    choices=choice.letters,
    by_likelihoods=by_likelihoods,
    by_replies=by_replies,
    shares=shares,
    by_shares=by_shares,
    baselines=baselines,
    sampled=True,
)
