"""Cards over a grid of settings, each read against the run it was made from."""

import dataclasses
import itertools
import json
import random
import re
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset

import caredio
from caredio.publishing import citation
from caredio.publishing.settings import Settings
from caredio.publishing.split import is_test
from caredio.selection import rank
from caredio.selection.settings import Settings as Selection

ITEMS = Path(__file__).parents[1] / "data" / "blend" / "multiple_choice.csv"
R = ("size", "typicality", "support", "prevalence", "information", "in_context")
D = ("cosine", "hybrid", "information", "cci")
RANKINGS = ("score", "random", "longest", "kcenter", "facility_location", "ifd", "rds")
AXES = {
    "representativeness": R,
    "distinctiveness": D,
    "score": ("auto", "product", "sum"),
    "ranking": RANKINGS[:4],  # facility_location compiles for long; the sentences of the rest are read below
    "linkage": ("average", "single"),
    "embedder": ("given", "openai:scripted-embedder"),
    "test_share": (0.0, 0.05, 0.5),
    "budget": (2, 1000),
    "coverage": ("none", "mmr", "facility", "best_answer"),
    "per_question": (None, 1, 3),
    "topic_share": (None, 2.0),
    "compared": (None, 2),
    "weight": (0.0, 1.0, 0.25),
    "theta": (0.5, 0.8),
    "generator": (None, "some-model"),
}
COLUMNS = ["question_id", "question", "response", "culture"]


def possible(one):
    if one["coverage"] != "none" and one["ranking"] != "score":
        return False
    return one["score"] != "product" or (
        one["representativeness"] in ("size", "in_context") and one["distinctiveness"] in ("cosine", "hybrid")
    )


def pairwise(axes, allowed):
    """Combinations in which every allowed pair of values meets, found greedily among random ones."""
    draw = random.Random(0)
    pool = [{name: draw.choice(values) for name, values in axes.items()} for _ in range(4000)]
    pool = [one for one in pool if allowed(one)]
    covers = [set(itertools.combinations(one.items(), 2)) for one in pool]
    left, chosen = set().union(*covers), []
    while left:
        best = max(range(len(pool)), key=lambda row: len(covers[row] & left))
        chosen.append(pool[best])
        left -= covers[best]
    return chosen


GRID = pairwise(AXES, possible)


def own(folder, generator):
    """Twelve questions answered by three cultures, their vectors given; one question only by one culture."""
    draw = np.random.default_rng(0)
    rows = [
        {
            "question_id": f"q{number:02d}",
            "question": f"What is eaten at feast {number}?",
            "response": f"{answer} number {number}" + " and more" * (number % 3),
            "culture": culture,
            "sample_embedding": draw.normal(size=8).tolist(),
            "response_embedding": draw.normal(size=8).tolist(),
            "generator": generator,
        }
        for number in range(12)
        for culture, answer in (("china", "rice"), ("C\u00f4te d'Ivoire", "fufu"), ("united_kingdom", "toast"))
        if number or culture == "china"
    ]
    path = folder / "own.parquet"
    Dataset.from_list(rows).to_parquet(path)
    return path


def test_every_baseline_has_a_sentence_of_its_own():
    said = {
        ranking: rank.describe(
            dataclasses.asdict(Selection(budget=7, ranking=ranking, validation="a/known.csv")), "product", "a-model"
        )
        for ranking in RANKINGS[1:]
    }
    for ranking, text in said.items():
        assert text.startswith(f"Rank: `{ranking}`, a baseline: ")
        assert text.endswith("A culture keeps at most 7 rows.")
        assert named(text, RANKINGS) == {ranking}
    assert len({text.split(":")[2] for text in said.values()}) == len(rank.ORDERS) == len(RANKINGS) - 1
    assert "the loss of `a-model` on it" in said["ifd"]
    assert "up to 100 questions a culture of `known.csv`" in said["rds"]


def known_answers(folder):
    """BLEnD's questions, the American ones given to another country."""
    path = folder / "known.csv"
    path.write_text(ITEMS.read_text(encoding="utf-8").replace(",US,", ",C\u00f4te d'Ivoire,"), encoding="utf-8")
    return str(path)


def released(folder):
    """(YAML head, body, config -> split -> rows) of a release."""
    page = (folder / "README.md").read_text(encoding="utf-8")
    head, body = page.split("---\n", 2)[1:]
    tables = {}
    for file in folder.glob("*/*.parquet"):
        tables.setdefault(file.parent.name, {})[file.stem] = pq.read_table(file).to_pylist()
    return yaml.safe_load(head), body, tables


