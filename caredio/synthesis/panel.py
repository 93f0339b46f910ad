"""Who answers beside a culture, and against whom: decided here, for the stages and for the plan.

A culture's nearest neighbours are shown to it; others, drawn by seed from the rest, are what its answer is compared
with. People of the culture join them in isolated.py.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from caredio.cultures import Culture
from caredio.selection.settings import Settings as Selection
from caredio.synthesis.settings import Settings


def neighbours(culture: Culture, settings: Settings) -> tuple[str, ...]:
    """Slugs of the neighbours that stand in the culture's prompts, nearest first."""
    return culture.neighbours[: settings.neighbours]


def answering(targets: Sequence[Culture], cultures: Mapping[str, Culture], settings: Settings) -> dict[str, Culture]:
    """Who answers the universal questions: the targets and their neighbours, by slug."""
    slugs = [slug for target in targets for slug in (target.slug, *neighbours(target, settings))]
    return {slug: cultures[slug] for slug in dict.fromkeys(slugs)}


def others(
    culture: Culture, question_id: str, cultures: Mapping[str, Culture], settings: Settings, selection: Selection
) -> dict[str, bool]:
    """Who answers the culture's question besides: slug -> whether the answer is shown, in the order asked.

    The neighbours are shown; `selection.asked_for` others are drawn by seed, for this question, from the rest.
    """
    shown = neighbours(culture, settings)
    rest = sorted(set(cultures) - {culture.slug, *shown})
    draw = random.Random(f"{settings.seed}/{culture.slug}/{question_id}")
    compared = draw.sample(rest, min(selection.asked_for, len(rest)))
    return dict.fromkeys(shown, True) | dict.fromkeys(compared, False)
