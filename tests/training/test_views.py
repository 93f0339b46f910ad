"""Ranked rows as SFT and preference tables, and that TRL's own helpers read them."""

import dataclasses
import json
import math
import shutil
from collections import Counter

import pytest
from datasets import Dataset

import caredio
from caredio import features, runs
from caredio.errors import InputError
from caredio.runs import Run
from caredio.training import views
from caredio.training.settings import Settings

LOOSE = Settings(length_ratio=1)  # texts of a word or two differ in length by more than a quarter

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


def test_the_budget_follows_the_rank_column_not_the_row_order():
    assert views.sft(TABLE.select([4, 1, 2, 0, 3]), 1)["sample_id"][:] == ["c", "a"]


def test_preference_has_a_row_for_each_other_culture_s_answer():
    view = views.preference(TABLE, settings=LOOSE)
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
    for row in views.preference(TABLE, settings=LOOSE):
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
    assert view["prompt"][0] == message("user", "You answer as someone who lives in China would.\n\nWhy a?")
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
    view = views.preference(ranked(*rows), settings=LOOSE)
    assert len(view) == 2406
    assert view["chosen"][2400] == message("assistant", "tea 1200")


@pytest.mark.parametrize(
    ("view", "table"), [(views.sft, "ranked rows"), (views.preference, "stage preference, table ranked")]
)
def test_a_table_that_is_not_ranked_is_told(view, table):
    with pytest.raises(InputError, match=f"{table}: column rank, prompt is missing"):
        view(TABLE.remove_columns(["rank", "prompt"]))
    with pytest.raises(InputError, match=f"{table}: no rows"):
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
    for row in views.preference(TABLE, settings=LOOSE):
        example = {name: row[name] for name in ("prompt", "chosen", "rejected")}
        assert trl.is_conversational(example)
        assert trl.maybe_extract_prompt(example) == example
        assert trl.apply_chat_template(row, tokenizer) == {
            "prompt": f"<|im_start|>user\nWhy {row['sample_id']}?<|im_end|>\n<|im_start|>assistant\n",
            "chosen": row["chosen"][0]["content"] + "<|im_end|>\n",
            "rejected": row["rejected"][0]["content"] + "<|im_end|>\n",
        }


def test_trl_reads_the_unpaired_view(trl, tokenizer):
    for row in views.unpaired(views.preference(TABLE, settings=LOOSE)):
        example = {name: row[name] for name in ("prompt", "completion", "label")}
        assert trl.is_conversational(example)
        assert trl.apply_chat_template(row, tokenizer) == {
            "prompt": f"<|im_start|>user\nWhy {row['sample_id']}?<|im_end|>\n<|im_start|>assistant\n",
            "completion": row["completion"][0]["content"] + "<|im_end|>\n",
            "label": row["label"],
        }


def test_the_unpaired_view_has_trls_rows_of_the_pairs_each_once(trl):
    pairs = views.preference(TABLE, settings=LOOSE)
    theirs = trl.unpair_preference_dataset(pairs.select_columns(["prompt", "chosen", "rejected"]))
    mine = views.unpaired(pairs)
    assert mine.features == features.UNPAIRED
    columns = ("prompt", "completion", "label")

    def rows(table):
        return {str([row[name] for name in columns]) for row in table}

    assert rows(mine) == rows(theirs)
    assert len(mine) == len(rows(mine)) == len(theirs) - 1  # a's answer stands in two pairs
    assert [(row["sample_id"], row["rank"], row["label"]) for row in mine] == [
        ("a", 1, True),
        ("a", 1, False),
        ("a", 1, False),
        ("b", 2, True),
        ("b", 2, False),
        ("e", 3, True),
        ("e", 3, False),
    ]
    assert views.unpaired(pairs.select([])).features == features.UNPAIRED


