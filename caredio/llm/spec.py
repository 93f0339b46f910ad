"""What is asked of a model, and how it is sampled."""

from __future__ import annotations

from dataclasses import dataclass
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

    messages: Messages
    completion: str
    key: str = ""


class FirstToken(NamedTuple):
    """Asks for the likeliest first tokens of the model's next turn, with their log-probabilities."""

    messages: Messages
    key: str = ""


class Embedding(NamedTuple):
    """Asks for a vector of each text."""

    texts: list[str]


Request = Chat | Likelihood | FirstToken | Embedding


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
