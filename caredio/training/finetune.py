"""Ranked rows as the JSONL files of OpenAI's fine-tuning: exported, checked by its published rules, and priced.

A line of SFT is a chat that ends with the culture's answer; one of DPO a prompt with a preferred and a non-preferred
answer. The rules are those of OpenAI's guides (developers.openai.com/api/docs/guides: supervised-fine-tuning,
direct-preference-optimization, fine-tuning-best-practices), of its cookbook's Chat_finetuning_data_prep, and of the
files API as the `openai` package documents it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from datasets import Dataset

from caredio.errors import BudgetError, InputError
from caredio.llm.plan import CHARACTERS
from caredio.llm.prices import TUNING_LIST, base_of, training_cost
from caredio.publishing.split import is_test
from caredio.training import views
from caredio.training.finetuning_settings import SFT, Settings

log = logging.getLogger("caredio")

ALL = "all"  # every culture in one model, each row naming its own
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
LEAST = 10  # examples to train on (supervised-fine-tuning)
LARGEST = 512 * 1024 * 1024  # bytes of a file (files API)
# tokens of an example; what is longer is cut off at its end, which is the answer (fine-tuning-best-practices)
LONGEST = dict.fromkeys(
    (
        "gpt-4.1-2025-04-14",
        "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-nano-2025-04-14",
        "gpt-4o-2024-08-06",
        "gpt-4o-mini-2024-07-18",
    ),
    65_536,
)
_ROLES = ("system", "user", "assistant")
_OUTPUTS = ("preferred_output", "non_preferred_output")
_KEYS = frozenset(("role", "content", "name", "weight"))
_PER_MESSAGE, _PER_CHAT = 3, 3  # tokens around a message and a chat (the cookbook's count)
_SHOWN = 10  # broken rows in a message


class Example(NamedTuple):
    """A line of a file, and the row that it was made of."""

    sample_id: str
    body: dict[str, Any]

    @property
    def line(self) -> str:
        return json.dumps(self.body, ensure_ascii=False)


Files = dict[str, list[Example]]  # name -> lines


def examples(
    ranked: Dataset, preference: Dataset | None, culture: str, names: dict[str, str], chosen: Settings, share: float
) -> Files:
    """The files of a fine-tuning: the best rows to train on, and those whose questions are held out.

    Args:
        ranked: `features.RANKED`.
        preference: `features.PREFERENCE`, which DPO takes its pairs from.
        culture: whose rows, or `all`.
        names: culture -> name, for the line that names it in each row of `all`.
        share: of the questions, held out for validation as a release holds them out.

    Raises:
        InputError: there is no such culture, or DPO has no pair.
    """
    known = sorted(set(ranked["culture"][:]))
    if culture != ALL and culture not in known:
        raise InputError(f"culture is {culture!r}; the ranked rows are of {', '.join(known)}; {ALL} takes them all.")
    rows = views.interleaved(ranked, names) if culture == ALL else views.of_culture(ranked, culture)
    held_out = [is_test(question_id, share) for question_id in rows["question_id"][:]]
    parts = {
        name: views.ranked_anew(rows.select([row for row, out in enumerate(held_out) if out == test]))
        for name, test in ((TRAIN, False), (VALIDATION, True))
    }
    if chosen.budget is not None:
        best = [row for row, rank in enumerate(parts[TRAIN]["rank"][:]) if rank <= chosen.budget]
        parts[TRAIN] = parts[TRAIN].select(best)
    if chosen.method == SFT:
        made = {name: [_chat(row) for row in part] for name, part in parts.items()}
    else:
        found = _pairs(preference, culture)
        made = {name: [pair for row in part for pair in _preferred(row, found)] for name, part in parts.items()}
        if not made[TRAIN]:
            raise InputError(f"the run's preference table has no pair of {culture} to train on; use method sft.")
    return {name: lines for name, lines in _distinct(made).items() if lines}


def _distinct(files: Files) -> Files:
    """Each line once: two cultures may give one answer, and what is trained on is not to validate too (jobs API)."""
    first: dict[str, tuple[str, Example]] = {}
    for name, lines in files.items():
        for one in lines:
            first.setdefault(one.line, (name, one))
    kept: Files = {name: [] for name in files}
    for name, one in first.values():
        kept[name].append(one)
    if left_out := sum(map(len, files.values())) - sum(map(len, kept.values())):
        log.info("fine-tune  %d lines that equal another are left out", left_out)
    return kept


def _chat(row: dict[str, Any]) -> Example:
    return Example(row["sample_id"], {"messages": [*_messages(row["prompt"]), *_messages(row["completion"])]})


def _pairs(preference: Dataset | None, culture: str) -> dict[str, list[dict[str, Any]]]:
    """The preference rows by sample."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in preference or ():
        if culture in (ALL, row["culture"]):
            found.setdefault(row["sample_id"], []).append(row)
    return found


