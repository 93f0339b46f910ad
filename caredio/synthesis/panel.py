"""Who answers beside a culture, and against whom: decided here, for the stages and for the plan.

A culture is shown the answers of its nearest neighbours and of far cultures, drawn by seed for each question from other
regions, so that China meets more than its neighbours. What its answer is compared with is drawn from all others
(seed 001, Eq. 1); a culture whose answer was shown is compared by another draw, never by the text that was shown.
People of the culture join them in isolated.py.

Settings of an older version name `neighbours`: these alone are shown, and the rest are compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from caredio.cultures import Culture
from caredio.selection.settings import FEW
from caredio.selection.settings import Settings as Selection
from caredio.synthesis.settings import Settings

FRESH = 2  # draw of a culture's answer that is compared, where draw 0 is shown; redraw.py has draw 1
AGAIN = 3  # by how much the draw of a second attempt is higher


class Other(NamedTuple):
    """A culture that answers the question of another: whether it is shown to that one, and which draw its answer is."""

    culture: str
    shown: bool
    draw: int


def near(culture: Culture, settings: Settings) -> tuple[str, ...]:
    """Slugs of the neighbours whose answers are shown to the culture, nearest first."""
    return culture.neighbours[: settings.near if settings.neighbours is None else settings.neighbours]


def far(culture: Culture, question_id: str, cultures: Mapping[str, Culture], settings: Settings) -> tuple[str, ...]:
    """Slugs of the far cultures whose answers to a question are shown: of other regions, as many as there are, by seed.

    None of them is listed as a neighbour.
    """
    if settings.neighbours is not None or not settings.far:
        return ()
    known = {culture.slug, *culture.neighbours}
    rest = sorted(slug for slug, one in cultures.items() if slug not in known and one.region != culture.region)
    random.Random(f"{settings.seed}/{culture.slug}/{question_id}/far").shuffle(rest)
    first = {cultures[slug].region: slug for slug in reversed(rest)}.values()  # one of each region
    return tuple(sorted(rest, key=lambda slug: slug not in first)[: settings.far])


def shown(culture: Culture, question_id: str, cultures: Mapping[str, Culture], settings: Settings) -> tuple[str, ...]:
    """Slugs of those whose answers to a question stand in the culture's prompts: as many for each question."""
    return (*near(culture, settings), *far(culture, question_id, cultures, settings))


def answering(
    targets: Sequence[Culture], question_id: str, cultures: Mapping[str, Culture], settings: Settings
) -> list[str]:
    """Slugs of those who answer a universal question: the targets, and whom they are shown."""
    slugs = (slug for one in targets for slug in (one.slug, *shown(one, question_id, cultures, settings)))
    return list(dict.fromkeys(slugs))


def answers(
    targets: Sequence[Culture], question_ids: Iterable[str], cultures: Mapping[str, Culture], settings: Settings
) -> int:
    """How many answers that makes, to all of these questions."""
    ids = list(question_ids)
    always = {slug for one in targets for slug in (one.slug, *near(one, settings))}
    if always.issuperset(cultures):  # each question is answered by all: nothing need be drawn
        return len(cultures) * len(ids)
    return sum(len(answering(targets, question_id, cultures, settings)) for question_id in ids)


def others(
    culture: Culture, question_id: str, cultures: Mapping[str, Culture], settings: Settings, selection: Selection
) -> list[Other]:
    """Who answers the culture's question besides: those shown, then `selection.asked_for` of all others, by seed.

    Without contrast nobody is shown; those compared are the same, with the same draws.
    """
    seen = shown(culture, question_id, cultures, settings)
    rest = sorted(set(cultures) - {culture.slug, *(seen if settings.neighbours is not None else ())})
    draw = random.Random(f"{settings.seed}/{culture.slug}/{question_id}")
    compared = draw.sample(rest, min(selection.asked_for, len(rest)))
    return [
        *(Other(slug, True, 0) for slug in seen if settings.contrast),
        *(Other(slug, False, FRESH if slug in seen else 0) for slug in compared),
    ]


def alike(
    targets: Sequence[Culture],
    question_ids: Iterable[str],
    cultures: Mapping[str, Culture],
    settings: Settings,
    selection: Selection,
) -> tuple[int, int]:
    """How many answers to these questions, all and others', differ where the targets are asked them in equal words."""
    everyone = besides = 0
    for question_id in question_ids:
        found = (others(one, question_id, cultures, settings, selection) for one in targets)
        asked = {(other.culture, other.draw) for of_one in found for other in of_one}
        besides += len(asked)
        everyone += len(asked | {(one.slug, 0) for one in targets})
    return everyone, besides


def answer(other: Other, answers: Iterable[Mapping[str, Any]]) -> str | None:
    """What an other said, among isolated answers to the question: its draw, or the second attempt at it."""
    draws = (other.draw, other.draw + AGAIN)
    found = (one["response"] for one in answers if one["culture"] == other.culture and one["draw"] in draws)
    return next(found, None)


def describe_shown(settings: Mapping[str, Any]) -> str:
    """Whose answers are shown, for the card: settings as run.json holds them."""
    if (count := settings.get("neighbours")) is not None:
        return f"up to {count} neighbouring culture{'s' if count > 1 else ''}"
    parts = [(settings["near"], "near"), (settings["far"], "far")]
    said = " and ".join(f"up to {count} {kind}" for count, kind in parts if count)
    drawn = " (drawn by seed for each question, from other regions)" if settings["far"] else ""
    return f"{said} culture{'s' if parts[0][0] + parts[1][0] > 1 else ''}{drawn}"


def describe_compared(settings: Mapping[str, Any]) -> str:
    """With whose answers d compares, for the card: settings as run.json holds them."""
    if not settings.get("contrast", True):
        return (
            f"up to {settings['compared'] or FEW} cultures, drawn by seed from all others, answer it for the comparison"
        )
    if settings.get("neighbours") is not None:
        return f"up to {settings['compared'] or FEW} cultures that were not shown answer it too"
    return (
        f"up to {settings['compared'] or FEW} cultures, drawn by seed from all others, answer it for the comparison,"
        " one that was shown by an answer of another draw"
    )
