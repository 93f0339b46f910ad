"""What a declaration finds: its data, its documents, its spellings, and itself by name."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark, choice, distribution, judgements, short_answers
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, Benchmark, Document, Kind
from caredio.evaluation.benchmarks import culturalbench

CHINA = cultures.load()["china"]
EASY = culturalbench.EASY


def rows(file: Path) -> Iterable[Document]:
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            yield {"id": row["id"], "culture": row["where"], "question": row["id"], "options": ["x", "y"], "key": 0}


def toy(**more: Any) -> Benchmark:
    given = {"name": "toy", "title": "Toy", "kind": choice.KIND, "source": "toy_data", "read": rows}
    return Benchmark(**{**given, "licence": "mit", "file": "toy.csv as its makers send it", **more})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "toy.csv"
    made.write_text("id,where\n1,China\n2,Britain\n3,united_kingdom\n4,PRC\n5,CHINA\n6,Chinatown\n")
    return made


def test_what_is_given_wins_over_the_environment_and_that_over_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAREDIO_CULTURALBENCH", "theirs.csv")
    assert EASY.path() == Path("theirs.csv")
    assert EASY.path({"culturalbench": "mine.csv", "other": "other.csv"}) == Path("mine.csv")
    assert EASY.path({"culturalbench": "~/mine.csv"}) == Path.home() / "mine.csv"
    assert EASY.path({"culturalbench": "sample"}) == culturalbench.SAMPLE
    monkeypatch.setenv("CAREDIO_CULTURALBENCH", "sample")
    assert EASY.path({"other": "other.csv"}) == culturalbench.SAMPLE
    monkeypatch.delenv("CAREDIO_CULTURALBENCH")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: "/cache/CulturalBench-Easy.csv")
    assert EASY.path() == Path("/cache/CulturalBench-Easy.csv")


def test_what_no_server_has_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"^Toy is on no server .*; get toy\.csv as its makers send it, and name it"):
        toy().path()
    with pytest.raises(InputError, match=r"with --benchmark-data toy_data=FILE or in CAREDIO_TOY_DATA\.$"):
        toy().path({"other": "x"})


def test_a_culture_goes_by_its_name_its_slug_and_the_declared_spellings(file: Path) -> None:
    made = toy(labels={"united_kingdom": ("Britain",)})
    uk = cultures.load()["united_kingdom"]
    assert made.spellings(uk) == ("United Kingdom", "united_kingdom", "Britain")
    found = made.about("united_kingdom", made.spellings(uk), file, LIKELIHOOD)
    assert [(one["id"], one["culture"]) for one in found] == [("2", "united_kingdom"), ("3", "united_kingdom")]
    assert [one["id"] for one in made.about("china", made.spellings(CHINA), file, LIKELIHOOD)] == ["1", "5"]
    japan = cultures.load()["japan"]
    assert made.about("japan", made.spellings(japan), file, LIKELIHOOD) == []


def test_orders_are_for_likelihoods_alone() -> None:
    found = {variant: EASY.documents(culturalbench.SAMPLE, variant) for variant in EASY.variants}
    assert all(len(one["orders"]) == 4 for one in found[LIKELIHOOD])
    for variant in (GENERATED, COT):
        assert all("orders" not in one for one in found[variant])
        assert [one["id"] for one in found[variant]] == [one["id"] for one in found[LIKELIHOOD]]


def test_a_file_that_changed_is_read_again(file: Path) -> None:
    made = toy()
    assert len(made.documents(file)) == 6
    file.write_text("id,where\n9,China\n")
    assert [one["id"] for one in made.documents(file)] == ["9"]


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file; give toy\.csv as its makers send it\.$"):
        toy().documents(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        toy().sha256(tmp_path / "none.csv")


def test_a_folder_is_hashed_by_its_files(tmp_path: Path, file: Path) -> None:
    before = toy().sha256(tmp_path)
    assert before != toy().sha256(file)
    (tmp_path / "other.csv").write_text("x")
    assert toy().sha256(tmp_path) != before


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Rice is eaten there.\nAnswer: B", "B"),
        ("Answer: A\nNo, wait.\n**Answer: B**\n", "B"),
        ("answer:b", "b"),
        ("Answer: **B**", "B"),
        ("So the answer: is B", ""),
        ("B", ""),
        ("", ""),
    ],
)
def test_after_reasoning_the_last_line_answers(reply: str, said: str) -> None:
    assert benchmark.final(reply, COT) == said
    assert benchmark.final(reply, GENERATED) == reply


def test_benchmarks_are_found_by_name_and_variant() -> None:
    known = benchmark.load()
    assert known["culturalbench_easy"] is EASY
    for one in known.values():
        for variant in one.variants:
            name = benchmark.named(one.name, variant)
            assert benchmark.chosen([name, name]) == [(one, variant)]
    with pytest.raises(InputError, match=r"^'culturalbench_esay' is no benchmark; did you mean culturalbench_easy\?$"):
        benchmark.chosen(["culturalbench_esay"])
    with pytest.raises(InputError, match=r"^'zzz' is no benchmark; there are .*culturalbench_easy.*, or a YAML file"):
        benchmark.chosen(["zzz"])


def test_declarations_are_whole_and_apart() -> None:
    """Names, variants and sources of all that are there, so that no task and no column means two things."""
    found = [benchmark.named(one.name, variant) for one in benchmark.load().values() for variant in one.variants]
    assert len(found) == len(set(found))
    for name, one in benchmark.load().items():
        assert name == one.name
        assert name.isidentifier()
        assert name == name.lower()
        assert "role_play" not in name
        assert not name.endswith(("_generated", "_cot", "_logprobs"))
        assert set(one.variants) <= set(one.kind.metrics)
        assert one.source.isidentifier()
        assert set(one.labels) <= set(cultures.load())
        assert one.licence
        assert one.file


@pytest.mark.parametrize("nothing", [float("nan"), float("-inf"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (choice.KIND, {"options": ["a", "b"], "key": 0}),
        (judgements.KIND, {"statements": ["a"], "truth": [True]}),
        (distribution.KIND, {"options": ["a", "b"], "shares": [0.5, 0.5]}),
        (short_answers.KIND, {"answers": [{"text": "a", "weight": 1}], "own": "b", "rivals": []}),
    ],
)
def test_a_likelihood_that_is_no_number_is_no_answer(
    kind: Kind, document: Document, place: int, nothing: float
) -> None:
    assert kind.by_likelihoods is not None
    found = [-1.0, -1.0]
    assert kind.by_likelihoods(document, found)
    found[place] = nothing
    with pytest.raises(
        InputError, match=r"^a log-likelihood is no finite number: .* float16 .* in bfloat16 or float32"
    ):
        kind.by_likelihoods(document, found)


# ---------------------------------------------------------------- of the Hub


def test_a_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError("no connection\nat all")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(InputError, match=r"Hub \(FileNotFoundError\); give a copy .* CAREDIO_CULTURALBENCH\.$"):
        EASY.path()
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(
        InputError,
        match=r"give a copy of toy\.csv as .* send it with --benchmark-data toy_data=FILE or in the environment",
    ):
        toy(hub="a/b", files=("data/*",)).path()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("blend_choice", "'blend_choice', which is no source of data; did you mean blend_choices?"),
        ("blend", "'blend', which blend_answers, blend_answers_native reads, and no benchmark that is asked; "),
    ],
)
def test_data_that_no_benchmark_reads_is_told(named: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        benchmark.check_sources([named], [benchmark.load()["blend"]])
    assert said in str(caught.value)
    benchmark.check_sources(["blend_choices"], [benchmark.load()["blend"]])
