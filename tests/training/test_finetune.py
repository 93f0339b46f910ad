"""Fine-tuning behind an API: the files and their rules, what it costs, and one job whatever goes wrong."""

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset
from finetune_server import FinetuneServer
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from training.test_views import message, ranked

import caredio
from caredio import cli, features
from caredio.errors import BudgetError, InputError
from caredio.llm.limits import Usage
from caredio.llm.prices import cost
from caredio.publishing import cards
from caredio.publishing.settings import Settings as Release
from caredio.result import Result
from caredio.training import finetune, jobs
from caredio.training.finetuning_settings import Settings

MODEL = "gpt-4.1-2025-04-14"
KEY = "sk-very-secret"
CHINA = ["--culture", "china", "--model", MODEL]


def held_out(question_id, share):
    """The rule of a release's test split, written out."""
    return int(hashlib.sha256(question_id.encode()).hexdigest()[:8], 16) / 16**8 < share


# --- files


TABLE = ranked(
    ("a", "china", 1, "tea", {"japan": "rice", "india": "bread"}),
    ("b", "china", 2, "soup", {"japan": "soup", "india": "naan"}),
    ("c", "japan", 1, "bow", {"china": "nod"}),
    ("d", "china", 3, "鱼", {}),
)
NAMES = {"china": "China", "japan": "Japan"}


def pairs(table):
    """Each answer over those of others, where they differ."""
    rows = [
        {
            **{name: row.get(name) for name in features.PREFERENCE},
            "chosen": row["completion"],
            "rejected": message("assistant", other["response"]),
            "rejected_culture": other["culture"],
        }
        for row in table
        for other in row["others"]
        if other["response"] != row["response"]
    ]
    return Dataset.from_list(rows, features=features.PREFERENCE) if rows else None


def files(culture="china", share=0.0, table=TABLE, **settings):
    made = finetune.examples(table, pairs(table), culture, NAMES, Settings(**settings), share)
    return {name: [json.loads(one.line) for one in lines] for name, lines in made.items()}


def test_a_line_of_sft_is_the_chat():
    assert files() == {
        "train.jsonl": [
            {"messages": [*message("user", f"Why {name}?"), *message("assistant", answer)]}
            for name, answer in (("a", "tea"), ("b", "soup"), ("d", "鱼"))
        ]
    }


def test_a_line_of_dpo_is_a_prompt_with_two_answers():
    assert files(method="dpo") == {
        "train.jsonl": [
            {
                "input": {"messages": message("user", f"Why {name}?")},
                "preferred_output": message("assistant", preferred),
                "non_preferred_output": message("assistant", other),
            }
            for name, preferred, other in (("a", "tea", "rice"), ("a", "tea", "bread"), ("b", "soup", "naan"))
        ]
    }


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_all_names_the_culture_in_each_row_and_takes_the_best_of_each_first(method):
    lines = files("all", method=method)["train.jsonl"]
    chats = [line["messages"] if method == "sft" else line["input"]["messages"] for line in lines]
    texts = [" ".join(one["content"] for one in chat if one["role"] != "assistant") for chat in chats]
    wanted = ["China Why a", "Japan Why c", "China Why b", "China Why d"]
    if method == "dpo":  # a has two pairs, d none
        wanted = ["China Why a", "China Why a", "Japan Why c", "China Why b"]
    assert len(texts) == len(wanted)
    for text, words in zip(texts, wanted, strict=True):
        culture, question = words.split(" ", 1)
        assert culture in text
        assert question in text


def test_questions_held_out_by_a_release_are_for_validation_and_the_budget_is_of_the_rest():
    table = ranked(*((f"s{n:02d}", "china", n + 1, f"answer {n}", {}) for n in range(40)))
    out = [n for n in range(40) if held_out(f"q-s{n:02d}", 0.3)]
    rest = [n for n in range(40) if n not in out]
    assert 5 < len(out) < 20
    made = files(share=0.3, table=table, budget=15)
    answers = {name: [line["messages"][-1]["content"] for line in lines] for name, lines in made.items()}
    assert answers == {
        "train.jsonl": [f"answer {n}" for n in rest[:15]],
        "validation.jsonl": [f"answer {n}" for n in out],
    }


def test_what_is_not_there_is_a_sentence():
    with pytest.raises(
        InputError, match=r"^culture is 'peru'; the ranked rows are of china, japan; all takes them all"
    ):
        files("peru")
    with pytest.raises(
        InputError, match=r"^the run's preference table has no pair of china to train on; use method sft"
    ):
        files(method="dpo", table=ranked(("a", "china", 1, "tea", {})))


# --- the published rules


