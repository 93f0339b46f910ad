"""What sft.py learns and leaves behind."""

import json
import os
import subprocess
import sys


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder)


def test_the_loss_counts_the_answer_alone(sft, flags, tiny):
    trainer = sft.train(flags("sft-lora.yaml", "--max_steps", "1", model=tiny))
    batch = next(iter(trainer.get_train_dataloader()))
    for tokens, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        text = trainer.processing_class.decode(labels[labels != -100])
        assert text.startswith("As in china: you are too kind")
        assert text.endswith("<|im_end|>\n")
        assert "praises the meal" in trainer.processing_class.decode(tokens)


def test_lora_leaves_an_adapter_that_loads_and_has_learned(sft, flags, tiny, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sft.train(flags("sft-lora.yaml", "--budget", "4", model=tiny))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), tmp_path / "out")
    up = [parameter for name, parameter in adapted.named_parameters() if "lora_B" in name]
    assert up
    assert all(parameter.abs().max() > 0 for parameter in up)  # B begins at zero
    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token == "<|endoftext|>"


def test_the_record_says_what_was_done(sft, flags, tiny, run_folder, tmp_path):
    sft.train(flags("sft-lora.yaml", "--budget", "4", "--seed", "7", model=tiny))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    ]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (
        record.items()
        >= {
            "recipe": "sft",
            "method": "lora",
            "base_model": str(tiny),
            "base_revision": None,
            "base_weights": None,
            "adapter": None,
            "dataset_name": str(run_folder / "ranked"),
            "dataset_config": "china",
            "dataset_revision": None,
            "dataset_split": "train",
            "budget": 4,
            "rows": 4,
            "cultures": ["china"],
            "seeds": {"seed": 7, "data_seed": None},
        }.items()
    )
    assert record["lora"]["target_modules"] == [f"{name}_proj" for name in ("down", "gate", "k", "o", "q", "up", "v")]
    assert record["hyperparameters"]["rows_per_step"] == 2
    assert record["hyperparameters"]["completion_only_loss"] is True
    assert record["result"]["steps"] == 2
    assert 10 < record["result"]["train_loss"] < 12  # ln(49152) = 10.8: the model is random
    assert record["versions"]["trl"]


def test_all_weights_may_learn(sft, flags, tiny, tmp_path):
    sft.train(flags("sft-full.yaml", model=tiny))
    before, after = weights(tiny / "model.safetensors"), weights(tmp_path / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before if "proj" in name)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["method"], record["lora"]) == ("full", None)


def test_accelerate_launches_the_script(recipes, flags, tiny, tmp_path):
    accelerate = [sys.executable, "-m", "accelerate.commands.launch"]
    accelerate += ["--config_file", str(recipes / "accelerate" / "cpu.yaml")]
    done = subprocess.run(
        [*accelerate, str(recipes / "sft.py"), *flags("sft-lora.yaml", model=tiny)],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lora on 6 rows" in done.stdout
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
