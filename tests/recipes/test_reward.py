"""What reward.py learns, and that what it leaves scores answers outside of it."""

import json

import pytest
import torch
from safetensors.torch import load_file

from caredio import checkpoints
from caredio.errors import InputError


@pytest.fixture
def argv(flags, tiny):
    def of(*more, **where):
        return flags("reward-lora.yaml", *more, **{"model": tiny, "stage": "preference", **where})

    return of


def chats(tokenizer, *answers):
    asked = {"role": "user", "content": "A guest praises the meal, case 1. What do you say?"}
    texts = [[asked, {"role": "assistant", "content": answer}] for answer in answers]
    return tokenizer.apply_chat_template(texts, padding=True, return_tensors="pt", return_dict=True)


OWN, OTHER = "As in china: you are too kind, 1.", "As in japan: thanks, 1."


def test_an_adapter_loads_through_peft_and_scores_as_the_trainer_does(reward, argv, tiny, tmp_path):
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoTokenizer

    trainer = reward.train(argv("--max_steps", "12", "--learning_rate", "1e-2"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    loaded = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "out", num_labels=1).eval()
    texts = chats(tokenizer, OWN, OTHER)
    with torch.no_grad():
        own, other = loaded(**texts).logits.squeeze(1)
        assert torch.equal(trainer.model.eval()(**texts).logits.squeeze(1), torch.stack([own, other]))
    assert own > other
    saved = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert any("score" in name for name in saved)
    with pytest.raises(InputError, match="is a preference model: it scores answers and writes none"):
        checkpoints.check_adapter(str(tmp_path / "out"), str(tiny), trainer.model.config)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["recipe"], record["method"], record["rows"]) == ("reward", "lora", 12)
    assert record["result"]["last_loss"] < record["result"]["first_loss"]


def test_all_weights_load_as_a_classifier_with_one_number(reward, argv, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    reward.train(argv("--use_peft", "false"))
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    with pytest.raises(InputError, match="is a preference model"):
        checkpoints.check_model(str(tmp_path / "out"))
    assert loaded.config.num_labels == 1
    assert loaded(**chats(AutoTokenizer.from_pretrained(tmp_path / "out"), OWN, OTHER)).logits.shape == (2, 1)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["method"] == "full"


def test_an_adapter_of_another_recipe_is_refused(reward, argv):
    with pytest.raises(InputError, match="a preference model begins anew"):
        reward.train(argv("--adapter", "anything"))
