"""`caredio curve`: nested budgets, questions that no arm learns, intervals worked by hand, and one small real curve."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

import caredio
from caredio import features
from caredio.errors import InputError
from caredio.publishing.split import is_test
from caredio.runs import Run
from caredio.training import bootstrap, curve_report, heldout, nested
from caredio.training.heldout import Loss
from caredio.training.nested import Point

_SHARED = Path(__file__).parents[1] / "recipes" / "conftest.py"
_spec = importlib.util.spec_from_file_location("recipe_fixtures_of_curves", _SHARED)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
tiny, _own_cache = _shared.tiny, _shared._own_cache

QUESTIONS = [f"q{number}" for number in range(30)]
SHARE = 0.2
TESTS = {name for name in QUESTIONS if is_test(name, SHARE)}


def candidate(culture, question, draw):
    text = f"In {culture}, of {question}: answer {draw}."
    others = [
        {
            "culture": "japan",
            "sample_id": f"j-{question}",
            "response": f"Elsewhere, of {question}: none.",
            "shown": False,
        }
    ]
    return dict.fromkeys(features.SCORED) | {
        "sample_id": features.sample_id(culture, question, text),
        "question_id": question,
        "culture": culture,
        "question": f"What of {question}?",
        "response": text,
        "others": others,
        "compared": 1,
        "representativeness": float(len(question) + draw),
        "score": 1.0,
        "drop_reason": None if draw == 0 else "redundant",
    }


def scored_rows():
    return [candidate(culture, name, draw) for culture in ("china", "uk") for name in QUESTIONS for draw in (0, 1)]


@pytest.fixture(scope="session")
def pool_folder(tmp_path_factory):
    """A run whose pool holds two answers to each of 30 questions, one of them ranked, and one that nothing compares."""
    rows = scored_rows()
    rows.append(rows[0] | {"sample_id": "alone", "compared": 0, "drop_reason": "no_other_culture"})
    scored = Dataset.from_list(rows, features=features.SCORED)
    best = nested.as_ranked(scored.filter(lambda row: row["drop_reason"] is None).remove_columns("drop_reason"))
    ranks = features.count_within(best["culture"])
    best = best.remove_columns("rank").add_column("rank", ranks).cast_column("rank", features.COLUMNS["rank"].type)
    with Run(tmp_path_factory.mktemp("runs") / "pool") as run:
        run.stage("scored", lambda: scored, columns=features.SCORED)
        ranked = best.select_columns(list(features.RANKED))
        run.stage("ranked", lambda: ranked, columns=features.RANKED, after=["scored"], split_by="culture")
    return run.path


@pytest.fixture
def pool():
    own = Dataset.from_list([row for row in scored_rows() if row["culture"] == "china"], features=features.SCORED)
    ranked = nested.as_ranked(own.filter(lambda row: row["drop_reason"] is None).remove_columns("drop_reason"))
    return nested.pool(own, ranked, SHARE, "china", {"other": ranked.select(range(10, 30))})


# --- which rows


def test_an_order_by_chance_is_of_the_seed_and_the_rows_alone():
    names = [f"s{number}" for number in range(50)]
    order = [names[row] for row in nested.by_chance(names, 1)]
    assert sorted(order) == sorted(names) != order
    assert order != [names[row] for row in nested.by_chance(names, 2)]
    fewer = names[:20]
    assert [fewer[row] for row in nested.by_chance(fewer, 1)] == [name for name in order if name in fewer]


def test_orders_worked_by_hand():
    assert nested.one_each([0, 1, 2, 3, 4], ["a", "a", "b", "a", "b"]) == [0, 2, 1, 4, 3]
    assert nested.by_column([None, 2.0, 5.0, 2.0], ["d", "c", "b", "a"]) == [2, 3, 1, 0]


def test_no_ranking_holds_a_row_of_a_held_out_question(pool):
    assert 0 < len(TESTS) < 30
    assert set(pool.held_out["question_id"]) == TESTS
    assert len(pool.held_out) == 2 * len(TESTS)
    assert sum(pool.selected) == len(TESTS)
    assert pool.measured(nested.EVERY) == list(range(len(pool.held_out)))
    kept = 2 * (30 - len(TESTS))
    found = {
        "ours": kept // 2,
        "random": kept,
        "one_per_question": kept,
        "all": kept,
        "representativeness": kept,
        "other": len({*QUESTIONS[10:]} - TESTS),
    }
    assert nested.held(pool, found) == found
    for ranking, size in found.items():
        rows = nested.order(pool, ranking, 0)
        assert not TESTS & set(rows["question_id"])
        assert rows["rank"][:] == list(range(1, size + 1))
        assert rows[0]["completion"] == [{"role": "assistant", "content": rows[0]["response"]}]


def test_a_question_comes_first_once_and_a_column_s_highest_first(pool):
    questions = nested.order(pool, "one_per_question", 3)["question_id"][:]
    half = len(questions) // 2
    assert len(set(questions[:half])) == half
    values = nested.order(pool, "representativeness", None)["representativeness"][:]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(("share", "told"), [(1e-9, "no question is held out of 30"), (0.9999999, "every question")])
def test_something_is_held_out_and_something_learned(pool, share, told):
    rows = Dataset.from_list([row for row in scored_rows() if row["culture"] == "china"], features=features.SCORED)
    with pytest.raises(InputError, match=told):
        nested.pool(rows, pool.ranked, share, "china")


def test_arms_are_the_budgets_that_there_are_rows_for(caplog):
    found = nested.points("china", ["ours", "random"], [4, 8], 2, {"ours": 5, "random": 20, "all": 20})
    assert [(point.ranking, point.seed, point.budget) for point in found] == [
        ("ours", None, 4),
        ("random", 0, 4),
        ("random", 1, 4),
        ("random", 0, 8),
        ("random", 1, 8),
        ("all", None, 20),
    ]
    assert [point.arm for point in found] == ["ours-4", "random-0-4", "random-1-4", "random-0-8", "random-1-8", "all"]
    assert "ours has 5 rows; left out: 8" in caplog.text


# --- the command


def test_every_arm_takes_the_same_steps_on_the_first_rows(pool_folder, tmp_path):
    made = caredio.plan(
        caredio.curve, pool_folder, ["china"], budgets=[4, 8], seeds=2, test_share=SHARE, out=tmp_path / "curve"
    )
    assert {arm.steps for arm in made.arms} == {1}  # 8 rows once, in steps of 8
    kept = 2 * (30 - len(TESTS))
    assert {arm.name: arm.rows for arm in made.arms} == {
        **{f"china, {name}-{n}": n for name in ("ours", "random-0", "random-1") for n in (4, 8)},
        "china, all": kept,
    }
    values = [arm.values for arm in made.arms]
    assert {value["seed"] for value in values} == {42}
    assert {value["max_steps"] for value in values} == {1}
    assert not (tmp_path / "curve").exists()
    longer = caredio.plan(caredio.curve, pool_folder, budgets=[4], seeds=1, test_share=SHARE, steps=7)
    assert [arm.steps for arm in longer.arms] == [7] * 6


@pytest.mark.parametrize(("method", "rows"), [("dpo", [4, 8]), ("kto", [8, 16])])
def test_a_budget_of_pairs_is_all_pairs_of_its_rows(pool_folder, method, rows):
    made = caredio.plan(
        caredio.curve, pool_folder, ["china"], method=method, budgets=[4, 8], rankings=["ours"], test_share=SHARE
    )
    of = {arm.name: arm.rows for arm in made.arms}
    assert [of["china, ours-4"], of["china, ours-8"]] == rows  # one other culture answered each


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"budgets": []}, "give numbers of rows"),
        ({"budgets": [0]}, "give numbers of rows"),
        ({"rankings": ["best"]}, "unknown ranking 'best'; known are ours, random, one_per_question"),
        ({"rankings": ["ours", "ours"]}, "is named twice"),
        ({"rankings": "ours"}, "one text"),
        ({"seeds": 0}, "seeds is 0"),
        ({"test_share": 1.0}, "test_share is 1.0"),
        ({"method": "reward"}, "curve trains by sft, dpo, kto, simpo"),
        ({"flags": "--max_steps 3"}, "curve takes --steps and --budgets"),
        ({"cultures": ["mars"]}, "unknown culture 'mars'"),
    ],
)
def test_a_mistake_is_one_sentence(pool_folder, settings, told):
    with pytest.raises(InputError) as error:
        caredio.curve(pool_folder, **settings)
    assert told in str(error.value)
    assert not (pool_folder / "curve").exists()


def test_a_release_has_no_pool(tmp_path):
    with pytest.raises(InputError, match="is no run folder"):
        caredio.curve(tmp_path, out=tmp_path / "curve")


# --- intervals


def test_sums_are_by_question():
    sums = bootstrap.by_question(["b", "a", "b"], [Loss(1.0, 2, 3), Loss(4.0, 5, 6), Loss(0.5, 1, 1)])
    assert sums.tolist() == [[4.0, 5.0, 6.0], [1.5, 3.0, 4.0]]


def test_a_single_question_has_no_interval():
    assert bootstrap.per_token([np.array([[6.0, 3, 8]])]) == (2.0, 2.0, 2.0)
    assert bootstrap.per_byte([np.array([[8 * math.log(2), 3, 4]])]) == pytest.approx((2.0, 2.0, 2.0))


def test_two_questions_are_drawn_as_often_as_chance_has_it():
    # of two questions, both draws are the first in 1 of 4, the second in 1 of 4, one each in 2 of 4
    assert bootstrap.per_token([np.array([[2.0, 1, 1], [4.0, 1, 1]])]) == (3.0, 2.0, 4.0)


def test_longer_answers_weigh_more():
    assert bootstrap.per_token([np.array([[2.0, 1, 1], [30.0, 10, 1]])]).value == pytest.approx(32 / 11)


def test_the_interval_is_that_of_the_normal_distribution_where_questions_are_many():
    rng = np.random.default_rng(7)
    sums = np.column_stack([rng.normal(3, 1, 2000), np.ones(2000), np.ones(2000)])
    found = bootstrap.per_token([sums])
    half = 1.96 * sums[:, 0].std() / math.sqrt(2000)
    assert found.low == pytest.approx(found.value - half, abs=0.2 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.2 * half)


def test_seeds_are_averaged_and_a_difference_is_paired():
    one, two = np.array([[2.0, 1, 1], [4.0, 1, 1]]), np.array([[4.0, 1, 1], [6.0, 1, 1]])
    assert bootstrap.per_token([one, two]).value == 4.0
    less = bootstrap.difference([one], [two])
    assert less == pytest.approx((-2 / math.log(2),) * 3)  # in every draw alike, though each alone has an interval
    assert bootstrap.difference([one], [one]) == (0.0, 0.0, 0.0)


# --- the report


@pytest.fixture
def sums():
    def of(nats):
        return np.array([[nats * math.log(2), 2, 1]])

    return {
        Point("china", "untrained", None, 0): of(8),
        Point("china", "ours", None, 4): of(5),
        Point("china", "random", 0, 4): of(6),
        Point("china", "random", 1, 4): of(7),
        Point("china", "all", None, 9): of(4),
    }


def test_the_page_has_a_line_for_each_ranking_and_budget(sums):
    assert curve_report.section("china", "all answers", sums).splitlines()[1:] == [
        "## china, all answers to 1 questions",
        "",
        "| ranking | rows | seeds | bits a byte | nats a token | ours less this |",
        "|---|---|---|---|---|---|",
        "| untrained | 0 | 1 | 8.000 [8.000, 8.000] | 2.773 [2.773, 2.773] |  |",
        "| ours | 4 | 1 | 5.000 [5.000, 5.000] | 1.733 [1.733, 1.733] |  |",
        "| random | 4 | 2 | 6.500 [6.500, 6.500] | 2.253 [2.253, 2.253] | -1.500 [-1.500, -1.500] |",
        "| all | 9 | 1 | 4.000 [4.000, 4.000] | 1.386 [1.386, 1.386] |  |",
    ]


def test_the_picture_begins_with_the_untrained_model(sums):
    drawn = {line.label: (list(line.x), [round(value, 6) for value in line.y]) for line in curve_report.drawn(sums)}
    assert drawn == {"ours": ([0, 4], [8.0, 5.0]), "random": ([0, 4], [8.0, 6.5]), "all": ([9], [4.0])}


def test_the_table_has_a_line_an_arm(sums):
    lines = curve_report.lines(("china", "all answers"), sums)
    assert [(line["ranking"], line["seed"], line["budget"]) for line in lines][2:4] == [
        ("random", 0, 4),
        ("random", 1, 4),
    ]
    assert lines[1]["bits_per_byte"] == pytest.approx(5)
    assert (lines[1]["questions"], lines[1]["tokens"]) == (1, 2)


# --- what is measured


def test_a_batch_is_no_longer_than_its_padded_tokens_allow(monkeypatch):
    monkeypatch.setattr(heldout, "_AT_ONCE", 10)
    assert list(heldout.batches([5, 2, 30, 2, 5, 1])) == [[5, 1, 3], [0, 4], [2]]


def test_the_loss_is_that_of_transformers_on_the_answer_alone(tiny):
    import torch
    from transformers import AutoModelForCausalLM

    model, found = heldout.Model(str(tiny)), []
    rows = nested.as_ranked(
        Dataset.from_list(scored_rows()[:3], features=features.SCORED).remove_columns("drop_reason")
    ).map(
        lambda row, number: {"completion": [{"role": "assistant", "content": "so " * (4 * number + 1) + "é"}]},
        with_indices=True,
    )
    plain = AutoModelForCausalLM.from_pretrained(tiny)
    for row in rows:
        prompt = model.tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        whole = model.tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
        labels = torch.tensor([[-100] * len(prompt) + whole[len(prompt) :]])
        loss = plain(input_ids=torch.tensor([whole]), labels=labels).loss.item()
        found.append((loss * (len(whole) - len(prompt)), len(whole) - len(prompt)))
    losses = model.losses(rows)
    assert [loss.tokens for loss in losses] == [tokens for _, tokens in found]
    assert [loss.nats for loss in losses] == pytest.approx([nats for nats, _ in found], rel=1e-4)
    assert [loss.bytes for loss in losses] == [3 * (4 * number + 1) + 2 for number in range(3)]


# --- the real thing, small


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("embedded_home")
def test_the_packaged_model_s_curve(pool_folder, tmp_path, caplog):
    flags = "--per_device_train_batch_size 2 --gradient_accumulation_steps 1 --logging_steps 1"
    asked = {"budgets": [4, 8], "seeds": 1, "steps": 2, "test_share": SHARE, "flags": flags, "out": tmp_path / "curve"}
    made = caredio.curve(pool_folder, ["china"], **asked)
    lines = [json.loads(line) for line in (tmp_path / "curve" / "curve.jsonl").read_text().splitlines()]
    assert lines == made.table
    every = {(line["ranking"], line["budget"]): line for line in lines if line["held_out"] == "all answers"}
    kept = 2 * (30 - len(TESTS))
    arms = {("untrained", 0), ("all", kept), *((name, n) for name in ("ours", "random") for n in (4, 8))}
    assert set(every) == arms
    assert {line["questions"] for line in lines} == {len(TESTS)}
    begun = every["untrained", 0]["bits_per_byte"]
    assert all(line["bits_per_byte"] < begun for key, line in every.items() if key[0] != "untrained")
    assert all(line["bits_per_byte_low"] <= line["bits_per_byte"] <= line["bits_per_byte_high"] for line in lines)
    records = [json.loads(file.read_text()) for file in tmp_path.rglob("training.json")]
    assert {record["result"]["steps"] for record in records} == {2}
    assert {record["seeds"]["seed"] for record in records} == {42}
    assert len({record["result"]["losses"][0][0] for record in records}) == 1
    assert sorted(record["rows"] for record in records) == [4, 4, 8, 8, kept]
    assert (tmp_path / "curve" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "| ours | 8 | 1 |" in (tmp_path / "curve" / "curve.md").read_text() == made.text
    weights = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    measured = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("heldout.json")}
    again = caredio.curve(pool_folder, ["china"], **asked | {"budgets": [4]})
    assert {(line["ranking"], line["budget"]) for line in again.table} == arms - {("ours", 8), ("random", 8)}
    assert {file: file.stat().st_mtime_ns for file in weights} == weights
    assert {file: file.stat().st_mtime_ns for file in measured} == measured
