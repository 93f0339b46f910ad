"""One model call per row, as a `Dataset.map`."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from caredio import features
from caredio.errors import EndpointError
from caredio.llm.chat import CallFailed
from caredio.llm.model import Model
from caredio.llm.spec import Messages
from caredio.llm.store import Answer

FAILED = "endpoint: "  # how the drop_reason of a row without an answer begins
MAX_FAILED = 0.05  # share of rows that may go without an answer
_TOGETHER = 16  # rows of one task: `datasets` looks at all its tasks for each one that it adds
_TASKS = 900  # that `datasets` runs at once, being at most 1000
_OPEN = 256  # of these tasks, how many have their rows and prompts in memory
WITHOUT_EFFECT = ("MAX_FAILED", "_TOGETHER", "_TASKS", "_OPEN")  # on what a stage makes (fingerprints.py)


class Unusable(Exception):  # noqa: N818 (a verdict on text, not a fault)
    """An answer that is not what the prompt asked for; `str(error)` is the row's drop_reason."""


def ask(
    dataset: Dataset,
    model: Model,
    *,
    prompt: Callable[[dict[str, Any]], Messages],
    parse: Callable[[Any, dict[str, Any], Answer], dict[str, Any]],
    writes: Features,
    desc: str,
    schema: dict[str, Any] | None = None,
    max_failed: float = MAX_FAILED,
) -> Dataset:
    """Ask the model about every row of `dataset`.

    Args:
        prompt: row -> messages.
        parse: (content, row, answer) -> the columns of `writes`; content is the answer's text, or the object it holds
            where there is a `schema`. Raises `Unusable`.
        writes: the columns that are added.
        desc: what the progress bar says.
        schema: JSON schema (an object) of the answer.
        max_failed: share of rows that may stay without an answer.

    Returns:
        `dataset` with the columns of `writes` and of `features.REJECTS`. A row whose answer was unusable twice (the
        second time after being told why) or did not come has nulls and a reason; an answer that could not be used
        stands in `unusable`. Row order is kept.

    Raises:
        EndpointError: more than `max_failed` of the rows got no answer, or no call can succeed.
    """
    total, failed, left = len(dataset), 0, len(dataset)
    nothing = dict.fromkeys((*writes, *features.REJECTS))
    form = None if schema is None else validator_for(schema)(schema)

    async def attempt(row: dict[str, Any], messages: Messages) -> dict[str, Any]:
        answer = await model.complete(messages, schema, draw=row.get("draw") or 0)
        try:
            return {**nothing, **parse(_content(answer, form), row, answer)}
        except Unusable as error:
            error.add_note(answer.text)
            raise

    async def settle(row: dict[str, Any]) -> dict[str, Any]:
        nonlocal failed
        messages = prompt(row)
        try:
            try:
                return await attempt(row, messages)
            except Unusable as error:
                again = f"That cannot be used: {error}. Answer again, exactly as asked."
                said = {"role": "assistant", "content": error.__notes__[0]}
                return await attempt(row, [*messages, said, {"role": "user", "content": again}])
        except Unusable as error:
            return {**nothing, "drop_reason": str(error), "unusable": error.__notes__[0]}
        except CallFailed as error:
            failed += 1
            if failed > max_failed * total:
                raise EndpointError(
                    f"{desc}: {failed} of {total} calls got no answer ({error.told}), more than {max_failed:.0%}. What"
                    " arrived is stored: mend the endpoint or wait, then run the same command again."
                ) from None
            return {**nothing, "drop_reason": str(error)}

    async def ask_rows(batch: Mapping[str, list[int]]) -> dict[str, list[Any]]:
        nonlocal left
        async with room:
            start, count = batch["row"][0], len(batch["row"])
            tasks = [asyncio.ensure_future(settle(row)) for row in rows.slice(start, count).to_pylist()]
            try:
                written = await asyncio.gather(*tasks)
            except Exception:
                for task in tasks:
                    task.cancel()
                await model.close()
                raise
        left -= count
        if not left:
            await model.close()  # in the loop it lived in, which ends with the map
        return {name: [columns[name] for columns in written] for name in nothing}

    columns = Features({**writes, **features.REJECTS})
    if not total:
        return features.table([], Features({**dataset.features, **columns}))
    # the map is of places alone: thousands of rows wait in it, and each is read when its turn comes
    places, rows = Dataset.from_dict({"row": range(total)}), dataset.with_format("arrow")[:]
    room = asyncio.Semaphore(_TASKS if model.batch else _OPEN)
    with tempfile.TemporaryDirectory(prefix="caredio-", ignore_cleanup_errors=True) as folder:
        # by way of a file, as a table that is written to memory takes twice its size
        file = str(Path(folder, "told.arrow"))
        outside_the_loop(
            lambda: places.map(
                ask_rows,
                batched=True,
                # a Batch API is asked for all rows at once
                batch_size=max(_TOGETHER, -(-total // _TASKS)) if model.batch else _TOGETHER,
                remove_columns=["row"],
                features=columns,
                desc=desc,
                load_from_cache_file=False,
                cache_file_name=file,
                # given, as a live client cannot be hashed
                new_fingerprint=f"{places._fingerprint[:24]}asked",
            )
        )
        with pa.OSFile(file) as written:
            tasks = pa.ipc.open_stream(written)
            parts = iter(lambda: list(islice(tasks, _TASKS)), [])  # a task's few rows each would be dear in themselves
            told = pa.concat_tables([pa.Table.from_batches(part).combine_chunks() for part in parts])
    return features.beside(features.in_memory(rows), features.in_memory(told))


def outside_the_loop(mapped: Callable[[], Dataset]) -> Dataset:
    """Run an async map, which brings its own event loop: in a thread where one runs already (Jupyter)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return mapped()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(mapped).result()


def _content(answer: Answer, form: Validator | None) -> Any:
    if answer.finish_reason == "length":
        raise Unusable("truncated")
    text = answer.text.strip()
    if not text:
        raise Unusable("empty")
    if form is None:
        return text
    try:
        content = json.loads(text.removeprefix("```json").removesuffix("```"))
    except (json.JSONDecodeError, RecursionError):
        raise Unusable("not JSON") from None
    error = best_match(form.iter_errors(content))
    if error:
        where = "/".join(map(str, error.absolute_path))
        raise Unusable(f"JSON does not fit: {where or 'object'} ({error.validator})")
    return content
