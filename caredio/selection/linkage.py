"""Average and single linkage of unit vectors above a threshold: exact, and without the n x n matrix.

Of unit vectors, the average-linkage similarity of clusters A and B is <S_A, S_B> / (|A| |B|), S being the sum of the
members. A cluster similar to the union of two others is at least as similar to one of them (the linkage is reducible),
so only pairs above theta ever matter. They are found block by block: a bound on a few leading axes rules most pairs
out, <a, b> <= <a1, b1> + |a2| |b2|, and the rest are multiplied out. Merging then works on those pairs alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

_BLOCK = 2048  # rows and columns of a block of pairs
_AXES = 64  # leading axes of the bound
_DENSE = 0.03  # share of a block left by the bound from which multiplying the whole block out is faster
_CHUNK = 2048  # pairs multiplied out at once
_HELD = 64  # pairs a row that are held at once, 24 bytes each
WITHOUT_EFFECT = ("_BLOCK", "_AXES", "_DENSE", "_CHUNK", "_HELD")


class Pairs(NamedTuple):
    """Pairs of clusters, left < right, and the sum of the similarities of their members."""

    left: np.ndarray  # int64[p]
    right: np.ndarray  # int64[p]
    total: np.ndarray  # float64[p]

    def similarity(self, sizes: np.ndarray) -> np.ndarray:
        return self.total / (sizes[self.left] * sizes[self.right])  # one rounding: equal similarities stay equal

    def above(self, theta: float, sizes: np.ndarray) -> Pairs:
        return self.where(self.similarity(sizes) > theta)

    def where(self, chosen: np.ndarray) -> Pairs:
        return Pairs(self.left[chosen], self.right[chosen], self.total[chosen])


class _Held:
    """Pairs added in place, block after block. Room that is not written to takes no memory."""

    def __init__(self, room: int) -> None:
        self.count = 0
        self._room = Pairs(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room))

    def pairs(self) -> Pairs:
        """Views of what was added."""
        return Pairs(*(column[: self.count] for column in self._room))

    def add(self, found: Pairs) -> None:
        start, self.count = self.count, self.count + len(found.left)
        if self.count > len(self._room.left):
            larger = max(self.count, 2 * len(self._room.left))  # at least twice: each pair is copied twice at most
            grown = Pairs(*(np.empty(larger, column.dtype) for column in self._room))
            for new, old in zip(grown, self._room, strict=True):
                new[:start] = old[:start]
            self._room = grown
        for column, more in zip(self._room, found, strict=True):
            column[start : self.count] = more


def average(unit: np.ndarray, theta: float) -> np.ndarray:
    """Average-linkage clusters of float[n, d] unit vectors: int64[n] labels, numbered by first member.

    Two clusters merge while their mean pairwise similarity is the highest left and strictly above `theta`. Ties go to
    the pair of lowest first members, so that the order of the rows decides them and nothing else.
    """
    sums, sizes, labels = _start(unit, theta)
    level = None
    while level != theta:
        pairs, level = _above(sums, sizes, theta)
        into = _merge(pairs, sums, sizes, level)
        alive = into == np.arange(len(into))
        labels = (np.cumsum(alive) - 1)[into][labels]
        sums, sizes = sums[alive], sizes[alive]
    return labels


def single(unit: np.ndarray, theta: float) -> np.ndarray:
    """Single-linkage clusters: rows in a chain of similarities strictly above `theta`; labels as in `average`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sums, sizes, labels = _start(unit, theta)
    joined = np.arange(len(sums))
    search = _Search(sums, sizes)
    for block in search.blocks():
        pairs = search.above(*block, theta)
        links = coo_array((np.ones(len(pairs.left)), (joined[pairs.left], joined[pairs.right])), (len(sums),) * 2)
        joined = connected_components(links, directed=False)[1][joined]
    _, first, number = np.unique(joined, return_index=True, return_inverse=True)
    return first.argsort().argsort()[number][labels]


