"""Peak memory of a whole CARDSet's stage: 57,000 wide rows asked of an endpoint that answers at once.

    python tests/benchmarks/memory.py [--rows 57000] [--batch]
    python tests/benchmarks/memory.py --whole [--per-topic 100]     every stage of synthesize, a panel of 3

Prints the peak of the process, `datasets` and `openai` included. The rows are as wide as those of the contrastive
stage: eight answers of other cultures each. With `--batch` all of them are one stage of the Batch API. With `--whole`
15 cultures and 38 topics are built; their 800,000 answers come from this process, as over HTTP they take an hour.
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
from llm_server import reply

from caredio import cultures, topics
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import Backend, Held
from caredio.llm.model import Model, connect
from caredio.llm.rows import ask
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Chat, Spec
from caredio.runs import Run
from caredio.synthesis.pipeline import synthesize
from caredio.synthesis.settings import Settings

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
            columns=Features({"response": Value("string")}),
            desc="asked",
        )


class AtOnce(Backend):
    """Replies without waiting, and with texts of the usual length."""

    async def send(self, request: Chat, held: Held) -> Answer:
        form = {"response_format": {"json_schema": {"schema": request.schema}}} if request.schema else {}
        text = reply({"messages": request.messages, **form})
        return Answer(text if request.schema else f"{text} {text} {text}", "stop", "scripted", 100, 100)


def whole(per_topic: int) -> str:
    """Synthesize all cultures on all topics; what came out."""
    settings = Settings(per_topic=per_topic, rouge_l=1.0, checks="none", personas=3)
    known = cultures.load()
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder, "run")) as run:
        store = Store(Path(folder, "answers.sqlite"))
        model = Model(Spec(model="m"), AtOnce(), store)
        made = synthesize(run, model, list(known.values()), list(topics.load().values()), known, settings)
        return f"{len(made)} candidates of {len(store)} answers"


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
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--per-topic", type=int, default=100)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    before, started = peak(), time.perf_counter()
    if given.whole:
        made = whole(given.per_topic)
    else:
        with batches() if given.batch else served(0.0) as url:
            asked = stage(url, given.rows, given.batch)
        assert all(asked["response"])
        made = f"{given.rows} rows"
    print(f"{made} in {time.perf_counter() - started:.0f} s; {before:.0f} MiB before, {peak():.0f} MiB at most")
