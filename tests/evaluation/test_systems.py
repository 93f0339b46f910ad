"""What models, adapters, tokenizers and folders lack, known before any weights are loaded."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import caredio
from caredio import checkpoints, prompts
from caredio.errors import InputError
from caredio.evaluation import systems
from caredio.evaluation.results import evaluate, format_table
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import System
from caredio.evaluation.table import build

SAMPLE = Settings(culturalbench="sample", limit=2, device="cpu")
NO_SYSTEM = (  # as Gemma 2's
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LEFT_OUT = "<start_of_turn>user\n{{ messages[-1].content }}<end_of_turn>\n<start_of_turn>model\n"
PART = prompts.load("systems").part("system", adjective="Chinese")


def copy(source: Path, folder: Path, **tokenizer: Any) -> Path:
    """A model's folder with another tokenizer."""
    shutil.copytree(source, folder)
    made = AutoTokenizer.from_pretrained(folder)
    for name, value in tokenizer.items():
        setattr(made, name, value)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    made.save_pretrained(folder)
    return folder


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers loads no weights in this test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)


def measure(out: Path, model: Path, trained: Path | None = None, cultures: tuple[str, ...] = ("china",)) -> Any:
    settings: dict[str, Any] = {"culturalbench": "sample", "limit": 2, "device": "cpu"}
    return caredio.evaluate(cultures, out=out, model=str(model), trained=trained, **settings).results


@pytest.mark.parametrize("template", [NO_SYSTEM, LEFT_OUT], ids=["refuses", "leaves out"])
def test_a_template_without_system_has_the_part_lead_the_question(
    tiny: Path, tmp_path: Path, template: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    likelihoods = HFLM.loglikelihood

    def overheard(self: HFLM, requests: list[Any], **how: Any) -> Any:
        asked.extend(request.args[0] for request in requests)
        return likelihoods(self, requests, **how)

    monkeypatch.setattr(HFLM, "loglikelihood", overheard)
    model = copy(tiny, tmp_path / "model", chat_template=template)
    with caplog.at_level(logging.INFO, "caredio"):
        table = measure(tmp_path / "run", model)
    assert {"raw", "role-play"} < set(table["system"])
    note = f"role-play: the chat template of {str(model)!r} takes no system message; its part leads the question."
    messages = [record.message for record in caplog.records]
    assert messages.index(note) < next(n for n, line in enumerate(messages) if line.startswith("results"))
    assert format_table(table).splitlines()[-1] == note
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["stages"]["results"]["measured"][0]["left_out"] == [note]
    led = [text for text in asked if PART in text]
    bare = [text for text in asked if PART not in text]
    assert len(led) == len(bare) > 0
    assert {text.replace(f"{PART}\n\n", "") for text in led} == set(bare)
    assert all(text.startswith(f"<start_of_turn>user\n{PART}\n\n") for text in led)


@pytest.mark.usefixtures("no_weights")
def test_a_model_without_template_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    model = copy(tiny, tmp_path / "model", chat_template=None)
    with pytest.raises(InputError, match=r"has no chat template; give a model that .* chat_template\.jinja") as caught:
        measure(tmp_path / "run", model)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_weights")
def test_a_template_that_takes_no_question_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    model = copy(tiny, tmp_path / "model", chat_template="{{ raise_exception('never') }}")
    with pytest.raises(InputError, match=r"takes no question \(never\)"):
        measure(tmp_path / "run", model)


def test_an_adapter_that_brings_its_template_is_measured_on_a_base_without(
    tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    model = copy(tiny, tmp_path / "model", chat_template=None)
    china = tmp_path / "trained" / "china"
    shutil.copytree(adapter, china)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(china)
    table = measure(tmp_path / "run", model, tmp_path / "trained")
    assert {"raw", "role-play"}.isdisjoint(table["system"])
    same = evaluate([System("trained", str(tiny), {"china": str(adapter)})], ["china"], SAMPLE)
    mine, theirs = ([row["value"] for row in rows if row["system"] == "trained"] for rows in (list(table), list(same)))
    assert mine == theirs
    assert len(mine) == 3


def other_base(folder: Path, seed: int = 5, **changed: Any) -> Path:
    import torch

    torch.manual_seed(seed)
    kinds = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=257, **kinds | changed)).save_pretrained(folder)
    return folder


