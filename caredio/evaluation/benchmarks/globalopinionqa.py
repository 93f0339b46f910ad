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
from pathlib import Path
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import distribution, published
from caredio.evaluation.benchmark import Benchmark, Document

_FILE = "global_opinions.csv as the Hub has it, or the JSON file of question, options, attribute and gold_distribution"
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
    options = [str(option) for option in _literal(row["options"], list, f"{where}, options")]
    selections = _literal(row["selections"], dict, f"{where}, selections")
    found = []
    for country, shares in selections.items():
        # some countries' shares are all zero: nobody was asked there
        if any(shares):
            found.append(_document(row["question"], options, country, shares, f"{where}, {country}"))
    return found


def _derived(row: dict[str, Any], where: str) -> Document:
    question, _, rest = row["question"].removeprefix("Question: ").rpartition("\nOptions: ")
    if not question:
        question = rest
    return _document(question, row["options"], row["attribute"], row["gold_distribution"], where)


def _document(question: str, options: list[str], country: str, shares: list[float], where: str) -> Document:
    total = sum(shares)
    if len(shares) != len(options) or len(options) < 2 or min(shares) < 0 or not total > 0:
        raise InputError(
            f"{where}: {len(options)} options and {len(shares)} shares; expected a share of 0 or more for each of at "
            f"least two options, not all zero."
        )
    text = json.dumps([question.strip(), options])
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],
        "culture": country,
        "question": question.strip(),
        "options": options,
        "shares": [share / total for share in shares],
    }


def _literal(text: Any, kind: type, where: str) -> Any:
    """A list or dict from its text; `defaultdict(<class 'list'>, {...})` is the dict within."""
    if isinstance(text, str):
        inner = text[text.find("{") : text.rfind("}") + 1] if kind is dict else text
        try:
            text = ast.literal_eval(inner.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
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
