"""The house: imports point one way and late ones say why, functions are short, stages declare what they read."""

import ast
import importlib
import inspect
import pkgutil
import re
from dataclasses import replace
from pathlib import Path

import pytest

import caredio
from caredio import runs
from caredio.evaluation.judging_settings import Settings as Judging
from caredio.evaluation.settings import Settings as Evaluation
from caredio.publishing.settings import Settings as Release
from caredio.selection import pipeline as selection
from caredio.selection.settings import Settings as Selection
from caredio.settings import of_stage
from caredio.stages import Planned
from caredio.synthesis import pipeline as synthesis
from caredio.synthesis.settings import Settings as Synthesis
from caredio.training import preferences, views
from caredio.training.finetuning_settings import Settings as Finetuning
from caredio.training.settings import Settings as Views

PACKAGE = Path(caredio.__file__).parent
FILES = sorted(file for file in PACKAGE.rglob("*.py") if "recipes" not in file.parts)
LONGEST = 50  # lines of a function


def name_of(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(file) for file in FILES}


def imported(tree):
    """The modules of this package that are imported when a module is."""
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    late = {inner for node in functions(tree) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in typing_only or node in late:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in NAMES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in NAMES:
                    yield whole
                elif node.module in NAMES:
                    yield node.module


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def test_no_modules_import_each_other():
    graph = {name_of(file): set(imported(ast.parse(file.read_text()))) - {name_of(file)} for file in FILES}
    done, path = set(), []

    def walk(module):
        if module in path:
            raise AssertionError(" -> ".join([*path[path.index(module) :], module]))
        if module not in done:
            path.append(module)
            for other in sorted(graph.get(module, ())):
                walk(other)
            done.add(path.pop())

    for module in sorted(graph):
        walk(module)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_what_is_imported_late_says_why(file):
    text = file.read_text()
    lines = text.splitlines()
    for function in functions(ast.parse(text)):
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("caredio"):
                above = lines[node.lineno - 2]
                chained = above.strip().startswith(("from caredio", "import "))
                assert "#" in lines[node.lineno - 1] or "#" in above or chained, f"{file.name}, line {node.lineno}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_functions_are_short(file):
    for function in functions(ast.parse(file.read_text())):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if body:
            length = body[-1].end_lineno - body[0].lineno + 1
            assert length <= LONGEST, f"{file.name}, {function.name}: {length} lines"


def test_light_modules_load_nothing_heavy():
    """What `--help` needs: no datasets, numpy, torch, openai or matplotlib."""
    script = "import sys, caredio, caredio.cli; print([m for m in %r if m in sys.modules])"
    heavy = ["datasets", "numpy", "pandas", "pyarrow", "torch", "transformers", "openai", "sklearn", "matplotlib"]
    import subprocess
    import sys

    made = subprocess.run([sys.executable, "-c", script % heavy], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"


STAGES = (*synthesis.STAGES, *selection.STAGES, *views.STAGES, *preferences.STAGES)


def test_settings_name_stages_that_are_there():
    known = {stage.name for stage in STAGES} | {"table", "calibrated", "results", "judged", "release", "finetuned"}
    for room in (Synthesis, Selection, Views, Evaluation, Judging, Release, Finetuning):
        for name, field in room.__dataclass_fields__.items():
            assert field.metadata["stages"], name
            assert set(field.metadata["stages"]) <= known, name


def test_stages_read_what_earlier_ones_write():
    written = {}
    for stage in STAGES:
        for table, columns in stage.reads.items():
            assert table in written, (stage.name, table)
            if written[table] is not None:
                assert set(columns.split()) <= set(written[table]), (stage.name, table)
        written[stage.writes_to or stage.name] = stage.writes


@pytest.mark.parametrize("module", sorted({module for stage in STAGES for module in stage.modules}))
def test_a_stage_maps_its_rows_or_says_why_it_sees_the_whole_table(module):
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    called = {
        getattr(node.func, "attr", getattr(node.func, "id", None))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    if first.startswith("Table stage"):
        assert re.match(r"Table stage \(.+\): ", first)
    else:
        assert called & {"map", "filter", "fan_out"}
        assert not any(ast.unparse(node) == "features.table" for node in ast.walk(tree))  # made row by row


@pytest.mark.parametrize(
    ("command", "tables"),
    [
        ("synthesize", "subtopics questions answers adapted isolated contrasted candidates"),
        ("select", "vectors scored ranked preference"),
        ("evaluate", "results"),
    ],
)
def test_a_missing_table_names_the_command_that_writes_it(command, tables, tmp_path):
    with runs.Run(tmp_path) as run:
        for table in tables.split():
            with pytest.raises(caredio.InputError, match=f"no finished {table} table; run `caredio {command} "):
                run.check(table)


@pytest.mark.parametrize("stage", [*synthesis.STAGES, *selection.STAGES], ids=lambda stage: stage.name)
def test_a_stage_that_asks_reads_its_prompts_folder(stage):
    rooms = (Synthesis, Selection)
    if stage.prompts:
        assert any(field.name == "prompts" for room in rooms for field in of_stage(stage.name, room))


def asks(stage):
    """Whether a stage asks a model: it has prompts, or one of its modules uses what sends a request."""
    senders = {"ask", "likelihoods", "Embeddings"}
    sources = [inspect.getsource(importlib.import_module(module)) for module in stage.modules]
    used = {getattr(node, "id", None) for source in sources for node in ast.walk(ast.parse(source))}
    return bool(stage.prompts or used & senders)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_that_asks_declares_its_calls_and_no_other_does(stage):
    assert bool(stage.calls) == asks(stage)


def test_a_plan_lists_what_stages_declare_in_their_order(monkeypatch, tmp_path):
    """Every step of a plan is one that a stage declares: marked with the stage's name, all of them show the mark."""

    def marked(stage):
        def calls(planning):
            steps, rows = stage.calls(planning)
            return Planned([replace(step, stage=f"{stage.name}/{step.stage}") for step in steps], rows)

        return replace(stage, calls=calls if stage.calls else None)

    for room in (synthesis, selection):
        monkeypatch.setattr(room, "STAGES", tuple(map(marked, room.STAGES)))
    asked = {"model": "m", "base_url": "http://localhost/v1", "embedder": "openai:e", "theta": 0.9}
    scores = {"distinctiveness": "information", "optimize_rounds": 1, "contrast_others": True, "review": True}
    evidence = tmp_path / "said.csv"
    evidence.write_text("culture,text\nmexico,Most families eat together.\n")
    scores["evidence"] = str(evidence)
    plan = caredio.plan(caredio.build, ["mexico"], ["food"], out=tmp_path, **asked, **scores)
    probe, *steps = [step.stage.partition("/")[0] for step in plan.steps]
    assert probe == "log-probabilities"  # which no stage asks, but the verb before them
    assert list(dict.fromkeys(steps)) == [stage.name for stage in STAGES if stage.calls]
    assert list(dict.fromkeys(steps)) == [
        *(
            "subtopics",
            "questions",
            "grounding",
            "answers",
            "adapted",
            "isolated",
            "addressed",
            "contrasted",
            "reviewed",
            "optimized",
            "contrasted_others",
            "vectors",
            "scored",
        )
    ]


def test_public_functions_say_what_comes_back():
    for module in pkgutil.walk_packages([str(PACKAGE)], "caredio."):
        if ".recipes" in module.name or "evaluation" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(value) and value.__module__ == module.name and not name.startswith("_"):
                assert value.__doc__, f"{module.name}.{name}"
