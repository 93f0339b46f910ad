"""What a plan says against what an endpoint is then asked, over settings of which every pair of options meets."""

import csv
import itertools
import json
import random
from collections import Counter

import pytest
from llm_server import LLMServer, reply

import caredio

CULTURES = ("united_kingdom", "united_states", "australia")  # whose own language the scripted endpoint writes
OPTIONS = {
    "cultures": (2, 3),
    "topics": (1, 2),
    "per_topic": (3, 4, 7),
    "per_call": (2, 5),
    "neighbours": (1, 2, 4),
    "compared": (1, 4),
    "personas": (0, 2),
    "language": ("en", "own"),
    "checks": ("all", "none"),
    "optimize_rounds": (0, 1, 2),
    "other_responses": (1, 2),
    "other_questions": (0, 1),
    "objective": ("embeddings", "likelihood"),
    "representativeness": ("size", "in_context", "information", "typicality"),
    "distinctiveness": ("cosine", "information"),
    "embedder": ("openai:vectors", "sentence-transformers/all-MiniLM-L6-v2"),
    "held_out": ("", "openai:others"),
    "json_mode": ("json_schema", "json_object", "prompt"),
}
STAGES = {  # words of a stage's prompts -> the steps of a plan that count them
    "You write interview questions for a study of how people live in different cultures.\n\nTopic": ("questions",),
    "You help plan a study": ("sensitivity",),
    "You compare how people": ("adapted",),
    "Your own answer so far:": ("other answers",),
    "Asked everywhere:": ("other questions",),
    "People who live elsewhere answered this question too:": ("contrastive answers", "contrastive to them"),
    "You are an ordinary person": ("answers", "isolated answers", "isolated to them", "held-out answers"),
    "Answer as people around you would.": ("in context",),
}
MEASURED = ("information", "other cultures", "likelihoods")
EMBEDDED = ("vectors", "vectors to choose by", "held-out vectors")


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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(str(value)[:6] for value in row.values()))
def test_a_plan_is_never_below_what_is_made_nor_far_above(row, tmp_path):
    with LLMServer(fault=Writer()) as server:
        wanted = {**settings(row, tmp_path), "base_url": server.url}
        plan = caredio.build(tmp_path / "run", dry_run=True, **wanted)
        assert not server.seen
        assert not (tmp_path / "run").exists()
        caredio.build(tmp_path / "run", **wanted)
        made = Counter(stage_of(server.bodies[name]) for name in server.seen)
    planned = Counter()
    for steps in (*STAGES.values(), MEASURED, EMBEDDED):
        planned[steps] = sum(step.calls for step in plan.steps if step.stage in steps)
    assert plan.total.calls == sum(planned.values())
    assert all(made[steps] <= planned[steps] for steps in made), (made, planned)
    print(made, planned)
    if not row["optimize_rounds"]:  # else fewer: a candidate that is not made better takes part in no further round
        exact = {steps: count for steps, count in planned.items() if count and steps != MEASURED}
        assert exact == {steps: made[steps] for steps in exact}
        assert plan.total.calls <= 1.1 * sum(made.values())
