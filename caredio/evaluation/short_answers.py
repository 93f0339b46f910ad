"""Questions that people answered in a few words: how likely a model finds their answers, or whether it writes one.

bits_per_byte moves where multiple choice does not; the margin of a region's own majority answer over those of other
regions (majority.py says which) is one that the style of answers does not decide. A question without an own answer or
without rivals has no margin, and does not enter its mean. OPEN questions have no scores of their own: their replies are
for a judge to rate.
"""

from __future__ import annotations

from caredio.evaluation import metrics
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, Document, Kind, Metric, Scores, finite
from caredio.evaluation.choice import PARTS, UNPARSED
from caredio.prompts import Prompt

TOKENS = 32  # of a written answer
_OPEN_TOKENS = 512
_BITS = Metric("bits_per_byte", "bits per byte", higher_is_better=False, share=False)
_MARGIN = Metric("margin", "margin, nats", share=False)
_MARGIN_PER_BYTE = Metric("margin_per_byte", "margin, nats per byte", share=False)
_WRITTEN = (Metric("sem_b", "SEM-B"), Metric("sem_w", "SEM-W"), UNPARSED)
_LENGTH = Metric("characters", "characters of a reply", share=False)


def turns(document: Document, prompt: Prompt, variant: str) -> list[str]:
    """The question, as it is asked in a variant."""
    return [prompt.part(PARTS[variant], question=document["question"])]


def choices(document: Document) -> list[str]:
    """The texts whose likelihoods are asked, each once: people's answers, the own one, and the rivals."""
    own = [document["own"]] if document["own"] else []
    rivals = [one["text"] for one in document["rivals"] or ()]
    return list(dict.fromkeys([*(one["text"] for one in document["answers"]), *own, *rivals]))


def by_likelihoods(document: Document, found: list[float]) -> Scores:
    """bits_per_byte of people's answers, each weighing as many as gave it; margin, and margin_per_byte, in nats.

    Args:
        found: the log-likelihood of each of the `choices`, in nats.

    Raises:
        InputError: a likelihood is no number.
    """
    likelihood = dict(zip(choices(document), finite(found), strict=True))
    answers, own = document["answers"], document["own"]
    scores: Scores = {}
    if answers:
        texts, weights = [one["text"] for one in answers], [one["weight"] for one in answers]
        scores["bits_per_byte"] = metrics.bits_per_byte([likelihood[text] for text in texts], texts, weights)
    if own and document["rivals"]:
        rivals = [one["text"] for one in document["rivals"]]
        pair = [likelihood[own]], [[likelihood[text] for text in rivals]]
        scores["margin"] = metrics.margin(*pair)
        scores["margin_per_byte"] = metrics.margin_per_byte(*pair, [own], [rivals])
    return scores


def by_replies(document: Document, replies: list[str]) -> Scores:
    """sem_b and sem_w of the reply, which are 0 where it is empty, and unparsed then 1."""
    answers, language = document["answers"], document.get("language") or "en"
    empty = float(not replies[0].strip())
    return {
        "sem_b": metrics.sem_b(replies, [answers], language),
        "sem_w": metrics.sem_w(replies, [answers], language),
        "unparsed": empty,
    }


def open_turns(document: Document, prompt: Prompt, variant: str) -> list[str]:
    """The question alone."""
    return [prompt.part("open", question=document["question"])]


def lengths(document: Document, replies: list[str]) -> Scores:
    """characters: how long the reply is; unparsed: 1 where it is empty."""
    reply = replies[0].strip()
    return {"characters": float(len(reply)), "unparsed": float(not reply)}


KIND = Kind(
    name="answers",
    columns=("question", "answers", "own", "rivals"),
    prompt="short_answers",
    metrics={LIKELIHOOD: (_BITS, _MARGIN, _MARGIN_PER_BYTE), GENERATED: _WRITTEN, COT: _WRITTEN},
    turns=turns,
    choices=choices,
    by_likelihoods=by_likelihoods,
    by_replies=by_replies,
    tokens=TOKENS,
)
OPEN = Kind(
    name="answers",
    columns=KIND.columns,
    prompt="short_answers",
    metrics={GENERATED: (_LENGTH, UNPARSED)},
    turns=open_turns,
    by_replies=lengths,
    tokens=_OPEN_TOKENS,
)
