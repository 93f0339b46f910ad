from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from caredio.errors import InputError
from caredio.evaluation import published

ROWS = [{"id": "1", "text": "None", "other": "x"}, {"id": "2", "text": "é, and\nNA", "other": "y"}]
SUFFIXES = ["csv", "json", "jsonl", "parquet"]


def written(folder: Path, suffix: str) -> Path:
    file = folder / f"rows.{suffix}"
    if suffix == "csv":
        file.write_text('\ufeffid,text,other\n1,None,x\n2,"é, and\nNA",y\n', encoding="utf-8")
    elif suffix == "json":
        file.write_text(json.dumps(ROWS), encoding="utf-8")
    elif suffix == "jsonl":
        file.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n", encoding="utf-8")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_of_every_form_have_the_columns_alone(suffix: str, tmp_path: Path) -> None:
    wanted = [{"id": row["id"], "text": row["text"]} for row in ROWS]
    assert published.rows(written(tmp_path, suffix), ["id", "text"], "rows") == wanted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_column_that_is_gone_is_named(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"rows\.{suffix}: lacks answer, key; give the real one\."):
        published.rows(written(tmp_path, suffix), ["id", "answer", "key"], "the real one")


def test_a_row_without_a_cell_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "1"}\n\n{"id": null, "text": "x"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: lacks text; give it\."):
        published.rows(tmp_path / "a.jsonl", ["id", "text"], "it")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"id\n"),
        ("a.json", b"{"),
        ("a.json", b"3"),
        ("a.jsonl", b'{"id": 1}\n{"id"'),
        ("a.csv", b"id\n\xff\n"),
        ("a.parquet", b"PAR1"),
        ("a.xlsx", b""),
    ],
)
def test_another_file_is_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"a\.") as caught:
        published.rows(tmp_path / name, ["id"], "it")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_files_of_a_folder_and_a_file_alone(tmp_path: Path) -> None:
    for name in ("b_data.json", "sub/a_data.json", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert published.within(tmp_path, ["*_data.json"], "it") == [tmp_path / "b_data.json", tmp_path / "sub/a_data.json"]
    assert published.within(tmp_path / "c.txt", ["*_data.json"], "it") == [tmp_path / "c.txt"]
    with pytest.raises(InputError, match=r"holds no \*\.csv and no \*\.tsv; give it\."):
        published.within(tmp_path, ["*.csv", "*.tsv"], "it")
