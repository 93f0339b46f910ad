"""`caredio export`: what is merged answers as the adapter on its base does, and what other programs read of it."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import caredio
from caredio import checkpoints, cli
from caredio.errors import InputError
from caredio.training import export

pytest.importorskip("peft")

_SHARED = Path(__file__).parents[1] / "recipes" / "conftest.py"
_spec = importlib.util.spec_from_file_location("recipe_fixtures_of_export", _SHARED)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
tiny = _shared.tiny


def adapter(base, folder, rank=4, dtype=None, **config):
    """An adapter with random weights on a base, as a recipe leaves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype or "auto")
    wanted = {"r": rank, "lora_alpha": 2 * rank, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
    model = get_peft_model(model, LoraConfig(**wanted))
    torch.manual_seed(1)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    record = {
        "recipe": "sft",
        "method": "lora",
        "base_model": str(base),
        "base_sha256": checkpoints.weights_sha256(Path(base)),
    }
    (folder / "training.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A folder with an adapter for each of two cultures."""
    folder = tmp_path_factory.mktemp("models")
    adapter(tiny, folder / "china")
    adapter(tiny, folder / "japan", rank=24)
    return folder


def logits(model, tokenizer):
    import torch

    chat = [{"role": "user", "content": "What is eaten at a wedding?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        return model(**inputs).logits


def test_the_merged_model_answers_as_the_adapter_on_its_base(tiny, trained, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = caredio.export(trained / "china", to=tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(tiny)
    raw = logits(base, AutoTokenizer.from_pretrained(tiny))
    wanted = logits(PeftModel.from_pretrained(base, trained / "china"), AutoTokenizer.from_pretrained(tiny))
    found = logits(
        AutoModelForCausalLM.from_pretrained(made.path, dtype="auto"), AutoTokenizer.from_pretrained(made.path)
    )
    assert torch.allclose(found, wanted, atol=1e-4)
    assert (wanted - raw).abs().max() > 0.1  # the adapter does something
    record = json.loads((made.path / "training.json").read_text())
    assert record["recipe"] == "sft"
    assert record["merged"]["base_sha256"] == checkpoints.weights_sha256(tiny)
    assert not checkpoints.is_adapter(made.path)


def test_the_merged_model_keeps_the_dtype_of_its_base(tiny, tmp_path):
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM, AutoTokenizer

    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(half)
    made = caredio.export(adapter(half, tmp_path / "adapter", dtype=torch.float32), to=tmp_path / "out")
    with safe_open(made.path / "model.safetensors", "pt") as held:
        assert {held.get_tensor(name).dtype for name in held.keys()} == {torch.bfloat16}  # noqa: SIM118


def test_the_merged_folder_holds_what_converters_to_gguf_read(tiny, trained, tmp_path):
    """convert_hf_to_gguf.py reads config.json, model*.safetensors and the tokenizer; gguf its special tokens."""
    from gguf.vocab import SpecialVocab

    made = caredio.export(trained / "china", to=tmp_path / "out")
    config = json.loads((made.path / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]  # under the names of transformers 4 and 5
    tokenizer = json.loads((made.path / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert isinstance(tokenizer.get("extra_special_tokens", {}), dict)
    read = SpecialVocab(made.path, load_merges=True, n_vocab=config["vocab_size"])
    assert read.chat_template == (tiny / "chat_template.jinja").read_text()
    assert read.special_token_ids["eos"] == config["eos_token_id"]
    assert read.merges
    assert f"convert_hf_to_gguf.py {made.path}" in str(made)


def test_adapters_are_laid_out_for_a_server_of_several(tiny, trained, tmp_path, capsys):
    from safetensors.numpy import load_file

    cli.main(["export", str(trained), "--adapter", "--to", str(tmp_path / "out")])
    folder, line = capsys.readouterr().out.strip().splitlines()
    assert folder == f"{tmp_path}/out/"
    modules = f"china={tmp_path}/out/china japan={tmp_path}/out/japan"
    flags = "--enable-lora --max-lora-rank 32 --max-loras 2"  # the least of vLLM's ranks that hold 24
    assert line.strip() == f"vllm serve {tiny} {flags} --lora-modules {modules}"
    for name, rank in (("china", 4), ("japan", 24)):
        place = tmp_path / "out" / name
        config = json.loads((place / "adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["r"], config["peft_type"]) == (str(tiny), rank, "LORA")
        held, kept = (load_file(at / "adapter_model.safetensors") for at in (place, trained / name))
        assert held.keys() == kept.keys()
        assert json.loads((place / "tokenizer_config.json").read_text())["tokenizer_class"] != "TokenizersBackend"


def test_an_export_that_is_there_is_not_made_again_and_a_changed_adapter_is(tiny, trained, tmp_path):
    place = shutil.copytree(trained / "china", tmp_path / "china")
    made = caredio.export(place, to=tmp_path / "out")
    before = (made.path / "model.safetensors").stat().st_mtime_ns
    caredio.export(place, to=tmp_path / "out")
    assert (made.path / "model.safetensors").stat().st_mtime_ns == before
    shutil.copyfile(trained / "japan" / "adapter_model.safetensors", place / "adapter_model.safetensors")
    shutil.copyfile(trained / "japan" / "adapter_config.json", place / "adapter_config.json")
    caredio.export(place, to=tmp_path / "out")
    assert (made.path / "model.safetensors").stat().st_mtime_ns != before


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"use_dora": True}, r"is DoRA \(use_dora\), which vLLM does not serve"),
        ({"modules_to_save": ["lm_head"]}, r"holds whole layers"),
        ({"bias": "all"}, r"holds biases"),
        ({"rank_pattern": {"q_proj": 2}}, r"ranks or scales of its own"),
        ({"r": 1024}, r"has rank 1024, above 512"),
    ],
)
def test_what_vllm_does_not_serve_is_refused(change, match, trained, tmp_path):
    place = shutil.copytree(trained / "china", tmp_path / "china")
    config = json.loads((place / "adapter_config.json").read_text()) | change
    (place / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=match):
        export.servable({"china": place}, config["base_model_name_or_path"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_one_sentence(tiny, trained, tmp_path, capsys):
    def said(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["export", *map(str, arguments)])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    tuned = tmp_path / "tuned"
    tuned.mkdir()
    (tuned / "finetune.json").write_text('{"model": "ft:gpt-4.1:me"}')
    assert "kept by the API that tuned it, so there are no weights to export" in said(tuned, "--to", tmp_path / "out")
    assert "holds a whole model, and no adapter" in said(tiny, "--to", tmp_path / "out")
    assert "is no folder" in said(tmp_path / "nowhere", "--to", tmp_path / "out")
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    assert "holds no adapter" in said(full, "--to", tmp_path / "out")
    assert "is not empty and holds no export.json" in said(trained / "china", "--to", full)
    assert (full / "notes.txt").read_text() == "mine"
    other = shutil.copytree(tiny, tmp_path / "other")
    held = json.loads((other / "config.json").read_text()) | {"rms_norm_eps": 0.5}
    (other / "config.json").write_text(json.dumps(held))
    assert "was trained on other weights" in said(trained / "china", "--to", tmp_path / "out", "--base", other)
    assert not (tmp_path / "out").exists()
