from __future__ import annotations

import csv
from pathlib import Path

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark, choice
from caredio.evaluation.benchmarks import normad

COLUMNS = ["ID", "Country", "Background", "Axis", "Subaxis", "Value", "Rule-of-Thumb", "Story", "Explanation"]
COLUMNS += ["Gold Label"]
ROWS = [
    ("4", "egypt", "Etiquette", "gifts", "Hosts come first.", "Bring a gift.", "Ali came with sweets.", "yes"),
    ("9", "united_states_of_america", "Etiquette", "tipping", "Fairness.", "Tip waiters.", "Ann left no tip.", "no"),
    ("10", "türkiye", "Etiquette", "eating", "Respect.", "Wait for elders.", "Can knelt.", "Neutral"),
]


def written(folder: Path, label: str = "yes", columns: list[str] = COLUMNS) -> Path:
    file = folder / "normad_etiquette_final_data.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        for number, country, axis, subaxis, value, rule, story, gold in ROWS:
            row = [number, country, "### Basic", axis, subaxis, value, rule, story, "So.", gold]
            writer.writerow([*row[:-1], label if gold == "yes" else gold][: len(columns)])
    return file


def test_a_story_is_told_with_country_value_or_rule(tmp_path: Path) -> None:
    file = written(tmp_path)
    country, value, rule = (declared.documents(file)[0] for declared in normad.BENCHMARKS)
    assert country["question"] == "This happens in Egypt.\nAli came with sweets."
    assert value["question"] == "People there hold that: Hosts come first.\nAli came with sweets."
    assert rule["question"] == "A rule of thumb there: Bring a gift.\nAli came with sweets."
    for declared in normad.BENCHMARKS:
        assert declared.kind.baselines(declared.documents(file), [])["chance"] == declared.chance == {"acc": 1 / 3}
    assert (country["id"], country["culture"], country["category"]) == ("4", "egypt", "gifts")
    assert country["options"][country["key"]].startswith("Yes")


def test_the_key_is_the_label(tmp_path: Path) -> None:
    told = [one["options"][one["key"]] for one in normad.country(written(tmp_path))]
    assert [text.partition(",")[0].partition(":")[0] for text in told] == ["Yes", "No", "Neither"]


def test_a_letter_that_is_always_chosen_is_right_in_a_third_of_the_orders(tmp_path: Path) -> None:
    first = [0.0, -1.0, -1.0] * 3  # the likelihoods of A, B and C in each order
    for one in normad.country(written(tmp_path)):
        assert choice.by_likelihoods(one, first) == {"acc": pytest.approx(1 / 3)}


@pytest.mark.parametrize(("slug", "number"), [("egypt", "4"), ("united_states", "9"), ("turkey", "10")])
def test_a_culture_finds_its_stories(slug: str, number: str, tmp_path: Path) -> None:
    declared, culture = normad.BENCHMARKS[0], cultures.load()[slug]
    (found,) = declared.about(slug, declared.spellings(culture), written(tmp_path), benchmark.LIKELIHOOD)
    assert found["id"] == number


def test_changed_labels_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1: Gold Label must be yes, no or neutral, found 'maybe'"):
        normad.country(written(tmp_path, "maybe"))
    with pytest.raises(InputError, match=r"lacks Gold Label; give normad_etiquette_final_data\.csv"):
        normad.country(written(tmp_path, columns=COLUMNS[:-1]))


def test_it_says_that_it_was_not_run_on_the_real_data() -> None:
    assert not any(declared.real for declared in normad.BENCHMARKS)
