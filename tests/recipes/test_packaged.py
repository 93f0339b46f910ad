"""The packaged model by every recipe, and by QLoRA, from flags to what loads it again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from caredio import checkpoints
from caredio.errors import InputError
from caredio.llm import local
from caredio.training.recipe import RECIPES

MODEL = "SmolLM2-135M-Instruct"


def loaded(folder, scores):
    """What a recipe left, loaded as a user does: an adapter on the packaged base, or the model itself."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    more = {"num_labels": 1} if scores else {}
    if checkpoints.is_adapter(folder):
        return PeftModel.from_pretrained(kind.from_pretrained(local.model_path(), **more), folder)
    return kind.from_pretrained(folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("embedded_home")
@pytest.mark.parametrize("config", ["sft-full", *(f"{name}-lora" for name in RECIPES)])
def test_the_packaged_model_trains_loads_and_is_named_as_on_the_hub(request, flags, tmp_path, config):
    recipe = RECIPES[config.partition("-")[0]]
    request.getfixturevalue(recipe.name).train(flags(f"{config}.yaml", model=MODEL, stage=recipe.table))
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "Q4_1" in record["base_weights"]
    assert record["result"]["first_loss"] < 6
    if record["method"] == "lora":
        adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"] == record["base_model"]
    scores = recipe.name == "reward"
    logits = loaded(tmp_path / "out", scores)(input_ids=torch.tensor([[1, 2, 3]])).logits
    assert logits.shape == ((1, 1) if scores else (1, 3, 49152))
    assert logits.isfinite().all()
    if scores:
        with pytest.raises(InputError, match="is a preference model"):
            measurable(tmp_path / "out")
    else:
        assert measurable(tmp_path / "out")


def measurable(folder):
    """Whether `caredio evaluate` can ask what a recipe left."""
    from caredio import cultures
    from caredio.evaluation import systems

    known = cultures.load()
    china = next(culture for culture in known.values() if culture.slug == "china")
    found, _ = systems.subjects([systems.trained(folder, str(local.model_path()), ["china"])], [china])
    subject = found[0]
    model = systems.Loader("cpu").model(subject.model)
    if subject.adapter is None:
        return model
    with systems.with_adapter(model, subject.adapter) as adapted:
        return adapted


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("embedded_home")
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_qlora_of_the_packaged_model_trains_on_the_cpu(request, flags, tmp_path, recipe):
    scores = recipe.name == "reward"
    more = ["--load_in_4bit", *(["--dtype", "bfloat16"] if scores else [])]
    more += ["--precompute_ref_log_probs", "false"] if recipe.name in ("dpo", "kto") else []
    argv = flags(f"{recipe.name}-lora.yaml", *more, model=MODEL, stage=recipe.table)
    trainer = request.getfixturevalue(recipe.name).train(argv)
    assert trainer.model.get_base_model().is_loaded_in_4bit
    learned = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert not [name for name, weight in learned.items() if "lora_B" in name and not weight.any()]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["method"] == "qlora"
    assert record["result"]["first_loss"] < 6
    assert loaded(tmp_path / "out", scores)
    if scores:
        (score,) = (weight for name, weight in learned.items() if "score" in name)
        assert score.shape == (1, 576)  # trained whole, and not in four bits


def test_a_quantized_score_wants_bfloat16(reward, flags):
    with pytest.raises(InputError, match="add --dtype bfloat16"):
        reward.train(flags("reward-lora.yaml", "--load_in_4bit", stage="preference"))


@pytest.mark.parametrize("more", [("--precompute_ref_log_probs", "true"), ("--eval_strategy", "epoch")])
def test_a_quantized_model_is_not_evaluated_before_it_learns_on_a_cpu(dpo, flags, more):
    off = ("--precompute_ref_log_probs", "false", "--load_in_4bit")
    with pytest.raises(InputError, match="learns nothing more once it was evaluated"):
        dpo.train(flags("dpo-lora.yaml", *off, *more, stage="preference"))