CHAT = [*message("system", "Be."), *message("user", "Why?"), *message("assistant", "So.")]
PAIR = {
    "input": {"messages": CHAT[:2]},
    "preferred_output": message("assistant", "So."),
    "non_preferred_output": message("assistant", "No."),
}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"messages": CHAT}, []),
        ({"messages": [*CHAT[:2], {**CHAT[2], "weight": 1}]}, []),
        ({"messages": [*CHAT[:2], {**CHAT[2], "weight": 0}, *CHAT[1:]]}, []),
        ({}, ["messages is no list of messages"]),
        ({"messages": []}, ["messages is no list of messages"]),
        ({"messages": "Why?"}, ["messages is no list of messages"]),
        ({"messages": [*CHAT[:2], "So."]}, 
         ["messages[2] is no message", "the last of messages is not the assistant's"]),
        ({"messages": CHAT[:2]}, ["the last of messages is not the assistant's"]),
        ({"messages": [{"role": "human", "content": "x"}, CHAT[2]]},
         ["messages[0] has the role 'human', not system, user, assistant"]),
        ({"messages": [CHAT[1], {"role": "assistant", "content": " \n"}]}, ["messages[1] has no content"]),
        ({"messages": [CHAT[1], {"role": "assistant", "content": None}]}, ["messages[1] has no content"]),
        ({"messages": [CHAT[1], {"role": "assistant"}]}, ["messages[1] has no content"]),
        ({"messages": [CHAT[1], {**CHAT[2], "rank": 1}]}, ["messages[1] has the unknown key 'rank'"]),
        ({"messages": [CHAT[1], {**CHAT[2], "weight": 0.5}]},
         ["messages[1] has the weight 0.5, and an assistant's message takes 0 or 1"]),
        ({"messages": [CHAT[1], {**CHAT[2], "weight": True}]},
         ["messages[1] has the weight True, and an assistant's message takes 0 or 1"]),
        ({"messages": [{**CHAT[1], "weight": 1}, CHAT[2]]},
         ["messages[0] has the weight 1, and an assistant's message takes 0 or 1"]),
        ({"messages": [CHAT[1], {**CHAT[2], "weight": 0}]}, ["every answer has weight 0, so nothing is learnt"]),
    ],
)  # fmt: skip
def test_a_chat_that_breaks_a_rule(body, wrong):
    assert finetune.broken(body, "sft") == wrong


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, []),
        ({"input": None}, ["input.messages is no list of messages"]),
        ({"input": {"messages": CHAT}},
         ["the last of input.messages is the assistant's, where an answer is asked for"]),
        ({"preferred_output": []}, ["preferred_output is not one message"]),
        ({"preferred_output": PAIR["preferred_output"] * 2}, ["preferred_output is not one message"]),
        ({"non_preferred_output": message("user", "No.")}, ["non_preferred_output[0] is not the assistant's"]),
        ({"non_preferred_output": message("assistant", "")}, ["non_preferred_output[0] has no content"]),
        ({"non_preferred_output": PAIR["preferred_output"]},
         ["preferred_output and non_preferred_output are the same"]),
    ],
)  # fmt: skip
def test_a_pair_that_breaks_a_rule(change, wrong):
    assert finetune.broken({**PAIR, **change}, "dpo") == wrong


def test_an_example_that_would_be_cut_off_is_broken():
    long = [*CHAT[:2], *message("assistant", "x" * 4 * 65_536)]
    said = "it has about 65,550 tokens, and 65,536 is the most that is read of an example"
    assert finetune.broken({"messages": long}, "sft", finetune.LONGEST[MODEL]) == [said]
    assert finetune.broken({**PAIR, "non_preferred_output": long[2:]}, "dpo", finetune.LONGEST[MODEL]) == [said]
    assert finetune.broken({"messages": long}, "sft", None) == []


def lines(count, name="a"):
    chats = [[*message("user", f"Why {name}{n}?"), *message("assistant", "So.")] for n in range(count)]
    return [finetune.Example(f"{name}{n}", {"messages": chat}) for n, chat in enumerate(chats)]


def test_each_broken_row_is_named_with_its_place():
    empty = finetune.Example("e7", {"messages": [*message("user", "Why?"), *message("assistant", "")]})
    with pytest.raises(InputError) as error:
        finetune.check({"train.jsonl": [*lines(11), empty], "validation.jsonl": [*lines(2, "b"), empty]}, "sft", MODEL)
    assert str(error.value) == (
        "train.jsonl, line 12 (sample e7): messages[1] has no content; validation.jsonl, line 3 (sample e7):"
        " messages[1] has no content. Mend these rows, or leave them out."
    )
    with pytest.raises(InputError, match=r"line 10 .*; and 3 more\. Mend"):
        finetune.check({"train.jsonl": [empty] * 13}, "sft", MODEL)


