"""What was paid for stays found: the keys of every call of a build and of an evaluation, as they have always been."""

import hashlib
import sqlite3
from pathlib import Path

import caredio
from caredio.llm.cache import key_of
from caredio.llm.spec import Likelihood, Spec
from caredio.selection.conditioning import Conditioning, probe


def keys(file, table):
    found = sqlite3.connect(file).execute(f"SELECT key FROM {table}")
    return sorted(key for (key,) in found)


def probe_keys():
    """The keys of the call that sees whether the model returns log-probabilities: the chats before and after it."""
    messages, answer = probe(Conditioning())
    whole = [*messages, {"role": "assistant", "content": answer}]
    spec = Spec(model="scripted")
    return [key_of(spec, Likelihood(*call)) for call in ((messages, answer), (messages, ""), (whole, ""))]


def test_a_build_asks_under_the_keys_it_always_had(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    home = Path(tmp_path, "home")
    caredio.build(
        ["china", "mexico"],
        ["food"],
        out=tmp_path / "run",
        per_topic=4,
        neighbours=2,
        compared=2,
        personas=2,
        language="own",
        checks="none",
        optimize_rounds=1,
        other_responses=1,
        other_questions=1,
        model="scripted",
        embedder="openai:e",
        held_out="openai:e2",
        theta=0.9,
        representativeness="typicality",
        distinctiveness="information",
    )
    answers, vectors = keys(home / "answers.sqlite", "answers"), keys(home / "vectors.sqlite", "vectors")
    probed = set(probe_keys())  # asked before anything else, since 2026-11: whether likelihoods can be had at all
    assert probed <= set(answers)
    answers = [key for key in answers if key not in probed]
    assert len(answers) == 212
    assert hashlib.sha256("".join(answers).encode()).hexdigest().startswith("924e80503ce5df4c")
    assert len(vectors) == 121
    assert hashlib.sha256("".join(vectors).encode()).hexdigest().startswith("b4a6d4310baff40f")


def test_an_evaluation_asks_under_the_keys_it_always_had(server, tmp_path):
    store = tmp_path / "answers.sqlite"
    asked = {"culturalbench": "sample", "limit": 3, "model": "scripted", "base_url": server.url, "store": store}
    caredio.evaluate(["china", "japan"], **asked)
    found = keys(store, "answers")
    assert len(found) == 2 * 2 * 3 * (1 + 4)  # systems, cultures, questions, a letter and four judgements
    assert hashlib.sha256("".join(found).encode()).hexdigest().startswith("098f43676747a8a9")
