"""The door to a language model: look in the cache, else ask, keep the reply, return it.

Requests of every kind go through one event loop in a thread of its own. `Dataset.map` makes a new loop for every stage;
limits, connections and requests in flight outlive a stage, so they live in this one, and whoever asks from another loop
or thread waits for it here.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from caredio.errors import InputError
from caredio.llm.batch import Batch
from caredio.llm.cache import Answer, Store, Vectors, key_of, vector_key
from caredio.llm.limits import Backend, CallFailed, Limits, Usage
from caredio.llm.marks import CONTENT_FILTER, PROMPT_TOO_LONG
from caredio.llm.prices import cost
from caredio.llm.remote import Remote
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Chat, Embedding, FirstToken, Likelihood, Messages, Request, Spec

log = logging.getLogger("caredio")

_DRAWS = 1_000_000  # of a seed: more than the draws that a stage numbers
_ANY = -1  # in the key of what holds for every draw
_REFUSALS = (CONTENT_FILTER, PROMPT_TOO_LONG)  # of a prompt, which no other draw changes
_MAKING = threading.Lock()
_LOOK = 0.1  # seconds between looks at whether whoever waits was cancelled
WITHOUT_EFFECT = ("_LOOK", "_MAKING")  # on what a stage makes (fingerprints.py)
_S = TypeVar("_S")
_T = TypeVar("_T")


class Model:
    """A model whose answers are stored. Its methods may be called concurrently; equal requests are made once."""

    def __init__(
        self, spec: Spec, backend: Backend, store: Store | Vectors, limits: Limits | None = None, seed: int = 0
    ) -> None:
        """A model behind `backend`.

        Args:
            store: the answers that are known, or the vectors of a model that embeds.
            limits: what its requests share with those of other models.
            seed: other seeds, other draws.
        """
        self.spec, self.backend, self.seed, self.usage = spec, backend, seed, Usage()
        self.store: Any = store
        self._limits = limits or Endpoint().limits
        self._in_flight: dict[str, asyncio.Future[Answer]] = {}
        self._closes_at_exit = False

    @property
    def batch(self) -> bool:
        """Whether requests go through a Batch API, at its price and in its time."""
        return self.backend.price is not None and self.backend.price.batch

    def key(self, request: Chat | Likelihood | FirstToken) -> str:
        """The key under which the answer to a request is stored."""
        if isinstance(request, Chat):
            request = request._replace(draw=request.draw + self.seed * _DRAWS)
        return key_of(self.spec, request)

    async def complete(self, chat: Chat) -> Answer:
        """The answer to a chat.

        Raises:
            CallFailed: this call got no answer.
            EndpointError: no call will.
        """
        return await enter(self._known(chat, key_of(self.spec, chat._replace(draw=_ANY))))

    async def likelihood(self, messages: Messages, completion: str) -> float:
        """log2 p(completion | messages), in bits: how likely the model finds `completion` as the next turn.

        Raises as `complete`; EndpointError also where the endpoint returns no log-probabilities.
        """
        if not completion:
            return 0.0
        answer = await enter(self._known(Likelihood(messages, completion)))
        return float(answer.text)

    async def first_token(self, messages: Messages) -> list[dict[str, Any]]:
        """The likeliest first tokens of the next turn: `token` and `logprob`; none where the prompt is refused.

        Raises as `likelihood`.
        """
        answer = await enter(self._known(FirstToken(messages)))
        return json.loads(answer.text or "[]")

    async def embed(self, texts: list[str]) -> None:
        """Ask for the vectors of `texts`, in one request, and keep them. Raises as `complete`."""
        await enter(self._sent(Embedding(texts)))

    async def _known(self, request: Chat | Likelihood | FirstToken, refused: str = "", part: bool = False) -> Answer:
        """The stored answer, that to an equal request in flight, or that to a new one.

        Args:
            refused: the key under which it is stored that the endpoint refuses the prompt, whichever the draw.
            part: of another request, which is counted.
        """
        request = request._replace(key=self.key(request))
        answer = self.store.get(request.key) or (self.store.get(refused) if refused else None)
        if answer is not None:
            self.usage.stored += not part
            return answer
        if (flight := self._in_flight.get(request.key)) is not None:
            return await flight
        task = asyncio.ensure_future(ordinary(self._answered, request))
        self._in_flight[request.key] = task
        try:
            answer = await task
        except CallFailed:
            self.usage.failed += not part
            raise
        finally:
            del self._in_flight[request.key]
        if refused and not answer.text and answer.finish_reason in _REFUSALS and not answer.prompt_tokens:
            self.store.put({refused: answer})
        return answer

    async def _answered(self, request: Chat | Likelihood | FirstToken) -> Answer:
        """The answer to a request that is sent now, kept; a lasting refusal of a prompt is an answer too."""
        if isinstance(request, Likelihood) and request.completion and self.backend.whole_chats:
            answer = await self._difference(request)
        else:
            try:
                answer = await self._sent(request)
            except CallFailed as failure:
                if not failure.final or isinstance(request, Likelihood):
                    raise
                answer = Answer("", failure.final, self.spec.model, 0, 0)
        self.store.put({request.key: answer})
        return answer

    async def _difference(self, request: Likelihood) -> Answer:
        """The likelihood of a chat that ends with the completion, less that of the chat that ends before it.

        The second is asked for once and stored too, so that each further completion costs one request.
        """
        whole = [*request.messages, {"role": "assistant", "content": request.completion}]
        chats = (Likelihood(messages, "") for messages in (request.messages, whole))
        before, after = [await self._known(chat, part=True) for chat in chats]
        return replace(after, text=f"{float(after.text) - float(before.text):.3f}")

    async def _sent(self, request: Request) -> Any:
        """The reply to a request, within the limits; vectors are kept."""
        if not self._closes_at_exit:
            self._closes_at_exit = bool(atexit.register(self._close_at_exit))
        reply: Any = await self._limits.send(self.backend, request, self.usage)
        if isinstance(request, Embedding):
            self.store.put([vector_key(self.spec, text) for text in request.texts], reply.vectors)
        return reply

    def take_usage(self) -> Usage:
        """What was used since the last call of this method."""
        taken = replace(self.usage)
        self.usage.add(taken, -1)
        return taken

    def cost(self, usage: Usage) -> float | None:
        """US dollars for what was used; None where the model has no listed price."""
        dollars = cost(self.spec.model, usage, self.batch)
        return None if dollars is None else round(dollars, 6)

    async def close(self) -> None:
        """Release the connections; the next call opens new ones."""
        await enter(self.backend.close())

    def _close_at_exit(self) -> None:
        with contextlib.suppress(Exception):  # connections that end with the process anyway
            start(self.backend.close()).result(timeout=1.0)


def connect(spec: Spec, endpoint: Endpoint | None = None, store: Path | str | None = None, seed: int = 0) -> Model:
    """The model that `spec` names: the local one by default, else behind an OpenAI-compatible endpoint.

    The local model's module is imported here, since its constants count in the fingerprints of what it answers alone.

    Args:
        spec: model and sampling.
        endpoint: where and how to reach it.
        store: file of stored answers; by default one for all runs of this user.
        seed: of the sampling: each has draws of its own, 0 those of a model without one.

    Raises:
        EndpointError: a key is needed and not there.
        InputError: the store cannot be opened; the local model's packages are not installed; a cost is limited that
            cannot be known.
    """
    kept, endpoint = Store(store), endpoint or Endpoint()
    backend: Backend
    if spec.model == LOCAL_MODEL and spec.provider == "embedded":
        if endpoint.batch:
            raise InputError("the embedded model has no Batch API; leave out batch, or name another model.")
        from caredio.llm.local import LocalModel  # whose constants count for what it answers alone

        backend = LocalModel(spec, kept)
    elif endpoint.batch:
        backend = Batch(spec, endpoint, kept)
    else:
        backend = Remote(spec, endpoint)
        if submitted := kept.submitted():
            message = "%d submitted calls are not collected yet: batch does; without it they are paid again"
            log.warning(message, submitted)
    return Model(spec, backend, kept, endpoint.limits, seed)


# --- the event loop


class Stopped(Exception):  # noqa: N818 (what a stage that was interrupted ends with)
    """The calls of this stage were stopped."""


def _loop() -> asyncio.AbstractEventLoop:
    with _MAKING:  # two threads that begin at once share the loop too
        return _made_loop()


@functools.cache
def _made_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def run_on() -> None:
        while True:  # which also end the task that waits for them
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                loop.run_forever()

    threading.Thread(target=run_on, name="caredio models", daemon=True).start()
    return loop


def start(coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
    """The future result of `coroutine`, which runs in the loop of the models; any thread may call this."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


