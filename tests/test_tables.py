"""Tables of every shape through `select`: ranked rightly, or one sentence; never another exception."""

import csv
import datetime
import decimal
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

import caredio
from caredio import features, runs
from caredio.errors import InputError

ODD = "\ufeff\u200b\u200c\u00ad\u2028\u0085\x00\t\r\n \"',;|.#\u0301é中🏳\u3164\ud83d"
NAMES = st.one_of(
    st.sampled_from(sorted(features.COLUMNS)), st.text(st.characters() | st.sampled_from(ODD), max_size=6)
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(ODD[:-1]), max_size=12)
CULTURES = st.sampled_from(["japan", "türkiye", "Peru", "Côte d Ivoire", "日本", " peru", "", "Me\u0301xico"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda cells: (
        st.lists(cells, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=3), cells, max_size=3)
    ),
    max_leaves=6,
)
ROLES = st.sampled_from(["user", "assistant", "human", "gpt", "model", "system", "tool", "narrator", "", None])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"role": ROLES, "from": ROLES, "content": JSON | WORDS, "value": WORDS, "weight": st.integers(0, 1)},
    ),
    max_size=4,
)
CELLS = st.one_of(WORDS, WORDS, st.none(), st.integers(0, 99), st.just(float("nan")), JSON, MESSAGES)
VECTORS = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2)
ARROW = [
    pa.array(range(20), pa.uint8()).dictionary_encode(),
    pa.array([decimal.Decimal(n) for n in range(20)]),
    pa.array([datetime.date(2020, 1, 1)] * 20),
    pa.array([b"\xff"] * 20),
    pa.array([[("k", 1)]] * 20, pa.map_(pa.string(), pa.int32())),
    pa.array([["x"]] * 20, pa.large_list(pa.string())),
    pa.array([["x"]] * 20, pa.list_view(pa.string())),
    pa.array(["x"] * 20, pa.string_view()),
    pa.array([1.5] * 20, pa.float16()),
    pa.nulls(20),
    pa.array([7] * 20, pa.duration("us")),
    pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"] * 20, pa.binary(16))),
]


@st.composite
def tables(draw):
    """Column name -> cells: the columns that selection needs, mostly, and others, in any order."""
    rows = draw(st.integers(1, 7))

    def column(cells):
        return st.lists(cells, min_size=rows, max_size=rows)

    questions = st.sampled_from(["Why?", "What?", "Why? "])
    plain = {"question": column(questions), "response": column(WORDS), "culture": column(CULTURES)}
    chats = {
        "messages": column(
            st.builds(
                lambda q, a: [{"role": "user", "content": q}, {"role": "assistant", "content": a}], questions, WORDS
            )
            | MESSAGES
        ),
        "culture": column(CULTURES),
    }
    vectors = {"sample_embedding": column(VECTORS), "response_embedding": column(VECTORS)}
    columns = draw(st.fixed_dictionaries({**draw(st.sampled_from([plain, plain, plain, chats])), **vectors}))
    columns |= draw(st.dictionaries(NAMES, column(CELLS), max_size=3))  # which may take the place of one above
    if draw(st.integers(0, 9)) == 7:
        columns.pop(draw(st.sampled_from(sorted(columns))))
    order = draw(st.permutations(list(columns)))
    return {name: columns[name] for name in order}


def listed(columns):
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def as_json(draw, columns):
    return json.dumps(listed(columns), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def as_jsonl(draw, columns):
    lines = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in listed(columns)]
    return draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(lines).encode("utf-8", "surrogatepass")


def as_csv(draw, columns):
    made = io.StringIO(newline="")
    writer = csv.writer(
        made,
        delimiter=draw(st.sampled_from(",;\t|")),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return made.getvalue().encode("utf-8", "surrogatepass")


def as_parquet(draw, columns):
    rows = len(next(iter(columns.values())))
    made = {}
    for name, cells in columns.items():
        try:
            column = pa.array(cells)
            pq.write_table(pa.table({"a": column}), io.BytesIO())
            made[name.encode("utf-8", "replace").decode()] = column
        except (pa.ArrowException, TypeError, ValueError, OverflowError):  # which Parquet cannot hold
            made["mixed"] = draw(st.sampled_from(ARROW))[:rows]
    names, arrays = list(made), list(made.values())
    for number in range(draw(st.integers(0, 2))):
        names.append(draw(st.sampled_from([f"odd{number}", "level", "language", "note", *names[:1]])))
        arrays.append(draw(st.sampled_from(ARROW))[:rows])
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names), file)
    return file.getvalue()


