"""How models are reached: the settings of an endpoint, and the limits that its calls share."""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass, fields, replace
from urllib.parse import SplitResult, urlsplit

from caredio.errors import InputError
from caredio.llm.limits import Budget, Limits, RateLimiter
from caredio.settings import Settings, setting

AUTO, MAX_TOKENS, MAX_COMPLETION_TOKENS = "auto", "max_tokens", "max_completion_tokens"
SYSTEM_ROLES = (AUTO, "system", "user")
TOKEN_LIMITS = (AUTO, MAX_TOKENS, MAX_COMPLETION_TOKENS)
METHOD = "/chat/completions"


@dataclass(frozen=True)
class Endpoint(Settings):
    """How to reach models, and within which limits. Never part of a key: the same model elsewhere answers the same.

    Calls through one Endpoint share its limits.
    """

    base_url: str | None = setting(
        None, "address of the endpoint, such as http://localhost:8000/v1 [$OPENAI_BASE_URL]", everyday=True, none_as=""
    )
    api_key_variable: str | None = setting(
        None, "environment variable that holds the endpoint's key; OPENAI_API_KEY goes to OpenAI alone", none_as=""
    )
    embedder_base_url: str | None = setting(
        None, "address of the endpoint that serves the embedder, where it is another", none_as=""
    )
    embedder_api_key_variable: str | None = setting(
        None, "environment variable that holds the key of the embedder's endpoint", none_as=""
    )
    embedder_requests_per_minute: int | None = setting(
        None, "most requests a minute to the embedder's endpoint; default: no limit", none_as=0
    )
    embedder_tokens_per_minute: int | None = setting(
        None, "most tokens a minute to the embedder's endpoint; default: no limit", none_as=0
    )
    review_base_url: str | None = setting(
        None, "address of the endpoint that serves the reviewer, where it is another", none_as=""
    )
    review_api_key_variable: str | None = setting(
        None, "environment variable that holds the key of the reviewer's endpoint", none_as=""
    )
    review_requests_per_minute: int | None = setting(
        None, "most requests a minute to the reviewer's endpoint; default: no limit", none_as=0
    )
    review_tokens_per_minute: int | None = setting(
        None, "most tokens a minute to the reviewer's endpoint; default: no limit", none_as=0
    )
    system_role: str = setting(
        AUTO,
        "role of the system text; user puts it into the first user turn, auto does so where it must",
        choices=SYSTEM_ROLES,
    )
    token_limit: str = setting(AUTO, "what the endpoint calls max_tokens; auto finds out", choices=TOKEN_LIMITS)
    concurrency: int = setting(64, "most calls in flight")
    requests_per_minute: int | None = setting(None, "most requests a minute; default: no limit", none_as=0)
    tokens_per_minute: int | None = setting(None, "most tokens a minute; default: no limit", none_as=0)
    timeout: float = setting(120.0, "seconds one attempt may take")
    retries: int = setting(
        5, "attempts after the first, with growing pauses; waiting for a quota to be renewed is none"
    )
    batch: bool = setting(False, "ask through the Batch API: half the price, answers within a day", everyday=True)
    max_cost: float | None = setting(
        None, "US dollars this command may spend, by the listed prices; default: no limit", everyday=True, none_as=0.0
    )
    max_total_tokens: int | None = setting(
        None, "tokens this command may use, prompts and answers; default: no limit", none_as=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise InputError("concurrency must be at least 1, timeout above 0 and retries at least 0.")
        for name, value in ((one.name, getattr(self, one.name)) for one in fields(self)):
            if value is None:
                continue
            if name.endswith("_per_minute") or name.startswith("max_"):
                if value < 0:
                    raise InputError(f"{name} is {value}; use a limit above 0, or leave it out for none.")
            elif name.endswith("api_key_variable"):
                check_variable(value, name)
            elif name.endswith("base_url"):
                check_address(value, name)

    @functools.cached_property
    def limits(self) -> Limits:
        """What the calls through this object share."""
        rate = RateLimiter(self.requests_per_minute, self.tokens_per_minute, self.retries)
        return Limits(self.concurrency, rate, self.retries, Budget(self.max_cost, self.max_total_tokens))

    @property
    def budget(self) -> Budget:
        """What they may spend together."""
        return self.limits.budget

    def for_role(self, role: str) -> Endpoint:
        """The Endpoint of a role, such as `embedder`: this one, unless a field that begins with the role's name is set.

        An Endpoint of the role's own has its own places and rate limits; what the command may spend is shared. It is
        sent the key of its own variable, never that of this Endpoint to another address.
        """
        if role not in self._roles:
            names = [one.name for one in fields(self) if one.name.startswith(f"{role}_")]
            own = {name.removeprefix(f"{role}_"): getattr(self, name) for name in names}
            given = any(value is not None for value in own.values())
            self._roles[role] = self._with(own, names) if given else self
        return self._roles[role]

    @functools.cached_property
    def _roles(self) -> dict[str, Endpoint]:
        return {}

    def _with(self, own: dict[str, object], names: list[str]) -> Endpoint:
        """An Endpoint of its own, with the settings of a role in place of the common ones."""
        if own["base_url"] is None:  # the same host: what is not its own stays as it is
            own = {name: getattr(self, name) if value is None else value for name, value in own.items()}
        defaults = {name: getattr(type(self), name) for name in names}
        endpoint = replace(self, **{**defaults, **own})
        if own["base_url"] in (None, self.base_url):
            rates = [(one.requests_per_minute, one.tokens_per_minute) for one in (endpoint, self)]
            if rates[0] == rates[1]:
                vars(endpoint)["limits"] = self.limits
        endpoint.limits.budget = self.budget
        return endpoint


def check_variable(text: str, name: str = "api_key_variable") -> None:
    """See that the name of an environment variable is one, so that no key stands in its place.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII):
        raise InputError(f"{name} takes the name of an environment variable, not the key itself.")


def check_address(text: str, name: str = "base_url") -> str:
    """The address without what surrounds it (white space, a closing slash, /chat/completions); empty for an empty one.

    Raises:
        InputError: it is no address; names `name`.
    """
    address = text.strip().rstrip("/").removesuffix(METHOD).rstrip("/")
    if not address:
        return ""
    shown = re.sub(r"//[^/@]*@", "//***@", address)
    try:
        why = _wrong(address, urlsplit(address))
    except ValueError as error:
        why = str(error)
    if why:
        raise InputError(f"{name} {shown!r} is no address ({why}); write it as http://host:port/v1.")
    return address


def _wrong(address: str, parts: SplitResult) -> str:
    """What keeps an address from being one.

    Raises:
        ValueError: the port is none, or the host's numbers.
    """
    import httpx2

    host = parts.hostname or ""
    if parts.scheme not in ("http", "https"):
        return "it begins with neither http:// nor https://"
    if re.search(r"[\s\x00-\x1f\x7f\\<>\"{}|^`]", address):
        return "it holds white space or a character that no address has"
    if parts.username is not None or parts.password is not None:
        return "it holds a user name or password: put the key into a variable, and name that as api_key_variable"
    if not host or host.startswith(".") or ".." in host or "://" in parts.path or host.endswith("%"):
        return "it names no host"
    if parts.query or parts.fragment or address.endswith(("?", "#")):
        return "it holds a query"
    if parts.port == 0 or parts.netloc.endswith(":"):
        return "it names no port after the colon"
    if ":" not in host:
        host.encode("idna")  # a ValueError says what is wrong with it
    if re.fullmatch(r"\d+|0x[\da-f]*", host.removesuffix(".").rpartition(".")[2]):
        ipaddress.IPv4Address(host.removesuffix("."))  # no domain ends in a number
    try:
        httpx2.URL(address)
    except httpx2.InvalidURL as error:
        return str(error)
    return ""
