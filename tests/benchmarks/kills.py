"""`kill -9` at random moments of a synthesis, until it is done.

    python tests/benchmarks/kills.py [--kills 10] [--latency 0.5] [--concurrency 64] [--seed 0]

Prints whether the tables are byte-equal to an undisturbed run's, and how many requests the endpoint saw again: those
that were in flight at the kills. The endpoint counts them without the few whose replies the client has not read yet.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from endpoint import counts, served

WANTED = ["--cultures", "china,brazil,japan", "--topics", "food,power", "--per-topic", "12"]
FEW = ["--neighbours", "2", "--compared", "2"]


def command(out: Path, concurrency: int) -> list[str]:
    flags = ["--model", "m", "--concurrency", str(concurrency), "--out", str(out), *WANTED, *FEW]
    return [sys.executable, "-m", "caredio.cli", "synthesize", *flags]


def tables(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.parquet"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environment = {**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"}
        with served(given.latency) as url:
            environment |= {"OPENAI_BASE_URL": url, "CAREDIO_HOME": str(folder / "calm")}
            subprocess.run(command(folder / "even", given.concurrency), env=environment, check=True)
            calm = counts(url)
        at = sorted(draw.sample(range(1, int(calm["requests"])), given.kills))
        in_flight = 0
        with served(given.latency) as url:
            environment |= {"OPENAI_BASE_URL": url, "CAREDIO_HOME": str(folder / "killed")}
            for moment in at:
                process = subprocess.Popen(command(folder / "odd", given.concurrency), env=environment)
                while counts(url)["requests"] < moment and process.poll() is None:
                    time.sleep(draw.uniform(0, 0.05))
                process.send_signal(signal.SIGSTOP)  # a process takes a while to end, in which the endpoint goes on
                in_flight += int(counts(url)["in_flight"])
                process.send_signal(signal.SIGKILL)
                process.wait()
                time.sleep(2 * given.latency)
            subprocess.run(command(folder / "odd", given.concurrency), env=environment, check=True)
            odd = counts(url)
        print(f"killed at requests {at} of {calm['requests']:.0f}, with {in_flight} in flight in all")
        print(f"seen again: {odd['repeats']:.0f} ({calm['repeats']:.0f} without kills)")
        print("tables equal" if tables(folder / "even") == tables(folder / "odd") else "TABLES DIFFER")


if __name__ == "__main__":
    main()
