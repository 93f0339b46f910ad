"""The rows of a table of one's own as documents of a benchmark, of each kind."""

from __future__ import annotations

import hashlib
import json
import math
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from caredio import cultures, tablefile
from caredio.errors import InputError
from caredio.evaluation import choice, distribution, judgements, majority, short_answers
from caredio.evaluation.benchmark import Document, Kind
from caredio.llm.marks import is_text
from caredio.tablefile import shown

_KINDS = (choice.KIND, judgements.KIND, distribution.KIND, short_answers.KIND)
KINDS: dict[str, Kind] = {one.name: one for one in _KINDS}
FIELDS = {
    "choice": ("id", "culture", "question", "options", "key"),
    "judgements": ("id", "culture", "question", "statements", "truth"),
    "distribution": ("id", "culture", "question", "options", "shares"),
    "answers": ("id", "culture", "question", "answers", "weight", "language"),
}
LISTS = ("options", "statements", "truth", "shares", "answers", "weight")  # a column of lists, or several columns
_WORDS = {"true": True, "false": False, "1": True, "0": False}
_LETTERS = string.ascii_uppercase


class Declared(NamedTuple):
    """What a declaration tells of the rows."""

    kind: str
    columns: Mapping[str, str | tuple[str, ...]]  # field -> column, or several; where they are called otherwise
    culture: str  # of all rows; empty where a column tells
    keys: str  # one of `KEYS`; empty where the keys themselves tell
    labels: Mapping[str, tuple[str, ...]]  # slug -> what the table calls the culture besides its name


def reader(declared: Declared) -> Callable[[Path], list[Document]]:
    """The function that reads the documents of a file, which raises InputError by row and column."""

    def read(path: Path) -> list[Document]:
        rows = Rows(tablefile.table(path)[0], declared)
        made = [{"id": rows.id(row), "culture": rows.culture(row), **_OF[declared.kind](rows, row)} for row in rows]
        if declared.kind == "answers":
            return _gathered(rows, made)
        _check_ids(rows, made)
        return _keyed(rows, made, declared.keys) if declared.kind == "choice" else made

    return read


class Rows:
    """A table's cells by field."""

    def __init__(self, table: tablefile.Table, declared: Declared) -> None:
        """Raises: InputError: a column is missing."""
        self.table, self._declared = table, declared
        called = {one.slug: (one.name,) for one in cultures.load().values()}
        spelled = [*called.items(), *declared.labels.items()]
        self._slugs = {one.casefold(): slug for slug, spellings in spelled for one in (slug, *spellings)}
        self.names: dict[str, str | tuple[str, ...]] = {}
        for field in FIELDS[declared.kind]:
            if field in declared.columns or field in table.names or not self._optional(field):
                self.names[field] = declared.columns.get(field, field)
        columns = [name for names in self.names.values() for name in ([names] if isinstance(names, str) else names)]
        if missing := [name for name in dict.fromkeys(columns) if name not in table.names]:
            raise InputError(
                f"{table.origin}: column {', '.join(map(shown, missing))} is missing; found"
                f" {', '.join(map(shown, table.names))}; name yours under columns in the declaration."
            )
        self._cells = {name: table.cells(name) for name in dict.fromkeys(columns)}

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(next(iter(self._cells.values())))))

    def _optional(self, field: str) -> bool:
        return field in ("id", "weight", "language") or (field == "culture" and bool(self._declared.culture))

    def where(self, row: int, field: str) -> str:
        """The cell, for messages."""
        names = self.names[field]
        columns = [names] if isinstance(names, str) else names
        return f"{self.table.row(row)}, column {', '.join(map(shown, columns))}"

    def id(self, row: int) -> str:
        """The question's id; without a column of ids the hash of its text."""
        if "id" in self.names:
            return self.text(row, "id")
        return hashlib.sha256(self.text(row, "question").encode()).hexdigest()[:16]

    def culture(self, row: int) -> str:
        """What the table calls the row's culture."""
        return self._declared.culture or self.text(row, "culture")

    def asked_of(self, document: Document) -> tuple[str, str]:
        """A document's id and culture, equal where two spellings are one culture's."""
        spelling = document["culture"].casefold()
        return document["id"], self._slugs.get(spelling, spelling)

    def cell(self, row: int, field: str) -> Any:
        """What the one column of a field holds."""
        return self._cells[str(self.names[field])][row]

    def text(self, row: int, field: str) -> str:
        """The text of a cell.

        Raises:
            InputError: it is empty or no text.
        """
        return text(self.cell(row, field), self.where(row, field))

    def items(self, row: int, field: str, alone: bool = False) -> list[Any]:
        """The cells of several columns, without the empty ones after the last, or what a cell lists.

        Args:
            alone: a cell that lists nothing is the one item.

        Raises:
            InputError: the cell holds no list.
        """
        names = self.names[field]
        if not isinstance(names, str):
            cells = [self._cells[name][row] for name in names]
            while cells and _is_empty(cells[-1]):
                cells.pop()
            return cells
        cell = self._cells[names][row]
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            try:
                cell = json.loads(cell)
            except json.JSONDecodeError as error:
                place = f"{error.msg} at character {error.pos + 1}"
                raise InputError(f"{self.where(row, field)}: is no list in JSON ({place}).") from None
            except ValueError:
                raise InputError(f"{self.where(row, field)}: holds a number of too many digits.") from None
            except RecursionError:
                raise InputError(f"{self.where(row, field)}: is no list in JSON (it is nested too deep).") from None
        if not isinstance(cell, list) and alone:
            return [cell]
        if not isinstance(cell, list):
            raise InputError(
                f'{self.where(row, field)}: is no list; write it as JSON, such as ["one", "other"], or name several'
                f" columns as {field}."
            )
        return cell


