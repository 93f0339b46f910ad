"""Pairs of rated responses: rows in CARE's columns, written for these tests, whose pairs are known."""

import csv
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset, load_dataset

import caredio
from caredio import cli, features
from caredio.errors import InputError

FILE = Path(__file__).parents[1] / "data" / "care" / "rated.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
NATIVE = {  # question -> (highest rated responses, lowest rated ones, difference), by hand
    "过年时红包应该给谁?": ({"长辈给晚辈，已婚的给未婚的。"}, {"给老板，表示感谢。"}, 7),
    "吃饭时筷子能插在米饭上吗?": ({"不能，那像祭祀时的香。"}, {"可以，很方便。"}, 9),
    "中秋节一般吃什么?": ({"月饼，一家人一起赏月。", "月饼和柚子。"}, {"粽子。"}, 7),
    "去别人家做客带什么礼物合适?": ({"水果、茶叶，不送钟。"}, {"送钟最好。"}, 8),
    "端午节为什么划龙舟?": ({"为了纪念屈原。"}, {"为了庆祝丰收。"}, 6),
    "坐月子要注意什么?": ({"注意保暖，多休息。", "不碰冷水，喝热汤。"}, {"多运动。"}, 5),
    "孩子满月请客吃什么?": ({"红鸡蛋。"}, {"蛋糕。"}, 5),
}
FOREIGN = {
    "美国人感恩节吃什么?": ({"火鸡和南瓜派。"}, {"月饼。"}, 9),
    "在美国餐厅要给小费吗?": ({"要，一般百分之十五到二十。"}, {"不用。"}, 7),
    "美国人怎么过万圣节?": ({"孩子们挨家要糖。"}, {"放鞭炮。"}, 6),
    "美国独立日是哪一天?": ({"七月四日。"}, {"十月一日。", "一月一日。"}, 9),
    "美国人圣诞节做什么?": ({"装饰圣诞树，送礼物。"}, {"贴春联。"}, 8),
}
GENERAL = {
    "怎样感谢朋友?": ({"请他吃饭。"}, {"不用谢。"}, 6),
    "早餐重要吗?": ({"重要。"}, {"不重要。"}, 2),
    "雨天带什么?": ({"雨伞。"}, {"墨镜。"}, 8),
}
ALL = NATIVE | FOREIGN | GENERAL


def only(messages):
    (message,) = messages
    return message["content"]


def asked(result):
    return [only(row["prompt"]) for row in result.preference]


def test_the_highest_stands_against_the_lowest_and_ties_are_left_out(tmp_path, caplog):
    with caplog.at_level("INFO", "caredio"):
        made = caredio.prefer(FILE, out=tmp_path / "run")
    assert made.preference.features == features.PREFERENCE
    assert set(asked(made)) == set(ALL)
    for row in made.preference:
        highest, lowest, _ = ALL[only(row["prompt"])]
        assert only(row["chosen"]) in highest
        assert only(row["rejected"]) in lowest
        assert (row["culture"], row["rejected_culture"]) == ("china", None)
    assert made.preference["rank"][:] == list(range(1, 16))
    gaps = [ALL[question][2] for question in asked(made)]
    assert gaps == sorted(gaps, reverse=True)
    assert made.report["rated"]["dropped"] == {"empty": 1, "rating_not_a_number": 1, "rating_out_of_range": 2}
    assert made.report["preference"]["dropped"] == {"one_response": 1, "tie": 2}
    told = made.report["preference"]["sides"]["china"]["told_apart"]
    assert told["length"][0] > 0.5  # the highest rated are the longer ones in 12 of 15
    assert str(made).startswith("preference: china 15")
    assert any(record.message.startswith("preference: ") and "length" in record.message for record in caplog.records)


def test_unpaired_labels_the_highest_true_and_the_lowest_false(tmp_path):
    made = caredio.prefer(FILE, out=tmp_path / "run")
    assert made.unpaired.features == features.UNPAIRED
    assert made.unpaired["label"][:] == [True, False] * 15
    for row in made.unpaired:
        assert only(row["completion"]) in ALL[only(row["prompt"])][0 if row["label"] else 1]


