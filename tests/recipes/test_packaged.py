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
    with systems._with_adapter(model, subject.adapter) as adapted:
        return adapted


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("embedded_home")
def test_qlora_of_the_packaged_model_trains_on_the_cpu(sft, flags, tmp_path):
    trainer = sft.train(flags("sft-lora.yaml", "--load_in_4bit", model=MODEL))
    assert trainer.model.get_base_model().is_loaded_in_4bit
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["method"] == "qlora"
    assert record["result"]["first_loss"] < 6
    assert loaded(tmp_path / "out", False)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_qlora_learns_by_every_recipe(request, flags, tiny, tmp_path, recipe):
    train = request.getfixturevalue(recipe.name).train
    trainer = train(flags(f"{recipe.name}-lora.yaml", "--load_in_4bit", model=tiny, stage=recipe.table))
    assert trainer.model.get_base_model().is_loaded_in_4bit
    learned = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(weight.abs().max() > 0 for name, weight in learned.items() if "lora_B" in name)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["method"] == "qlora"
    if recipe.name == "reward":
        (score,) = (weight for name, weight in learned.items() if "score" in name)
        assert score.shape == (1, 32)  # trained whole, and not in four bits
