"""Builds the conditioning chat for model-based scores: a person of a culture is asked, after samples that are shown."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from caredio import cultures, prompts
from caredio.llm import plan
from caredio.llm.spec import Messages, Spec


@dataclass(frozen=True)
class Conditioning:
    """How chats are built: `names` of cultures by slug, as the run has them, and a folder of `prompts`."""

    names: Mapping[str, str] = field(default_factory=dict)
    prompts: str | None = None

    def chat(self, culture: str, shown: Sequence[Mapping[str, str]], question: str) -> Messages:
        """The chat in which a person of `culture` answered the `shown` samples and is asked `question` next."""
        template = prompts.load("likelihood", self.prompts)
        name = self.name(culture)
        system, asked = template.messages(name=name, question=question)
        before = [
            message
            for sample in shown
            for message in (
                template.messages(name=name, question=sample["question"])[-1],
                {"role": "assistant", "content": sample["response"]},
            )
        ]
        return [system, *before, asked]

    def name(self, culture: str) -> str:
        """The culture's name in a sentence: as the run has it, as shipped, or as the slug reads."""
        if culture in self.names:
            return self.names[culture]
        if culture in _shipped():
            return _shipped()[culture].name
        words = culture.replace("_", " ")
        return words.upper() if len(words) <= 3 else words.title()


def probe(conditioning: Conditioning) -> tuple[Messages, str]:
    """A small call that shows whether a model returns log-probabilities, before what they are to score is paid for."""
    return conditioning.chat("", [], "?"), "."


def probing(conditioning: Conditioning, spec: Spec) -> plan.Step:
    """The request for the `probe`, as a step of a plan."""
    messages, answer = probe(conditioning)
    return plan.likelihoods("log-probabilities", 1, 1, plan.tokens(messages), spec, len(answer))


@functools.cache
def _shipped() -> dict[str, cultures.Culture]:
    return cultures.load()
