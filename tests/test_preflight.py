"""What can be known before the first call is checked before it: one sentence, and no request."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from datasets import Dataset

import caredio
from caredio import cli
from caredio.errors import InputError

SMALL = ["--cultures", "united_kingdom,mexico", "--topics", "food", "--per-topic", "3", "--neighbours", "2"]
ITEMS = Path(__file__).parent / "data" / "blend" / "multiple_choice.csv"
LIKELIHOOD = ["--objective", "likelihood", "--optimize-rounds", "1"]


def fails(capsys, *arguments):
    """The one sentence that the command ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2, said
    assert said[-1].startswith("caredio: ")
    assert not any("Traceback" in line for line in said)
    return said[-1]


@pytest.fixture
def asking(server, tmp_path):
    """Flags of a `build` that the scripted endpoint answers."""
    return ["--model", "scripted", "--base-url", server.url, "--out", tmp_path / "run", *SMALL]


def items(folder, *countries):
    path = folder / "items.csv"
    lines = [f'{country},What is eaten?,"{{""A"": ""rice""}}",A' for country in countries]
    path.write_text("\n".join(["country,prompt,choices,answer_idx", *lines]))
    return path


@pytest.mark.parametrize("verb", ["build", "synthesize"])
def test_an_embedder_s_endpoint_without_its_embedder(verb, asking, server, capsys):
    said = fails(capsys, verb, *asking, "--embedder-base-url", server.url)
    assert said.endswith("the embedder's endpoint serves no embedder; name the one it serves, openai:MODEL.")
    assert server.seen == []


def test_a_selection_s_embedder_s_endpoint_without_its_embedder(server):
    rows = Dataset.from_dict({"question": ["a", "a"], "response": ["b", "c"], "culture": ["d", "e"]})
    with pytest.raises(InputError, match="the embedder's endpoint serves no embedder"):
        caredio.select(rows, embedder_base_url=server.url)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--representativeness", "in_context", "--validation", "none.csv"], "none.csv: cannot be read"),
        (["--representativeness", "in_context", "--validation", str(Path(__file__).parent)], "cannot be read"),
        (["--representativeness", "in_context"], "name a file as validation"),
        (["--representativeness", "information", "--batch"], "representativeness information needs log-prob"),
        (["--distinctiveness", "information", "--batch"], "distinctiveness information needs log-probabilities"),
        ([*LIKELIHOOD, "--batch"], "objective likelihood needs log-probabilities"),
        (["--ranking", "ifd", "--batch"], "ranking ifd needs log-probabilities"),
        (["--ranking", "rds"], "name a file as validation"),
        (["--ranking", "rds", "--validation", "none.csv"], "none.csv: cannot be read"),
        (["--optimize-rounds", "1", "--per-topic", "2"], "optimize_rounds needs 3 answers of a culture"),
        ([*LIKELIHOOD, "--per-topic", "1"], "optimize_rounds needs 3 answers of a culture"),
        (["--representativeness", "information", "--per-topic", "2"], "information needs 3 answers of a culture"),
        (["--representativeness", "typicality", "--per-topic", "2"], "typicality needs 3 answers of a culture"),
        (["--optimize-rounds", "1", "--embedder", "given", "--theta", "0.7"], "embedder is given"),
        (
            ["--optimize-rounds", "1", "--held-out", "sentence-transformers/all-MiniLM-L6-v2"],
            "held_out is the embedder",
        ),
        (["--embedder", "no/such-model"], "no theta is known"),
    ],
)
def test_what_settings_and_files_decide(server, asking, capsys, flags, sentence, dry):
    assert sentence in fails(capsys, "build", *asking, *flags, *dry)
    assert server.seen == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--embedder", "no/such-model", "--theta", "0.7"], "embedder 'no/such-model' cannot be loaded"),
        (["--optimize-rounds", "1", "--held-out", "no/such-model"], "embedder 'no/such-model' cannot be loaded"),
        (["--embedder", "given", "--theta", "0.7"], "embedder is given, but new candidates have no vectors"),
        (
            ["--model", "gpt-4.1-mini", "--max-cost", "1", "--embedder", "openai:m", "--theta", "0.7"],
            "no price is known for m",
        ),
        (
            ["--model", "gpt-4.1-mini", "--max-cost", "1", "--optimize-rounds", "1", "--held-out", "openai:m"],
            "no price is known for m",
        ),
    ],
)
def test_what_embeds(server, asking, capsys, flags, sentence):
    assert sentence in fails(capsys, "build", *asking, *flags)
    assert server.seen == []
    if "--optimize-rounds" in flags:
        assert sentence in fails(capsys, "synthesize", *asking, *flags)
        assert server.seen == []


