"""The way to OpenAI, Azure or an endpoint of one's own: address, key, connections, and what its errors mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from caredio.errors import EndpointError
from caredio.llm.chat import CallFailed, passing
from caredio.llm.pace import retry_after
from caredio.llm.spec import Spec

if TYPE_CHECKING:
    import openai

_OPENAI = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_AZURE = "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"
_CONNECT = 10.0  # seconds to reach an endpoint


class Access:
    """Address and key, from the environment: `OPENAI_API_KEY` and `OPENAI_BASE_URL`, or Azure's.

    A spec whose provider is `azure` takes `AZURE_OPENAI_ENDPOINT` and `AZURE_OPENAI_API_KEY`, and `OPENAI_API_VERSION`
    unless the resource serves the v1 interface. A named endpoint of one's own may go without a key.
    """

    def __init__(self, spec: Spec, base_url: str, flag: str = "--model") -> None:
        """Read the environment; nothing is sent. `flag`: what the user named the model by.

        Raises:
            EndpointError: no key, and no address of one's own.
        """
        self._model, self._flag, self.azure = spec.model, flag, spec.provider == "azure"
        address, key = _AZURE if self.azure else _OPENAI
        self.base_url = base_url or os.environ.get(address) or None
        self._api_key, self._key_name = os.environ.get(key), key
        if not self._api_key and (self.azure or not self.base_url):
            raise EndpointError(
                f"{key} is not set, and {spec.model} needs it: export the key, or name an endpoint of your own with"
                " --base-url."
            )
        if self.azure and not self.base_url:
            raise EndpointError(f"{address} is not set: export the address of your Azure resource.")
        host = urlsplit(self.base_url).hostname if self.base_url else "api.openai.com"
        self.host = host or ""
        self.openai = self.azure or self.host == "openai.com" or self.host.endswith(".openai.com")

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
        if address and self.azure and not address.rstrip("/").endswith("/v1"):
            address = f"{address.rstrip('/')}/openai/v1"
        return openai.AsyncOpenAI(base_url=address, **options)

    def failure(self, error: Exception) -> CallFailed:
        """What an error on the way to an answer means for its call.

        Raises:
            EndpointError: no call can succeed (key refused, model unknown, quota used up).
        """
        import openai

        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)):
            raise EndpointError(self._refusal(error)) from None
        if isinstance(error, openai.APIStatusError):
            if error.code == "insufficient_quota":
                raise EndpointError(self._refusal(error)) from None
            status = error.status_code
            return CallFailed(
                f"status {status}", passing(status), retry_after(error.response.headers), self._said(error), status
            )
        if isinstance(error, TimeoutError):
            return CallFailed("timeout", passing=True)
        if isinstance(error, openai.APIConnectionError):
            return CallFailed("no connection", passing=True)
        return CallFailed("not a chat completion", passing=True)

    def _refusal(self, error: openai.APIStatusError) -> str:
        said = self._said(error)
        said = f" and says: {said}" if said else ""
        return (
            f"{self.host} refused the call for model {self._model!r} (status {error.status_code}){said}."
            f" Check {self._key_name}, {self._flag} and --base-url."
        )

    def _said(self, error: openai.APIStatusError) -> str:
        body = error.body
        return self.clean((isinstance(body, dict) and body.get("message")) or body or "")

    def clean(self, said: object) -> str:
        """What an endpoint said, in one line, short, and without the key."""
        text = str(said).replace(self._api_key, "[key]") if self._api_key else str(said)
        return " ".join(text.split())[:300]
