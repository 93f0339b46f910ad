"""Facility location: the rows that best cover all rows, greedily and without the n x n matrix of similarities."""

from __future__ import annotations

import numpy as np

_BLOCK = 512  # rows whose similarities to all rows are held at once
WITHOUT_EFFECT = ("_BLOCK",)


def greedy(unit: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """Up to `count` of float[n, d] unit vectors in the order they are chosen, and the gain of each.

    Each next row is the one that adds most to the sum, over all rows, of the similarity (1 + cosine) / 2 to their
    nearest chosen row; equal gains go to the first row. A row that is chosen changes others' gains only by the rows
    that it is nearer to than all chosen before, so only the similarities of those are computed again. Memory is O(n d).
    """
    _, first, copies = np.unique(unit, axis=0, return_index=True, return_counts=True)
    order = first.argsort()
    first, copies = first[order], copies[order].astype(np.float64)  # a copy gains nothing once the row is chosen
    rows = unit[first].astype(np.float64)
    covered = np.zeros(len(rows))
    gain = (copies.sum() + rows @ (copies @ rows)) / 2
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < min(count, len(rows)):
        row = int(gain.round(10).argmax())  # else rounding errors would break ties
        gains.append(min(float(gain[row]), gains[-1]) if gains else float(gain[row]))
        chosen.append(row)
        near = np.maximum(covered, (1 + rows @ rows[row]) / 2)
        gain -= _lost(rows, copies, covered, near)
        gain[row] = -np.inf
        covered = near
    found = first[chosen].tolist()
    rest = np.setdiff1d(np.arange(len(unit)), found)[: count - len(found)].tolist()
    return found + rest, gains + [0.0] * len(rest)


def _lost(rows: np.ndarray, copies: np.ndarray, covered: np.ndarray, near: np.ndarray) -> np.ndarray:
    """float64[n]: how much less each row would gain now that rows are `near` a chosen one, not `covered` as before."""
    lost = np.zeros(len(rows))
    changed = np.flatnonzero(near > covered)
    for start in range(0, len(changed), _BLOCK):
        part = changed[start : start + _BLOCK]
        similar = (1 + rows[part] @ rows.T) / 2
        old, new = covered[part, None], near[part, None]
        lost += copies[part] @ (similar.clip(old, new) - old)
    return lost