def test_native_foreign_and_mixed_are_equally_many():
    questions = {}
    for origin in ("native", "foreign", "mixed"):
        made = caredio.prefer(FILE, origin=origin)
        questions[origin] = set(asked(made))
        assert len(made.preference) == len(questions[origin]) == 5
        assert made.preference["rank"][:] == [1, 2, 3, 4, 5]
        left = made.report["preference"]["dropped"]
        assert sum(left.values()) == 18 - 5
        assert left["tie"] == 2
    assert questions["native"] < set(NATIVE)
    assert questions["foreign"] == set(FOREIGN)
    mixed = questions["mixed"]
    assert (len(mixed & set(NATIVE)), len(mixed & set(FOREIGN))) == (3, 2)
    assert mixed & set(NATIVE) < questions["native"]  # the draws are of one order
    drawn = {frozenset(asked(caredio.prefer(FILE, origin="native", seed=seed))) for seed in range(4)}
    assert len(drawn) > 1


def test_of_several_highest_one_is_drawn_by_seed():
    def chosen(seed):
        rows = caredio.prefer(FILE, seed=seed).preference
        return next(only(row["chosen"]) for row in rows if only(row["prompt"]) == "中秋节一般吃什么?")

    assert {chosen(seed) for seed in range(6)} == NATIVE["中秋节一般吃什么?"][0]
    assert chosen(3) == chosen(3)


def test_of_equal_responses_the_mean_rating_counts():
    given = [("a", 9), ("a", 3), ("b", 7), ("c", 5)]
    rows = [{"question": "q?", "response": text, "rating": rating, "culture": "peru"} for text, rating in given]
    (pair,) = caredio.prefer(Dataset.from_list(rows)).preference
    assert (only(pair["chosen"]), only(pair["rejected"])) == ("b", "c")
    rows[3]["rating"] = 6
    assert caredio.prefer(Dataset.from_list([*rows, {**rows[3], "response": "d", "rating": 8}])).preference[0][
        "rejected"
    ] in ([{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "c"}])


