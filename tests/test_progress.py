"""The bar of a command, read from a real terminal: what it counts, what it costs, and where it does not show."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from llm_server import LLMServer

from caredio import api, progress
from caredio.selection.pipeline import STAGES as SELECTION
from caredio.synthesis.pipeline import STAGES as SYNTHESIS

BLEND = Path(__file__).parent / "data" / "blend" / "multiple_choice.csv"
SMALL = ["--cultures", "china,brazil", "--topics", "food,power", "--per-topic", "3", "--neighbours", "2"]
BAR = re.compile(
    r"(\S[^|\r\n]*?): +(\d+)%\|[^|\r\n]*\| (\d+)/(\d+) (calls|questions) \[[\d:]+<([\d:?]+)(?:, ([^\]]+))?\]"
)
PRICE = (0.40e-6, 1.60e-6)  # US dollars a token of gpt-4.1-mini, prompt and answer, from OpenAI's list


def environment(server, home, **variables):
    hidden = ("HF_DATASETS_DISABLE_PROGRESS_BARS",)
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-x", "CAREDIO_HOME": str(home)} | variables


def on_a_terminal(command, env, lines=None):
    """(exit code, stderr) of a command whose stderr is a terminal of 120 columns.

    Args:
        lines: takes what is written, as it comes.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=env)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's end of a terminal
            break
        if not part:
            break
        written += part
        if lines is not None:
            lines(written.decode(errors="replace"))
    os.close(ours)
    return process.wait(), written.decode()


WRITING = ["subtopics", "questions", "answers", "adapted", "isolated", "addressed", "candidates"]
STAGES = [*WRITING, "vectors", "scored", "ranked", "preference", "unpaired"]


def stages(written):
    """The stages whose lines can be read, in order."""
    lines = (line.split("\r")[-1] for line in written.splitlines())
    return [line.split()[0] for line in lines if re.match(r"\w+ +\d+ rows", line)]


def caredio(*arguments):
    return [sys.executable, "-m", "caredio.cli", *map(str, arguments)]


def bars(written):
    """(title, per cent, n, total, time left, cost) of every bar that was drawn, in order."""
    return [
        (title, int(share), int(n), int(total), left, cost)
        for title, share, n, total, _, left, cost in BAR.findall(written)
    ]


def test_one_bar_counts_the_calls_of_a_build_and_what_they_cost(tmp_path):
    command = caredio("build", *SMALL, "--model", "gpt-4.1-mini", "--out", tmp_path / "run", "--concurrency", 8)
    with LLMServer(latency=0.15) as server:
        code, written = on_a_terminal(command, environment(server, tmp_path))
        asked = len(server.seen)
    assert code == 0, written
    drawn = bars(written)
    total = drawn[0][3]
    assert {one[3] for one in drawn} == {total} == {asked}  # every answer could be used, so the plan is what was asked
    counts = [one[2] for one in drawn]
    assert counts == sorted(counts)
    assert len(set(counts)) > 20
    assert drawn[-1][:3] == ("build", 100, total)
    titles = list(dict.fromkeys(one[0] for one in drawn))
    assert titles[0] == "build, subtopics"
    assert titles.index("build, questions, round 1") < titles.index("build, sensitivity, round 1")
    assert {"build, answers", "build, isolated answers", "build, contrastive answers"} < set(titles)
    assert any(re.fullmatch(r"\d\d:\d\d", one[4]) and one[4] != "00:00" for one in drawn)  # time left
    (spent,) = json.loads((tmp_path / "run" / "run.json").read_text())["spending"]["models"]
    dollars = spent["prompt_tokens"] * PRICE[0] + spent["completion_tokens"] * PRICE[1]
    assert drawn[-1][5] == f"${dollars:,.4f}"
    costs = [float(one[5].removeprefix("$")) for one in drawn if one[5]]
    assert costs == sorted(costs)
    assert 0 < costs[0] < dollars / 4
    assert "Map" not in written  # no bar of another library

    assert stages(written) == STAGES

    again = caredio("build", *SMALL, "--model", "gpt-4.1-mini", "--out", tmp_path / "other")
    with LLMServer() as server:  # the same answers, for another run
        code, written = on_a_terminal(again, environment(server, tmp_path))
        assert server.seen == []
    drawn = bars(written)
    assert drawn[-1] == ("build", 100, total, total, "00:00", "")  # stored answers cost nothing
    code, written = on_a_terminal(again, environment(server, tmp_path))
    assert (bars(written), stages(written)) == ([], STAGES)  # nobody is asked


