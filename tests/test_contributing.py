"""CONTRIBUTING.md, followed from outside of the package: a stage, a score, a benchmark and a backend of one's own."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from datasets import Dataset, Features, Value

import caredio
from caredio import cli
from caredio import settings as base
from caredio.evaluation import benchmark, benchmarks
from caredio.evaluation.results import format_table
from caredio.llm import plan
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import Backend
from caredio.llm.model import Model, connect, start
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.runs import Run
from caredio.selection import rank
from caredio.selection import settings as selection
from caredio.settings import setting
from caredio.stages import Planned, Stage, in_all
from caredio.synthesis import pipeline

ROOT = Path(__file__).parents[1]
ROWS = [
    {"question": f"What is eaten on day {day}?", "response": f"{dish} {'!' * day}", "culture": culture}
    for day in range(4)
    for culture, dish in (("mexico", "tamales"), ("korea", "kimchi"))
]

STAGE = Stage(
    "shouted",
    {"own": "response culture"},
    Features({"response": Value("string"), "culture": Value("string")}),
    modules=(__name__,),
)


@dataclass(frozen=True)
class Settings(base.Settings):
    loud: bool = setting(True, "whether responses are shouted", "shouted")
    other: int = setting(1, "of another stage", "elsewhere")


def shout(table, settings):
    table = STAGE.table(table, "own")
    return table.map(lambda row: {"response": row["response"].upper() if settings.loud else row["response"]})


def test_a_stage_of_ones_own(tmp_path):
    table, computed = Dataset.from_list(ROWS), []

    def made(settings):
        with Run(tmp_path / "run") as run:
            return STAGE.run(
                run, lambda: computed.append(1) or shout(table, base.view("shouted", settings)), [settings], after=[]
            )

    assert made(Settings())["response"][0] == "TAMALES "
    made(Settings(other=2))  # which the stage does not read
    assert len(computed) == 1
    assert made(Settings(loud=False))["response"][0] == "tamales "
    assert len(computed) == 2
    with pytest.raises(caredio.InputError, match="stage shouted, table own: column culture is missing"):
        shout(table.remove_columns("culture"), Settings())


def test_a_stage_of_ones_own_that_asks_is_in_the_plan(monkeypatch, tmp_path):
    def calls(planning):
        rows = in_all(planning.rows["candidates"])
        return Planned([plan.answers("shouted", rows, 30, planning.spec)], planning.rows["candidates"])

    def planned(stages):
        monkeypatch.setattr(pipeline, "STAGES", stages)
        asked = {"per_topic": 5, "model": "gpt-4.1-mini", "max_tokens": 40}
        return caredio.plan(caredio.synthesize, ["mexico", "south_korea"], ["food"], out=tmp_path, **asked)

    before, after = planned(pipeline.STAGES), planned((*pipeline.STAGES, replace(STAGE, calls=calls)))
    assert after.steps[:-1] == before.steps
    assert after.steps[-1] == plan.Step("shouted", 10, 10 * 30, 10 * 40, upper_bound=20)
    assert str(after).splitlines()[-3].split()[:2] == ["shouted", "10"]


def test_a_score_of_ones_own(monkeypatch):
    def shortest(names, responses, unit, settings):
        return [-float(len(response)) for response in responses]

    monkeypatch.setitem(rank.BASELINES, "shortest", shortest)
    monkeypatch.setitem(rank.ORDERS, "shortest", "the response of fewest characters first")
    selection.RANKINGS.append("shortest")
    try:
        ranked = caredio.select(Dataset.from_list(ROWS), ranking="shortest").ranked
    finally:
        selection.RANKINGS.remove("shortest")
    lengths = [len(row["response"]) for row in ranked if row["culture"] == "mexico"]
    assert lengths == sorted(lengths)
    assert len(lengths) == 4


BENCHMARK = """
import json
from caredio.evaluation import choice
from caredio.evaluation.benchmark import Benchmark

def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]

