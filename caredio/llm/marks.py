"""The part of a reply that is meant to be read, without thinking, channels and end marks, and why it ended."""

from __future__ import annotations

import json
import re
from typing import Any

# what `Answer.finish_reason` may be
STOP, LENGTH, CONTENT_FILTER = "stop", "length", "content_filter"
REASONING, NOT_TEXT, REFUSAL, PROMPT_TOO_LONG = "reasoning", "not_text", "refusal", "prompt_too_long"
REASONS = (STOP, LENGTH, CONTENT_FILTER, REASONING, NOT_TEXT, REFUSAL, PROMPT_TOO_LONG)
BROKEN, TOOL = "error", "tool_calls"
_MEANS = (  # hosts' words for why a reply ended, the first that fits
    (LENGTH, r"length|max_?(?:output_|completion_|new_)?tokens|token_?limit|truncat|incomplete|context_window"),
    (REFUSAL, r"refus"),
    (CONTENT_FILTER, r"filter|safety|sensitive|moderat|prohibit|block|guardrail|recitation|spii|toxic|polic"),
    (BROKEN, r"error|abort|cancel|malformed|insufficient|time_?d?_?(?:out|limit)|network|preempt|fail|interrupt"),
    (TOOL, r"tool|function"),
)

_NAME = (  # Qwen, DeepSeek, EXAONE, Gemini, Seed, LongCat, Claude and others
    r"(?:(?:seed:|longcat_|internal_|inner_|ant_?)?think(?:ing)?|(?:internal_|inner_)?(?:thoughts?|reasoning)"
    r"|(?:internal|inner)_monologue)"
)
_WITH = r'(?:\s+[\w:-]+="[^"<>]*")*\s*'  # attributes
_THINKING = re.compile(
    rf"(?P<open><{_NAME}{_WITH}>|(?-i:\[THINK\])|◁think▷|<\|(?:start_|begin_of_)?(?:think(?:ing)?|thought)\|>"
    r"|<\|channel>thought\b|<unused94>thought\b)"
    rf"|</{_NAME}\s*>|(?-i:\[/THINK\])|◁/think▷|<\|(?:/|end_|end_of_)(?:think(?:ing)?|thought)\|>|<channel\|>|<unused95>",
    re.IGNORECASE,
)
# what people may write too: thinking only where it is closed, or where a text begins with it
_BEGUN = (
    rf"<(?P<tag>reflection|scratchpad|analysis){_WITH}>|&lt;(?P<escaped>{_NAME})&gt;"
    rf"|^(?P<fence>```){_NAME}[ \t]*\n|<details\b[^<>]*\btype=[\"']?reasoning\b[^<>]*>"
)
_CLOSED = re.compile(
    rf"(?:{_BEGUN}|\[(?P<bracket>{_NAME})\])"
    r".*?(?(tag)</(?P=tag)\s*>|(?(escaped)&lt;/(?P=escaped)&gt;|(?(bracket)\[/(?P=bracket)\]"
    r"|(?(fence)^```[ \t]*$|</details\s*>))))",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_BEGINS = re.compile(rf"\s*(?:{_BEGUN})", re.IGNORECASE | re.MULTILINE)
_CHANNEL = re.compile(  # gpt-oss
    r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_PROLOGUES = (
    # gpt-oss where a host leaves its marks out; Granite
    re.compile(r"\A\s*(?:assistantanalysis|analysis(?=[A-Z]))(?:.*assistantfinal(?P<text>.*))?", re.DOTALL),
    re.compile(
        r"\A\s*Here(?:['’]s| is) my thought process:(?:.*?Here(?:['’]s| is) my response:(?P<text>.*))?", re.DOTALL
    ),
)
_WRAPPED = re.compile(
    r"\A\s*(?:<answer>|<output>|<\|begin_of_solution\|>|<\|START_RESPONSE\|>)(?P<text>.*?)"
    r"(?:</answer>|</output>|<\|end_of_solution\|>|<\|END_RESPONSE\|>)?\s*\Z",
    re.DOTALL | re.IGNORECASE,
)
_END = re.compile(
    r"(?:\s*(?:<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|END_OF_TURN_TOKEN)\|>|</s>|<end_of_turn>))+"
    r"\s*\Z"
)


def finish_of(reason: Any) -> str:
    """Why a reply ended, as one of `REASONS`, "error" or "tool_calls"; an unknown reason is an end like any other."""
    if isinstance(reason, str) and reason in REASONS:
        return reason
    text = str(reason or "").lower() if isinstance(reason, (str, dict)) else ""
    return next((means for means, pattern in _MEANS if re.search(pattern, text)), STOP)


def is_text(text: str) -> bool:
    """Whether UTF-8, SQLite and Arrow take `text`: it holds no half of a character and no NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


class OnlyThinking(ValueError):  # noqa: N818 (a verdict on text, not a fault)
    """A text of which nothing is meant to be read."""


def visible(text: str) -> str:
    """What of `text` is meant to be read; `text` itself where it holds no marks. JSON stays JSON.

    Raises:
        OnlyThinking: the thinking does not end.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            content = json.loads(text)
            shown = visible_in(content)
            return text if shown == content else json.dumps(shown, ensure_ascii=False)
        except OnlyThinking:
            raise
        except (ValueError, RecursionError):
            pass  # no JSON, or none that can be gone through
    return _visible(text)


def visible_in(content: Any) -> Any:
    """JSON `content` with what is meant to be read of each of its strings.

    Raises:
        OnlyThinking: the thinking in one of them does not end.
    """
    if isinstance(content, str):
        return _visible(content)
    if isinstance(content, dict):
        return {name: visible_in(value) for name, value in content.items()}
    return [visible_in(value) for value in content] if isinstance(content, list) else content


def _visible(text: str) -> str:
    shown = _spoken(text)
    shown = _thought_over(_CLOSED.sub("", shown))
    if _BEGINS.match(shown):
        raise OnlyThinking
    if shown != text and (wrapped := _WRAPPED.match(shown)):
        shown = wrapped["text"]
    shown = _END.sub("", shown)
    return text if shown == text else shown.strip()


def _spoken(text: str) -> str:
    """`text` without what comes before the answer in channels, or under a heading of its own."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        final = [found["text"] for found in channels if found["name"].lower() == "final"]
        if not final:
            raise OnlyThinking
        return "".join(final)
    for prologue in _PROLOGUES:
        if found := prologue.match(text):
            if found["text"] is None:
                raise OnlyThinking
            return found["text"]
    return text


def _thought_over(text: str) -> str:
    """`text` without thinking. What stands before an end of thinking that had no beginning is thinking too."""
    kept: list[str] = []
    place, thinking = 0, False
    for mark in _THINKING.finditer(text):
        if mark["open"] is None:
            if not thinking:
                kept = []
            place, thinking = mark.end(), False
        elif not thinking:
            kept.append(text[place : mark.start()])
            thinking = True
    if thinking:
        raise OnlyThinking
    return "".join([*kept, text[place:]])