def _start(unit: np.ndarray, theta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sums, sizes, labels) of the first clusters: single rows, and equal rows together.

    Equal rows are of similarity 1, so they merge before all others; one by one they would take a round each.
    """
    number: dict[bytes | int, int] = {}
    labels = np.empty(len(unit), dtype=np.int64)
    for row, vector in enumerate(unit):
        same = theta < 1 and vector.any()  # zeros are like nothing
        labels[row] = number.setdefault(vector.tobytes() if same else row, len(number))
    first = np.unique(labels, return_index=True)[1]
    sizes = np.bincount(labels).astype(np.float64)
    return unit[first] * sizes[:, None], sizes, labels


def _above(sums: np.ndarray, sizes: np.ndarray, theta: float) -> tuple[Pairs, float]:
    """The pairs strictly above `theta`, or, where those are too many to hold, above the higher threshold returned.

    Similarities fall as clusters merge, so merging above a higher threshold first changes nothing.
    """
    search = _Search(sums, sizes)
    most = _HELD * len(sums)
    held = _Held(most)
    for block in search.blocks():
        held.add(search.above(*block, theta))
        if held.count > most:
            higher = float(np.median(held.pairs().similarity(sizes)))
            upper = held.pairs().above(higher, sizes)
            if len(upper.left):
                theta, held.count = higher, 0
                held.add(upper)
            else:  # half of them are equal: hold them all
                most *= 2
    return held.pairs().above(theta, sizes), theta


def _merge(pairs: Pairs, sums: np.ndarray, sizes: np.ndarray, theta: float) -> np.ndarray:
    """Merge clusters in place while pairs are above `theta`: int64[k], the cluster each one went into.

    Pairs that are each other's nearest merge at once; by reducibility the greedy algorithm would come to them too.
    """
    into = np.arange(len(sizes))
    while len(pairs.left):
        left, right = _reciprocal(pairs, sizes)
        sums[left] += sums[right]
        sizes[left] += sizes[right]
        into[right] = left
        parts = np.ones(len(into), dtype=np.int8)
        parts[left] = 2
        touched = (parts[into[pairs.left]] == 2) | (parts[into[pairs.right]] == 2)
        again = _joined(pairs.where(touched), into, parts, sums).above(theta, sizes)
        pairs = Pairs(*map(np.concatenate, zip(pairs.where(~touched), again, strict=True)))
    while (into[into] != into).any():
        into = into[into]
    return into


def _reciprocal(pairs: Pairs, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(left, right) of the pairs that are each other's nearest; of equally near ones the lowest is the nearest."""
    similarity = pairs.similarity(sizes)
    best = np.full(len(sizes), -np.inf)
    nearest = np.full(len(sizes), len(sizes))
    ends = ((pairs.left, pairs.right), (pairs.right, pairs.left))
    for end, _ in ends:
        np.maximum.at(best, end, similarity)
    for end, other in ends:
        near = similarity == best[end]
        np.minimum.at(nearest, end[near], other[near])
    mutual = (nearest[pairs.left] == pairs.right) & (nearest[pairs.right] == pairs.left)
    return pairs.left[mutual], pairs.right[mutual]


def _joined(pairs: Pairs, into: np.ndarray, parts: np.ndarray, sums: np.ndarray) -> Pairs:
    """The pairs between the clusters that `pairs` went into: totals added up, or multiplied out if one is missing."""
    ends = np.stack([into[pairs.left], into[pairs.right]])
    apart = ends[0] != ends[1]
    ends = np.sort(ends[:, apart], axis=0)
    keys, of, count = np.unique(ends[0] * len(into) + ends[1], return_inverse=True, return_counts=True)
    left, right = np.divmod(keys, len(into))
    total = np.bincount(of, weights=pairs.total[apart], minlength=len(keys))
    partial = count < parts[left] * parts[right]
    total[partial] = _products(sums, left[partial], right[partial])
    return Pairs(left, right, total)


def _products(rows: Any, left: Any, right: Any) -> Any:
    """<rows[left], rows[right]>, float64[p], a chunk at a time."""
    found = np.empty(len(left))
    for start in range(0, len(left), _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part] = np.einsum("ij,ij->i", rows[left[part]], rows[right[part]])
    return found


class _Search:
    """Finds the pairs of clusters above a threshold, on a GPU where torch is there and finds one."""

    def __init__(self, sums: np.ndarray, sizes: np.ndarray) -> None:
        self.sums, self.sizes = sums, sizes
        means = (sums / sizes[:, None]).astype(np.float32)
        # a float32 product of d terms is off by less than this
        self.slack = (means.shape[1] + 8) * 2.0**-23 if len(sums) else 0.0
        inside = means @ _axes(means)
        rest = np.sqrt(np.maximum((means**2).sum(1) - (inside**2).sum(1), 0))
        self.means, self.bound = (_on_gpu(array) for array in (means, np.column_stack([inside, rest])))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """(first row, first column) of the blocks on and above the diagonal."""
        starts = range(0, len(self.sums), _BLOCK)
        return ((row, column) for row in starts for column in starts if column >= row)

    def above(self, row: int, column: int, theta: float) -> Pairs:
        """The pairs of a block that are strictly above `theta`, in the order of their rows."""
        rows, columns = slice(row, row + _BLOCK), slice(column, column + _BLOCK)
        near = self.bound[rows] @ self.bound[columns].T > theta - self.slack
        if near.sum() > _DENSE * near.shape[0] * near.shape[1]:
            near = self.means[rows] @ self.means[columns].T > theta - self.slack
        left, right = np.nonzero(near if isinstance(near, np.ndarray) else near.cpu().numpy())
        left, right = left + row, right + column
        if row == column:
            left, right = left[left < right], right[left < right]
        pairs = Pairs(left, right, _products(self.sums, left, right))
        return pairs.above(theta, self.sizes)


def _on_gpu(array: np.ndarray) -> Any:
    """The array as a tensor on a GPU, or as it is; torch is not loaded where nothing else needed it."""
    torch = sys.modules.get("torch")
    return torch.from_numpy(array).cuda() if torch is not None and torch.cuda.is_available() else array


def _axes(means: np.ndarray) -> np.ndarray:
    """float32[d, k]: orthonormal axes near the leading ones of a sample of the rows, by subspace iteration."""
    sample = means[:: max(1, len(means) // 4096)]
    start = np.random.default_rng(0)
    axes = start.standard_normal((means.shape[1], min(_AXES, means.shape[1])), np.float32)
    for _ in range(3):
        axes = np.linalg.qr(sample.T @ (sample @ axes)).Q
    return axes
