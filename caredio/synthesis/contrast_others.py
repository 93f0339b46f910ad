"""Each candidate's question answered in contrast by its others too, so that a preference pair is of one condition.

candidates -> contrasted_others. It is asked for where pairs of isolated answers are not wanted (training/views.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from datasets import Dataset

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.llm.spec import Messages
from caredio.stages import Planned, Planning, Stage, fan_out, in_all
from caredio.synthesis import contrast, grounding
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.settings import Settings


def calls(planning: Planning) -> Planned:
    """A request for each other of a candidate, where they are wanted."""
    if not planning.settings.contrast_others:
        return Planned([], [])
    candidates = planning.rows["candidates"]
    most = len(planning.cultures) - 1  # a culture that is shown and compared is one
    asked = [
        replace(one, rows=one.rows * others, upper_bound=one.upper_bound * others)
        for one in candidates
        for others in [min(one.others, most)]
    ]
    return Planned([contrast.step("contrastive of others", in_all(asked), planning)], asked)


STAGE = Stage(
    "contrasted_others",
    {"candidates": "sample_id question_id culture language question isolated_response others"},
    features.CONTRASTED_OTHERS,
    modules=(__name__,),
    prompts=("contrast", "voice"),
    calls=calls,
)


def run(
    candidates: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
    grounds: Grounds = grounding.NONE,
) -> Dataset:
    """Answer each candidate's question as each of its others, in contrast: what a preference pair can reject.

    An other is shown as many isolated answers as the candidate was: the candidate's own, then those of its other
    others in their order.

    Args:
        candidates: `features.CANDIDATES`.
        cultures: all known, by slug.
        grounds: the evidence that prompts show.

    Returns:
        `features.CONTRASTED_OTHERS` and `drop_reason`: sample_id is the candidate's, culture the other's.
    """
    candidates = STAGE.table(candidates, "candidates")
    template = prompts.load("contrast", settings.prompts)
    names = ("sample_id", "question_id", "culture", "language", "question", "others")

    def as_others(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        own = {"culture": row["culture"], "response": row["isolated_response"], "shown": True}
        count = sum(other["shown"] for other in row["others"])
        first: dict[str, dict[str, Any]] = {}
        for other in row["others"]:  # of a culture that answered twice, the answer that was shown
            first.setdefault(other["culture"], {**other, "shown": True})
        for culture in first:
            rest = (one for slug, one in first.items() if slug != culture)
            yield {**row, "culture": culture, "others": list(islice((own, *rest), count))}

    def parse(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
        return {"response": contrast.parse(content, row, answer, cultures, settings)["response"]}

    def grounded(row: dict[str, Any]) -> Messages:
        culture = cultures[row["culture"]]
        messages = contrast.prompt(row, culture, cultures, settings, template)
        return grounds.shown(messages, row["question_id"], culture)

    return ask(
        fan_out(candidates, as_others, features.columns(" ".join(names)), "others"),
        model,
        prompt=grounded,
        parse=parse,
        columns=features.columns("response"),
        schema=contrast.SCHEMA,
        prompts=settings.prompts,
        desc="contrastive answers of others",
    )
