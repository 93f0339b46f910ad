"""OpenAI-compatible endpoints: bodies of requests, how they are sent, and how replies are read."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import logging
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from caredio import prompts
from caredio.errors import EndpointError
from caredio.llm import access, marks
from caredio.llm.access import Access, unsent
from caredio.llm.cache import Answer
from caredio.llm.limits import Backend, CallFailed, Held, Rate, Usage
from caredio.llm.settings import AUTO, MAX_COMPLETION_TOKENS, MAX_TOKENS, METHOD, Endpoint
from caredio.llm.spec import TOP_LOGPROBS, Chat, Embedding, FirstToken, Likelihood, Messages, Request, Spec

if TYPE_CHECKING:
    import openai

log = logging.getLogger("caredio")

NO_LIKELIHOOD = (
    "the endpoint returns no log-probabilities of prompts for {model} (vLLM does, the Batch API does not); choose"
    " what needs none: support as representativeness, hybrid as distinctiveness, score as ranking, embeddings as"
    " objective."
)
NO_TOP_LOGPROBS = (
    f"the endpoint does not return the {TOP_LOGPROBS} top_logprobs of a first token for {{model}}{{says}}; ask for the"
    " benchmark's variant _generated instead, whose letters are drawn."
)
_UNLIKELY = -9999.0  # how OpenAI writes the logarithm of nothing
_ROUNDING = 0.01  # of a logarithm, beyond that of 1
_PAGE = "an HTML page"
_TEXT_PARTS = ("text", "output_text", None)
_MOST_TOKENS = 2**40

# what servers refuse of a request
_REFUSALS = (400, 404, 422, 500)  # a template that raises is a 500 of some servers
_NOT = (
    r"(?:not? (?:be )?(?:support|permit|allow|recogni|enabl|available|accept|valid)\w*|n't support|unsupported|unknown"
    r"|not one of|unrecogni[sz]ed|unexpected|unavailable|forbidden|deprecated|not implemented|invalid)"
)
_SYSTEM = re.compile(
    rf"(?:system|developer) (?:role|message|prompt|instruction)s?\b.{{0,60}}{_NOT}"
    rf"|{_NOT}.{{0,60}}\bsystem\b.{{0,20}}role"
    r"|does not support 'system'|roles must alternate|only user and assistant roles"
    rf"|role.{{0,20}}\bsystem\b.{{0,40}}{_NOT}|{_NOT}.{{0,20}}role.{{0,20}}\bsystem\b"
    r"|first message must be (?:from|a|of) (?:the )?user|unknown variant `system`"
    r"|'system'\W{1,3}is not (?:one of|a valid)"
    r"|\b(?:should|must) be (?:one of|either)?\W*(?:user\W+(?:or\W+)?assistant|assistant\W+(?:or\W+)?user)\b"
    r"(?!\W+(?:or\W+)?\w*(?:system|developer|tool|function))",
    re.IGNORECASE | re.DOTALL,
)
_FORM = (
    r"(?:response_?format|response_schema|json_schema|json_object|json[ _]mode|structured[ _-]?outputs?|guided[ _]\w+"
    r"|json schema|grammar)"
)
_FORMAT = re.compile(
    rf"{_FORM}.{{0,120}}{_NOT}|{_NOT}.{{0,120}}{_FORM}|response_format.{{0,60}}(?:must|should) be"
    rf"|{_NOT}.{{0,60}}\bstrict\b|\bstrict\b.{{0,60}}{_NOT}"
    rf"|(?:failed|unable) to (?:parse|compile).{{0,20}}{_FORM}|{_FORM}.{{0,40}}(?:failed|conversion)",
    re.IGNORECASE | re.DOTALL,
)
_RANGE = re.compile(r"between|\brange\b|less than|greater than|at (?:most|least)|too (?:large|high|low)|[<>]=?", re.I)
_EITHER = re.compile(r"temperature.{1,20}top_p.{0,40}both", re.IGNORECASE | re.DOTALL)
_WANTS_SCHEMA = re.compile(r"response_format.{0,20}must be '?json_schema", re.IGNORECASE)
_SETTINGS = (  # what a refusal may be about, and which setting to what sends something else
    (r"\b(?:system|developer|roles?)\b", "system_role to user"),
    (rf"{_FORM}|\bstrict\b", "json_mode to prompt"),
    (r"\btemperature\b", "temperature to none"),
    (r"\btop_p\b", "top_p to none"),
    (r"\bmax_tokens\b", f"token_limit to {MAX_COMPLETION_TOKENS}"),
    (r"\bmax_completion_tokens\b", f"token_limit to {MAX_TOKENS}"),
)
_ORDER = (None, "json_schema", "json_object", "prompt")  # each is asked for less than the one before


class TopLogprobsError(EndpointError):
    """The endpoint gives no log-probabilities of a first token."""


class Remote(Backend):
    """Asks an endpoint in requests of their own, many at a time."""

    rate_limited, whole_chats = True, True

    def __init__(self, spec: Spec, endpoint: Endpoint, *names: str) -> None:
        """Read the environment; nothing is sent yet. `names`: of the settings that name the model and its address.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: dollars are limited and the model has no listed price.
        """
        self.spec, self.endpoint, self.price = spec, endpoint, Rate(spec.model)
        self.access = Access(spec, endpoint.base_url, endpoint.api_key_variable, *names)
        endpoint.budget.check(self.price)

    @property
    def dialect(self) -> Dialect:
        """What the model's server takes in a request, as far as it is found out."""
        known, endpoint = self.endpoint.limits.dialects, self.endpoint
        if self.spec.model not in known:
            known[self.spec.model] = start_dialect(self.access.openai, endpoint.system_role, endpoint.token_limit)
        return known[self.spec.model]

    @functools.cached_property
    def _openai(self) -> openai.AsyncOpenAI:
        return self.access.open(self.endpoint.concurrency)

    async def close(self) -> None:
        if "_openai" in vars(self):
            await vars(self).pop("_openai").close()

    def upper_bound(self, request: Request) -> Usage:
        """The most that a request can use: a token is at least one of its bytes, or of the texts it has embedded."""
        if isinstance(request, Embedding):
            return Usage(1, 0, sum(len(text.encode()) for text in request.texts), 0)
        made = body(self.spec, request, self.dialect)
        return Usage(1, 0, len(json.dumps(made, ensure_ascii=False).encode()), made[self.dialect.token_limit])

    async def send(self, request: Request, held: Held) -> Answer | VectorsReply:
        """The reply to one request; of one that was not sent or costs nothing, `held.used` says so.

        Raises:
            CallFailed: there is no answer; `rephrased` where it is known by now how the server wants to be asked.
            EndpointError: no call can succeed.
        """
        import aiohttp
        import httpx2
        import openai

        dialect = self.dialect
        path = "/embeddings" if isinstance(request, Embedding) else METHOD
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                # the package's own way around its typed replies, which cost more time than the rest of a call
                reply = await self._openai.post(path, cast_to=httpx2.Response, body=body(self.spec, request, dialect))
            return _answer(request, parse(reply.content, reply.headers.get("content-type", "")), self.spec)
        except (CallFailed, openai.OpenAIError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if unsent(error) or (isinstance(error, openai.APIStatusError) and access.unbilled(error.status_code)):
                held.used = Usage()
            raise self._failure(error, request, dialect) from None

    def _failure(self, error: Exception, request: Request, dialect: Dialect) -> CallFailed:
        """What an error means for its call; what the server refused of how it was asked is learnt.

        Raises:
            EndpointError: no call can succeed.
        """
        failure = self.access.describe(error)
        if self.dialect == dialect and (other := learn(dialect, failure.status, failure.server_message)):
            self.endpoint.limits.dialects[self.spec.model] = other
            log.info("%s: %s", self.access.host, failure.server_message)
        failure.rephrased = self.dialect != dialect
        if failure.rephrased:
            return failure
        if isinstance(request, FirstToken) and "logprobs" in failure.server_message:  # refused of reasoning models
            says = f", which says: {self.access.clean(failure.server_message).rstrip('.')}"
            raise TopLogprobsError(NO_TOP_LOGPROBS.format(model=self.spec.model, says=says))
        failure = self.access.failure(failure)
        if isinstance(request, Likelihood) and "prompt_logprobs" in failure.server_message:  # it knows no such word
            raise EndpointError(NO_LIKELIHOOD.format(model=self.spec.model))
        return failure


# --- how servers differ


@dataclass(frozen=True)
class Dialect:
    """What a server takes in a request. Never part of a key: the same call is asked in other words."""

    system_role: bool = True
    token_limit: str = MAX_TOKENS
    temperature: bool = True
    top_p: bool = True
    response_format: str | None = None  # instead of the Spec's json_mode
    schema_beside: bool = True  # llama.cpp's server reads a schema beside json_object, which OpenAI refuses


def start_dialect(openai: bool, system_role: str = AUTO, token_limit: str = AUTO) -> Dialect:
    """The dialect to begin with; `openai`: the server is OpenAI's or Azure's, which is strict about what it knows.

    Args:
        system_role: `user` puts the system text into the first user turn; see `SYSTEM_ROLES`.
        token_limit: the parameter's name; see `TOKEN_LIMITS`.
    """
    if token_limit == AUTO:  # OpenAI's newer models refuse max_tokens; other servers know nothing else
        token_limit = MAX_COMPLETION_TOKENS if openai else MAX_TOKENS
    return Dialect(system_role=system_role != "user", token_limit=token_limit, schema_beside=not openai)


def learn(dialect: Dialect, status: int | None, words: str) -> Dialect | None:
    """The dialect that leaves out what a server refuses in these words; None where they are about something else."""
    if status not in _REFUSALS:
        return None
    if limit := _token_limit(dialect.token_limit, words):
        return replace(dialect, token_limit=limit)
    if dialect.system_role and _SYSTEM.search(words):
        return replace(dialect, system_role=False)
    if dialect.top_p and (_EITHER.search(words) or _refused("top_p", words)):
        return replace(dialect, top_p=False)
    if dialect.temperature and _refused("temperature", words):
        return replace(dialect, temperature=False)
    if _FORMAT.search(words):
        return _other_format(dialect, words)
    return None


def advice(status: int | None, words: str) -> str:
    """The settings that may help where a refusal in these words teaches nothing; empty where none is known to."""
    if status not in (400, 422):
        return ""
    return " or ".join(instead for pattern, instead in _SETTINGS if re.search(pattern, words, re.IGNORECASE))


def _token_limit(name: str, words: str) -> str | None:
    """The other name of the token limit, where `name` is refused."""
    if name == MAX_TOKENS:
        return MAX_COMPLETION_TOKENS if MAX_COMPLETION_TOKENS in words and _refused(name, words) else None
    return MAX_TOKENS if _refused(name, words) else None


def _refused(name: str, words: str) -> bool:
    """Whether `words` say that a parameter is not known, or takes its default alone; not, that it is too high."""
    if _RANGE.search(words):
        return False
    blamed = rf"\b{name}\b.{{0,80}}(?:{_NOT}|only the default)|{_NOT}.{{0,60}}\b{name}\b"
    return bool(re.search(blamed, words, re.IGNORECASE | re.DOTALL))


def _other_format(dialect: Dialect, words: str) -> Dialect | None:
    """The next way to ask for JSON: the schema, then JSON of any kind, then the prompt alone."""
    place = _ORDER.index(dialect.response_format)
    if dialect.response_format is None and _WANTS_SCHEMA.search(words):
        mode = "json_schema"
    elif place < _ORDER.index("json_object") and not re.search(r"json_object|json[ _]mode", words, re.IGNORECASE):
        mode = "json_object"
    else:
        mode = "prompt"
    return replace(dialect, response_format=mode) if _ORDER.index(mode) > place else None


# --- bodies


def body(spec: Spec, request: Request, dialect: Dialect) -> dict[str, Any]:
    """The body of a request. Of likelihoods it is vLLM's: of the text up to a chat's end, or to where a turn begins."""
    if isinstance(request, Embedding):
        # base64: a quarter of numbers' length
        return {"model": spec.model, "input": request.texts, "encoding_format": "base64"}
    made: dict[str, Any] = {"model": spec.model, "messages": _turns(request.messages, dialect), dialect.token_limit: 1}
    if isinstance(request, Likelihood):
        ends = request.messages[-1]["role"] == "assistant"
        made |= {"prompt_logprobs": 0, "add_generation_prompt": not ends}
        return {**made, "continue_final_message": True} if ends else made
    if isinstance(request, FirstToken):
        if dialect.temperature:
            made["temperature"] = 1.0  # some servers' log-probabilities are tempered
        return {**made, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
    made[dialect.token_limit] = spec.max_tokens
    if spec.temperature is not None and dialect.temperature:
        made["temperature"] = spec.temperature
    if spec.top_p is not None and dialect.top_p:
        made["top_p"] = spec.top_p
    return {**made, **_form(spec, request, made["messages"], dialect)}


def _form(spec: Spec, chat: Chat, messages: Messages, dialect: Dialect) -> dict[str, Any]:
    """What of a body asks for JSON: a response_format, or the messages with the schema stated at their end."""
    if chat.schema is None:
        return {}
    mode = dialect.response_format or spec.json_mode
    if mode == "json_schema":
        form = {"name": "answer", "schema": chat.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    *before, last = messages
    stated = chat.instruction or schema_instruction(chat.schema, prompts.load(prompts.SCHEMA))
    asked = {"messages": [*before, {**last, "content": f"{last['content']}\n\n{stated}"}]}
    if mode == "prompt":
        return asked
    beside = {"schema": chat.schema} if dialect.schema_beside else {}
    return {**asked, "response_format": {"type": "json_object", **beside}}


def schema_instruction(schema: dict[str, Any], words: prompts.Prompt) -> str:
    """The sentence that states a JSON schema to a model, in the words of a `schema.txt`."""
    return words.part("user", schema=json.dumps(schema))


def _turns(messages: Messages, dialect: Dialect) -> Messages:
    """`messages`, the system text as the beginning of the first user turn where the server knows no system role."""
    if dialect.system_role or messages[0]["role"] != "system":
        return messages
    system, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system["content"]}, *rest]
    return [{"role": "user", "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]


# --- replies


class VectorsReply(NamedTuple):
    """A reply: float32[n, d] in the order of the texts."""

    vectors: np.ndarray
    prompt_tokens: int
    completion_tokens: int = 0


def _answer(request: Request, reply: Any, spec: Spec) -> Answer | VectorsReply:
    """The reply to a request, parsed. Raises as its reader does."""
    if isinstance(request, Chat):
        return read(reply, spec)
    if isinstance(request, FirstToken):
        return read_first_token(reply, spec)
    return read_likelihood(reply, spec) if isinstance(request, Likelihood) else read_vectors(reply, len(request.texts))


def parse(body: bytes | str, content_type: str = "") -> Any:
    """The JSON of a reply of status 200. Bytes that are no UTF-8 become lone surrogates, which `read` finds.

    Raises:
        CallFailed: it is something else, which the error names.
    """
    text = body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")
    text = text.lstrip("\ufeff").strip()
    if not text:
        raise CallFailed("an empty reply", retryable=True, few=True)
    begins = text[0]
    if begins not in "{[":
        if found := access.page(text):
            raise CallFailed(_PAGE, cause=f"{found.removeprefix(_PAGE).strip()} behind base_url".strip())
        if "event-stream" in content_type or re.match(r"(?:data|event|id|retry)?:", text):
            raise CallFailed("an event stream", server_message=_first_event(text))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if begins in "{[" and text[-1] not in "}]":
            raise CallFailed("JSON that breaks off", retryable=True) from None
        raise CallFailed("text that is no JSON", server_message=text) from None


def _first_event(text: str) -> str:
    """What the first event of a stream says is wrong."""
    try:
        return access.server_words(json.loads(text.split("data:", 1)[1].splitlines()[0]))
    except (IndexError, ValueError, RecursionError):
        return ""


def read(reply: Any, spec: Spec) -> Answer:
    """The answer in a reply: a finish_reason of `marks.REASONS`, and text that can be encoded and holds no thinking.

    Raises:
        CallFailed: it is no chat completion, or one that broke off.
    """
    choice = _choice(reply)
    message, finish = choice["message"], marks.finish_of(choice.get("finish_reason"))
    if finish == marks.BROKEN:
        raise CallFailed("the reply broke off", retryable=True, server_message=access.server_words(choice.get("error")))
    text, refused = _text(message)
    if finish == marks.TOOL:
        text, finish = "", marks.STOP
    if refused:
        text, finish = refused, marks.REFUSAL
    try:
        text = marks.visible(text)
    except marks.OnlyThinking:
        text, finish = "", marks.REASONING if finish == marks.STOP else finish
    thought = message.get("reasoning_content") or message.get("reasoning")
    if finish == marks.STOP and not text.strip() and thought:
        finish = marks.REASONING
    if not marks.is_text(text):
        text, finish = _encodable(text), marks.NOT_TEXT if finish == marks.STOP else finish
    usage, model = reply.get("usage"), reply.get("model")
    answered_by = _encodable(model) if isinstance(model, str) and model else spec.model
    return Answer(text, finish, answered_by, *_tokens(usage if isinstance(usage, dict) else {}, text))


def _choice(reply: Any) -> dict[str, Any]:
    """The first choice of a reply, with a message.

    Raises:
        CallFailed: there is none; says what there is.
    """
    if not isinstance(reply, dict):
        raise access.no_object(reply, "a chat completion")
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    for holder in (reply, choice or {}):
        if holder.get("error") and (failure := access.error_object({"error": holder["error"]})):
            raise failure
    if choice is not None and isinstance(choice.get("message"), dict):
        return choice
    if choice is None and (failure := access.error_object(reply)):
        raise failure
    # a list without choices can be a host's slip; something else is another interface
    raise CallFailed("not a chat completion", retryable="choices" in reply, few=True)


def _text(message: dict[str, Any]) -> tuple[str, str]:
    """(text, refusal) of a message; of content in parts, the text parts in their order."""
    content = message.get("content")
    texts: list[Any] = []
    refusals: list[Any] = [message.get("refusal")]
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            texts.append(part)
        elif part.get("type") == "refusal":
            refusals.append(part.get("refusal"))
        elif part.get("type") in _TEXT_PARTS:
            texts.append(part.get("text"))
    return _joined(texts), _joined(refusals)


def _joined(found: list[Any]) -> str:
    return "".join(one for one in found if isinstance(one, str))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _tokens(usage: dict[str, Any], text: str) -> tuple[int, int]:
    """Tokens of the prompt and of the answer; 0 and 0 where the server's count is not whole.

    What the total holds beyond both are the answer's: some servers count thinking there alone.
    """
    prompt, answer, total = (_count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    answer = max(answer, total - prompt)
    return (prompt, answer) if prompt and (answer or not text) else (0, 0)


def _count(value: Any) -> int:
    """A number of tokens as hosts write it (also 12.0 or "12"); 0 where it is none."""
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 < number < _MOST_TOKENS else 0


def read_likelihood(reply: Any, spec: Spec) -> Answer:
    """log2 p of the chat that was sent, in bits, as the text of an answer.

    Raises:
        EndpointError: the endpoint returns none.
        CallFailed: the reply is not what was wanted.
    """
    answer = read(reply, spec)
    log_probabilities = reply.get("prompt_logprobs")
    if not log_probabilities:
        raise EndpointError(NO_LIKELIHOOD.format(model=spec.model))
    try:
        first_has_none = (next(iter(token.values())) for token in log_probabilities if token)
        nats = sum(float(token["logprob"]) for token in first_has_none)
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError, OverflowError):
        nats = math.nan
    if not math.isfinite(nats):
        raise CallFailed("no log-probabilities", retryable=True)
    return replace(answer, text=repr(nats / math.log(2)))


def read_first_token(reply: Any, spec: Spec) -> Answer:
    """The likeliest first tokens as the text of an answer, JSON of `token` and `logprob`; none of a refused prompt.

    Raises:
        EndpointError: the endpoint returns none.
        CallFailed: the reply is not what was wanted.
    """
    answer = read(reply, spec)
    logprobs = reply["choices"][0].get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    if not top:
        if answer.finish_reason in (marks.CONTENT_FILTER, marks.REFUSAL):
            return replace(answer, text="[]")
        raise TopLogprobsError(NO_TOP_LOGPROBS.format(model=spec.model, says=""))
    try:
        found = [(_encodable(one["token"]), float(one["logprob"])) for one in top]
    except (AttributeError, KeyError, TypeError, ValueError):
        found = [("", math.nan)]
    if not all(logprob <= _ROUNDING for _, logprob in found):
        raise CallFailed("no log-probabilities", retryable=True)
    kept = [{"token": token, "logprob": max(logprob, _UNLIKELY)} for token, logprob in found]
    return replace(answer, text=json.dumps(kept, ensure_ascii=False))


def read_vectors(reply: Any, count: int) -> VectorsReply:
    """A reply's vectors, base64 of little-endian float32 or lists of numbers (not every server knows base64).

    Raises:
        CallFailed: it is something else than `count` vectors of one length; in the server's words where it says why.
    """
    if not isinstance(reply, dict):
        raise access.no_object(reply, "embeddings")
    stated = {"error": reply.get("error")} if reply.get("error") or "data" in reply else reply
    if failure := access.error_object(stated):
        raise failure
    try:
        found = [one["embedding"] for one in sorted(reply["data"], key=lambda one: one["index"])]
        rows = [np.frombuffer(base64.b64decode(one), "<f4") if isinstance(one, str) else one for one in found]
        vectors = np.array(rows, np.float32)
        tokens = int((reply.get("usage") or {}).get("prompt_tokens") or 0)
    except (AttributeError, KeyError, TypeError, ValueError):
        # a list without embeddings can be a host's slip; something else is another interface
        raise CallFailed("something else than embeddings", retryable="data" in reply) from None
    if vectors.ndim != 2 or len(vectors) != count or not vectors.size or not np.isfinite(vectors).all():
        raise CallFailed("something else than one embedding a text", retryable=True)
    return VectorsReply(vectors, tokens)
