"""The paper's own build at full size, from its YAML to a release that is loaded: time and memory of each step.

    python tests/benchmarks/cardset.py                       15 cultures, 38 topics of 100 questions; hours
    python tests/benchmarks/cardset.py --per-topic 10        a tenth of it

A scripted endpoint (endpoint.py) in a process of its own writes the answers and makes vectors of 1,536 numbers. Each
step is the command that a user types, in a process of its own; its peak of memory is the kernel's, as `/usr/bin/time
-v` prints it. Scripted questions are alike, so that near-duplicates are not dropped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from endpoint import counts, served

RECIPE = Path(__file__).parents[2] / "recipes" / "cardset.yaml"
LOAD = """
import sys
from datasets import get_dataset_config_names, load_dataset
release, rows = sys.argv[1], {}
for config in get_dataset_config_names(release):
    for split, table in load_dataset(release, config).items():
        rows[config, split] = len(table)
print(f"{len(rows)} tables, {sum(rows.values()):,} rows")
"""


class Used(NamedTuple):
    """What a process took: seconds, seconds of CPU, MiB at most; and its last line."""

    wall: float
    cpu: float
    peak: float
    said: str


def measured(command: Sequence[str], environment: dict[str, str]) -> Used:
    """Run a command to its end; what it took.

    Raises:
        SystemExit: it failed.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines() or [""]
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return Used(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines[-1])


def steps(recipe: Path, out: Path, url: str, per_topic: int) -> dict[str, list[str]]:
    """Name -> command."""
    caredio = [sys.executable, "-m", "caredio.cli"]
    build = ["--config", str(recipe), "--per-topic", str(per_topic), "--rouge-l", "1.0", "--base-url", url]
    return {
        "build": [*caredio, "build", "--out", str(out), *build, "--concurrency", "256", "--quiet"],
        "build again": [*caredio, "build", "--out", str(out), *build, "--concurrency", "256", "--quiet"],
        "publish": [*caredio, "publish", "--out", str(out), "--version", "v1.0.0", "--quiet"],
        "load": [sys.executable, "-c", LOAD, str(out / "release")],
    }


def through(recipe: Path, out: Path, per_topic: int) -> Iterator[tuple[str, Used]]:
    """What each step took, and at last the requests of all."""
    home = {"CAREDIO_HOME": str(out.parent / "home"), "HF_HOME": str(out.parent / "hf"), "OPENAI_API_KEY": "none"}
    home["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    with served(0.0) as url:
        for name, command in steps(recipe, out, url, per_topic).items():
            asked = counts(url)["requests"]
            used = measured(command, {**os.environ, **home})
            yield name, used._replace(said=f"{counts(url)['requests'] - asked:,.0f} requests; {used.said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-topic", type=int, default=100)
    parser.add_argument("--out", type=Path, help="folder to keep run and release in; default: none is kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = (given.out or Path(folder)) / "cardset"
        print(f"{'step':<14}{'seconds':>9}{'CPU':>9}{'MiB':>9}", flush=True)
        for name, used in through(RECIPE, out, given.per_topic):
            print(f"{name:<14}{used.wall:>9.0f}{used.cpu:>9.0f}{used.peak:>9.0f}   {used.said}", flush=True)
        stages = json.loads((out / "run.json").read_text())["stages"]
        print(", ".join(f"{name} {entry['rows']:,}" for name, entry in stages.items()))


if __name__ == "__main__":
    main()
