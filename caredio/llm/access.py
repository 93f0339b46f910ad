"""Connections to OpenAI, Azure or another endpoint: address, key, client, and what its errors mean."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from caredio.errors import EndpointError
from caredio.llm import faults
from caredio.llm.faults import CallFailed
from caredio.llm.limits import retry_after
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
        host = urlsplit(self.base_url).hostname if self.base_url else "api.openai.com"
        self.host = host or ""
        at_home = self.base_url in (None, check_address(in_environment)) or _within(self.host, _HOSTS[names])
        self._withheld = "" if at_home or api_key_variable else names[1]
        self._api_key = "" if self._withheld else _key(self._key_name)
        if not self._api_key and (self.azure or api_key_variable or not self.base_url):
            raise EndpointError(self._no_key(spec.model))
        if self.azure and not self.base_url:
            raise EndpointError(f"{names[0]} is not set: export the address of your Azure resource.")
        self.openai = self.azure or _within(self.host, ("openai.com",))

    def _no_key(self, model: str) -> str:
        if self._withheld and os.environ.get(self._withheld):
            return (
                f"{self._withheld} is not sent to {self.host}, which is not Azure's: name the variable that holds its"
                f" key with {self._key_setting}."
            )
        return (
            f"{self._key_name} is not set, and {model} needs it: export the key, or name an endpoint of your own with"
            f" {self._address_setting}."
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
            failure = faults.refusal(error.status_code, error.body, retry_after(error.response.headers))
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
            what = f"{self.host} cannot be reached for model {self._model!r}: {failure.cause}"
            return f"{what}. Check {self._address_setting}."
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
