"""A question that grounded the rows does not test them: what was shown as evidence is not asked."""

import json

import pytest
from llm_server import LLMServer

import caredio
from caredio import runs
from caredio.cultures import load
from caredio.errors import InputError
from caredio.evaluation import benchmark, grounded
from caredio.evaluation.leakage import Row, Training, rows_of

OPTIONS = ["Every day", "Now and then", "Never"]
ASKED = [f"How often do people in your house {what}?" for what in ("cook", "share a meal", "fast", "eat out", "pray")]
NOTHING = Training([], [], [], [])


@pytest.fixture
def survey(tmp_path):
    """A survey in the form that modular_pluralism derived from GlobalOpinionQA."""
    path = tmp_path / "survey.json"
    options = " ".join(f"{letter}. {option}" for letter, option in zip("ABC", OPTIONS, strict=True))
    rows = [
        {
            "question": f"Question: {question}\nOptions: {options}\nAnswer:",
            "options": OPTIONS,
            "attribute": country,
            "gold_distribution": [0.5, 0.3, 0.2],
        }
        for question in ASKED
        for country in ("China", "Brazil")
    ]
    path.write_text(json.dumps(rows))
    return path


def documents(path, name="globalopinionqa"):
    declared = benchmark.load()[name]
    return declared, declared.about("china", declared.spellings(load()["china"]), path, "generated")


def piece(text, source="s", name="1", culture="china"):
    return Row(name, culture, (text,), ((source, name),))


def test_a_question_is_left_out_by_its_id_where_rows_name_it(survey):
    declared, asked = documents(survey)
    row = {
        "sample_id": "a",
        "culture": "china",
        "evidence": [{"source": "globalopinionqa", "evidence_id": asked[1]["id"]}],
    }
    learned = Training(list(rows_of([row])), [], [], [])
    assert grounded.leave_out(learned, [])(declared, asked) == {asked[1]["id"]}
    assert grounded.leave_out(NOTHING, [])(declared, asked) == set()


def test_a_question_is_left_out_by_its_words_whatever_the_source(survey):
    declared, asked = documents(survey)
    said = [piece(f"A survey asked: {ASKED[2].upper()} Few did."), piece("Nobody fasts in this house.")]
    assert grounded.leave_out(NOTHING, said)(declared, asked) == {asked[2]["id"]}


def test_surveys_that_ask_the_same_in_other_words_refuse_each_other(survey):
    declared, asked = documents(survey)
    leave_out = grounded.leave_out(NOTHING, [piece("Shares.", "wvs", "Q1")])
    with pytest.raises(InputError, match="asks questions of wvs in other words, whose answers grounded the rows"):
        leave_out(declared, asked)


def test_an_evaluation_of_a_run_asks_the_half_that_did_not_ground_it(survey, tmp_path):
    out = tmp_path / "run"
    small = {"per_topic": 3, "compared": 2, "model": "m", "embedder": "openai:e", "theta": 0.99}
    given = {"evidence": str(survey), "evidence_similarity": -1.0}
    asking = {"benchmarks": "globalopinionqa_generated", "benchmark_data": f"globalopinionqa={survey}", "model": "m"}
    with LLMServer() as server:
        caredio.build(["china"], ["food"], out=out, base_url=server.url, **small, **given)
        shown = {row["question"] for row in runs.read(sorted((out / "evidence").glob("*.parquet")))}
        assert 0 < len(shown) < len(ASKED)
        before = set(server.bodies)
        plan = caredio.plan(caredio.evaluate, ["china"], out=out, base_url=server.url, **asking)
        result = caredio.evaluate(["china"], out=out, base_url=server.url, **asking)
        turns = [server.bodies[one]["messages"][-1]["content"] for one in set(server.bodies) - before]
        everything = caredio.plan(
            caredio.evaluate, ["china"], out=out, base_url=server.url, allow_leaked=True, **asking
        )
    assert {question for question in ASKED if any(question in turn for turn in turns)} == set(ASKED) - shown
    (n,) = {row["n"] for row in result.results}
    assert n == len(ASKED) - len(shown)
    assert plan.total.calls * len(ASKED) == everything.total.calls * n
    record = json.loads((out / "run.json").read_text())["stages"]["results"]["measured"][-1]
    note = f"left out: {len(shown)} of 5 questions of GlobalOpinionQA on china, which grounded the rows of training"
    assert any(note in one for one in record["left_out"])


def test_where_every_question_grounded_the_rows_nothing_is_asked(survey, tmp_path):
    out = tmp_path / "run"
    small = {"per_topic": 3, "compared": 2, "model": "m", "embedder": "openai:e", "theta": 0.99}
    given = {"evidence": str(survey), "evidence_similarity": -1.0, "evidence_questions": "all"}
    asking = {"benchmarks": "globalopinionqa_generated", "benchmark_data": f"globalopinionqa={survey}", "model": "m"}
    with LLMServer() as server:
        caredio.build(["china"], ["food"], out=out, base_url=server.url, **small, **given)
        with pytest.raises(InputError, match="nothing can be asked: 5 of 5 questions of GlobalOpinionQA on china"):
            caredio.evaluate(["china"], out=out, base_url=server.url, **asking)


def test_lm_evals_tasks_leave_the_same_questions_out(survey):
    """What weights of one's own are asked is read by lm-eval from the task."""
    from caredio.evaluation import tasks

    declared, asked = documents(survey)
    china = load()["china"]
    place = tasks.folder([(declared, "")], [china], None, {(declared.name, "china"): [asked[0]["id"]]})
    task = (place / "caredio_globalopinionqa_china.yaml").read_text()
    assert asked[0]["id"] in task
    spellings = list(declared.spellings(china))
    left = tasks.documents(
        "globalopinionqa", "china", spellings, "", left_out=[asked[0]["id"]], globalopinionqa=str(survey)
    )["test"]
    assert left["id"] == [one["id"] for one in asked[1:]]
