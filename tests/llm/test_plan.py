"""What a plan says against what an endpoint is then asked, over settings of which every pair of options meets."""

import csv
import itertools
import json
import random
from collections import Counter
from dataclasses import asdict

import pytest
from batch_server import BatchServer
from llm_server import LLMServer, reply

import caredio
from caredio import features
from caredio import topics as topic_files
from caredio.llm import batch
from caredio.llm import plan as plans
from caredio.llm.model import connect
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.synthesis import questions
from caredio.synthesis.settings import Settings

CULTURES = ("united_kingdom", "united_states", "australia")  # whose own language the scripted endpoint writes
OPTIONS = {
    "cultures": (2, 3),
    "topics": (1, 2),
    "per_topic": (3, 4),
    "per_call": (2, 5),
    "near": (0, 1, 2),
    "far": (1, 2),
    "check_others": (True, False),
    "subtopics": (0, 3),
    "question_cosine": (1.0, 0.95),
    "compared": (1, 4),
    "personas": (0, 2),
    "language": ("en", "own"),
    "checks": ("all", "none"),
    "optimize_rounds": (0, 1, 2),
    "other_responses": (1, 2),
    "other_questions": (0, 1),
    "objective": ("embeddings", "likelihood"),
    "representativeness": ("size", "in_context", "information", "typicality", "support", "prevalence"),
    "distinctiveness": ("cosine", "hybrid", "information", "cci"),
    "estimates": (1, 3),
    "embedder": ("openai:vectors", "sentence-transformers/all-MiniLM-L6-v2"),
    "held_out": (None, "openai:others"),
    "json_mode": ("json_schema", "json_object", "prompt"),
}
STAGES = {  # words of a stage's prompts -> the steps of a plan that count them
    "Asked everywhere:": ("other questions",),
    "You plan a study": ("subtopics",),
    "You write interview questions": ("questions",),
    "You help plan a study": ("sensitivity",),
    "You compare how people": ("adapted",),
    "Your own answer so far:": ("other answers",),
    "People who live elsewhere have these answers to it:": ("contrastive answers", "contrastive to them"),
    "You are an assistant to someone": (
        "answers",
        "isolated answers",
        "isolated to them",
        "held-out answers",
        "drawn again",
        "drawn again to them",
    ),
    "You check the answers": ("answers judged", "judged again", "answers judged to them", "judged again to them"),
    "Answer as people around you would.": ("in context",),
    "You estimate, for a study": ("generality",),
}
MEASURED = ("log-probabilities", "information", "other cultures", "likelihoods", "difficulty")
EMBEDDED = ("question vectors", "vectors", "target set", "vectors to choose by", "held-out vectors")


def covering(options, seed=0):
    """Rows of options in which every two options of two settings stand together in one: greedy, of random rows."""
    draw = random.Random(seed)
    names = list(options)
    missing = {
        ((one, a), (other, b))
        for one, other in itertools.combinations(names, 2)
        for a in options[one]
        for b in options[other]
    }

    def pairs(row):
        return set(itertools.combinations(row.items(), 2))

    rows = []
    while missing:
        wanted = dict(draw.choice(sorted(missing, key=repr)))
        tried = [{name: wanted.get(name, draw.choice(options[name])) for name in names} for _ in range(300)]
        rows.append(max(tried, key=lambda row: len(pairs(row) & missing)))
        missing -= pairs(rows[-1])
    return rows


ROWS = covering(OPTIONS)
_FAST = 9  # of these rows, how many the fast tests run; every pair meets in all of them


class Writer:
    """Replies as the scripted endpoint's, but another each time that a request comes again, as draws do."""

    def __init__(self):
        self.seen = Counter()

    def __call__(self, number, body):
        if "messages" not in body or "prompt_logprobs" in body:
            return None
        asked = json.dumps(body)
        self.seen[asked] += 1
        _, found, schema = body["messages"][-1]["content"].partition("fitting this JSON schema: ")
        form = {"response_format": {"schema": json.loads(schema)}} if found else {}
        return reply({**body, **form, "draw": self.seen[asked]})


def first_asked(server):
    """The requests, but those that ask once more for a scripted text that fails a check by chance."""
    for name in server.seen:
        messages = server.bodies[name].get("messages") or [{"content": ""}]
        if not str(messages[-1]["content"]).startswith("That cannot be used:"):
            yield server.bodies[name]


