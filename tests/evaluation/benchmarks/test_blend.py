from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from llm_server import LLMServer

import caredio
from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark
from caredio.evaluation.benchmarks import blend
from caredio.intervals import wilson

(DECLARED,) = blend.BENCHMARKS
ROW = {
    "MCQID": "Al-en-01_7",
    "ID": "Al-en-01",
    "country": "South_Korea",
    "prompt": "What is a snack in South Korea? Without any explanation, choose only one from the given alphabet "
    'choices(e.g., A, B, C). Provide as JSON format: {"answer_choice":""}\n\nA. tea\nB. rice\n\nAnswer:',
    "choices": '{"B": "rice", "A": "tea"}',
    "choice_countries": '{"A": "UK", "B": "South_Korea"}',
    "answer_idx": "B",
}


def written(folder: Path, **changed: str) -> Path:
    file = folder / "mc_questions_file-1.csv"
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, [*ROW])
        writer.writeheader()
        writer.writerow({**ROW, **changed})
    return file


def test_a_row_is_a_choice_without_upstreams_instruction(tmp_path: Path) -> None:
    assert blend.read(written(tmp_path)) == [
        {
            "id": "Al-en-01_7",
            "question_id": "Al-en-01",
            "culture": "South_Korea",
            "question": "What is a snack in South Korea?",
            "options": ["tea", "rice"],
            "key": 1,
            "orders": [[0, 1], [1, 0]],
        }
    ]
    assert blend.read(tmp_path) == blend.read(tmp_path / "mc_questions_file-1.csv")


@pytest.mark.parametrize("changed", [{"choices": "tea"}, {"answer_idx": "C"}, {"choices": "[1]"}])
def test_a_changed_cell_is_named(changed: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1: choices must be letters with texts and answer_idx one of the letters"):
        blend.read(written(tmp_path, **changed))


def test_the_whole_subset_is_read(published) -> None:
    file = published("blend/mcq_subset.csv")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    documents = DECLARED.documents(file)
    assert len(documents) == len(rows) == 886
    assert len({one["id"] for one in documents}) == 886
    assert Counter(one["culture"] for one in documents) == Counter(row["country"] for row in rows)
    for one, row in zip(documents, rows, strict=True):
        shown = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", one["options"], strict=True))
        assert row["prompt"].startswith(f"{one['question']} Without")
        assert shown in row["prompt"]
        assert one["options"][one["key"]] == json.loads(row["choices"])[row["answer_idx"]]
        assert json.loads(row["choice_countries"])[row["answer_idx"]] == row["country"]


def test_cultures_find_their_questions(published) -> None:
    file = published("blend/mcq_subset.csv")
    found = {
        slug: len(DECLARED.about(slug, DECLARED.spellings(culture), file, benchmark.LIKELIHOOD))
        for slug, culture in cultures.load().items()
    }
    assert {slug: count for slug, count in found.items() if count} == {
        "china": 57,
        "mexico": 43,
        "south_korea": 53,
        "united_kingdom": 44,
        "united_states": 60,
    }


def test_an_interval_counts_questions_and_not_the_items_that_ask_them(tmp_path: Path) -> None:
    file = tmp_path / "mc_questions_file-1.csv"
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, [*ROW])
        writer.writeheader()
        for question, item in [("Al-en-01", n) for n in range(9)] + [("Al-en-02", 0)]:
            options = json.dumps({"A": f"tea {item}", "B": f"rice {item}"})
            writer.writerow({**ROW, "MCQID": f"{question}_{item}", "ID": question, "choices": options})
    with LLMServer(lambda _, body: "B") as server:
        found = caredio.evaluate(
            ["south_korea"],
            model="m",
            base_url=server.url,
            benchmarks="blend",
            benchmark_data=f"blend_choices={file}",
            store=tmp_path / "answers.sqlite",
        )
    (raw,) = (row for row in found.results if (row["system"], row["metric"]) == ("raw", "acc"))
    assert (raw["n"], raw["value"]) == (10, 1)
    assert (raw["low"], raw["high"]) == wilson(1, 2)  # of ten questions it would begin at 0.72
