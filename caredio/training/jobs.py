"""A fine-tuning job behind an API: submitted once, and watched to its end.

What is about to be asked for is written down before each request, and what came of it after. So a command that is
killed at any moment is gone on from by the same one: a file that may have arrived is looked for by its name and size,
a job that may have been created by its training file, which no other job has.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from caredio.errors import EndpointError, InputError
from caredio.llm.access import Access, unbilled, unsent
from caredio.llm.limits import CallFailed
from caredio.llm.model import start
from caredio.llm.prices import training_cost
from caredio.llm.settings import Endpoint
from caredio.training.job_record import State

if TYPE_CHECKING:
    import openai

log = logging.getLogger("caredio")

_FIRST_POLL, _LONGEST_POLL = 1.0, 60.0  # seconds between looks at a job
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0  # seconds before a failed request is made again
_PATIENCE = 600.0  # seconds that an endpoint may ask to wait
_TRANSFER = 600.0  # seconds that a file may take on its way
_PROCESSING = 600.0  # seconds that a file may take to be read by the endpoint
_CLOCKS = 3600  # seconds that the endpoint's clock may differ
_UNREAD = ("uploaded", "pending", "running")  # files that are not read yet; on Azure the latter two
_SUCCEEDED, _ENDED = "succeeded", ("succeeded", "failed", "cancelled")
_T = TypeVar("_T")


def run(state: State, access: Access, endpoint: Endpoint) -> dict[str, Any]:
    """Submit what is wanted, unless that is done, and watch the job until it has succeeded; what finetune.json holds.

    Raises:
        EndpointError: the endpoint refuses or cannot be reached, or the job failed or was cancelled.
        InputError: it was submitted to another endpoint.
        KeyboardInterrupt: stopped; says how to go on.
    """
    address, before = access.base_url or access.host, state.record.get("endpoint")
    if state.sent and before != address:
        raise InputError(f"{state.path}: was submitted to {before}; name that as base_url, or another out.")
    state.save(endpoint=address)
    future = start(Job(state, access, endpoint).run())
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        job = state.job
        going = f"{job['id']} goes on at {access.host}" if job else "no job is known to have been created"
        raise KeyboardInterrupt(f"stopped watching; {going}, and the same command goes on from there.") from None


def cancel(state: State, access: Access, endpoint: Endpoint) -> dict[str, Any]:
    """Cancel the job that finetune.json records; what it holds then.

    Raises:
        EndpointError: the endpoint refuses or cannot be reached.
        InputError: no job is recorded, or it has ended.
    """
    if state.job is None:
        raise InputError(f"{state.path}: records no job to cancel; without cancel, the command looks for one.")
    if state.job["status"] in _ENDED:
        raise InputError(f"{state.path}: the job {state.job['id']} has ended: {state.job['status']}.")
    return start(Job(state, access, endpoint).cancel()).result()


class Job:
    """The requests of one fine-tuning."""

    def __init__(self, state: State, access: Access, endpoint: Endpoint) -> None:
        self.state, self.access, self.endpoint = state, access, endpoint
        self._client: openai.AsyncOpenAI

    async def run(self) -> dict[str, Any]:
        """Submit, watch, and say how it ended. Raises as `jobs.run`."""
        if (self.state.job or {}).get("status") != _SUCCEEDED:
            self._client = self.access.open(4, 0, _TRANSFER)
            try:
                if self.state.job is None:
                    await self._submit()
                await self._watch()
            finally:
                await self._client.close()
        return self.state.record

    async def cancel(self) -> dict[str, Any]:
        """Cancel the job. Raises as `jobs.cancel`."""
        assert self.state.job is not None
        name = self.state.job["id"]

        async def cancelled() -> Any:
            return _with(await self._client.fine_tuning.jobs.cancel(name), "id", "status")

        self._client = self.access.open(4, 0, _TRANSFER)
        try:
            self._note(await self._asked(cancelled, f"to cancel job {name}", self.endpoint.timeout))
        finally:
            await self._client.close()
        return self.state.record

    async def _submit(self) -> None:
        files = self.state.record["files"]
        for name in files:
            if not files[name].get("id"):
                files[name]["id"] = await self._upload(name)
                self.state.record.pop(f"sending {name}", None)
                self.state.save()
        for name in files:
            await self._read(files[name]["id"], name)
        created = await self._once("creating", self._created, self._create, "the job", self.endpoint.timeout)
        self._note(created)
        log.info("fine-tune  job %s at %s", created.id, self.access.host)

    async def _upload(self, name: str) -> str:
        about = self.state.record["files"][name]

        async def sent() -> Any:
            with (self.state.path.parent / name).open("rb") as lines:
                file = await self._client.files.create(file=(about["sent_as"], lines), purpose="fine-tune")
            return _with(file, "id")

        async def found() -> Any:
            async for file in self._client.files.list(purpose="fine-tune"):
                if file.filename == about["sent_as"] and file.bytes == about["bytes"]:
                    return file
            return None

        file = await self._once(f"sending {name}", found, sent, name, _TRANSFER)
        log.info("fine-tune  %s is at %s as %s", name, self.access.host, file.id)
        return str(file.id)

    async def _once(
        self,
        doing: str,
        found: Callable[[], Awaitable[Any]],
        made: Callable[[], Awaitable[Any]],
        what: str,
        timeout: float,
    ) -> Any:
        """What `made` creates, once: where it may have been created already, `found` is asked first."""
        may_exist = bool(self.state.record.get(doing))
        self.state.save(**{doing: True})

        async def attempt() -> Any:
            nonlocal may_exist
            if may_exist and (there := await found()) is not None:
                return there
            before, may_exist = may_exist, True
            try:
                return await made()
            except Exception as error:
                may_exist = before or not _made_nothing(error)
                raise

        try:
            return await self._asked(attempt, what, timeout)
        except EndpointError:
            if not may_exist:
                del self.state.record[doing]
                self.state.save()
            raise

    async def _read(self, file: str, name: str) -> None:
        """Wait until the endpoint has read a file.

        Raises:
            EndpointError: it refuses the file.
        """
        ends, pause = time.monotonic() + _PROCESSING, _FIRST_POLL

        async def looked() -> Any:
            return _with(await self._client.files.retrieve(file), "id", "status")

        while True:
            about = await self._asked(looked, name, self.endpoint.timeout)
            if about.status in ("error", "deleted"):
                why = self.access.clean(about.status_details or "it says no reason")
                raise EndpointError(
                    f"{self.access.host} refuses the file {name} ({file}): {why.rstrip('.')}. Mend the rows, and name"
                    " another out."
                )
            if about.status not in _UNREAD or time.monotonic() > ends:  # a job's own check follows
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_POLL)

    async def _create(self) -> Any:
        request, files = self.state.record["request"], self.state.record["files"]
        named = {f"{name.partition('.')[0]}_file": about["id"] for name, about in files.items()}
        job = await self._client.fine_tuning.jobs.create(
            model=request["model"],
            training_file=named["train_file"],
            method=request["method"],
            seed=request["seed"],
            suffix=request["suffix"],
            **({"validation_file": named["validation_file"]} if "validation_file" in named else {}),
        )
        return _with(job, "id", "status")

    async def _created(self) -> Any:
        """The job that an earlier request created, if one did."""
        training = next(iter(self.state.record["files"].values()))["id"]
        async for job in self._client.fine_tuning.jobs.list(limit=100):  # the newest come first
            if job.training_file == training:
                return job
            if job.created_at < self.state.record["since"] - _CLOCKS:
                return None
        return None

    async def _watch(self) -> None:
        """Look at the job until it has ended.

        Raises:
            EndpointError: it did not succeed.
        """
        assert self.state.job is not None
        name, pause = self.state.job["id"], _FIRST_POLL

        async def looked() -> Any:
            return _with(await self._client.fine_tuning.jobs.retrieve(name), "id", "status")

        while True:
            job = await self._asked(looked, f"job {name}", self.endpoint.timeout)
            if job.status != self.state.job["status"]:
                log.info("fine-tune  %s", job.status)
            self._note(job)
            await self._events(name)
            if job.status in _ENDED:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_POLL)
        if job.status != _SUCCEEDED:
            raise EndpointError(self._ended(job))

    def _ended(self, job: Any) -> str:
        """The sentence on a job that did not succeed."""
        why = ""
        if job.error and job.error.message:
            of = f" ({job.error.param})" if job.error.param else ""
            why = f"{of}: {self.access.clean(job.error.message).rstrip('.')}"
        what = "failed" if job.status == "failed" else "was cancelled"
        return f"the job {job.id} at {self.access.host} {what}{why}. To submit another, mend that and name another out."

    async def _events(self, name: str) -> None:
        """Log what is new of the job's events, the oldest first."""

        async def latest() -> list[Any]:
            import openai

            new, last = [], self.state.record.get("last_event")
            try:
                async for event in self._client.fine_tuning.jobs.list_events(name, limit=100):
                    if event.id == last:
                        break
                    new.append(event)
            except openai.NotFoundError:  # an endpoint that has jobs, and no events
                return []
            return new[::-1]

        for event in await self._asked(latest, f"job {name}", self.endpoint.timeout):
            level = logging.WARNING if event.level in ("warn", "error") else logging.INFO
            log.log(level, "fine-tune  %s", self.access.clean(event.message))
            self.state.save(last_event=event.id)

    def _note(self, job: Any) -> None:
        """Write down what the endpoint says of the job."""
        method = getattr(job.method, job.method.type, None) if job.method else None
        used = method.hyperparameters if method and method.hyperparameters else job.hyperparameters
        dollars = training_cost(job.model, job.trained_tokens or 0) if job.status == _SUCCEEDED else None
        azure = self.access.azure
        self.state.record.pop("creating", None)
        self.state.save(
            job={
                "id": job.id,
                "status": job.status,
                "created_at": job.created_at,
                "finished_at": job.finished_at,
                "fine_tuned_model": job.fine_tuned_model,
                "trained_tokens": job.trained_tokens,
                "cost_usd": None if azure or dollars is None else round(dollars, 6),
                "hyperparameters": used.model_dump(exclude_none=True) if used else None,
                "seed": job.seed,
                "result_files": job.result_files,
                "error": self.access.clean(job.error.message) if job.error and job.error.message else None,
            }
        )

    # --- requests

    async def _asked(self, request: Callable[[], Awaitable[_T]], what: str, timeout: float) -> _T:
        """The reply to a request, which is made again where that can help, with pauses.

        Raises:
            EndpointError: there is none.
        """
        import aiohttp
        import openai

        for attempt in itertools.count():
            try:
                return await asyncio.wait_for(request(), timeout)
            except (openai.OpenAIError, aiohttp.ClientError, OSError, ValueError, AttributeError) as error:
                failure = _unusual(error) or self.access.describe(error)
            if not failure.retryable or failure.wait > _PATIENCE or attempt >= self.endpoint.retries:
                raise self._given_up(failure, what)
            pause = failure.wait or min(_FIRST_BACKOFF * 2.0**attempt, _LONGEST_BACKOFF)
            log.info("fine-tune  %s: %s; again in %.0f s", what, self.access.clean(failure.description), pause)
            await asyncio.sleep(pause)
        raise AssertionError

    def _given_up(self, failure: CallFailed, what: str) -> EndpointError:
        """The error of a request that got no reply, or a refusal."""
        job = self.state.job
        if job and failure.status == 404:
            return EndpointError(
                f"{self.access.host} does not know the job {job['id']}; name the endpoint that took it, or another"
                " out to submit it anew."
            )
        if failure.hopeless and failure.status not in (400, 404, 405, 422):
            try:
                self.access.failure(failure)
            except EndpointError as error:
                return error
        words = f" and says: {self.access.clean(failure.server_message).rstrip('.')}" if failure.server_message else ""
        if failure.status in (404, 405) and "model" not in failure.server_message.lower():
            return EndpointError(
                f"{self.access.host} takes no fine-tuning at {self.access.base_url or 'its address'} (status"
                f" {failure.status}){words}. Check base_url."
            )
        if failure.status and not failure.retryable:
            return EndpointError(
                f"{self.access.host} refuses {what} (status {failure.status}){words}. Mend that, and the same command"
                " goes on."
            )
        stays = f"{job['id']} goes on there" if job else "what was submitted stays there"
        return EndpointError(
            f"{self.access.host} cannot be asked about {what} ({failure.description}); {stays}, and the same command"
            " goes on."
        )


def _with(reply: Any, *names: str) -> Any:
    """A reply that has these fields.

    Raises:
        ValueError: it is no reply of this API.
    """
    if not all(isinstance(getattr(reply, name, None), str) for name in names):
        raise ValueError("not a reply of the fine-tuning API")
    return reply


def _made_nothing(error: Exception) -> bool:
    """Whether a request that failed was refused, or never left."""
    import openai

    return unsent(error) or (isinstance(error, openai.APIStatusError) and unbilled(error.status_code))


def _unusual(error: Exception) -> CallFailed | None:
    """What a reply of another form than the API's means; None where `error` is of another kind."""
    import openai

    if isinstance(error, (AttributeError, ValueError, openai.APIResponseValidationError)):
        return CallFailed("not a reply of OpenAI's fine-tuning API")
    return None
