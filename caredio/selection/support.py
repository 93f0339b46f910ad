"""Table stage (read among all of a culture): how many of its people would give an answer, as bits of an estimate.

responses, weights -> r. `support` reads the culture's own answers alone, `prevalence` also what other cultures answer
to the same question. The constants were chosen on six regions of BLEnD and half of its questions (docs/validity.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KAPPA = 10.0  # concentration of the kernel among the culture's answers to other questions
SHARED = 20.0  # and among other cultures' answers to the same question
PEOPLE = 6.0  # how much the logarithm of the row's own weight counts
FLOOR = 0.01  # the share of another culture's people that an answer is given by at least
_BLOCK = 1024  # responses compared at once
WITHOUT_EFFECT = ("_BLOCK",)


def support(
    responses: np.ndarray, own: np.ndarray, among: np.ndarray, weights: np.ndarray, elsewhere: np.ndarray
) -> np.ndarray:
    """r = T + 6 log2 w, T = log2 of the weighted mean over j of exp(10 (cos(e, e_j) - 1)).

    j runs over the culture's answers to other questions: those to the same one compete for the same people, so an
    answer's neighbours there say that others were given instead of it. Where the culture answers a single question, T
    is 0: people alone count.

    Args:
        responses: unit float[n, d].
        own: float[n], how many people gave each.
        among: unit float[m, d], the culture's answers.
        weights: float[m], how many people gave each of these.
        elsewhere: int[n, 2], the rows of `among`, from and up to, that answer the response's own question.

    Returns:
        float64[n], nan where the answers to other questions, or the row, have no weight.
    """
    found = np.empty(len(responses))
    exact = among.astype(np.float64)  # of two answers each is as near to the other, to the last digits
    totals = np.concatenate([[0.0], np.cumsum(weights)])
    rest = totals[-1] - (totals[elsewhere[:, 1]] - totals[elsewhere[:, 0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        for start in range(0, len(responses), _BLOCK):
            part = slice(start, start + _BLOCK)
            kernel = np.exp(KAPPA * (responses[part].astype(np.float64) @ exact.T - 1.0)) * weights
            for row, (first, last) in enumerate(elsewhere[part]):
                kernel[row, first:last] = 0.0
            found[part] = np.log2(kernel.sum(axis=1) / rest[part])
        found[elsewhere[:, 1] - elsewhere[:, 0] == len(among)] = 0.0
        found += PEOPLE * np.log2(own)
    return np.where(np.isfinite(found), found, np.nan)


def shared(response: np.ndarray, others: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """log2 of 0.01 + the mean over other cultures of the share of their people who say about the same, in bits.

    Unit float[d], and for each culture unit float[k, d] and float[k], its answers to the same question and how many
    people gave each: of these the mean of exp(20 (cos(e, e_j) - 1)) by weight is the share. With no culture, log2 0.01.
    """
    shares = [
        float(np.exp(SHARED * (unit.astype(np.float64) @ response.astype(np.float64) - 1.0)) @ weights / weights.sum())
        for unit, weights in others
    ]
    return float(np.log2(FLOOR + (sum(shares) / len(shares) if shares else 0.0)))
