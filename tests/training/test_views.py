"""Ranked rows as SFT and preference tables, and that TRL's own helpers read them."""

import pytest
from datasets import Dataset

from caredio import features
from caredio.errors import InputError
from caredio.training import views

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def message(role, text):
    return [{"role": role, "content": text}]


def ranked(*rows):
    """Rows written as (sample_id, culture, rank, response, {other culture: response})."""
    records = [
        {
            **dict.fromkeys(features.RANKED),
            "sample_id": name,
            "question_id": f"q-{name}",
            "culture": culture,
            "rank": place,
            "response": response,
            "others": [
                {"culture": other, "sample_id": f"{name}-{other}", "response": text, "shown": False}
                for other, text in others.items()
            ],
            "prompt": message("user", f"Why {name}?"),
            "completion": message("assistant", response),
        }
        for name, culture, place, response, others in rows
    ]
    return Dataset.from_list(records, features=features.RANKED)


TABLE = ranked(
    ("a", "china", 1, "tea", {"japan": "rice", "india": "bread"}),
    ("b", "china", 2, "soup", {"japan": "soup", "india": "naan"}),
    ("c", "japan", 1, "bow", {"china": "bow"}),
    ("d", "japan", 2, "sake", {}),
    ("e", "japan", 3, "fish", {"china": "duck"}),
)


def test_sft_is_prompt_and_completion_in_rank_order():
    view = views.sft(TABLE)
    assert view.column_names == ["sample_id", "culture", "rank", "prompt", "completion"]
    assert view["sample_id"][:] == list("abcde")
    assert view[1] == {
        "sample_id": "b",
        "culture": "china",
        "rank": 2,
        "prompt": message("user", "Why b?"),
        "completion": message("assistant", "soup"),
    }


@pytest.mark.parametrize(("budget", "kept"), [(1, "ac"), (2, "abcd"), (3, "abcde"), (99, "abcde"), (None, "abcde")])
def test_the_budget_is_per_culture(budget, kept):
    assert views.sft(TABLE, budget)["sample_id"][:] == list(kept)
    names = views.preference(TABLE, budget)["sample_id"][:]
    assert sorted(set(names)) == sorted(set(kept) - set("cd"))


def test_the_budget_follows_the_rank_column_not_the_row_order():
    assert views.sft(TABLE.select([4, 1, 2, 0, 3]), 1)["sample_id"][:] == ["c", "a"]


def test_preference_has_a_row_for_each_other_culture_s_answer():
    view = views.preference(TABLE)
    assert view.features == features.PREFERENCE
    assert view.column_names == list(features.PREFERENCE)
    assert [(row["sample_id"], row["rejected_culture"]) for row in view] == [
        ("a", "japan"),
        ("a", "india"),
        ("b", "india"),
        ("e", "china"),
    ]
    assert view[1] == {
        "sample_id": "a",
        "question_id": "q-a",
        "culture": "china",
        "rank": 1,
        "prompt": message("user", "Why a?"),
        "chosen": message("assistant", "tea"),
        "rejected": message("assistant", "bread"),
        "rejected_culture": "india",
    }


def test_an_equal_answer_is_no_contrast():
    for row in views.preference(TABLE):
        assert row["chosen"] != row["rejected"]
        assert row["culture"] != row["rejected_culture"]


@pytest.mark.parametrize("rows", [[2], [3], [2, 3]], ids=["equal answer", "no others", "both"])
def test_nothing_to_prefer_over_is_an_empty_table(rows):
    view = views.preference(TABLE.select(rows))
    assert len(view) == 0
    assert view.features == features.PREFERENCE