def _is_empty(cell: Any) -> bool:
    return (
        cell is None or (isinstance(cell, float) and math.isnan(cell)) or (isinstance(cell, str) and not cell.strip())
    )


def text(cell: Any, where: str) -> str:
    """A cell as text, numbers as they are written.

    Raises:
        InputError: it is empty, holds something else, or what no file of text holds.
    """
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if _is_empty(cell):
        raise InputError(f"{where}: is empty; fill it, or leave the row out.")
    if not isinstance(cell, (str, int, float)):
        raise InputError(f"{where}: holds {type(cell).__name__}, where text is wanted.")
    if not is_text(str(cell)):
        raise InputError(f"{where}: holds a NUL or half of a character; save the text as UTF-8.")
    return str(cell).strip()


def _options(rows: Rows, row: int, field: str, least: int = 2) -> list[str]:
    where = rows.where(row, field)
    found = [text(cell, where) for cell in rows.items(row, field)]
    if not least <= len(found) <= len(_LETTERS):
        raise InputError(f"{where}: holds {len(found)} {field}; give {least} to {len(_LETTERS)}.")
    if twice := next((one for place, one in enumerate(found) if one in found[:place]), None):
        raise InputError(f"{where}: {twice!r} is there twice; make each one differ.")
    return found


def _choice(rows: Rows, row: int) -> Document:
    options = _options(rows, row, "options")
    return {
        "question": rows.text(row, "question"),
        "options": options,
        "key": rows.text(row, "key"),  # as it is written; `_keyed` reads it
        "orders": choice.rotations(len(options)),
    }


def _judgements(rows: Rows, row: int) -> Document:
    statements = _options(rows, row, "statements", least=1)
    where, cells = rows.where(row, "truth"), rows.items(row, "truth")
    truth = [_WORDS.get(text(cell, where).lower()) for cell in cells]
    if None in truth:
        raise InputError(f"{where}: holds {cells[truth.index(None)]!r}; give true or false.")
    _check_length(where, truth, statements, "statements")
    return {"question": rows.text(row, "question"), "statements": statements, "truth": truth}


def _distribution(rows: Rows, row: int) -> Document:
    options = _options(rows, row, "options")
    where = rows.where(row, "shares")
    shares = [_number(cell, where) for cell in rows.items(row, "shares")]
    _check_length(where, shares, options, "options")
    if not sum(shares) > 0:
        raise InputError(f"{where}: nobody chose an option; leave the row out.")
    if math.isinf(sum(shares)):
        raise InputError(f"{where}: the sum is no number; give counts or shares that can be added.")
    shares = [share / sum(shares) for share in shares]
    return {"question": rows.text(row, "question"), "options": options, "shares": shares}


def _answers(rows: Rows, row: int) -> Document:
    """What one row tells; `_gathered` puts together what several tell of a question."""
    where = rows.where(row, "answers")
    said = [text(cell, where) for cell in rows.items(row, "answers", alone=True)]
    if not said:
        raise InputError(f"{where}: lists no answer; leave the row out.")
    weights = [1] * len(said)
    if "weight" in rows.names:
        where = rows.where(row, "weight")
        weights = [_whole(cell, where) for cell in rows.items(row, "weight", alone=True)]
        _check_length(where, weights, said, "answers")
    language = {"language": rows.text(row, "language")} if "language" in rows.names else {}
    return {"question": rows.text(row, "question"), "answers": list(zip(said, weights, strict=True)), **language}


_OF: dict[str, Callable[[Rows, int], Document]] = {
    "choice": _choice,
    "judgements": _judgements,
    "distribution": _distribution,
    "answers": _answers,
}


def _number(cell: Any, where: str) -> float:
    """A count or share."""
    try:
        found = float(text(cell, where))
    except ValueError:
        found = math.nan
    if not (found >= 0 and math.isfinite(found)):
        raise InputError(f"{where}: holds {cell!r}; give counts or shares, 0 or more.")
    return found


