"""GlobalOpinionQA: what shares of a country's people chose each option of a survey's question.

Questions of the Pew Global Attitudes Surveys and the World Values Survey (Durmus et al., arXiv 2306.16388). Two forms
are read: the Hub's global_opinions.csv, a row a question, whose `selections` is the text of a defaultdict of country
to shares; and the rows of question and country that github BunsenFeng/modular_pluralism derived from a part of it.
Options such as "DK/Refused" stay, as upstream.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import distribution, published
from caredio.evaluation.benchmark import Benchmark, Document
from caredio.llm.marks import is_text

_FILE = "global_opinions.csv as the Hub has it, or the JSON file of question, options, attribute and gold_distribution"
_SHOWN = 80  # characters of a cell in a message
_UPSTREAM = ("question", "selections", "options")
_DERIVED = ("question", "options", "attribute", "gold_distribution")


def read(path: Path) -> list[Document]:
    """Every question and country as a `distribution`.

    Raises:
        InputError: the file cannot be read, a column changed, or shares and options do not fit.
    """
    (file,) = published.within(path, ["global_opinions.csv"], _FILE)[:1]
    if file.suffix.lower() == ".json":
        return [_derived(row, f"{file}, row {n}") for n, row in enumerate(published.rows(file, _DERIVED, _FILE), 1)]
    rows = published.rows(file, _UPSTREAM, _FILE)
    return [document for n, row in enumerate(rows, 1) for document in _upstream(row, f"{file}, row {n}")]


def _upstream(row: dict[str, Any], where: str) -> list[Document]:
    options = _literal(row["options"], list, f"{where}, options")
    selections = _literal(row["selections"], dict, f"{where}, selections")
    found = []
    for country, given in selections.items():
        shares = _shares(given, f"{where}, {country!r}")
        # some countries' shares are all zero: nobody was asked there
        if any(shares):
            found.append(_document(row["question"], options, country, shares, where))
    return found


def _derived(row: dict[str, Any], where: str) -> Document:
    text = _text(row["question"], f"{where}, question")
    question, _, rest = text.removeprefix("Question: ").rpartition("\nOptions: ")
    options = _literal(row["options"], list, f"{where}, options")
    shares = _shares(row["gold_distribution"], f"{where}, gold_distribution")
    return _document(question or rest, options, row["attribute"], shares, where)


def _document(question: Any, given: list[Any], culture: Any, shares: list[float], where: str) -> Document:
    country = _text(culture, f"{where}, country")
    options = [_text(str(one) if _is_number(one) else one, f"{where}, options") for one in given]
    total = sum(shares)
    if len(shares) != len(options) or len(options) < 2 or min(shares) < 0 or not 0 < total < math.inf:
        raise InputError(
            f"{where}, {country}: {len(options)} options and {len(shares)} shares; expected a share of 0 or more for"
            " each of at least two options, not all zero."
        )
    asked = _text(question, f"{where}, question").strip()
    text = json.dumps([asked, options])
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],
        "culture": country,
        "question": asked,
        "options": options,
        "shares": [share / total for share in shares],
    }


def _text(cell: Any, where: str) -> str:
    if not isinstance(cell, str) or not cell.strip() or not is_text(cell):
        raise InputError(f"{where}: holds {repr(cell)[:_SHOWN]}, where text is wanted; give {_FILE}.")
    return cell


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _shares(cells: Any, where: str) -> list[float]:
    try:
        found = [float(cell) for cell in cells if _is_number(cell)] if isinstance(cells, list) else []
    except OverflowError:
        found = [math.inf]
    if not isinstance(cells, list) or len(found) != len(cells) or not all(map(math.isfinite, found)):
        raise InputError(f"{where}: holds {repr(cells)[:_SHOWN]}, where a list of numbers is wanted; give {_FILE}.")
    return found


def _literal(text: Any, kind: type, where: str) -> Any:
    """A list or dict from its text; `defaultdict(<class 'list'>, {...})` is the dict within."""
    if isinstance(text, str):
        inner = text[text.find("{") : text.rfind("}") + 1] if kind is dict else text
        try:
            text = ast.literal_eval(inner.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise InputError(f"{where}: is not the text of a {kind.__name__}; give {_FILE}.") from None
    if not isinstance(text, kind):
        raise InputError(f"{where}: is no {kind.__name__}; give {_FILE}.")
    return text


BENCHMARKS = (
    Benchmark(
        name="globalopinionqa",
        title="GlobalOpinionQA",
        kind=distribution.KIND,
        source="globalopinionqa",
        read=read,
        licence="CC-BY-NC-SA-4.0",
        file=_FILE,
        hub="Anthropic/llm_global_opinions",
        files=("data/global_opinions.csv",),
        split="train",  # the only one that is published
        labels={
            # Pew and the World Values Survey spell countries differently; samples that are not national are left out
            "united_kingdom": ("Britain", "Great Britain"),
            "south_korea": ("S. Korea",),
            "south_africa": ("S. Africa",),
            "india": ("India (Current national sample)",),
            "united_states": ("U.S.",),
        },
        notes="The share of a culture is that of its national samples; others, and India's old one, are left out.",
    ),
)
