"""Multiple choice: the option whose letter is likelier, or is written alone.

A document may be asked in several orders of its options (`orders`); its score is then the share of orders in which it
is answered right, so that a model that prefers a letter gains nothing by it.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from statistics import mean

from caredio.evaluation import metrics
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, LOGPROBS, Document, Kind, Metric, Scores, finite
from caredio.prompts import Prompt

CHANCE, FIXED_LETTER = "chance", "fixed letter"
ACCURACY, UNPARSED = Metric("acc", "accuracy"), Metric("unparsed", "unparsed", higher_is_better=False)
FORM = "{letter}. {option}"  # of an option, unless the document has its own
_ALONE = re.compile(r"[\W_]*([^\W_]+)[\W_]*")
PARTS = {LIKELIHOOD: "likelihood", GENERATED: "generated", COT: "cot", LOGPROBS: "generated"}


def letters(document: Document) -> list[str]:
    """What the options are called."""
    return list(document.get("letters") or string.ascii_uppercase[: len(document["options"])])


def orders(document: Document) -> list[list[int]]:
    """The orders in which the options are shown, each a list of their places."""
    return document.get("orders") or [list(range(len(document["options"])))]


def rotations(options: int) -> list[list[int]]:
    """All orders that are rotations of the first."""
    return [[*range(first, options), *range(first)] for first in range(options)]


def read(text: str, among: Sequence[str]) -> str | None:
    """Which of the words `among` an answer is, in either case; None where it is anything else."""
    found = _ALONE.fullmatch(text)
    return next((one for one in among if found and found[1].lower() == one.lower()), None)


def turns(document: Document, prompt: Prompt, variant: str) -> list[str]:
    """The question with its options, once an order."""
    called = letters(document)
    *first, last = called
    return [
        prompt.part(
            PARTS[variant],
            letters=f"{', '.join(first)} and {last}",
            question=document["question"],
            options="\n".join(
                (document.get("form") or FORM).format(letter=letter, option=document["options"][place])
                for letter, place in zip(called, order, strict=True)
            ),
        )
        for order in orders(document)
    ]


def by_likelihoods(document: Document, found: list[float]) -> Scores:
    """acc: the share of orders in which the right option's letter is the likeliest (the first of equal ones).

    Raises:
        InputError: a likelihood is no number.
    """
    finite(found)
    n = len(letters(document))
    chosen = []
    for turn, order in enumerate(orders(document)):
        said = found[turn * n : (turn + 1) * n]
        chosen.append(order[said.index(max(said))])
    return {"acc": metrics.accuracy(chosen, [document["key"]] * len(chosen))}


def by_replies(document: Document, replies: list[str]) -> Scores:
    """acc: the share of orders in which the right letter is written alone; unparsed: in which no letter is."""
    called = letters(document)
    said = [read(reply, called) for reply in replies]
    chosen = [
        None if letter is None else order[called.index(letter)]
        for letter, order in zip(said, orders(document), strict=True)
    ]
    acc = metrics.accuracy(chosen, [document["key"]] * len(chosen))
    return {"acc": acc, "unparsed": mean(float(letter is None) for letter in said)}


def baselines(own: Sequence[Document], others: Sequence[Document]) -> dict[str, Scores]:
    """An option drawn evenly; and always the letter that is most often right on the file's other cultures."""
    found = {CHANCE: {"acc": mean(1 / len(document["options"]) for document in own)}}
    keys = Counter(order.index(document["key"]) for document in others for order in orders(document))
    if keys:
        place = min(keys, key=lambda key: (-keys[key], key))
        right = [mean(float(order.index(one["key"]) == place) for order in orders(one)) for one in own]
        found[FIXED_LETTER] = {"acc": mean(right)}
    return found


KIND = Kind(
    name="choice",
    columns=("question", "options", "key"),
    prompt="choice",
    metrics={LIKELIHOOD: (ACCURACY,), GENERATED: (ACCURACY, UNPARSED), COT: (ACCURACY, UNPARSED)},
    turns=turns,
    choices=letters,
    by_likelihoods=by_likelihoods,
    by_replies=by_replies,
    baselines=baselines,
)