def row(own, others, isolated=None):
    """A ranked row x of china: others as (culture, response), called o0, o1, ..."""
    table = ranked(("x", "china", 1, own, {}))
    answers = [
        {"culture": culture, "sample_id": f"o{place}", "response": response, "shown": place == 0}
        for place, (culture, response) in enumerate(others)
    ]
    return table.map(lambda one: {**one, "others": answers, "isolated_response": isolated}, features=features.RANKED)


def rejected(table, vectors=None, **settings):
    view = views.preference(table, vectors, Settings(**settings))
    return [(pair["rejected_culture"], pair["rejected"][0]["content"]) for pair in view]


def test_a_pair_a_culture_however_much_it_said():
    others = [("india", "a"), ("peru", "b"), ("india", "c")]
    assert rejected(row("d", others)) == [("india", "a"), ("peru", "b")]


def test_both_sides_are_isolated_answers_where_the_row_has_one():
    table = row("We would never, as they do.", [("india", "We may..."), ("peru", "Never: it is")], "Never: it's.")
    (pair,) = [pair for pair in views.preference(table) if pair["rejected_culture"] == "india"]
    assert pair["chosen"] == message("assistant", "Never: it's.")
    assert rejected(table) == [("india", "We may..."), ("peru", "Never: it is")]  # 12 characters against 9 and 12
    assert rejected(row("Never: it's.", [("peru", "We would never, as they do.")])) == []


def test_a_culture_that_says_the_same_rejects_nothing():
    assert rejected(row("tea", [("india", "tea"), ("india", "tee"), ("peru", "ten"), ("peru", "tea")])) == []


@pytest.mark.parametrize(
    ("ratio", "kept"), [(0.0, [8]), (0.25, [6, 8, 10]), (0.5, [4, 6, 8, 10, 16]), (1.0, [1, 4, 6, 8, 10, 16, 17])]
)
def test_sides_differ_by_no_more_than_a_share_of_the_longer(ratio, kept):
    others = [(f"c{length}", "b" * length) for length in (1, 4, 6, 8, 10, 16, 17)]
    found = rejected(row("a" * 8, others), length_ratio=ratio, pairs=99)
    assert [len(answer) for _, answer in found] == kept


def test_what_its_own_culture_answers_too_is_not_rejected():
    table = ranked(
        ("a", "china", 1, "lilies", {"japan": "Roses ", "india": "tulips", "iran": "tulips"}),
        ("b", "china", 2, "orchid", {"japan": "daisy"}),
    )
    pool = {"culture": ["china", "china", "iran"], "question_id": ["q-a", "q-b", "q-a"]}
    pool = Dataset.from_dict({**pool, "response": ["roses", "tulips", "lilies"]})
    pairs = views.preference(table, settings=LOOSE, pool=pool)
    found = [(one["sample_id"], one["rejected"][0]["content"]) for one in pairs]
    assert found == [("a", "tulips"), ("b", "daisy")]  # roses are China's too, and tulips stand for two cultures once


def test_of_a_culture_s_answers_one_that_fits_is_taken():
    assert rejected(row("a" * 8, [("peru", "b" * 20), ("peru", "b" * 9)])) == [("peru", "b" * 9)]


def test_a_row_has_at_most_three_pairs_drawn_by_seed():
    others = [(f"c{place}", "abcdefgh"[place] * 4) for place in range(8)]
    table = row("tea!", others)
    seen = {tuple(rejected(table, seed=seed)) for seed in range(30)}
    assert {len(found) for found in seen} == {3}
    assert len(seen) > 5
    assert {one for found in seen for one in found} == set(others)  # none is out of reach
    assert all(list(found) == sorted(found) for found in seen)  # in the order of the row
    assert rejected(table, seed=4) == rejected(table, seed=4)
    assert len(rejected(table, pairs=8)) == 8
    assert len(rejected(table, pairs=1)) == len(rejected(table, rejected="one")) == 1
    ones = {rejected(table, rejected="one", seed=seed)[0] for seed in range(60)}
    assert ones == set(others)


