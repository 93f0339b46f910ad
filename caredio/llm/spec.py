"""What is asked of a model, what makes two calls the same call, and what calls use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from caredio.errors import InputError
from caredio.settings import Settings, setting

LOCAL_MODEL = "SmolLM2-135M-Instruct"
JSON_MODES = ("json_schema", "json_object", "prompt")
TOP_LOGPROBS = 20  # likeliest tokens that are asked for: OpenAI returns no more
WITHOUT_EFFECT = ("TOP_LOGPROBS",)  # on what a stage makes (fingerprints.py)

Messages = list[dict[str, str]]


class Chat(NamedTuple):
    """Asks for the model's next turn, constrained to a JSON `schema` where there is one.

    Attributes:
        draw: tells samples of one prompt apart; a repair needs none, as its messages hold the answer it mends.
        instruction: what a server that takes no schema is told instead, where it is not the shipped `schema.txt`.
        key: under which the answer is stored; a `Model` sets it.
    """

    messages: Messages
    schema: dict[str, Any] | None = None
    draw: int = 0
    instruction: str | None = None
    key: str = ""


class Likelihood(NamedTuple):
    """Asks for log2 p(completion | messages); of an empty completion, for log2 p of the chat itself."""

    key: str
    messages: Messages
    completion: str


class FirstToken(NamedTuple):
    """Asks for the likeliest first tokens of the model's next turn, with their log-probabilities."""

    key: str
    messages: Messages


class Embedding(NamedTuple):
    """Asks for a vector of each text, stored under its own key."""

    keys: tuple[str, ...]
    texts: list[str]


Request = Chat | Likelihood | FirstToken | Embedding


@dataclass
class Usage:
    """What a stretch of calls used: tokens are those of requests made, not of answers found in the store.

    `calls` are the requests that cost something, or may have, `failed` those whose retries are spent. `uncounted` is
    how many of `calls` the endpoint told no tokens of; they are taken to have used the most they could.
    """

    calls: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: int = 0
    uncounted: int = 0

    def add(self, other: Usage, sign: int = 1) -> None:
        """Count `other` too, or no longer (sign -1)."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + sign * value)


@dataclass(frozen=True)
class Spec(Settings):
    """A model and how it is sampled. Holds no secret and no address, so it may stand in keys, tables and cards."""

    model: str = setting(
        LOCAL_MODEL, "the endpoint's name of the model; the default runs on this machine", everyday=True
    )
    provider: str | None = setting(
        None,
        "label of who serves it, under which answers are stored; default: openai, or embedded for this machine's",
        none_as="",
    )
    model_revision: str | None = setting(None, "the model's revision, where the provider has one", none_as="")
    temperature: float | None = setting(
        0.7, "sampling temperature; none leaves it to the endpoint", everyday=True, none_as=-1.0
    )
    top_p: float | None = setting(0.95, "nucleus of the sampling; none leaves it to the endpoint", none_as=-1.0)
    max_tokens: int = setting(512, "longest answer, in tokens")
    json_mode: str = setting("json_schema", "how the endpoint takes a JSON schema", choices=JSON_MODES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model.strip():
            raise InputError("model is empty; name the endpoint's model, or leave it out for the one of this machine.")
        if not self.provider:
            object.__setattr__(self, "provider", "embedded" if self.model == LOCAL_MODEL else "openai")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise InputError(f"temperature is {self.temperature}; use 0 to 2, or none for the endpoint's own.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; use a share above 0 up to 1, or none for the endpoint's own.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is {self.max_tokens}; an answer needs at least 1.")

    def key(self, chat: Chat) -> str:
        """The sha256 under which the answer to this call is stored."""
        own = self.as_stored()
        call = {
            "kind": "chat",
            **self._identity(own),
            "temperature": own["temperature"],
            "top_p": own["top_p"],
            "max_tokens": own["max_tokens"],
            "messages": chat.messages,
            "schema": chat.schema,
            "draw": int(chat.draw),
        }
        if chat.schema is not None:
            call["json_mode"] = self.json_mode
            if chat.instruction is not None:
                call["instruction"] = chat.instruction
        return _hash(call)

    def likelihood_key(self, messages: Messages, completion: str) -> str:
        """The sha256 under which log2 p(completion | messages) is stored; how answers are sampled is no part of it."""
        who = self._identity(self.as_stored())
        return _hash({"kind": "likelihood", **who, "messages": messages, "completion": completion})

    def first_token_key(self, messages: Messages) -> str:
        """The sha256 under which the likeliest first tokens are stored; how answers are sampled is no part of it."""
        who = self._identity(self.as_stored())
        return _hash({"kind": "first_token", **who, "messages": messages, "top_logprobs": TOP_LOGPROBS})

    def embedding_key(self, text: str) -> str:
        """The sha256 under which a text's vector is stored.

        A deployment of Azure's bears a name that its owner chose, so its vectors are not shared with OpenAI's model.
        """
        model = self.model if self.provider == "openai" else f"{self.provider}:{self.model}"
        return hashlib.sha256(json.dumps(["embedding", model, text]).encode()).hexdigest()

    def as_stored(self) -> dict[str, Any]:
        """Its settings as keys and fingerprints hold them: what is not given is -1.0 or an empty text there."""
        found = {}
        for one in fields(self):
            value = getattr(self, one.name)
            found[one.name] = one.metadata.get("none_as") if value is None else value
        return found

    @staticmethod
    def _identity(own: dict[str, Any]) -> dict[str, str]:
        """Who answers, in a key. Keys are written out field by field: a field that is added or renamed changes none."""
        return {name: own[name] for name in ("model", "provider", "model_revision")}


def _hash(call: dict[str, Any]) -> str:
    """The key of a call. What is paid for is found by it, so its bytes never change (tests hold some of them)."""
    return hashlib.sha256(json.dumps(call, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
