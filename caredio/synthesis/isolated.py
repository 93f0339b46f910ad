"""Each adapted question answered in isolation: by its culture, by others, and by a panel of the culture's people.

adapted -> isolated (seed 001, 3.2: "for each culture in isolation"). What contrast.py shows, what distinctiveness
compares, and what representativeness asks a culture's panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Dataset

from caredio import features
from caredio.cultures import Culture
from caredio.llm.model import Model
from caredio.synthesis import adapt, contrast, personas, roleplay


def speakers(
    target: Culture,
    question_id: str,
    config: contrast.Config,
    people: personas.Config,
    cultures: dict[str, Culture],
    neighbours: adapt.Config,
) -> list[tuple[str, str | None]]:
    """(culture, persona) of all who answer a question adapted to `target`: the culture, the others, the panel."""
    others = contrast.others(target, question_id, cultures, config, neighbours)
    panel = personas.panel(target, question_id, people)
    return [*((slug, None) for slug in (target.slug, *others)), *((target.slug, persona) for persona in panel)]


def run(
    adapted: Dataset,
    config: contrast.Config,
    people: personas.Config,
    model: Model,
    cultures: dict[str, Culture],
    style: roleplay.Config,
    neighbours: adapt.Config,
) -> Dataset:
    """Answer each adapted question as its culture, the others and the panel.

    Args:
        adapted: `features.ADAPTED`.
        config: how many cultures answer beside the neighbours.
        people: size of the panel.
        cultures: all known, by slug.
        style: length and wording of the answers.
        neighbours: how many neighbours answer.

    Returns:
        `features.ISOLATED` and `drop_reason`: of each question first the culture's own answer, by nobody in particular,
        then the others', then the panel's.
    """
    adapted = features.require(adapted, features.ADAPTED, "adapted")

    def rows() -> Iterator[dict[str, Any]]:
        for row in adapted.select_columns(["question_id", "culture", "question", "language"]):
            target = cultures[row["culture"]]
            question = {**row, **roleplay.ALONE, "target": target.slug}
            for slug, persona in speakers(target, row["question_id"], config, people, cultures, neighbours):
                yield {**question, "culture": slug, "persona": persona}

    return roleplay.answer(rows(), features.ISOLATED, style, model, cultures, "isolated answers", published=True)
