"""What `curve` says of its arms: lines of a table, a page, and the lines of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caredio import plots
from caredio.training import bootstrap
from caredio.training.bootstrap import Value
from caredio.training.nested import ALL, OURS, UNTRAINED, Point


def lines(group: tuple[str, str], sums: Mapping[Point, np.ndarray]) -> list[dict[str, Any]]:
    """A line of curve.jsonl for each arm.

    Args:
        group: the culture and the kind of held-out answers.
    """
    found = []
    for point, arm in sums.items():
        bits, nats = bootstrap.per_byte([arm]), bootstrap.per_token([arm])
        what = {"culture": group[0], "held_out": group[1], "questions": len(arm), "tokens": int(arm[:, 1].sum())}
        own = {"ranking": point.ranking, "seed": point.seed, "budget": point.budget}
        values = {"bits_per_byte": bits, "nats_per_token": nats}
        ends = {
            f"{name}{end}": getattr(value, field)
            for name, value in values.items()
            for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        found.append({**what, **own, **ends})
    return found


def section(culture: str, kind: str, sums: Mapping[Point, np.ndarray]) -> str:
    """The part of curve.md on a culture: a line for each ranking and budget, beside it how ours compares."""
    questions = len(next(iter(sums.values())))
    text = [f"\n## {culture}, {kind} to {questions} questions\n"]
    text += ["| ranking | rows | seeds | bits a byte | nats a token | ours less this |", "|---|---|---|---|---|---|"]
    grouped = together(sums)
    for (ranking, budget), found in grouped.items():
        ours = grouped.get((OURS, budget))
        less = str(bootstrap.difference(ours, found)) if ours and ranking != OURS else ""
        values = f"{bootstrap.per_byte(found)} | {bootstrap.per_token(found)}"
        text.append(f"| {ranking} | {budget} | {len(found)} | {values} | {less} |")
    return "\n".join(text) + "\n"


def drawn(sums: Mapping[Point, np.ndarray]) -> list[plots.Line]:
    """The lines of a culture's picture: each ranking's from the untrained model on, and all rows as a point."""
    grouped = {key: bootstrap.per_byte(found) for key, found in together(sums).items()}
    begun = grouped[UNTRAINED, 0]
    names = dict.fromkeys(ranking for ranking, _ in grouped if ranking != UNTRAINED)
    made = []
    for name in names:
        own: list[tuple[int, Value]] = [] if name == ALL else [(0, begun)]
        own += sorted((budget, value) for (ranking, budget), value in grouped.items() if ranking == name)
        x, values = [budget for budget, _ in own], [value for _, value in own]
        low, high = [value.low for value in values], [value.high for value in values]
        made.append(plots.Line(name, x, [value.value for value in values], low, high))
    return made


def together(sums: Mapping[Point, np.ndarray]) -> dict[tuple[str, int], list[np.ndarray]]:
    """(ranking, budget) -> its arms, one a seed."""
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for point, arm in sums.items():
        found.setdefault((point.ranking, point.budget), []).append(arm)
    return found
