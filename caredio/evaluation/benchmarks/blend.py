"""BLEnD's multiple choice: everyday questions on 16 regions (Myung et al., arXiv 2406.09948).

The right option is what people of the region answered, the others are what people of other regions did. A question of a
region comes with several sets of other regions' answers, so `question_id` says which documents belong together. By
likelihood the options are asked in all their rotations, as a small model answers by letters that it prefers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import choice, published
from caredio.evaluation.benchmark import Benchmark, Document

_FILE = "BLEnD's file of multiple-choice questions (columns MCQID, ID, country, prompt, choices, answer_idx)"
_COLUMNS = ("MCQID", "ID", "country", "prompt", "choices", "answer_idx")
_INSTRUCTION = " Without any explanation"  # what follows is how upstream wants the answer, and the options


def read(path: Path) -> list[Document]:
    """Every multiple-choice question; one question of a region comes with several sets of other regions' answers.

    Raises:
        InputError: the file cannot be read, a column changed, or a row's options and answer do not fit.
    """
    (file,) = published.within(path, ["*mc_questions_file*"], _FILE)[-1:]  # the newest version's name is the last
    rows = published.rows(file, _COLUMNS, _FILE)
    return [_choice(row, f"{file}, row {number}") for number, row in enumerate(rows, start=1)]


def _choice(row: dict[str, Any], where: str) -> Document:
    try:
        options = json.loads(row["choices"]) if isinstance(row["choices"], str) else row["choices"]
        letters = sorted(options)
        key = letters.index(row["answer_idx"])
    except (ValueError, TypeError):
        raise InputError(
            f"{where}: choices must be letters with texts and answer_idx one of the letters, found {row['choices']!r} "
            f"and {row['answer_idx']!r}."
        ) from None
    return {
        "id": row["MCQID"],
        "question_id": row["ID"],
        "culture": row["country"],
        "question": row["prompt"].partition(_INSTRUCTION)[0],
        "options": [str(options[letter]) for letter in letters],
        "key": key,
        "orders": choice.rotations(len(letters)),
    }


REGIONS = (
    *("Algeria", "Assam", "Azerbaijan", "China", "Ethiopia", "Greece", "Indonesia", "Iran", "Mexico", "North_Korea"),
    *("Northern_Nigeria", "South_Korea", "Spain", "UK", "US", "West_Java"),
)
LABELS = {"united_kingdom": ("UK",), "united_states": ("US",)}
NOTES = "A region that is no country, such as Northern Nigeria, is measured where a cultures file names it."
BENCHMARKS = (
    Benchmark(
        name="blend",
        title="BLEnD multiple choice",
        kind=choice.KIND,
        source="blend_choices",
        read=read,
        licence="CC-BY-SA-4.0",
        file=_FILE,
        hub="nayeon212/BLEnD",
        files=("*mc_questions_file*",),
        labels=LABELS,
        regions=REGIONS,
        chance={"acc": 1 / 4},
        version="2.0",
        notes=NOTES,
    ),
)