def test_interleaved_takes_every_culture_s_best_in_turn_and_names_the_culture():
    view = views.interleaved(TABLE.select([4, 3, 2, 1, 0]), {"china": "China", "india": "India"})
    assert view.features == features.RANKED
    assert view["sample_id"][:] == ["a", "c", "b", "d", "e"]
    assert view["rank"][:] == [1, 1, 2, 2, 3]
    assert view["prompt"][0] == [
        {"role": "system", "content": "You answer as someone who lives in China would."},
        {"role": "user", "content": "Why a?"},
    ]
    assert "japan" in view["prompt"][1][0]["content"]
    left = [name for name in features.RANKED if name != "prompt"]
    original = {row["sample_id"]: row for row in TABLE.select_columns(left)}
    assert all(row == original[row["sample_id"]] for row in view.select_columns(left))
    assert views.interleaved(TABLE.select([]), {}).features == features.RANKED


def test_ranked_anew_counts_from_1_within_each_culture():
    view = views.ranked_anew(TABLE.select([1, 3, 4]))
    assert view.features == features.RANKED
    assert list(zip(view["sample_id"], view["rank"], strict=True)) == [("b", 1), ("d", 1), ("e", 2)]
    assert TABLE["rank"][:] == [1, 2, 1, 2, 3]


def test_of_culture_keeps_the_culture_s_rows():
    assert views.of_culture(TABLE, "japan")["sample_id"][:] == list("cde")
    assert len(views.of_culture(TABLE, "narnia")) == 0


def test_more_rows_than_one_batch():
    rows = [(f"s{row}", "china", row + 1, f"tea {row}", {"japan": "rice", "india": "bread"}) for row in range(1203)]
    view = views.preference(ranked(*rows))
    assert len(view) == 2406
    assert view["chosen"][2400] == message("assistant", "tea 1200")


@pytest.mark.parametrize("view", [views.sft, views.preference])
def test_a_table_that_is_not_ranked_is_told(view):
    with pytest.raises(InputError, match="ranked rows: column rank, prompt is missing"):
        view(TABLE.remove_columns(["rank", "prompt"]))
    with pytest.raises(InputError, match="ranked rows: no rows"):
        view(TABLE.select([]))


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", chat_template=CHATML)


@pytest.fixture(scope="module")
def trl():
    return pytest.importorskip("trl.data_utils")


def test_trl_reads_the_sft_view(trl, tokenizer):
    columns = ("prompt", "completion")
    for row in views.sft(TABLE):
        example = {name: row[name] for name in columns}
        assert trl.is_conversational(example)
        assert trl.maybe_extract_prompt(example) == example
        assert trl.apply_chat_template(row, tokenizer) == {
            "prompt": f"<|im_start|>user\nWhy {row['sample_id']}?<|im_end|>\n<|im_start|>assistant\n",
            "completion": row["completion"][0]["content"] + "<|im_end|>\n",
        }


def test_trl_reads_the_preference_view(trl, tokenizer):
    for row in views.preference(TABLE):
        example = {name: row[name] for name in ("prompt", "chosen", "rejected")}
        assert trl.is_conversational(example)
        assert trl.maybe_extract_prompt(example) == example
        assert trl.apply_chat_template(row, tokenizer) == {
            "prompt": f"<|im_start|>user\nWhy {row['sample_id']}?<|im_end|>\n<|im_start|>assistant\n",
            "chosen": row["chosen"][0]["content"] + "<|im_end|>\n",
            "rejected": row["rejected"][0]["content"] + "<|im_end|>\n",
        }


def test_trl_unpairs_the_preference_view(trl):
    columns = ["prompt", "chosen", "rejected"]
    unpaired = trl.unpair_preference_dataset(views.preference(TABLE).select_columns(columns))
    assert sorted(unpaired.column_names) == ["completion", "label", "prompt"]
    assert unpaired["label"][:].count(True) == unpaired["label"][:].count(False) == 4


def test_a_pair_a_culture_however_much_it_said():
    others = [("china", "a"), ("peru", "b"), ("china", "c")]
    row = {
        "others": [{"culture": culture, "response": response} for culture, response in others],
        "response": "d",
        "completion": [],
    }
    batch = {name: [row.get(name)] for name in {*views.features.PREFERENCE, *row} - {"chosen", "rejected"}}
    pairs = views.pair(batch)
    assert pairs["rejected_culture"] == ["china", "peru"]
    assert [said[0]["content"] for said in pairs["rejected"]] == ["a", "b"]
