"""Tables of one's own out of files, and what is said of broken ones."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caredio.errors import InputError
from caredio.selection import read

ROWS = [
    {"question": "Où ça?", "response": 'said "so",\nand left', "culture": "japan"},
    {"question": "What?", "response": "", "culture": "中国"},
]


def csv(rows):
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in cells)


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


WRITERS = {
    "rows.csv": lambda path, rows: path.write_text(csv(rows), encoding="utf-8"),
    "rows.json": lambda path, rows: path.write_text(json.dumps(rows), encoding="utf-8"),
    "rows.jsonl": lambda path, rows: path.write_text(jsonl(rows), encoding="utf-8"),
    "rows.parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
}


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def told(path):
    with pytest.raises(InputError) as error:
        read.table(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))
    return str(error.value)[len(str(path)) :]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_s_rows_and_hash(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path, ROWS)
    rows, sha256 = read.table(path)
    assert rows.to_list() == ROWS
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", WRITERS)
def test_words_that_look_like_nothing_stay_words(tmp_path, name):
    rows = [{"response": word, "culture": "c"} for word in ("None", "NA", "null", "nan", "N/A", "007", "1e5", "True")]
    WRITERS[name](tmp_path / name, rows)
    assert read.table(tmp_path / name)[0].to_list() == rows


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
def test_numbers_become_text(tmp_path, name):
    WRITERS[name](tmp_path / name, [{"id": 7, "share": 0.5, "flag": True, "none": None, "list": [1]}])
    expected = {"id": "7", "share": "0.5", "flag": True, "none": None, "list": [1]}
    assert read.table(tmp_path / name)[0].to_list() == [expected]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_column_that_is_a_number_here_and_text_there_is_text(tmp_path, name):
    WRITERS[name](tmp_path / name, [{"id": 7}, {"id": "seven"}, {"id": 7.5}])
    assert read.table(tmp_path / name)[0]["id"][:] == ["7", "seven", "7.5"]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_columns_that_only_later_rows_have_are_there(tmp_path, name):
    WRITERS[name](tmp_path / name, [{"question": "A?"}, {"question": "B?", "question_id": "q2"}])
    assert read.table(tmp_path / name)[0].to_list() == [
        {"question": "A?", "question_id": None},
        {"question": "B?", "question_id": "q2"},
    ]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("value", [["B?"], True, {"text": "B?"}])
def test_a_column_of_two_types_is_told(tmp_path, name, value):
    WRITERS[name](tmp_path / name, [{"question": "A?"}, {"question": value}])
    assert "question" in told(tmp_path / name)


def test_jsonl_lines_end_only_at_line_ends(write):
    """JSON text may hold U+2028 and U+0085 as they are, and JavaScript and Python write them so."""
    text = "one\u2028two\u0085three"
    line = json.dumps({"a": text}, ensure_ascii=False)
    assert text in line
    assert read.table(write("rows.jsonl", line + '\r\n\n{"a": "next"}'))[0]["a"][:] == [text, "next"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", '{"a": "x"}\n\n{"a": }\n', ", line 3: not valid JSON (Expecting value at column 7)"),
        ("rows.jsonl", '{"a": "x"}\n[1]\n', ", line 2: expected an object, found list"),
        ("rows.json", '[\n{"a": "x"},\n{"a": "y"\n]', ", line 4: not valid JSON"),
        ("rows.json", '[{"a": "x"}, "y"]', ", row 2: expected an object, found str"),
        ("rows.json", '{"a": "x"}', ": expected a list of objects, found dict"),
        ("rows.json", "", ", line 1: not valid JSON"),
        (
            "rows.csv",
            "a,b\n1,2\n3,4,5\n",
            ": is not valid CSV (Error tokenizing data. C error: Expected 2 fields in line 3",
        ),
        ("rows.csv", 'a,b\n1,"2\n', ": is not valid CSV"),
        ("rows.parquet", b"PAR1", ": is not a Parquet file"),
        ("rows.parquet", b"a,b\n1,2\n3,4\n5,6\n", ": is not a Parquet file"),
    ],
)
def test_a_malformed_file_is_told_by_its_line(write, name, content, said):
    assert told(write(name, content)).startswith(said)


def test_a_csv_whose_rows_all_have_a_field_too_many_is_told(write):
    """Otherwise every cell would silently move one column to the left."""
    assert "line 2" in told(write("rows.csv", "question,response\nA?,yes,japan\nB?,no,china\n"))


def test_half_a_character_is_told(write):
    assert "line 1" in told(write("rows.jsonl", '{"a": "\\ud83d"}\n'))


@pytest.mark.parametrize(
    ("name", "content"),
    [("rows.csv", ""), ("rows.csv", "a,b\n"), ("rows.json", "[]"), ("rows.jsonl", ""), ("rows.jsonl", "\n\n")],
)
def test_a_file_without_rows_is_told(write, name, content):
    assert "no rows" in told(write(name, content)) or "No columns" in told(write(name, content))


def test_a_parquet_file_without_rows_is_told(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    assert told(tmp_path / "rows.parquet") == ": holds no rows."


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
def test_text_of_another_encoding_is_told_by_its_byte(write, name):
    start = {"rows.csv": "a\n", "rows.json": '[{"a": "', "rows.jsonl": '{"a": "'}[name]
    assert told(write(name, start.encode() + "é".encode("latin-1"))) == f": is not UTF-8 text (byte {len(start)})."


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_file_and_a_folder_are_told(tmp_path, name):
    assert told(tmp_path / name).startswith(": cannot be read (No such file")
    (tmp_path / name).mkdir()
    assert told(tmp_path / name).startswith(": cannot be read (Is a directory")


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "rows.csv.gz"])
def test_another_kind_of_file_is_told(write, name):
    said = told(write(name, "a\n1\n"))
    assert said.startswith(": unknown kind of table")
    assert "parquet, csv, json (a list of objects) or jsonl" in said
