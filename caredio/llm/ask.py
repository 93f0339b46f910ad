"""One model call per row, as a `Dataset.map`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
from datasets import Dataset, Features, Value

from caredio import features
from caredio.errors import EndpointError
from caredio.llm.client import CallFailed
from caredio.llm.model import Model
from caredio.llm.spec import Messages
from caredio.llm.store import Answer

FAILED = "endpoint: "  # how the drop_reason of a row without an answer begins
MAX_FAILED = 0.05  # share of rows that may go without an answer


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
        `dataset` with the columns of `writes` and `drop_reason`. A row whose answer was unusable twice (the second
        time after being told why) or did not come has nulls and a reason. Row order is kept.

    Raises:
        EndpointError: more than `max_failed` of the rows got no answer, or no call can succeed.
    """
    total, failed, left = len(dataset), 0, len(dataset)
    nothing = dict.fromkeys(writes)

    async def attempt(row: dict[str, Any], messages: Messages) -> dict[str, Any]:
        answer = await model.complete(messages, schema, draw=row.get("draw") or 0)
        try:
            return {**parse(_content(answer, schema), row, answer), "drop_reason": None}
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
            return {**nothing, "drop_reason": str(error)}
        except CallFailed as error:
            failed += 1
            if failed > max_failed * total:
                raise EndpointError(
                    f"{desc}: {failed} of {total} calls got no answer ({error}), more than {max_failed:.0%}. What"
                    " arrived is stored: mend the endpoint or wait, then run the same command again."
                ) from None
            return {**nothing, "drop_reason": str(error)}

    async def ask_row(row: dict[str, Any]) -> dict[str, Any]:
        nonlocal left
        columns = await settle(row)
        left -= 1
        if not left:
            await model.close()  # in the loop it lived in, which ends with the map
        return columns

    columns = Features({**dataset.features, **writes, "drop_reason": Value("string")})
    if not total:
        return features.table([], columns)
    return outside_the_loop(
        # the fingerprint is given: stages keep their own, and a live client cannot be hashed
        lambda: dataset.map(
            ask_row,
            features=columns,
            desc=desc,
            load_from_cache_file=False,
            new_fingerprint=f"{dataset._fingerprint[:24]}asked",
        )
    )


def outside_the_loop(mapped: Callable[[], Dataset]) -> Dataset:
    """Run an async map, which brings its own event loop: in a thread where one runs already (Jupyter)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return mapped()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(mapped).result()


def _content(answer: Answer, schema: dict[str, Any] | None) -> Any:
    if answer.finish_reason == "length":
        raise Unusable("truncated")
    text = answer.text.strip()
    if not text:
        raise Unusable("empty")
    if schema is None:
        return text
    try:
        content = json.loads(text.removeprefix("```json").removesuffix("```"))
        jsonschema.validate(content, schema)
    except json.JSONDecodeError:
        raise Unusable("not JSON") from None
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path))
        raise Unusable(f"JSON does not fit: {where or 'object'} ({error.validator})") from None
    return content
