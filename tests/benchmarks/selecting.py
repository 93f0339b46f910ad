"""How long `caredio select` takes, stage by stage, on a table of CARDSet's shape whose embeddings are given.

    python tests/benchmarks/selecting.py                       15 cultures x 3,800 questions x 384 numbers
    python tests/benchmarks/selecting.py --questions 400       a smaller one

Vectors are random around as many centres as there are topics' worth of questions, so that clusters of all sizes form.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

THETA = 0.75


def table(path: Path, cultures: int, questions: int, dim: int, seed: int = 0) -> None:
    """A row for every culture and question; a response is near the others' answers to the same question."""
    rng = np.random.default_rng(seed)
    words = np.array([f"word{number}" for number in range(5000)])
    asked = [" ".join(row) + "?" for row in rng.choice(words, (questions, 15))]
    said = [" ".join(row) for row in rng.choice(words, (cultures * questions, 40))]
    topics = _unit(rng.normal(size=(questions // 4 + 1, dim)))
    of = rng.integers(len(topics), size=questions)
    sample = np.tile(topics[of], (cultures, 1)) + rng.normal(size=(cultures * questions, dim)) * 0.5 / dim**0.5
    response = np.tile(topics[of], (cultures, 1)) + rng.normal(size=(cultures * questions, dim)) / dim**0.5
    columns = {
        "question_id": [f"q{number:05}" for number in range(questions)] * cultures,
        "question": asked * cultures,
        "response": said,
        "culture": [f"culture{number:02}" for number in range(cultures) for _ in range(questions)],
        "sample_embedding": _vectors(sample),
        "response_embedding": _vectors(response),
    }
    pq.write_table(pa.table(columns), path)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _vectors(vectors: np.ndarray) -> pa.Array:
    flat = pa.array(_unit(vectors).astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cultures", type=int, default=15)
    parser.add_argument("--questions", type=int, default=3800)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--engine", default="local", choices=("local", "ray"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "own.parquet", Path(folder) / "run"
        table(path, given.cultures, given.questions, given.dim)
        started = time.monotonic()
        import caredio

        settings = {"embedder": "given", "theta": THETA, "budget": 200, "engine": given.engine}
        ranked = caredio.select(path, out=out, **settings).ranked
        whole = time.monotonic() - started
        stages = json.loads((out / "run.json").read_text())["stages"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{given.cultures * given.questions:,} rows, {given.dim} numbers a vector, {os.cpu_count()} cores")
    print(f"{'stage':12}{'rows':>9}{'seconds':>9}")
    for name, entry in stages.items():
        print(f"{name:12}{entry['rows']:9,}{entry['seconds']:9.1f}")
    clusters = sum(told["clusters"] for told in stages["scored"]["clusters"].values())
    print(f"{'all':12}{len(ranked):9,}{whole:9.1f}   {clusters:,} clusters, {peak:.1f} GiB at most")


if __name__ == "__main__":
    main()