def line(body, start):
    found = [text for text in body.splitlines() if text.startswith(f"- {start}")]
    assert len(found) == 1, (start, found)
    return found[0]


def named(text, values):
    """Those of the values that stand in the text as code."""
    return {value for value in values if f"`{value}`" in text}


def check_method(body, one, combine, model):
    """Every setting that ran is named in its line, and no other value of it anywhere beside it."""
    made = body.split("## How it was made")[1]  # what is above names columns
    assert named(line(body, "Representativeness:"), R) == {one["representativeness"]}
    assert named(line(body, "Distinctiveness:"), D) == {one["distinctiveness"]}
    assert named(made, R + D) == {one["representativeness"], one["distinctiveness"]}
    assert named(line(body, "Clusters:"), ("average", "single")) == {one["linkage"]}
    assert f"similarity of {one['theta']:g}." in line(body, "Clusters:")
    assert not re.search("average" if one["linkage"] == "single" else "single", made)
    for text, asks in (
        ("Representativeness:", ("information", "in_context")),
        ("Distinctiveness:", ("information", "cci")),
    ):
        measure = one[text.lower().rstrip(":")]
        assert (f"`{model}`" in line(body, text)) == (measure in asks)
    rank = line(body, "Rank:")
    assert named(made, RANKINGS) == {one["ranking"]}
    assert f"at most {one['budget']} rows" in rank
    assert ("a baseline" in rank) == (one["ranking"] != "score")
    assert named(made, ("product", "sum")) == ({combine} if one["ranking"] == "score" else set())
    held = one["ranking"] not in ("kcenter", "facility_location")
    assert ("No question has a second row" in rank) == (held and one["per_question"] == 1)
    assert ("No question has more than 3 rows" in rank) == (held and one["per_question"] == 3)
    assert "its share" not in rank  # the table has no topics
    assert named(rank, ("mmr", "facility", "best_answer")) == {one["coverage"]} - {"none"}
    if one["distinctiveness"] == "cosine":
        other = "all other cultures that answered" if one["compared"] is None else "up to 2 other cultures"
        assert other in line(body, "Distinctiveness:")
    if one["ranking"] == "score" and combine == "sum":
        assert f"weight {one['weight']:g}." in rank
    by_score = one["ranking"] == "score" and (combine == "product" or one["weight"] > 0)
    assert ("rows were preferred for differing" in body) == by_score
    assert "range(200)" not in body  # no culture has as many rows
    assert ("best first" in body) == (one["ranking"] == "score")
    begins = {
        None: "",
        1: ", first the best row of each question, then the second of each, whose scores begin high again",
    }
    begins[3] = ", first the best 3 rows of each question, then the next 3 of each, whose scores begin high again"
    if one["ranking"] == "score":
        assert f"{begins[one['per_question']]}, so the first n rows" in body
        assert ("whose scores begin" in body) == (one["per_question"] is not None)
    assert ("(nor all of its words, nor only words of it)" in body) == (one["distinctiveness"] == "hybrid")
    assert ": a question, an answer of a culture, and what other cultures answered." in body


def check_rows(body, tables, held_out):
    """Splits, counts and vectors are what the files hold."""
    taken = int(re.search(r"first = rows.select\(range\((\d+)\)\)", body)[1])
    config, split = re.search(r'load_dataset\(".*?", "(.*?)", split="(.*?)"', body).groups()
    assert taken == len(tables[config][split])
    ranked = tables["all"]
    assert ("`test` holds" in body) == (set(ranked) == {"train", "test"})
    questions = {row["question_id"] for rows in ranked.values() for row in rows}
    out = {name for name in questions if is_test(name, held_out)}
    if set(ranked) == {"train", "test"}:
        share = 100 * len(out) / len(questions)
        assert f"`test` holds {len(out)} of the {len(questions)} ranked questions ({share:.3g} %)" in body
    else:
        assert f"Every ranked row is in `{next(iter(ranked))}`." in body
    pools = [splits["train"] for name, splits in tables.items() if name.endswith("-pool")]
    pooled = {row["sample_id"] for rows in pools for row in rows}
    for slug in ("china", "cote_d_ivoire", "united_kingdom"):
        cells = next(text for text in body.splitlines() if f"(`{slug}`)" in text).split(" | ")
        held = tables.get(slug, {})
        assert cells[1:4] == [str(len(held.get(split, []))) for split in ("train", "test")] + [
            str(len(tables[f"{slug}-pool"]["train"]))
        ]
        own = {row["sample_id"] for row in tables[f"{slug}-pool"]["train"]}
        assert {row["sample_id"] for row in tables[f"{slug}-vectors"]["train"]} == own | (beside(tables, slug) - pooled)


