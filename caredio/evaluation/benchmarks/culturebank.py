"""CultureBank: questions of personas, to be rated by a judge against a community's description (arXiv 2404.15238, MIT).

The Hub's culturebank_tiktok.csv has a row a described behaviour. The test is upstream's split of them (github
SALT-NLP/CultureBank, evaluation/grounded_eval.py): the first row of each cluster in the order of cluster ids, shuffled
with the seed 1234 as pandas does, of which the last tenth is asked. The description is the judge's reference, and is
not shown to the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caredio.errors import InputError
from caredio.evaluation import published, short_answers
from caredio.evaluation.benchmark import Benchmark, Document

_FILE = "culturebank_tiktok.csv or culturebank_reddit.csv as the Hub has them"
_COLUMNS = ("cluster_id", "cultural group", "topic", "eval_whole_desc", "eval_persona", "eval_question")
_SEED = 1234
_TEST = (1.0 - 0.8) / 2  # as upstream computes it: slightly less than a tenth


def read(path: Path) -> list[Document]:
    """The questions of the test split.

    Raises:
        InputError: the file cannot be read, or a column changed.
    """
    (file,) = published.within(path, ["culturebank_tiktok.csv"], _FILE)[:1]
    rows = published.rows(file, _COLUMNS, _FILE)
    return [_document(row) for row in test(rows, str(file))]


def test(rows: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """Upstream's test split of rows.

    Raises:
        InputError: a cluster's id is no number.
    """
    first: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            first.setdefault(int(float(row["cluster_id"])), row)
        except ValueError:
            raise InputError(f"{where}, row {number}: cluster_id {row['cluster_id']!r} is no number.") from None
    clusters = [first[cluster] for cluster in sorted(first)]
    shuffled = np.random.RandomState(_SEED).permutation(len(clusters))  # what pandas' sample(frac=1) draws
    asked = int(len(clusters) * _TEST)
    return [clusters[place] for place in shuffled[len(clusters) - asked :]]


def _document(row: dict[str, Any]) -> Document:
    return {
        "id": str(row["cluster_id"]),
        "culture": row["cultural group"],
        "language": "en",
        "question": f"{row['eval_persona'].strip()} {row['eval_question'].strip()}",
        "answers": [{"text": row["eval_whole_desc"].strip(), "weight": 1, "also": []}],
        "own": None,
        "rivals": [],
        "category": row["topic"],
    }


BENCHMARKS = (
    Benchmark(
        name="culturebank",
        title="CultureBank",
        kind=short_answers.OPEN,
        source="culturebank",
        read=read,
        licence="MIT",
        file=_FILE,
        hub="SALT-NLP/CultureBank",
        files=("culturebank_tiktok.csv",),
        labels={
            "australia": ("Australian", "Australians"),
            "brazil": ("Brazilian", "Brazilians"),
            "china": ("Chinese", "Chinese people"),
            "egypt": ("Egyptian", "Egyptians"),
            "germany": ("German", "Germans"),
            "india": ("Indian", "Indians"),
            "japan": ("Japanese", "Japanese people"),
            "mexico": ("Mexican", "Mexicans"),
            "nigeria": ("Nigerian", "Nigerians"),
            "singapore": ("Singaporean", "Singaporeans"),
            "south_africa": ("South African", "South Africans"),
            "south_korea": ("South Korean", "South Koreans", "Korean", "Koreans"),
            "turkey": ("Turkish", "Turks"),
            "united_kingdom": ("British", "British people", "UK"),
            "united_states": ("American", "Americans", "US", "USA"),
        },
        real=False,
        notes="Groups are free text; those that are no country's people belong to no culture here.",
    ),
)
