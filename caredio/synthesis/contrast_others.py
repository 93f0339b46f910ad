"""Each candidate's question answered in contrast by its others too, so that a preference pair is of one condition.

candidates -> contrasted_others. It is asked for where pairs of isolated answers are not wanted (training/views.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from datasets import Dataset

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.stages import Stage
from caredio.synthesis import contrast
from caredio.synthesis.settings import Settings

STAGE = Stage(
    "contrasted_others",
    {"candidates": "sample_id culture language question isolated_response others"},
    features.CONTRASTED_OTHERS,
    modules=(__name__,),
    prompts=("contrast",),
)


def run(candidates: Dataset, settings: Settings, model: Model, cultures: dict[str, Culture]) -> Dataset:
    """Answer each candidate's question as each of its others, in contrast: what a preference pair can reject.

    An other is shown as many isolated answers as the candidate was: the candidate's own, then those of its other
    others in their order.

    Args:
        candidates: `features.CANDIDATES`.
        cultures: all known, by slug.

    Returns:
        `features.CONTRASTED_OTHERS` and `drop_reason`: sample_id is the candidate's, culture the other's.
    """
    candidates = STAGE.table(candidates, "candidates")
    template = prompts.load("contrast", settings.prompts)
    names = ("sample_id", "culture", "language", "question", "others")

    def rows() -> Iterator[dict[str, Any]]:
        for row in candidates:
            own = {"culture": row["culture"], "response": row["isolated_response"], "shown": True}
            for other in row["others"]:
                rest = ({**one, "shown": True} for one in row["others"] if one["culture"] != other["culture"])
                beside = list(islice((own, *rest), settings.neighbours))
                yield {**row, "culture": other["culture"], "others": beside}

    def parse(content: str, row: dict[str, Any], answer: Answer) -> dict[str, Any]:
        return {"response": contrast.parse(content, row, answer, cultures, settings)["response"]}

    return ask(
        features.table(rows(), features.columns(" ".join(names))),
        model,
        prompt=lambda row: contrast.prompt(row, cultures[row["culture"]], cultures, settings, template),
        parse=parse,
        columns=features.columns("response"),
        desc="contrastive answers of others",
    )
