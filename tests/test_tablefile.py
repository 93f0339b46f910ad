"""Tables of one's own out of files, and what is said of broken ones."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from caredio import tablefile
from caredio.errors import InputError

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


def columns_of(path, names=None):
    table, _ = tablefile.table(path)
    return {name: table.cells(name) for name in (table.names if names is None else names)}


def rows_of(path):
    """The rows of a file, as its columns' cells."""
    columns = columns_of(path)
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def told(path, *columns):
    with pytest.raises(InputError) as error:
        columns_of(path, columns)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))
    return str(error.value)[len(str(path)) :]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_s_rows_and_hash(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path, ROWS)
    _, sha256 = tablefile.table(path)
    assert rows_of(path) == ROWS
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", WRITERS)
def test_words_that_look_like_nothing_stay_words(tmp_path, name):
    rows = [{"response": word, "culture": "c"} for word in ("None", "NA", "null", "nan", "N/A", "007", "1e5", "True")]
    WRITERS[name](tmp_path / name, rows)
    assert rows_of(tmp_path / name) == rows


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_columns_that_only_later_rows_have_are_there(tmp_path, name):
    WRITERS[name](tmp_path / name, [{"question": "A?"}, {"question": "B?", "question_id": "q2"}])
    assert rows_of(tmp_path / name) == [
        {"question": "A?", "question_id": None},
        {"question": "B?", "question_id": "q2"},
    ]


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name):
    WRITERS[name](tmp_path / name, ROWS)
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert rows_of(tmp_path / name) == ROWS


def test_marks_between_joined_files_are_no_part_of_the_text(write):
    assert rows_of(write("rows.jsonl", '\ufeff{"a": "x"}\n\ufeff{"a": "y"}\n')) == [{"a": "x"}, {"a": "y"}]


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_utf_16_is_told(tmp_path, name, encoding):
    WRITERS[name](tmp_path / name, ROWS)
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_bytes((("\ufeff" if "be" in encoding else "") + text).encode(encoding))
    assert told(tmp_path / name).startswith(": is not UTF-8 text but UTF-16")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_s_delimiter_is_found_in_its_header(write, delimiter):
    text = delimiter.join(["id", "question", "response"]) + "\n" + delimiter.join(["1", '"a;b,c\td|e"', '"f\n"']) + "\n"
    assert rows_of(write("rows.csv", text)) == [{"id": "1", "question": "a;b,c\td|e", "response": "f\n"}]


def test_a_csv_with_an_index_spaces_in_its_header_and_blank_lines(write):
    """As pandas writes its index, as people write headers, and as editors end files."""
    path = write("rows.csv", "\n,question , response\r\n0,A?,yes\r\n\r\n1,B?,\r\n  \r\n")
    assert rows_of(path) == [
        {"": "0", "question": "A?", "response": "yes"},
        {"": "1", "question": "B?", "response": ""},
    ]


def test_a_cell_may_be_long(write):
    long = "x" * 500_000
    assert rows_of(write("rows.csv", f'a,b\n"{long}",1\n')) == [{"a": long, "b": "1"}]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_json_as_python_and_javascript_write_it(write, name):
    """NaN and Infinity are no JSON, but pandas' and Python's; integers may be longer than Python reads."""
    row = '{"a": NaN, "b": -Infinity, "c": 14695981039346656037, "d": ' + "7" * 5000 + ', "e": 1e999}'
    ((made),) = rows_of(write(name, f"[{row}]" if name == "rows.json" else row))
    assert made["a"] != made["a"]
    assert (made["b"], made["c"], made["d"]) == (float("-inf"), 14695981039346656037, "7" * 5000)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_key_used_twice_is_told_where_it_is_read(write, name):
    row = '{"a": "x", "b": "1", "b": "2", "c": {"d": 1, "d": 2}}'
    path = write(name, f"[{row}]" if name == "rows.json" else f"\n{row}")
    table, _ = tablefile.table(path)
    assert table.cells("a") == ["x"]
    assert table.cells("c") == [{"d": 2}]
    assert told(path, "b") == f", {'row 1' if name == 'rows.json' else 'line 2'}: key b is used twice."


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_columns_of_one_name_are_told_where_they_are_read(tmp_path, name):
    path = tmp_path / name
    if name == "rows.csv":
        path.write_text("a,b,b\n1,2,3\n", encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_arrays([pa.array([text]) for text in "123"], ["a", "b", "b"]), path)
    assert tablefile.table(path)[0].cells("a") == ["1"]
    assert told(path, "b") == ": 2 columns are called b; rename all but one."


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
        pa.array([["x"]], pa.list_view(pa.string())),
        pa.array([{"a": 1, "b": [None]}]),
        pa.array([None]),
        pa.array([b"\xff"]),
        pa.array([2.5]).cast(pa.float16()),
        pa.array(["x"], pa.string_view()),
        pa.array(["x"]).dictionary_encode(),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"], pa.binary(16))),
        pa.array([7], pa.duration("s")),
        pa.array([7], pa.decimal128(38)),
    ],
    ids=lambda column: str(column.type),
)
def test_a_parquet_column_that_nobody_reads_stops_nothing(tmp_path, column):
    pq.write_table(pa.table({"a": ["x"], "odd.name": column, "odd": ["y"]}), tmp_path / "rows.parquet")
    table, _ = tablefile.table(tmp_path / "rows.parquet")
    assert (table.cells("a"), table.cells("odd")) == (["x"], ["y"])


