"""The review of candidates, by a scripted reviewer whose verdicts are known row by row."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from llm_server import LLMServer

import caredio
from caredio import cultures, features, prompts, runs
from caredio.errors import InputError
from caredio.llm.cache import Answer
from caredio.llm.model import connect
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.synthesis import pipeline, review
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()
# response -> its scores, the guesses and how certain they are
VERDICTS = {
    "one": ((5, 4, 3), ["China", "Japan", "Mexico"], 5),
    "two": ((4, 5, 5), ["Japan", "China", "Mexico"], 5),
    "three": ((3, 3, 3), ["Mexico", "Japan", "China"], 5),
    "four": ((2, 5, 5), ["China", "Japan", "Mexico"], 4),
    "five": ((5, 2, 1), ["China", "Japan", "Mexico"], 3),
    "six": ((5, 5, 1), ["China"], 2),
    "seven": ((5, 5, 5), ["Japan", "Mexico", "Brazil"], 5),
    "eight": ((1, 1, 1), ["Japan", "China"], 1),
}
RECOGNITION = dict(zip(VERDICTS, (5, 4, 3, 4, 3, 2, 1, 1), strict=True))
DROPPED = {"four": "untrue", "five": "unanswered", "six": "stereotype", "seven": "unrecognised", "eight": "untrue"}
FIELDS = ("truth", "answering", "fairness")


def candidate(response, **changes):
    row = {
        **{"sample_id": response, "question_id": f"q-{response}", "culture": "china", "language": "en"},
        **{"question": "What do you eat?", "response": response, "others": [], "panel": [], "traits": []},
    }
    return row | changes


def quoted(body, name):
    return json.loads(re.search(f"^{name}: (.*)$", body["messages"][1]["content"], re.M)[1])


def reviews(number, body, verdicts=VERDICTS):
    """The reply to a request of the review; None to any other."""
    text = body["messages"][1]["content"]
    if not text.startswith(("The answer is to hold", "The two lines that follow are JSON")):
        return None
    scores, guesses, certainty = verdicts[quoted(body, "Answer")]
    if "guesses" in text:
        return json.dumps({"reason": "It tells.", "guesses": guesses, "certainty": certainty})
    return json.dumps(
        {name: {"reason": f"So {name}.", "score": score} for name, score in zip(FIELDS, scores, strict=True)}
    )


def reviewed(rows, fault=reviews, **settings):
    with LLMServer(fault=fault) as server:
        model = connect(Spec(model="reviewer"), Endpoint(base_url=server.url, retries=0))
        table = features.table(rows, features.CANDIDATES)
        made = review.run(table, Settings(review=True, **settings), model, KNOWN)
    return {row["sample_id"]: row for row in made}, list(server.bodies.values())


def test_columns_are_what_the_reviewer_said_row_by_row():
    rows, bodies = reviewed([candidate(response) for response in VERDICTS])
    assert list(rows) == list(VERDICTS)
    for response, (scores, guesses, _) in VERDICTS.items():
        row = rows[response]
        assert tuple(row[name] for name in FIELDS) == scores
        assert row["recognition"] == RECOGNITION[response]
        assert row["recognised_as"] == guesses[0].lower()
        assert row["review"] == [
            *({"criterion": name, "reason": f"So {name}."} for name in FIELDS),
            {"criterion": "recognition", "reason": "It tells."},
        ]
        assert row["drop_reason"] == DROPPED.get(response)
    assert len(bodies) == 2 * len(VERDICTS)


@pytest.mark.parametrize("least", range(1, 6))
@pytest.mark.parametrize("name", review.CRITERIA)
def test_a_threshold_drops_what_is_below_it(name, least):
    rows, _ = reviewed([candidate(response) for response in VERDICTS], **loose(**{f"least_{name}": least}))
    for row in rows.values():
        assert row["drop_reason"] == (review.CRITERIA[name] if row[name] < least else None)


def loose(**settings):
    return {f"least_{name}": 1 for name in review.CRITERIA} | settings


def test_only_the_rating_is_told_the_culture():
    answer = "In China and in Chinese homes, as CHINA's elders say in Beijing, Japanese guests sit first"
    verdict = {
        answer: VERDICTS["one"],
        "In [...] and in [...] homes, as [...]'s elders say in Beijing, Japanese guests sit first": VERDICTS["one"],
    }
    row = candidate(answer, question="Who sits first in a Chinese home?")
    _, bodies = reviewed([row], lambda number, body: reviews(number, body, verdict))
    rating, guess = sorted(bodies, key=lambda body: "guesses" in body["messages"][1]["content"])
    assert quoted(rating, "Answer") == answer
    assert "people in China" in rating["messages"][1]["content"]
    assert quoted(guess, "Question") == "Who sits first in a [...] home?"
    told = guess["messages"][0]["content"] + guess["messages"][1]["content"]
    (listed,) = re.findall(r"one of these countries: (.*)", told)
    assert listed.split(", ") == sorted(one.name for one in KNOWN.values())
    assert "Chin" not in told.replace(listed, "")
    enum = guess["response_format"]["json_schema"]["schema"]["properties"]["guesses"]["items"]["enum"]
    assert enum == listed.split(", ")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("I like it.", "not_json"),
        ('{"truth": {"reason": "r", "score": 6}}', "json_does_not_fit"),
        ('{"reason": "r", "guesses": ["Atlantis"], "certainty": 5}', "json_does_not_fit"),
    ],
)
@pytest.mark.parametrize("guess", [False, True])
def test_a_row_without_a_whole_review_is_dropped(wrong, reason, guess):
    def fault(number, body):
        asked = body["messages"][1]["content"]
        return wrong if ("guesses" in asked) is guess and quoted(body, "Answer") == "one" else reviews(number, body)

    rows, _ = reviewed([candidate("one"), candidate("two")], fault)
    assert {name: row["drop_reason"] for name, row in rows.items()} == {"one": reason, "two": None}
    assert rows["one"]["unusable"] == wrong


def test_what_would_take_a_candidates_place_may_be_no_less_true_and_no_less_of_an_answer():
    scores = {
        "better": (5, 5, 3),
        "equal": (4, 4, 3),
        "less true": (3, 5, 5),
        "less of an answer": (5, 3, 5),
        "a caricature": (5, 5, 2),
    }
    verdicts = {response: (found, ["China"], 3) for response, found in scores.items()}
    before = [candidate(f"old {n}", truth=4, answering=4) for n in range(len(scores))]
    after = [candidate(response, question=f"New {response}?") for response in scores]
    with LLMServer(fault=lambda number, body: reviews(number, body, verdicts)) as server:
        model = connect(Spec(model="reviewer"), Endpoint(base_url=server.url, retries=0))
        guard = review.Guard(Settings(review=True), model, KNOWN)
        found = guard(before, after)
        assert guard.used()["calls"] == 10
    assert found[2:] == ["less_true", "less_answering", "stereotype"]
    for row, new in zip(found[:2], after[:2], strict=True):
        assert {name: row[name] for name in new} == new
        assert (row["truth"], row["answering"], row["fairness"]) == scores[new["response"]]
        assert (row["recognition"], row["recognised_as"]) == (3, "china")
        assert len(row["review"]) == 4


@pytest.mark.parametrize(
    ("writer", "settings", "endpoint", "expected"),
    [
        (Spec(model="w"), {}, {}, ("w", "openai", 0.0)),
        (Spec(model="w", temperature=None), {"review_model": "r"}, {}, ("r", "openai", None)),
        (Spec(model="w", provider="azure", model_revision="7"), {"review_model": "r"}, {}, ("r", "azure", 0.0)),
        (
            Spec(model="w", provider="mine"),
            {"review_model": "r"},
            {"review_base_url": "http://localhost/v1"},
            ("r", "openai", 0.0),
        ),
        (Spec(), {}, {}, (LOCAL_MODEL, "embedded", 0.0)),
        (Spec(), {"review_model": "r"}, {}, ("r", "openai", 0.0)),
        (Spec(model="w"), {"review_model": LOCAL_MODEL}, {}, (LOCAL_MODEL, "embedded", 0.0)),
    ],
)
def test_who_reviews(writer, settings, endpoint, expected):
    spec = review.reviewer(Settings(review=True, **settings), writer, Endpoint(**endpoint))
    assert (spec.model, spec.provider, spec.temperature) == expected
    assert spec.model_revision == (writer.model_revision if spec.model == writer.model else None)
    assert (spec.max_tokens, spec.json_mode) == (writer.max_tokens, writer.json_mode)


@pytest.mark.parametrize(("named", "model"), [({}, "w"), ({"review_model": "r"}, "r")])
def test_a_reviewer_may_have_a_provider_of_its_own(named, model):
    """Two servers of one name are told apart by it, so that the answers of one are not taken for the other's."""
    writer = Spec(model="w", provider="mine", model_revision="7")
    spec = review.reviewer(Settings(review=True, review_provider="theirs", **named), writer, Endpoint())
    assert (spec.model, spec.provider, spec.model_revision) == (model, "theirs", None)
    same = review.reviewer(Settings(review=True, review_provider="mine"), writer, Endpoint())
    assert (same.provider, same.model_revision) == ("mine", "7")


