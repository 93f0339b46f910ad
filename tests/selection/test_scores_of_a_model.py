"""`caredio select` with every measure, score and baseline on a small table, its model behind a scripted endpoint."""

import json
import math
from pathlib import Path

import pytest
from datasets import Dataset
from llm_server import LLMServer

from caredio import cli, prompts, runs
from caredio.llm import rows
from caredio.selection import represent
from caredio.selection.conditioning import Conditioning
from caredio.selection.settings import Settings

ITEMS = Path(__file__).parents[1] / "data" / "blend" / "multiple_choice.csv"
ASKED = ("What is eaten first?", "Who pays at dinner?", "When do shops close?")
SAID = {"china": ("rice 粥", "the eldest", "at nine"), "uk": ("toast", "all of us", "at five")}


def own(folder):
    rows = [
        {"question_id": f"q{place}", "question": question, "culture": culture, "response": SAID[culture][place]}
        for place, question in enumerate(ASKED)
        for culture in SAID
    ]
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def select(folder, server, *flags):
    asking = ["--model", "scripted", "--base-url", server.url, "--retries", "0"]
    cli.main(["select", str(own(folder)), "--out", str(folder / "run"), *asking, *flags])
    with runs.Run(folder / "run") as run:
        return run.table("scored").to_list(), run.table("ranked").to_list()


@pytest.mark.parametrize("r", ["size", "typicality", "in_context", "information"])
@pytest.mark.parametrize("d", ["cosine", "information", "cci"])
def test_every_measure_ranks_each_row_or_says_why_not(server, tmp_path, r, d, caplog):
    flags = ["--representativeness", r, "--distinctiveness", d, "--validation", str(ITEMS)]
    if r == "typicality":
        flags.append("--theta=-0.9")  # without a panel, a density needs a cluster of three
    pool, ranked = select(tmp_path, server, *flags)
    assert len(pool) == 6
    assert {row["sample_id"] for row in ranked} == {row["sample_id"] for row in pool if not row["drop_reason"]}
    assert all(row["score"] is not None for row in ranked)
    asked = len(server.seen)
    caplog.clear()
    assert select(tmp_path, server, *flags) == (pool, ranked)
    assert caplog.text.count("unchanged") == 6
    assert len(server.seen) == asked


def test_information_is_what_the_endpoint_s_log_probabilities_give(server, tmp_path):
    pool, _ = select(tmp_path, server, "--distinctiveness", "information")
    for row in pool:  # the scripted model hears no culture: every culture finds a text equally likely
        assert row["distinctiveness"] == pytest.approx(0, abs=1e-3)


NATS = {"rice 粥": 2.0, "the eldest": 0.5, "at nine": 1.0, "toast": 3.0, "all of us": 0.25, "at five": 0.75}


def likelier(number, body):
    """After a response that is shown, each byte of any other answer takes so many nats of it; else nothing."""
    said = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
    nats = NATS[said[0]] * len(said[1].encode()) if len(said) == 2 else 0.0
    return {"content": "", "reply": {"prompt_logprobs": [None, {"1": {"logprob": -nats}}]}}


def test_information_is_what_a_row_saves_over_its_placebo_on_the_third_question_s_answer(tmp_path):
    with LLMServer(fault=likelier) as server:
        pool, _ = select(tmp_path, server, "--representativeness", "information", "--distinctiveness", "cosine")
        chats = [[one["content"] for one in body["messages"][1:]] for body in server.bodies.values()]
    index = represent.CultureIndex(Dataset.from_list(pool))
    for row in pool:
        stead = represent.placebo(row, index, Settings())
        assert row["representativeness"] == pytest.approx(
            (NATS[stead["response"]] - NATS[row["response"]]) / math.log(2), abs=2e-3
        )
        (place,) = {0, 1, 2} - {int(row["question_id"][1]), int(stead["question_id"][1])}
        for shown in (row, stead):  # the answer to the third question, which is neither's
            chat = [shown["question"], shown["response"], ASKED[place]]
            assert chat in chats
            assert [*chat, SAID[row["culture"]][place]] in chats
    # "?" asks whether there are likelihoods at all
    assert {len(chat) for chat in chats if chat[0] != "?"} == {3, 4}


def test_information_of_two_questions_is_one_sentence_before_they_are_asked_about(server, tmp_path, capsys):
    path = own(tmp_path)
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines() if '"q2"' not in line))
    extra = [json.loads(line) for line in path.read_text().splitlines()]
    more = [{**row, "response": f"{row['response']}, or {n}"} for row in extra for n in ("none", "more")]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*extra, *more]))
    asking = ["--model", "scripted", "--base-url", server.url, "--representativeness", "information"]
    with pytest.raises(SystemExit) as end:
        cli.main(["select", str(path), "--out", str(tmp_path / "run"), *asking])
    assert end.value.code == 2
    assert "needs answers of a culture to three questions" in capsys.readouterr().err.strip().splitlines()[-1]
    assert len(server.seen) == 2  # whether likelihoods can be had at all


FLAGS = ["--representativeness", "in_context", "--validation", str(ITEMS), "--centers", "2", "--budget", "2"]


def shown(body):
    """The response that is shown, and the question asked; the first call shows none."""
    said = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
    return said[0] if said else None, body["messages"][-1]["content"]


def measured(pool):
    assert [row["drop_reason"] for row in pool].count("unmeasured") == 2  # a culture has three centres, two measured
    return {row["response"]: row["representativeness"] for row in pool if row["representativeness"] is not None}


