"""Connections to OpenAI, Azure or another endpoint: address, key, client; what its errors and refusals mean."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from caredio.errors import EndpointError
from caredio.llm.limits import CallFailed, retry_after
from caredio.llm.marks import CONTENT_FILTER, PROMPT_TOO_LONG
from caredio.llm.settings import METHOD, check_address, check_variable
from caredio.llm.spec import Spec

if TYPE_CHECKING:
    import openai

_OPENAI = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_AZURE = "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"
_HOSTS = {_OPENAI: ("openai.com",), _AZURE: ("azure.com", "azure.us", "azure.cn")}  # where these keys belong
_CONNECT = 10.0  # seconds to reach an endpoint
_NO_PROXY = "the proxy of HTTP(S)_PROXY does not answer"
_WORDS = 2_000  # characters of a server's words that are looked at

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


class Access:
    """Address and key, from the environment: `OPENAI_API_KEY` and `OPENAI_BASE_URL`, or Azure's.

    A spec whose provider is `azure` takes `AZURE_OPENAI_ENDPOINT` and `AZURE_OPENAI_API_KEY`, and `OPENAI_API_VERSION`
    unless the resource serves the v1 interface. A named endpoint of one's own may go without a key; it is sent none but
    that of the variable named for it.
    """

    def __init__(
        self,
        spec: Spec,
        base_url: str | None,
        api_key_variable: str | None = None,
        model_setting: str = "model",
        address_setting: str = "base_url",
    ) -> None:
        """Read the environment; nothing is sent.

        Args:
            api_key_variable: environment variable that holds the endpoint's key, instead of OpenAI's or Azure's.
            model_setting, address_setting: the settings that name the model and its address.

        Raises:
            EndpointError: no key, or one that no request can hold, and no address of one's own.
            InputError: the address is none, or the variable's name.
        """
        if api_key_variable:
            check_variable(api_key_variable)
        self._model, self._model_setting, self._address_setting = spec.model, model_setting, address_setting
        self._key_setting = address_setting.replace("base_url", "api_key_variable")
        self.azure = spec.provider == "azure"
        names = _AZURE if self.azure else _OPENAI
        in_environment = os.environ.get(names[0], "").strip()
        self.base_url = check_address(base_url or "") or check_address(in_environment, f"${names[0]}") or None
        self._key_name = api_key_variable or names[1]
        self.host = urlsplit(self.base_url or "https://api.openai.com").hostname or ""
        at_home = self.base_url in (None, check_address(in_environment)) or _within(self.host, _HOSTS[names])
        self._withheld = "" if at_home or api_key_variable else names[1]
        self._api_key = "" if self._withheld else _key(self._key_name)
        if not self._api_key and (self.azure or api_key_variable or not self.base_url):
            raise EndpointError(self._no_key())
        if self.azure and not self.base_url:
            raise EndpointError(f"{names[0]} is not set: export the address of your Azure resource.")
        self.openai = self.azure or _within(self.host, ("openai.com",))

    def _no_key(self) -> str:
        if self._withheld and os.environ.get(self._withheld):
            return (
                f"{self._withheld} is not sent to {self.host}, which is not Azure's: name the variable that holds its"
                f" key with {self._key_setting}."
            )
        return (
            f"{self._key_name} is not set, and {self._model} needs it: export the key, or name an endpoint of your own"
            f" with {self._address_setting}."
        )

    def open(self, connections: int, retries: int = 0, timeout: float | None = None) -> openai.AsyncOpenAI:
        """A client with a connection pool for the running event loop; `timeout`: seconds without a byte."""
        import httpx2
        import openai

        options: dict[str, Any] = {
            "api_key": self._api_key or "none",
            "max_retries": retries,
            "timeout": httpx2.Timeout(timeout, connect=_CONNECT),
            # over aiohttp, a call takes half the time of this process that it takes over httpx2
            "http_client": openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
            ),
        }
        if self.azure and os.environ.get("OPENAI_API_VERSION"):
            return openai.AsyncAzureOpenAI(azure_endpoint=self.base_url or "", **options)
        address = self.base_url
        if address and self.azure and not address.endswith("/v1"):
            address = f"{address}/openai/v1"
        client = openai.AsyncOpenAI(base_url=address, **options)
        if not self.openai:  # read from the environment, and nobody else's business
            client.organization = client.project = None
        return client

    def failure(self, error: Exception) -> CallFailed:
        """What an error on the way to an answer means for its call.

        Raises:
            EndpointError: no call can succeed (key refused, model unknown, quota used up, certificate not trusted).
        """
        failure = self.describe(error)
        if failure.hopeless:
            raise EndpointError(self._refusal(failure)) from None
        return failure

    def describe(self, error: Exception) -> CallFailed:
        """As `failure`, which raises where this one's `hopeless` is set."""
        import aiohttp
        import openai

        if isinstance(error, CallFailed):
            failure = error
        elif isinstance(error, openai.APIStatusError):
            failure = refusal(error.status_code, error.body, retry_after(error.response.headers))
        elif isinstance(error, TimeoutError):  # this package's own
            failure = CallFailed("timeout", retryable=True)
        elif isinstance(error, (openai.APIConnectionError, aiohttp.ClientError, OSError)):
            failure = _connection(error)
        else:
            failure = CallFailed("not a chat completion", retryable=True)
        failure.server_message = self.clean(failure.server_message, _WORDS)
        return failure

    def _refusal(self, failure: CallFailed) -> str:
        words = f" and says: {self.clean(failure.server_message)}" if failure.server_message else ""
        if failure.cause:
            what = f"{self.host} cannot be reached for model {self._model!r}"
            return f"{what}: {failure.cause}. Check {self._address_setting}."
        return (
            f"{self.host} refused the call for model {self._model!r} (status {failure.status}){words.rstrip('.')}."
            f" {self._advice(failure)}"
        )

    def _advice(self, failure: CallFailed) -> str:
        if failure.status in (401, 403) and self._withheld and os.environ.get(self._withheld):
            return (
                f"{self._withheld} was not sent, as it may be another host's: name the variable that holds the key of"
                f" {self.host} with {self._key_setting}."
            )
        if failure.status in (404, 405) and not re.search(r"model|deployment", failure.server_message, re.IGNORECASE):
            missing = f"nothing answers at {self.base_url}{METHOD}"
            return f"Check {self._address_setting}: {missing}, and most addresses end in /v1."
        if failure.status in (400, 422):
            return f"Check {self._model_setting} and max_tokens."
        return f"Check {self._key_name}, {self._model_setting} and {self._address_setting}."

    def clean(self, message: object, longest: int = 300) -> str:
        """A server's message in one line, short, printable, and without the key."""
        text = str(message).replace(self._api_key, "[key]") if self._api_key else str(message)
        return " ".join(text.encode("utf-8", "replace").decode().replace("\0", " ").split())[:longest]


