"""The packaged sample of BLEnD, and what `caredio quickstart` prints of its ranking."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from hub_server import HubServer

import caredio
from caredio import blend, cultures, quickstart, quickstart_regions
from caredio.errors import InputError
from caredio.runs import Run

BLEND = Path(__file__).parent / "data" / "blend"  # 24 of the 500 questions, in all 16 regions, as the source has them


def sample():
    return pq.read_table(quickstart.SAMPLE).to_pylist()


def test_the_sample_is_what_the_script_makes_of_the_source():
    made = blend.sample(BLEND).to_pylist()
    questions = {row["question_id"] for row in made}
    assert len(questions) == 24
    assert made == [row for row in sample() if row["question_id"] in questions]


def test_the_sample_says_what_people_answered():
    rows = sample()
    source = json.loads((BLEND / "Mexico_data.json").read_text(encoding="utf-8"))
    question_id, item = next(iter(source.items()))
    answer = item["annotations"][0]
    found = [row for row in rows if (row["culture"], row["question_id"]) == ("mexico", question_id)]
    assert (answer["en_answers"][0], answer["count"]) in {(row["response"], row["annotators"]) for row in found}
    assert {row["question"] for row in found} == {item["en_question"]}
    assert {row["culture"] for row in rows} == {"china", "mexico", "south_korea"}
    assert len({row["question_id"] for row in rows}) == 500


@pytest.mark.parametrize(
    ("response", "annotators", "reason"),
    [("tacos", 2, None), ("tacos", 1, "one_annotator"), ("18:00", 5, "no_letters"), ("5 pm", 5, None)],
)
def test_answers_of_one_person_and_numbers_are_not_ranked(response, annotators, reason):
    assert blend.drop_reason(response, annotators) == reason


def test_the_sample_is_small_and_names_source_licence_and_command():
    assert quickstart.SAMPLE.stat().st_size < 300_000
    readme = (quickstart.SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    for needed in ("github.com/nlee0212/BLEnD", "CC-BY-SA-4.0", "Junho Myung", "Changed:", "make_sample.py"):
        assert needed in readme
    assert all(f"`{name}`" in readme for name in pq.read_schema(quickstart.SAMPLE).names)


def test_best_rows_stand_beside_what_the_others_answered():
    ranked = [
        row("mexico", 1, "What is eaten?", "tacos", [("china", "rice"), ("china", "noodles"), ("china", "soup")]),
        row("mexico", 2, "What is sold?", "tacos", [("china", "rice")]),  # the same answer again
        row("mexico", 3, "Who pays?", "the host", []),
        row("china", 1, "What is eaten?", "noodles", [("mexico", "tacos")]),
    ]
    people = {"tacos": 3, "rice": 2, "noodles": 4, "soup": 2, "the host": 5}
    given = {
        (culture, question, response): people[response]
        for culture in ("mexico", "china")
        for question in ("What is eaten?", "What is sold?", "Who pays?")
        for response in people
    }
    assert quickstart.best_rows(ranked, given).splitlines() == [
        "",
        "China, best rows (an answer that comes again is left out here)",
        "  1. What is eaten?",
        "       China        noodles (4 people)",
        "       Mexico       tacos (3 people)",
        "",
        "Mexico, best rows (an answer that comes again is left out here)",
        "  1. What is eaten?",
        "       Mexico       tacos (3 people)",
        "       China        noodles (4 people), rice (2 people), soup (2 people)",
        "  3. Who pays?",
        "       Mexico       the host (5 people)",
        "       China        no answer is left",
    ]


def row(culture, rank, question, response, others):
    met = [{"culture": other, "response": said} for other, said in others]
    return {
        "culture": culture,
        "rank": rank,
        "question_id": question,
        "question": question,
        "response": response,
        "others": met,
    }


def test_an_answer_that_the_source_has_twice_counts_as_often_as_the_more_frequent_of_the_two():
    twice = [{"culture": "china", "question_id": "q", "response": "orange", "annotators": people} for people in (3, 1)]
    assert quickstart.annotators(twice) == {("china", "q", "orange"): 3}


def test_drops_are_added_up_and_explained():
    lines = quickstart.drops([{"one_annotator": 3456}, {"redundant": 1137, "new_reason": 2}]).splitlines()
    assert lines[1] == "Dropped: 4,595 answers"
    assert lines[2] == "  3,456  one_annotator     a single person of the region gave the answer"
    assert lines[4] == "      2  new_reason"


@pytest.mark.slow
def test_the_release_is_a_dataset_under_the_source_s_licence_and_goes_to_the_hub(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        push = [sys.executable, "-m", "caredio.cli", "quickstart", "--push", "caredio/quick"]
        environment = hub.environment(tmp_path / "home")
        done = subprocess.run(push, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        tags = [request.path for request in hub.requests if request.method == "POST" and "/tag/" in request.path]
        assert len(tags) == 1
    release = tmp_path / "runs" / "quickstart" / "release"
    card = (release / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["license"] == "cc-by-sa-4.0"
    assert "Attribution: `BLEnD (Junho Myung et al., NeurIPS 2024), https://github.com/nlee0212/BLEnD" in card
    several = {(row["culture"], row["question"], row["response"]) for row in sample() if row["annotators"] >= 2}
    for culture in ("china", "mexico", "south_korea"):
        splits = load_dataset(str(release), culture, cache_dir=str(tmp_path / "cache"))
        rows = [row for split in splits.values() for row in split]
        assert len(rows) == 100
        assert all((culture, row["question"], row["response"]) in several for row in rows)
    scored = pq.read_table(tmp_path / "runs" / "quickstart" / "scored" / "scored.parquet")
    made = json.loads((tmp_path / "runs" / "quickstart" / "run.json").read_text())["stages"]["candidates"]
    assert len(scored) + sum(made["dropped"].values()) + made["merged"] == len(sample())
    assert sum(scored["weight"].to_pylist()) == sum(row["annotators"] for row in sample() if not row["drop_reason"])
    again = subprocess.run(push[:-2], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("unchanged") == 6
    assert "%|" not in again.stderr  # no bar where nobody looks
    assert again.stdout == done.stdout


def test_the_screen_of_all_regions_shows_each_region_s_first_rows():
    rows = [
        {"culture": "west_java", "rank": 2, "question": "What is sold?", "response": "seblak", "weight": 2.0},
        {"culture": "west_java", "rank": 1, "question": "What is eaten?", "response": "cilok", "weight": 3.0},
        {"culture": "china", "rank": 4, "question": "Who pays?", "response": "the host", "weight": 5.0},
    ]
    assert quickstart_regions.best_rows(rows, {"west_java": "West Java", "china": "China"}).splitlines() == [
        "",
        "West Java",
        "  1. What is eaten? cilok (3 people)",
        "  2. What is sold? seblak (2 people)",
    ]


def test_the_run_of_all_regions_records_their_names(tmp_path):
    names = quickstart_regions.named(tmp_path / "run")
    assert set(names) == set(blend.NAMES)
    with Run(tmp_path / "run") as run:
        known = run.cultures()
    assert {slug: known[slug].name for slug in names} == names
    assert (names["algeria"], names["west_java"]) == ("Algeria", "West Java")


def test_a_run_with_cultures_of_its_own_keeps_them(tmp_path):
    with Run(tmp_path) as run:
        run.use({"china": cultures.load()["china"]})
    quickstart_regions.named(tmp_path)
    with Run(tmp_path) as run:
        assert [one["slug"] for one in run.used["cultures"]] == ["china"]


def test_annotations_train_nothing(tmp_path):
    with pytest.raises(InputError, match="leave it or annotations out"):
        quickstart.quickstart(tmp_path / "run", annotations=BLEND, train=True)


@pytest.mark.slow
def test_a_clone_s_annotations_become_a_release_of_16_regions(tmp_path, embedded_home):
    release = quickstart.quickstart(tmp_path / "run", annotations=BLEND, version="v1.0.0")
    card = (release / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["language"]) == ("cc-by-sa-4.0", ["en"])
    assert "Junho Myung et al., NeurIPS 2024" in card
    assert "West Java" in card
    several = {
        (culture, question_id, answer["en_answers"][0].strip())
        for culture, name in blend.NAMES.items()
        for question_id, item in json.loads((BLEND / f"{name}_data.json").read_text(encoding="utf-8")).items()
        for answer in item["annotations"]
        if answer["count"] >= 2 and answer["en_answers"]
    }
    for culture in blend.NAMES:
        ranked = load_dataset(str(release), culture, cache_dir=str(tmp_path / "cache"))
        rows = [row for split in ranked.values() for row in split]
        assert rows
        assert {(culture, row["question_id"], row["response"]) for row in rows} <= several
        pairs = load_dataset(str(release), f"{culture}-preference", cache_dir=str(tmp_path / "cache"))
        for pair in (row for split in pairs.values() for row in split):
            assert pair["rejected_culture"] in set(blend.NAMES) - {culture}
            said = (pair["rejected_culture"], pair["question_id"], pair["rejected"][0]["content"])
            assert said in several
    lines = (release / "all" / "train.parquet", release / "china-pool" / "train.parquet")
    assert all(file.is_file() for file in lines)
    before = {file: file.read_bytes() for file in release.rglob("*") if file.is_file()}
    quickstart.quickstart(tmp_path / "run", annotations=BLEND, version="v1.0.0")
    assert {file: file.read_bytes() for file in release.rglob("*") if file.is_file()} == before
    again = caredio.publish(tmp_path / "run", to=tmp_path / "again", version="v1.0.0")
    line = "You answer as someone who lives in West Java would."
    rows = load_dataset(str(again), split="train", cache_dir=str(tmp_path / "cache"))
    assert any(row["prompt"][0]["content"].startswith(line) for row in rows)