def test_labels_in_a_parquet_file_are_their_names(tmp_path):
    kinds = Features({"culture": ClassLabel(names=["china", "japan"]), "n": Value("int64")})
    Dataset.from_dict({"culture": [1, None, -1, 0], "n": [1, 2, 3, 4]}, features=kinds).to_parquet(
        tmp_path / "l.PARQUET"
    )
    table, _ = tablefile.table(tmp_path / "l.PARQUET")
    assert table.cells("culture") == ["japan", None, None, "china"]


def test_jsonl_lines_end_only_at_line_ends(write):
    """JSON text may hold U+2028 and U+0085 as they are, and JavaScript and Python write them so."""
    text = "one\u2028two\u0085three"
    line = json.dumps({"a": text}, ensure_ascii=False)
    assert text in line
    assert rows_of(write("rows.jsonl", line + '\r\n\n{"a": "next"}')) == [{"a": text}, {"a": "next"}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", '{"a": "x"}\n\n{"a": }\n', ", line 3: not valid JSON (Expecting value at column 7)"),
        ("rows.jsonl", '{"a": "x"}\n[1]\n', ", line 2: expected an object, found list"),
        ("rows.json", '[\n{"a": "x"},\n{"a": "y"\n]', ", line 4: not valid JSON"),
        ("rows.json", '[{"a": "x"}, "y"]', ", row 2: expected an object, found str"),
        (
            "rows.json",
            '{"a": "x"}',
            ": expected a list of objects, found an object of a; put the list alone in the file.",
        ),
        (
            "rows.json",
            '{"a": "x"}\n{"a": "y"}\n',
            ", line 2: not valid JSON (Extra data; a file with an object on each",
        ),
        ("rows.json", "[" * 100_000, ": JSON nested too deep to be read."),
        ("rows.jsonl", '{"a": "x"}\n' + '{"a": ' * 100_000, ", line 2: JSON nested too deep to be read."),
        ("rows.json", "", ", line 1: not valid JSON"),
        ("rows.csv", "a,b\n1,2\n3,4,5\n", ", line 3: not valid CSV: holds 3 fields, and the header 2 names"),
        ("rows.csv", "a,b\n1,2\n3\n", ", line 3: not valid CSV: holds 1 fields, and the header 2 names"),
        ("rows.csv", 'a,b\n\n"1\n\n",2\r\n"3\r",4,5\n', ", line 6: not valid CSV: holds 3 fields"),
        ("rows.csv", 'a,b\n1,2\n3,"4\n5\n', ", line 3: not valid CSV (unexpected end of data)"),
        ("rows.csv", 'a,b\n1,"2" or 3\n', ", line 2: not valid CSV ("),
        ("rows.csv", "a,b\n1,2\n3,\0\n", ", line 3: holds a NUL character"),
        ("rows.parquet", b"PAR1", ": is not a Parquet file"),
        ("rows.parquet", b"a,b\n1,2\n3,4\n5,6\n", ": is not a Parquet file"),
    ],
)
def test_a_malformed_file_is_told_by_its_line(write, name, content, said):
    assert told(write(name, content)).startswith(said)


def test_a_csv_whose_rows_all_have_a_field_too_many_is_told(write):
    """Otherwise every cell would silently move one column to the left."""
    assert "line 2" in told(write("rows.csv", "question,response\nA?,yes,japan\nB?,no,china\n"))


@pytest.mark.parametrize(
    ("name", "content"),
    [("rows.csv", ""), ("rows.csv", "a,b\n"), ("rows.json", "[]"), ("rows.jsonl", ""), ("rows.jsonl", "\n\n")],
)
def test_a_file_without_rows_is_told(write, name, content):
    assert told(write(name, content)) == ": holds no rows."


def test_a_parquet_file_without_rows_is_told(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    assert told(tmp_path / "rows.parquet") == ": holds no rows."


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
def test_text_of_another_encoding_is_told_by_its_byte(write, name):
    start = {"rows.csv": "a\n", "rows.json": '[{"a": "', "rows.jsonl": '{"a": "'}[name]
    assert (
        told(write(name, start.encode() + "é".encode("latin-1")))
        == f": is not UTF-8 text (byte {len(start)}); save it as UTF-8."
    )


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
