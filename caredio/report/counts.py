"""How many rows each culture has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caredio import cultures, plots
from caredio.report import bars
from caredio.report.bars import Bar

_VIEWS = ("-preference", "-unpaired", "-pool", "-vectors")  # configs of a release that are no culture's ranked rows
_EVERYBODY = ("all", "default")


def draw(splits: Mapping[str, Mapping[str, int]], file: Path) -> list[Path]:
    """The files of a picture with a bar for each culture, whose parts are its splits.

    Args:
        splits: config or culture -> split -> rows; configs of all cultures, and other views of the same rows, are left
            out.
        file: its path, without the ending.
    """
    return plots.drawn(lambda: figure(splits), file, splits)


def figure(splits: Mapping[str, Mapping[str, int]]) -> Any:
    """As `draw`; None where no culture has rows."""
    own = {config: held for config, held in splits.items() if config not in _EVERYBODY and not config.endswith(_VIEWS)}
    parts = list(dict.fromkeys(split for held in own.values() for split in held))
    named = bars.names(cultures.slugs(own))
    made = [
        Bar(named[config], [held.get(split, 0) for split in parts], _numbers(held, parts))
        for config, held in sorted(own.items())
    ]
    return bars.figure(made, "Rows of each culture", [plots.label(split) for split in parts])


def _numbers(held: Mapping[str, int], parts: list[str]) -> str:
    return " + ".join(f"{held[part]:,}" for part in parts if held.get(part)) or "0"
