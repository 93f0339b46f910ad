"""How servers that speak OpenAI's protocol differ: what a request may hold, learnt from what they refuse."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from caredio.llm.settings import AUTO, MAX_COMPLETION_TOKENS, MAX_TOKENS

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


@dataclass(frozen=True)
class Dialect:
    """What a server takes in a request. Never part of a key: the same call is asked in other words."""

    system_role: bool = True
    token_limit: str = MAX_TOKENS
    temperature: bool = True
    top_p: bool = True
    response_format: str | None = None  # instead of the Spec's json_mode
    schema_beside: bool = True  # llama.cpp's server reads a schema beside json_object, which OpenAI refuses


def start(openai: bool, system_role: str = AUTO, token_limit: str = AUTO) -> Dialect:
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


def settings(status: int | None, words: str) -> str:
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
