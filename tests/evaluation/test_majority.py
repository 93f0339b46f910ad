"""Own answers and rivals, by hand, and on all of BLEnD where its annotations lie beside the repository."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caredio.evaluation import majority

REPOSITORY = Path(__file__).parents[2]
WHOLE = REPOSITORY.parent / "shared" / "data" / "blend" / "annotations"


@pytest.mark.parametrize(
    ("answers", "own"),
    [
        ({"rice": 3, "tea": 2}, "rice"),
        ({"rice": 3, "tea": 3}, None),  # a tie
        ({"rice": 2, "tea": 1}, None),  # too few
        ({"tea": 1, "rice": 5, "soup": 4}, "rice"),
        ({}, None),
    ],
)
def test_an_own_answer_is_a_strict_top_of_three_annotators(answers: dict[str, int], own: str | None) -> None:
    assert majority.own(answers) == own


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("rice", "fried Rice", True),
        ("fried rice", "rice", True),
        ("rice", "price", False),
        ("new year", "lunar new-year", True),
        ("new year", "year new", False),
        ("cafe\u0301", "CAF\u00c9", True),  # an accent of its own is the same letter
        ("\u7c73\u996d", "\u7092\u7c73\u996d", True),  # no spaces in Chinese
        ("\u7c73\u996d", "\u997a\u5b50", False),
        ("कि", "की", False),  # vowel signs are part of words
        ("काम", "कम", False),
        ("পানি", "পানী", False),
        ("كِتاب", "كُتاب", False),
        ("กา", "กี", False),
        ("ก", "กี", False),
        ("पानी", "ठंडा पानी", True),
        ("ri\u200bce", "fried rice", True),
        ("-", "-", True),
        ("-", "rice", False),
    ],
)
def test_texts_overlap_by_whole_words(one: str, other: str, overlap: bool) -> None:
    assert majority.overlap(one, other) is majority.overlap(other, one) is overlap


def test_rivals_are_other_regions_own_answers_that_overlap_none_of_the_region_s() -> None:
    others = {
        "mexico": "tacos",
        "uk": "tea",  # part of an answer
        "us": "white rice",  # has one as a part
        "spain": "paella",
    }
    assert majority.rivals(others, ["rice", "green tea"]) == {"mexico": "tacos", "spain": "paella"}
    assert majority.rivals(others, ["rice", "green tea", "Valencian paella"]) == {"mexico": "tacos"}


def people() -> dict[str, dict[str, Counter[str]]]:
    """Question -> region -> answer -> annotators, read without caredio."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for file in sorted(WHOLE.glob("*_data.json")):
        items: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for name, item in items.items():
            counts = found.setdefault(name, {}).setdefault(file.stem, Counter())
            for answer in item["annotations"]:
                if texts := [text.strip() for text in answer["en_answers"] if text.strip()]:
                    counts[texts[0]] += answer["count"]
    return found


@pytest.mark.skipif(not WHOLE.is_dir(), reason="needs BLEnD's data/annotations in ../shared/data/blend")
def test_on_all_of_blend_a_quarter_of_region_questions_ties_and_a_seventh_has_no_repeated_answer() -> None:
    tops = [
        [annotation["count"] for annotation in item["annotations"]]
        for file in WHOLE.glob("*_data.json")
        for item in json.loads(file.read_text(encoding="utf-8")).values()
    ]
    answered = [counts for counts in tops if counts]
    ties = sum(counts.count(max(counts)) > 1 for counts in answered)
    single = sum(max(counts) == 1 for counts in answered)
    assert (len(tops), len(answered)) == (8000, 7723)
    assert ties / len(answered) == pytest.approx(0.25, abs=0.005)
    assert single / len(answered) == pytest.approx(0.14, abs=0.005)
    owned = sum(counts.count(max(counts)) == 1 and max(counts) >= 3 for counts in answered)
    ours = sum(majority.own(dict(enumerate(map(int, counts)))) is not None for counts in map(list, answered))  # type: ignore[misc]
    assert ours == owned


@pytest.mark.skipif(not WHOLE.is_dir(), reason="needs BLEnD's data/annotations in ../shared/data/blend")
def test_on_all_of_blend_rivals_are_those_of_another_computation() -> None:
    def tokens(text: str) -> list[str]:
        return re.sub(r"[^\w]+", " ", text.lower()).split()

    def within(one: list[str], other: list[str]) -> bool:
        return any(other[start : start + len(one)] == one for start in range(len(other) - len(one) + 1))

    def top(counts: Counter[str]) -> str | None:
        ranked = [*sorted(counts.values(), reverse=True), 0]
        return max(counts, key=lambda text: counts[text]) if ranked[0] >= 3 and ranked[0] > ranked[1] else None

    n = 0
    for regions in people().values():
        own = {region: top(counts) for region, counts in regions.items()}
        for region, counts in regions.items():
            assert majority.own(counts) == own[region]
            mine = [tokens(text) for text in counts]
            wanted = {
                other: text
                for other, text in own.items()
                if other != region
                and text
                and not any(within(tokens(text), one) or within(one, tokens(text)) for one in mine if one)
            }
            others = {other: text for other, text in own.items() if other != region and text}
            assert majority.rivals(others, counts) == wanted
            n += bool(own[region] and wanted)
    assert n > 4000  # region-questions with a margin
