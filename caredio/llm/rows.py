"""Model calls as a `Dataset.map`: an answer per row (`ask`), the likelihood of texts, and first tokens."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, List, Value
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for

from caredio import features, progress
from caredio import prompts as prompt_files
from caredio.errors import EndpointError, InputError
from caredio.llm import marks
from caredio.llm.cache import Answer
from caredio.llm.limits import CallFailed
from caredio.llm.model import Calls, Model, Stopped, connect, enter
from caredio.llm.remote import advice, schema_instruction
from caredio.llm.spec import Chat, Messages, Spec
from caredio.prompts import Prompt

FAILED = "endpoint: "  # how the drop_reason of a row without an answer begins
MAX_FAILED = 0.05  # share of calls that may go without an answer
_TOGETHER = 16  # rows of one piece of work at least
_TASKS = 900  # pieces at most: from 1000 on `datasets` spins, as the first that has ended does not end its wait
_OPEN = 256  # of these, how many have their rows and prompts in memory
WITHOUT_EFFECT = ("MAX_FAILED", "_TOGETHER", "_TASKS", "_OPEN")  # on what a stage makes (fingerprints.py)

Parse = Callable[[Any, dict[str, Any], Answer], dict[str, Any]]
_S = TypeVar("_S")
Call = tuple[Messages, str]  # the chat so far, and the turn whose likelihood is asked for
Schema = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


class Unusable(Exception):  # noqa: N818 (a verdict on text, not a fault)
    """An answer that is not what the prompt asked for; `reason` is the row's drop_reason.

    `str(error)` is the `$reason` in the prompt that asks again (repair.txt). It is part of stored keys, so it does not
    change.
    """

    def __init__(self, sentence: str, again: bool = True, reason: str = "") -> None:
        """`again`: the model may do better when it reads why; `reason`: the sentence by default."""
        super().__init__(sentence)
        self.again, self.reason = again, reason or sentence


def ask(
    dataset: Dataset,
    model: Model | Spec | str,
    *,
    prompt: Callable[[dict[str, Any]], Messages],
    parse: Parse,
    columns: Features,
    desc: str = "asked",
    schema: Schema | None = None,
    max_failed: float | None = None,
    prompts: str | None = None,
    again: bool = True,
) -> Dataset:
    """Ask the model about every row of `dataset`.

    Args:
        model: a model, its Spec, or its name.
        prompt: row -> messages.
        parse: (content, row, answer) -> the columns of `columns`; content is the answer's text, or the object it holds
            where there is a `schema`; `answer.messages` are the row's messages, without those of a repair. Raises
            `Unusable`.
        columns: the columns that are added.
        desc: what the progress bar says.
        schema: JSON schema (an object) of the answer, or a function of the row that gives it.
        max_failed: share of rows that may stay without an answer, by default `MAX_FAILED`.
        prompts: folder whose `repair.txt` asks again and whose `schema.txt` states the schema, where they are there.
        again: whether an unusable answer is asked for a second time, with the reason.

    Returns:
        `dataset` with `columns` and those of `features.REJECTS`. A row whose answer was unusable twice (the second time
        after the model read why) or did not come has nulls and a drop_reason; an answer that could not be used stands
        in `unusable`. Row order is kept.

    Raises:
        EndpointError: more than `max_failed` of the rows got no answer, or no call can succeed.
        InputError: `prompt` returned no chat messages, `parse` something else than the columns, or a file of `prompts`
            cannot be used.
    """
    if not isinstance(dataset, Dataset) or not isinstance(columns, dict):
        raise InputError("ask takes a datasets.Dataset, and in columns the datasets.Features of what parse returns.")
    total = len(dataset)
    columns = Features({**columns, **features.REJECTS})
    if not total:
        return features.table([], Features({**dataset.features, **columns}))
    if not isinstance(model, Model):
        model = connect(Spec(model=model) if isinstance(model, str) else model)
    repair, stated = (prompt_files.load(name, prompts) for name in (prompt_files.REPAIR, prompt_files.SCHEMA))
    settle = _Settle(model, prompt, parse, dict.fromkeys(columns), schema, stated, repair, again)
    rows = dataset.with_format("arrow")[:]
    # a Batch API is asked for all rows at once
    size = max(_TOGETHER, -(-total // _TASKS)) if model.batch else _TOGETHER
    try:
        found = gather(rows, settle, columns, desc, size, _TASKS if model.batch else _OPEN, max_failed=max_failed)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{desc}: parse returned a value of another type ({str(error).splitlines()[0]}).") from None
    return features.beside(features.in_memory(rows), features.in_memory(found))


@dataclass(frozen=True)
class _Settle:
    """What becomes of a row whose call is answered: its columns, or nulls and a drop_reason."""

    model: Model
    prompt: Callable[[dict[str, Any]], Messages]
    parse: Parse
    nothing: dict[str, None]  # of every column
    schema: Schema | None
    stated: Prompt  # how a schema is stated to a model
    repair: Prompt
    again: bool

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        messages = _chat(self.prompt(row))
        try:
            try:
                return await self._attempt(row, messages, messages)
            except Unusable as error:
                if not (error.again and self.again):
                    raise
                again = self.repair.part("user", reason=error)
                given = {"role": "assistant", "content": error.__notes__[0]}
                return await self._attempt(row, messages, [*messages, given, {"role": "user", "content": again}])
        except Unusable as error:
            return {**self.nothing, "drop_reason": error.reason, "unusable": error.__notes__[0]}

    async def _attempt(self, row: dict[str, Any], first: Messages, messages: Messages) -> dict[str, Any]:
        schema = self.schema(row) if callable(self.schema) else self.schema
        own_words = None if schema is None or self.stated.shipped else schema_instruction(schema, self.stated)
        answer = await self.model.complete(Chat(messages, schema, row.get("draw") or 0, own_words))
        try:
            made = self.parse(_content(answer, schema), row, replace(answer, messages=first))
            if not isinstance(made, dict) or not made.keys() <= self.nothing.keys():
                given = ", ".join(map(str, made)) if isinstance(made, dict) else repr(made)
                raise InputError(f"parse returned {given}, where a dict of {', '.join(self.nothing)} was wanted.")
            return {**self.nothing, **made}
        except Unusable as error:
            error.add_note(answer.text)
            raise


def _chat(messages: Any) -> Messages:
    """What a prompt function returned, where it is chat messages."""
    fits = isinstance(messages, list) and all(
        isinstance(one, dict) and {"role", "content"} <= one.keys() and isinstance(one["content"], str)
        for one in messages
    )
    if not fits or not messages:
        raise InputError(f"prompt returned {messages!r}, where a list of messages with role and content was wanted.")
    return messages


def likelihoods(calls: Sequence[Call], model: Model, desc: str) -> np.ndarray:
    """log2 p(completion | messages) of each call: float64[n], in bits; nan where a call got no answer.

    Raises:
        EndpointError: more than `MAX_FAILED` of the calls got no answer, or the endpoint returns no log-probabilities.
    """

    async def bits(call: Call) -> dict[str, Any]:
        return {"bits": await model.likelihood(*call)}

    if not calls:
        return np.empty(0)
    # each of which is asked for once, beside its completions
    chats = {hash(json.dumps(messages)) for messages, _ in calls} if model.backend.whole_chats else ()
    columns = Features({"bits": Value("float64")})
    return gather(calls, bits, columns, desc, requests=len(calls) + len(chats))["bits"].to_numpy()


def first_tokens(chats: Sequence[Messages], model: Model, desc: str) -> list[list[dict[str, Any]]]:
    """The likeliest first tokens of each chat's next turn, as `Model.first_token`.

    Raises:
        EndpointError: a call got no answer, or the endpoint returns no log-probabilities.
    """

    async def tokens(chat: Messages) -> dict[str, Any]:
        return {"tokens": await model.first_token(chat)}

    columns = Features({"tokens": List({"token": Value("string"), "logprob": Value("float64")})})
    return gather(chats, tokens, columns, desc, max_failed=0.0)["tokens"].to_pylist()


def gather(
    items: Sequence[_S] | pa.Table,
    work: Callable[[_S], Coroutine[Any, Any, dict[str, Any]]],
    columns: Features,
    desc: str,
    size: int = _TOGETHER,
    at_once: int = _OPEN,
    requests: int = 0,
    max_failed: float | None = None,
) -> pa.Table:
    """The row of `work(item)` for each item, in order, as a table of `columns`; nulls and why where its call failed.

    A map of places alone, since thousands of rows wait in it. `work` runs in the loop of the models; the first of them
    to raise anything but CallFailed, or an interrupt, stops the others.

    Args:
        items: any objects, or a table whose rows are read when their turn comes.
        desc: what the progress bar says, which counts each row when it ends.
        size: places of one piece of work; more where there are many places.
        at_once: how many pieces of that size are begun at a time.
        requests: that all items take, where that is not one each.
        max_failed: share of calls that may go without an answer, by default `MAX_FAILED`.

    Raises:
        EndpointError: more than `max_failed` of the calls got no answer.
    """
    calls, places = Calls(), Dataset.from_dict({"place": range(len(items))})
    rows_each = max(size, -(-len(items) // _TASKS))
    room, failures = asyncio.Semaphore(max(1, at_once * size // rows_each)), count(1)

    async def counted(item: _S) -> dict[str, Any]:
        try:
            row = await work(item)
        except CallFailed as failure:
            _check_share(failure, next(failures), len(items), max_failed, desc)
            row = {**dict.fromkeys(columns), "drop_reason": str(failure)}
        answered()
        return row

    async def piece(batch: Mapping[str, list[int]]) -> dict[str, list[Any]]:
        async with room:
            some = items[batch["place"][0] : batch["place"][-1] + 1]
            try:
                written = await enter(calls.together(counted, some.to_pylist() if isinstance(some, pa.Table) else some))
            except asyncio.CancelledError:
                if calls.stopped:  # by another piece, or from outside of this map, which takes errors only
                    raise Stopped from None
                raise
        return {name: [row[name] for row in written] for name in columns}

    with tempfile.TemporaryDirectory(prefix="caredio-", ignore_cleanup_errors=True) as folder:
        # by way of a file, as a table that is written to memory takes twice its size
        file = str(Path(folder, "answers.arrow"))
        try:
            with progress.asking(desc, len(items), requests or len(items)) as answered:
                calls.run(
                    lambda: places.map(
                        piece,
                        batched=True,
                        batch_size=rows_each,
                        remove_columns=["place"],
                        features=columns,
                        desc=desc,
                        load_from_cache_file=False,
                        cache_file_name=file,
                        # given, as a live client cannot be hashed
                        new_fingerprint=f"{places._fingerprint[:24]}asked",
                    )
                )
        except Stopped as stopped:
            error = calls.failure or stopped
            raise (error.__cause__ or error) if isinstance(error, Stopped) else error from None
        return _read(file)


def _check_share(last: CallFailed, failed: int, total: int, max_failed: float | None, desc: str) -> None:
    """See that no more calls failed than may.

    Raises:
        EndpointError: the last of them is one too many.
    """
    share = MAX_FAILED if max_failed is None else max_failed
    if failed > share * total:
        settings = advice(last.status, last.server_message)
        do = f"set {settings}, then run the" if settings else "mend the endpoint or wait, then run the same"
        raise EndpointError(
            f"{desc}: {failed} of {total} calls got no answer ({last.description}), more than {share:.0%}. What"
            f" arrived is stored: {do} command again."
        ) from None


def _read(file: str) -> pa.Table:
    """The table in an Arrow file, in few chunks: a piece's few rows each would cost much memory."""
    with pa.OSFile(file) as written:
        batches = pa.ipc.open_stream(written)
        parts = iter(lambda: list(islice(batches, _TASKS)), [])
        return pa.concat_tables([pa.Table.from_batches(part).combine_chunks() for part in parts])


