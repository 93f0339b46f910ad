"""What calls will cost, before they cost anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from caredio.llm.embeddings import BYTES, TEXTS
from caredio.llm.limits import Usage
from caredio.llm.prices import cost, price_list
from caredio.llm.spec import LOCAL_MODEL, Messages, Spec

if TYPE_CHECKING:
    from caredio.stages import Expected

CHARACTERS = 4  # a token, roughly, in English
QUESTION, ANSWER = 120, 400  # characters that such texts run to
SAMPLE = {"question": "?" * QUESTION, "response": "." * ANSWER}


@dataclass(frozen=True)
class Step:
    """The requests of a stage; prompt tokens from the prompt files, answers at their usual length.

    `upper_bound`: requests at most, where answers that cannot be used are asked for again; `calls` where that is less.
    `model`: who is asked, where it is not the plan's model; of these a Batch API does those that are `chat`.
    `made_by`: the stage that declares them, where that has another name.
    """

    stage: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    model: str = ""
    upper_bound: int = 0
    chat: bool = False
    made_by: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "upper_bound", max(self.calls, self.upper_bound))


@dataclass(frozen=True)
class Plan:
    """Steps in the order they run. `str(plan)` is the table that `--dry-run` prints.

    `local`: the plan's model runs on this machine and costs nothing. `candidates`: what a synthesis writes.
    """

    model: str
    steps: tuple[Step, ...]
    batch: bool = False
    local: bool = False
    candidates: tuple[Expected, ...] = ()

    @property
    def total(self) -> Step:
        names = ("calls", "prompt_tokens", "completion_tokens", "upper_bound")
        sums = {name: sum(getattr(step, name) for step in self.steps) for name in names}
        return Step("total", **sums)

    @property
    def calls(self) -> dict[str, int]:
        """Those of each stage."""
        made: Counter[str] = Counter()
        for step in self.steps:
            made[step.made_by or step.stage] += step.calls
        return dict(made)

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
        return "\n".join([*lines, self._note(priced=None not in costs)])

    def _note(self, priced: bool) -> str:
        """What of the table is a bound and what an estimate."""
        asked = sorted({step.model or self.model for step in self.steps})
        total = self.total
        again = ""
        if total.upper_bound > total.calls:
            every = " and questions need every round" if any(step.stage == "questions" for step in self.steps) else ""
            again = f"; at most {total.upper_bound:,} where answers that cannot be used are asked for again{every}"
        prices = f"{'batch' if self.batch else 'list'} prices of {price_list()}"
        if not priced:
            prices = "and no price is known for all of it: check the model's name, or see the provider's list"
        return (
            f"Calls are the most that {', '.join(asked)} {'is' if len(asked) == 1 else 'are'} asked where every answer"
            f" can be used{again}. Tokens and dollars are estimates: {CHARACTERS} characters a token, answers of usual"
            f" length and no longer than --max-tokens, {prices}. Retries come on top, and answers that are stored"
            " already cost nothing."
        )

    def _cost(self, step: Step) -> float | None:
        if step.model == LOCAL_MODEL or (self.local and not step.model):
            return 0.0
        usage = Usage(step.calls, 0, step.prompt_tokens, step.completion_tokens)
        return cost(step.model or self.model, usage, self.batch and (step.chat or not step.model))


def is_local(spec: Spec) -> bool:
    """Whether the model runs on this machine: it is asked nothing over the network and costs nothing."""
    return spec.model == LOCAL_MODEL and spec.provider == "embedded"


def answers(stage: str, asked: Expected, prompt: int, spec: Spec, answer: int = ANSWER // CHARACTERS) -> Step:
    """The requests for an answer to each of the rows `asked` about; one that cannot be used is asked for once more.

    Args:
        prompt, answer: tokens of a prompt, and of an answer at its usual length.
    """
    written = asked.rows * min(answer, spec.max_tokens)
    return Step(stage, asked.rows, asked.rows * prompt, written, upper_bound=2 * asked.upper_bound)


def vectors(stage: str, model: str, lengths: Iterable[tuple[int, int]]) -> Step:
    """The requests for vectors: of each group of texts that are asked for together, how many and their mean length.

    Lengths are in characters. A group is cut into requests as `embeddings.batches` does it with texts of one length.
    """
    groups = [(texts, max(1, length)) for texts, length in lengths if texts]
    calls = sum(-(-texts // min(TEXTS, max(1, BYTES // length))) for texts, length in groups)
    return Step(stage, calls, sum(texts * length for texts, length in groups) // CHARACTERS, 0, model)


def likelihoods(stage: str, texts: int, chats: int, chat: int, spec: Spec, answer: int = ANSWER // CHARACTERS) -> Step:
    """The requests for the likelihoods of `texts` distinct answers in `chats` distinct chats.

    An endpoint is asked about a chat as it ends with each answer, and once as it stands before (see remote.py); each
    request writes a token. The model on this machine needs one pass for both.

    Args:
        chat, answer: tokens of a chat, and of an answer at its usual length.
    """
    if is_local(spec):
        return Step(stage, texts, texts * (chat + answer), 0)
    return Step(stage, texts + chats, texts * (chat + answer) + chats * chat, texts + chats)


def of_calls(stage: str, rows: Iterable[Sequence[tuple[Messages, str]]], spec: Spec) -> Step:
    """As `likelihoods`, of the calls of each row themselves: equal ones are made once, of all rows if not of a few."""
    texts: dict[int, int] = {}
    chats: dict[int, int] = {}
    count = 0
    for calls in rows:
        count += len(calls)
        for messages, completion in calls:
            chat, length = hash(json.dumps(messages)), tokens(messages)
            chats[chat], texts[hash((chat, completion))] = length, length + len(completion) // CHARACTERS
    prompts = sum(texts.values())
    if is_local(spec):
        return Step(stage, len(texts), prompts, 0, upper_bound=count)
    made = len(texts) + len(chats)
    return Step(stage, made, prompts + sum(chats.values()), made, upper_bound=2 * count)


def tokens(messages: Messages, schema: dict[str, Any] | None = None, spec: Spec | None = None) -> int:
    """About how many tokens a chat has, the JSON schema of its answer included where it stands in the prompt."""
    written = schema and spec and spec.json_mode != "json_schema"
    length = sum(len(message["content"]) for message in messages)
    return (length + (len(json.dumps(schema)) if written else 0)) // CHARACTERS