def beside(tables, slug):
    """The answers that a culture's candidates are compared with."""
    pool = tables[f"{slug}-pool"]["train"]
    return {other["sample_id"] for row in pool for column in ("others", "panel") for other in row[column]}


def check_views(body, tables, run, sides):
    """The sentence and the table on pairs are those of the run, and count the pairs that are there."""
    record = json.loads((run / "run.json").read_text())["stages"]["preference"]
    said = line(body, "Preference:")
    assert f"Both sides are answers {sides}; the sides differ by at most 25 %" in said
    assert f"; {record['without_pair']} ranked row" in line(body, "`<culture>-preference`:")
    pairs = {
        slug: [row for split in tables.get(f"{slug}-preference", {}).values() for row in split]
        for slug in ("china", "cote_d_ivoire", "united_kingdom", "brazil")
    }
    assert bool(record["sides"]) == any(pairs.values()) == ("What tells chosen from rejected" in body)
    for slug, rows in pairs.items():
        found = [text for text in body.splitlines() if text.startswith(f"| `{slug}` | ")]
        assert len(found) == bool(rows)
        for text in found:
            _, count, characters, *told = [cell.strip() for cell in text.strip("|").split("|")]
            medians = [median(len(row[side][0]["content"]) for row in rows) for side in ("chosen", "rejected")]
            assert count == str(len(rows))
            assert characters == " / ".join(f"{one:g}" for one in medians)
            assert len(told) == 4
            enough = len({row["question_id"] for row in rows}) >= 10
            assert all(re.fullmatch(r"-|[01]\.\d\d \([01]\.\d\d to [01]\.\d\d\)", cell) for cell in told)
            assert any(cell != "-" for cell in told) == enough


@pytest.mark.parametrize("one", GRID, ids=lambda one: "-".join(str(value) for value in one.values()))
def test_a_card_of_a_table_says_what_ran(server, tmp_path, one):
    settings = {name: value for name, value in one.items() if name not in ("test_share", "generator")}
    table = own(tmp_path, one["generator"])
    asking = {"model": "scripted", "base_url": server.url, "retries": 0, "validation": known_answers(tmp_path)}
    shown = {"validation_items": 2} | asking
    caredio.select(table, out=tmp_path / "run", **settings, **shown)
    folder = caredio.publish(tmp_path / "run", test_share=one["test_share"])
    head, body, tables = released(folder)
    shares = one["representativeness"] in ("size", "in_context") and one["distinctiveness"] in ("cosine", "hybrid")
    combine = one["score"] if one["score"] != "auto" else "product" if shares else "sum"
    check_method(body, one, combine, "scripted")
    check_rows(body, tables, one["test_share"])
    check_views(body, tables, tmp_path / "run", "of the table")
    if one["embedder"] == "given":
        assert "`given`" in line(body, "Embeddings:")
        assert "Embedder:" not in body
    else:
        assert line(body, "Embedder:") == f"- Embedder: `{one['embedder']}`."
        assert "given`" not in body
    assert "A language model wrote" not in body
    assert "Text: selected from `own.parquet`" in body
    assert ("Its rows name as generator: `some-model`." in body) == bool(one["generator"])
    assert "language" not in head
    unranked = [row for row in tables["china-pool"]["train"] if row["question_id"] == "q00"]
    assert [row["drop_reason"] for row in unranked if row["drop_reason"] != "redundant"] in (["no_other_culture"], [])
    assert not any(row["question_id"] == "q00" for row in itertools.chain(*tables["all"].values()))


def test_a_card_speaks_of_topics_and_weights_where_the_table_has_them(tmp_path):
    rows = Dataset.from_parquet(str(own(tmp_path, None))).to_list()
    topics = [{**row, "topic_id": "food", "weight": 1 + place % 7} for place, row in enumerate(rows)]
    said = {}
    for name, given in (("plain", rows), ("more", topics)):
        Dataset.from_list(given).to_parquet(tmp_path / f"{name}.parquet")
        settings = {"embedder": "given", "theta": 0.9, "topic_share": 2.0}
        caredio.select(tmp_path / f"{name}.parquet", out=tmp_path / name, **settings)
        said[name] = (caredio.publish(tmp_path / name) / "README.md").read_text(encoding="utf-8")
        page = (tmp_path / name / "report.html").read_text(encoding="utf-8")
        for text in (said[name], page):
            assert ("No topic has more than 2 times its share" in text) == (name == "more")
        assert ("7 people" in page) == (name == "more")
    assert "Weights:" not in said["plain"]
    assert "counts the people who gave an answer" in line(said["more"], "Weights:")
    assert line(said["more"], "Weights:").endswith("1 to 7 in the ranked rows.")


