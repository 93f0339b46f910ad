"""The World Values Survey, wave 7: what shares of a country's people chose each option.

`wvs` reads the official csv file, which asks for a registration (Haerpfer et al. 2022, doi 10.14281/18241.24): a row a
person, B_COUNTRY_ALPHA the country, Q1 and so on its answers as codes. The questions' words are ours
(data/wvs/items.yaml). `wvs_culturespa` reads the shares and the questions that CultureSPA published (github
shaoyangxu/CultureSPA, arXiv 2410.12971), out of the user's own clone, as it has no licence.

Negative codes, and codes that are no option, are missing: shares are those of the valid answers. People count alike, as
in CultureSPA; W_WEIGHT is not read.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from caredio.errors import InputError
from caredio.evaluation import distribution, published
from caredio.evaluation.benchmark import Benchmark, Document

ITEMS = Path(__file__).parents[2] / "data" / "wvs" / "items.yaml"
_FILE = "the csv file of the World Values Survey's wave 7, of worldvaluessurvey.org"
_CLONE = "the folder data of a clone of github shaoyangxu/CultureSPA"
_COUNTRY = "B_COUNTRY_ALPHA"
# CultureSPA leaves these out: about the person, or with options that differ by country
_PERSONAL = {f"Q{number}" for number in range(260, 291)} | {"Q223"}


class Item(NamedTuple):
    """A question, and its options in the order of their codes."""

    question: str
    options: list[str]
    first: int  # the code of the first option


@cache
def items() -> dict[str, Item]:
    """The items by id, in our words."""
    found = {}
    for battery in yaml.safe_load(ITEMS.read_text(encoding="utf-8")):
        ask, options = battery["ask"], battery.get("options")
        if not options:
            low, high = battery["scale"]
            ask, options = f"{ask} From 1 ({low}) to 10 ({high}).", [str(number) for number in range(1, 11)]
        for name, thing in battery["items"].items():
            found[name] = Item(ask.replace("{}", thing), options, battery.get("first", 1))
    return found


def official(path: Path) -> list[Document]:
    """The shares of the official csv file, a document for each item and country.

    Raises:
        InputError: the file cannot be read, or lacks the country or every item.
    """
    (file,) = published.within(path, ["WVS_Cross-National_Wave_7*.csv"], _FILE)[-1:]
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return _documents(items(), _counts(file, lines))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); give {_FILE}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not a csv file in UTF-8 ({error}); give {_FILE}.") from None


def _counts(file: Path, lines: Any) -> dict[str, dict[str, dict[int, float]]]:
    """How often each code was given: country -> item -> code -> people."""
    header = lines.readline()
    delimiter = max(",;", key=header.count)  # which one depends on the release
    names = next(csv.reader([header], delimiter=delimiter), [])
    places = {name: names.index(name) for name in items() if name in names}
    if _COUNTRY not in names or not places:
        raise InputError(f"{file}: lacks {_COUNTRY} or all of Q1, Q2 and so on; give {_FILE}.")
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))  # of cells as they are
    for number, row in enumerate(csv.reader(lines, delimiter=delimiter), start=1):
        if len(row) != len(names):
            raise InputError(f"{file}, row {number}: has {len(row)} cells of {len(names)}; give {_FILE}.")
        country = counts[row[names.index(_COUNTRY)]]
        for name, place in places.items():
            country[name][row[place]] += 1
    return {
        country: {name: _codes(cells, f"{file}, {country}, {name}") for name, cells in answers.items()}
        for country, answers in counts.items()
    }


def _codes(cells: Counter[str], where: str) -> dict[int, float]:
    """How often each code was given; an empty cell is missing."""
    found: dict[int, float] = defaultdict(float)
    for cell, count in cells.items():
        try:
            found[int(float(cell or -1))] += count
        except ValueError:
            raise InputError(f"{where}: holds {cell!r}, where answers are codes; give {_FILE}.") from None
    return found


def culturespa(path: Path) -> list[Document]:
    """The shares that CultureSPA published, a document for each of its questions and countries.

    Raises:
        InputError: a file is missing or cannot be read, or is otherwise than it was.
    """
    files = (
        published.within(path, [name], _CLONE)[0]
        for name in ("proportions_group_by_country.json", "wvs_questions.json")
    )
    shares, questions = (published.read_json(file, _CLONE) for file in files)
    try:
        coded = {name for answers in shares.values() for name, codes in answers.items() if "0" in codes}
        asked = {
            row["Q_id"]: Item(row["question"], row["option_lst"], 0 if row["Q_id"] in coded else 1)
            for row in questions
            if len(row["option_lst"]) > 1 and row["Q_id"] not in _PERSONAL
        }
        return _documents(
            asked,
            {
                country: {name: {int(code): share for code, share in codes.items()} for name, codes in answers.items()}
                for country, answers in shares.items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: is not as CultureSPA published it ({published.difference(error)}); give {_CLONE}."
        ) from None


def _documents(asked: Mapping[str, Item], answered: Mapping[str, Mapping[str, Mapping[int, float]]]) -> list[Document]:
    """The valid answers' shares; a country without a valid answer to an item has no document of it."""
    return [
        {
            "id": name,
            "culture": country,
            "question": item.question,
            "options": item.options,
            "shares": [share / sum(valid) for share in valid],
        }
        for country, answers in answered.items()
        for name, item in asked.items()
        if sum(valid := _valid(item, answers.get(name, {}))) > 0
    ]


def _valid(item: Item, answers: Mapping[int, float]) -> list[float]:
    codes: Iterable[int] = range(item.first, item.first + len(item.options))
    return [answers.get(code, 0) for code in codes]


_COUNTRIES = {
    "australia": ("AUS",),
    "brazil": ("BRA",),
    "china": ("CHN",),
    "egypt": ("EGY",),
    "germany": ("DEU",),
    "india": ("IND",),
    "japan": ("JPN",),
    "mexico": ("MEX",),
    "nigeria": ("NGA",),
    "singapore": ("SGP",),
    "south_africa": ("ZAF",),
    "south_korea": ("KOR",),
    "turkey": ("TUR",),
    "united_kingdom": ("GBR",),  # Northern Ireland is asked apart, as NIR
    "united_states": ("USA",),
}
BENCHMARKS = (
    Benchmark(
        name="wvs",
        title="World Values Survey 7",
        kind=distribution.KIND,
        source="wvs",
        read=official,
        licence="the survey's own: no redistribution",
        file=_FILE,
        labels=_COUNTRIES,
        real=False,
        notes="The questions are put in our own words; answers are unweighted, and invalid ones are left out.",
    ),
    Benchmark(
        name="wvs_culturespa",
        title="World Values Survey 7, CultureSPA's questions",
        kind=distribution.KIND,
        source="culturespa",
        read=culturespa,
        licence="none: read from one's own clone",
        file=_CLONE,
        labels=_COUNTRIES,
        notes="Answers are unweighted, and invalid ones are left out.",
    ),
)