async def enter(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of `coroutine`, from whichever loop; cancelling the caller cancels it."""
    if asyncio.get_running_loop() is _loop():
        return await coroutine
    return await asyncio.wrap_future(start(coroutine))


async def ordinary(call: Callable[..., Coroutine[Any, Any, _T]], *given: Any) -> _T:
    """The result of `call`; what would end the event loop is raised as `Stopped`, with its cause."""
    try:
        return await call(*given)
    except (KeyboardInterrupt, SystemExit) as error:
        raise Stopped from error


class Calls:
    """The calls of one stage, which can be stopped together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stopped = False
        self.failure: Exception | None = None  # the first, which stopped the others

    async def together(self, call: Callable[[_S], Coroutine[Any, Any, _T]], items: Iterable[_S]) -> list[_T]:
        """The results of `call` for all items, in order; `stop` and the first of the stage to fail cancel the others.

        Runs in the loop of the models.
        """
        if self.stopped:
            raise Stopped
        tasks = [asyncio.ensure_future(ordinary(call, item)) for item in items]
        self._tasks.update(tasks)
        try:
            return await asyncio.gather(*tasks)
        except Exception as error:
            if not self.stopped:
                self.stopped, self.failure = True, error
                for other in self._tasks:
                    other.cancel()
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._tasks.difference_update(tasks)

    def run(self, work: Callable[[], _T]) -> _T:
        """The result of `work`, an async map, in a thread: it brings its own loop, and one may run here (Jupyter).

        However it ends, as by an interrupt of this thread, nothing is left in flight. `asyncio.run` takes an interrupt
        for itself and cancels the task that waits here, so that is looked for.
        """
        caller = None
        with contextlib.suppress(RuntimeError):  # no loop runs here
            caller = asyncio.current_task()
        with ThreadPoolExecutor(1) as thread:
            try:
                future = thread.submit(work)
                while caller and not wait([future], _LOOK).done:
                    if caller.cancelling():
                        raise asyncio.CancelledError
                return future.result()
            finally:
                self.stop()

    def stop(self) -> None:
        """Cancel what is in flight and refuse what would follow; returns once nothing is left in flight."""
        self.stopped = True
        start(self._cancelled()).result()

    async def _cancelled(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