WRITERS = {"csv": as_csv, "json": as_json, "jsonl": as_jsonl, "parquet": as_parquet}


@st.composite
def files(draw):
    """(kind, content of the file, the columns in it or None where the content was damaged)"""
    columns = draw(tables())
    kind = draw(st.sampled_from(sorted(WRITERS)))
    content = whole = WRITERS[kind](draw, columns)
    if kind != "parquet" and draw(st.integers(0, 19)) == 13:
        content = content.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "latin-1"])), "replace")
    if draw(st.integers(0, 19)) == 13:
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=3)) + content[place + draw(st.integers(0, 3)) :]
    damaged = content != whole
    if kind != "parquet":
        content = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + content
    return kind, content, None if damaged else columns


def ranked_rightly(columns, run, ranked):
    """What is ranked are the table's texts, and every row is ranked, merged into another, or dropped for a reason."""
    said = {text.strip() for cells in columns.values() for text in texts(cells)} | {"[]"}  # an empty list, in CSV
    for row in ranked:
        assert {row["question"], row["response"]} <= said
    stages = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]
    dropped = {name: sum(stages[name]["dropped"].values()) for name in ("candidates", "scored")}
    rows = len(next(iter(columns.values())))
    assert len(ranked) + sum(dropped.values()) + stages["candidates"]["merged"] == rows
    rejects = [run / "candidates" / "rejects" / "candidates.parquet"] if dropped["candidates"] else []
    assert sum(len(runs.read([file])) for file in rejects) == dropped["candidates"]


def texts(cells):
    """All text in a column, and in chats in it; numbers as text."""
    for cell in cells:
        if isinstance(cell, dict):
            yield from texts(cell.values())
        elif isinstance(cell, list):
            yield from texts(cell)
            yield "".join(part["text"] for part in cell if isinstance(part, dict) and isinstance(part.get("text"), str))
            yield "".join(part for part in cell if isinstance(part, str))
        elif cell is not None:
            yield str(cell)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    """A sentence-transformers model of a vector for each byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vectors = np.random.default_rng(0).normal(size=(len(alphabet), 8)).astype(np.float32)
    folder = str(tmp_path_factory.mktemp("embedder"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)], device="cpu").save(folder)
    return folder


def ends_well(file, embedder):
    """Whether a table was ranked, rightly; else it was refused in one sentence."""
    kind, content, columns = file
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder) / f"own.{kind}", Path(folder) / "run"
        path.write_bytes(content)
        by = "given" if kind in ("json", "parquet") else embedder
        try:
            ranked = caredio.select(path, out=run, embedder=by, theta=0.9).ranked
        except InputError as error:
            sentence = str(error)
        else:
            sentence = ""
        if sentence:
            assert len(sentence.splitlines()) == 1, sentence
            assert not (run / "ranked").exists()
            return False
        if columns is not None:
            ranked_rightly(columns, run, ranked)
        return True


CHECKS = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True, "database": None}


def check(examples, embedder, **how):
    ranked = []

    @settings(max_examples=examples, **how, **CHECKS)
    @given(files())
    def tables_end_well(file):
        ranked.append(ends_well(file, embedder))

    tables_end_well()
    assert sum(ranked) > len(ranked) / 5, "most tables are refused: the test says little of what is ranked"


def test_a_table_of_any_shape_is_ranked_rightly_or_refused_in_one_sentence(embedder):
    check(100, embedder, derandomize=True)


@pytest.mark.slow
def test_many_tables_of_any_shape_are_ranked_rightly_or_refused_in_one_sentence(embedder):
    check(250, embedder, derandomize=True)
