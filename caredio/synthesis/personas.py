"""Who answers within a culture: a culture is a distribution, not one voice.

A persona is a part of a sentence in the role-play's system prompt, and stands in the `persona` column. Its categories
are those of official statistics, the same for every culture, so that none is pictured by what outsiders expect of it:

- age: bands of adults in UN World Population Prospects
- gender: woman or man, as censuses record it; people outside the two are missing here as they are there
- settlement: city, town or rural area (Degree of Urbanisation, UN Statistical Commission 2020)
- part of the country: the points of the compass, which every country has, unless cultures.yaml names `places`
- occupation: the nine civilian major groups of ISCO-08, and those outside the labour force (ILO, 19th ICLS)

Or people come out of a table (`personas_file`), drawn by weight: a row's text, or what it says of them in columns that
census-grounded tables have (nvidia/Nemotron-Personas-* are such).
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.prompts import quote
from caredio.synthesis import evidence
from caredio.synthesis.settings import Settings
from caredio.tablefile import Table

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
_ATTRIBUTES = ("sex", "age", "marital_status", "education_level", "occupation")
_PLACES = ("city", "district", "prefecture", "state")
_LONGEST = 600  # characters of a description


@dataclass(frozen=True)
class People:
    """Those of a table who may answer, by culture, and the record of where they come from."""

    texts: Mapping[str, Sequence[str]]
    weights: Mapping[str, Sequence[float]]  # each added to those before it
    record: Mapping[str, Any] = field(default_factory=dict)

    def count(self, culture: str) -> int:
        """How many can be told apart."""
        return len(self.texts.get(culture, ()))

    def draw(self, culture: str, size: int, chance: random.Random) -> list[str]:
        """`size` people, one after the other by weight, nobody twice."""
        texts, weights = self.texts[culture], self.weights[culture]
        starts, left = [0.0, *weights[:-1]], weights[-1]
        drawn: list[int] = []
        for _ in range(size):
            at = chance.random() * left
            for place in sorted(drawn):  # whose weights are passed over
                at += weights[place] - starts[place] if at >= starts[place] else 0.0
            found = bisect.bisect(weights, at, hi=len(weights) - 1)
            while found in drawn:  # by rounding alone
                found = (found + 1) % len(texts)
            drawn.append(found)
            left -= weights[found] - starts[found]
        return [texts[place] for place in drawn]


def read(table: Table, cultures: Sequence[str | None], record: Mapping[str, Any]) -> People:
    """The people of a table: who is described alike is one, of the sum of their weights.

    Args:
        cultures: whose each row is; None: nobody's who is known.
        record: the table's name and hash.

    Returns:
        People whose record counts the rows left out: unknown_culture, no_text, piece_too_long, chat_marks, no_weight.

    Raises:
        InputError: no column describes them, or a weight is no number from 0 on.
    """
    told = texts(table)
    weights = _weights(table, len(told))
    found: dict[str, dict[str, float]] = defaultdict(dict)
    left: Counter[str] = Counter()
    for culture, text, weight in zip(cultures, told, weights, strict=True):
        reasons = {
            "unknown_culture": culture is None,
            "no_text": not text,
            "piece_too_long": len(text) > _LONGEST,
            "chat_marks": evidence.marked(text),
            "no_weight": not weight,
        }
        if reason := next((name for name, holds in reasons.items() if holds), None):
            left[reason] += 1
        else:
            own = found[str(culture)]
            own[text] = own.get(text, 0.0) + weight
    return People(
        {culture: list(own) for culture, own in found.items()},
        {culture: list(accumulate(own.values())) for culture, own in found.items()},
        {**record, "people": {culture: len(own) for culture, own in sorted(found.items())}, "left_out": dict(left)},
    )


def texts(table: Table) -> list[str]:
    """What a table says of each of its people; empty where nothing.

    Raises:
        InputError: it has no column that describes them.
    """
    if "text" in table.names:
        return [evidence.cleaned(_said(cell)) for cell in table.cells("text")]
    names = [name for name in (*_ATTRIBUTES, *_PLACES, "persona") if name in table.names]
    if not {"persona", "sex"} & set(names):
        raise InputError(
            f"{table.origin}: has neither a column text, nor persona, nor sex and what else describes people; found"
            f" {', '.join(table.names[:20])}."
        )
    described = []
    for cells in zip(*map(table.cells, names), strict=True):
        known = {name: _said(cell) for name, cell in zip(names, cells, strict=True) if _said(cell)}
        attributes = [_attribute(name, text) for name, text in known.items() if name != "persona"]
        parts = [", ".join(attributes), known.get("persona", "")]
        described.append(evidence.cleaned(". ".join(filter(None, parts))))
    return described


def _said(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _attribute(name: str, text: str) -> str:
    """A cell of a column as part of a description; codes such as never_married are words with lines between."""
    plain = text.replace("_", " ")
    return f"aged {plain}" if name == "age" and plain.isdigit() else plain


def _weights(table: Table, count: int) -> list[float]:
    """How many people each row stands for: 1 where the table does not say.

    Raises:
        InputError: a weight is no number from 0 on; names the row.
    """
    if "weight" not in table.names:
        return [1.0] * count
    found = []
    for number, cell in enumerate(table.cells("weight")):
        try:
            weight = float(cell)
        except (TypeError, ValueError):
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise InputError(f"{table.row(number)}: weight is {str(cell)[:40]!r}; give a number from 0 on.")
        found.append(weight)
    return found


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on who answers: settings as run.json holds them."""
    count = settings["personas"]
    if not count:
        return "Personas: none; each culture answers as nobody in particular."
    out_of = f" out of `{settings['people']['table']}`, by its weights" if settings.get("people") else ""
    who = "people" if count > 1 else "person"
    return f"Personas: {count} {who} of each culture, drawn by seed{out_of}, answered besides."


def named(persona: str | None, settings: Settings) -> str:
    """What follows "lives there today" in a prompt: nothing, or who; in quotes where a table says so."""
    if not persona:
        return ""
    return f": {quote(persona) if settings.personas_file else persona}"


def draw(culture: Culture, question_id: str, settings: Settings, people: People | None = None) -> list[str]:
    """`settings.personas` people of the culture, drawn by seed for this question: out of a table where there is one.

    Else each attribute is dealt like a shuffled pack (Latin hypercube sampling; McKay et al., 1979), so that its values
    are as equally frequent in a panel as the panel's size allows.
    """
    chance = random.Random(f"{settings.seed}/{culture.slug}/{question_id}/panel")
    size = settings.personas
    if people and size:
        return people.draw(culture.slug, size, chance)
    genders, ages, settlements = (_deal(pack, size, chance) for pack in (GENDERS, AGES, SETTLEMENTS))
    places = _deal(culture.places or PARTS, size, chance)
    made, jobs = [], _deal(tuple(OCCUPATIONS), len(OCCUPATIONS) * (size + 1), chance)
    for gender, age, settlement, place in zip(genders, ages, settlements, places, strict=True):
        job = next(job for job in jobs if age in OCCUPATIONS[job])
        jobs.remove(job)
        home = place if culture.places else f"{settlement} in {place} of the country"
        made.append(f"{gender} aged {age}, {job}, living in {home}")
    return made


def _deal(pack: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """`count` values from the top of shuffled packs, one pack after the other."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += chance.sample(pack, len(pack))
    return dealt[:count]