def stage_of(body):
    if "input" in body:
        return EMBEDDED
    if "prompt_logprobs" in body:
        return MEASURED
    text = "\n\n".join(message["content"] for message in body["messages"])
    return next((steps for words, steps in STAGES.items() if words in text), None)


def validation(folder):
    path = folder / "validation.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["country", "prompt", "choices", "answer_idx"])
        for country, items in (("UK", 2), ("US", 3), ("Australia", 4)):
            rows.writerows([country, f"What is eaten {n}?", '{"A": "rice", "B": "bread"}', "A"] for n in range(items))
    return path


def settings(row, folder):
    made = {**row, "cultures": CULTURES[: row["cultures"]], "topics": ["food", "power"][: row["topics"]]}
    return {**made, "validation": str(validation(folder)), "theta": 0.99, "model": "scripted", "relevance": -1.0}


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[pytest.mark.slow] * (place >= _FAST)) for place, row in enumerate(ROWS)],
    ids=lambda row: "-".join(str(value)[:6] for value in row.values()),
)
def test_a_plan_is_never_below_what_is_made_nor_far_above(row, tmp_path):
    with LLMServer(fault=Writer()) as server:
        wanted = {**settings(row, tmp_path), "base_url": server.url}
        plan = caredio.plan(caredio.build, out=tmp_path / "run", **wanted)
        assert not server.seen
        assert not (tmp_path / "run").exists()
        caredio.build(out=tmp_path / "run", **wanted)
        made = Counter(map(stage_of, first_asked(server)))
    planned = Counter()
    for steps in (*STAGES.values(), MEASURED, EMBEDDED):
        planned[steps] = sum(step.calls for step in plan.steps if step.stage in steps)
    assert plan.total.calls == sum(planned.values())
    assert all(made[steps] <= planned[steps] for steps in made), (made, planned)
    if not row["optimize_rounds"]:  # else fewer: a candidate that is not made better takes part in no further round
        exact = {steps: count for steps, count in planned.items() if count and steps != MEASURED}
        assert exact == {steps: made[steps] for steps in exact}
        assert plan.total.calls <= 1.1 * sum(made.values())