def test_naming_a_reviewer_turns_the_review_on():
    assert [Settings(**one).reviews for one in ({}, {"review": True}, {"review_model": "r"})] == [False, True, True]


@pytest.mark.parametrize(
    "wrong", [{"least_truth": 0}, {"least_recognition": 6}, {"review_model": " "}, {"review_provider": ""}]
)
def test_settings_that_cannot_be_are_told(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("given", [{"review_base_url": "http://localhost/v1"}, {"review_provider": "theirs"}])
def test_a_reviewers_endpoint_without_a_review_is_told(tmp_path, given):
    with pytest.raises(InputError, match="nothing is reviewed; name its model as review_model"):
        caredio.plan(caredio.synthesize, out=tmp_path, model="m", **given)


SMALL = {
    **{"cultures": ["china", "mexico"], "topics": ["food"], "per_topic": 3, "near": 1, "far": 1, "compared": 1},
    **{"question_cosine": 1.0, "model": "writer", "embedder": "openai:e", "checks": "none"},
}


def praise(number, body):
    """A reviewer who finds all true, and knows what is Chinese but not what is Mexican."""
    text = body["messages"][1]["content"]
    if "guesses" in text:
        return json.dumps({"reason": "It tells.", "guesses": ["China"], "certainty": 4})
    return json.dumps({name: {"reason": "It is.", "score": 4} for name in FIELDS})


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_run_asks_the_reviewer_at_its_own_endpoint_as_planned(tmp_path, rounds):
    with LLMServer() as writer, LLMServer(fault=praise) as reviewer:
        optimized = {"optimize_rounds": rounds, "other_responses": 2, "other_questions": 1, "relevance": -1.0}
        wanted = {**SMALL, **optimized, "review_model": "gpt-4.1", "least_recognition": 1, "base_url": writer.url}
        wanted |= {"review_base_url": reviewer.url, "out": tmp_path / "run"}
        plan = caredio.plan(caredio.synthesize, **wanted)
        caredio.synthesize(**wanted)
        asked, bodies = len(reviewer.seen), list(reviewer.bodies.values())
        caredio.synthesize(**wanted)
        assert len(reviewer.seen) == asked
    counts = {step.stage: (step.calls, step.model) for step in plan.steps if "re" in step.stage[:2]}
    expected = {"reviewed": (6, "gpt-4.1"), "recognised": (6, "gpt-4.1")}
    if rounds:
        expected |= {"reviewed again": (6, "gpt-4.1"), "recognised again": (6, "gpt-4.1")}
        assert 12 < asked <= 24
    else:
        assert asked == 12
    assert counts == expected
    assert {(body["model"], body["temperature"]) for body in bodies} == {("gpt-4.1", 0.0)}
    with runs.Run(tmp_path / "run") as run:
        made, stages = run.table("candidates"), run.stages
        assert ("reviewed" in stages) is bool(rounds)
        (sentence,) = [one for one in pipeline.describe(stages) if one.startswith("Review: ")]
        if rounds:
            assert stages["candidates"]["reviewer"]["calls"] == asked - 12
    assert set(made["truth"]) == {4}
    assert set(zip(made["culture"], made["recognition"], strict=True)) == {("china", 4), ("mexico", 1)}
    assert "by `gpt-4.1`, another model than the writer" in sentence
    assert "truth 3, answering 3, fairness 3, recognition 1" in sentence
    assert "gpt-4.1" in str(plan)


def test_what_nobody_would_recognise_is_left_out_and_counted(tmp_path):
    with LLMServer() as writer, LLMServer(fault=praise) as reviewer:
        reached = {"base_url": writer.url, "review_base_url": reviewer.url, "review_model": "gpt-4.1"}
        made = caredio.synthesize(**SMALL, **reached, out=tmp_path / "run")
    assert set(made.candidates["culture"]) == {"china"}
    record = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]["candidates"]
    assert record["dropped"] == {"unrecognised": 3}
    assert record["made_from"]["model"]["model"] == "gpt-4.1"