def test_a_limit_of_the_embedded_model_is_one_of_what_an_endpoint_embeds(server, capsys, tmp_path):
    asked = ["--base-url", server.url, "--embedder", "openai:m", "--theta", "0.7", "--out", tmp_path / "run", *SMALL]
    assert "no price is known for m" in fails(capsys, "build", *asked, "--max-cost", "1")
    rounds = ["--optimize-rounds", "1", "--held-out", "openai:other"]
    assert "no price is known for other" in fails(
        capsys, "build", *asked, *rounds, "--embedder", "openai:text-embedding-3-small", "--max-cost", "1"
    )
    assert server.seen == []


def test_a_folder_that_holds_no_embedder(server, asking, capsys, tmp_path):
    broken = tmp_path / "embedder"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    said = fails(capsys, "build", *asking, "--embedder", broken, "--theta", "0.7")
    assert f"embedder '{broken}' cannot be loaded" in said
    assert server.seen == []


def test_a_validation_file_without_a_culture_of_the_run(server, asking, capsys, tmp_path):
    flags = ["--representativeness", "in_context", "--validation", items(tmp_path, "UK", "Japan")]
    assert "no question on mexico; found japan, uk" in fails(capsys, "build", *asking, *flags)
    assert server.seen == []


def test_a_budget_beyond_what_is_measured(server, asking, capsys, tmp_path):
    flags = ["--representativeness", "in_context", "--validation", items(tmp_path, "UK", "Mexico"), "--centers", "2"]
    said = fails(capsys, "build", *asking, *flags)
    assert "measures at most 2 rows a culture (centers), and budget asks for 1000 of 3" in said
    assert server.seen == []
    wanted = {"per_topic": 3, "representativeness": "in_context", "validation": str(flags[3])}
    for enough in ({"centers": 2, "budget": 2}, {"centers": 3}):
        caredio.plan(caredio.build, ["united_kingdom"], ["food"], out=tmp_path, **wanted, **enough)


def test_an_engine_that_is_not_installed(server, asking, capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest))
    assert "pip install 'caredio[scale]'" in fails(capsys, "build", *asking, "--engine", "ray")
    assert server.seen == []


@pytest.mark.parametrize("verb", ["build", "synthesize"])
def test_an_address_without_a_model(server, capsys, tmp_path, verb):
    said = fails(capsys, verb, "--base-url", server.url, "--out", tmp_path / "run", *SMALL)
    assert said == f"caredio: base_url {server.url} is given without a model; name the model that it serves."
    assert server.seen == []
    assert not (tmp_path / "run").exists()


def test_an_address_that_an_embedder_uses_needs_no_model(server, tmp_path):
    wanted = {"per_topic": 3, "base_url": server.url, "embedder": "openai:m", "theta": 0.7}
    plan = caredio.plan(caredio.build, ["mexico"], ["food"], out=tmp_path, **wanted)
    assert [step.stage for step in plan.steps if step.model == "m"] == ["vectors"]


@pytest.mark.parametrize(
    "flags",
    [["--representativeness", "information"], ["--distinctiveness", "information"], ["--ranking", "ifd"], LIKELIHOOD],
)
@pytest.mark.parametrize("key", ["", "sk-secret"])
def test_openai_tells_no_log_probabilities_of_prompts(capsys, monkeypatch, tmp_path, flags, key):
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    asked = ["--model", "gpt-4.1-mini", "--out", tmp_path / "run", *SMALL, *flags]
    for dry in ([], ["--dry-run"]):
        said = fails(capsys, "build", *asked, *dry)
        assert "needs log-probabilities of prompts, which the endpoint of gpt-4.1-mini does not return" in said


