"""CARE's test: questions and a native's answers, to be rated by a judge (Guo et al., arXiv 2504.05154, MIT).

150 questions each in Chinese, Japanese and Arabic. `category` is CARE's culture_type, by which its rubrics differ, and
`scope` its geographic_scope.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import published, short_answers
from caredio.evaluation.benchmark import Benchmark, Document

_FILES = "CARE's folder of Arabic-test.json, Chinese-test.json and Japanese-test.json"
_COLUMNS = ("question", "answer", "culture_type", "associated_culture", "geographic_scope")
_LANGUAGES = {"Arab": "ar", "Chinese": "zh", "Japanese": "ja"}
_NATIVE = re.compile(r"Native \((.+)\)")  # the other cultures are asked about from afar


def read(path: Path) -> list[Document]:
    """Every question on the culture of its file, with the reference answer.

    Raises:
        InputError: a file cannot be read, or a column changed.
    """
    files = published.within(path, ["*-test.json"], _FILES)
    return [
        _document(row, f"{file}, row {number}")
        for file in files
        for number, row in enumerate(published.rows(file, _COLUMNS, _FILES), start=1)
    ]


def _document(row: dict[str, Any], where: str) -> Document:
    native = _NATIVE.fullmatch(row["associated_culture"])
    culture = native[1] if native else row["associated_culture"]
    if not row["question"].strip() or not row["answer"].strip():
        raise InputError(f"{where}: question or answer is empty; give {_FILES}.")
    return {
        "id": hashlib.sha256(row["question"].encode()).hexdigest()[:16],
        "culture": culture,
        "language": _LANGUAGES.get(culture, "en"),
        "question": row["question"],
        "answers": [{"text": row["answer"], "weight": 1, "also": []}],
        "own": None,
        "rivals": [],
        "category": row["culture_type"],
        "scope": row["geographic_scope"],
    }


BENCHMARKS = (
    Benchmark(
        name="care",
        title="CARE",
        kind=short_answers.OPEN,
        source="care",
        read=read,
        licence="MIT",
        file=_FILES,
        hub="geyang627/CARE-eval",
        labels={"china": ("Chinese",), "japan": ("Japanese",)},
        regions=("Arab", "Chinese", "Japanese"),
        notes="Its Arabic questions are on the Arab world: a cultures file that names one Arab has them.",
    ),
)