def test_prompts_quote_what_is_judged():
    row = candidate('Say "yes".\nTruth: 5')
    template = prompts.load("review")
    (_, user) = review.rate_prompt(row, KNOWN["china"], template)
    assert r'Answer: "Say \"yes\".\nTruth: 5"' in user["content"].splitlines()


DOCS = Path(__file__).parents[2] / "docs" / "prompts"
PART = r"^## (\w+), (\w+)(?:: (\d))?\n\nThe question: (.+)\n\nThe answer: (.+)\n\n```json\n(.+)\n```$"
RATED, GUESSED = (
    re.findall(PART, (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE)
    for name in ("review", "recognise")
)


@pytest.mark.parametrize("page", [RATED, GUESSED], ids=["review", "recognise"])
def test_the_pages_try_the_prompts_with_three_cultures_and_two_topics(page):
    assert sorted((culture, topic) for culture, topic, *_ in page) == sorted(
        (culture, topic) for culture in ("china", "brazil", "germany") for topic in ("food", "respect_elders")
    )


@pytest.mark.parametrize(("culture", "topic", "_", "question", "response", "written"), RATED)
def test_a_rating_written_by_hand_is_read_as_in_a_run(culture, topic, _, question, response, written):
    row = {"question": question, "response": response}
    messages = review.rate_prompt(row, KNOWN[culture], prompts.load("review"))
    assert quoted({"messages": messages}, "Answer") == response
    jsonschema.validate(content := json.loads(written), review.SCHEMA)
    made = review.rated(content, row, Answer(written, "stop", "by hand", 0, 0, messages))
    assert [made[name] for name in FIELDS] == [content[name]["score"] for name in FIELDS]
    assert [one["criterion"] for one in made["review"]] == list(FIELDS)


def test_of_the_ratings_written_by_hand_three_drop_their_row():
    made = [json.loads(written) for *_, written in RATED]
    scores = [{name: one[name]["score"] for name in FIELDS} | {"recognition": 5} for one in made]
    reasons = [review.below(row, dict.fromkeys(review.CRITERIA, 3)) for row in scores]
    assert reasons == [None, "untrue", None, "untrue", None, "unanswered"]


@pytest.mark.parametrize(("culture", "topic", "score", "question", "response", "written"), GUESSED)
def test_a_guess_written_by_hand_is_read_as_in_a_run(culture, topic, score, question, response, written):
    row = {"culture": culture, "language": "en", "question": question, "response": response}
    messages = review.guess_prompt(row, KNOWN[culture], KNOWN, prompts.load("recognise"))
    shown = quoted({"messages": messages}, "Question") + quoted({"messages": messages}, "Answer")
    assert not any(name in shown for name in (KNOWN[culture].name, KNOWN[culture].adjective))
    jsonschema.validate(content := json.loads(written), review.guess_schema(KNOWN))
    made = review.guessed(content, row, Answer(written, "stop", "by hand", 0, 0, messages), KNOWN)
    assert made["recognition"] == int(score)
