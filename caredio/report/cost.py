"""What each stage of a run spent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caredio import plots
from caredio.report import bars
from caredio.report.bars import Bar


def draw(report: Mapping[str, Mapping[str, Any]], file: Path) -> list[Path]:
    """The files of a picture of what stages spent: dollars, or tokens where a model has no listed price.

    Args:
        report: stage -> its entry in run.json, as `Result.report` holds it; stages that asked nothing are left out.
        file: its path, without the ending.
    """
    return plots.drawn(lambda: figure(report), file, report)


def figure(report: Mapping[str, Mapping[str, Any]]) -> Any:
    """As `draw`; None where no stage asked a model."""
    used = {stage: entry["usage"] for stage, entry in report.items() if asked(entry)}
    if all(usage.get("cost_usd") is not None for usage in used.values()):
        made = [
            Bar(plots.label(stage), [usage["cost_usd"]], dollars(usage["cost_usd"])) for stage, usage in used.items()
        ]
        return bars.figure(made, "Cost of each stage, US dollars")
    made = [
        Bar(
            plots.label(stage),
            [usage["prompt_tokens"], usage["completion_tokens"]],
            f"{usage['prompt_tokens']:,} + {usage['completion_tokens']:,}",
        )
        for stage, usage in used.items()
    ]
    return bars.figure(made, "Tokens of each stage", ["read", "written"])


def asked(entry: Mapping[str, Any]) -> bool:
    """Whether a stage had answers or vectors from a model that were not stored before."""
    usage = entry.get("usage") or {}
    return bool(usage.get("prompt_tokens") or usage.get("completion_tokens"))


def dollars(amount: float | None) -> str:
    """An amount in words: four digits behind the point where it is small."""
    if amount is None:
        return "no listed price"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:,.4f}"
