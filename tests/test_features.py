"""Tables hold what COLUMNS declares, and keep it through Parquet."""

import hashlib

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, List, Value

from caredio import features
from caredio.errors import InputError

TABLES = {name: value for name, value in vars(features).items() if isinstance(value, Features)}
ALL_COLUMNS = {name for table in TABLES.values() for name in table} | set(features.vectors(3))


def example(kind, number):
    """A value of a column's type, other for another number."""
    if isinstance(kind, dict):
        return {name: example(inner, number) for name, inner in kind.items()}
    if isinstance(kind, List):
        return [example(kind.feature, number + step) for step in range(kind.length if kind.length > 0 else number % 3)]
    kinds = {"string": f"téxt {number}", "int32": number, "float64": number / 3, "float32": number / 4}
    return kinds.get(kind.dtype, number % 2 == 0)


def filled(columns, rows=4):
    return Dataset.from_list(
        [{name: example(kind, number) for name, kind in columns.items()} for number in range(rows)], features=columns
    )


def names(text):
    return text.split()


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_made_of_declared_columns(table):
    assert {name: features.COLUMNS[name].type for name in TABLES[table]} == dict(TABLES[table])


def test_every_declared_column_is_in_a_table_and_explained():
    assert set(features.COLUMNS) == ALL_COLUMNS
    for name, column in features.COLUMNS.items():
        assert column.meaning, name
        assert column.writer, name


@pytest.mark.parametrize(
    ("table", "expected"),
    {
        "TOPICS": "topic_id level topic description",
        "SUBTOPICS": "topic_id level topic description subtopic",
        "QUESTIONS": "question_id topic_id level subtopic question_type language question sensitivity",
        "ANSWERS": "question_id culture persona condition draw response",
        "CANDIDATES": "sample_id question_id culture language topic_id level question_type universal_question question"
        " response isolated_response reflection others panel traits round history generator model_revision prompt_sha"
        " weight truth answering fairness recognition recognised_as review evidence",
        "PREFERENCE": "sample_id question_id culture rank prompt chosen rejected rejected_culture",
    }.items(),
)
def test_the_columns_that_other_tools_read(table, expected):
    assert list(TABLES[table]) == names(expected)


def test_a_later_table_holds_the_earlier_one():
    scores = names("cluster cluster_size is_center representativeness distinctiveness compared score")
    assert list(features.SCORED) == [*features.CANDIDATES, *scores, "rank", "drop_reason"]
    assert list(features.RANKED) == [*features.CANDIDATES, *scores, "rank", "prompt", "completion"]


@pytest.mark.parametrize("columns", [*TABLES.values(), features.vectors(3), features.vectors(384)])
def test_parquet_keeps_features_and_values(tmp_path, columns):
    table = filled(columns)
    table.to_parquet(tmp_path / "by_datasets.parquet")
    pq.write_table(table.with_format("arrow")[:], tmp_path / "by_arrow.parquet")
    for file in tmp_path.iterdir():
        again = Dataset(pq.read_table(file))
        assert again.features == columns
        assert again.to_list() == table.to_list()


def test_vectors_have_a_fixed_length_that_other_lengths_do_not_fit():
    columns = features.vectors(3)
    assert columns["response_embedding"] == List(Value("float32"), length=3)
    wrong = {"sample_id": "a", "sample_embedding": None, "response_embedding": [1.0, 2.0]}
    with pytest.raises(Exception, match=r"length|size"):
        Dataset.from_list([wrong], features=columns)


def pool():
    return Dataset.from_dict({"sample_id": list("abcd"), "drop_reason": [None, "empty", None, ""]})


def test_kept_rows_have_no_drop_reason_and_rejected_ones_do():
    assert features.kept(pool()).to_dict() == {"sample_id": ["a", "c"]}
    assert features.rejected(pool()).to_dict() == {"sample_id": ["b", "d"], "drop_reason": ["empty", ""]}


def test_without_drop_reason_every_row_is_kept():
    table = Dataset.from_dict({"sample_id": ["a", "b"]})
    assert features.kept(table).to_dict() == table.to_dict()
    assert len(features.rejected(table)) == 0


