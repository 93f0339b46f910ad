"""OpenAI's Batch API: all calls that wait at once become one file, answered within a day at half the price.

What is submitted is noted beside the stored answers before the batch exists, so a process that is killed at any point
finds it again and submits nothing twice. Rows and lines are matched by the call's key (`custom_id`).
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import tempfile
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from caredio.errors import EndpointError
from caredio.llm import access
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import CallFailed, Held, Rate, Usage
from caredio.llm.remote import NO_LIKELIHOOD, Remote, body, read
from caredio.llm.settings import METHOD, Endpoint
from caredio.llm.spec import Chat, FirstToken, Request, Spec

if TYPE_CHECKING:
    import openai
    from openai.types import Batch as Job

log = logging.getLogger("caredio")

NO_TOP_LOGPROBS = "the Batch API is not asked for top_logprobs; leave out batch: a question is one call of one token."
_REQUESTS, _BYTES = 50_000, 200_000_000  # OpenAI's limits for a file
_ARRIVAL = 0.2  # seconds without a new call after which all have come
_FIRST_POLL, _LONGEST_POLL = 1.0, 60.0  # seconds between looks at a batch
_TRANSFER = 600.0  # seconds that a file may take on its way
_ENDED = ("completed", "failed", "expired", "cancelled")
_T = TypeVar("_T")


class _Call(NamedTuple):
    body: dict[str, Any]
    future: asyncio.Future[Answer]


class Batch(Remote):
    """Asks an endpoint in batches. A round submits what waits, and ends when all of it has come back."""

    rate_limited, whole_chats = False, False

    def __init__(self, spec: Spec, endpoint: Endpoint, store: Store) -> None:
        """As `Remote`. `store` notes what is submitted, and keeps a batch's answers in the step that forgets it."""
        super().__init__(spec, endpoint)
        self.store, self.price = store, Rate(spec.model, batch=True)
        self._path = METHOD if self.access.azure else f"/v1{METHOD}"
        self._largest = _REQUESTS
        self._waiting: dict[str, _Call] = {}
        self._worker: asyncio.Task[None] | None = None

    @functools.cached_property
    def _openai(self) -> openai.AsyncOpenAI:
        return self.access.open(4, self.endpoint.retries, _TRANSFER)

    def upper_bound(self, request: Request) -> Usage:
        """The most that a call can use; nothing, where an earlier command submitted it and held its cost."""
        if isinstance(request, Chat) and self.store.pending([request.key]):
            return Usage()
        return super().upper_bound(request)

    async def send(self, request: Request, held: Held) -> Answer:
        """The answer to a line of a batch, with the calls that are made at the same time.

        Raises:
            CallFailed: the endpoint could not answer it.
            EndpointError: no call can succeed, or the endpoint cannot be reached; what is submitted goes on.
        """
        if isinstance(request, FirstToken):
            raise EndpointError(NO_TOP_LOGPROBS)
        if not isinstance(request, Chat):
            raise EndpointError(NO_LIKELIHOOD.format(model=self.spec.model))
        earlier = bool(self.store.pending([request.key]))
        call = self._waiting[request.key] = _Call(body(self.spec, request, self.dialect), asyncio.Future())
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._work())
        try:
            answer = await call.future
        except CallFailed as failure:
            if failure.status and access.unbilled(failure.status):
                held.used = Usage()
            raise
        except BaseException:  # not submitted, or counted once it is collected
            held.used = Usage()
            raise
        if earlier and not answer.prompt_tokens:
            held.used = replace(super().upper_bound(request), uncounted=1)
        return answer

    async def _work(self) -> None:
        calls: dict[str, _Call] = {}
        try:
            while self._waiting:
                come = 0
                while come < len(self._waiting):
                    come = len(self._waiting)
                    await asyncio.sleep(_ARRIVAL)
                calls, self._waiting = self._waiting, {}
                await self._round({key: call for key, call in calls.items() if not self._known(key, call)})
        except Exception as error:  # whoever waits gets it
            for call in (*calls.values(), *self._waiting.values()):
                if not call.future.done():
                    call.future.set_exception(error)
            self._waiting = {}

    def _known(self, key: str, call: _Call) -> bool:
        """Whether a call is answered by now, as by the round of a stage that was stopped, or nobody waits for it."""
        if not call.future.done() and (answer := self.store.get(key)):
            call.future.set_result(answer)
        return call.future.done()

    async def _round(self, calls: dict[str, _Call]) -> None:
        jobs = {name: await self._job(name) for name in sorted(await self._files(calls))}
        going, pause, logged = set(jobs), _FIRST_POLL, 0
        while True:
            if all(call.future.done() for call in calls.values()):  # all were stopped: a later command collects
                return
            for name in [name for name in sorted(going) if jobs[name].status in _ENDED]:
                going.remove(name)
                if jobs[name].status == "failed":  # not begun
                    self._again(name, jobs, calls)
                else:
                    await self._collect(name, jobs[name], calls)
            if not going:
                return
            answered = sum(job.request_counts.completed for job in jobs.values() if job.request_counts)
            if answered != logged:
                log.info("batch      %6d of %d calls answered", answered, len(calls))
                logged = answered
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_POLL)
            for name in going:
                jobs[name] = await self._sent(self._openai.batches.retrieve(jobs[name].id))

    async def _files(self, calls: dict[str, _Call]) -> set[str]:
        """The uploaded files that ask for `calls`: those of earlier commands, and one or more for the rest."""
        pending = self.store.pending(calls)
        files = set(pending.values())
        with tempfile.TemporaryFile() as lines:
            for keys in self._lines({key: call for key, call in calls.items() if key not in pending}, lines):
                lines.seek(0)
                uploaded = await self._sent(self._openai.files.create(file=("calls.jsonl", lines), purpose="batch"))
                self.store.submit(uploaded.id, keys)
                files.add(uploaded.id)
        return files

    def _lines(self, calls: dict[str, _Call], file: IO[bytes]) -> Iterator[list[str]]:
        """Fill `file` with as many calls as a batch takes, again and again; yields their keys."""
        keys: list[str] = []
        for key, call in calls.items():
            line = {"custom_id": key, "method": "POST", "url": self._path, "body": call.body}
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            if keys and (len(keys) == self._largest or file.tell() + len(data) > _BYTES):
                yield keys
                keys = []
                file.seek(0)
                file.truncate()
            file.write(data)
            keys.append(key)
        if keys:
            yield keys

    async def _job(self, file: str) -> Job:
        """The batch of an uploaded file: the one noted, else one that a killed process made, else a new one."""
        batch, since = self.store.batch(file)
        if batch:
            return await self._sent(self._openai.batches.retrieve(batch))
        job = await self._sent(self._find(file, since))
        if job is None:
            endpoint: Any = self._path
            once = self._openai.with_options(max_retries=0)  # a reply that is lost may be of a batch that was made
            job = await self._sent(once.batches.create(input_file_id=file, endpoint=endpoint, completion_window="24h"))
        self.store.submit(file, [], job.id)
        return job

    async def _find(self, file: str, since: float) -> Job | None:
        async for job in self._openai.batches.list(limit=100):
            if job.input_file_id == file:
                return job
            if job.created_at < since - 3600:  # clocks differ; the newest come first
                return None
        return None

    async def _collect(self, file: str, job: Job, calls: dict[str, _Call]) -> None:
        """Settle the calls of an ended batch; answers are stored and the batch forgotten in one step."""
        keys = self.store.keys(file)
        lost = CallFailed(f"batch {job.status}", retryable=job.status in ("expired", "completed"))
        found: dict[str, Answer | CallFailed] = dict.fromkeys(keys, lost)
        for name in filter(None, (job.output_file_id, job.error_file_id)):
            content = await self._sent(self._openai.files.content(name))
            found |= {key: outcome for key, outcome in self._outcomes(content.iter_lines()) if key in found}
        self.store.collect(file, {key: answer for key, answer in found.items() if isinstance(answer, Answer)})
        for key, outcome in found.items():
            if key not in calls or calls[key].future.done():
                continue
            if isinstance(outcome, Answer):
                calls[key].future.set_result(outcome)
            else:
                calls[key].future.set_exception(outcome)

    def _outcomes(self, lines: Iterable[str]) -> Iterator[tuple[str, Answer | CallFailed]]:
        for text in lines:
            try:
                line = json.loads(text)
                key, response, error = line["custom_id"], line.get("response") or {}, line.get("error") or {}
                status, code = response.get("status_code"), str(error.get("code") or "")
                body = response.get("body")
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # its call counts as lost
            try:
                if status == 200:
                    yield key, read(body, self.spec)
                elif isinstance(status, int):
                    yield key, access.refusal(status, body)
                else:
                    yield key, CallFailed(self.access.clean(code), retryable=code == "batch_expired")
            except CallFailed as failure:
                yield key, failure

    def _again(self, file: str, jobs: dict[str, Job], calls: dict[str, _Call]) -> None:
        """Put the calls of a batch that was not begun back: the account may queue no more beside others, or less."""
        keys, job = self.store.keys(file), jobs[file]
        self.store.collect(file, {})
        errors = job.errors.data if job.errors and job.errors.data else []
        alone = all(other.status == "failed" for other in jobs.values())
        if not any(error.code == "token_limit_exceeded" for error in errors) or (alone and len(keys) == 1):
            why = self.access.clean(errors[0].message) if errors else "no reason"
            raise EndpointError(f"{self.access.host} refused the batch: {why}. Mend that, or leave out batch.")
        if alone:
            self._largest = -(-len(keys) // 2)
            log.info("batch      %s takes less at once: %d calls a batch", self.access.host, self._largest)
        self._waiting |= {key: calls[key] for key in keys if key in calls}

    async def _sent(self, request: Awaitable[_T]) -> _T:
        import aiohttp
        import openai

        try:
            return await request
        except openai.NotFoundError:
            raise EndpointError(
                f"{self.access.host} does not know a batch or file of this command; name the endpoint that took it, or"
                " leave out batch to ask its calls anew."
            ) from None
        except (openai.OpenAIError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            failure = self.access.failure(error)
            raise EndpointError(
                f"{self.access.host} cannot be asked about batches ({failure}); what is submitted goes on there, and"
                " the same command collects it."
            ) from None
