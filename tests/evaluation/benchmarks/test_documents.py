"""Every benchmark whose data is published becomes lm-eval documents, whole and in every way that it is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from caredio import cultures
from caredio.evaluation import benchmark, tasks

KNOWN = benchmark.load()
PLACES = {
    "blend": ("blend/mcq_subset.csv", "mexico"),
    "blend_answers": ("blend/annotations", "mexico"),
    "blend_answers_native": ("blend/annotations", "mexico"),
    "care": ("care", "japan"),
    "culturalbench_easy": ("culturalbench/CulturalBench-Easy.csv", "nigeria"),
    "culturalbench_hard": ("culturalbench/CulturalBench-Easy.csv", "nigeria"),
    "globalopinionqa": ("globalopinionqa/distributional_test_globalopinionqa_small.json", "united_kingdom"),
}
ASKED = [(name, variant) for name in PLACES for variant in KNOWN[name].variants]


@pytest.mark.parametrize(("name", "variant"), ASKED)
def test_documents_of_a_culture_are_a_dataset(name: str, variant: str, published) -> None:
    place, culture = PLACES[name]
    declared = KNOWN[name]
    path = published(place)
    spellings = list(declared.spellings(cultures.load()[culture]))
    dataset = tasks.documents(name, culture, spellings, variant, **{declared.source: path})["test"]
    assert len(dataset) == len(declared.about(culture, spellings, path, variant)) > 20
    assert len(set(dataset["id"])) == len(dataset)
    assert {"culture", "turns", *declared.kind.columns} <= set(dataset.column_names)
    assert all(turn.strip() for turns in dataset["turns"] for turn in turns)
    if declared.kind.choices and variant == benchmark.LIKELIHOOD:
        assert all(declared.kind.choices(one) for one in dataset)


@pytest.mark.parametrize("name", PLACES)
def test_an_id_is_of_one_question_in_a_culture(name: str, published) -> None:
    documents = KNOWN[name].documents(published(PLACES[name][0]))
    counts = Counter((one["culture"], one["id"]) for one in documents)
    assert max(counts.values()) == 1


def test_what_is_not_at_hand_says_so() -> None:
    assert {name for name, declared in KNOWN.items() if not declared.real} == {
        *("culturebank", "normad", "normad_rule", "normad_value", "prism", "wvs"),
    }


@pytest.mark.parametrize("name", KNOWN)
def test_a_label_belongs_to_one_culture(name: str) -> None:
    spelled = [label.casefold() for labels in KNOWN[name].labels.values() for label in labels]
    assert len(set(spelled)) == len(spelled)
    assert set(KNOWN[name].labels) <= set(cultures.load())


def test_the_page_lists_every_benchmark_that_comes_with_caredio() -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    listed = {}
    for line in page.partition("## Benchmarks")[2].partition("\n\n`--benchmark-data")[0].splitlines()[4:]:
        names, source, data, licence = (cell.strip() for cell in line.strip("|").split("|"))
        listed |= {name.strip("`"): (source, data, licence) for name in names.split(", ")}
    assert listed == {
        name: (
            declared.source,
            (declared.hub or "none: bring your own") + ("" if declared.real else "; not run on real data"),
            declared.licence,
        )
        for name, declared in KNOWN.items()
        if name != "held_out"  # of a run's own rows
    }