def adapter_for(base: Path, folder: Path) -> Path:
    layers = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"])
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), layers).save_pretrained(folder)
    return folder


def wrongs() -> dict[str, tuple[Callable[[Path, Path, Path], Any], str]]:
    """By name: what makes a wrong `trained` folder out of (folder, base, adapter), and the sentence for it."""

    def nothing(folder: Path, base: Path, adapter: Path) -> None:
        pass

    def file(folder: Path, base: Path, adapter: Path) -> None:
        folder.write_text("?")

    def japan(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(adapter, folder / "japan")

    def without_weights(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(adapter, folder / "china")
        (folder / "china" / "adapter_model.safetensors").unlink()

    def cut_off(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(adapter, folder / "china")
        weights = folder / "china" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])

    def no_json(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(adapter, folder / "china")
        (folder / "china" / "adapter_config.json").write_text("{")

    def wider(folder: Path, base: Path, adapter: Path) -> None:
        adapter_for(other_base(folder.with_name("wide"), hidden_size=64), folder / "china")

    def deeper(folder: Path, base: Path, adapter: Path) -> None:  # PEFT would take it, and leave two layers out
        adapter_for(other_base(folder.with_name("deep"), num_hidden_layers=4), folder / "china")

    def other_weights(folder: Path, base: Path, adapter: Path) -> None:
        adapter_for(other_base(folder.with_name("other")), folder / "china")

    def other_weights_by_record(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(adapter, folder / "china")
        (folder / "china" / "training.json").write_text('{"base_sha256": "0"}')

    def no_tokenizer(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(base, folder)
        (folder / "tokenizer.json").unlink()

    def only_a_config(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(base, folder)
        (folder / "model.safetensors").unlink()

    def checkpoint(folder: Path, base: Path, adapter: Path) -> None:
        shutil.copytree(adapter, folder / "china" / "checkpoint-5")

    return {
        "missing": (nothing, "is no folder; name one that a recipe wrote"),
        "file": (file, "is no folder"),
        "empty": (lambda folder, *_: folder.mkdir(), "holds no trained model and no folder of one for a culture"),
        "checkpoint": (checkpoint, "holds no trained model"),
        "other culture": (japan, "holds japan, and nothing for china"),
        "no weights": (without_weights, "holds no weights"),
        "cut off": (cut_off, r"adapter_model\.safetensors: is damaged"),
        "no JSON": (no_json, "cannot be put on the model"),
        "wider": (wider, "was made for another model than"),
        "deeper": (deeper, "was made for another model than"),
        "other weights": (other_weights, "was trained on other weights than those of"),
        "other weights by record": (other_weights_by_record, "was trained on other weights than those of"),
        "no tokenizer": (no_tokenizer, "holds no tokenizer"),
        "only a config": (only_a_config, "holds no weights"),
    }


@pytest.mark.parametrize("name", wrongs())
def test_a_wrong_trained_is_one_sentence_before_anything_is_measured(
    tiny: Path, adapter: Path, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    make, said = wrongs()[name]
    make(tmp_path / "trained", tiny, adapter)
    request.getfixturevalue("no_weights")
    with pytest.raises(InputError, match=said) as caught:
        measure(tmp_path / "run", tiny, tmp_path / "trained")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "results").exists()


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("tokenizer.json", "holds no tokenizer"),
        ("model.safetensors", "holds no weights"),
        ("config.json", "cannot be loaded"),
    ],
)
def test_a_wrong_base_is_one_sentence(tiny: Path, tmp_path: Path, broken: str, said: str) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    (tmp_path / "model" / broken).unlink()
    with pytest.raises(InputError, match=said) as caught:
        measure(tmp_path / "run", tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_weights")
def test_a_model_of_another_kind_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    for config in ('{"model_type": "clip_vision_model"}', '{"model_type": "nowhere"}', '{"hidden_size": 3}'):
        (tmp_path / "model" / "config.json").write_text(config)
        with pytest.raises(InputError, match="cannot be loaded") as caught:
            measure(tmp_path / "run", tmp_path / "model")
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_weights")
def test_a_tokenizer_or_an_adapter_in_the_models_place_is_one_sentence(
    tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    config = json.loads((tiny / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))
    with pytest.raises(InputError, match="its tokenizer has 257 tokens and is another model's, as this knows 200"):
        measure(tmp_path / "run", tmp_path / "model")
    with pytest.raises(InputError, match="is an adapter; name its base model here"):
        measure(tmp_path / "run", adapter)


def test_cultures_without_an_adapter_are_left_out_of_the_arm(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "trained" / "china")
    table = measure(tmp_path / "run", tiny, tmp_path / "trained", ("china", "japan"))
    assert {row["culture"] for row in table if row["system"] == "trained"} == {"china"}
    assert {row["culture"] for row in table if row["system"] == "raw"} == {"china", "japan"}
    assert format_table(table).splitlines()[-2:] == [
        "trained: left out for japan: no model for the culture was given.",
        "trained + role-play: left out for japan: no model for the culture was given.",
    ]
    assert "trained: left out for japan: no model for the culture was given." in build([tmp_path / "run"]).notes
    shutil.copytree(adapter, tmp_path / "later" / "japan")
    measure(tmp_path / "run", tiny, tmp_path / "later", ("japan", "egypt"))
    assert [note for note in build([tmp_path / "run"]).notes if "left out for" in note] == [
        "trained: left out for egypt: no model for the culture was given.",
        "trained + role-play: left out for egypt: no model for the culture was given.",
    ]


def test_one_adapter_or_a_full_model_a_culture_is_measured(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    for made in (adapter, shutil.copytree(tiny, tmp_path / "models" / "china").parent):
        table = measure(tmp_path / made.name, tiny, made)
        assert [row["culture"] for row in table if row["system"] == "trained"] == ["china"] * 3


def test_a_tokenizer_without_pad_or_end_token_answers_as_with_them(tiny: Path, tmp_path: Path) -> None:
    bare = copy(tiny, tmp_path / "model", pad_token=None, eos_token=None)
    assert AutoTokenizer.from_pretrained(bare).pad_token is None
    tables = [evaluate([System("raw", str(model))], ["china"], SAMPLE) for model in (tiny, bare)]
    one, other = ([row["value"] for row in table] for table in tables)
    assert one == other


def test_putting_an_adapter_on_warns_of_no_name_that_peft_still_uses(tiny: Path, adapter: Path) -> None:
    model = systems.Loader("cpu").model(str(tiny))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with systems.with_adapter(model, str(adapter)) as adapted:
            assert adapted.peft_config
    assert [str(one.message) for one in seen if one.category is FutureWarning] == []


def test_answers_that_are_drawn_are_the_same_again(tiny: Path, tmp_path: Path) -> None:
    row = {"culture": "China", "question": "How often?", "options": ["daily", "never"], "shares": [0.7, 0.3]}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    declared = tmp_path / "own.yaml"
    declared.write_text("name: survey\ntitle: Survey\nkind: distribution\nfile: own.jsonl\nlicence: mit\n")
    said = []
    for name in ("a", "b"):
        asked = {"benchmarks": f"{declared}:generated", "model": str(tiny), "device": "cpu"}
        caredio.evaluate(["china"], out=tmp_path / name, **asked)
        files = [
            file
            for file in (tmp_path / name / "samples").rglob("samples_*.jsonl")
            if json.loads(next(file.parent.glob("results_*")).read_text())["caredio"]["system"] == "raw"
        ]
        said.append(json.loads(files[0].read_text())["resps"])
    assert said[0] == said[1]
    assert len({reply for (reply,) in said[0]}) > 1  # ten draws


def test_the_arms_are_found_by_files_alone(tiny: Path, adapter: Path) -> None:
    assert checkpoints.is_adapter(adapter)
    assert not checkpoints.is_adapter(tiny)
    assert not checkpoints.has_tokenizer(adapter)
