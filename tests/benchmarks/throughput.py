"""Calls a second at 256 in flight: caredio's `ask`, a bare `openai` loop, and distilabel.

    python tests/benchmarks/throughput.py [--rows 3000] [--pairs 5] [--distilabel ENV/bin/python]

The endpoint answers after 0.5 s in the mean, in a process of its own, and so runs each contender. The medians are of
interleaved runs, each timed from rows in memory to answers in memory, imports apart. Of distilabel (skipped without
its interpreter), whose `Pipeline.run` starts processes of its own, there is also the time from the endpoint's first
request to its last answer alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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


def ours(url: str, rows: int) -> dict[str, float]:
    """The whole path: `Dataset.map`, store, table; then again, all of it stored."""
    import aiohttp  # noqa: F401 (the first call imports both)
    import openai  # noqa: F401
    from datasets import Dataset, Features, Value

    from caredio.llm.model import connect
    from caredio.llm.rows import ask
    from caredio.llm.settings import Endpoint
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
                columns=Features({"response": Value("string")}),
                desc="asked",
            )
            assert all(table["response"])
            return time.perf_counter() - started

        return {"ours": asked(), "ours, all stored": asked()}


def bare(url: str, rows: int, aiohttp: bool = False) -> dict[str, float]:
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

    return {"bare, aiohttp" if aiohttp else "bare": asyncio.run(loop())}


def distilabel(url: str, rows: int) -> dict[str, float]:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration
    from endpoint import counts

    started = time.perf_counter()
    with Pipeline(name="throughput") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": text} for text in texts(rows)], batch_size=IN_FLIGHT)
        llm = OpenAILLM(model="m", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 512})
        load >> TextGeneration(llm=llm, input_batch_size=IN_FLIGHT)
    made = pipeline.run(use_cache=False)
    assert len(made["default"]["train"]) == rows
    return {"distilabel": time.perf_counter() - started, "distilabel, requests alone": counts(url)["seconds"]}


CONTENDERS = {
    "ours": ours,
    "bare": bare,
    "bare, aiohttp": lambda url, rows: bare(url, rows, aiohttp=True),
    "distilabel": distilabel,
}


def main() -> None:
    from endpoint import served

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--distilabel", default="")
    given = parser.parse_args()
    pythons = dict.fromkeys(CONTENDERS, sys.executable) | {"distilabel": given.distilabel}
    rates: dict[str, list[float]] = {}
    for pair in range(given.pairs):
        for name, python in pythons.items():
            if not python:
                continue
            with served(latency=0.5) as url:
                command = [python, __file__, "--one", name, url, str(given.rows)]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            for timed, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                rates.setdefault(timed, []).append(given.rows / seconds)
                print(f"{pair + 1}  {timed:<26}{rates[timed][-1]:7.0f} a second", flush=True)
    for name, rate in rates.items():
        pairs = [one / other for one, other in zip(rates["ours"], rate, strict=True)]
        median, ratio = statistics.median(rate), statistics.median(pairs)
        print(f"{name:<26} median {median:5.0f} a second; ours is {ratio:.2f} times that")


def environment() -> dict[str, str]:
    quiet = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    return {**{k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}, **quiet}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        logging.disable(logging.CRITICAL)
        print(json.dumps(CONTENDERS[sys.argv[2]](sys.argv[3], int(sys.argv[4]))))
    else:
        main()