def _whole(cell: Any, where: str) -> int:
    """How many people gave an answer."""
    found = _number(cell, where)
    if found < 1 or not found.is_integer():
        raise InputError(f"{where}: holds {cell!r}; give how many people gave the answer, 1 or more.")
    return int(found)


def _check_length(where: str, found: list[Any], others: list[str], what: str) -> None:
    if len(found) != len(others):
        raise InputError(f"{where}: holds {len(found)} of {len(others)} {what}; give one for each.")


def _check_ids(rows: Rows, made: list[Document]) -> None:
    """See that no question is twice there for a culture.

    Raises:
        InputError: one is.
    """
    seen: dict[tuple[str, str], int] = {}
    what, mend = ("id", "give each question its own") if "id" in rows.names else ("question", "add a column of ids")
    for row, document in enumerate(made):
        key = rows.asked_of(document)
        if key in seen:
            first = rows.table.row(seen[key]).removeprefix(f"{rows.table.origin}, ")
            raise InputError(f"{rows.where(row, what)}: that of {first} is the same, and so is the culture; {mend}.")
        seen[key] = row


def _gathered(rows: Rows, made: list[Document]) -> list[Document]:
    """A document for each question and culture, whether its answers stand in a row or in several.

    Raises:
        InputError: rows of a question ask different things.
    """
    said: dict[str, dict[str, Counter[str]]] = {}  # question -> culture -> answers
    first: dict[tuple[str, str], tuple[int, Document]] = {}
    for row, one in enumerate(made):
        key = rows.asked_of(one)
        start, document = first.setdefault(key, (row, one))
        if (document["question"], document.get("language")) != (one["question"], one.get("language")):
            other = rows.table.row(start).removeprefix(f"{rows.table.origin}, ")
            raise InputError(f"{rows.where(row, 'id')}: is that of {other}, which asks something else.")
        counts = said.setdefault(key[0], {}).setdefault(key[1], Counter())
        for answer, weight in one["answers"]:
            counts[answer] += weight
    found = {name: {one: majority.own(answers) for one, answers in of.items()} for name, of in said.items()}
    own = {name: {one: answer for one, answer in of.items() if answer} for name, of in found.items()}
    return [
        {
            **document,
            "answers": [{"text": answer, "weight": weight} for answer, weight in said[name][culture].items()],
            "own": own[name].get(culture),
            "rivals": [
                {"culture": first[name, other][1]["culture"], "text": answer}
                for other, answer in majority.rivals(own[name], said[name][culture]).items()
            ],
        }
        for (name, culture), (_, document) in first.items()
    ]


def _keyed(rows: Rows, made: list[Document], keys: str) -> list[Document]:
    """Documents with the places of their keys, which are all written in one of the ways of `KEYS`.

    Raises:
        InputError: they can be read in several ways, or a key is none of the row's options.
    """
    ways = {keys: KEYS[keys]} if keys else KEYS
    found = {way: [place(one["key"], one["options"]) for one in made] for way, place in ways.items()}
    whole = {way: places for way, places in found.items() if None not in places}
    if not whole:
        way, places = max(found.items(), key=lambda one: len(one[1]) - one[1].count(None))
        row, read = places.index(None), len(places) - places.count(None)
        key, options = made[row]["key"], f"the {len(made[row]['options'])} options"
        if read:
            raise InputError(
                f"{rows.where(row, 'key')}: {key!r} is the {_WAYS[way]} of none of {options}; a column of keys takes"
                f" one form, and {read} of {len(made)} rows give the {_WAYS[way]}: do so in each row."
            )
        raise InputError(
            f"{rows.where(row, 'key')}: {key!r} is none of {options}; give"
            f" {' or '.join(dict.fromkeys(f'its {_WAYS[way]}' for way in ways))}, in one form for all rows."
        )
    (way, places), *others = whole.items()
    if other := next((other for other, read in others if read != places), None):
        raise InputError(
            f"{rows.table.origin}: the column {shown(str(rows.names['key']))} can be read as {way} and as {other}; say"
            f" which in the declaration: 'keys: {way}'."
        )
    return [{**document, "key": place} for document, place in zip(made, places, strict=True)]


def _letter(key: str, options: list[str]) -> int | None:
    place = _LETTERS.find(key.upper()) if len(key) == 1 else -1
    return place if 0 <= place < len(options) else None


def _from(first: int, key: str, options: list[str]) -> int | None:
    place = int(key) - first if key.isascii() and key.isdecimal() and len(key) < 3 else -1
    return place if 0 <= place < len(options) else None


def _option(key: str, options: list[str]) -> int | None:
    return options.index(key) if key in options else None


# how the right option may be written
KEYS: dict[str, Callable[[str, list[str]], int | None]] = {
    "letters": _letter,
    "numbers from 0": partial(_from, 0),
    "numbers from 1": partial(_from, 1),
    "texts": _option,
}
_WAYS = {"letters": "letter", "numbers from 0": "number", "numbers from 1": "number", "texts": "text"}