def test_hardest_is_the_answer_nearest_to_the_row_s_response():
    angles = {"x": 0, "o0": 90, "o1": 30, "o2": 10, "o3": 180}
    unit = [[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in angles.values()]
    columns = {"sample_id": list(angles), "sample_embedding": unit, "response_embedding": unit}
    vectors = Dataset.from_dict(columns, features=features.vectors(2))
    others = [("india", "bbbb"), ("peru", "cccc"), ("peru", "dddd"), ("japan", "eeee")]
    assert rejected(row("aaaa", others), vectors, rejected="hardest") == [("peru", "dddd")]
    others[2] = ("peru", "d" * 40)  # the nearest is too long
    assert rejected(row("aaaa", others), vectors, rejected="hardest") == [("peru", "cccc")]
    assert rejected(row("aaaa", []), vectors, rejected="hardest") == []
    with pytest.raises(InputError, match="rejected is hardest, which compares embeddings; give the vectors"):
        rejected(row("aaaa", others), rejected="hardest")


def test_pairs_of_some_rows_have_their_rank_among_them():
    pairs = views.preference(TABLE, settings=LOOSE)
    some = views.ranked_anew(TABLE.select([1, 4]))
    found = views.pairs_of(some, pairs)
    assert found.features == features.PREFERENCE
    assert [(one["sample_id"], one["rank"]) for one in found] == [("b", 1), ("e", 1)]
    assert len(views.pairs_of(some.select([]), pairs)) == 0


def test_the_card_s_sentence_follows_the_settings():
    def said(own=False, inputs=(), left=0, **settings):
        made_from = {"config": dataclasses.asdict(Settings(**settings)), "inputs": dict.fromkeys(inputs)}
        return views.describe({"made_from": made_from, "without_pair": left}, own)

    assert said(left=1) == (
        "Preference: `all`, one answer of each of up to 3 other cultures (of more, drawn by seed) is rejected. Both"
        " sides are answers that were given without seeing others'; the sides differ by at most 25 % of the longer"
        " one's characters; 1 ranked row has no pair."
    )
    assert "`hardest`, of other cultures' answers the one whose embedding is nearest" in said(rejected="hardest")
    assert "`one`, one other culture's answer, drawn by seed" in said(rejected="one")
    assert "differ by" not in said(length_ratio=1)
    assert "given in contrast to others'" in said(inputs=["ranked", "vectors", "contrasted_others"])
    assert "Both sides are answers of the table;" in said(own=True)
    assert said(left=2).endswith("2 ranked rows have no pair.")
    assert said(left=None).endswith("of the longer one's characters.")
    old = {"made_from": {"config": None, "inputs": {"ranked": ""}}}
    assert views.describe(old, False) == "Preference: of each other culture one answer is rejected."


def test_a_view_s_settings_are_checked():
    for wrong, said in (
        ({"rejected": "nearest"}, "use all, hardest, one"),
        ({"pairs": 0}, "pairs is 0; it must be at least 1"),
        ({"length_ratio": 1.5}, "use a share from 0 to 1"),
        ({"length_ratio": -0.1}, "use a share from 0 to 1"),
    ):
        with pytest.raises(InputError, match=said):
            Settings(**wrong)


ROWS = [
    {"question_id": f"q{day}", "question": f"What is on day {day}?", "response": f"{dish} {day}", "culture": culture}
    for day in range(12)
    for culture, dish in (("mexico", "tamales"), ("korea", "kimchi!"), ("peru", "ceviche"), ("fiji", "coconuts"))
]


def read(run, table):
    return runs.read(sorted((run / table).glob("*.parquet")))


def test_a_run_s_views_follow_their_settings_and_say_what_tells_sides_apart(tmp_path, caplog):
    with caplog.at_level("INFO", "caredio"):
        made = caredio.select(Dataset.from_list(ROWS), out=tmp_path / "run", theta=0.999, pairs=1)
    assert made.preference.features == features.PREFERENCE
    assert Counter(made.preference["sample_id"]).most_common(1)[0][1] == 1
    assert made.unpaired["label"][:] == [True, False] * len(made.preference)
    sides = made.report["preference"]["sides"]
    assert set(sides) == set(made.ranked["culture"])
    assert sides["korea"]["told_apart"]["punctuation"][0] == 1.0  # nobody else's answers end in a mark
    assert made.report["preference"]["without_pair"] == 0
    said = [record.message for record in caplog.records if record.message.startswith("preference: ")]
    assert len(said) == 1
    assert "punctuation 1.00 (korea)" in said[0]
    assert said[0].endswith("0 of 48 rows without a pair")

    def made_again(**settings):
        caplog.clear()
        with caplog.at_level("INFO", "caredio"):
            caredio.select(Dataset.from_list(ROWS), out=tmp_path / "run", theta=0.999, **settings)
        lines = [record.message for record in caplog.records]
        return {line.split()[0] for line in lines if "unchanged" not in line and " rows in " in line}

    assert made_again(pairs=1) == set()
    assert made_again(pairs=2) == {"preference", "unpaired"}
    assert made_again(pairs=2, rejected="hardest") == {"preference", "unpaired"}
    assert made_again(pairs=2, rejected="hardest", length_ratio=0.9) == {"preference"}  # the same pairs
    assert "length_ratio: 0.9\n" in (tmp_path / "run" / "select.yaml").read_text()
    with pytest.raises(TypeError, match="unknown setting origin"):
        caredio.select(Dataset.from_list(ROWS), origin="native")


def test_pairs_made_before_there_were_settings_stand_until_some_are_given(tmp_path):
    """A run of an earlier version: each other culture's answer once, whatever its length, and no table of KTO's."""
    out = tmp_path / "run"
    caredio.select(Dataset.from_list(ROWS), out=out, theta=0.999)
    shutil.rmtree(out / "unpaired")
    with Run(out) as run:
        ranked = run.table("ranked")
        old = views.preference(ranked, settings=Settings(pairs=9, length_ratio=1))
        run.stage("preference", lambda: old, columns=features.PREFERENCE, after=["ranked"], split_by="culture")
    record = json.loads((out / "run.json").read_text())
    record["stages"]["preference"]["made_from"]["config"] = {}
    del record["stages"]["unpaired"]
    (out / "run.json").write_text(json.dumps(record))
    before = read(out, "preference").to_list()
    assert len(before) == 3 * 48
    released = caredio.publish(out, test_share=0)
    assert len(runs.read([released / "mexico-preference" / "train.parquet"])) == 36
    assert len(runs.read([released / "mexico-unpaired" / "train.parquet"])) == 48
    assert "Preference: of each other culture one answer is rejected." in (released / "README.md").read_text()
    caredio.select(Dataset.from_list(ROWS), out=out, theta=0.999)
    assert read(out, "preference").to_list() == before
    assert len(read(out, "unpaired")) == 4 * 48
    caredio.select(Dataset.from_list(ROWS), out=out, theta=0.999, pairs=1)
    assert len(read(out, "preference")) == 48


def test_an_answer_that_its_own_culture_gave_in_a_row_that_was_dropped_is_not_rejected(tmp_path):
    said = {"culture": "korea", "question_id": "q0", "question": "What is on day 0?", "response": "Ceviche 0"}
    rows = [{**row, "drop_reason": None} for row in ROWS]

    def rejected_of_korea(*more):
        Dataset.from_list([*rows, *more]).to_parquet(tmp_path / "own.parquet")
        made = caredio.select(tmp_path / "own.parquet", out=tmp_path / "run", theta=0.999, length_ratio=1)
        return {
            pair["rejected"][0]["content"]
            for pair in made.preference
            if (pair["culture"], pair["question_id"]) == ("korea", "q0")
        }

    assert rejected_of_korea() == {"tamales 0", "ceviche 0", "coconuts 0"}
    assert rejected_of_korea({**said, "drop_reason": "one_annotator"}) == {"tamales 0", "coconuts 0"}
    assert rejected_of_korea() == {"tamales 0", "ceviche 0", "coconuts 0"}  # what is dropped counts, and is looked at
