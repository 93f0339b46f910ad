"""The chat in which a model speaks as a culture, after samples it is shown: what the scores of a model condition on."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from caredio import cultures, prompts
from caredio.llm.spec import Messages

_PROMPT = prompts.load("likelihood")


def turns(culture: str, shown: Sequence[Mapping[str, str]], question: str) -> Messages:
    """The chat in which a person of `culture` answered the `shown` samples and is asked `question` next."""
    system, asked = _PROMPT.messages(name=name(culture), question=question)
    before = [
        message
        for sample in shown
        for message in ({**asked, "content": sample["question"]}, {"role": "assistant", "content": sample["response"]})
    ]
    return [system, *before, asked]


@functools.cache
def name(culture: str) -> str:
    """The culture's name in a sentence: as shipped, or as the slug reads."""
    known = cultures.load()
    if culture in known:
        return known[culture].name
    words = culture.replace("_", " ")
    return words.upper() if len(words) <= 3 else words.title()