@pytest.mark.slow
def test_a_stage_that_ends_early_or_asks_again_keeps_to_the_plan(tmp_path):
    def fault(number, body):
        last = body["messages"][-1]["content"]
        if "differs" in json.dumps(body.get("response_format", "")) and number % 2:
            return json.dumps({"reason": "none", "sensitivity": 1})  # fewer questions than planned
        if number % 3 == 0 and "cannot be used" not in last and "response_format" not in body:
            return "As an AI language model, I cannot answer."  # is asked for once more
        return None

    command = caredio("build", *SMALL, "--rounds", 1, "--model", "no-such-price", "--out", tmp_path / "run")
    with LLMServer(fault) as server:
        code, written = on_a_terminal(command, environment(server, tmp_path))
        repairs = [body for body in server.bodies.values() if "cannot be used" in body["messages"][-1]["content"]]
    assert code == 0, written
    assert len(repairs) > 3
    drawn = bars(written)
    total = drawn[0][3]
    counts = [one[2] for one in drawn]
    assert counts == sorted(counts)
    assert drawn[-1][:4] == ("build", 100, total, total)
    after = written[written.index("questions ") :]  # the line of the stage, and then its end in the bar
    planned = api.plan(
        api.build,
        ["china", "brazil"],
        ["food", "power"],
        per_topic=3,
        neighbours=2,
        rounds=1,
        model="m",
        base_url="http://127.0.0.1:9/v1",
    )
    asked = {step.stage: step.calls for step in planned.steps}
    assert bars(after)[0][2] == asked["subtopics"] + asked["questions"] + asked["sensitivity"]
    assert re.fullmatch(r"[\d,]+ tokens", drawn[-1][5])  # no price is known


def test_a_selection_counts_likelihoods_and_vectors(tmp_path):
    rows = [
        {"question": f"What is eaten on day {day}?", "response": f"{dish} {day}", "culture": culture}
        for day in range(6)
        for culture, dish in (("mexico", "tamales"), ("korea", "kimchi"))
    ]
    table = tmp_path / "own.json"
    table.write_text(json.dumps(rows))
    scores = ("--distinctiveness", "information", "--representativeness", "information", "--theta", 0.99)
    command = caredio("select", table, "--out", tmp_path / "run", "--model", "m", "--embedder", "openai:e", *scores)
    with LLMServer() as server:
        planned = subprocess.run([*command, "--dry-run"], env=environment(server, tmp_path), capture_output=True)
        assert planned.returncode == 0, planned.stderr
        code, written = on_a_terminal(command, environment(server, tmp_path))
    assert code == 0, written
    total = int(re.search(r"total +(\d+)", planned.stdout.decode())[1])
    assert len(server.seen) == total
    drawn = bars(written)
    assert {one[3] for one in drawn} == {total}
    before = [one[2] for one in drawn[: max(place for place, one in enumerate(drawn) if "cultures" in one[0])]]
    assert total - 3 <= max(before)  # each answer counts as the requests it takes, so there is no leap at the end
    assert drawn[-1][:3] == ("select", 100, total)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_and_files_have_no_bar(tmp_path, terminal):
    command = caredio("synthesize", *SMALL, "--model", "m", "--out", tmp_path / "run")
    with LLMServer() as server:
        if terminal:
            code, written = on_a_terminal([*command, "--quiet"], environment(server, tmp_path))
            assert (code, written) == (0, "")
        else:
            done = subprocess.run(command, env=environment(server, tmp_path), capture_output=True, text=True)
            assert "\r" not in done.stderr
            assert "%" not in done.stderr
            assert stages(done.stderr) == WRITING