def _content(answer: Answer, schema: dict[str, Any] | None) -> Any:
    """The text of an answer, or the object it holds, where it is finished and meant to be read.

    Raises:
        Unusable: it is not; a prompt that was refused would be refused again, and thinking that used up max_tokens
            would do so again.
    """
    finish = marks.finish_of(answer.finish_reason)
    try:
        text = marks.visible(answer.text).strip().removeprefix("\ufeff")
    except marks.OnlyThinking:
        text, finish = "", marks.REASONING if finish == marks.STOP else finish
    if finish in (marks.CONTENT_FILTER, marks.REFUSAL, marks.PROMPT_TOO_LONG):
        raise Unusable(finish, again=False)
    if finish == marks.LENGTH:
        raise Unusable("truncated", again=bool(text))
    if finish in (marks.REASONING, marks.NOT_TEXT) or not marks.is_text(text):
        raise Unusable(marks.REASONING if finish == marks.REASONING else marks.NOT_TEXT)
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise Unusable("empty")
    return text if schema is None else _fitting(text, schema)


def _fitting(text: str, schema: dict[str, Any]) -> Any:
    """The JSON in `text` that fits `schema`, its strings without thinking.

    Raises:
        Unusable: there is none, or it does not fit.
    """
    form = validator_for(schema)(schema)
    try:
        found = _json_in(text)
        fits = [content for content in found if form.is_valid(content)]
        content = marks.visible_in((fits or found)[-1])
        error = best_match(form.iter_errors(content))
    except marks.OnlyThinking:
        raise Unusable(marks.REASONING) from None
    except (IndexError, RecursionError):
        raise Unusable("not JSON", reason="not_json") from None
    if error:
        path = "/".join(map(str, error.absolute_path))
        sentence = f"JSON does not fit: {path or 'object'} ({error.validator})"
        raise Unusable(sentence, reason="json_does_not_fit")
    if not all(map(marks.is_text, _strings(content))):
        raise Unusable(marks.NOT_TEXT)
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
