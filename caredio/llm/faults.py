"""What refusals and error objects of endpoints mean for the call that met them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caredio.llm.marks import CONTENT_FILTER, PROMPT_TOO_LONG

_SHOWN = 300  # characters of a server's words in a message

_FILTERED_CODES = {
    "content_filter",
    "content_filtered",
    "content_policy_violation",
    "contentpolicyviolationerror",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
    "datainspectionfailed",
    "invalid_prompt",
    "moderation_blocked",
    "prohibited_content",
    "inputtextsensitivecontentdetected",
    "sensitivecontentdetected",
}
_FILTERED = re.compile(
    r"content management policy|content[ _](?:filter|policy|moderation)|flagged|safety (?:system|filter|check|policy)"
    r"|usage (?:polic|guidelines)|requires moderation|content exists risk|considered high risk|inappropriate content"
    r"|sensitive (?:content|information|words?)|prohibited[ _]content|guardrail|不安全|敏感",
    re.IGNORECASE,
)
_OF_THE_ACCOUNT = re.compile(r"\b(?:account|organi[sz]ation|api key|project|your access)\b", re.IGNORECASE)
_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length", "request_too_large"}
_LONG = re.compile(
    r"context[ _](?:length|window|size)|(?:prompt|input|request|messages?)\b.{0,40}\btoo (?:long|large)"
    r"|too many (?:input |prompt )?tokens|too large for model|longer than the (?:maximum|model)"
    r"|maximum (?:input|prompt|sequence|model) (?:length|tokens)|max_new_tokens` must be"
    r"|(?:token count|input length|input tokens|prompt length).{0,60}exceed|exceeds?.{0,40}max(?:imum)?.{0,20}tokens",
    re.IGNORECASE,
)
_LIMIT_TOO_LARGE = re.compile(
    r"max_(?:completion_|new_)?tokens\W.{0,40}(?:too (?:large|high|big)|less than or equal|at most|must be|range)"
    r"|at most \d+ completion tokens",
    re.IGNORECASE | re.DOTALL,
)
_HOPELESS = {
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_not_active",
    "invalid_api_key",
    "account_deactivated",
    "model_not_found",
    "deploymentnotfound",
}
_SLOW = re.compile(r"rate.?limit|too.?many.?requests|resource.?exhausted|throttl|quota", re.IGNORECASE)
_LATER = re.compile(
    r"overload|unavailable|internal|server.?error|time.?d? ?out|try again|temporar|busy|capacity|bad gateway",
    re.IGNORECASE,
)
_PAGE = re.compile(
    r"\s*(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype|html|head|body|meta|title|script|\?xml)", re.IGNORECASE | re.DOTALL
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(eq=False)
class CallFailed(Exception):  # noqa: N818 (a row's fate, not the run's)
    """One call got no answer, its retries spent; `str(error)` is the row's drop_reason."""

    reason: str  # what happened, in a few words
    retryable: bool = False  # the same call may succeed later, in `wait` seconds if the endpoint names a time
    wait: float = 0.0
    server_message: str = ""
    status: int | None = None  # of HTTP, or the one that an error object holds
    final: str = ""  # the reason to drop the row for, where the endpoint will always refuse this prompt and no other
    hopeless: bool = False  # no other call can succeed either
    few: bool = False  # it passes within a few attempts or not at all
    cause: str = ""  # what lies underneath, or what an address leads to
    rephrased: bool = False  # it is known by now how to ask instead

    def __str__(self) -> str:
        return f"endpoint: {self.reason}"

    @property
    def description(self) -> str:
        """The reason, its cause, and the endpoint's words."""
        cause = f" ({self.cause})" if self.cause else ""
        return f"{self}{cause}, which says: {self.server_message[:_SHOWN]}" if self.server_message else f"{self}{cause}"


def unbilled(status: int) -> bool:
    """Whether a refusal with `status` costs nothing: it came before any work; a gateway's 504 came after it."""
    return 400 <= status < 500 and status not in (408, 409, 499)


def retryable(status: int) -> bool:
    """Whether a call that was refused with `status` may succeed later."""
    return status in (408, 409, 425, 429) or (status >= 500 and status not in (501, 505))