def test_a_table_may_be_a_file_of_any_kind_a_frame_or_a_dataset(tmp_path):
    wanted = caredio.prefer(FILE).preference.to_list()
    with (tmp_path / "rated.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ROWS[0])
        table.writeheader()
        table.writerows(ROWS)
    frame = pd.DataFrame(ROWS)  # its ratings are numbers and a text
    as_text = Dataset.from_list([{**row, "rating": str(row["rating"])} for row in ROWS])
    for data in (tmp_path / "rated.csv", frame, as_text):
        assert caredio.prefer(data).preference.to_list() == wanted


def test_rated_chats_and_columns_of_other_names_are_read():
    def chat(answer):
        return [{"role": "user", "content": "q?"}, {"role": "assistant", "content": answer}]

    given = [{"messages": chat(answer), "rating": rating, "land": "peru"} for answer, rating in (("a", 9), ("b", 2))]
    named = {"question_column": "messages", "response_column": "messages", "culture_column": "land"}
    (pair,) = caredio.prefer(Dataset.from_list(given), **named).preference
    assert (pair["prompt"], pair["chosen"], pair["culture"]) == (chat("a")[:1], chat("a")[1:], "peru")


def test_the_raters_culture_is_a_column_or_what_native_names():
    def cultures(rows):
        return Counter(caredio.prefer(Dataset.from_list(rows)).preference["culture"])

    rows = [{**row, "rating": str(row["rating"])} for row in ROWS]
    assert cultures(rows) == {"china": 15}
    arab = [{**row, "associated_culture": "Native (Arab)"} for row in rows]
    assert cultures(arab) == {"Arab": 15}  # no culture of ours has the name
    assert cultures([{**row, "culture": "Wu"} for row in rows]) == {"Wu": 15}
    with pytest.raises(InputError, match="names Arab, Chinese as native, so that the raters of other rows are unknown"):
        cultures([*rows, *arab])
    natives = [row for row in rows if row["associated_culture"].startswith("Native")]
    assert cultures([*natives, *arab]) == {"china": 7, "Arab": 15}


def rows(*ratings):
    given = {"question": "q?", "culture": "peru"}
    return [{**given, "response": f"r{number}", "rating": rating} for number, rating in enumerate(ratings)]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            rows("high", "low"),
            r"rated: no rows left \(2 rating_not_a_number\)",
        ),
        (rows("11", "0"), r"no rows left \(2 rating_out_of_range\).*ratings are numbers from 1 to 10"),
        (rows("nan", "inf"), r"no rows left \(2 rating_not_a_number\)"),
        (rows("7", "7"), r"preference: no rows left \(1 tie\).*two responses or more whose ratings differ"),
        (rows("7"), r"preference: no rows left \(1 one_response\)"),
        (
            [{"question": "q?", "response": "r", "culture": "peru"}],
            "column rating is missing; found question, response",
        ),
        (
            [{"question": "q?", "rating": "3", "culture": "peru"}],
            r"no column response or completion or .*; name yours",
        ),
        ([{"question": "q?", "response": "r", "rating": "3"}], "no column culture or associated_culture; found"),
    ],
)
def test_a_table_without_a_pair_is_one_sentence(table, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        caredio.prefer(Dataset.from_list(table), out=tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_an_origin_that_is_not_there_is_one_sentence():
    native = [row for row in ROWS if row["associated_culture"].startswith("Native") and row["rating"] != "n/a"]
    with pytest.raises(InputError, match=r"origin is mixed, .* china has pairs of 0 foreign, 7 native; leave --origin"):
        caredio.prefer(Dataset.from_list(native), origin="mixed")
    with pytest.raises(InputError, match="origin is 'all'; use native, foreign, mixed"):
        caredio.prefer(FILE, origin="all")
    with pytest.raises(TypeError, match="unknown setting rejected"):
        caredio.prefer(FILE, rejected="all")
    with pytest.raises(InputError, match="nothing to pair"):
        caredio.prefer()
    with pytest.raises(InputError, match="the table is a list"):
        caredio.prefer([1])


def test_the_command_writes_what_load_dataset_reads_and_repeats_itself(tmp_path, capsys):
    out = tmp_path / "run"
    cli.main(["prefer", str(FILE), "--out", str(out), "--origin", "mixed", "--seed", "3"])
    said = capsys.readouterr().out
    assert "preference: china 5" in said
    for table in ("preference", "unpaired"):
        loaded = load_dataset(str(out / table), "china", split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.features == {"preference": features.PREFERENCE, "unpaired": features.UNPAIRED}[table]
    before = {file: file.read_bytes() for file in out.rglob("*.parquet")}
    cli.main(["prefer", "--config", str(out / "prefer.yaml")])
    assert {file: file.read_bytes() for file in out.rglob("*.parquet")} == before
    with pytest.raises(SystemExit):
        cli.main(["prefer", str(tmp_path / "none.csv"), "--out", str(out)])
    assert "none.csv" in capsys.readouterr().err


def test_rated_and_ranked_rows_do_not_replace_each_other(tmp_path):
    own = [
        {"question_id": f"q{day}", "question": f"Day {day}?", "response": f"{dish} {day}", "culture": culture}
        for day in range(3)
        for culture, dish in (("mexico", "tamales"), ("peru", "ceviche"))
    ]
    caredio.select(Dataset.from_list(own), out=tmp_path / "ranked", theta=0.99)
    with pytest.raises(InputError, match=r"holds tables that were not made of rated\.jsonl; name another --out"):
        caredio.prefer(FILE, out=tmp_path / "ranked")
    caredio.prefer(FILE, out=tmp_path / "rated")
    with pytest.raises(InputError, match="holds what `caredio prefer` made of rated responses; name another --out"):
        caredio.select(Dataset.from_list(own), out=tmp_path / "rated", theta=0.99)
    with pytest.raises(InputError, match=r"no finished ranked table"):
        caredio.publish(tmp_path / "rated")
