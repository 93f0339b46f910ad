"""Tables of the user's that ground a synthesis, opened: what people said (`evidence`), and people (`personas_file`).

Evidence of a form that a benchmark has is read as the benchmark reads it. Its questions fall into two halves by their
words: one is shown to the model, the other is kept, so that the benchmark can still test what was made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from caredio import features, tablefile
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import benchmark as declarations
from caredio.evaluation import distribution
from caredio.evaluation.benchmark import Benchmark
from caredio.selection import source
from caredio.selection.settings import Settings as Selection
from caredio.synthesis import evidence, personas
from caredio.synthesis.personas import People
from caredio.synthesis.settings import Settings

# columns of a file -> the benchmark that has files of this form
_FORMS = (
    ({"selections", "options", "question"}, "globalopinionqa"),
    ({"gold_distribution", "attribute", "question"}, "globalopinionqa"),
    ({"cultural group", "eval_whole_desc", "cluster_id"}, "culturebank"),
)
_OWN = ("culture", "text")
_CULTURE_COLUMNS = ("culture", "country")  # of people


class Evidence(NamedTuple):
    """Pieces as `evidence.GIVEN`, and the record of where they come from."""

    rows: Dataset
    record: dict[str, Any]


def kept_for_test(question: str) -> bool:
    """Whether a survey's question is in the half that tests; equal words are, whatever their options."""
    words = " ".join(re.findall(r"\w+", question.casefold()))
    return hashlib.sha256(words.encode()).digest()[0] % 2 == 1


def opened(name: str, known: Mapping[str, Culture], targets: Iterable[Culture]) -> Evidence:
    """The pieces in a file, a folder or a dataset of the Hub.

    Args:
        known: all cultures, by slug.
        targets: those that are written for.

    Raises:
        InputError: there is no such thing, it is of no form that is known, or it holds nothing on a target.
    """
    declared = declarations.load()
    found = next((one for one in declared.values() if one.hub == name and one.name in _readers()), None)
    path = found.path() if found else Path(name).expanduser()
    if found is None and path.is_dir():
        found = declared["wvs_culturespa"]
    if found is None and _first_line(path).find("B_COUNTRY_ALPHA") >= 0:  # of which all columns are too much
        found = declared["wvs"]
    if found is None:
        table, record = source.opened(name, Selection())
        found = next((declared[form] for columns, form in _FORMS if columns <= set(table.names)), None)
        if found and "commit" in record:
            raise InputError(f"{name}: has {found.title}'s columns; name its file, or {found.hub or 'a copy of it'}.")
        rows = _readers()[found.name](found, path, known) if found else _own(table, known)
    else:
        record = {"table": path.name, "sha256": found.sha256(path)}
        rows = _readers()[found.name](found, path, known)
    made = Dataset.from_list([{**dict.fromkeys(evidence.GIVEN), **row} for row in rows], features=evidence.GIVEN)
    cultures = set(made["culture"][:])
    lacking = [one.slug for one in targets if one.slug not in cultures]
    if lacking:
        raise InputError(f"{name}: holds nothing on {', '.join(lacking)}; leave these out, or add pieces on them.")
    return Evidence(made, {**record, **({"benchmark": found.name, "licence": found.licence} if found else {})})


def _first_line(path: Path) -> str:
    """The first line of a csv file; nothing of others."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return ""
    with path.open("rb") as content:
        return content.readline(1 << 20).decode("utf-8", "replace")


def _readers() -> dict[str, Any]:
    """How files of a benchmark's form are read, by its name."""
    surveys = [one.name for one in declarations.load().values() if one.kind is distribution.KIND]
    return {**dict.fromkeys(surveys, _survey), "culturebank": _descriptions}


