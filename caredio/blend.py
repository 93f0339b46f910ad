"""BLEnD's annotations as tables: what people of 16 regions answered to the same everyday questions (arXiv 2406.09948).

`caredio quickstart` ranks a packaged part of them (`data/blend`), `caredio quickstart --annotations` a clone's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa

from caredio.errors import InputError
from caredio.evaluation import majority, published
from caredio.evaluation.benchmarks.blend import LABELS, REGIONS

FOLDER = "BLEnD's folder data/annotations, of files such as South_Korea_data.json"
CULTURES = Path(str(resources.files("caredio"))) / "data" / "blend" / "regions.yaml"  # those that are not shipped
LICENSE = "cc-by-sa-4.0"
SOURCE = "BLEnD (Junho Myung et al., NeurIPS 2024), https://github.com/nlee0212/BLEnD, CC-BY-SA-4.0"
# culture -> name of the source's file
NAMES = {
    **{name.lower(): name for name in REGIONS if not any(name in labels for labels in LABELS.values())},
    **{culture: name for culture, (name,) in LABELS.items()},
}
SAMPLED = {"china": "China", "mexico": "Mexico", "south_korea": "South_Korea"}  # those of the packaged sample
ANOTHER_WORDING = "another_wording"  # of the answer in the row before
WORDED_ELSEWHERE = "worded_elsewhere"  # another region's annotators gave it for an answer that this one gave too
WORDINGS = (ANOTHER_WORDING, WORDED_ELSEWHERE)
_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("question_id", "culture", "question", "response")]
    + [("annotators", pa.int8()), ("drop_reason", pa.string()), ("also", pa.list_(pa.string()))]
)
_OWN = pa.schema([(name, pa.string()) for name in ("question_id", "culture", "response")])


def sample(annotations: Path) -> pa.Table:
    """One row per answer of the sampled regions, in the order of the source: its English wordings and how many gave it.

    Raises:
        InputError: a region's file is missing, or not as BLEnD publishes it.
    """
    rows = [row for culture, name in SAMPLED.items() for row in _rows(culture, _file(annotations, name))]
    return pa.Table.from_pylist(rows, schema=_COLUMNS)


def whole(annotations: Path) -> pa.Table:
    """As `sample`, of all 16 regions, with the language of the text, and a row for each other wording of an answer.

    Answers to a question that the source's own evaluation leaves out in the region are dropped: too many of its
    annotators found that it has no answer, does not apply, or did not know. Other wordings are dropped too, those
    as well that stand in another region beside a wording of this one's answers: West Java's `football` is Indonesia's
    `soccer`, as Indonesia has both for one answer. They say what of other regions' answers is none to be rejected here.

    Raises:
        InputError: as `sample`.
    """
    rows = []
    files = {culture: _file(annotations, name) for culture, name in sorted(NAMES.items())}
    equal = _equal(files.values())
    for culture, file in files.items():
        out = {question_id for question_id, item in _questions(file).items() if _left_out(item)}
        for row in _rows(culture, file):
            reason = row["drop_reason"] or ("not_applicable" if row["question_id"] in out else None)
            rows.append({**row, "drop_reason": reason, "language": "en"})
            other = {"drop_reason": ANOTHER_WORDING, "language": "en", "also": []}
            rows += [{**row, "response": wording, **other} for wording in row["also"]]
        rows += _elsewhere(culture, file, equal)
    return pa.Table.from_pylist(rows, schema=_COLUMNS.append(pa.field("language", pa.string())))


def own(annotations: Path) -> pa.Table:
    """One row per region and question that has an own answer, of every region of the source (majority.py says which).

    Questions that the source's own evaluation leaves out have none.
    """
    rows = []
    for file in sorted(annotations.glob("*_data.json")):
        culture = file.stem.removesuffix("_data").lower()
        for question_id, item in _questions(file).items():
            if _left_out(item):
                continue
            counts = {"": max([one["count"] for one in item["annotations"] if not _english(one)], default=0)}
            for wordings, count in _answers(item):
                counts[wordings[0]] = max(count, counts.get(wordings[0], 0))
            if answer := majority.own(counts):
                rows.append({"question_id": question_id, "culture": culture, "response": answer})
    return pa.Table.from_pylist(rows, schema=_OWN)


def drop_reason(response: str, annotators: int) -> str | None:
    """Why an answer stays out of the ranking; None where it is ranked."""
    if annotators < 2:
        return "one_annotator"
    if not any(letter.isalpha() for letter in response):
        return "no_letters"
    return None


def _file(annotations: Path, name: str) -> Path:
    if not (file := annotations / f"{name}_data.json").is_file():
        raise InputError(f"{annotations}: holds no {file.name}; give {FOLDER}.")
    return file


def _rows(culture: str, file: Path) -> list[dict[str, Any]]:
    """The answers of a region."""
    rows = []
    for question_id, item in _questions(file).items():
        for wordings, count in _answers(item):
            row = {"question_id": question_id, "culture": culture, "question": item["en_question"]}
            row |= {"response": wordings[0], "annotators": count, "also": wordings[1:]}
            rows.append({**row, "drop_reason": drop_reason(wordings[0], count)})
    return rows


def _equal(files: Iterable[Path]) -> dict[tuple[str, str], set[str]]:
    """Question id and wording -> the wordings that stand beside it for one answer, in any region."""
    equal = defaultdict(set)
    for file in files:
        for question_id, item in _questions(file).items():
            for wordings, _ in _answers(item):
                for wording in wordings:
                    equal[question_id, wording.casefold()].update(wordings)
    return equal


def _elsewhere(culture: str, file: Path, equal: Mapping[tuple[str, str], set[str]]) -> list[dict[str, Any]]:
    """A row for each wording that nobody of the region gave, of an answer that the region gave."""
    rows = []
    for question_id, item in _questions(file).items():
        own = {wording.casefold() for wordings, _ in _answers(item) for wording in wordings}
        row = {"question_id": question_id, "culture": culture, "question": item["en_question"], "language": "en"}
        row |= {"annotators": 0, "drop_reason": WORDED_ELSEWHERE, "also": []}
        others = {other for wording in own for other in equal[question_id, wording]}
        rows += [{**row, "response": other} for other in sorted(others) if other.casefold() not in own]
    return rows


def _questions(file: Path) -> dict[str, Any]:
    """Question id -> what the source has of it.

    Raises:
        InputError: the file is not as BLEnD publishes it.
    """
    found = published.read_json(file, FOLDER)
    try:
        for item in found.values():
            item["en_question"].strip()
            _left_out(item)
            _answers(item)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: is not as BLEnD publishes it ({published.difference(error)}); give {FOLDER}."
        ) from None
    return dict(found)


def _left_out(item: dict[str, Any]) -> bool:
    """Whether three annotators or more found no answer or the question not applicable, or five did not know."""
    idks = {name: count or 0 for name, count in item["idks"].items()}
    return idks["no-answer"] + idks["not-applicable"] >= 3 or idks["idk"] >= 5


def _answers(item: dict[str, Any]) -> list[tuple[list[str], int]]:
    """Each answer's English wordings, and how many annotators gave it; none of one without such wordings."""
    found = [(_english(one), int(one["count"])) for one in item["annotations"]]
    return [(wordings, count) for wordings, count in found if wordings]


def _english(answer: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(wording.strip() for wording in answer["en_answers"] if wording.strip()))
