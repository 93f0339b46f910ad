"""Each adapted question answered in isolation: by its culture, by others, and by a panel of the culture's people.

adapted -> isolated (seed 001, 3.2: "for each culture in isolation"). What contrast.py shows, what distinctiveness
compares, and what representativeness asks a culture's panel. A culture that is shown and compared answers twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from datasets import Dataset

from caredio import features
from caredio.cultures import Culture
from caredio.llm.model import Model
from caredio.selection.settings import Settings as Selection
from caredio.stages import Expected, Planned, Planning, Stage, fan_out, in_all
from caredio.synthesis import grounding, panel, personas, questions, roleplay
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.personas import People
from caredio.synthesis.settings import Settings


def calls(planning: Planning) -> Planned:
    """A request for each adapted question and each of those who answer it."""
    rooms = planning.settings, planning.selection
    isolated: list[Expected] = []
    for target, adapted in zip(planning.targets, planning.rows["adapted"], strict=True):
        others = panel.others(target, "", planning.cultures, *rooms)
        shown, people = sum(one.shown for one in others), planning.settings.personas
        rows = adapted.times(1 + len(others) + people)
        isolated.append(replace(rows, others=len(others), shown=shown, panel=people))
    asked = in_all(isolated) if planning.settings.adaptation else in_equal_words(planning)[0]
    return Planned([roleplay.step("isolated answers", asked, planning)], isolated)


def in_equal_words(planning: Planning) -> tuple[Expected, Expected]:
    """The answers, all and others', where all targets are asked the same: equal requests are made once."""
    rooms, asked = (planning.settings, planning.selection), planning.rows["adapted"][0]
    ids = [one for topic in planning.topics for one in questions.ids(topic.topic_id, rooms[0].per_topic)]
    everyone, others = panel.alike(planning.targets, ids, planning.cultures, *rooms)
    people = rooms[0].personas * len(planning.targets)

    def each(number: float) -> Expected:
        return Expected(math.ceil(number * asked.rows), math.ceil(number * asked.upper_bound))

    return each(people + everyone / len(ids)), each(others / len(ids))


STAGE = Stage(
    "isolated",
    {"adapted": "question_id culture language question"},
    features.ISOLATED,
    modules=(__name__,),
    prompts=("roleplay", "voice"),
    calls=calls,
)


def speakers(
    culture: Culture,
    question_id: str,
    cultures: Mapping[str, Culture],
    settings: Settings,
    selection: Selection,
    people: People | None = None,
) -> list[tuple[str, str | None, int]]:
    """(culture, persona, draw) of all who answer a question adapted to a culture: it, the others, its people."""
    others = panel.others(culture, question_id, cultures, settings, selection)
    drawn = personas.draw(culture, question_id, settings, people)
    return [
        (culture.slug, None, 0),
        *((other.culture, None, other.draw) for other in others),
        *((culture.slug, person, 0) for person in drawn),
    ]


def run(
    adapted: Dataset,
    settings: Settings,
    selection: Selection,
    model: Model,
    cultures: dict[str, Culture],
    grounds: Grounds = grounding.NONE,
) -> Dataset:
    """Answer each adapted question as its culture, the others and the panel.

    Args:
        adapted: `features.ADAPTED`.
        selection: how many cultures answer beside the neighbours.
        cultures: all known, by slug.
        grounds: the evidence that prompts show, and whom personas are drawn from.

    Returns:
        `features.ISOLATED` and `drop_reason`: of each question first the culture's own answer, by nobody in particular,
        then the others', then the panel's.
    """
    adapted = STAGE.table(adapted, "adapted")

    def asked(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        target = cultures[row["culture"]]
        question = {**row, **roleplay.ALONE, "target": target.slug}
        for slug, persona, draw in speakers(target, row["question_id"], cultures, settings, selection, grounds.people):
            yield {**question, "culture": slug, "persona": persona, "draw": draw}

    alone = adapted.select_columns(["question_id", "culture", "question", "language"])
    rows = fan_out(alone, asked, roleplay.unanswered(features.ISOLATED), "who answers")
    return roleplay.answer(rows, settings, model, cultures, "isolated answers", published=True, grounds=grounds)
