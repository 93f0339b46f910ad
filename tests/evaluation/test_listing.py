"""`caredio benchmarks`, against what the declarations say and what the data holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from caredio import cli
from caredio.evaluation import benchmark
from caredio.evaluation.benchmark import Benchmark, Document
from caredio.evaluation.benchmarks import culturalbench


def test_each_benchmark_is_listed_with_all_that_is_declared(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["benchmarks"])
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.partition(":")[0] for block in blocks] == list(benchmark.load())
    for block, one in zip(blocks, benchmark.load().values(), strict=True):
        assert block.splitlines()[0] == f"{one.name}: {one.title}"
        facts = dict(line.strip().split("    ", 1) for line in block.splitlines()[1:])
        facts = {name: fact.strip() for name, fact in facts.items()}
        assert facts["asked as"].split(", ") == [benchmark.named(one.name, variant) for variant in one.variants]
        assert facts["licence"] == one.licence
        assert one.file in facts["data"]
        assert one.hub in facts["data"]
        assert facts["data"].endswith(f"--benchmark-data {one.source}=FILE, $CAREDIO_{one.source.upper()}")
        assert ("real data" in facts) == (not one.real)
        assert facts.get("note", "") == one.notes
        assert all(metric.name in facts["metrics"] for variant in one.variants for metric in one.metrics(variant))
        assert ("knowing nothing" in facts) == bool(one.chance)


def test_the_list_in_part_as_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["benchmarks"])
    blocks = capsys.readouterr().out.strip().split("\n\n")
    (hard,) = (block for block in blocks if block.startswith("culturalbench_hard"))
    assert hard.splitlines() == [
        "culturalbench_hard: CulturalBench-Hard",
        "  asked as           culturalbench_hard, culturalbench_hard_generated, culturalbench_hard_cot",
        "  a question has     question, statements, truth (kind judgements)",
        "  metrics            acc (questions), judgement_acc (judgements), unparsed",
        "  knowing nothing    acc 6.25 %, judgement_acc 50 %",
        "  data               kellycyy/CulturalBench of the Hub, or CulturalBench-Easy.csv as the Hub has it, or the"
        " word sample: --benchmark-data culturalbench=FILE, $CAREDIO_CULTURALBENCH",
        "  licence            CC-BY-4.0",
    ]


def guessed(one: Benchmark, documents: list[Document]) -> dict[str, float]:
    found = one.kind.baselines(documents, [])["chance"]
    return {name: pytest.approx(value) for name, value in found.items()}


def test_what_knowing_nothing_scores_is_what_guessing_does(published: Callable[[str], Path]) -> None:
    for one in culturalbench.BENCHMARKS:
        assert one.chance == guessed(one, one.documents(culturalbench.SAMPLE))
    blend = benchmark.load()["blend"]
    assert blend.chance == guessed(blend, blend.documents(published("blend/mcq_subset.csv")))


@pytest.mark.parametrize(
    ("name", "place"), [("blend", "blend/mcq_subset.csv"), ("blend_answers", "blend/annotations"), ("care", "care")]
)
def test_the_declared_regions_are_those_of_the_data(name: str, place: str, published: Callable[[str], Path]) -> None:
    one = benchmark.load()[name]
    assert set(one.regions) == {document["culture"] for document in one.documents(published(place))}
