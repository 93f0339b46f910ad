"""What calls will cost, before they cost anything."""

from __future__ import annotations

from dataclasses import dataclass

from caredio.llm.embeddings import BYTES, TEXTS
from caredio.llm.prices import Usage, cost, noted
from caredio.llm.spec import Messages

CHARACTERS = 4  # a token, roughly, in English
QUESTION, ANSWER = 120, 400  # characters that such texts run to


@dataclass(frozen=True)
class Step:
    """The calls of a stage; prompt tokens from the prompt files, answers at their usual length.

    `model`: who is asked, where it is not the plan's model; a Batch API does not do these.
    """

    stage: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    model: str = ""


@dataclass(frozen=True)
class Plan:
    """Steps in the order they run. `str(plan)` is the table that `--dry-run` prints."""

    model: str
    steps: tuple[Step, ...]
    batch: bool = False

    @property
    def total(self) -> Step:
        names = ("calls", "prompt_tokens", "completion_tokens")
        return Step("total", *(sum(getattr(step, name) for step in self.steps) for name in names))

    def __str__(self) -> str:
        if not self.steps:
            return "No model is asked, so nothing is spent."
        lines = [f"{'stage':<22}{'calls':>10}{'prompt tokens':>16}{'answer tokens':>16}{'US dollars':>13}"]
        costs = [self._cost(step) for step in self.steps]
        known = [dollars for dollars in costs if dollars is not None]
        total = sum(known) if len(known) == len(costs) else None
        for step, dollars in zip((*self.steps, self.total), (*costs, total), strict=True):
            price = f"{dollars:,.2f}" if dollars is not None else "no price"
            lines.append(
                f"{step.stage:<22}{step.calls:>10,}{step.prompt_tokens:>16,}{step.completion_tokens:>16,}{price:>13}"
            )
        prices = f"{'batch' if self.batch else 'list'} prices of {noted()}"
        lines.append(
            f"Estimates for {self.model}, at {CHARACTERS} characters a token and {prices}; repairs and retries come on"
            " top, and answers that are stored already cost nothing."
        )
        return "\n".join(lines)

    def _cost(self, step: Step) -> float | None:
        usage = Usage(step.calls, 0, step.prompt_tokens, step.completion_tokens)
        return cost(step.model or self.model, usage, self.batch and not step.model)


def embedded(stage: str, model: str, texts: int, characters: int) -> Step:
    """The requests for the vectors of so many texts, each of so many characters."""
    calls = max(-(-texts // TEXTS), -(-texts * characters // BYTES))
    return Step(stage, calls, texts * characters // CHARACTERS, 0, model)


def tokens(messages: Messages) -> int:
    """About how many tokens a chat has."""
    return sum(len(message["content"]) for message in messages) // CHARACTERS