def _survey(benchmark: Benchmark, path: Path, known: Mapping[str, Culture]) -> list[dict[str, Any]]:
    """A piece for each question and country."""
    slugs = {one.casefold(): slug for slug, culture in known.items() for one in benchmark.spellings(culture)}
    return [
        {
            "evidence_id": one["id"],
            "culture": slugs.get(one["culture"].casefold()),
            "source": benchmark.name,
            "question": one["question"],
            "text": evidence.shares(one["question"], one["options"], one["shares"]),
            "tests": kept_for_test(one["question"]),
        }
        for one in benchmark.documents(path)
    ]


def _descriptions(benchmark: Benchmark, path: Path, known: Mapping[str, Culture]) -> list[dict[str, Any]]:
    """A piece for each description of a community's behaviour; those that the benchmark asks about are kept for it."""
    table, _ = tablefile.table(path)
    columns = ("cluster_id", "cultural group", "eval_whole_desc")
    cells = zip(*(map(str, table.cells(name)) for name in columns), strict=True)
    tests = {str(one["id"]) for one in benchmark.documents(path)}
    slugs = _slugs(known, benchmark)
    return [
        {
            "evidence_id": cluster,
            "culture": slugs.get(group.strip().casefold()),
            "source": benchmark.name,
            "text": text,
            "tests": cluster in tests,
        }
        for cluster, group, text in cells
    ]


def _own(table: tablefile.Table, known: Mapping[str, Culture]) -> list[dict[str, Any]]:
    """The pieces of a table of culture, text and, where they are there, source and id."""
    if missing := [name for name in _OWN if name not in table.names]:
        raise InputError(
            f"{table.origin}: column {' and '.join(missing)} is missing; evidence has culture, text and source, or the"
            " columns of GlobalOpinionQA, of the World Values Survey or of CultureBank."
        )
    slugs = _slugs(known)
    cells = {name: table.cells(name) for name in (*_OWN, "source", "id") if name in table.names}
    origin = Path(table.origin).name
    rows = []
    for number, (culture, text) in enumerate(zip(cells["culture"], cells["text"], strict=True)):
        where = cells["source"][number] if "source" in cells else None
        name = cells["id"][number] if "id" in cells else None
        rows.append(
            {
                "evidence_id": str(number + 1 if name is None else name),
                "culture": slugs.get(str(culture).strip().casefold()),
                "source": str(where) if where else origin,
                "text": None if text is None else str(text),
                "tests": False,
            }
        )
    return rows


def shown(pieces: Evidence, settings: Settings) -> list[str]:
    """The texts of the pieces that may be shown.

    Raises:
        InputError: none may be.
    """
    table = evidence.run(pieces.rows, settings)
    return features.require(table, features.EVIDENCE, "evidence")["text"][:]


def people(name: str, known: Mapping[str, Culture], targets: Iterable[Culture], least: int) -> People:
    """The people in a file or a dataset of the Hub, by culture.

    Args:
        known, targets: as `opened` takes them.
        least: how many people answer a question.

    Raises:
        InputError: there is no such table, it describes nobody, or too few of a target.
    """
    table, record = source.opened(name, Selection())
    targets = list(targets)
    slugs = _slugs(known)
    column = next((one for one in _CULTURE_COLUMNS if one in table.names), None)
    if column is None and len(targets) > 1:
        raise InputError(f"{name}: has no column culture, and {len(targets)} cultures are written for; add it.")
    if column is None:
        cultures: list[str | None] = [targets[0].slug] * len(personas.texts(table))
    else:
        cultures = [slugs.get(str(one).strip().casefold()) for one in table.cells(column)]
    found = personas.read(table, cultures, record)
    for target in targets:
        if (count := found.count(target.slug)) < least:
            raise InputError(f"{name}: describes {count} people of {target.slug}, and {least} are to answer; add some.")
    return found


def _slugs(known: Mapping[str, Culture], benchmark: Benchmark | None = None) -> dict[str, str]:
    """What a culture may be called in a column -> its slug; a name that several share is none's."""
    found: dict[str, str] = {}
    for slug, culture in known.items():
        labels = benchmark.labels.get(slug, ()) if benchmark else ()
        for name in {culture.name, culture.adjective, slug, *culture.aliases, *labels}:
            found[name.casefold()] = slug
    return found
