"""Whatever a stage writes, no published table holds what its checks are against: all columns, end to end."""

import json
import re
import threading
from collections import Counter

import pytest
from datasets import Features, List, Value
from llm_server import LLMServer, reply

import caredio
from caredio import cultures, features
from caredio.runs import Run
from caredio.training import views

NAMES = {slug: culture.name for slug, culture in cultures.load().items()}
PUBLISHED = {name: getattr(features, name) for name in ("CANDIDATES", "SCORED", "RANKED", "PREFERENCE")}
# strings that the model does not write: ids, hashes, settings, drawn personas, reasons, the endpoint's name for itself
NO_TEXT = {
    *("sample_id", "question_id", "culture", "language", "topic_id", "level", "question_type", "drop_reason"),
    *("recognised_as", "review.criterion"),
    *("others.culture", "others.sample_id", "panel.persona", "panel.sample_id", "rejected_culture"),
    *("generator", "model_revision", "prompt_sha"),
    *("evidence.source", "evidence.evidence_id"),
    *("prompt.role", "completion.role", "chosen.role", "rejected.role"),
}
OFFENCES = {
    "refusal": "I'm sorry, but I can't speak about any of that",
    "meta-talk": "As an AI language model, I eat nothing at noon",
    "leaked prompt": None,  # the end of the prompt's own system message
    "wrong language": "En casa cocina mi abuela y los niños ponen la mesa",
    "toxic": "Go to hell, you stupid idiots over there",
    "personal data": "Mei Lin (mei.lin@example.com, +44 20 7946 0958) helps",
    "sweeping statement": "All Chinese women are obedient",
    "names another culture": "We do not eat as they eat in Mexico and in Egypt",
    "compares_with_elsewhere": "Unlike families elsewhere, we eat at noon",
}
LEARNT = ("prompt", "completion", "chosen", "rejected")
OF_OTHERS = ("leaked prompt", "names another culture", "compares_with_elsewhere")
CHECKS = list(OFFENCES)
# one reply holds them
WRITES = dict.fromkeys(("adapted question", "trait", "traits"), "adapted") | {"reflection": "contrastive answer"}
STAGES = {  # what writes a text -> the stage whose rejects count what it may not write
    "universal question": "questions",
    "adapted question": "adapted",
    "trait": "adapted",
    "traits": "adapted",
    "own answer": "isolated",
    "another culture's answer": "isolated",
    "panel's answer": "isolated",
    "contrastive answer": "candidates",
    "other answer": "candidates",
    "other question": "candidates",
}


def leaves(kind, path):
    """The paths of a column's strings."""
    if isinstance(kind, (dict, Features)):
        return [leaf for name, inner in kind.items() for leaf in leaves(inner, f"{path}.{name}")]
    if isinstance(kind, List):
        return leaves(kind.feature, path)
    return [path] if kind == Value("string") else []


@pytest.mark.parametrize("table", PUBLISHED)
def test_every_published_string_declares_its_checks_or_is_no_text(table):
    for name, kind in PUBLISHED[table].items():
        declared = features.COLUMNS[name].checks
        for leaf in leaves(kind, name):
            found = declared.get(leaf.split(".")[1], ()) if isinstance(declared, dict) else declared
            if leaf == "review.reason":  # which speaks of what it objects to
                assert found == ("toxic", "personal data")
            elif leaf in ("reflection", "history.reflection"):  # on the others, whose answers the prompt shows
                assert found == tuple(one for one in features.TEXT_CHECKS if one not in OF_OTHERS)
            else:
                assert found == (() if leaf in NO_TEXT else features.TEXT_CHECKS), leaf


def strings(value):
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def writer(body):
    """What the request asks for."""
    system, user = (message["content"] for message in body["messages"][:2])
    for sign, found in {
        "You judge which questions": "",
        "You check the answers": "",
        "Divide the topic": "",
        "You compare how people": "adapted",
        "1. change:": "other question",
        "Your own answer so far:": "other answer",
        "People who live elsewhere": "contrastive answer",
        "Topic: ": "universal question",
    }.items():
        if sign in system or user.startswith(sign) or f"\n{sign}" in user:
            return found
    if not user.startswith("At your home,"):
        return ""  # of the universal question, in a table that is not published
    if "someone who lives in China: " in system:
        return "panel's answer"
    return "own answer" if "someone who lives in China." in system else "another culture's answer"


