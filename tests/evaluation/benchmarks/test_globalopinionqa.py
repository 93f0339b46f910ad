from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark, distribution
from caredio.evaluation.benchmarks import globalopinionqa

SMALL = "globalopinionqa/distributional_test_globalopinionqa_small.json"
(DECLARED,) = globalopinionqa.BENCHMARKS
SELECTIONS = "defaultdict(<class 'list'>, {'Britain': [0.1, 0.3], 'S. Korea': [0.5, 0.5], 'Nowhere': [0.0, 0.0]})"


def upstream(folder: Path, selections: str = SELECTIONS, options: str = "['Yes', 'No, \"never\"']") -> Path:
    file = folder / "global_opinions.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerows([["question", "selections", "options", "source"], ["Is it? ", selections, options, "GAS"]])
    return file


def test_upstreams_file_is_a_document_a_question_and_country(tmp_path: Path) -> None:
    britain, korea = globalopinionqa.read(upstream(tmp_path))
    assert britain == {
        "id": korea["id"],
        "culture": "Britain",
        "question": "Is it?",
        "options": ["Yes", 'No, "never"'],
        "shares": pytest.approx([0.25, 0.75]),
    }
    assert (korea["culture"], korea["shares"]) == ("S. Korea", [0.5, 0.5])
    assert globalopinionqa.read(tmp_path) == [britain, korea]  # a folder of the Hub's


def test_both_forms_of_a_question_have_one_id(tmp_path: Path) -> None:
    row = {
        "question": 'Question: Is it?\nOptions: A. Yes B. No, "never"\nAnswer:',
        "options": ["Yes", 'No, "never"'],
        "attribute": "Britain",
        "gold_distribution": [0.25, 0.75],
    }
    (tmp_path / "small.json").write_text(json.dumps([row]))
    (derived,) = globalopinionqa.read(tmp_path / "small.json")
    britain, _ = globalopinionqa.read(upstream(tmp_path))
    assert derived == {**britain, "shares": pytest.approx(britain["shares"])}


@pytest.mark.parametrize(
    ("selections", "options", "message"),
    [
        ("defaultdict(<class 'list'>, {'Britain': [0.1]})", "['Yes', 'No']", "2 options and 1 shares"),
        ("defaultdict(<class 'list'>, {'Britain': [1.1, -0.1]})", "['Yes', 'No']", "Britain: 2 options"),
        ("{'Britain': __import__('os').system('true')}", "['Yes', 'No']", "selections: is not the text of a dict"),
        ("none", "['Yes', 'No']", "selections: is not the text of a dict"),
        (SELECTIONS, "Yes", "options: is not the text of a list"),
        (SELECTIONS, "('Yes', 'No')", "options: is no list"),
    ],
)
def test_a_changed_cell_is_named_and_nothing_in_it_is_run(
    selections: str, options: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"row 1, .*{message}"):
        globalopinionqa.read(upstream(tmp_path, selections, options))


@pytest.mark.parametrize(
    "share",
    ["'x'", "None", "[1]", "1j", "1e999", "True", "9" * 400, "-1e999"],
)
def test_a_share_that_is_no_number_is_named(share: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"csv, row 1, 'China': holds \[.*, where a list of numbers is wanted; give"):
        globalopinionqa.read(upstream(tmp_path, f"{{'China': [{share}, 1]}}"))


