"""Instruction-Following Difficulty by hand, with a server whose likelihoods depend on the question."""

import json
import math

import pytest
from datasets import Dataset
from llm_server import LLMServer

from caredio import cli, runs
from caredio.errors import InputError
from caredio.selection import ifd

# question and answer of a culture -> nats after the question, and without one
NATS = {
    ("What is eaten first?", "rice"): (-1.0, -4.0),
    ("Who pays at dinner?", "the eldest"): (-3.0, -4.0),
    ("When do shops close?", "at nine"): (-5.0, -4.0),
    ("What is drunk?", "tea"): (-4.0, -4.0),
    ("What is worn?", "a hat"): (-2.0, -4.0),
}
EXPECTED = {"rice": 0.25, "the eldest": 0.75, "at nine": 1.25, "tea": 1.0, "a hat": 0.5}


def told(number, body):
    """What vLLM says of a chat: of an answer at its end the nats above, of what stands before it none."""
    if "prompt_logprobs" not in body:
        return None
    _, question, *answer = [message["content"] for message in body["messages"]]
    nats = _nats(question, *answer) if answer else 0.0
    return {"content": "x", "reply": {"prompt_logprobs": [None, {"7": {"logprob": nats, "decoded_token": "x"}}]}}


def _nats(question, answer):
    if question:
        return NATS.get((question, answer), (-1.0, -2.0))[0]
    return next((alone for (_, one), (_, alone) in NATS.items() if one == answer), -2.0)


def own(folder):
    rows = [
        {"question_id": str(place), "question": question, "culture": culture, "response": said}
        for place, (question, answer) in enumerate(NATS)
        for culture, said in (("china", answer), ("uk", f"no {answer}"))
    ]
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def select(folder, server, *flags):
    asking = ["--model", "scripted", "--base-url", server.url, "--retries", "0", "--ranking", "ifd"]
    cli.main(["select", str(own(folder)), "--out", str(folder / "run"), *asking, *flags])
    with runs.Run(folder / "run") as run:
        return run.table("scored").to_list(), run.table("ranked").to_list()


def test_difficulty_is_the_ratio_of_losses():
    assert ifd.difficulty(-3.0, -4.0) == 0.75
    assert ifd.difficulty(-4.0, -3.0) == pytest.approx(4 / 3)
    assert ifd.difficulty(0.0, -3.0) == 0.0
    assert ifd.difficulty(math.nan, -3.0) is ifd.difficulty(-3.0, math.nan) is ifd.difficulty(-3.0, 0.0) is None


def test_the_most_difficult_come_first_and_those_above_1_are_left_out(tmp_path):
    with LLMServer(fault=told) as server:
        pool, ranked = select(tmp_path, server, "--budget", "3")
        scores = {row["response"]: row["score"] for row in pool if row["culture"] == "china"}
        assert scores == pytest.approx(EXPECTED, abs=1e-3)
        best = [row["response"] for row in ranked if row["culture"] == "china"]
        assert best == ["tea", "the eldest", "a hat"]  # 1 itself is not above 1
        reasons = {row["response"]: row["drop_reason"] for row in pool if row["culture"] == "china"}
        assert reasons["at nine"] == "question_of_no_help"
        assert reasons["rice"] == "over_budget"
    # whether likelihoods can be had; answers with and without their question; chats with and without one
    assert len(server.seen) == 2 + 2 * 10 + 10 + 2


def test_a_question_s_quota_holds(tmp_path):
    with LLMServer(fault=told) as server:
        _, ranked = select(tmp_path, server, "--match-by", "text", "--per-question", "none")
    assert [row["rank"] for row in ranked if row["culture"] == "china"] == [1, 2, 3, 4]


def test_where_every_question_is_of_no_help_the_message_says_so(tmp_path, capsys):
    def fault(number, body):
        made = told(number, body)
        asked = [message["content"] for message in body["messages"]][1]
        if made and len(body["messages"]) == 3:
            made["reply"]["prompt_logprobs"][1]["7"]["logprob"] = -3.0 if asked else -1.0
        return made

    with LLMServer(fault=fault) as server, pytest.raises(SystemExit) as end:
        select(tmp_path, server)
    assert end.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "10 question_of_no_help" in said
    assert said.endswith("the model finds no answer likelier after its question: name a more capable one.")


def test_a_model_without_log_probabilities_is_one_sentence(tmp_path, capsys):
    with LLMServer(logprobs=False) as server, pytest.raises(SystemExit) as end:
        select(tmp_path, server)
    assert end.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "returns no log-probabilities of prompts" in said
    assert "score as ranking" in said


def test_scores_without_a_model_are_one_sentence():
    with pytest.raises(InputError, match="ranking ifd asks a model, and none was given"):
        ifd.scores(Dataset.from_list([]), None)
