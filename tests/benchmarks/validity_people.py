"""What people in 16 regions answered (BLEnD), for `human_validity.py`: splits, and which answers are the same."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import snowballstemmer
from datasets import Dataset

TUNE = ("china", "mexico", "west_java", "uk", "iran", "ethiopia")
_LITTLE_WORDS = "a an and are at be by do for from go going have in is it its make of on one or s the to with"
_LITTLE = frozenset(re.findall(r"\w+", _LITTLE_WORDS))
_stemmer = snowballstemmer.stemmer("english")


def half_of(question_id: str) -> str:
    """tune or confirm: by the first byte of sha256 of `validity/` and the id, modulo 4; below 2 is tune."""
    return "tune" if hashlib.sha256(f"validity/{question_id}".encode()).digest()[0] % 4 < 2 else "confirm"


def read(folder: Path, half: str) -> list[dict[str, Any]]:
    """The answers of a half's regions to a half's questions: their first English form, all forms, and their count.

    Shuffled: BLEnD lists the most frequent answers first, so a tie that goes to the first would read the counts.
    """
    rows = []
    for path in sorted(folder.glob("*_data.json")):
        region = path.stem.removesuffix("_data").lower()
        if (region in TUNE) != (half == "tune"):
            continue
        for question_id, item in json.loads(path.read_text(encoding="utf-8")).items():
            if half_of(question_id) != half:
                continue
            answers: dict[str, dict[str, Any]] = {}
            for given in item["annotations"]:
                forms = [form.strip() for form in (given["en_answers"] or given["answers"])]
                if not forms or not forms[0]:
                    continue
                one = answers.setdefault(forms[0], {"response": forms[0], "forms": [], "count": 0})
                one["forms"] += forms
                one["count"] += given["count"]
            asked = {"question_id": question_id, "question": item["en_question"], "culture": region}
            rows += [asked | answer for answer in answers.values()]
    return [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]


def annotators(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Rows with `weight` and `label`: each mention of an answer falls to one of two halves by chance.

    Who gave which answer is not in the data. Rows that the first half did not give are not in the table.
    """
    weights = np.random.default_rng(seed).binomial([row["count"] for row in rows], 0.5)
    split = [
        row | {"weight": float(weight), "label": float(row["count"] - weight)}
        for row, weight in zip(rows, weights, strict=True)
    ]
    return [row for row in split if row["weight"]]


def halves(regions: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """The regions in two halves, drawn by seed."""
    drawn = np.random.default_rng(seed).permutation(sorted(regions)).tolist()
    return drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]


def table(rows: list[dict[str, Any]]) -> Dataset:
    """Rows as a table of one's own."""
    names = ("question_id", "question", "response", "culture", "weight")
    return Dataset.from_list([{name: row[name] for name in names} for row in rows])


@functools.cache
def stems(text: str) -> frozenset[str]:
    """A text's words as stems, without the little ones unless it has no other."""
    words = re.findall(r"\w+", text.lower())
    return frozenset(_stemmer.stemWords([word for word in words if word not in _LITTLE] or words))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether of any two spellings of two answers the stems of one are all among those of the other."""
    return any(
        stems(a) and stems(b) and (stems(a) <= stems(b) or stems(b) <= stems(a))
        for a in one["forms"]
        for b in other["forms"]
    )


class Elsewhere:
    """Which regions gave an answer, and which share of their people, by `same`."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.given: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            self.given[row["question_id"]][row["culture"]].append(row)
        self._shares: dict[tuple[str, str, str, str], float | None] = {}

    def share(self, row: dict[str, Any], region: str) -> float | None:
        """The share of what the region's people answered that says the same; None where they answered nothing."""
        key = row["culture"], row["question_id"], row["response"], region
        if key not in self._shares:
            answers = self.given[row["question_id"]].get(region, [])
            total = sum(one["count"] for one in answers)
            said = sum(one["count"] for one in answers if same(row, one))
            self._shares[key] = said / total if total else None
        return self._shares[key]

    def shares(self, row: dict[str, Any], regions: Sequence[str]) -> list[float]:
        """`share` of each of the regions that answered."""
        return [share for region in regions if (share := self.share(row, region)) is not None]
