"""Table stage (a join of equal questions): rows of a user's table become candidates, beside what others answered.

own rows -> candidates. The others are all, or `compared` cultures drawn by seed, and their answers (seed 001, Eq. 1).
The panel is what the row's own culture answered besides. Rows that are equal become one, of the sum of their weights.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Value

from caredio import cultures, features, tablefile
from caredio.errors import InputError
from caredio.selection import source
from caredio.selection.settings import Settings
from caredio.stages import Expected, Stage

log = logging.getLogger("caredio")

STAGE = Stage("candidates", {}, features.CANDIDATES, modules=(__name__, source.__name__))
_PANEL = 8  # answers of its own culture that a row keeps
ANSWERS = 8  # answers of each other culture
_NAMED = 3  # cultures of a language in a message
_QUOTED = 60  # characters of a question in a message
_REASON = 60  # characters of a table's own drop_reason
_UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"))  # marks stand on letters; alone they say nothing
_BLANK = frozenset(
    "\u115f\u1160\u2800\u3164\uffa0"
)  # fillers of Hangul, and Braille's blank: letters and symbols to Unicode
WITHOUT_EFFECT = ("_NAMED", "_QUOTED")  # on what a stage makes (fingerprints.py)


class Answer(NamedTuple):
    """A response of a culture to a question, and how many people gave it."""

    sample_id: str
    response: str
    weight: float


class Answers:
    """What a culture answered to a question."""

    def __init__(self, answers: list[Answer]) -> None:
        self.all = sorted(answers)
        least = sorted((one.weight for one in answers), reverse=True)[:ANSWERS][-1]
        self._heavy = [one for one in self.all if one.weight > least]
        self._even = [one for one in self.all if one.weight == least]
        self._alike: dict[str, list[Answer]] = defaultdict(list)
        for one in self.all:
            self._alike[_words(one.response)].append(one)

    def drawn(self, draw: random.Random, response: str) -> list[Answer]:
        """All, or of more than `ANSWERS` those that most people gave, and those that say `response`."""
        if len(self.all) <= ANSWERS:
            return draw.sample(self.all, len(self.all))
        found = draw.sample(self._even, ANSWERS - len(self._heavy))
        if self._heavy:
            found = draw.sample([*self._heavy, *found], ANSWERS)
        return [*found, *(one for one in self._alike.get(_words(response), ()) if one not in found)]


def run(table: Dataset, settings: Settings, warn: bool = True) -> Dataset:
    """Make candidates of rows with `question`, `response` and `culture`.

    Args:
        table: rows of text; equal `question_id`s are the same question asked in several cultures. Without that column
            the same question is the same text. Columns of `features.TAKEN` are kept where they hold text, and a
            row with a `drop_reason` is dropped for it, and `weight` says how many people gave the row (1 where it is
            null or no column); the rest is left.
        warn: log what is merged and what is left out.

    A table that is `features.CANDIDATES` already, as `synthesize` returns it, stays as it is.

    Returns:
        `features.CANDIDATES` and `drop_reason` (empty, no_weight, or the table's own). Equal rows are one, which has
        the sum of their weights. Rows of a question that no other culture answered have no others: `report` counts
        them, distinct.py gives them no score.

    Raises:
        InputError: a column is missing, culture names cannot be used, or there is no row.
    """
    if all(table.features.get(name) == kind for name, kind in features.CANDIDATES.items()):
        return features.require(table, features.CANDIDATES, "the table").select_columns(list(features.CANDIDATES))
    needed = [name for name in features.OWN if name != "question_id"]
    if missing := [name for name in needed if name not in table.column_names]:
        found = ", ".join(table.column_names)
        raise InputError(f"the table: column {', '.join(missing)} is missing; found {found}.")
    if not len(table):
        raise InputError("the table: no rows; nothing to work on.")
    cells = own_cells(table)
    kept = _kept(table, warn)
    given = source.text(tablefile.of(table, "the table"), "culture").to_pylist()
    spelled = [unicodedata.normalize("NFC", name.strip()) if name and visible(name) else "" for name in given]
    cultures.check_names(spelled)
    if warn:
        cultures.warn_of_spellings(spelled)
        _warn_of_languages(spelled, kept.get("language", []))
    weights = _weights(table)
    reasons = _reasons(cells, weights, kept.pop("drop_reason", [None] * len(table)))
    made: dict[str, list[Any]] = {**kept, **cells, "sample_id": sample_ids(cells), "drop_reason": reasons}
    made = _merged({**made, "weight": weights})
    if warn and (merged := len(table) - len(made["sample_id"])):
        log.info("rows that say what another says: %s; their weights are added to its weight", f"{merged:,}")
    made["others"], made["panel"] = _beside(made, settings)
    columns = Features({**features.CANDIDATES, "drop_reason": Value("string")})
    nothing = [None] * len(made["sample_id"])
    arrays = [pa.array(made.get(kind.name, nothing), kind.type) for kind in columns.arrow_schema]
    return features.in_memory(pa.table(arrays, schema=columns.arrow_schema))


def expected(candidates: Dataset) -> list[Expected]:
    """The rows of each culture among candidates, with the most others and the most people that answer one."""
    rows = Counter(candidates["culture"][:])
    others, panels = dict.fromkeys(rows, 0), dict.fromkeys(rows, 0)
    for row in candidates.select_columns(["culture", "others", "panel"]):
        culture, compared = row["culture"], {other["culture"] for other in row["others"]}
        others[culture] = max(others[culture], len(compared))
        panels[culture] = max(panels[culture], len(row["panel"]))
    return [
        Expected(rows[culture], rows[culture], culture, others[culture], panels[culture]) for culture in sorted(rows)
    ]


def report(candidates: Dataset) -> dict[str, Any]:
    """Per culture, the rows whose question no other culture answered: how many, their share, some question ids.

    They cannot be compared, so they are not ranked; the log says so.

    Raises:
        InputError: no row is left, or none can be compared; raised here, before anything is spent on embeddings.
    """
    candidates = features.require(candidates, features.CANDIDATES, "the table")
    rows = Counter(candidates["culture"][:])
    alone: dict[str, list[str]] = {culture: [] for culture in sorted(rows)}
    texts: dict[str, str] = {}  # of the questions that no other culture answered
    counts = pc.list_value_length(candidates.select_columns(["others"]).with_format("arrow")[:]["others"]).to_pylist()
    named = (candidates[name][:] for name in ("culture", "question_id", "question"))
    for culture, question_id, question, count in zip(*named, counts, strict=True):
        if not count:
            alone[culture].append(question_id)
            texts.setdefault(question_id, question)
    if len(rows) == 1:
        raise InputError(
            f"the table: holds one culture, {next(iter(rows))}, and no other to compare it with; give it rows of others"
            " that answer the same questions."
        )
    if sum(map(len, alone.values())) == len(candidates):
        raise InputError(
            f"the table: no question was answered by two cultures (such as {quoted(texts.values())}): distinctiveness"
            " compares answers to the same question, so give them the same question_id or the same text."
        )
    for culture, ids in alone.items():
        if ids:
            log.warning(
                "%s: no other culture answered the question of %d of %d rows (such as %s); they are not ranked.",
                culture,
                len(ids),
                rows[culture],
                quoted(texts[question_id] for question_id in dict.fromkeys(ids)),
            )
    return {
        culture: {
            "rows": rows[culture],
            "alone": len(ids),
            "share": round(len(ids) / rows[culture], 4),
            "questions": list(dict.fromkeys(ids))[:3],
        }
        for culture, ids in alone.items()
    }


def quoted(questions: Iterable[str]) -> str:
    """The first three of the questions, shortened, for a message."""
    lines = [" ".join(text.split()) for text in islice(questions, 3)]
    return ", ".join(repr(line if len(line) <= _QUOTED else f"{line[:_QUOTED]}...") for line in lines)


def text_id(question: str) -> str:
    """The id of a question that has none: equal for texts that differ in white space or Unicode composition only."""
    text = " ".join(unicodedata.normalize("NFC", question).split())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def own_cells(table: Dataset) -> dict[str, list[str]]:
    """The columns of `features.OWN`, without space around the text; null, and text that shows nothing, are empty.

    What is compared, ids and cultures, is in Unicode's composed form, a culture in one spelling; what is trained on
    stays as it was typed.
    """
    rows = tablefile.of(table, "the table")
    cells = {
        name: [text.strip() if text and visible(text) else "" for text in source.text(rows, name).to_pylist()]
        for name in features.OWN
        if name in table.column_names
    }
    cells.setdefault("question_id", list(map(text_id, cells["question"])))
    for name in ("question_id", "culture"):
        cells[name] = [unicodedata.normalize("NFC", text) for text in cells[name]]
    if "culture" in cells:
        cells["culture"] = cultures.one_spelling(cells["culture"])
    return cells


def visible(text: str) -> bool:
    """Whether a reader sees anything of it: a character that is no space, mark, format or control character."""
    return any(unicodedata.category(letter) not in _UNSEEN and letter not in _BLANK for letter in text)


def sample_ids(cells: dict[str, list[str]]) -> list[str]:
    """The sample_id of every row of `own_cells`."""
    return list(map(features.sample_id, cells["culture"], cells["question"], cells["response"]))


def _warn_of_languages(names: Iterable[str], languages: Iterable[str | None]) -> None:
    """Log that cultures answer in several languages, which distances between answers count as culture."""
    spoken: dict[str, Counter[str]] = defaultdict(Counter)
    for name, language in zip(names, languages, strict=False):
        if name and language and visible(language):
            spoken[name][re.split("[-_]", language.strip().casefold())[0]] += 1
    most: dict[str, list[str]] = defaultdict(list)
    for name, found in sorted(spoken.items()):
        most[found.most_common(1)[0][0]].append(name)
    if len(most) > 1:
        several = "; ".join(f"{language}: {', '.join(those[:_NAMED])}" for language, those in sorted(most.items()))
        log.warning(
            "cultures answer in several languages (%s): distinctiveness counts the language too, and so do pairs;"
            " translate the answers, or rank cultures of one language.",
            several,
        )


def _weights(table: Dataset) -> list[float]:
    """How many people gave each row.

    Raises:
        InputError: a cell holds no number from 0 on; names the row.
    """
    if "weight" not in table.column_names:
        return [1.0] * len(table)
    read = source.weights(tablefile.of(table, "the table"), "weight").to_pylist()
    return [1.0 if weight is None else weight for weight in read]


def _reasons(cells: dict[str, list[str]], weights: list[float], dropped: list[str | None]) -> list[str | None]:
    """Why rows are dropped: the table says so, a cell is empty, or nobody gave the row."""
    return [
        reason or ("empty" if not all(row) else None if weight else "no_weight")
        for reason, weight, row in zip(dropped, weights, zip(*cells.values(), strict=True), strict=True)
    ]


def _merged(made: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns with equal rows as one, of the sum of their weights.

    It is that of the question_id that most cultures answered, then of the least, then the first.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    answered: dict[str, set[str]] = defaultdict(set)
    left = []
    for place, (name, reason) in enumerate(zip(made["sample_id"], made["drop_reason"], strict=True)):
        if reason is None:
            copies[name].append(place)
            answered[made["question_id"][place]].add(made["culture"][place])
        else:
            left.append(place)
    weights = list(made["weight"])
    for places in copies.values():
        asked = [made["question_id"][place] for place in places]
        _, _, first = min((-len(answered[name]), name, place) for name, place in zip(asked, places, strict=True))
        weights[first] = math.fsum(made["weight"][place] for place in places)
        left.append(first)
    left.sort()
    return {name: [column[place] for place in left] for name, column in {**made, "weight": weights}.items()}


def _beside(
    made: dict[str, list[Any]], settings: Settings
) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
    """The `others` and the `panel` of every row; empty where it is dropped."""
    found: dict[str, dict[str, list[Answer]]] = defaultdict(lambda: defaultdict(list))
    columns = (made[name] for name in ("drop_reason", "sample_id", "question_id", "culture", "response", "weight"))
    for reason, name, question_id, culture, response, weight in zip(*columns, strict=True):
        if reason is None:
            found[question_id][culture].append(Answer(name, response, weight))
    given = {asked: {culture: Answers(several) for culture, several in of.items()} for asked, of in found.items()}
    columns = (made[name] for name in ("drop_reason", "sample_id", "question_id", "culture", "response"))
    beside, panels = [], []
    for reason, name, asked, culture, response in zip(*columns, strict=True):
        beside.append([] if reason else others(given[asked], name, culture, response, settings))
        panels.append([] if reason else panel(given[asked][culture].all, name, settings))
    return beside, panels


def _kept(table: Dataset, warn: bool) -> dict[str, list[str | None]]:
    """The columns of `features.TAKEN` that hold text; of drop_reason a line at most, and none where it is empty."""
    rows, kept = tablefile.of(table, "the table"), {}
    for name in features.TAKEN:
        if name in table.column_names:
            try:
                kept[name] = source.text(rows, name).to_pylist()
            except InputError as error:
                log.log(logging.WARNING if warn else logging.DEBUG, "%s The column is left out.", error)
    if "drop_reason" in kept:
        kept["drop_reason"] = [
            " ".join(reason.split())[:_REASON] if reason and visible(reason) else None for reason in kept["drop_reason"]
        ]
    return kept


def others(
    given: Mapping[str, Answers], name: str, culture: str, response: str, settings: Settings
) -> list[dict[str, Any]]:
    """The answers of other cultures, up to `settings.compared`, out of those of each.

    The draw depends on the seed and the row (`name` is its sample_id) alone, not on the order of the table.
    """
    draw = random.Random(f"{settings.seed}/{name}")
    rest = sorted(other for other in given if other != culture)
    return [
        {"culture": other, "sample_id": one.sample_id, "response": one.response, "shown": False}
        for other in draw.sample(rest, min(settings.compared or len(rest), len(rest)))
        for one in given[other].drawn(draw, response)
    ]


def _words(response: str) -> str:
    return " ".join(response.casefold().split())


def panel(given: list[Answer], name: str, settings: Settings) -> list[dict[str, Any]]:
    """Up to `_PANEL` other answers of the row's culture, out of sorted answers.

    Drawn, as the others are: each of a survey's answers with all the rest would be a table of their square.
    """
    draw = random.Random(f"{settings.seed}/{name}/panel")
    picked = draw.sample(given, min(_PANEL + 1, len(given)))  # one more, in case the row itself is among them
    rest = [answer for answer in picked if answer.sample_id != name][:_PANEL]
    return [{"persona": None, "sample_id": one.sample_id, "response": one.response} for one in rest]
