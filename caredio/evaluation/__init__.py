"""Benchmarks of culture, as lm-eval tasks, and the table of how systems do on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def tasks_path(cultures_file: Path | str | None = None, benchmarks: Sequence[str] = ()) -> Path:
    """The folder for lm-eval's `--include_path`, or `TaskManager(include_path=...)`; see `tasks.path`."""
    from caredio.evaluation import tasks  # the declarations, which who only imports the package does not need

    return tasks.path(cultures_file, benchmarks)
