"""A chat completion on the wire: what is sent for a call, and the answer in what comes back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from caredio.errors import EndpointError
from caredio.llm.prices import Usage
from caredio.llm.spec import Messages, Spec
from caredio.llm.store import Answer

TOO_FAST = "endpoint: status 429"
NO_LIKELIHOOD = (
    "the endpoint tells no log-probabilities of prompts for {model} (vLLM does, the Batch API does not); choose scores"
    " that need none: --representativeness typicality and --distinctiveness cosine."
)


def passing(status: int) -> bool:
    """Whether a call that was refused with `status` may succeed later."""
    return status in (408, 409, 429) or status >= 500


class CallFailed(Exception):  # noqa: N818 (a row's fate, not the run's)
    """One call got no answer, its retries spent; `str(error)` is the row's drop_reason."""

    def __init__(
        self, reason: str, passing: bool = False, wait: float = 0.0, said: str = "", status: int | None = None
    ) -> None:
        """`passing`: the same call may succeed later, in `wait` seconds if the endpoint said so; `said`: its words."""
        super().__init__(f"endpoint: {reason}")
        self.passing, self.wait, self.said, self.status = passing, wait, said, status

    @property
    def told(self) -> str:
        """The reason, and what the endpoint said."""
        return f"{self}, which says: {self.said}" if self.said else str(self)


def request(spec: Spec, messages: Messages, schema: dict[str, Any] | None, openai: bool) -> dict[str, Any]:
    """The body of a call; `openai`: it goes to OpenAI or Azure, whose servers are strict about what they know."""
    body: dict[str, Any] = {"model": spec.model, "messages": messages}
    # OpenAI's newer models refuse max_tokens; other servers know nothing else
    body["max_completion_tokens" if openai else "max_tokens"] = spec.max_tokens
    if spec.temperature >= 0:
        body["temperature"] = spec.temperature
    if spec.top_p > 0:
        body["top_p"] = spec.top_p
    if schema is None:
        return body
    if spec.json_mode == "json_schema":
        form = {"name": "answer", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body
    if spec.json_mode == "json_object":  # llama.cpp's server reads a schema here, which OpenAI refuses
        body["response_format"] = {"type": "json_object"} if openai else {"type": "json_object", "schema": schema}
    ask = f"\n\nAnswer with JSON alone, fitting this JSON schema: {json.dumps(schema)}"
    body["messages"] = [*messages[:-1], {**messages[-1], "content": messages[-1]["content"] + ask}]
    return body


def measure(spec: Spec, messages: Messages) -> dict[str, Any]:
    """The body that asks vLLM how likely a chat's own text is, up to its last turn or to where the next would begin."""
    said = messages[-1]["role"] == "assistant"
    turn = {"add_generation_prompt": False, "continue_final_message": True} if said else {"add_generation_prompt": True}
    return {"model": spec.model, "messages": messages, "max_tokens": 1, "prompt_logprobs": 0, **turn}


def read_likelihood(reply: Any, spec: Spec) -> Answer:
    """log2 p of the chat that was sent, in bits, as the text of an answer.

    Raises:
        EndpointError: the endpoint does not tell.
        CallFailed: the reply is not what was wanted.
    """
    told = reply.get("prompt_logprobs") if isinstance(reply, dict) else None
    if not told:
        raise EndpointError(NO_LIKELIHOOD.format(model=spec.model))
    try:
        nats = sum(float(next(iter(token.values()))["logprob"]) for token in told if token)  # the first has none
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        raise CallFailed("no log-probabilities", passing=True) from None
    return replace(read(reply, spec), text=repr(nats / math.log(2)))


def most(body: dict[str, Any]) -> Usage:
    """The most that a request can use: a token is at least one of its bytes."""
    answer = body.get("max_completion_tokens") or body["max_tokens"]
    return Usage(1, 0, len(json.dumps(body, ensure_ascii=False).encode()), answer)


def used(answer: Answer) -> Usage:
    """What a call that brought `answer` used."""
    return Usage(1, 0, answer.prompt_tokens, answer.completion_tokens)


def read(reply: Any, spec: Spec) -> Answer:
    """The answer in a reply.

    Raises:
        CallFailed: it is no chat completion.
    """
    try:
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        return Answer(
            text=str(choice["message"].get("content") or ""),
            finish_reason=str(choice.get("finish_reason") or "stop"),
            model=str(reply.get("model") or spec.model),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise CallFailed("not a chat completion", passing=True) from None
