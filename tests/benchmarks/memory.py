"""Peak memory of a whole CARDSet's stage: 57,000 wide rows asked of an endpoint that answers at once.

    python tests/benchmarks/memory.py [--rows 57000] [--batch]

Prints the peak of the process, `datasets` and `openai` included. The rows are as wide as those of the contrastive
stage: eight answers of other cultures each. With `--batch` all of them are one stage of the Batch API.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value
from endpoint import served

from caredio.llm.ask import ask
from caredio.llm.client import Endpoint
from caredio.llm.model import connect
from caredio.llm.spec import Spec

ANSWER = "We usually sit down together after the evening meal and talk about the day that was. " * 5


def peak() -> float:
    """MiB that this process has held at most (Linux; `getrusage` would count what forked it)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]


def table(rows: int) -> Dataset:
    others = [[{"culture": f"culture_{n}", "response": ANSWER} for n in range(8)]] * rows
    return Dataset.from_dict({"question": [f"Question {row}?" for row in range(rows)], "others": others})


def stage(url: str, rows: int, batches: bool = False) -> Dataset:
    def prompt(row: dict) -> list[dict[str, str]]:
        shown = "\n".join(f"- {other['culture']}: {other['response']}" for other in row["others"])
        return [{"role": "user", "content": f"{row['question']}\n{shown}"}]

    with tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint(base_url=url, concurrency=256, batch=batches)
        return ask(
            table(rows),
            connect(Spec(model="m"), endpoint, Path(folder, "answers.sqlite")),
            prompt=prompt,
            parse=lambda content, row, answer: {"response": content},
            writes=Features({"response": Value("string")}),
            desc="asked",
        )


def _serve(pipe: Any) -> None:
    from batch_server import BatchServer

    with BatchServer() as server:
        pipe.send(server.url)
        pipe.recv()


@contextlib.contextmanager
def batches() -> Iterator[str]:
    """The scripted Batch API, in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    yield here.recv()
    process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=57_000)
    parser.add_argument("--batch", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    before, started = peak(), time.perf_counter()
    with batches() if given.batch else served(0.0) as url:
        asked = stage(url, given.rows, given.batch)
    assert all(asked["response"])
    print(
        f"{given.rows} rows in {time.perf_counter() - started:.0f} s; {before:.0f} MiB before, {peak():.0f} MiB at most"
    )
