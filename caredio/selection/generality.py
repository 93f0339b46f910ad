"""The Conceptual Cultural Index as distinctiveness: how much more widely a response is shared in its culture.

Ohashi and Iyatomi, 2026 (arXiv 2602.09444): CCI(x; t, C) = p_t(x) - mean over the other cultures c of C of p_c(x),
where p_c(x) in [0, 1] is a model's estimate of how general x is in culture c, and one reply gives all cultures of C.
Here x is a question with its response, and the prompt does not say whose it is: cultures are in the order of names.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, List, Value

from caredio import features, prompts
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages, Spec
from caredio.prompts import Prompt
from caredio.selection.conditioning import Conditioning
from caredio.selection.settings import Settings
from caredio.stages import Expected, in_all

PROMPT = "generality"
_NUMBER = {"type": "number", "minimum": 0, "maximum": 1}
_WORDS = 10  # tokens of a culture's name and number in a reply
WITHOUT_EFFECT = ("PROMPT", "_NUMBER", "_WORDS")  # on what a stage makes, unless it is asked for: `counted`


def index(own: float, others: Sequence[float]) -> float:
    """d = p of the own culture - the mean p of the others, each from 0 to 1: -1 to 1."""
    return own - sum(others) / len(others)


def counted(settings: Settings) -> dict[str, Any]:
    """What counts for a result besides the settings that always do; nothing where the index is not asked for."""
    asked = settings.distinctiveness == "cci"
    return {"generality": {"estimates": settings.estimates, "form": _NUMBER}} if asked else {}


def schema(names: Iterable[str]) -> dict[str, Any]:
    """The JSON schema of a reply: a number for each culture."""
    names = list(names)
    numbers = dict.fromkeys(names, _NUMBER)
    return {"type": "object", "properties": numbers, "required": names, "additionalProperties": False}


def prompt(row: Mapping[str, Any], template: Prompt) -> Messages:
    """Row of question, response and names (of cultures) -> messages that ask how widely each of them shares it."""
    quoted = {name: prompts.quote(row[name]) for name in ("question", "response")}
    return template.messages(cultures=json.dumps(row["names"], ensure_ascii=False), **quoted)


def parse(content: dict[str, Any], row: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """The estimates in the order of the row's names; `Unusable` where one is no number from 0 to 1."""
    shares = [float(content[name]) for name in row["names"]]
    if not all(0.0 <= share <= 1.0 for share in shares):  # nan, which every schema lets pass
        raise Unusable("an estimate is no number from 0 to 1", reason="no_estimate")
    return {"shares": shares}


def asked(
    rows: Iterable[Mapping[str, Any]], others: Iterable[Sequence[str]], conditioning: Conditioning
) -> Iterator[dict[str, Any]]:
    """What is asked of each row that can still be selected and has others: sample_id, question, response and names.

    Args:
        others: for each row, the slugs of the cultures that it is compared with.
    """
    for row, slugs in zip(rows, others, strict=True):
        if slugs and row.get("is_center", True):
            names = sorted({conditioning.name(slug) for slug in (row["culture"], *slugs)})
            if len(names) > 1:
                yield {**{name: row[name] for name in ("sample_id", "question", "response")}, "names": names}


def run(
    candidates: Dataset,
    others: Sequence[Sequence[str]],
    settings: Settings,
    model: Model,
    conditioning: Conditioning,
) -> list[float | None]:
    """`index` of each row over the mean of its estimates; None where it has no others, or no reply could be used.

    Args:
        candidates: sample_id, culture, question and response; is_center where that is known.
        others: for each row, the slugs of the cultures that it is compared with.

    Raises:
        EndpointError: the model cannot be asked.
    """
    template, text = prompts.load(PROMPT, settings.prompts), Value("string")
    calls = [
        {**row, "draw": draw} for row in asked(candidates, others, conditioning) for draw in range(settings.estimates)
    ]
    columns = Features({"sample_id": text, "question": text, "response": text, "names": List(text)})
    answered = ask(
        features.table(calls, Features({**columns, "draw": Value("int32")})),
        model,
        prompt=lambda row: prompt(row, template),
        parse=parse,
        columns=Features({"shares": List(Value("float64"))}),
        schema=lambda row: schema(row["names"]),
        prompts=settings.prompts,
        desc="generality",
    )
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in answered.select_columns(["sample_id", "names", "shares"]):
        if row["shares"] is not None:
            found[row["sample_id"]].append(dict(zip(row["names"], row["shares"], strict=True)))
    pairs = zip(candidates["sample_id"][:], candidates["culture"][:], strict=True)
    return [_mean_index(found[name], conditioning.name(culture)) if name in found else None for name, culture in pairs]


def _mean_index(estimates: Sequence[Mapping[str, float]], own: str) -> float:
    means = {name: sum(one[name] for one in estimates) / len(estimates) for name in estimates[0]}
    return index(means.pop(own), list(means.values()))


def step(calls: Iterable[Mapping[str, Any]], settings: Settings, spec: Spec) -> plan.Step:
    """The requests about rows that are known, equal ones once."""
    template = prompts.load(PROMPT, settings.prompts)
    tokens: dict[int, tuple[int, int]] = {}
    count = 0
    for row in calls:
        messages = prompt(row, template)
        written = min(_WORDS * len(row["names"]), spec.max_tokens)
        tokens[hash(json.dumps(messages))] = plan.tokens(messages, schema(row["names"]), spec), written
        count += 1
    times = settings.estimates
    read, said = (times * sum(kind[place] for kind in tokens.values()) for place in (0, 1))
    return plan.Step("generality", times * len(tokens), read, said, upper_bound=2 * times * count)


def expected(candidates: Iterable[Expected], settings: Settings, spec: Spec) -> plan.Step:
    """The requests about candidates to come."""
    asked = [one for one in candidates if one.compared]
    rows = in_all(asked).times(settings.estimates)
    cultures = 1 + max((min(settings.asked_for, one.compared) for one in asked), default=0)
    row = {**plan.SAMPLE, "names": [f"{number:.>{_WORDS}}" for number in range(cultures)]}
    messages = prompt(row, prompts.load(PROMPT, settings.prompts))
    return plan.answers("generality", rows, plan.tokens(messages, schema(row["names"]), spec), spec, _WORDS * cultures)
