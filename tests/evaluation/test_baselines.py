"""Baselines against counts made here from the file, and against every possible guess."""

from __future__ import annotations

import csv
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

from caredio import cultures
from caredio.evaluation import baselines, culturalbench

CHINA = cultures.load()["china"]
HEAD = ("data_idx", "prompt_question", *(f"prompt_option_{letter}" for letter in "abcd"), "answer", "country")


def test_chance_is_the_mean_over_every_guess() -> None:
    truth = (True, False, True, False)
    guesses = list(product([True, False], repeat=4))
    right = [[guess == true for guess, true in zip(judged, truth, strict=True)] for judged in guesses]
    of_questions = Fraction(sum(map(all, right)), len(guesses))
    of_judgements = Fraction(sum(map(sum, right)), 4 * len(guesses))
    assert baselines.chance(4, 4) == (Fraction(sum(option == 2 for option in range(4)), 4), of_questions, of_judgements)


def place(question: str, answer: str) -> str:
    """The letter that answers a question once its options are permuted, by looking for the text."""
    row = dict(zip(HEAD, ("1", question, "one", "two", "three", "four", answer, "x"), strict=True))
    shown = culturalbench.choice(row)["options"]
    return "ABCD"[shown.index({"A": "one", "B": "two", "C": "three", "D": "four"}[answer])]


def questions(letter: str, count: int, start: int) -> list[tuple[str, str]]:
    """Questions whose permuted key is `letter`, with the answer as the file gives it."""
    found = []
    while len(found) < count:
        start += 1
        answer = next(answer for answer in "ABCD" if place(f"Q{start}", answer) == letter)
        found.append((f"Q{start}", answer))
    return found


def write(file: Path, rows: list[tuple[str, str, str]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(HEAD)
        writer.writerows(
            ("1", question, "one", "two", "three", "four", answer, country) for question, answer, country in rows
        )
    return file


def test_the_fixed_letter_is_chosen_without_the_cultures_own_key(tmp_path: Path) -> None:
    # China's own key is nearly all B; the other cultures' is C, by one
    own = [(*pair, "China") for pair in [*questions("B", 5, 0), *questions("C", 1, 100)]]
    others = [(*pair, country) for pair, country in zip(questions("C", 3, 200), ("Japan", "Peru", "Peru"), strict=True)]
    others += [(*pair, "Japan") for pair in questions("B", 2, 300)]
    file = write(tmp_path / "own.csv", own + others)
    n, found = baselines.of(CHINA, file)
    assert n == 6
    assert found["fixed letter"] == (pytest.approx(1 / 6), None, None)
    assert found["chance"] == (0.25, 0.0625, 0.5)
    assert found["always False"] == (None, 0, 0.75)
    assert baselines.of(CHINA, file, limit=5)[1]["fixed letter"] == (0, None, None)


def test_a_tie_is_the_first_letter_and_a_file_of_one_culture_has_none(tmp_path: Path) -> None:
    own = [(*pair, "China") for pair in questions("B", 1, 0)]
    tied = [(*pair, "Peru") for pair in [*questions("D", 1, 100), *questions("B", 1, 200)]]
    assert baselines.of(CHINA, write(tmp_path / "two.csv", own + tied))[1]["fixed letter"][0] == 1
    assert baselines.of(CHINA, write(tmp_path / "one.csv", own))[1]["fixed letter"] == (None, None, None)


def test_always_false_on_statements_by_hand(tmp_path: Path) -> None:
    numbered = "Q\nRead the following statements and so on.\n(i) w\n(ii) x\n(iii) y\n(iv) z"
    file = tmp_path / "own.csv"
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(HEAD)
        writer.writerow(("1", numbered, "i, ii", "i, iii", "i, ii, iii", "iv", "C", "China"))
        writer.writerow(("2", "Q2", "a", "b", "c", "d", "A", "China"))
    assert baselines.of(CHINA, file)[1]["always False"] == (None, 0, pytest.approx((1 + 3) / 8))


def test_on_the_sample_no_letter_is_far_from_chance() -> None:
    values = [baselines.of(culture, culturalbench.SAMPLE)[1]["fixed letter"][0] for culture in cultures.load().values()]
    assert 0.15 < sum(filter(None, values)) / len(values) < 0.35
