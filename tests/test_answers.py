"""`caredio answers`: a row's messages and answers, rebuilt from the run and the store."""

import pytest
from datasets import Dataset
from llm_server import LLMServer

import caredio
from caredio import cli
from caredio.answers import show
from caredio.errors import InputError


@pytest.fixture
def run(tmp_path):
    """A result, the messages that the endpoint was sent, and the run's folder."""
    sent = []
    with LLMServer(fault=lambda number, body: sent.append(body["messages"])) as server:
        settings = {"model": "scripted", "base_url": server.url, "per_topic": 3, "neighbours": 2}
        made = caredio.build(["china", "brazil"], ["food"], out=tmp_path / "run", **settings)
        yield made, sent, tmp_path / "run"


def test_what_is_shown_is_what_was_sent(run, capsys):
    made, sent, out = run
    asked = len(sent)
    row = made.candidates[0]
    cli.main(["answers", "--out", str(out)])
    shown = capsys.readouterr().out
    assert len(sent) == asked  # nothing is asked again
    assert f"sample {row['sample_id']}: {row['culture']}" in shown
    for stage in ("answers", "adapted", "isolated", "contrasted"):
        assert f"== {stage}: " in shown
    assert "not in this store" not in shown
    assert row["response"] in shown
    assert row["isolated_response"] in shown
    contrasted = shown.split("== contrasted: 1 call")[1]
    for message in contrasted.split("\n\n[")[1:-1]:
        role, _, content = message.partition("]\n")
        assert any({"role": role, "content": content.strip()} in messages for messages in sent)


def test_another_sample_and_another_store(run, capsys, tmp_path):
    made, _, out = run
    row = made.candidates[-1]
    cli.main(["answers", "--out", str(out), "--sample", row["sample_id"], "--store", str(tmp_path / "empty.sqlite")])
    shown = capsys.readouterr().out
    assert f"sample {row['sample_id']}: {row['culture']}" in shown
    assert row["question"] in shown
    assert "not in this store" in shown


def test_what_cannot_be_shown_is_one_sentence(run, tmp_path):
    with pytest.raises(InputError, match="no candidate has the sample_id 'none'"):
        show(run[2], "none")
    rows = [
        {"question": f"What is eaten {n}?", "response": f"{culture} {n}", "culture": culture}
        for n in range(3)
        for culture in ("a", "b")
    ]
    caredio.select(Dataset.from_list(rows), out=tmp_path / "own")
    with pytest.raises(InputError, match="no model wrote the candidates"):
        show(tmp_path / "own")


def test_what_was_asked_is_shown_whatever_the_prompts_are_now(run):
    out = run[2]
    for file in (out / "prompts").glob("*.txt"):
        file.write_text(file.read_text().replace("You", "Thou"))
    show_now = show(out)
    assert "not in this store" not in show_now
    assert "Thou" not in show_now


def test_a_row_that_a_round_replaced_is_shown_beside(tmp_path):
    with LLMServer() as server:
        settings = {"model": "scripted", "base_url": server.url, "per_topic": 3, "neighbours": 1, "checks": "none"}
        out = tmp_path / "run"
        made = caredio.synthesize(["china"], ["food"], out=out, optimize_rounds=1, **settings)
        for row in made.candidates:
            shown = show(out, row["sample_id"])
            assert row["response"] in shown
            assert ("== optimized: round 1 replaced" in shown) == (row["round"] == 1)


@pytest.mark.parametrize("rounds", [0, 1])
def test_what_the_reviewer_was_asked_is_shown(tmp_path, rounds):
    sent = []
    with LLMServer(fault=lambda number, body: sent.append(body.get("messages"))) as server:
        settings = {"model": "scripted", "base_url": server.url, "per_topic": 3, "near": 1, "far": 0, "compared": 1}
        settings |= {"review_model": "judge", "review_provider": "elsewhere", "least_recognition": 1}
        out = tmp_path / "run"
        caredio.synthesize(["china"], ["food"], out=out, optimize_rounds=rounds, checks="none", **settings)
        shown = show(out)
    assert "not in this store" not in shown
    reviewed = shown.split("== reviewed: 2 calls")[1].split("== optimized")[0]
    assert reviewed.count("[answer of judge-2026-01-01]") == 2
    asked = [part.partition("]\n")[2] for part in reviewed.split("\n\n[") if part.startswith("user]")]
    assert len(asked) == 2
    for text in asked:
        assert any({"role": "user", "content": text} in messages for messages in sent if messages)


def test_answers_that_evidence_grounds_are_found(tmp_path):
    said = tmp_path / "said.csv"
    said.write_text("culture,text,source\nchina,At new year dumplings are eaten.,interviews\n")
    with LLMServer() as server:
        settings = {"model": "scripted", "base_url": server.url, "per_topic": 3, "near": 1, "far": 0, "compared": 1}
        settings |= {"evidence": str(said), "embedder": "openai:e", "evidence_similarity": -1.0}
        caredio.synthesize(["china"], ["food"], out=tmp_path / "run", **settings)
        shown = show(tmp_path / "run")
    assert "At new year dumplings are eaten." in shown
    assert "not in this store" not in shown
