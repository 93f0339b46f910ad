"""The chat in which a model speaks as a culture, after samples it is shown: what the scores of a model condition on."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from caredio import cultures, prompts
from caredio.llm.spec import Messages

_PROMPT = prompts.load("likelihood")


def turns(
    culture: str,
    shown: Sequence[Mapping[str, str]],
    question: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Messages:
    """The chat in which a person of `culture` answered the `shown` samples and is asked `question` next.

    Args:
        names: of cultures by slug, as the run has them.
    """
    system, asked = _PROMPT.messages(name=name(culture, names), question=question)
    before = [
        message
        for sample in shown
        for message in ({**asked, "content": sample["question"]}, {"role": "assistant", "content": sample["response"]})
    ]
    return [system, *before, asked]


def name(culture: str, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """The culture's name in a sentence: as the run has it, as shipped, or as the slug reads."""
    if culture in names:
        return names[culture]
    if culture in _shipped():
        return _shipped()[culture].name
    words = culture.replace("_", " ")
    return words.upper() if len(words) <= 3 else words.title()


@functools.cache
def _shipped() -> dict[str, cultures.Culture]:
    return cultures.load()
