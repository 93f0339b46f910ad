"""Benchmarks of culture, as lm-eval tasks, and the table of how systems do on them."""

from __future__ import annotations

from pathlib import Path


def tasks_path() -> Path:
    """The folder for lm-eval's `--include_path`, or `TaskManager(include_path=...)`."""
    return Path(__file__).with_name("tasks")
