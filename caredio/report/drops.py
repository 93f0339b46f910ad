"""Which rows a run dropped, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caredio import plots
from caredio.report import bars
from caredio.report.bars import Bar

_MOST = 8  # reasons of a stage


def draw(report: Mapping[str, Mapping[str, Any]], file: Path) -> list[Path]:
    """The files of a picture with a bar for each reason that a stage dropped rows for; none where none was dropped.

    Args:
        report: stage -> its entry in run.json, as `Result.report` holds it.
        file: its path, without the ending.
    """
    texts = [reason for entry in report.values() for reason in entry.get("dropped", ())]
    return plots.drawn(lambda: figure(report), file, texts)


def figure(report: Mapping[str, Mapping[str, Any]]) -> Any:
    """As `draw`; None where nothing was dropped."""
    made = []
    for stage, entry in report.items():
        found = sorted(entry.get("dropped", {}).items(), key=lambda one: (-one[1], one[0]))
        shown, others = found[:_MOST], sum(count for _, count in found[_MOST:])
        shown += [(f"{len(found) - _MOST} other reasons", others)] if others else []
        made += [
            Bar(f"{plots.label(stage)}: {plots.label(reason)}", [count], f"{count:,}", space=not place)
            for place, (reason, count) in enumerate(shown)
        ]
    return bars.figure(made, "Rows dropped, by stage and reason")
