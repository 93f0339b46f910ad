"""NormAd-Eti: whether what someone does in a story is acceptable (Rao et al., arXiv 2404.12464, CC-BY-4.0).

Stories of 75 countries with the label yes, no or neutral. `normad` names the country, `normad_value` a value that is
held there, and `normad_rule` the rule of thumb itself: their difference is what a model knows of the country.
The answers are shown in all rotations, so that a letter which a model prefers gains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import choice, published
from caredio.evaluation.benchmark import Benchmark, Document

_FILE = "normad_etiquette_final_data.csv as the Hub has it"
_COLUMNS = ("ID", "Country", "Subaxis", "Value", "Rule-of-Thumb", "Story", "Gold Label")
_LABELS = ("yes", "no", "neutral")
_OPTIONS = [
    "Yes, it is socially expected or approved of",
    "No, it is socially unacceptable",
    "Neither: it is allowed, and nobody expects it",
]


def country(path: Path) -> list[Document]:
    """Every story as a `choice`, in a country.

    Raises:
        InputError: the file cannot be read, a column changed, or a label is another.
    """
    return _read(path, "Country")


def value(path: Path) -> list[Document]:
    """Every story, among people who hold a value. Raises as `country`."""
    return _read(path, "Value")


def rule(path: Path) -> list[Document]:
    """Every story, where a rule of thumb holds. Raises as `country`."""
    return _read(path, "Rule-of-Thumb")


def _read(path: Path, context: str) -> list[Document]:
    (file,) = published.within(path, ["normad*.csv"], _FILE)[:1]
    rows = published.rows(file, _COLUMNS, _FILE)
    return [_choice(row, context, f"{file}, row {number}") for number, row in enumerate(rows, start=1)]


def _choice(row: dict[str, Any], context: str, where: str) -> Document:
    label = row["Gold Label"].strip().lower()
    if label not in _LABELS:
        raise InputError(f"{where}: Gold Label must be yes, no or neutral, found {row['Gold Label']!r}.")
    told = {
        "Country": f"This happens in {row['Country'].replace('_', ' ').title()}.",
        "Value": f"People there hold that: {row['Value'].strip()}",
        "Rule-of-Thumb": f"A rule of thumb there: {row['Rule-of-Thumb'].strip()}",
    }
    return {
        "id": str(row["ID"]),
        "culture": row["Country"],
        "question": f"{told[context]}\n{row['Story'].strip()}",
        "options": list(_OPTIONS),
        "key": _LABELS.index(label),
        "orders": choice.rotations(len(_OPTIONS)),
        "category": row["Subaxis"],
    }


BENCHMARKS = tuple(
    Benchmark(
        name=name,
        title=title,
        kind=choice.KIND,
        source="normad",
        read=read,
        licence="CC-BY-4.0",
        file=_FILE,
        hub="akhilayerukola/NormAd",
        files=("normad_etiquette_final_data.csv",),
        split="train",  # the only one that is published
        labels={"united_states": ("united_states_of_america",), "turkey": ("türkiye",)},
        chance={"acc": 1 / 3},
        real=False,
        notes="For the label neutral, upstream pairs a story with a country whose rule does not apply to it.",
    )
    for name, title, read in (
        ("normad", "NormAd, the country named", country),
        ("normad_value", "NormAd, the value named", value),
        ("normad_rule", "NormAd, the rule of thumb given", rule),
    )
)
