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
from dataclasses import dataclass, field
from typing import Any

from caredio.cultures import Culture
from caredio.errors import InputError

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


@dataclass(frozen=True)
class Config:
    personas: int = field(default=0, metadata={"help": "people of the culture who answer each adapted question too"})
    seed: int = field(default=0, metadata={"help": "seed of every draw"})

    def __post_init__(self) -> None:
        if self.personas < 0:
            raise InputError("personas must be 0 (nobody in particular answers) or more.")


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on who answers: `Config` as run.json holds it."""
    count = settings["personas"]
    if not count:
        return "Personas: none; each culture answers as nobody in particular."
    return f"Personas: {count} {'people' if count > 1 else 'person'} of each culture, drawn by seed, answered besides."


def panel(culture: Culture, question_id: str, config: Config) -> list[str]:
    """`config.personas` people of the culture, drawn by seed for this question.

    Each attribute is dealt like a shuffled pack (Latin hypercube sampling; McKay et al., 1979), so that its values are
    as equally frequent in a panel as the panel's size allows.
    """
    draw = random.Random(f"{config.seed}/{culture.slug}/{question_id}/panel")
    size = config.personas
    genders, ages, settlements = (_deal(pack, size, draw) for pack in (GENDERS, AGES, SETTLEMENTS))
    places = _deal(culture.places or PARTS, size, draw)
    people, jobs = [], _deal(tuple(OCCUPATIONS), len(OCCUPATIONS) * (size + 1), draw)
    for gender, age, settlement, place in zip(genders, ages, settlements, places, strict=True):
        job = next(job for job in jobs if age in OCCUPATIONS[job])
        jobs.remove(job)
        home = place if culture.places else f"{settlement} in {place} of the country"
        people.append(f"{gender} aged {age}, {job}, living in {home}")
    return people


def _deal(pack: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """`count` values from the top of shuffled packs, one pack after the other."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += draw.sample(pack, len(pack))
    return dealt[:count]