ASK = """
import asyncio, os, sys, time
from datasets import Dataset, Features, Value, enable_progress_bars
import caredio
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import Backend
from caredio.llm.model import Model
from caredio.llm.spec import Spec

class OneByOne(Backend):  # the second of a batch ends when the bar has been seen to count the first
    async def send(self, request, held):
        if request.messages[0]["content"] == "b":
            for _ in range({looks}):
                await asyncio.sleep(0.05)
                if os.path.exists(sys.argv[1]):
                    break
            else:
                return Answer("nobody counted", "stop", "m", 1, 1)
        return Answer("counted", "stop", "m", 1, 1)

{before}
rows = caredio.ask(
    Dataset.from_dict({{"text": ["a", "b"]}}),
    Model(Spec(model="m"), OneByOne(), Store(sys.argv[1] + ".sqlite")),
    prompt=lambda row: [{{"role": "user", "content": row["text"]}}],
    parse=lambda content, row, answer: {{"said": content}},
    columns=Features({{"said": Value("string")}}),
    desc="asked",
)
with open(sys.argv[1], "w") as file:
    file.write(" ".join(rows["said"]))
"""


def asked(tmp_path, before="", looks=600):
    """(what the rows of an `ask` say, its bars): `b` of a batch of two ends after the bar counts `a`, if it does."""
    file = tmp_path / "seen"

    def seen(written):
        if any(one[2:4] == (1, 2) for one in bars(written)) and not file.exists():
            file.touch()

    with LLMServer() as server:
        command = [sys.executable, "-c", ASK.format(before=before, looks=looks), str(file)]
        code, written = on_a_terminal(command, environment(server, tmp_path), seen)
    assert code == 0, written
    return file.read_text(), written


def test_the_bar_moves_between_the_ends_of_two_answers_of_one_batch(tmp_path):
    said, written = asked(tmp_path)
    assert said == "counted counted"
    assert [one[0] for one in bars(written)] == ["asked"] * len(bars(written))
    assert bars(written)[-1][1:4] == (100, 2, 2)


@pytest.mark.parametrize("hide", ["caredio.quiet()", "import datasets; datasets.disable_progress_bars()"])
def test_bars_can_be_hidden_in_python(tmp_path, hide):
    said, written = asked(tmp_path, before=hide, looks=60)
    assert said == "counted nobody counted"
    assert written == ""


def test_every_step_of_a_plan_counts_for_a_stage_that_runs():
    """Else its calls would not be counted, or not be done when the stage has ended."""
    names = {stage.name for stage in (*SYNTHESIS, *SELECTION)}
    found = set()
    for objective in ("likelihood", "embeddings"):
        for score in ("information", "in_context"):
            plan = api.plan(
                api.build,
                ["united_kingdom"],
                ["food"],
                optimize_rounds=1,
                objective=objective,
                held_out="openai:h",
                embedder="openai:e",
                theta=0.7,
                distinctiveness="information",
                representativeness=score,
                validation=str(BLEND),
                model="m",
                base_url="http://127.0.0.1:9/v1",
            )
            assert sum(plan.calls.values()) == plan.total.calls
            found |= set(plan.calls)
    assert found - {"log-probabilities"} <= names  # which is asked for before the first stage
    assert len(found) > 6


def test_where_no_bar_shows_a_line_counts_the_answers(monkeypatch, caplog):
    monkeypatch.setattr(progress, "_EVERY", 0.01)
    with caplog.at_level("INFO", "caredio"), progress.asking("care, china (1 of 4)", 3, 3, "questions") as answered:
        answered()
        for _ in range(3000):
            if "care, china (1 of 4): 1 of 3 questions" in caplog.messages:
                break
            time.sleep(0.01)
    assert "care, china (1 of 4): 1 of 3 questions" in caplog.messages
