"""What kto.py learns, in which order it reads, and what it leaves behind."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from caredio.errors import InputError
from caredio.training import rows
from caredio.training.flags import parse
from caredio.training.recipe import KTO


@pytest.fixture
def argv(flags, tiny):
    def of(*more, **where):
        return flags("kto-lora.yaml", *more, **{"model": tiny, "stage": "unpaired", **where})

    return of


def read(argv):
    """Rank and label of the rows in the order in which they are trained on."""
    table, _ = rows.tables(KTO, parse(KTO, argv))
    return list(zip(table["rank"], table["label"], table["completion"], strict=True))


def test_rows_are_shuffled_by_seed_and_none_is_lost(argv):
    first, again, other = (read(argv("--seed", seed)) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other
    assert len(first) == len(other) == 18  # of 6 questions: China's answer, Japan's and Nigeria's
    assert sorted(map(str, first)) == sorted(map(str, other))
    ranks = [rank for rank, _, _ in first]
    assert ranks != sorted(ranks)  # the table is best first


def test_the_trainer_reads_that_order_and_lora_learns(kto, argv, tmp_path):
    more = ("--desirable_weight", "1.0")
    trainer = kto.train(argv(*more))
    texts = [trainer.processing_class.decode(tokens) for tokens in trainer.train_dataset["completion_ids"]]
    assert trainer.args.train_sampling_strategy == "sequential"
    shutil.move(tmp_path / "out", tmp_path / "done")
    assert texts == [f"{answer[0]['content']}<|im_end|>\n" for _, _, answer in read(argv(*more))]
    learned = load_file(tmp_path / "done" / "adapter_model.safetensors")
    assert all(weight.abs().max() > 0 for name, weight in learned.items() if "lora_B" in name)
    record = json.loads((tmp_path / "done" / "training.json").read_text())
    assert (record["recipe"], record["method"], record["rows"]) == ("kto", "lora", 18)
    assert record["result"]["first_loss"] == pytest.approx(0.5, abs=1e-4)  # 1 - sigmoid(0): nothing has moved


def test_both_kinds_of_answers_count_alike_unless_a_weight_is_given(kto, argv, tmp_path):
    trainer = kto.train(argv())
    assert trainer.args.desirable_weight == 2.0  # 6 answers of its own, 12 of others
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["hyperparameters"]["desirable_weight"] == 2.0


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
