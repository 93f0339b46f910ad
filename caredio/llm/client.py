"""Models behind an OpenAI-compatible endpoint (OpenAI, vLLM, TGI, llama.cpp, Ollama, ...)."""

from __future__ import annotations

import asyncio
import json
import math
import os
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from caredio.errors import EndpointError, InputError
from caredio.llm.spec import Messages, Spec
from caredio.llm.store import Answer, Store


class CallFailed(Exception):  # noqa: N818 (a row's fate, not the run's)
    """One call got no answer, its retries spent; `str(error)` is the row's drop_reason."""


@dataclass(frozen=True)
class Endpoint:
    """How to reach a model. Never part of a key: the same model elsewhere gives the same answers."""

    base_url: str = field(
        default="", metadata={"help": "address of the endpoint, such as http://localhost:8000/v1 [$OPENAI_BASE_URL]"}
    )
    concurrency: int = field(default=64, metadata={"help": "most calls in flight"})
    timeout: float = field(default=120.0, metadata={"help": "seconds one attempt may take"})
    retries: int = field(default=5, metadata={"help": "attempts after the first, with growing pauses"})

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise InputError("concurrency must be at least 1, timeout above 0 and retries at least 0.")
        if self.base_url and urlsplit(self.base_url).scheme not in ("http", "https"):
            raise InputError(f"base_url {self.base_url!r} is no address; write it as http://host:port/v1.")


