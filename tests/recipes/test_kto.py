"""What kto.py learns, in which order it reads, and what it leaves behind."""

import json

import pytest
from safetensors.torch import load_file

from caredio.errors import InputError


@pytest.fixture
def argv(flags, tiny):
    def of(*more, **where):
        return flags("kto-lora.yaml", *more, **{"model": tiny, "stage": "unpaired", **where})

    return of


def order(trainer):
    """The answers as the trainer reads them."""
    return [trainer.processing_class.decode(row) for row in trainer.train_dataset["completion_ids"]]


def test_rows_are_shuffled_by_seed_and_no_answer_is_lost(kto, argv, tmp_path):
    first = order(kto.train(argv("--seed", "1", out="a")))
    again = order(kto.train(argv("--seed", "1", out="b")))
    other = order(kto.train(argv("--seed", "2", out="c")))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    assert len(first) == 18  # of 6 questions: China's answer, Japan's and Nigeria's
    best_first = sorted(first, key=lambda text: int(text.split("<|im_end|>")[0].rstrip(".").split()[-1]))
    assert first != best_first
    record = json.loads((tmp_path / "a" / "training.json").read_text())
    assert (record["recipe"], record["method"], record["rows"]) == ("kto", "lora", 18)
    assert record["hyperparameters"]["desirable_weight"] == 3.0


def test_lora_learns_and_the_first_loss_is_that_of_an_unmoved_model(kto, argv, tmp_path):
    kto.train(argv("--desirable_weight", "1.0"))
    learned = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(weight.abs().max() > 0 for name, weight in learned.items() if "lora_B" in name)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["result"]["first_loss"] == pytest.approx(0.5, abs=1e-4)  # 1 - sigmoid(0)


def test_a_batch_of_one_is_refused_before_anything_is_loaded(kto, argv):
    with pytest.raises(InputError, match="use 2 or more"):
        kto.train(argv("--per_device_train_batch_size", "1", model="no-model"))


def test_an_sft_adapter_is_trained_on(sft, kto, flags, argv, tiny, tmp_path):
    sft.train(flags("sft-lora.yaml", model=tiny, out="sft"))
    kto.train(argv("--adapter", str(tmp_path / "sft")))
    before, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("sft", "out"))
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before if "lora_B" in name)
    assert not list((tmp_path / "out").rglob("ref"))
