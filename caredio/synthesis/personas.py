"""Who answers within a culture: a culture is a distribution, not one voice.

A persona is a part of a sentence in the role-play's system prompt, and stands in the `persona` column. Its categories
are those of official statistics, the same for every culture, so that none is pictured by what outsiders expect of it:

- age: bands of adults in UN World Population Prospects
- gender: woman or man, as censuses record it; people outside the two are missing here as they are there
- settlement: city, town or rural area (Degree of Urbanisation, UN Statistical Commission 2020)
- part of the country: the points of the compass, which every country has, unless cultures.yaml names `places`
- occupation: the nine civilian major groups of ISCO-08, and those outside the labour force (ILO, 19th ICLS)
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from caredio.cultures import Culture
from caredio.synthesis.settings import Settings

GENDERS = ("a woman", "a man")
AGES = ("18 to 29", "30 to 44", "45 to 59", "60 to 79")
SETTLEMENTS = ("a large city", "a small town", "a village")
PARTS = ("the north", "the south", "the east", "the west", "the middle")
OCCUPATIONS = {  # -> the ages it is dealt to
    "running a business or an office": AGES[1:],
    "working in a profession such as teaching, nursing or engineering": AGES,
    "working as a technician": AGES,
    "doing office work": AGES,
    "working in sales or services": AGES,
    "working in farming, forestry or fishing": AGES,
    "working in a trade such as building or tailoring": AGES,
    "driving or operating machines": AGES,
    "doing work such as cleaning or carrying": AGES,
    "studying": AGES[:1],
    "looking after home and family": AGES,
    "looking for work": AGES[:3],
    "retired": AGES[3:],
}


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on who answers: settings as run.json holds them."""
    count = settings["personas"]
    if not count:
        return "Personas: none; each culture answers as nobody in particular."
    return f"Personas: {count} {'people' if count > 1 else 'person'} of each culture, drawn by seed, answered besides."


def draw(culture: Culture, question_id: str, settings: Settings) -> list[str]:
    """`settings.personas` people of the culture, drawn by seed for this question.

    Each attribute is dealt like a shuffled pack (Latin hypercube sampling; McKay et al., 1979), so that its values are
    as equally frequent in a panel as the panel's size allows.
    """
    chance = random.Random(f"{settings.seed}/{culture.slug}/{question_id}/panel")
    size = settings.personas
    genders, ages, settlements = (_deal(pack, size, chance) for pack in (GENDERS, AGES, SETTLEMENTS))
    places = _deal(culture.places or PARTS, size, chance)
    people, jobs = [], _deal(tuple(OCCUPATIONS), len(OCCUPATIONS) * (size + 1), chance)
    for gender, age, settlement, place in zip(genders, ages, settlements, places, strict=True):
        job = next(job for job in jobs if age in OCCUPATIONS[job])
        jobs.remove(job)
        home = place if culture.places else f"{settlement} in {place} of the country"
        people.append(f"{gender} aged {age}, {job}, living in {home}")
    return people


def _deal(pack: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """`count` values from the top of shuffled packs, one pack after the other."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += chance.sample(pack, len(pack))
    return dealt[:count]