def _preferred(row: dict[str, Any], pairs: dict[str, list[dict[str, Any]]]) -> Iterator[Example]:
    """The pairs of a ranked row, under its prompt: that of `all` names the culture."""
    for pair in pairs.get(row["sample_id"], ()):
        body = {
            "input": {"messages": _messages(row["prompt"])},
            "preferred_output": _messages(pair["chosen"]),
            "non_preferred_output": _messages(pair["rejected"]),
        }
        yield Example(row["sample_id"], body)


def _messages(chat: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": message["role"], "content": message["content"]} for message in chat]


# --- the published rules


def check(files: Files, method: str, model: str) -> None:
    """See that files keep the published rules.

    At least 10 examples to train on; at most 512 MB a file; and of each line what `broken` says.

    Raises:
        InputError: names the broken lines, each with its place.
    """
    wrong: list[str] = []
    for name, lines in files.items():
        for number, example in enumerate(lines, 1):
            place = f"{name}, line {number} (sample {example.sample_id})"
            wrong += [f"{place}: {why}" for why in broken(example.body, method, LONGEST.get(base_of(model)))]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(f"{'; '.join(wrong[:_SHOWN])}{more}. Mend these rows, or leave them out.")
    if (count := len(files.get(TRAIN, ()))) < LEAST:
        raise InputError(f"{TRAIN} has {count} examples, and a fine-tuning takes at least {LEAST}; rank more rows.")
    for name, lines in files.items():
        if (size := len(content(lines))) > LARGEST:
            raise InputError(f"{name} has {size:,} bytes, and a file may have {LARGEST:,}; lower the budget.")


def broken(body: dict[str, Any], method: str, longest: int | None = None) -> list[str]:
    """What is wrong with a line, a sentence's part each; nothing where it keeps the rules.

    SFT: `messages` of system, user and assistant, with text, the last the assistant's; `weight` of an assistant message
    is 0 or 1, and something is learnt. DPO: `input.messages` that end before an answer, and one assistant message each
    as preferred and non-preferred output, which differ.

    Args:
        longest: tokens that an example may have.
    """
    if method == SFT:
        wrong = list(_broken_chat(body.get("messages"), "messages", ends_with_answer=True))
        chats = [] if wrong else [body["messages"]]
    else:
        prompt, outputs = body.get("input"), [body.get(name) for name in _OUTPUTS]
        asked = prompt.get("messages") if isinstance(prompt, dict) else None
        wrong = list(_broken_chat(asked, "input.messages", ends_with_answer=False))
        for name, output in zip(_OUTPUTS, outputs, strict=True):
            wrong += _broken_output(output, name)
        if not wrong and outputs[0] == outputs[1]:
            wrong.append("preferred_output and non_preferred_output are the same")
        chats = [] if wrong or asked is None else [[*asked, *(output or ())] for output in outputs]
    if longest and chats and (count := max(map(tokens, chats))) > longest:
        wrong.append(f"it has about {count:,} tokens, and {longest:,} is the most that is read of an example")
    return wrong


def _broken_chat(messages: Any, where: str, ends_with_answer: bool) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield f"{where} is no list of messages"
        return
    for place, message in enumerate(messages):
        yield from _broken_message(message, f"{where}[{place}]")
    last = messages[-1].get("role") if isinstance(messages[-1], dict) else None
    if ends_with_answer and last != "assistant":
        yield f"the last of {where} is not the assistant's"
    if not ends_with_answer and last == "assistant":
        yield f"the last of {where} is the assistant's, where an answer is asked for"
    spoken = [one for one in messages if isinstance(one, dict) and one.get("role") == "assistant"]
    if ends_with_answer and spoken and all(one.get("weight") == 0 for one in spoken):
        yield "every answer has weight 0, so nothing is learnt"


def _broken_output(output: Any, name: str) -> Iterator[str]:
    if not isinstance(output, list) or len(output) != 1:
        yield f"{name} is not one message"
        return
    yield from _broken_message(output[0], f"{name}[0]")
    if isinstance(output[0], dict) and output[0].get("role") in ("system", "user"):
        yield f"{name}[0] is not the assistant's"


def _broken_message(message: Any, where: str) -> Iterator[str]:
    if not isinstance(message, dict):
        yield f"{where} is no message"
        return
    if unknown := sorted(set(message) - _KEYS):
        yield f"{where} has the unknown key {unknown[0]!r}"
    if message.get("role") not in _ROLES:
        yield f"{where} has the role {message.get('role')!r}, not {', '.join(_ROLES)}"
    text = message.get("content")
    if not isinstance(text, str) or not text.strip():
        yield f"{where} has no content"
    weighs = type(message.get("weight")) is int and message["weight"] in (0, 1) and message.get("role") == "assistant"
    if "weight" in message and not weighs:
        yield f"{where} has the weight {message['weight']!r}, and an assistant's message takes 0 or 1"


def content(lines: Sequence[Example]) -> bytes:
    """A file's bytes."""
    return "".join(f"{example.line}\n" for example in lines).encode()


# --- what it will cost


@dataclass(frozen=True)
class Estimate:
    """What a fine-tuning will cost. `str` of it is what is shown before anything is submitted.

    Attributes:
        examples: lines to train on; `held_out` are those to validate with, which are not paid for.
        tokens: of one pass over them, about: a token for each 4 bytes of text, and those around messages. Of a pair
            both chats count.
        epochs: passes; `stated` is whether they were asked for. If not, they are what the cookbook says the endpoint
            chooses.
        dollars: by the list price; None where none is known.
    """

    model: str
    method: str
    examples: int
    held_out: int
    tokens: int
    epochs: int
    stated: bool
    dollars: float | None

    @property
    def trained_tokens(self) -> int:
        """What is paid for."""
        return self.tokens * self.epochs

    @property
    def cost(self) -> str:
        """The cost in a few words."""
        dollars = "no price is known" if self.dollars is None else f"${self.dollars:,.2f}"
        return f"about {self.trained_tokens:,} trained tokens, {dollars}"

    def __str__(self) -> str:
        by = "as asked for" if self.stated else "about: the endpoint chooses"
        price = f"  (list price: {TUNING_LIST})" if self.dollars is not None else ""
        return "\n".join(
            (
                f"fine-tuning of {self.model} by {self.method}",
                f"{'examples':<16}{self.examples:>12,}  ({self.held_out:,} held out)",
                f"{'tokens':<16}{self.tokens:>12,}  (about: one for each {CHARACTERS} bytes of text)",
                f"{'epochs':<16}{self.epochs:>12,}  ({by})",
                f"{'trained tokens':<16}{self.trained_tokens:>12,}",
                f"{'US dollars':<16}{'unknown' if self.dollars is None else f'{self.dollars:,.2f}':>12}{price}",
            )
        )


def estimate(
    files: Files, chosen: Settings, model: str, azure: bool = False, max_cost: float | None = None
) -> Estimate:
    """What it will cost to fine-tune `model` on files.

    Args:
        azure: Azure's prices are its own, and not known.
        max_cost: US dollars that may be spent, None for no limit.

    Raises:
        BudgetError: it is more than may be spent.
        InputError: dollars are limited and no price is known.
    """
    lines = files.get(TRAIN, [])
    count = sum(_example_tokens(example.body, chosen.method) for example in lines)
    epochs = chosen.epochs or usual_epochs(len(lines))
    dollars = None if azure else training_cost(model, count * epochs)
    if max_cost and dollars is None:
        raise InputError(f"no price is known for a fine-tuning of {model}, so max_cost cannot be kept; leave it out.")
    if max_cost and dollars is not None and dollars > max_cost:
        raise BudgetError(
            f"this fine-tuning costs about ${dollars:,.2f}, and max_cost is {max_cost:g}; lower budget or epochs."
        )
    held_out = len(files.get(VALIDATION, ()))
    stated = chosen.epochs is not None
    return Estimate(model, chosen.method, len(lines), held_out, count, epochs, stated, dollars)


def usual_epochs(count: int) -> int:
    """The passes over `count` examples that an endpoint chooses, by the cookbook: 3, fewer of many, more of few."""
    if count * 3 < 100:
        return min(25, 100 // count) if count else 1
    return max(1, 25_000 // count) if count * 3 > 25_000 else 3


def _example_tokens(body: dict[str, Any], method: str) -> int:
    if method == SFT:
        return tokens(body["messages"])
    return sum(tokens([*body["input"]["messages"], *body[name]]) for name in _OUTPUTS)


def tokens(messages: Iterable[dict[str, Any]]) -> int:
    """About how many tokens a chat has: one for each 4 bytes of UTF-8, so that scripts other than Latin count more."""
    return _PER_CHAT + sum(
        _PER_MESSAGE + -(-len(str(message["content"]).encode("utf-8", "replace")) // CHARACTERS) for message in messages
    )