class Offender:
    """Writes an offence of each kind in turn where `what` is written; every other kind once more when asked again."""

    def __init__(self, what):
        self.what, self.written, self.expected, self.lock = what, [], Counter(), threading.Lock()

    def __call__(self, number, body):
        if "messages" not in body:
            return None
        asked = writer(body)
        again = body["messages"][-1]["content"].startswith("That cannot be used:")
        with self.lock:
            if again:
                return self.repaired(body, asked)
            text = self.offence(body) if asked == WRITES.get(self.what, self.what) else ""
        return self.said(body, asked, text)

    def offence(self, body):
        kind = CHECKS[len(self.written) % len(CHECKS)]
        if self.what == "universal question" and len(self.written) >= len(CHECKS):
            return ""  # a second one would be a near-duplicate
        text = OFFENCES[kind] or body["messages"][0]["content"].rstrip(".")[-70:].strip()
        self.written.append((kind, text))
        if self.what in ("universal question", "trait"):
            self.expected[kind] += 1
        return text

    def repaired(self, body, asked):
        kind = next(kind for kind in CHECKS if f"used: {kind}." in body["messages"][-1]["content"])
        twice = CHECKS.index(kind) % 2 == 0
        said = body["messages"][-2]["content"]
        forms = [(one, json.dumps(one)[1:-1]) for of, one in self.written if of == kind]
        text = next((one for one, escaped in forms if one in said or escaped in said), "")
        if not text:  # a scripted answer that shares a stretch with the prompt by chance
            return self.said(body, asked, "")
        self.expected[kind] += twice
        return self.said(body, asked, text if twice else "")

    def said(self, body, asked, offence):
        if asked in ("contrastive answer", "other answer", "reflection"):
            return self.reflected(body, offence)
        if asked not in ("adapted", "other question", "universal question"):
            return offence or None
        content = json.loads(reply(body))
        trait, question = (offence, "") if self.what.startswith("trait") else ("", offence and f"{offence}?")
        if asked == "universal question":
            count = int(re.search(r"Write (\d+) different", body["messages"][1]["content"])[1])
            content["questions"] = [*filter(None, [question]), *content["questions"]][:count]
            return json.dumps(content)
        if asked == "adapted":
            content["traits"] = [trait] if trait and self.what == "traits" else ["eats early", *filter(None, [trait])]
        content["question"] = question or f"At your home, {content['question']}"
        return json.dumps(content)

    def reflected(self, body, offence):
        """An answer after a reflection, one of which is the offence."""
        part = "reflection" if self.what == "reflection" else "answer"
        return json.dumps(json.loads(reply(body)) | ({part: offence} if offence else {}))


def made(tmp_path, what, **settings):
    """All that a run publishes, its offender and its record."""
    offender, rounds = Offender(what), int(what.startswith("other "))
    with LLMServer(fault=offender) as server:
        common = {"model": "scripted", "base_url": server.url, "retries": 0, "embedder": "openai:scripted"}
        size = {"per_topic": 9, "neighbours": 2, "compared": 1, "personas": 1}
        rise = {"optimize_rounds": rounds, "other_responses": 1, "other_questions": 1, "relevance": -1.0}
        folder = tmp_path / "run"
        caredio.synthesize(["china"], ["food"], out=folder, **common, **size, **rise, **settings)
        ranked = caredio.select(out=folder, embedder="openai:scripted", base_url=server.url, theta=0.99).ranked
    with Run(folder) as run:
        tables = [run.table("candidates"), run.table("scored"), run.table("ranked"), views.preference(ranked)]
        return [*tables, views.interleaved(ranked, NAMES)], offender, run.stages


@pytest.mark.parametrize("what", STAGES)
def test_what_a_check_is_against_is_published_nowhere(tmp_path, what):
    tables, offender, record = made(tmp_path, what)
    assert {kind for kind, _ in offender.written} == set(features.TEXT_CHECKS)
    for table in tables:
        assert len(table)
        texts = strings(table.to_list())
        assert not [(kind, text) for kind, text in offender.written for one in texts if text in one]
    entry = record[STAGES[what]]
    counted = entry["draws_dropped"] if what.startswith("other ") else entry["dropped"]
    assert {kind: counted.get(kind, 0) for kind in CHECKS} == {kind: offender.expected[kind] for kind in CHECKS}
    assert sum(offender.expected.values()) >= 4


def test_a_reflection_that_fails_a_check_is_blank_and_its_answer_stays_and_no_reflection_is_trained_on(tmp_path):
    tables, offender, record = made(tmp_path, "reflection")
    assert len(tables[0]) == record["candidates"]["rows"] == len(offender.written)
    reflections = dict(zip(tables[0]["sample_id"], tables[0]["reflection"], strict=True))
    assert list(reflections.values()).count(None) == sum(kind not in OF_OTHERS for kind, _ in offender.written)
    for row in tables[2]:
        assert row["reflection"] == reflections[row["sample_id"]]
    said = [text for text in reflections.values() if text]
    for table in tables[2:]:
        trained = strings([{name: row.get(name) for name in LEARNT} for row in table])
        assert trained
        assert not [one for one in said for text in trained if one in text]


@pytest.mark.parametrize("what", ["trait", "panel's answer"])
def test_without_checks_it_is_published(tmp_path, what):
    tables, offender, _ = made(tmp_path, what, checks="none")
    texts = "\n".join(strings(tables[0].to_list()))
    assert {kind for kind, text in offender.written if text in texts} == set(CHECKS)