def test_a_plan_of_batches_is_what_they_ask(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_FIRST_POLL", 0.01)
    monkeypatch.setattr(batch, "_ARRIVAL", 0.02)
    with BatchServer() as server:
        scores = {"representativeness": "in_context", "validation": str(validation(tmp_path)), "embedder": "openai:m"}
        wanted = {**SMALL, "cultures": CULTURES, **scores, "theta": 0.99, "model": "scripted", "base_url": server.url}
        plan = caredio.plan(caredio.build, out=tmp_path / "run", batch=True, **wanted)
        caredio.build(out=tmp_path / "run", batch=True, **wanted)
    made = Counter(map(stage_of, first_asked(server)))
    assert sum(made.values()) == plan.total.calls
    assert made[EMBEDDED] == 1


def own(folder, answers=1):
    """A table of people's answers: equal questions in each culture, and `answers` of each."""
    rows = [
        {"question_id": f"q{n}", "question": f"What is eaten on day {n}?", "culture": culture, "response": response}
        for n in range(5)
        for culture in ("uk", "us", "australia")
        for response in (f"{culture} eats dish {n}{mark}" for mark in "abc"[:answers])
    ]
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("answers", [1, 3])
@pytest.mark.parametrize("r", ["size", "typicality", "in_context", "information"])
@pytest.mark.parametrize("d", ["cosine", "information", "cci"])
def test_of_a_table_a_plan_is_what_is_made(server, tmp_path, answers, r, d):
    scores = {"representativeness": r, "distinctiveness": d, "validation": str(validation(tmp_path)), "estimates": 1}
    reached = {"model": "scripted", "base_url": server.url, "embedder": "openai:m", "theta": 0.99}
    plan = caredio.plan(caredio.select, own(tmp_path, answers), out=tmp_path / "run", **scores, **reached)
    assert not (tmp_path / "run").exists()
    caredio.select(own(tmp_path, answers), out=tmp_path / "run", **scores, **reached)
    made = Counter(stage_of(body) for body in server.bodies.values())
    assert len(server.seen) == plan.total.calls == made.total()
    words = sum(len(text.split()) for body in server.bodies.values() for text in body.get("input", []))
    assert {step.stage: step.calls for step in plan.steps}["vectors"] == made[EMBEDDED] == (1 if words else 0)


@pytest.mark.parametrize("answers", [1, 3])
@pytest.mark.parametrize(("ranking", "step", "calls"), [("ifd", "difficulty", None), ("rds", "target set", 1)])
def test_of_a_table_a_plan_is_what_a_baseline_asks(server, tmp_path, answers, ranking, step, calls):
    scores = {"ranking": ranking, "validation": str(validation(tmp_path)), "theta": 0.99, "embedder": "openai:m"}
    reached = {"model": "scripted", "base_url": server.url} if ranking == "ifd" else {"embedder_base_url": server.url}
    plan = caredio.plan(caredio.select, own(tmp_path, answers), out=tmp_path / "run", **scores, **reached)
    caredio.select(own(tmp_path, answers), out=tmp_path / "run", **scores, **reached)
    texts, chats = 2 * 15 * answers, 15 + 3  # an answer with and without its question; a chat without one a culture
    probed = {"log-probabilities": 2} if ranking == "ifd" else {}  # before vectors are paid for
    assert {one.stage: one.calls for one in plan.steps} == {**probed, "vectors": 1, step: calls or texts + chats}
    assert len(server.seen) == plan.total.calls


@pytest.mark.parametrize("ranking", ["ifd", "rds"])
def test_a_plan_of_a_build_is_not_below_what_a_baseline_asks(tmp_path, ranking):
    with LLMServer(fault=Writer()) as server:
        scores = {"ranking": ranking, "validation": str(validation(tmp_path)), "embedder": "openai:m", "theta": 0.99}
        wanted = {**SMALL, "cultures": CULTURES, **scores, "model": "scripted", "base_url": server.url}
        plan = caredio.plan(caredio.build, out=tmp_path / "run", **wanted)
        caredio.build(out=tmp_path / "run", **wanted)
        made = Counter(map(stage_of, first_asked(server)))
    planned = {steps: sum(one.calls for one in plan.steps if one.stage in steps) for steps in (MEASURED, EMBEDDED)}
    assert planned[EMBEDDED] == made[EMBEDDED]
    assert made[MEASURED] <= planned[MEASURED]
    assert bool(made[MEASURED]) == (ranking == "ifd")


def test_clusters_make_it_less(server, tmp_path):
    scores = {"representativeness": "information", "distinctiveness": "information", "theta": 0.2}
    wanted = {**scores, "model": "scripted", "base_url": server.url, "embedder": "openai:m"}
    plan = caredio.plan(caredio.select, own(tmp_path), out=tmp_path / "run", **wanted)
    caredio.select(own(tmp_path), out=tmp_path / "run", **wanted)
    assert 1 < len(server.seen) < plan.total.calls


SMALL = {"cultures": ["china", "brazil"], "topics": ["food"], "per_topic": 4, "near": 1, "far": 1, "compared": 1}
SMALL["question_cosine"] = 1.0  # the scripted endpoint's questions are much alike


def test_with_each_answer_asked_for_again_the_upper_bound_is_made(tmp_path):
    """Every first answer is one that no check lets pass; the second is fine."""

    def fault(number, body):
        return "I'm sorry, but I can't help with that." if len(body["messages"]) == 2 else None

    with LLMServer(fault=fault) as server:
        wanted = {**SMALL, "model": "scripted", "base_url": server.url}
        plan = caredio.plan(caredio.synthesize, out=tmp_path / "run", **wanted)
        caredio.synthesize(out=tmp_path / "run", **wanted)
    assert len(server.seen) == 2 * plan.total.calls
    assert plan.total.calls < len(server.seen) <= plan.total.upper_bound


@pytest.mark.parametrize("judged", [True, False])
def test_with_every_question_dropped_the_rounds_stay_within_the_upper_bound(judged, tmp_path):
    """Questions that all cultures would answer alike, or that are all near-duplicates, are asked for in every round."""

    def fault(number, body):
        if "You help plan a study" in body["messages"][0]["content"]:
            return '{"reason": "all alike", "sensitivity": 1}'
        return None if judged else '{"questions": ["What do people around you eat in the morning?"]}'

    with LLMServer(fault=fault) as server:
        wanted = {**SMALL, "per_topic": 7, "rounds": 3, "per_call": 1, "model": "scripted", "base_url": server.url}
        plan = caredio.plan(caredio.synthesize, out=tmp_path / "run", **wanted)
        with pytest.raises(caredio.InputError, match="questions: no rows"):
            caredio.synthesize(out=tmp_path / "run", **wanted)
    steps = {step.stage: step for step in plan.steps}
    made = Counter(stage_of(server.bodies[name])[0] for name in server.seen)
    assert made["questions"] == 3 * 4  # half of the 3, 2 and 2 that lack: 2 and 1 and 1 calls, three times
    assert steps["questions"].calls == 7 < made["questions"] <= steps["questions"].upper_bound == 24
    assert made["sensitivity"] <= steps["sensitivity"].upper_bound


@pytest.mark.parametrize("rounds", [1, 2, 8])
@pytest.mark.parametrize("per_call", [1, 3, 5])
@pytest.mark.parametrize("per_topic", [1, 5, 20])
def test_questions_are_planned_as_their_rounds_go(tmp_path, rounds, per_call, per_topic):
    chosen = Settings(per_topic=per_topic, rounds=rounds, per_call=per_call, rouge_l=1.0, checks="none")
    topics = features.table([asdict(topic_files.load()["food"])], features.SUBTOPICS)
    with LLMServer(fault=Writer()) as server:
        model = connect(Spec(model="scripted"), Endpoint(base_url=server.url), tmp_path / "answers.sqlite")
        made = features.kept(questions.run(topics, chosen, model))
    assert (len(server.seen), len(made)) == questions.expected(chosen)


def test_the_printed_plan_says_what_is_bound_and_what_estimate(tmp_path):
    plan = caredio.plan(caredio.build, out=tmp_path, **SMALL, model="gpt-4.1-mini")
    head, *rows, note = str(plan).splitlines()
    assert head.split() == ["stage", "calls", "prompt", "tokens", "answer", "tokens", "US", "dollars"]
    assert rows[-1].split()[:2] == ["total", str(plan.total.calls)]
    assert f"at most {plan.total.upper_bound} where answers that cannot be used are asked for again" in note
    assert "Tokens and dollars are estimates" in note
    short = caredio.plan(caredio.build, out=tmp_path, **SMALL, model="gpt-4.1-mini", max_tokens=7)
    assert short.total.completion_tokens == 7 * short.total.calls < plan.total.completion_tokens


def test_the_note_speaks_of_what_is_asked_and_of_no_other():
    vectors = plans.vectors("vectors", "text-embedding-3-small", [(10, 40)])
    note = str(plans.Plan("SmolLM2-135M-Instruct", (vectors,), local=True)).splitlines()[-1]
    assert "Calls are the most that text-embedding-3-small is asked" in note
    assert "SmolLM2" not in note
    assert "asked for again" not in note
    assert "round" not in note
    unknown = str(plans.Plan("gpt-4o-minni", (plans.Step("answers", 3, 30, 30, upper_bound=6),))).splitlines()[-1]
    assert "no price is known" in unknown
    assert "list prices" not in unknown
    assert "at most 6 where answers that cannot be used are asked for again." in unknown


def test_the_embedded_model_costs_nothing_and_what_an_endpoint_embeds_its_price(tmp_path):
    embedder = {"embedder": "openai:text-embedding-3-small", "distinctiveness": "information"}
    plan = caredio.plan(caredio.build, out=tmp_path, **{**SMALL, "per_topic": 300}, **embedder)
    prices = {line[:22].strip(): line.split()[-1] for line in str(plan).splitlines()[1:-1]}
    vectors = next(step for step in plan.steps if step.stage == "vectors")
    assert prices["answers"] == "0.00"
    assert prices["total"] == prices["vectors"] == f"{vectors.prompt_tokens * 0.02 / 1e6:.2f}" != "0.00"
    # a pass for each answer as each of two cultures: there are no requests here
    assert next(step.calls for step in plan.steps if step.stage == "other cultures") == 2 * 600


def test_a_schema_in_the_prompt_is_counted(tmp_path):
    wanted = {**SMALL, "model": "m", "base_url": "http://localhost/v1"}
    plans = {
        mode: caredio.plan(caredio.build, out=tmp_path, **wanted, json_mode=mode) for mode in ("json_schema", "prompt")
    }
    tokens = {mode: {step.stage: step.prompt_tokens for step in plan.steps} for mode, plan in plans.items()}
    longer = {stage for stage, count in tokens["prompt"].items() if count > tokens["json_schema"][stage]}
    assert longer == {"subtopics", "questions", "sensitivity", "adapted", "answers judged", "contrastive answers"}