def refusal(status: int, body: Any, wait: float = 0.0) -> CallFailed:
    """What a refusal with `status` and `body` (JSON or text) means; `wait`: seconds it asks to wait."""
    words, codes = server_words(body), set(_codes(body))
    final = _final(status, words, codes)
    quota = status == 429 and not codes & _HOPELESS
    hopeless = not final and (
        (status in (401, 403, 404, 405, 407) or (status == 402 and not wait))
        or bool(codes & _HOPELESS)
        or (status in (400, 422) and bool(_LIMIT_TOO_LARGE.search(words)))
    )
    later = retryable(status) or (status == 402 and bool(wait)) or "json_validate_failed" in codes
    return CallFailed(
        f"status {status}",
        retryable=(later or quota) and not final and not hopeless,
        wait=wait,
        server_message=words,
        status=status,
        final=final,
        hopeless=hopeless,
    )


def error_object(body: Any) -> CallFailed | None:
    """What an error inside a reply of status 200 means; None where there is none."""
    words = server_words(body)
    if not words:
        return None
    codes = set(_codes(body))
    numbers = [int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)]
    if numbers:
        return refusal(max(numbers), body)
    named = " ".join((*codes, words))
    if not codes & _HOPELESS and _SLOW.search(named):
        return refusal(429, body)
    if _LATER.search(named):
        return refusal(503, body)
    failure = refusal(400, body)
    what = "an error instead of an answer"
    return CallFailed(what, server_message=words, final=failure.final, hopeless=failure.hopeless, status=400)


def no_object(reply: Any, wanted: str) -> CallFailed:
    """What JSON that is no object means where `wanted` was."""
    kind = {list: "list", str: "text", type(None): "null"}.get(type(reply), "number")
    return CallFailed(f"not {wanted} but a JSON {kind}", server_message=server_words(reply))


def _final(status: int, words: str, codes: set[str]) -> str:
    """Why this prompt will always be refused, as a drop_reason; empty where that is not known."""
    filtered = codes & _FILTERED_CODES or _FILTERED.search(words)
    if status in (400, 403, 422, 451) and filtered and not (status == 403 and _OF_THE_ACCOUNT.search(words)):
        return CONTENT_FILTER
    if status == 413 or (status in (400, 422, 500) and (codes & _LONG_CODES or _LONG.search(words))):
        return PROMPT_TOO_LONG
    # a rate limit that the call alone is beyond
    return PROMPT_TOO_LONG if status == 429 and "request too large" in words.lower() else ""


def server_words(body: Any, depth: int = 6) -> str:
    """What a server says is wrong, out of the shapes that error bodies have; empty where it says nothing."""
    if isinstance(body, str):
        return page(body) or body
    if not depth or not body or isinstance(body, bool):
        return ""
    if isinstance(body, list):
        return "; ".join(filter(None, (server_words(one, depth - 1) for one in body[:5])))
    if not isinstance(body, dict):
        return ""
    if "msg" in body and isinstance(body.get("loc"), (list, tuple)):  # FastAPI: which field, and what of it
        return f"{'.'.join(map(str, body['loc']))}: {body['msg']}"
    found = [server_words(body.get(name), depth - 1) for name in ("error", "message", "detail", "msg", "base_resp")]
    found += [server_words(body.get(name), depth - 1) for name in ("errors", "error_description", "status_msg")]
    metadata = body.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # OpenRouter: the provider's own words
    words = [one for one in dict.fromkeys([*found, server_words(raw, depth - 1)]) if one and one != "success"]
    return ": ".join(words)


def page(text: str) -> str:
    """ "an HTML page", with its title, where `text` is one; else empty."""
    if not _PAGE.match(text):
        return ""
    title = _TITLE.search(text)
    return f"an HTML page titled {' '.join(title[1].split())!r}" if title else "an HTML page"


def _codes(body: Any) -> Iterator[str]:
    """The codes and types that an error body names, at whatever depth."""
    waiting = [body]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            for name, value in one.items():
                if name in ("code", "type", "status", "reason") and isinstance(value, (str, int)):
                    yield str(value).lower()
                elif isinstance(value, (dict, list)):
                    waiting.append(value)
