from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from caredio.errors import InputError
from caredio.evaluation import published

ROWS = [{"id": "1", "text": "None"}, {"id": "2", "text": "é, and\nNA"}]


def written(folder: Path, suffix: str) -> Path:
    file = folder / f"rows.{suffix}"
    if suffix == "csv":
        file.write_text('\ufeffid,text\n1,None\n2,"é, and\nNA"\n', encoding="utf-8")
    elif suffix == "json":
        file.write_text(json.dumps(ROWS), encoding="utf-8")
    elif suffix == "jsonl":
        file.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n", encoding="utf-8")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_rows_of_every_form(suffix: str, tmp_path: Path) -> None:
    assert published.rows(written(tmp_path, suffix), ["id", "text"], "rows") == ROWS


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_a_column_that_is_gone_is_named(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"rows\.{suffix}, row 1: lacks answer; give the real one\."):
        published.rows(written(tmp_path, suffix), ["id", "answer"], "the real one")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id\n", "holds no rows; give it"),
        ("a.json", b"{", "is not the json file that it is named as"),
        ("a.json", b'{"id": 1}', "is not a list of rows; give it"),
        ("a.jsonl", b'{"id": 1}\n{"id"', "is not the jsonl file"),
        ("a.csv", b"id\n\xff\n", "is not the csv file"),
        ("a.parquet", b"PAR1", "is not the parquet file"),
        ("a.xlsx", b"", "is neither csv, json, jsonl nor Parquet; give it"),
    ],
)
def test_another_file_is_one_sentence(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        published.rows(tmp_path / name, ["id"], "it")
    assert str(caught.value).endswith(".")


def test_files_of_a_folder_and_a_file_alone(tmp_path: Path) -> None:
    for name in ("b_data.json", "sub/a_data.json", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert published.within(tmp_path, ["*_data.json"], "it") == [tmp_path / "b_data.json", tmp_path / "sub/a_data.json"]
    assert published.within(tmp_path / "c.txt", ["*_data.json"], "it") == [tmp_path / "c.txt"]
    with pytest.raises(InputError, match=r"holds no \*\.csv and no \*\.tsv; give it\."):
        published.within(tmp_path, ["*.csv", "*.tsv"], "it")
