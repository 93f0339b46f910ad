"""A chat completion on the wire: what is sent for a call, and the answer in what comes back."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

from caredio.errors import EndpointError
from caredio.llm import faults, marks
from caredio.llm.faults import CallFailed, passing
from caredio.llm.prices import Usage
from caredio.llm.spec import Spec
from caredio.llm.store import Answer

__all__ = ["CallFailed", "Usage", "most", "parse", "passing", "read", "read_likelihood", "used"]

NO_LIKELIHOOD = (
    "the endpoint tells no log-probabilities of prompts for {model} (vLLM does, the Batch API does not); choose scores"
    " that need none: --representativeness typicality and --distinctiveness cosine."
)

# what `Answer.finish_reason` may be
STOP, LENGTH, CONTENT_FILTER = "stop", "length", faults.CONTENT_FILTER
REASONING, NOT_TEXT, REFUSAL, PROMPT_TOO_LONG = "reasoning", "not_text", "refusal", faults.PROMPT_TOO_LONG
REASONS = (STOP, LENGTH, CONTENT_FILTER, REASONING, NOT_TEXT, REFUSAL, PROMPT_TOO_LONG)
_BROKEN, _TOOL = "error", "tool_calls"
_MEANS = (  # hosts' words for why a reply ended, the first that fits
    (LENGTH, r"length|max_?(?:output_|completion_|new_)?tokens|token_?limit|truncat|incomplete|context_window"),
    (REFUSAL, r"refus"),
    (CONTENT_FILTER, r"filter|safety|sensitive|moderat|prohibit|block|guardrail|recitation|spii|toxic|polic"),
    (_BROKEN, r"error|abort|cancel|malformed|insufficient|time_?d?_?(?:out|limit)|network|preempt|fail|interrupt"),
    (_TOOL, r"tool|function"),
)
_PAGE = "an HTML page"
_TEXT_PARTS = ("text", "output_text", None)
_MOST_TOKENS = 2**40


def read_likelihood(reply: Any, spec: Spec) -> Answer:
    """log2 p of the chat that was sent, in bits, as the text of an answer.

    Raises:
        EndpointError: the endpoint does not tell.
        CallFailed: the reply is not what was wanted.
    """
    answer = read(reply, spec)
    told = reply.get("prompt_logprobs")
    if not told:
        raise EndpointError(NO_LIKELIHOOD.format(model=spec.model))
    try:
        nats = sum(float(next(iter(token.values()))["logprob"]) for token in told if token)  # the first has none
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError, OverflowError):
        nats = math.nan
    if not math.isfinite(nats):
        raise CallFailed("no log-probabilities", passing=True)
    return replace(answer, text=repr(nats / math.log(2)))


def most(body: dict[str, Any]) -> Usage:
    """The most that a request can use: a token is at least one of its bytes, or of the texts it has embedded."""
    if "input" in body:
        return Usage(1, 0, sum(len(text.encode()) for text in body["input"]), 0)
    answer = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return Usage(1, 0, len(json.dumps(body, ensure_ascii=False).encode()), answer)


def unbilled(status: int) -> bool:
    """Whether a refusal with `status` costs nothing: it came before any work; a gateway's 504 came after it."""
    return 400 <= status < 500 and status not in (408, 409, 499)


def used(answer: Answer) -> Usage:
    """What a call that brought `answer` used."""
    return Usage(1, 0, answer.prompt_tokens, answer.completion_tokens)


def parse(body: bytes | str, content_type: str = "") -> Any:
    """The JSON of a reply of status 200. Bytes that are no UTF-8 become lone surrogates, which `read` finds.

    Raises:
        CallFailed: it is something else, which the error names.
    """
    text = body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")
    text = text.lstrip("\ufeff").strip()
    if not text:
        raise CallFailed("an empty reply", passing=True, few=True)
    begins = text[0]
    if begins not in "{[":
        if found := faults.page(text):
            raise CallFailed(_PAGE, cause=f"{found.removeprefix(_PAGE).strip()} behind --base-url".strip())
        if "event-stream" in content_type or re.match(r"(?:data|event|id|retry)?:", text):
            raise CallFailed("an event stream", said=_first_event(text))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if begins in "{[" and text[-1] not in "}]":
            raise CallFailed("JSON that breaks off", passing=True) from None
        raise CallFailed("text that is no JSON", said=text) from None


def _first_event(text: str) -> str:
    """What the first event of a stream says is wrong."""
    try:
        return faults.server_words(json.loads(text.split("data:", 1)[1].splitlines()[0]))
    except (IndexError, ValueError, RecursionError):
        return ""


def read(reply: Any, spec: Spec) -> Answer:
    """The answer in a reply; its finish_reason is one of `REASONS`, and its text can be encoded and holds no thinking.

    Raises:
        CallFailed: it is no chat completion, or one that broke off.
    """
    choice = _choice(reply)
    message, finish = choice["message"], finish_of(choice.get("finish_reason"))
    if finish == _BROKEN:
        raise CallFailed("the reply broke off", passing=True, said=faults.server_words(choice.get("error")))
    text, refused = _text(message)
    if finish == _TOOL:
        text, finish = "", STOP
    if refused:
        text, finish = refused, REFUSAL
    try:
        text = marks.visible(text)
    except marks.OnlyThinking:
        text, finish = "", REASONING if finish == STOP else finish
    if finish == STOP and not text.strip() and any(message.get(name) for name in ("reasoning_content", "reasoning")):
        finish = REASONING
    if not is_text(text):
        text, finish = _encodable(text), NOT_TEXT if finish == STOP else finish
    usage, model = reply.get("usage"), reply.get("model")
    prompt_tokens, completion_tokens = _tokens(usage if isinstance(usage, dict) else {}, text)
    return Answer(
        text=text,
        finish_reason=finish,
        model=_encodable(model) if isinstance(model, str) and model else spec.model,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def _choice(reply: Any) -> dict[str, Any]:
    """The first choice of a reply, with a message.

    Raises:
        CallFailed: there is none; says what there is.
    """
    if failure := faults.no_object(reply, "a chat completion"):
        raise failure
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    for holder in (reply, choice or {}):
        if holder.get("error") and (failure := faults.error_object({"error": holder["error"]})):
            raise failure
    if choice is not None and isinstance(choice.get("message"), dict):
        return choice
    if choice is None and (failure := faults.error_object(reply)):
        raise failure
    # a list without choices can be a host's slip; something else is another interface
    raise CallFailed("not a chat completion", passing="choices" in reply, few=True)


def finish_of(reason: Any) -> str:
    """Why a reply ended, as one of `REASONS`, "error" or "tool_calls"; an unknown reason is an end like any other."""
    if isinstance(reason, str) and reason in REASONS:
        return reason
    text = str(reason or "").lower() if isinstance(reason, (str, dict)) else ""
    return next((means for means, pattern in _MEANS if re.search(pattern, text)), STOP)


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


def is_text(text: str) -> bool:
    """Whether UTF-8, SQLite and Arrow take `text`: it holds no half of a character and no NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


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
