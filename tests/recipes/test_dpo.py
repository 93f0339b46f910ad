"""What dpo.py learns and leaves behind, from a base model and on top of sft.py's adapter."""

import json

import pytest
from safetensors.torch import load_file


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_lora_learns_from_the_base_model(dpo, flags, tiny, tmp_path):
    trainer = dpo.train(flags("dpo-lora.yaml", "--budget", "3", model=tiny, stage="preference"))
    assert trainer.ref_model is None
    assert all(learned.abs().max() > 0 for name, learned in adapter(tmp_path / "out").items() if "lora_B" in name)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["recipe"], record["method"], record["budget"], record["rows"]) == ("dpo", "lora", 3, 6)
    assert record["hyperparameters"]["beta"] == 0.1
    assert record["hyperparameters"]["loss_type"] == ["sigmoid"]
    assert record["hyperparameters"]["precompute_ref_log_probs"] is True


def test_an_sft_adapter_is_trained_on(sft, dpo, flags, tiny, tmp_path):
    sft.train(flags("sft-lora.yaml", model=tiny, out="sft"))
    more = ("--adapter", str(tmp_path / "sft"))
    trainer = dpo.train(flags("dpo-lora.yaml", *more, model=tiny, stage="preference"))
    before, after = adapter(tmp_path / "sft"), adapter(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before)
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)  # ln 2: the reference is the adapter as it came
    assert not list((tmp_path / "out").rglob("ref"))
    assert json.loads((tmp_path / "out" / "training.json").read_text())["adapter"] == str(tmp_path / "sft")


def test_ranked_rows_are_not_for_dpo(dpo, flags):
    from caredio.errors import InputError

    with pytest.raises(InputError, match="column chosen, rejected is missing"):
        dpo.train(flags("dpo-lora.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("embedded_home")
def test_the_packaged_model_goes_from_sft_to_dpo(sft, dpo, flags, tmp_path):
    model = "SmolLM2-135M-Instruct"
    sft.train(flags("sft-lora.yaml", model=model, out="sft"))
    dpo.train(flags("dpo-lora.yaml", "--adapter", str(tmp_path / "sft"), model=model, stage="preference"))
    assert not list((tmp_path / "out").rglob("ref"))