WRITTEN = {
    "personas": (0, 2),
    "voice": ("assistant", "person"),
    "language": ("en", "own"),
    "near": (1, 2),
    "far": (0, 2),
    "check_others": (True, False),
    "words": (None, "20-90"),
    "checks": ("all", "none"),
    "optimize_rounds": (0, 1),
    "objective": ("embeddings", "likelihood"),
    "per_topic": (3, 4),
}
WRITTEN_GRID = pairwise(
    WRITTEN, lambda one: one["language"] == "en" or one["checks"] == "none"
)  # the endpoint speaks English


@pytest.mark.parametrize("one", WRITTEN_GRID, ids=lambda one: "-".join(str(value) for value in one.values()))
def test_a_card_of_written_text_says_how_it_was_written(server, tmp_path, one):
    asking = {"model": "scripted", "base_url": server.url, "retries": 0, "embedder": "openai:scripted-embedder"}
    caredio.build(["china", "brazil"], ["food"], out=tmp_path / "run", **one, **asking, theta=0.5)
    head, body, tables = released(caredio.publish(tmp_path / "run"))
    check_views(body, tables, tmp_path / "run", "that were given without seeing others'")
    for slug in ("china", "brazil"):
        panel = {other["sample_id"] for row in tables[f"{slug}-pool"]["train"] for other in row["panel"]}
        assert bool(panel) == bool(one["personas"])
        assert panel <= {row["sample_id"] for row in tables[f"{slug}-vectors"]["train"]}
    assert "- Text written by: `scripted` (answering as `scripted-2026-01-01`)." in body
    assert "A language model wrote these texts." in body
    assert "selected from" not in body
    assert f"up to {one['per_topic']} on each of 1 topic," in line(body, "Questions:")
    fewest, most = {"assistant": (80, 200), "person": (30, 80)}[one["voice"]] if one["words"] is None else (20, 90)
    spoken = {"assistant": "an assistant", "person": "a person"}[one["voice"]]
    assert line(body, "Answers:") == f"- Answers: in the voice of {spoken}, of {fewest} to {most} words."
    for step in ("Adaptation:", "Contrast:"):
        assert f"up to {one['near']} near" in line(body, step)
        assert ("up to 2 far cultures (drawn by seed for each question" in line(body, step)) == bool(one["far"])
    judged = one["check_others"] and one["checks"] == "all"
    assert ("the writing model judged that 0 did not" in line(body, "Others' answers:")) == judged
    assert ("was not judged" in line(body, "Others' answers:")) == (not judged)
    assert named(line(body, "Adaptation:"), ("en", "own")) == {one["language"]}
    assert head["language"] == (["en"] if one["language"] == "en" else ["pt", "zh"])
    assert ("none" in line(body, "Personas:")) == (not one["personas"])
    assert ("2 people of each culture" in line(body, "Personas:")) == bool(one["personas"])
    assert named(line(body, "Checks"), ("all", "none")) == {one["checks"]}
    optimised = line(body, "Optimisation:")
    if one["optimize_rounds"]:
        assert "1 round " in optimised
        assert named(optimised, ("embeddings", "likelihood")) == {one["objective"]}
        assert ("openai:scripted-embedder" in optimised) == (one["objective"] == "embeddings")
    else:
        assert optimised == "- Optimisation: none."
    ran = {text.split(" | ")[0].strip("| ") for text in body.split("| stage |")[1].split("\n\n")[0].splitlines()[2:]}
    record = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]
    assert ran == set(record) - {"vectors", "preference", "unpaired"}


def test_signs_that_tex_reads_as_commands_are_escaped_in_the_entry():
    entry = citation.bibtex(Settings(authors="Marks & Co., 100% #1"), "my_set", "me/my_set")
    assert "  title = {my\\_set},\n" in entry
    assert "  author = {{Marks \\& Co.} and {100\\% \\#1}},\n" in entry
    assert "/me/my_set}" in entry
