"""Calls a second at 256 in flight: caredio's `ask`, a bare `openai` loop, and distilabel.

    python tests/benchmarks/throughput.py [--rows 3000] [--pairs 5] [--distilabel ENV/bin/python]

The endpoint answers after 0.5 s in the mean, in a process of its own; so does each contender. The medians are of
interleaved runs. distilabel (skipped without its interpreter) is timed from the endpoint's first request to its last
answer, so that its start counts for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IN_FLIGHT = 256


def texts(rows: int) -> list[str]:
    return [f"Question {row}: " + "what do people here say about it, and why? " * 10 for row in range(rows)]


def ours(url: str, rows: int) -> float:
    """The whole path: `Dataset.map`, store, table."""
    from datasets import Dataset, Features, Value

    from caredio.llm.ask import ask
    from caredio.llm.client import Endpoint
    from caredio.llm.model import connect
    from caredio.llm.spec import Spec

    dataset = Dataset.from_dict({"question": texts(rows)})
    with tempfile.TemporaryDirectory() as folder:
        model = connect(Spec(model="m"), Endpoint(base_url=url, concurrency=IN_FLIGHT), Path(folder, "answers.sqlite"))

        def asked() -> float:
            started = time.perf_counter()
            table = ask(
                dataset,
                model,
                prompt=lambda row: [{"role": "user", "content": row["question"]}],
                parse=lambda content, row, answer: {"response": content},
                writes=Features({"response": Value("string")}),
                desc="asked",
            )
            assert all(table["response"])
            return time.perf_counter() - started

        first = asked()
        print(f"stored: {first / asked():.1f} times as fast", file=sys.stderr)
    return first


def bare(url: str, rows: int, aiohttp: bool = False) -> float:
    """What one would write first: `AsyncOpenAI`, a semaphore, `gather`."""
    import openai

    async def loop() -> float:
        client = openai.AsyncOpenAI(
            base_url=url, api_key="none", http_client=openai.DefaultAioHttpClient() if aiohttp else None
        )
        room = asyncio.Semaphore(IN_FLIGHT)

        async def one(text: str) -> str:
            async with room:
                reply = await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": text}], max_tokens=512, temperature=0.7, top_p=0.95
                )
            return reply.choices[0].message.content or ""

        started = time.perf_counter()
        assert all(await asyncio.gather(*map(one, texts(rows))))
        seconds = time.perf_counter() - started
        await client.close()
        return seconds

    return asyncio.run(loop())


def distilabel(url: str, rows: int) -> float:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration
    from endpoint import counts

    with Pipeline(name="throughput") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": text} for text in texts(rows)], batch_size=IN_FLIGHT)
        llm = OpenAILLM(model="m", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 512})
        load >> TextGeneration(llm=llm, input_batch_size=IN_FLIGHT)
    made = pipeline.run(use_cache=False)
    assert len(made["default"]["train"]) == rows
    return counts(url)["seconds"]


CONTENDERS = {"ours": ours, "bare": bare, "bare, aiohttp": lambda url, rows: bare(url, rows, aiohttp=True)}


def main() -> None:
    from endpoint import served

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--distilabel", default="")
    given = parser.parse_args()
    pythons = dict.fromkeys(CONTENDERS, sys.executable)
    if given.distilabel:
        pythons["distilabel"] = given.distilabel
    rates: dict[str, list[float]] = {name: [] for name in pythons}
    for pair in range(given.pairs):
        for name, python in pythons.items():
            with served(latency=0.5) as url:
                command = [python, __file__, "--one", name, url, str(given.rows)]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            rates[name].append(given.rows / float(done.stdout.split()[-1]))
            told = [line for line in done.stderr.splitlines() if line.startswith("stored")]
            print(f"{pair + 1}  {name:<14}{rates[name][-1]:7.0f} a second  {' '.join(told)}", flush=True)
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    for name, median in medians.items():
        pairs = sorted(one / other for one, other in zip(rates["ours"], rates[name], strict=True))
        print(f"{name:<14} median {median:5.0f} a second; ours is {statistics.median(pairs):.2f} times that")


def environment() -> dict[str, str]:
    quiet = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    return {**{k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}, **quiet}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        logging.disable(logging.CRITICAL)
        run = {**CONTENDERS, "distilabel": distilabel}[sys.argv[2]]
        print(run(sys.argv[3], int(sys.argv[4])))
    else:
        main()
