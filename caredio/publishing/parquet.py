"""A release's tables as Parquet files: as `datasets` writes them, and their first rows stream without the rest."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features

FIRST = 200  # rows of the first row group, and of the second, into which `take(200)` of datasets looks ahead
_GROUP = 100 * 2**20  # bytes of each further one, as `Dataset.to_parquet` has them; chunks end where a group does
# what is trained on comes first, then what a reader looks for
_TRAINED_ON = ("prompt", "completion", "chosen", "rejected", "rejected_culture", "label")
_SHOWN = (*_TRAINED_ON, "culture", "rank", "score", "drop_reason", "question", "response")
_IDS = ("prompt_sha", "question_id", "sample_id")  # what names a row, or the prompt behind it, comes last
# of `Dataset.to_parquet` in datasets 5: a changed row costs the Hub a chunk, not the file
_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}


class Size(NamedTuple):
    """How large a table is: rows, bytes in memory once it is loaded."""

    rows: int
    memory: int


def ordered(columns: Features) -> Features:
    """The columns of a table in the order in which they are published: what a reader looks at before what names it.

    Vectors stay as they are: there is nothing to look at.
    """
    if "response_embedding" in columns:
        return columns
    first, last = ([name for name in names if name in columns] for names in (_SHOWN, _IDS))
    rest = [name for name in columns if name not in {*first, *last}]
    return Features({name: columns[name] for name in [*first, *rest, *last]})


def write(table: Dataset, file: Path) -> None:
    """`table` as a Parquet file whose bytes depend on its rows and Features alone; the columns come `ordered`."""
    columns = ordered(table.features)
    arrow = table.select_columns(list(columns)).with_format("arrow")[:].cast(columns.arrow_schema).combine_chunks()
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file.open("wb") as content,  # pyarrow takes every name for UTF-8, whatever the locale
        pq.ParquetWriter(content, arrow.schema, use_content_defined_chunking=_CHUNKS, write_page_index=True) as writer,
    ):
        for rows in _groups(arrow):
            writer.write_table(rows)
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(_CHUNKS)})


def _groups(table: pa.Table) -> list[pa.Table]:
    """The table in parts, a row group each."""
    most = max(1, len(table) * _GROUP // max(1, table.nbytes))
    starts = [0, *(start for start in (FIRST, *range(2 * FIRST, len(table), most)) if start < len(table))]
    return [table.slice(start, end - start) for start, end in pairwise([*starts, len(table)])]


def features(file: Path) -> Features:
    """The columns of a written table."""
    with file.open("rb") as content:
        return Features.from_arrow_schema(pq.read_schema(content))


def filled(file: Path) -> set[str]:
    """The columns of a written table that hold something: in some row they are neither null nor an empty list."""
    with file.open("rb") as content, pq.ParquetFile(content) as table:
        groups = (table.metadata.row_group(number) for number in range(table.num_row_groups))
        leaves = [group.column(number) for group in groups for number in range(group.num_columns)]
        return {
            leaf.path_in_schema.split(".")[0]
            for leaf in leaves
            if leaf.statistics is None or not leaf.statistics.has_null_count or leaf.statistics.num_values
        }


def size(file: Path) -> Size:
    """How large a written table is, read a row group at a time."""
    with file.open("rb") as content, pq.ParquetFile(content) as table:
        groups = (table.read_row_group(number, use_threads=False) for number in range(table.num_row_groups))
        return Size(table.metadata.num_rows, sum(group.nbytes for group in groups))


def first(file: Path) -> dict[str, Any]:
    """The first row of a written table."""
    with file.open("rb") as content, pq.ParquetFile(content) as table:
        row: dict[str, Any] = table.read_row_group(0, use_threads=False).slice(0, 1).to_pylist()[0]
        return row