def test_a_line_that_equals_another_is_left_out(caplog):
    """Two cultures that give one answer, and one question and answer under two ids, on both sides of the split."""
    caplog.set_level("INFO")
    table = ranked(("a", "china", 1, "tea", {"japan": "rice", "india": "rice", "peru": "maize"}))
    answers = [line["non_preferred_output"][0]["content"] for line in files(method="dpo", table=table)["train.jsonl"]]
    assert answers == ["rice", "maize"]
    assert "1 lines that equal another are left out" in caplog.text
    names = [f"s{n}" for n in range(20)]
    out = {name for name in names if held_out(f"q-{name}", 0.3)}
    rows = [{**row, "prompt": message("user", "Why?")} for row in
            ranked(*((name, "china", n + 1, "tea", {}) for n, name in enumerate(names)))]  # fmt: skip
    made = files(share=0.3, table=Dataset.from_list(rows, features=TABLE.features))
    assert out
    assert {name: len(lines) for name, lines in made.items()} == {"train.jsonl": 1}


def test_a_file_has_at_least_10_examples_and_at_most_512_mb(monkeypatch):
    with pytest.raises(InputError, match=r"^train\.jsonl has 9 examples, and a fine-tuning takes at least 10"):
        finetune.check({"train.jsonl": lines(9), "validation.jsonl": lines(20, "b")}, "sft", MODEL)
    made = {"train.jsonl": lines(10), "validation.jsonl": lines(1, "b")}
    finetune.check(made, "sft", MODEL)
    assert finetune.LARGEST == 512 * 2**20
    monkeypatch.setattr(finetune, "LARGEST", 900)
    with pytest.raises(InputError, match=r"^train\.jsonl has 9\d\d bytes, and a file may have 900; lower the budget"):
        finetune.check(made, "sft", MODEL)


# --- cost


def test_tokens_are_bytes_by_four_and_those_around_messages():
    assert finetune.tokens(message("user", "x" * 8)) == 3 + 3 + 2
    assert finetune.tokens([*message("user", "x" * 9), *message("assistant", "鱼鱼鱼鱼")]) == 3 + (3 + 3) + (3 + 3)


@pytest.mark.parametrize(
    ("count", "epochs"),
    [(0, 1), (1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (200, 3), (8_333, 3), (8_334, 2), (12_501, 1), (99_999, 1)],
)
def test_the_epochs_that_an_endpoint_chooses(count, epochs):
    """Worked by hand: 25 at most, so many that 100 examples are seen; 1 at least, so few that 25,000 are."""
    assert finetune.usual_epochs(count) == epochs


def test_the_cost_is_trained_tokens_times_the_listed_price():
    made = {"train.jsonl": lines(40), "validation.jsonl": lines(5, "b")}
    each = 3 + (3 + 2) + (3 + 1)  # "Why a7?" and "Why a17?" have 2 tokens, "So." has 1
    found = finetune.estimate(made, Settings(), MODEL)
    assert (found.examples, found.held_out, found.tokens, found.epochs, found.stated) == (40, 5, 40 * each, 3, False)
    assert found.dollars == pytest.approx(3 * 40 * each * 25 / 1e6)
    assert finetune.estimate(made, Settings(epochs=7), MODEL).trained_tokens == 7 * 40 * each
    assert finetune.estimate(made, Settings(), f"ft:{MODEL}:org:x:abc").dollars == found.dollars
    mini = finetune.estimate(made, Settings(), "gpt-4.1-mini-2025-04-14").dollars
    assert mini == pytest.approx(found.dollars / 5)
    for unknown in (
        finetune.estimate(made, Settings(), "mine"),
        finetune.estimate(made, Settings(), MODEL, azure=True),
    ):
        assert unknown.dollars is None
        assert "unknown" in str(unknown)
    pair = finetune.Example("p", PAIR)
    assert finetune.estimate({"train.jsonl": [pair]}, Settings(method="dpo", epochs=1), MODEL).tokens == 2 * (3 + 4 * 3)


def test_more_than_may_be_spent_is_refused():
    made = {"train.jsonl": lines(1000)}
    with pytest.raises(BudgetError, match=r"^this fine-tuning costs about \$0\.9\d, and max_cost is 0\.5; lower"):
        finetune.estimate(made, Settings(), MODEL, max_cost=0.5)
    assert finetune.estimate(made, Settings(), MODEL, max_cost=1.0).dollars < 1.0
    with pytest.raises(InputError, match=r"^no price is known for a fine-tuning of mine, so max_cost cannot be kept"):
        finetune.estimate(made, Settings(), "mine", max_cost=5.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs is 0; use a number above 0, or leave it out."),
        (
            {"learning_rate_multiplier": -1.0},
            "learning_rate_multiplier is -1.0; use a number above 0, or leave it out.",
        ),
        ({"beta": 0.1}, "beta is DPO's, and the method is sft; leave it out, or use method dpo."),
        ({"suffix": "a b"}, "suffix is 'a b'; use up to 64 letters, digits, - and _."),
        ({"method": "rft"}, "method is 'rft'; use sft, dpo."),
    ],
)
def test_a_setting_that_no_job_takes(settings, said):
    with pytest.raises(InputError) as error:
        Settings(**settings)
    assert str(error.value) == said