def test_require_leaves_dropped_rows_behind():
    assert features.require(pool(), Features({"sample_id": Value("string")}), "pool")["sample_id"][:] == ["a", "c"]


def test_require_names_what_is_missing_and_what_is_there():
    table = Dataset.from_dict({"question": ["q"], "answer": ["a"]})
    with pytest.raises(InputError) as error:
        features.require(table, features.OWN, "my table")
    assert str(error.value) == ("my table: column question_id, response, culture is missing; found question, answer.")


@pytest.mark.parametrize(
    ("reasons", "why"),
    [
        ([], "pool: no rows; nothing"),
        (["empty", "duplicate", "empty"], r"no rows left \(1 duplicate, 2 empty\); nothing"),
    ],
)
def test_require_needs_a_row_and_says_what_became_of_those_there_were(reasons, why):
    table = Dataset.from_dict(
        {"sample_id": ["a"] * len(reasons), "drop_reason": reasons},
        features=Features({"sample_id": Value("string"), "drop_reason": Value("string")}),
    )
    with pytest.raises(InputError, match=why):
        features.require(table, Features({"sample_id": Value("string")}), "pool")


@pytest.mark.parametrize("count", [0, 1, 10_000, 20_003])
def test_a_table_is_made_of_any_number_of_rows(count):
    rows = ({"question_id": f"q{number}", "question": "?"} for number in range(count))
    made = features.table(rows, features.OWN)
    assert made.features == features.OWN
    assert made["question_id"][:] == [f"q{number}" for number in range(count)]
    assert set(made["culture"][:]) <= {None}


def test_beside_replaces_columns_of_the_same_name_row_by_row():
    table = Dataset.from_dict({"sample_id": list("abc"), "score": [1, 2, 3]}).select([2, 0])
    added = Dataset.from_dict({"score": [30, 10], "rank": [1, 2]})
    assert features.beside(table, added).to_dict() == {"sample_id": ["c", "a"], "score": [30, 10], "rank": [1, 2]}


def test_stack_puts_dropped_rows_behind_with_null_where_they_did_not_come():
    table = filled(Features({**features.ANSWERS, "drop_reason": Value("string")}), rows=2)
    dropped = {"question_id": "q9", "culture": "japan", "drop_reason": "refused", "not_a_column": 1}
    stacked = features.stack(table, [dropped])
    assert stacked.features == table.features
    assert stacked.to_list()[:2] == table.to_list()
    assert stacked[2] == {
        **dict.fromkeys(features.ANSWERS),
        "question_id": "q9",
        "culture": "japan",
        "drop_reason": "refused",
    }
    assert features.stack(table, []).to_list() == table.to_list()


def test_count_within_numbers_the_rows_of_each_group():
    assert features.count_within(["b", "a", "b", "b", "c", "a"]) == [1, 1, 2, 3, 1, 2]
    assert features.count_within([]) == []


def test_table_fills_absent_values_with_null_and_leaves_what_is_no_column():
    made = features.table([{"topic_id": "food", "note": 1}, {"topic": "Tea"}], features.TOPICS)
    assert made.features == features.TOPICS
    assert made.to_list() == [
        {**dict.fromkeys(features.TOPICS), "topic_id": "food"},
        {**dict.fromkeys(features.TOPICS), "topic": "Tea"},
    ]
    empty = features.table([], features.RANKED)
    assert len(empty) == 0
    assert empty.features == features.RANKED


def test_sample_ids_do_not_change_between_releases():
    text = "japan\x1fWhat do you eat?\x1fRice"
    assert features.sample_id("japan", "What do you eat?", "Rice") == "089bd453a6dec725"
    assert features.sample_id("japan", "What do you eat?", "Rice") == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert features.sample_id("brasil", "O quê?", "É") == "30e5915d294446fb"


def test_sample_ids_differ_when_any_part_does():
    samples = [
        ("japan", "ab", "c"),
        ("china", "ab", "c"),
        ("japan", "a", "bc"),
        ("japan", "ab", "c "),
        ("japan", "ab", "C"),
        ("japan", "c", "ab"),
        ("japana", "b", "c"),
    ]
    assert len({features.sample_id(*sample) for sample in samples}) == len(samples)