@pytest.mark.parametrize(
    ("selections", "options", "message"),
    [
        ("{'China': None}", "['a', 'b']", "row 1, 'China': holds None, where a list"),
        ("{'China': 3}", "['a', 'b']", "row 1, 'China': holds 3, where a list"),
        ("{'China': 'ab'}", "['a', 'b']", "row 1, 'China': holds 'ab', where a list"),
        ("{[]: [1, 2]}", "['a', 'b']", "row 1, selections: is not the text of a dict"),
        ("{1: [1, 2]}", "['a', 'b']", "row 1, country: holds 1, where text"),
        ("{'China': [1, 2]}", "['a', None]", "row 1, options: holds None, where text"),
        ("{'China': [1e308, 1e308]}", "['a', 'b']", "row 1, China: 2 options and 2 shares"),
    ],
)
def test_what_upstream_never_wrote_is_named(selections: str, options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        globalopinionqa.read(upstream(tmp_path, selections, options))


@pytest.mark.parametrize(
    ("field", "cell", "message"),
    [
        ("question", 5, "question: holds 5, where text"),
        ("question", "q\ud800", "question: holds 'q"),
        ("options", "ab", "options: is not the text of a list"),
        ("options", 7, "options: is no list"),
        ("options", ["a", None], "options: holds None"),
        ("attribute", 1, "country: holds 1, where text"),
        ("gold_distribution", [None, 1], r"gold_distribution: holds \[None, 1\]"),
        ("gold_distribution", ["x", 1], r"gold_distribution: holds \['x', 1\]"),
        ("gold_distribution", "[1, 1]", "gold_distribution: holds '"),
        ("gold_distribution", [float("nan"), 1], r"gold_distribution: holds \[nan, 1\]"),
    ],
)
def test_a_cell_of_the_derived_file_is_named(field: str, cell: object, message: str, tmp_path: Path) -> None:
    row = {"question": "Is it?", "options": ["a", "b"], "attribute": "China", "gold_distribution": [1, 1], field: cell}
    (tmp_path / "small.json").write_text(json.dumps([row]))
    with pytest.raises(InputError, match=rf"^{tmp_path}/small\.json, row 1, {message}"):
        globalopinionqa.read(tmp_path / "small.json")


def test_options_that_are_numbers_are_their_text(tmp_path: Path) -> None:
    (found,) = globalopinionqa.read(upstream(tmp_path, "{'China': [1, 3]}", "[1, 2.5]"))
    assert (found["options"], found["shares"]) == (["1", "2.5"], [0.25, 0.75])


def test_the_whole_derived_file_is_read(published) -> None:
    file = published(SMALL)
    rows = json.loads(file.read_text())
    documents = DECLARED.documents(file)
    assert len(documents) == len(rows) == 5752
    assert len({one["id"] for one in documents}) == len({row["question"] for row in rows}) == 1270
    assert Counter(one["culture"] for one in documents) == Counter(row["attribute"] for row in rows)
    for one, row in zip(documents, rows, strict=True):
        assert row["question"].removeprefix("Question:").lstrip().startswith(one["question"])
        assert row["question"].partition("\nOptions: ")[2].startswith(f"A. {one['options'][0]}")
        assert one["shares"] == pytest.approx(row["gold_distribution"])


def test_every_shipped_culture_has_questions_and_each_once(published) -> None:
    file = published(SMALL)
    labels = defaultdict(int)
    for row in json.loads(file.read_text()):
        labels[row["attribute"]] += 1
    spelled = {
        "united_kingdom": ("Britain", "Great Britain"),
        "south_korea": ("S. Korea", "South Korea"),
        "south_africa": ("S. Africa",),
        "india": ("India (Current national sample)",),
    }
    for culture in cultures.load().values():
        found = DECLARED.about(culture.slug, DECLARED.spellings(culture), file, benchmark.LIKELIHOOD)
        assert len(found) == sum(labels[one] for one in spelled.get(culture.slug, (culture.name,))) > 0
        assert len({one["id"] for one in found}) == len(found)


def test_who_knows_nothing_scores_what_is_published(published) -> None:
    documents = DECLARED.documents(published(SMALL))
    found = distribution.baselines(documents, documents)
    assert found["uniform"]["js_similarity"] == pytest.approx(0.6510, abs=5e-5)
    always_a = [distribution.by_likelihoods(one, [0.0] + [-99.0] * (len(one["options"]) - 1)) for one in documents]
    assert sum(one["modal_acc"] for one in always_a) / len(always_a) == pytest.approx(0.4287, abs=5e-5)