def test_an_out_that_is_a_file(server, asking, capsys, tmp_path):
    (tmp_path / "run").write_text("not a folder")
    assert "cannot be written" in fails(capsys, "build", *asking)
    assert server.seen == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_out_that_cannot_be_written(server, asking, capsys, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "cannot be written" in fails(capsys, "build", *asking)
    assert server.seen == []


def own(folder, questions=3):
    rows = [
        {"question_id": f"q{n}", "question": f"What is eaten {n}?", "response": f"{culture} {n}", "culture": culture}
        for n in range(questions)
        for culture in ("uk", "mexico")
    ]
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("questions", "flags", "sentence"),
    [
        (3, ["--distinctiveness", "information", "--batch"], "needs log-probabilities"),
        (1, ["--representativeness", "information"], "information needs 3 answers of a culture"),
        (3, ["--representativeness", "in_context", "--validation", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_scores_of_a_table_before_its_vectors(server, capsys, tmp_path, questions, flags, sentence):
    table = own(tmp_path, questions)
    asked = ["--model", "scripted", "--base-url", server.url, "--embedder", "openai:m", "--theta", "0.7"]
    assert sentence in fails(capsys, "select", table, "--out", tmp_path / "run", *asked, *flags)
    assert server.seen == []


def test_a_validation_file_without_a_culture_of_the_table(server, capsys, tmp_path):
    asked = ["--model", "scripted", "--base-url", server.url, "--embedder", "openai:m", "--theta", "0.7"]
    flags = ["--representativeness", "in_context", "--validation", items(tmp_path, "UK")]
    assert "no question on mexico" in fails(capsys, "select", own(tmp_path), "--out", tmp_path / "run", *asked, *flags)
    assert server.seen == []


def test_an_address_without_a_model_that_scores(server, capsys, tmp_path):
    asked = ["--base-url", server.url, "--distinctiveness", "information"]
    said = fails(capsys, "select", own(tmp_path), "--out", tmp_path / "run", *asked)
    assert "given without a model" in said
    assert server.seen == []


def test_too_few_samples_to_calibrate_on(server, capsys, tmp_path):
    asked = ["--base-url", server.url, "--embedder", "openai:m"]
    said = fails(capsys, "calibrate", own(tmp_path), "--out", tmp_path / "run", *asked)
    assert "cultures of at least 100 samples, and there is none" in said
    assert server.seen == []


def test_a_release_that_cannot_go_to_the_hub(server, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "nobody"))
    asked = ["--model", "scripted", "--base-url", server.url, "--distinctiveness", "information"]
    select = ["select", own(tmp_path), "--out", tmp_path / "run", *asked]
    assert "needs a token of the Hub" in fails(capsys, *select, "--push", "me/ranked")
    assert "needs a token of the Hub" in fails(capsys, "quickstart", "--out", tmp_path / "run", "--push", "me/ranked")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for name in ("me/my/ranked", "ranked", "me/ran--ked"):
        said = fails(capsys, *select, "--push", name)
        assert f"{name!r} is no repository's name; write it as owner/name" in said
        assert "write it as owner/name" in fails(capsys, "build", *asked[:4], *SMALL, "--out", tmp_path, "--push", name)
    long = "me/" + "x" * 97
    said = fails(capsys, "quickstart", "--out", tmp_path / "run", "--push", long)
    assert f"'{long}' is no repository's name" in said
    (tmp_path / "run" / "release").mkdir(parents=True)
    (tmp_path / "run" / "release" / "thesis.txt").write_text("mine")
    assert "is not empty and holds no release.json" in fails(capsys, *select, "--push", "me/ranked")
    assert server.seen == []


def test_a_plan_of_select_makes_no_folder(capsys, tmp_path):
    assert "no finished candidates table" in fails(capsys, "select", "--out", tmp_path / "run", "--dry-run")
    assert not (tmp_path / "run").exists()


def test_what_the_model_needs(server, capsys, tmp_path):
    out = ["--out", tmp_path / "run", *SMALL]
    assert "OPENAI_API_KEY is not set" in fails(capsys, "build", "--model", "gpt-4.1-mini", *out)
    assert "has no Batch API" in fails(capsys, "build", "--batch", *out)


@pytest.mark.parametrize(("flags", "told"), [([], False), (["--no-contrast"], False), (["--contrast"], True)])
def test_at_temperature_0_a_culture_that_is_shown_cannot_be_compared(server, asking, caplog, flags, told):
    flags = [*flags, "--temperature", "0"] if flags else flags
    cli.main(["synthesize", *map(str, asking), *flags, "--dry-run"])
    assert ("at temperature 0 an answer is the same" in caplog.text) is told