# --- one job


@pytest.fixture(scope="module")
def ranked_run(tmp_path_factory):
    """A run of 60 questions that three cultures answered."""
    folder = tmp_path_factory.mktemp("ranked")
    rows = [
        {"question_id": f"q{n}", "question": f"What of {n}?", "response": f"{culture} eats {n * n}", "culture": culture}
        for n in range(60)
        for culture in ("china", "japan", "peru")
    ]
    with FinetuneServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAREDIO_HOME", str(folder / "home"))
        caredio.select(
            Dataset.from_list(rows), out=folder / "run", embedder="openai:m", theta=0.99, base_url=server.url
        )
    return folder / "run"


@pytest.fixture
def run(ranked_run, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_FIRST_POLL", 0.01)
    monkeypatch.setattr(jobs, "_FIRST_BACKOFF", 0.01)
    return Path(shutil.copytree(ranked_run, tmp_path / "run"))


@pytest.fixture
def endpoint(monkeypatch):
    with FinetuneServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield server


def tune(run, *flags):
    cli.main(["finetune", str(run), *CHINA, "--retries", "2", *flags])


def record(run, name="china"):
    return json.loads((run / "finetune" / name / "finetune.json").read_text())


def fails(capsys, *arguments):
    """The one sentence that the command ends with."""
    with pytest.raises(SystemExit) as end:
        tune(*arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert "Traceback" not in said
    assert KEY not in said
    return said.strip().splitlines()[-1].removeprefix("caredio: ")


def test_a_job_is_submitted_watched_and_recorded(run, endpoint, capsys):
    tune(run, "--yes", "--epochs", "3", "--budget", "40")
    shown = capsys.readouterr()
    folder = run / "finetune" / "china"
    (job,) = endpoint.jobs.values()
    (body,) = endpoint.bodies_of_jobs
    sent = {name: endpoint.contents[body[f"{kind}_file"]] for name, kind in
            (("train.jsonl", "training"), ("validation.jsonl", "validation"))}  # fmt: skip
    assert sent == {name: (folder / name).read_bytes() for name in sent}
    assert len(sent["train.jsonl"].splitlines()) == 40
    wanted = {"model": MODEL, "seed": 0, "suffix": "caredio-china"}
    assert {name: body[name] for name in wanted} == wanted
    assert body["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    assert shown.out.splitlines()[-1] == f"ft:{MODEL}:org:caredio-china:abc"
    messages = [event["message"] for event in endpoint.events[job["id"]]]
    assert [shown.err.count(message) for message in messages] == [1] * len(messages)
    assert "US dollars" in shown.err

    kept = record(run)
    assert kept["job"]["id"] == job["id"]
    assert kept["job"]["status"] == "succeeded"
    assert kept["job"]["fine_tuned_model"] == job["fine_tuned_model"]
    assert (kept["job"]["trained_tokens"], kept["job"]["cost_usd"]) == (40_000, 1.0)  # at $25 a million
    assert kept["job"]["hyperparameters"] == {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0}
    assert kept["rows_sha256"] == hashlib.sha256(sent["train.jsonl"]).hexdigest()
    assert kept["dataset_sha256"] == json.loads((run / "run.json").read_text())["stages"]["ranked"]["sha256"]
    assert (kept["rows"], kept["cultures"], kept["budget"]) == (40, ["china"], 40)
    assert not {"creating", "sending train.jsonl"} & set(kept)
    assert not any(KEY in file.read_text() for file in folder.iterdir())
    assert endpoint.keys == {f"Bearer {KEY}"}

    asked = len(endpoint.requests)
    tune(run, "--epochs", "3", "--budget", "40")  # no --yes: nothing is submitted
    assert len(endpoint.requests) == asked


def test_the_server_speaks_as_openai_s_types_say(run, endpoint):
    tune(run, "--yes", "--method", "dpo", "--beta", "0.2")
    (job,) = endpoint.jobs.values()
    assert FineTuningJob.model_validate(job, strict=True).method.dpo.hyperparameters.n_epochs == 3
    for file in endpoint.files.values():
        FileObject.model_validate(file, strict=True)
    for event in endpoint.events[job["id"]]:
        FineTuningJobEvent.model_validate(event, strict=True)


def test_dpo_has_a_folder_of_its_own_and_its_own_method(run, endpoint):
    made = caredio.finetune(run, culture="china", model=MODEL, method="dpo", beta=0.2, yes=True)
    (body,) = endpoint.bodies_of_jobs
    assert body["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}}
    first = json.loads(endpoint.contents[body["training_file"]].splitlines()[0])
    assert set(first) == {"input", "preferred_output", "non_preferred_output"}
    assert made.path == run / "finetune" / "china-dpo"
    assert made.model == f"ft:{MODEL}:org:caredio-china-dpo:abc"


def test_a_dry_run_says_what_it_costs_and_does_nothing(run, endpoint, capsys):
    tune(run, "--dry-run", "--epochs", "2")
    shown = capsys.readouterr().out
    assert re.search(r"^examples +\d+  \(\d+ held out\)$", shown, re.MULTILINE)
    assert re.search(r"^epochs +2  \(as asked for\)$", shown, re.MULTILINE)
    assert re.search(r"^US dollars +\d\.\d\d  \(list price: openai\.com/api/pricing", shown, re.MULTILINE)
    assert not endpoint.requests
    assert not (run / "finetune").exists()
    planned = caredio.plan(caredio.finetune, run, culture="china", model=MODEL, epochs=2)
    assert str(planned) == shown.rstrip("\n")


def test_an_export_needs_no_key_and_sends_nothing(run, monkeypatch, capsys):
    tune(run, "--export-only", "--out", str(run / "own"))
    assert capsys.readouterr().out.strip().endswith("examples are exported; nothing is submitted")
    assert {"train.jsonl", "finetune.json", "finetune.yaml"} <= {file.name for file in (run / "own").iterdir()}
    with FinetuneServer() as server:  # and is gone on from, by its YAML
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        cli.main(["finetune", "--config", str(run / "own" / "finetune.yaml"), "--yes"])
        assert len(server.jobs) == 1
    assert json.loads((run / "own" / "finetune.json").read_text())["job"]["status"] == "succeeded"


def test_the_result_of_a_verb_is_tuned_on_as_its_run_folder(run, endpoint):
    made = caredio.finetune(Result({"ranked": None}, {}, run), culture="all", model=MODEL, export_only=True)
    assert made.path.resolve() == (run / "finetune" / "all").resolve()
    assert made.record["cultures"] == ["china", "japan", "peru"]
    assert made.model is None
    with pytest.raises(InputError, match=r"^this result is in memory; give the verb"):
        caredio.finetune(Result({"ranked": None}, {}, None), culture="all", model=MODEL)


def test_without_a_yes_nothing_is_sent(run, endpoint, capsys):
    said = fails(capsys, run)
    assert re.match(r"submitting this job costs money \(about [\d,]+ trained tokens, \$\d\.\d\d\); .*--yes", said)
    assert not endpoint.requests


@pytest.mark.parametrize(("answer", "count"), [("n", 0), ("y", 1)])
def test_on_a_terminal_it_is_asked(answer, count, run, endpoint):
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as terminal:
        command = [sys.executable, "-m", "caredio.cli", "finetune", str(run), *CHINA]
        process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        terminal.write(f"{answer}\n".encode())
        out, err = process.communicate(timeout=400)
    os.close(theirs)
    assert b"Submit this job (about " in out + err
    assert len(endpoint.jobs) == count
    assert process.returncode == (0 if count else 2), err
    assert (b"nothing was submitted" in err) == (not count)


@pytest.mark.parametrize(
    ("request_", "faults"),
    [
        ("POST files", ["lose"]),
        ("POST files", ["drop", 503]),
        ("POST files", [{"status": 429, "headers": {"Retry-After": "0.02"}}] * 2),
        ("GET files/file-0", [500, "drop"]),
        ("POST fine_tuning/jobs", ["lose"]),
        ("POST fine_tuning/jobs", ["drop"]),
        ("POST fine_tuning/jobs", [500, 502]),
        ("POST fine_tuning/jobs", [{"status": 429, "headers": {"Retry-After": "0.02"}}, "lose"]),
        ("GET fine_tuning/jobs/ftjob-0", [500, "drop"]),
        ("GET fine_tuning/jobs/ftjob-0/events", ["drop", 500]),
    ],
)  # fmt: skip
def test_what_passes_is_asked_again_and_nothing_is_made_twice(request_, faults, run, endpoint):
    endpoint.faults[request_] = [*faults]
    tune(run, "--yes")
    assert not endpoint.faults[request_]
    assert (len(endpoint.files), len(endpoint.jobs)) == (2, 1)
    assert record(run)["job"]["status"] == "succeeded"


@pytest.mark.parametrize("request_", ["POST files", "POST fine_tuning/jobs", "GET fine_tuning/jobs/ftjob-0"])
def test_what_lasts_ends_the_command_and_the_same_goes_on(request_, run, endpoint, capsys):
    endpoint.faults[request_] = [500, 502, 503]
    if request_ != "GET fine_tuning/jobs/ftjob-0":  # looked for before it is made again
        endpoint.faults[f"GET {request_.split()[1]}"] = [500, 500]
        endpoint.faults[request_] = ["lose"]
    said = fails(capsys, run, "--yes")
    assert said.startswith("127.0.0.1 cannot be asked about ")
    assert said.endswith("and the same command goes on.")
    tune(run, "--yes")
    assert (len(endpoint.files), len(endpoint.jobs)) == (2, 1)


def test_a_rate_limit_is_waited_for_as_long_as_it_says(run, endpoint, monkeypatch):
    paused = []
    sleep = jobs.asyncio.sleep

    async def noted(seconds):
        paused.append(seconds)
        await sleep(0)

    monkeypatch.setattr(jobs.asyncio, "sleep", noted)
    endpoint.faults["POST fine_tuning/jobs"] = [{"status": 429, "headers": {"Retry-After": "37"}}]
    tune(run, "--yes")
    assert 37.0 in paused


def test_a_look_that_hangs_is_given_up_and_made_again(run, endpoint):
    endpoint.hang = 3.0
    endpoint.faults["GET fine_tuning/jobs/ftjob-0"] = ["hang"]
    tune(run, "--yes", "--timeout", "0.5")
    assert endpoint.requests.count("GET fine_tuning/jobs/ftjob-0") == endpoint.looks + 1
    assert len(endpoint.jobs) == 1


@pytest.mark.parametrize(
    ("request_", "fault", "said"),
    [
        ("POST files", 401, r"^127\.0\.0\.1 refused the call for model 'gpt-4\.1-2025-04-14' \(status 401\) and says:"
         r" scripted refusal of Bearer \[key\]\. Check OPENAI_API_KEY"),
        ("POST fine_tuning/jobs", {"status": 429, "code": "insufficient_quota", "message": "You exceeded your quota."},
         r"\(status 429\) and says: You exceeded your quota\. Check"),
        ("POST files", {"status": 400, "message": "Invalid file format."},
         r"^127\.0\.0\.1 refuses train\.jsonl \(status 400\) and says: Invalid file format\. Mend that, and the same"),
        ("POST fine_tuning/jobs", {"status": 403, "message": "Fine-tuning is not available to your account."},
         r"\(status 403\) and says: Fine-tuning is not available to your account\."),
        ("POST files", {"status": 404, "message": "Not Found"},
         r"^127\.0\.0\.1 takes no fine-tuning at http://127\.0\.0\.1:\d+/v1 \(status 404\) and says: Not Found\."
         r" Check base_url\.$"),
        ("POST files", {"status": 200, "body": "<html>Welcome</html>", "headers": {"Content-Type": "text/html"}},
         r"^127\.0\.0\.1 cannot be asked about train\.jsonl \(endpoint: not a reply of OpenAI's fine-tuning API\)"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_and_the_same_command_goes_on_once_it_is_mended(
    request_, fault, said, run, endpoint, capsys
):
    endpoint.faults[request_] = [fault]
    assert re.search(said, fails(capsys, run, "--yes"))
    assert KEY not in (run / "finetune" / "china" / "finetune.json").read_text()
    tune(run, "--yes")
    assert (len(endpoint.files), len(endpoint.jobs)) == (2, 1)


def test_an_unknown_model_is_one_sentence(run, endpoint, capsys):
    said = fails(capsys, run, "--model", "gpt-9", "--yes")
    assert said.startswith("127.0.0.1 refuses the job (status 404) and says: The model `gpt-9` does not exist")
    assert not endpoint.jobs
    tune(run, "--yes")  # another model in the same folder, as no job was made
    assert len(endpoint.jobs) == 1


def test_a_file_that_the_endpoint_refuses_is_one_sentence(run, endpoint, capsys):
    endpoint.file_error = "Line 3 is not valid."
    said = fails(capsys, run, "--yes")
    assert said == (
        "127.0.0.1 refuses the file train.jsonl (file-0): Line 3 is not valid. Mend the rows, and name another out."
    )
    assert not endpoint.jobs


def test_a_job_that_failed_or_was_cancelled_is_one_sentence_and_not_submitted_again(run, endpoint, capsys):
    message_ = "The training file has 3 examples, but must have at least 10"
    endpoint.outcome = "failed"
    endpoint.error = {"code": "invalid_n_examples", "message": message_, "param": "training_file"}
    said = (
        f"the job ftjob-0 at 127.0.0.1 failed (training_file): {message_}. To submit another, mend that and name"
        " another out."
    )
    assert fails(capsys, run, "--yes") == said
    assert record(run)["job"]["error"] == message_
    assert fails(capsys, run, "--yes") == said
    assert len(endpoint.jobs) == 1
    endpoint.outcome = "cancelled"
    out = str(run / "other")
    said = "the job ftjob-1 at 127.0.0.1 was cancelled. To submit another, mend that and name another out."
    assert fails(capsys, run, "--yes", "--out", out) == said
    assert len(endpoint.jobs) == 2


def test_a_folder_holds_one_job(run, endpoint, capsys):
    tune(run, "--yes")
    said = fails(capsys, run, "--yes", "--epochs", "2")
    assert "finetune.json: holds the job ftjob-0 of other rows, settings or endpoint; name another out" in said
    assert len(endpoint.jobs) == 1
    tune(run, "--yes", "--epochs", "2", "--out", str(run / "two"))
    assert len(endpoint.jobs) == 2
    with FinetuneServer() as other:
        said = fails(capsys, run, "--yes", "--base-url", other.url)
        assert re.search(r"finetune\.json: was submitted to http://127\.0\.0\.1:\d+/v1; name that as base_url", said)
        assert not other.requests


def test_a_wrong_address_or_key_can_be_mended(run, endpoint, monkeypatch, capsys):
    """As long as nothing was sent, another endpoint may take the job."""
    with FinetuneServer() as gone:
        pass
    said = fails(capsys, run, "--yes", "--base-url", gone.url)
    assert said.startswith("127.0.0.1 cannot be asked about train.jsonl (endpoint: no connection (connection refused))")
    with FinetuneServer() as strict:
        strict.faults["POST files"] = [401]
        assert "status 401" in fails(capsys, run, "--yes", "--base-url", strict.url)
    tune(run, "--yes")
    assert (len(endpoint.files), len(endpoint.jobs)) == (2, 1)


def test_a_refusal_after_a_lost_reply_does_not_forget_what_may_have_been_created(run, endpoint, capsys):
    endpoint.faults |= {"POST fine_tuning/jobs": ["lose"], "GET fine_tuning/jobs": [401]}
    assert "status 401" in fails(capsys, run, "--yes")
    tune(run, "--yes")
    assert len(endpoint.jobs) == 1


def test_a_job_that_may_have_been_created_is_not_forgotten_for_other_settings(run, endpoint, capsys):
    endpoint.faults |= {"POST fine_tuning/jobs": ["lose"], "GET fine_tuning/jobs": [500, 500]}
    fails(capsys, run, "--yes")
    said = fails(capsys, run, "--yes", "--epochs", "2")
    assert "holds a job that may have been created of other rows" in said
    assert len(endpoint.jobs) == 1


def test_a_job_is_cancelled(run, endpoint, capsys):
    assert "finetune.json: records no job to cancel" in fails(capsys, run, "--cancel")
    endpoint.faults["GET fine_tuning/jobs/ftjob-0"] = [500] * 3
    fails(capsys, run, "--yes")
    endpoint.faults["POST fine_tuning/jobs/ftjob-0/cancel"] = [500]
    tune(run, "--cancel")
    assert endpoint.jobs["ftjob-0"]["status"] == record(run)["job"]["status"] == "cancelled"
    assert capsys.readouterr().out == "ftjob-0: cancelled\n"
    assert fails(capsys, run, "--cancel").endswith("finetune.json: the job ftjob-0 has ended: cancelled.")
    assert "was cancelled" in fails(capsys, run, "--yes")
    assert len(endpoint.jobs) == 1


def test_a_record_that_is_damaged_is_one_sentence(run, endpoint, capsys):
    tune(run, "--export-only")
    (run / "finetune" / "china" / "finetune.json").write_text("{")
    assert fails(capsys, run, "--yes").endswith("finetune.json: is damaged; name another out.")


KILLED = """
import sys
from caredio import cli
from caredio.training import jobs
jobs._FIRST_POLL = 0.05
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("request_", "done"),
    [("POST files", True), ("POST files", False), ("POST fine_tuning/jobs", True), ("POST fine_tuning/jobs", False),
     ("GET fine_tuning/jobs/ftjob-0", True)],
)  # fmt: skip
def test_a_command_killed_at_any_moment_is_gone_on_from(request_, done, run, endpoint):
    """Before the endpoint does what is asked, and once it has done it but has not said so."""

    class Victim:
        process = None

    def kill(request):
        if Victim.process and request == request_:
            Victim.process.send_signal(signal.SIGKILL)
            Victim.process.wait()
            Victim.process = None

    route = endpoint.route

    def before(method, path, *rest):
        if Victim.process and f"{method} {'/'.join(path)}" == request_:
            kill(request_)
            return {"refused": 503, "message": "nobody hears this", "code": None}
        return route(method, path, *rest)

    if done:
        endpoint.after = kill
    else:
        endpoint.route = before
    command = [sys.executable, "-c", KILLED, "finetune", str(run), *CHINA, "--yes"]
    with endpoint.lock:
        process = Victim.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert process.wait(400) == -signal.SIGKILL
    tune(run, "--yes")
    assert (len(endpoint.files), len(endpoint.jobs)) == (2, 1)
    assert record(run)["job"]["status"] == "succeeded"


def test_an_interrupt_leaves_the_job_running_and_says_how_to_go_on(run, endpoint):
    endpoint.looks = 10**9
    command = [sys.executable, "-c", KILLED, "finetune", str(run), *CHINA, "--yes"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while "GET fine_tuning/jobs/ftjob-0/events" not in endpoint.requests:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=400)[1].decode()
    assert process.returncode == 130
    stopped = "caredio: stopped watching; ftjob-0 goes on at 127.0.0.1, and the same command goes on from there."
    assert stopped in said.splitlines(), said
    endpoint.looks = 1
    tune(run)  # no --yes, as it is submitted
    assert len(endpoint.jobs) == 1


def test_azure_is_reached_at_its_own_address_with_its_own_key(run, monkeypatch):
    with FinetuneServer() as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1"))
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-secret")
        made = caredio.finetune(run, culture="china", model=MODEL, provider="azure", yes=True)
        assert all(path.startswith("/openai/v1/") for path in server.paths)
        assert server.keys == {"Bearer azure-secret"}
    assert made.record["job"]["cost_usd"] is None  # Azure's prices are its own
    assert made.record["estimate"]["dollars"] is None


def test_a_host_of_ones_own_gets_the_key_of_its_own_variable(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("THEIR_KEY", "their-secret")
    with FinetuneServer() as server:
        tune(run, "--yes", "--base-url", server.url, "--api-key-variable", "THEIR_KEY")
        assert server.keys == {"Bearer their-secret"}


@pytest.mark.parametrize("flags", [["--culture", "china"], ["--model", MODEL]])
def test_what_has_to_be_named_is_a_sentence(flags, run, capsys):
    with pytest.raises(SystemExit):
        cli.main(["finetune", str(run), *flags])
    missing = "--model" if "--culture" in flags else "--culture"
    assert f"caredio: caredio finetune needs {missing}; " in capsys.readouterr().err


def test_a_key_is_needed_before_anything_is_written(run, capsys):
    assert fails(capsys, run, "--yes").startswith(f"OPENAI_API_KEY is not set, and {MODEL} needs it")
    assert not (run / "finetune").exists()


# --- what is done with it


def test_the_record_makes_a_card_and_there_is_nothing_to_release(run, endpoint):
    made = caredio.finetune(run, culture="china", model=MODEL, yes=True)
    card = cards.model_card(made.record, Release(), None, "me/china")
    assert f"on {made.record['rows']} rows" in card
    assert made.model in card
    with pytest.raises(InputError) as error:
        caredio.publish(run, model=made.path)
    assert str(error.value) == (
        f"{made.path}: its model is kept by the API that tuned it, so there are no weights to release; finetune.json"
        " records it."
    )


def test_a_tuned_model_writes_and_its_price_is_known(endpoint, tmp_path, capsys):
    model = f"ft:{MODEL}:org:caredio-china:abc"
    wanted = {"model": model, "per_topic": 3, "neighbours": 1, "compared": 1}
    planned = caredio.plan(caredio.synthesize, ["china"], ["food"], **wanted)
    base = caredio.plan(caredio.synthesize, ["china"], ["food"], **{**wanted, "model": "gpt-4.1"})
    assert planned.total == base.total
    tokens = Usage(0, 0, planned.total.prompt_tokens, planned.total.completion_tokens)
    assert cost(model, tokens) == pytest.approx(1.5 * cost("gpt-4.1", tokens))  # $3 and $12 a million, not $2 and $8
    assert f"{cost(model, tokens):.2f}" in str(planned)
    made = caredio.synthesize(["china"], ["food"], out=tmp_path / "written", **wanted)
    assert set(made.candidates["generator"]) == {model}
    assert {body["model"] for body in endpoint.bodies.values()} == {model}


def test_a_tuned_model_is_evaluated_by_what_it_writes(endpoint, run, tmp_path):
    model = f"ft:{MODEL}:org:caredio-china:abc"
    asked = {"model": model, "culturalbench": "sample", "limit": 1}
    assert caredio.plan(caredio.evaluate, ["china"], **asked).total.calls == 2 * 5  # raw and role-play
    caredio.evaluate(["china"], out=run, store=tmp_path / "answers.sqlite", **asked)
    assert [body["model"] for body in endpoint.bodies.values()] == [model] * 10
