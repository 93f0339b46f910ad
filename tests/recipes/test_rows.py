"""General chats replayed beside a culture's rows."""

import json
from pathlib import Path

import pytest
import yaml
from datasets import Dataset

from caredio.errors import InputError
from caredio.training import rows
from caredio.training.flags import parse
from caredio.training.recipe import DPO, SFT


def turn(role, text):
    return {"role": role, "content": text}


@pytest.fixture
def replay(tmp_path, flags):
    """The flags of a recipe whose YAML replays `table` with `fraction`."""

    def of(table, fraction, *more, config="sft-lora.yaml", **where):
        (tmp_path / "general").mkdir()
        table.to_parquet(tmp_path / "general" / "train.parquet")
        argv = flags(config, **where)
        known = yaml.safe_load(Path(argv[1]).read_text(encoding="utf-8"))
        known["datasets"] = [{"path": str(tmp_path / "general"), "fraction": fraction}]
        (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(known))
        return ["--config", str(tmp_path / "mixed.yaml"), *argv[2:], *more]

    return of


ANSWERS = {"chosen": "Yes.", "rejected": "No."}
CHATS = Dataset.from_list(
    [
        {"messages": [turn("user", f"{n}?"), turn("assistant", "."), turn("user", "Sure?"), turn("assistant", "Yes.")]}
        for n in range(40)
    ]
    + [{"messages": [turn("user", "Nobody answers.")]}]
)


@pytest.mark.parametrize(("fraction", "replayed"), [(0.25, 2), (0.5, 6), (0.75, 18)])  # 6 rows are what it leaves
def test_the_fraction_is_the_share_and_all_rows_of_the_culture_stay(sft, replay, tiny, tmp_path, fraction, replayed):
    trainer = sft.train(replay(CHATS, fraction, model=tiny))
    assert len(trainer.train_dataset) == 6 + replayed
    text = [trainer.processing_class.decode(tokens) for tokens in trainer.train_dataset["input_ids"]]
    assert sum("praises the meal" in row for row in text) == 6
    assert sum("Sure?<|im_end|>\n<|im_start|>assistant\nYes." in row for row in text) == replayed
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert [(part["rows"], part["share"]) for part in record["mixture"]] == [(6, 1 - fraction), (replayed, fraction)]
    assert [part["dataset"].rpartition("/")[2] for part in record["mixture"]] == ["ranked", "general"]
    assert record["rows"] == 6


def test_a_chat_is_learned_at_its_last_answer(replay):
    (found,) = rows.replays(SFT, parse(SFT, replay(CHATS, 0.5)), 6)
    for row in found.rows:
        assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
        assert row["completion"] == [turn("assistant", "Yes.")]
    drawn = [row["prompt"][0]["content"] for row in found.rows]
    assert drawn != [f"{n}?" for n in range(6)]  # published chats are sorted by where they come from


def test_pairs_may_hold_the_prompt_in_both_sides(replay):
    pairs = Dataset.from_list(
        [
            {
                "chosen": [turn("user", "?"), turn("assistant", "Yes.")],
                "rejected": [turn("user", "?"), turn("assistant", "No.")],
            }
            for _ in range(9)
        ]
    )
    argv = replay(pairs, 0.25, config="dpo-lora.yaml", stage="preference")
    (found,) = rows.replays(DPO, parse(DPO, argv), 12)
    assert found.rows[:1] == {
        "prompt": [[turn("user", "?")]],
        "chosen": [[turn("assistant", "Yes.")]],
        "rejected": [[turn("assistant", "No.")]],
    }
    assert len(found.rows) == 4


def test_fewer_rows_than_wanted_are_all_taken_and_told(replay, caplog):
    (found,) = rows.replays(SFT, parse(SFT, replay(CHATS.select(range(3)), 0.5)), 6)
    assert len(found.rows) == 3
    assert "has 3 rows, and a fraction of 0.5 wants 6" in caplog.text


@pytest.mark.parametrize(
    ("table", "fraction", "told"),
    [
        (CHATS, 1.0, "needs a `fraction` above 0"),
        (CHATS, "half", "needs a `fraction` above 0"),
        (Dataset.from_dict({"text": ["Tea."]}), 0.5, "column prompt, completion is missing; found text"),
        (Dataset.from_dict({"prompt": ["Tea?"] * 9, "completion": ["Tea."] * 9}), 0.5, "are no rows of one kind"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(sft, replay, tiny, table, fraction, told):
    with pytest.raises(InputError, match=told):
        sft.train(replay(table, fraction, model=tiny))