def _key(variable: str) -> str:
    """The key in an environment variable, without the white space and quotes that files leave around it.

    Raises:
        EndpointError: it holds what no header can.
    """
    key = os.environ.get(variable, "").strip().strip("\"'").strip()
    if not key.isascii():
        raise EndpointError(f"{variable} holds a character that is not ASCII, which no key does; copy the key anew.")
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise EndpointError(f"{variable} holds white space or a line break inside the key; copy the key anew.")
    return key


def _within(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _connection(error: BaseException) -> CallFailed:
    """What kept a request from its endpoint, from the errors underneath."""
    import aiohttp

    chain = list(_underneath(error))
    words = " ".join(str(one) for one in chain)

    def found(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    if found(ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError):
        why = re.search(r"certificate verify failed: ([^(\]]*)", words)
        detail = why[1].strip() if why else "verification failed"
        return CallFailed("no connection", cause=f"its certificate is not trusted: {detail}", hopeless=True)
    if found(ssl.SSLError, aiohttp.ClientConnectorSSLError) and re.search("wrong version|record layer", words, re.I):
        return CallFailed("no connection", cause="no TLS at this port; http:// may be meant", hopeless=True)
    if found(aiohttp.InvalidURL):
        return CallFailed("no connection", cause="no address", hopeless=True)
    for kinds, cause in (
        ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), _NO_PROXY),
        ((socket.gaierror, aiohttp.ClientConnectorDNSError), "host name not found"),
        ((ConnectionRefusedError,), "connection refused"),
    ):
        if found(*kinds):
            return CallFailed("no connection", retryable=True, few=True, cause=cause)
    innermost = (" ".join(str(one).split()) for one in reversed(chain))
    return CallFailed("no connection", retryable=True, cause=next(filter(None, innermost), "")[:200])


def unsent(error: BaseException) -> bool:
    """Whether a failure came before any of the request was sent."""
    import aiohttp

    # aiohttp's own word: what stands over it calls a dropped connection a timeout too
    kinds = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError
    return any(isinstance(one, kinds) for one in _underneath(error))


def _underneath(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was raised from or while handling, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "os_error", None)  # aiohttp's own
        if isinstance(inner, BaseException) and id(inner) not in seen:
            yield inner
        error = error.__cause__ or error.__context__


# --- refusals and error objects


def unbilled(status: int) -> bool:
    """Whether a refusal with `status` costs nothing: it came before any work; a gateway's 504 came after it."""
    return 400 <= status < 500 and status not in (408, 409, 499)


def refusal(status: int, body: Any, wait: float = 0.0) -> CallFailed:
    """What a refusal with `status` and `body` (JSON or text) means; `wait`: seconds it asks to wait."""
    words, codes = server_words(body), set(_codes(body))
    final = _final(status, words, codes)
    hopeless = not final and (
        (status in (401, 403, 404, 405, 407) or (status == 402 and not wait))
        or bool(codes & _HOPELESS)
        or (status in (400, 422) and bool(_LIMIT_TOO_LARGE.search(words)))
    )
    passing = status in (408, 409, 425, 429) or (status >= 500 and status not in (501, 505))
    later = passing or (status == 402 and bool(wait)) or "json_validate_failed" in codes
    return CallFailed(
        f"status {status}",
        retryable=later and not final and not hopeless,
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
    return replace(refusal(400, body), reason="an error instead of an answer", retryable=False)


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