class Client:
    """Asks an endpoint, at most `endpoint.concurrency` calls at a time.

    The key comes from `OPENAI_API_KEY`; a named endpoint may go without one.
    """

    def __init__(self, spec: Spec, endpoint: Endpoint, store: Store) -> None:
        """Read the environment; nothing is sent yet.

        Raises:
            EndpointError: no key, and no address of one's own.
        """
        self.spec, self.endpoint, self.store = spec, endpoint, store
        self._base_url = endpoint.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._api_key = os.environ.get("OPENAI_API_KEY")
        if not self._api_key and not self._base_url:
            raise EndpointError(
                f"OPENAI_API_KEY is not set, and {spec.model} needs it: export the key, or name an endpoint of your"
                " own with --base-url."
            )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prefixes: dict[str, asyncio.Task[Answer]] = {}  # chats whose own likelihood is being asked for

    def _open(self) -> None:
        """A connection pool and a bound for the running loop (each `Dataset.map` brings its own loop)."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        import httpx2
        import openai

        connections = self.endpoint.concurrency
        self._openai = openai.AsyncOpenAI(
            api_key=self._api_key or "none",
            base_url=self._base_url,
            max_retries=self.endpoint.retries,
            timeout=httpx2.Timeout(self.endpoint.timeout, connect=min(10.0, self.endpoint.timeout)),
            http_client=openai.DefaultAsyncHttpx2Client(
                limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
            ),
        )
        self._bound = asyncio.Semaphore(connections)
        self._prefixes = {}
        self._loop = loop

    async def close(self) -> None:
        """Close the running loop's connections; the next call opens new ones."""
        if self._loop is asyncio.get_running_loop():
            self._loop = None
            await self._openai.close()

    async def generate(self, key: str, messages: Messages, schema: dict[str, Any] | None) -> Answer:
        """Ask, store the answer under `key`, and return it.

        Raises:
            CallFailed: the retries are spent.
            EndpointError: no call can succeed (key refused, model unknown, quota used up).
        """
        answer = self._read(await self._call(self._request(messages, schema)))
        self.store.put({key: answer})
        return answer

    async def _call(self, request: dict[str, Any]) -> Any:
        """The endpoint's reply to a chat request."""
        import openai

        self._open()
        try:
            async with self._bound:
                return await self._openai.chat.completions.create(**request)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EndpointError(self._refusal(error)) from None
        except openai.RateLimitError as error:
            if error.code == "insufficient_quota":
                raise EndpointError(self._refusal(error)) from None
            raise CallFailed("endpoint: status 429") from None
        except openai.APITimeoutError:
            raise CallFailed("endpoint: timeout") from None
        except openai.APIConnectionError:
            raise CallFailed("endpoint: no connection") from None
        except openai.APIStatusError as error:
            if "prompt_logprobs" in str(error):  # it does not know the word
                raise EndpointError(self._no_logprobs()) from None
            raise CallFailed(f"endpoint: status {error.status_code}") from None
        except (openai.OpenAIError, json.JSONDecodeError):
            raise CallFailed("endpoint: not a chat completion") from None

    async def likelihood(self, key: str, messages: Messages, completion: str) -> Answer:
        """Store and return log2 p(completion | messages), from the endpoint's log-probabilities of prompts (vLLM).

        It is the difference of two texts' likelihoods: the chat that ends with the completion, and the chat that ends
        where it would begin. The second is asked for once and stored too, so that each further completion costs one
        call.

        Raises:
            CallFailed: the retries are spent.
            EndpointError: the endpoint tells no log-probabilities of prompts, or no call can succeed.
        """
        before, paid = await self._prefix(messages)
        whole = [*messages, {"role": "assistant", "content": completion}]
        after = await self._measured(whole, {"add_generation_prompt": False, "continue_final_message": True})
        answer = replace(
            after,
            text=f"{float(after.text) - float(before.text):.3f}",
            prompt_tokens=after.prompt_tokens + paid * before.prompt_tokens,
            completion_tokens=after.completion_tokens + paid * before.completion_tokens,
        )
        self.store.put({key: answer})
        return answer

    async def _prefix(self, messages: Messages) -> tuple[Answer, bool]:
        """log2 p of the chat up to where a completion would begin, and whether it was this caller who asked."""
        key = self.spec.likelihood_key(messages, "")
        if (known := self.store.get(key)) is not None:
            return known, False
        self._open()
        if key in self._prefixes:
            return await self._prefixes[key], False
        self._prefixes[key] = asyncio.ensure_future(self._measured(messages, {"add_generation_prompt": True}))
        try:
            answer = await self._prefixes[key]
            self.store.put({key: answer})
        finally:
            del self._prefixes[key]
        return answer, True

    async def _measured(self, messages: Messages, template: dict[str, bool]) -> Answer:
        """log2 p of the chat's own tokens, as an answer's text."""
        request = {"model": self.spec.model, "messages": messages, "max_tokens": 1}
        reply = await self._call({**request, "extra_body": {"prompt_logprobs": 0, **template}})
        told = getattr(reply, "prompt_logprobs", None)
        if not told:
            raise EndpointError(self._no_logprobs())
        nats = sum(next(iter(token.values()))["logprob"] for token in told if token)  # the first token has none
        return replace(self._read(reply), text=repr(nats / math.log(2)))

    def _request(self, messages: Messages, schema: dict[str, Any] | None) -> dict[str, Any]:
        spec = self.spec
        request: dict[str, Any] = {"model": spec.model, "messages": messages}
        # OpenAI's newer models refuse max_tokens; other servers know nothing else
        request["max_completion_tokens" if self._base_url is None else "max_tokens"] = spec.max_tokens
        if spec.temperature >= 0:
            request["temperature"] = spec.temperature
        if spec.top_p > 0:
            request["top_p"] = spec.top_p
        if schema is None:
            return request
        if spec.json_mode == "json_schema":
            form = {"name": "answer", "schema": schema, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
            return request
        if spec.json_mode == "json_object":
            request["response_format"] = {"type": "json_object", "schema": schema}  # llama.cpp's server reads it
        ask = f"\n\nAnswer with JSON alone, fitting this JSON schema: {json.dumps(schema)}"
        request["messages"] = [*messages[:-1], {**messages[-1], "content": messages[-1]["content"] + ask}]
        return request

    def _read(self, reply: Any) -> Answer:
        try:
            choice, usage = reply.choices[0], reply.usage
            return Answer(
                text=choice.message.content or "",
                finish_reason=choice.finish_reason or "stop",
                model=reply.model or self.spec.model,
                prompt_tokens=usage.prompt_tokens if usage else 0,
                completion_tokens=usage.completion_tokens if usage else 0,
            )
        except (AttributeError, IndexError, TypeError):
            raise CallFailed("endpoint: not a chat completion") from None

    def _no_logprobs(self) -> str:
        return (
            f"model {self.spec.model!r}: the endpoint tells no log-probabilities of prompts (vLLM does); choose"
            " scores that need none: --representativeness typicality, --distinctiveness cosine."
        )

    def _refusal(self, error: Any) -> str:
        said = str((error.body or {}).get("message", "")) if isinstance(error.body, dict) else ""
        if self._api_key:
            said = said.replace(self._api_key, "[key]")
        host = urlsplit(self._base_url).hostname if self._base_url else "OpenAI"
        said = f" and says: {' '.join(said.split())[:300]}" if said else ""
        return (
            f"{host} refused the call for model {self.spec.model!r} (status {error.status_code}){said}."
            " Check OPENAI_API_KEY, --model and --base-url."
        )