@pytest.mark.parametrize("answer", ['{"answer": "D"}', '{"answer": "H"}', "none of them"])
def test_in_context_without_log_probabilities_is_the_share_of_right_letters(tmp_path, answer):
    with LLMServer(fault=lambda number, body: answer) as server:
        pool, _ = select(tmp_path, server, *FLAGS)
    right = {"uk": 0.5, "china": 1.0} if "D" in answer else {"uk": 0.0, "china": 0.0}  # keys D and B, and D
    found = measured(pool)
    for culture, share in right.items():
        assert [found[response] for response in SAID[culture] if response in found] == [share] * 2
    with runs.Run(tmp_path / "run") as run:
        assert run.stages["scored"]["read_by"] == "written"


def test_in_context_is_the_probability_of_the_right_option_among_the_options(tmp_path):
    def fault(number, body):
        tokens = {"D": math.log(0.3), " d": math.log(0.2), " B.": math.log(0.1), "The": math.log(0.4)}
        return {"content": "D", "logprobs": tokens}

    with LLMServer(fault=fault) as server:
        pool, _ = select(tmp_path, server, *FLAGS)
        assert len(server.seen) == 1 + 2 * 2 + 2 * 1  # how it is read; two centres with two questions, and with one
    found = measured(pool)
    for culture, share in {"uk": (0.75 + 0.25) / 2, "china": 0.75}.items():  # of D and B, which have 0.3 and 0.1
        assert [found[one] for one in SAID[culture] if one in found] == pytest.approx([share] * 2)
    with runs.Run(tmp_path / "run") as run:
        assert run.stages["scored"]["read_by"] == "first_token"


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_the_embedded_model_tells_options_apart_and_estimates_for_every_row(tmp_path):
    flags = [*FLAGS, "--validation-items", "2", "--distinctiveness", "cci", "--estimates", "1"]
    cli.main(["select", str(own(tmp_path)), "--out", str(tmp_path / "run"), *flags])
    with runs.Run(tmp_path / "run") as run:
        pool, made = run.table("scored").to_list(), run.stages["scored"]
    assert made["read_by"] == "likelihoods"
    marks = measured(pool)
    assert len(marks) == 4
    assert all(0 < mark < 1 for mark in marks.values())
    assert all(math.isfinite(row["distinctiveness"]) for row in pool)
    assert made["usage"]["failed"] == 0


def test_another_measure_recomputes_scores_and_ranks_alone(server, tmp_path, caplog):
    select(tmp_path, server, "--representativeness", "size", "--distinctiveness", "cosine")
    caplog.clear()
    select(tmp_path, server, "--representativeness", "information", "--distinctiveness", "cosine")
    unchanged = [record.args[0] for record in caplog.records if "unchanged" in record.msg]
    assert unchanged == ["candidates", "vectors", "unpaired"]  # the pairs were made anew, and are the same


@pytest.mark.parametrize("ranking", ["random", "longest", "kcenter", "facility_location"])
def test_every_baseline_ranks_all_rows(server, tmp_path, ranking):
    pool, ranked = select(tmp_path, server, "--ranking", ranking)
    assert len(pool) == len(ranked) == 6
    assert [row["rank"] for row in ranked] == [1, 2, 3, 1, 2, 3]
    assert server.seen == []


def test_a_score_whose_call_failed_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAX_FAILED", 0.5)  # of a table as small as this one
    failing = True

    def fault(number, body):
        return 500 if failing and body["messages"][-1]["content"] == "toast" else None

    flags = ["--distinctiveness", "information"]
    with LLMServer(fault=fault) as server:
        hidden, _ = select(tmp_path, server, *flags)
        assert [row["response"] for row in hidden if row["distinctiveness"] is None] == ["toast"]
        failing, asked = False, len(server.seen)
        pool, _ = select(tmp_path, server, *flags)
        assert all(row["distinctiveness"] is not None for row in pool)
        assert 0 < len(server.seen) - asked <= 2
        asked = len(server.seen)
        select(tmp_path, server, *flags)
        assert len(server.seen) == asked


@pytest.mark.parametrize(
    "flags",
    [("--representativeness", "information"), ("--distinctiveness", "information"), ("--ranking", "ifd")],
    ids=" ".join,
)
def test_an_endpoint_without_log_probabilities_is_one_sentence_before_a_vector_is_made(flags, tmp_path, capsys):
    with LLMServer(logprobs=False) as server, pytest.raises(SystemExit) as end:
        select(tmp_path, server, *flags, "--embedder", "openai:m", "--theta", "0.9")
    assert end.value.code == 2
    assert not any("input" in body for body in server.bodies.values())
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "returns no log-probabilities of prompts" in said.strip().splitlines()[-1]


def test_the_chat_is_the_culture_s_after_what_it_is_shown():
    system, question = prompts.load("likelihood").messages(name="the United Kingdom", question="Who pays?")
    system["content"] = system["content"].replace("the United Kingdom", Conditioning().name("uk"))
    shown = [{"question": "What first?", "response": "toast"}]
    chat = [system, {"role": "user", "content": "What first?"}, {"role": "assistant", "content": "toast"}, question]
    assert Conditioning().chat("uk", shown, "Who pays?") == chat
    assert [Conditioning().name(slug) for slug in ("uk", "west_java")] == ["UK", "West Java"]
