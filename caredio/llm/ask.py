"""One model call per row, as a `Dataset.map`."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from caredio import features
from caredio.errors import EndpointError
from caredio.llm import chat, dialects, loop, marks
from caredio.llm.chat import CallFailed
from caredio.llm.model import Model
from caredio.llm.spec import Messages
from caredio.llm.store import Answer

FAILED = "endpoint: "  # how the drop_reason of a row without an answer begins
MAX_FAILED = 0.05  # share of rows that may go without an answer
_TOGETHER = 16  # rows of one piece of work: `datasets` looks at all of them for each one that it adds
_TASKS = 900  # pieces that `datasets` runs at once, being at most 1000
_OPEN = 256  # of these, how many have their rows and prompts in memory
WITHOUT_EFFECT = ("MAX_FAILED", "_TOGETHER", "_TASKS", "_OPEN")  # on what a stage makes (fingerprints.py)


class Unusable(Exception):  # noqa: N818 (a verdict on text, not a fault)
    """An answer that is not what the prompt asked for; `str(error)` is the row's drop_reason."""

    def __init__(self, reason: str, again: bool = True) -> None:
        """`again`: the model may do better when it is told why."""
        super().__init__(reason)
        self.again = again


class Failures:
    """The calls of a stage that got no answer, up to the share that may."""

    def __init__(self, desc: str, total: int, share: float) -> None:
        self.desc, self.total, self.share, self.failed = desc, total, share, 0

    def count(self, failure: CallFailed) -> None:
        """Count a failed call.

        Raises:
            EndpointError: it is one too many.
        """
        self.failed += 1
        if self.failed > self.share * self.total:
            flags = dialects.settings(failure.status, failure.said)
            do = f"set {flags}, then run the" if flags else "mend the endpoint or wait, then run the same"
            raise EndpointError(
                f"{self.desc}: {self.failed} of {self.total} calls got no answer ({failure.told}), more than"
                f" {self.share:.0%}. What arrived is stored: {do} command again."
            ) from None


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
    total = len(dataset)
    failures = Failures(desc, total, max_failed)
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
        messages = prompt(row)
        try:
            try:
                return await attempt(row, messages)
            except Unusable as error:
                if not error.again:
                    raise
                again = f"That cannot be used: {error}. Answer again, exactly as asked."
                said = {"role": "assistant", "content": error.__notes__[0]}
                return await attempt(row, [*messages, said, {"role": "user", "content": again}])
        except Unusable as error:
            return {**nothing, "drop_reason": str(error), "unusable": error.__notes__[0]}
        except CallFailed as error:
            failures.count(error)
            return {**nothing, "drop_reason": str(error)}

    async def asked(start: int, count: int) -> list[dict[str, Any]]:
        return await loop.together(map(settle, rows.slice(start, count).to_pylist()))

    columns = Features({**writes, **features.REJECTS})
    if not total:
        return features.table([], Features({**dataset.features, **columns}))
    rows = dataset.with_format("arrow")[:]  # each is read when its turn comes
    # a Batch API is asked for all rows at once
    together = max(_TOGETHER, -(-total // _TASKS)) if model.batch else _TOGETHER
    found = gather(total, asked, columns, desc, together, _TASKS if model.batch else _OPEN)
    return features.beside(features.in_memory(rows), features.in_memory(found))


def gather(
    total: int,
    work: Callable[[int, int], Coroutine[Any, Any, list[dict[str, Any]]]],
    columns: Features,
    desc: str,
    together: int = _TOGETHER,
    at_once: int = _OPEN,
) -> pa.Table:
    """The rows of `work(start, count)` for all places up to `total`, in order, as a table of `columns`.

    A map of places alone, since thousands of rows wait in it. `work` runs in the loop of the models; the first of them
    to fail, or an interrupt, stops the others.

    Args:
        together: places of one piece of work.
        at_once: how many pieces are begun at a time.
    """
    calls, places = loop.Calls(), Dataset.from_dict({"place": range(total)})
    room = asyncio.Semaphore(at_once)

    async def piece(batch: Mapping[str, list[int]]) -> dict[str, list[Any]]:
        async with room:
            try:
                written = await loop.enter(calls.kept(work(batch["place"][0], len(batch["place"]))))
            except asyncio.CancelledError:
                if calls.stopped:  # by another piece, or from outside of this map, which takes errors only
                    raise loop.Stopped from None
                raise
        return {name: [row[name] for row in written] for name in columns}

    with tempfile.TemporaryDirectory(prefix="caredio-", ignore_cleanup_errors=True) as folder:
        # by way of a file, as a table that is written to memory takes twice its size
        file = str(Path(folder, "answers.arrow"))
        try:
            _outside_a_loop(
                lambda: places.map(
                    piece,
                    batched=True,
                    batch_size=together,
                    remove_columns=["place"],
                    features=columns,
                    desc=desc,
                    load_from_cache_file=False,
                    cache_file_name=file,
                    # given, as a live client cannot be hashed
                    new_fingerprint=f"{places._fingerprint[:24]}asked",
                ),
                calls,
            )
        except loop.Stopped as stopped:
            error = calls.failure or stopped
            raise (error.__cause__ or error) if isinstance(error, loop.Stopped) else error from None
        finally:
            calls.stop()
        with pa.OSFile(file) as written:
            batches = pa.ipc.open_stream(written)
            parts = iter(lambda: list(islice(batches, _TASKS)), [])  # a piece's few rows each would cost much memory
            return pa.concat_tables([pa.Table.from_batches(part).combine_chunks() for part in parts])


def _outside_a_loop(mapped: Callable[[], Dataset], calls: loop.Calls) -> None:
    """Run an async map, which brings its own event loop: in a thread where one runs already (Jupyter)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        mapped()
        return
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(mapped).result()
        except BaseException:
            calls.stop()  # else the thread, which no interrupt reaches, would go on to the end
            raise


def _content(answer: Answer, form: Validator | None) -> Any:
    """The text of an answer, or the object it holds, where it is finished text for people.

    Raises:
        Unusable: it is not; a prompt that was refused would be refused again, and thinking that used up max_tokens
            would do so again.
    """
    finish = chat.finish_of(answer.finish_reason)
    try:
        text = marks.visible(answer.text).strip().removeprefix("\ufeff")
    except marks.OnlyThinking:
        text, finish = "", chat.REASONING if finish == chat.STOP else finish
    if finish in (chat.CONTENT_FILTER, chat.REFUSAL, chat.PROMPT_TOO_LONG):
        raise Unusable(finish, again=False)
    if finish == chat.LENGTH:
        raise Unusable("truncated", again=bool(text))
    if finish in (chat.REASONING, chat.NOT_TEXT) or not chat.is_text(text):
        raise Unusable(chat.REASONING if finish == chat.REASONING else chat.NOT_TEXT)
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise Unusable("empty")
    return text if form is None else _fitting(text, form)


def _fitting(text: str, form: Validator) -> Any:
    """The JSON in `text` that fits `form`, its strings without thinking.

    Raises:
        Unusable: there is none, or it does not fit.
    """
    try:
        found = _json_in(text)
        fits = [content for content in found if form.is_valid(content)]
        content = marks.visible_in((fits or found)[-1])
        error = best_match(form.iter_errors(content))
    except marks.OnlyThinking:
        raise Unusable(chat.REASONING) from None
    except (IndexError, RecursionError):
        raise Unusable("not JSON") from None
    if error:
        where = "/".join(map(str, error.absolute_path))
        raise Unusable(f"JSON does not fit: {where or 'object'} ({error.validator})")
    if not all(map(chat.is_text, _strings(content))):
        raise Unusable(chat.NOT_TEXT)
    return content


def _strings(content: Any) -> Iterator[str]:
    """The strings in JSON, names among them."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (dict, list)):
        for one in chain(content, content.values()) if isinstance(content, dict) else content:
            yield from _strings(one)


def _json_in(text: str) -> list[Any]:
    """`text` as JSON, else the objects in it, whatever stands around them (a sentence, a fence)."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        pass
    decoder, found, place = json.JSONDecoder(), [], text.find("{")
    while place >= 0:
        try:
            content, place = decoder.raw_decode(text, place)
            found.append(content)
        except json.JSONDecodeError:
            place += 1
        place = text.find("{", place)
    return found
