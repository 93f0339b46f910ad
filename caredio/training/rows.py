"""What a recipe trains on: a culture's rows by rank, the test split, and general chats replayed beside them.

Replay is TRL's `datasets:` with `fraction`. A fraction is a dataset's share of the rows trained on; all the culture's
rows stay, and take what the fractions leave of 1.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetsError

from caredio import features
from caredio.checkpoints import one_line
from caredio.errors import InputError
from caredio.training.flags import Settings
from caredio.training.recipe import Recipe

log = logging.getLogger("caredio")


class Replay(NamedTuple):
    """Rows of another dataset to train on beside the culture's."""

    name: str
    rows: Dataset


def tables(recipe: Recipe, settings: Settings) -> tuple[Dataset, Dataset | None]:
    """The rows to train on, those of rank 1 to `--budget`, and the test split where the trainer is to evaluate.

    Raises:
        InputError: the dataset, its config or its split cannot be read, lacks a column, or has no rows.
    """
    data, budget = settings.data, settings.own.budget
    columns = list(recipe.columns)
    train = _table(settings, data.dataset_train_split, [*columns, "rank"] if budget else columns)
    if budget:
        best = [row for row, rank in enumerate(train["rank"][:]) if rank <= budget]
        if not best:
            raise InputError(f"{data.dataset_name}: no row has a rank up to --budget {budget}.")
        log.info("%s: the best %d of %d rows", data.dataset_name, len(best), len(train))
        train = train.select(best)
    if recipe.shuffled:
        train = train.shuffle(settings.training.seed)
    evaluates = settings.training.eval_strategy != "no"
    return train, _table(settings, data.dataset_test_split, columns) if evaluates else None


def replays(recipe: Recipe, settings: Settings, rows: int) -> list[Replay]:
    """The rows of each of `datasets:` that are trained on beside `rows` of the culture, drawn by seed.

    Raises:
        InputError: a dataset cannot be read, or its columns are not what the recipe learns from.
    """
    asked = settings.mixture.datasets
    left = 1 - sum(config.fraction for config in asked)
    found = []
    for config in asked:
        name = f"datasets, {config.path}"
        where = {"path": config.path, "name": config.name, "split": config.split}
        files = {"data_dir": config.data_dir, "data_files": config.data_files}
        table = _as_rows(_read(name, **where, **files), recipe, name)
        wanted = round(rows * config.fraction / left)
        if len(table) < wanted:
            log.warning("%s: has %d rows, and a fraction of %s wants %d", name, len(table), config.fraction, wanted)
        drawn = table.shuffle(settings.training.seed).select(range(min(wanted, len(table))))
        found.append(Replay(config.path, drawn))
    return found


def _table(settings: Settings, split: str, columns: list[str]) -> Dataset:
    name, config, revision = settings.data.dataset_name, settings.data.dataset_config, settings.own.dataset_revision
    folder = Path(name)
    if (folder / "run.json").exists():
        raise InputError(f"{name}: is a run; name one of its tables, {folder / 'ranked'} for one.")
    if revision and folder.is_dir():
        raise InputError(f"{name}: is a folder and has no revisions; leave --dataset_revision out.")
    what = f"{name} ({config or 'no --dataset_config'})"
    table = _read(what, path=name, name=config, split=split, revision=revision)
    return features.require(table, columns, f"{name}, split {split}")


def _read(what: str, **where: Any) -> Dataset:
    try:
        return load_dataset(**where)
    except (OSError, ValueError, DatasetsError) as error:
        there = "" if Path(where["path"]).is_dir() else "no such folder here, and on the Hub: "
        raise InputError(f"{what}: cannot be read as a dataset ({there}{one_line(error)}).") from None


def _as_rows(table: Dataset, recipe: Recipe, what: str) -> Dataset:
    """Rows as the recipe's own: general chats are published as `messages`, and pairs with the prompt in both sides."""
    from trl import extract_prompt

    if "prompt" not in table.column_names:
        if recipe.columns == ("prompt", "completion") and "messages" in table.column_names:
            table = table.map(_asked_and_answered, remove_columns=table.column_names, desc="chats")
            table = table.filter(lambda row: bool(row["prompt"]), desc="chats with an answer")
        elif {"chosen", "rejected"} <= {*table.column_names}:
            table = table.map(extract_prompt, desc="prompts")
    return features.require(table, recipe.columns, what).select_columns(list(recipe.columns))


def _asked_and_answered(row: dict[str, Any]) -> dict[str, Any]:
    """A chat up to its last answer, as what came before and that answer; both are empty where nothing was answered."""
    chat = [{"role": message["role"], "content": message["content"]} for message in row["messages"]]
    last = max((number for number, message in enumerate(chat) if message["role"] == "assistant"), default=0)
    return {"prompt": chat[:last], "completion": chat[last : last + 1] if last else []}
