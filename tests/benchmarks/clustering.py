"""Exact average linkage: ours beside scikit-learn's, each in a process of its own, by turns.

    python tests/benchmarks/clustering.py                     20,000 rows, both, five pairs
    python tests/benchmarks/clustering.py --vectors vectors.npy
    python tests/benchmarks/clustering.py --growth            ours alone at 10,000 to 100,000 rows

Rows are float32[n, 384] unit vectors around themes of very different weight, or those of --vectors (sampled by seed).
Time is of the clustering alone; memory is the process's peak above what it held with the rows loaded.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

THETA = 0.75
DIM = 384


def rows(count: int, file: Path | None) -> np.ndarray:
    """float32[count, d] unit vectors."""
    rng = np.random.default_rng(count)
    if file:
        vectors = np.load(file).astype(np.float32)
        vectors = vectors[rng.permutation(len(vectors))[:count]]
    else:
        subjects = rng.normal(size=(60, DIM)).astype(np.float32)
        themes = rng.normal(size=(count // 8, DIM)).astype(np.float32) + subjects[rng.integers(60, size=count // 8)]
        weights = 1 / np.arange(1, len(themes) + 1) ** 0.7
        vectors = themes[rng.choice(len(themes), size=count, p=weights / weights.sum())]
        vectors += 0.75 * rng.normal(size=vectors.shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(system: str, count: int, file: Path | None) -> dict[str, float]:
    """Cluster in this process: seconds, MiB, clusters and a hash of the partition."""
    vectors = rows(count, file)
    if system == "scikit-learn":
        from sklearn.cluster import AgglomerativeClustering

        model = AgglomerativeClustering(
            n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - THETA
        )
        cluster = model.fit_predict
    else:
        import torch  # noqa: F401 (loading it is no part of the clustering)

        from caredio.selection import linkage

        def cluster(vectors: np.ndarray) -> np.ndarray:
            return linkage.average(vectors, THETA)

    cluster(vectors[:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    labels = cluster(vectors)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    partition = first[number]  # each row's cluster by its first member, whatever the labels are
    return {
        "seconds": seconds,
        "mib": (peak - before) / 1024,
        "process_mib": peak / 1024,
        "clusters": len(first),
        "largest": int(np.bincount(number).max()),
        "partition": int(np.uint64(hash(partition.tobytes()) & 0xFFFFFFFF)),
    }


def apart(system: str, count: int, file: Path | None) -> dict[str, float]:
    """`measure` in a new process."""
    command = [sys.executable, __file__, "--child", system, "--rows", str(count)]
    command += ["--vectors", str(file)] if file else []
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    return json.loads(done.stdout.splitlines()[-1])


def beside(count: int, pairs: int, file: Path | None) -> None:
    ours, theirs = [], []
    for number in range(pairs):
        ours.append(apart("caredio", count, file))
        theirs.append(apart("scikit-learn", count, file))
        same = "same" if ours[-1]["partition"] == theirs[-1]["partition"] else "DIFFERENT"
        print(
            f"{number + 1}: caredio {ours[-1]['seconds']:.2f} s {ours[-1]['mib']:.0f} MiB,"
            f" scikit-learn {theirs[-1]['seconds']:.2f} s {theirs[-1]['mib']:.0f} MiB,"
            f" {same} partition of {ours[-1]['clusters']} clusters, largest {ours[-1]['largest']}",
            flush=True,
        )
    time_ratio = statistics.median(t["seconds"] / o["seconds"] for o, t in zip(ours, theirs, strict=True))
    memory_ratio = statistics.median(t["mib"] / o["mib"] for o, t in zip(ours, theirs, strict=True))
    print(f"{count} rows, median of {pairs} pairs: {time_ratio:.1f} x faster, {memory_ratio:.1f} x less memory")


def growth(counts: list[int], file: Path | None) -> None:
    found = []
    for count in counts:
        one = apart("caredio", count, file)
        found.append(one)
        print(
            f"{count:>8} rows {one['seconds']:8.2f} s, process peak {one['process_mib']:6.0f} MiB,"
            f" {one['clusters']} clusters, largest {one['largest']}",
            flush=True,
        )
    exponent = np.polyfit(np.log(counts), np.log([one["seconds"] for one in found]), 1)[0]
    print(f"seconds grow as n^{exponent:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--vectors", type=Path, help="float32[n, d] of one's own, as .npy")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, given.rows, given.vectors)))
    elif given.growth:
        growth([10_000, 20_000, 40_000, 80_000, 100_000], given.vectors)
    else:
        beside(given.rows, given.pairs, given.vectors)


if __name__ == "__main__":
    main()
