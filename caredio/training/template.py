"""The chat template that rows are trained through: what it lacks is known, and mended where it can be, before training.

A base model has none; some templates refuse a system message, or chats in which the roles do not alternate.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from caredio import checkpoints
from caredio.errors import InputError

if TYPE_CHECKING:
    from caredio.training.flags import Settings

log = logging.getLogger("caredio")


def tokenizer(settings: Settings, source: str, chats: bool, **origin: Any) -> Any:
    """The tokenizer to train with: that of `--adapter` where it has one, else the base model's.

    Args:
        source: folder or Hub id of the base model.
        chats: whether the rows are chats, which need a template, or plain text.
        origin: `from_pretrained`'s revision and trust in code.

    Raises:
        InputError: there is none, it has no chat template, or no token to pad with.
    """
    training, adapter = settings.training, settings.own.adapter
    name = settings.model.model_name_or_path
    if adapter and checkpoints.has_tokenizer(Path(adapter)):
        name, found = adapter, checkpoints.load_tokenizer(adapter)
    else:
        found = checkpoints.load_tokenizer(source, **origin)
    if path := getattr(training, "chat_template_path", None) or getattr(settings.own, "chat_template_path", None):
        found.chat_template = _template(path)
    if chats and found.chat_template is None:
        raise InputError(
            f"{name}: its tokenizer has no chat template; give one with --chat_template_path FILE.jinja, or name a "
            "model that has one."
        )
    words = found.get_vocab()
    for flag in ("eos_token", "pad_token"):
        if (token := getattr(training, flag, None)) is not None and token not in words:
            raise InputError(f"--{flag} {token}: is no token of {name}; leave it out, or name one of its vocabulary.")
    if not (getattr(training, "pad_token", None) or found.pad_token or getattr(training, "eos_token", None)):
        if found.eos_token is None:
            raise InputError(f"{name}: its tokenizer has no pad_token and no eos_token; name one with --pad_token.")
        found.pad_token = found.eos_token
    return found


def chats(rows: Dataset) -> bool:
    """Whether the rows are chats, not plain text."""
    return isinstance(rows[0]["prompt"], list)


def fitted(rows: Dataset, answers: Sequence[str], tokenizer: Any, name: str) -> tuple[Dataset, int]:
    """Rows that the chat template takes, and in how many of them a system message went into the first user turn.

    Args:
        answers: the columns of what follows the prompt.
        name: the table's, for the message.

    Raises:
        InputError: the template refuses a row.
    """
    if not chats(rows):
        return rows, 0
    folded = [row for row, prompt in enumerate(rows["prompt"][:]) if checkpoints.led_by_system(prompt)]
    if folded and not checkpoints.takes_system(tokenizer):
        rows = rows.map(_fold, desc="system message into the user turn", load_from_cache_file=False)
        log.info("%s: the chat template takes no system message; in %d rows it leads the user turn", name, len(folded))
    else:
        folded = []
    seen = set()
    for number, row in enumerate(rows):
        for column in answers:
            chat = row["prompt"] + row[column]
            shape = tuple(message["role"] for message in chat)
            if shape not in seen and (why := checkpoints.refusal(tokenizer, chat)):
                raise InputError(
                    f"{name}, row {number}: the chat template refuses {', '.join(shape)} ({why}); mend the row, or "
                    "give another template with --chat_template_path FILE.jinja."
                )
            seen.add(shape)
    return rows, len(folded)


def _template(path: str) -> str:
    """The text of a template file, or the template of another model's tokenizer."""
    if Path(path).is_file():
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--chat_template_path {path}: cannot be read ({checkpoints.one_line(error)}).") from None
    found = checkpoints.load_tokenizer(path).chat_template
    if found is None:
        raise InputError(f"--chat_template_path {path}: has no chat template either; name a .jinja file.")
    return str(found)


def _fold(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose system message leads the first user turn."""
    return {"prompt": checkpoints.system_in_user_turn(row["prompt"])}