BENCHMARKS = (
    Benchmark(name="toy", title="Toy", kind=choice.KIND, source="toy", read=read, licence="mit", file="toy.jsonl"),
)
"""


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A module of one's own among the benchmarks, and its data: two questions on Mexico, of which B and A are right."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "toy.py").write_text(BENCHMARK)
    rows = [
        {"id": str(key), "culture": "Mexico", "question": "Which?", "options": ["x", "y"], "key": key} for key in (1, 0)
    ]
    (tmp_path / "toy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path / "more")])
    benchmark.load.cache_clear()
    yield tmp_path / "toy.jsonl"
    benchmark.load.cache_clear()
    sys.modules.pop("caredio.evaluation.benchmarks.toy", None)


def test_a_benchmark_of_ones_own(toy, server, tmp_path, capsys):
    lm_eval_folder = pytest.importorskip("lm_eval_folder")
    tasks = lm_eval_folder.TaskManager(
        include_path=[caredio.evaluation.tasks_path()], include_defaults=False, metadata={"toy": str(toy)}
    )
    always_b = lm_eval_folder.Scripted(lambda document: "B")
    names = ["caredio_toy_mexico", "caredio_toy_generated_mexico", "caredio_toy_role_play_mexico"]
    made = lm_eval_folder.evaluate(always_b, tasks.load(names))["results"]
    assert [made[name]["acc,none"] for name in names] == [0.5, 0.5, 0.5]
    cli.main(["benchmarks"])
    assert "\ntoy: Toy\n" in capsys.readouterr().out
    server.fault = lambda *_: "B"
    asked = {"benchmarks": "toy", "benchmark_data": f"toy={toy}", "model": "scripted", "base_url": server.url}
    table = caredio.evaluate(["mexico"], **asked).results
    values = {row["metric"]: row["value"] for row in table if row["system"] == "raw"}
    assert values == {"acc": 0.5, "unparsed": 0}
    assert {row["benchmark"] for row in table} == {"toy_generated"}
    assert "Toy" in format_table(table).splitlines()[0]


def test_a_backend_of_ones_own(tmp_path):
    class Echo(Backend):
        sent = 0

        async def send(self, request, held):
            self.sent += 1
            return Answer(request.messages[-1]["content"][::-1], "stop", "echo", 1, 1)

    echo = Echo()
    model = Model(Spec(model="echo"), echo, Store(tmp_path / "answers.sqlite"))
    rows = Dataset.from_dict({"text": ["abc", "def", "abc"]})

    def ask():
        return caredio.ask(
            rows,
            model,
            prompt=lambda row: [{"role": "user", "content": row["text"]}],
            parse=lambda content, row, answer: {"back": content},
            columns=Features({"back": Value("string")}),
        )

    assert ask()["back"][:] == ["cba", "fed", "cba"]
    assert echo.sent == 2  # equal requests are made once
    assert ask()["back"][:] == ["cba", "fed", "cba"]
    assert echo.sent == 2  # and what is stored is not asked for
    asyncio.run(model.close())


def test_the_walk_of_a_call_names_the_files_that_it_enters(server, tmp_path):
    """Of the second call, as the first opens connections."""
    entered, room = set(), Path(caredio.__file__).parent / "llm"
    asked = connect(Spec(model="m"), Endpoint(base_url=server.url), tmp_path / "answers.sqlite")

    def note(frame, event, argument):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.parent == room:
            entered.add(file.name)

    def ask(text):
        caredio.ask(
            Dataset.from_dict({"text": [text]}),
            asked,
            prompt=lambda row: [{"role": "user", "content": row["text"]}],
            parse=lambda content, row, answer: {"said": content},
            columns=Features({"said": Value("string")}),
        )

    async def watch(noted):
        sys.setprofile(noted)

    ask("one")
    start(watch(note)).result()  # the loop of the models has a thread of its own
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        ask("two")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        start(watch(None)).result()
    walk = (ROOT / "CONTRIBUTING.md").read_text().partition("## The walk of a call")[2].partition("## ")[0]
    assert entered == set(re.findall(r"(\w+\.py)", walk))


def test_the_tree_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = subprocess.run(
        ["git", "ls-files", "caredio"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split() or [str(file.relative_to(ROOT)) for file in (ROOT / "caredio").rglob("*.py")]
    for name in listed:
        file = Path(name)
        if file.suffix == ".py" and file.parts[1] not in ("training", "evaluation", "publishing", "data"):
            assert re.search(rf"\b{file.stem}\b", text) or file.stem == "__init__", name
