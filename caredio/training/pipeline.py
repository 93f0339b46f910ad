"""One recipe for every culture of a run or a release in turn, each in a folder of its own: `models/<culture>`."""

from __future__ import annotations

import io
import logging
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetsError
from filelock import FileLock, Timeout

from caredio import checkpoints, cultures, disk, features, packages, plots, yamlfile
from caredio.errors import InputError
from caredio.runs import Run
from caredio.training import arms
from caredio.training import flags as recipe_flags
from caredio.training import recipe as recipes
from caredio.training.arms import Arm
from caredio.training.options import Budget, Train
from caredio.training.recipe import RECIPES, Recipe
from caredio.training.record import rows_sha256

log = logging.getLogger("caredio")

MODELS = "models"
_SEED = 42  # transformers' own
_ANYWHERE = ("--bf16", "false", "--fp16", "false")  # else flags for a GPU could not be checked without one
PACKAGES = ("accelerate", "peft", "torch", "transformers", "trl")


class Source(NamedTuple):
    """The rows of one culture, as `load_dataset` takes them."""

    culture: str  # slug
    name: str  # folder or Hub id
    config: str


@dataclass(frozen=True)
class Method:
    """A recipe with its YAML and what goes over that, alike for all arms of a command.

    Attributes:
        given: flags over the YAML.
        flags: further flags, over both.
    """

    recipe: Recipe
    yaml: Path
    given: dict[str, Any]
    flags: tuple[str, ...]

    @property
    def values(self) -> dict[str, Any]:
        """Flag -> value."""
        return arms.values(self.yaml, self.given, self.flags)

    @property
    def own_flags(self) -> dict[str, Any]:
        """Flag -> value of the further flags."""
        return arms.read_flags(shlex.join(self.flags))

    def arm(self, name: str, folder: Path, source: Source, table: Dataset | None = None, **given: Any) -> Arm:
        """The training on a culture's rows.

        Args:
            name: in messages.
            folder: where it is written.
            table: the rows that will be there; by default those that are.
            given: flags of this arm alone.

        Raises:
            InputError: there are no such rows.
        """
        own = {"dataset_name": source.name, "dataset_config": source.config, **self.given, **given}
        flags = {**self.values, **given}
        rows = _learned(_read(source, flags) if table is None else table, self.recipe, flags, source)
        return Arm(name, folder, self.recipe, self.yaml, own, self.flags, len(rows), rows_sha256(rows))


@dataclass(frozen=True)
class Schedule:
    """The trainings that a command would run.

    Attributes:
        arms: those that are not finished.
        done: how many are.
        seconds: of one step, where one was taken.
    """

    arms: list[Arm]
    done: int
    seconds: float | None

    @property
    def steps(self) -> int:
        """Of all arms, by one process."""
        return sum(arm.steps for arm in self.arms)

    def __str__(self) -> str:
        lines = [f"{arm.name}: {arm.rows} rows, {arm.steps} steps" for arm in self.arms]
        lines.append(f"{len(self.arms)} to train, {self.done} finished; {self.steps:,} steps by one process")
        if not self.arms:
            return lines[-1]
        if self.seconds is None:
            return "\n".join([*lines, "hours: unknown, as no step was timed; --timed takes one"])
        hours = self.steps * self.seconds / 3600
        return "\n".join([*lines, f"hours: about {hours:.2g}, as the first step took {self.seconds:.2g} s"])


@dataclass(frozen=True)
class Trained:
    """What `train` made.

    Attributes:
        path: folder with a model or an adapter a culture.
        records: culture -> its training.json.
        pictures: files of the loss curves.
    """

    path: Path
    records: dict[str, dict[str, Any]]
    pictures: list[Path]

    def __str__(self) -> str:
        lines = [f"{name}: {_summary(record)}" for name, record in self.records.items()]
        return "\n".join([*lines, f"`caredio evaluate --trained {self.path}` measures them"])


class Training:
    """A training of several cultures whose arguments are checked: its plan, or its run."""

    def __init__(
        self, data: Path | str, chosen: Sequence[str] | None, out: Path | str | None, settings: Train, budget: Budget
    ) -> None:
        packages.require("training", "train", *PACKAGES)
        self.method, self.settings = method(settings), settings
        given = {} if budget.budget is None else {"budget": budget.budget}
        found = sources(data, self.method, chosen)
        self.path = folder(data, out, MODELS)
        self.arms = [self.method.arm(one.culture, disk.named(self.path, one.culture), one, **given) for one in found]
        self.records = {arm.name: arms.finished(arm) for arm in self.arms}

    def plan(self) -> Schedule:
        return schedule(self.arms, list(self.records.values()), self.settings)

    def result(self) -> Trained:
        pictures: list[Path] = []
        with working(self.path):
            for arm in self.arms:
                self.records[arm.name] = run(arm, self.records[arm.name], self.settings)
                made = {name: record for name, record in self.records.items() if record}
                pictures = plots.losses({name: losses(one) for name, one in made.items()}, self.path / "loss")
        return Trained(self.path, made, pictures)


def method(settings: Train) -> Method:
    """The recipe, its YAML and flags that settings name.

    Raises:
        InputError: there is no such file, or a flag is wrong.
    """
    recipe = RECIPES[settings.method]
    given = {} if settings.model is None else {"model_name_or_path": settings.model}
    found = Method(recipe, _yaml(recipe, settings), given, tuple(shlex.split(settings.flags)))
    if not found.values.get("model_name_or_path"):
        raise InputError(f"{found.yaml}: names no model_name_or_path; give the base model with --model.")
    arms.launcher(settings.accelerate_config)  # a wrong name is known before rows are read, and a wrong flag
    over = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    recipe_flags.read(recipe, ["--config", str(found.yaml), *over, "--output_dir", "models", *found.flags, *_ANYWHERE])
    return found


def _yaml(recipe: Recipe, settings: Train) -> Path:
    """The YAML that is named, or the first of the method for the model, or the method's own."""
    if settings.recipe is not None:
        for file in (Path(settings.recipe), recipes.folder() / settings.recipe):
            if file.is_file():
                return file
        raise InputError(f"recipe {settings.recipe}: no such file; `caredio recipes` lists those that are shipped.")
    for file in sorted(recipes.folder().glob(f"*/{recipe.name}-*.yaml"), key=lambda file: "-lora" not in file.name):
        if settings.model and yamlfile.mapping(file).values.get("model_name_or_path") == settings.model:
            return file
    return recipes.folder() / recipe.yaml


def sources(data: Path | str, method: Method, chosen: Sequence[str] | None) -> list[Source]:
    """Where the rows of each culture are, in the order that was asked for.

    Args:
        data: a run folder, a release's folder, or `owner/name` of one on the Hub.
        chosen: slugs; None takes all.

    Raises:
        InputError: nothing of the kind is there, or it lacks a culture.
    """
    place, table = Path(data), method.recipe.table
    if (place / "run.json").is_file():
        with Run(place, create=False) as run:
            run.check(table)
            found = {slug: Source(slug, str(place / table), slug) for slug in _slugs(run.table(table))}
            ranked = _slugs(run.table("ranked")) if "ranked" in run.stages else []
        for slug in (slug for slug in ranked if slug not in found):
            if chosen and slug in chosen:
                raise InputError(f"{slug}: none of its ranked rows is in the table {table}; leave it out.")
            log.warning("%s: none of its ranked rows is in the table %s; it is left out", slug, table)
    else:
        suffix = "" if table == "ranked" else f"-{table}"
        configs = _configs(data, method.values.get("dataset_revision"))
        own = [name for name in configs if name + suffix in configs and "-" not in name and name != "default"]
        found = {name: Source(name, str(data), name + suffix) for name in own if chosen or name != "all"}
    if not found:
        raise InputError(f"{data}: holds no config of a culture for {method.recipe.name}; name a run or a release.")
    return yamlfile.pick(chosen, found, "culture")


def _slugs(table: Dataset) -> list[str]:
    return sorted(cultures.slugs(table["culture"][:]).values())


def _configs(data: Path | str, revision: str | None) -> list[str]:
    try:
        return list(get_dataset_config_names(str(data), revision=revision))
    except (OSError, ValueError, DatasetsError) as error:
        where = "" if Path(data).is_dir() else "no such folder here, and on the Hub: "
        raise InputError(f"{data}: is no run and no release ({where}{checkpoints.one_line(error)}).") from None


def _read(source: Source, values: dict[str, Any]) -> Dataset:
    split, revision = str(values.get("dataset_train_split", "train")), values.get("dataset_revision")
    try:
        return load_dataset(source.name, source.config, split=split, revision=revision)
    except (OSError, ValueError, DatasetsError) as error:
        why = checkpoints.one_line(error)
        raise InputError(f"{source.name} ({source.config}): cannot be read as a dataset ({why}).") from None


def _learned(table: Dataset, recipe: Recipe, values: dict[str, Any], source: Source) -> Dataset:
    """The rows that the recipe will take of a culture's, as `rows.tables` takes them: for their number and hash."""
    budget, what = int(values.get("budget") or 0), f"{source.name} ({source.config})"
    table = features.require(table, [*recipe.columns, "rank"] if budget else recipe.columns, what)
    if budget:
        table = table.select([row for row, rank in enumerate(table["rank"][:]) if rank <= budget])
        if not len(table):
            raise InputError(f"{what}: no row has a rank up to a budget of {budget}.")
    return table.shuffle(int(values.get("seed", _SEED))) if recipe.shuffled else table


def folder(data: Path | str, out: Path | str | None, name: str) -> Path:
    """The folder of arms: `out`, or by default `name` in the run.

    Raises:
        InputError: `data` is no run, and `out` is not given.
    """
    if out is not None:
        return Path(out)
    if (Path(data) / "run.json").is_file():
        return Path(data) / name
    raise InputError(f"{data}: is no run folder to write {name} into; name a folder with --out.")


def schedule(wanted: Sequence[Arm], records: Sequence[dict[str, Any] | None], settings: Train) -> Schedule:
    """What is left to train, and how long it would take where one step is to be timed."""
    left = [arm for arm, record in zip(wanted, records, strict=True) if record is None]
    if not settings.timed or not left:
        return Schedule(left, len(wanted) - len(left), None)
    with tempfile.TemporaryDirectory(prefix="caredio-") as place:
        flags = (*left[0].flags, "--max_steps", "1", "--save_strategy", "no")
        step = replace(left[0], name="one step", folder=Path(place) / "step", flags=flags)
        taken = arms.train(step, settings.accelerate_config)["result"]["seconds"]
    return Schedule(left, len(wanted) - len(left), float(taken))


def run(arm: Arm, record: dict[str, Any] | None, settings: Train) -> dict[str, Any]:
    """The record of an arm, which is trained where it has none."""
    if record is not None:
        log.info("%s  unchanged", arm.name)
        return record
    log.info("%s  %s on %d rows, %d steps by one process", arm.name, arm.recipe.name, arm.rows, arm.steps)
    record = arms.train(arm, settings.accelerate_config)
    log.info("%s  %s", arm.name, _summary(record))
    return record


def keep(rows: Dataset, place: Path) -> None:
    """Write rows as a folder that `load_dataset` reads; equal ones are left, as they are cached."""
    file, made = place / "train.parquet", io.BytesIO()
    rows.to_parquet(made)
    if not file.is_file() or file.read_bytes() != made.getvalue():
        with disk.writing(place):
            place.mkdir(parents=True, exist_ok=True)
        with disk.replacing(file) as content:
            content.write(made.getvalue())


@contextmanager
def working(place: Path) -> Iterator[None]:
    """Until the block ends, another command is kept out of a folder of arms.

    Raises:
        InputError: another is at work there, or it cannot be written.
    """
    with disk.writing(place):
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{place}: another process is training here; wait, or name another --out.") from None
    try:
        yield
    finally:
        lock.release()


def losses(record: dict[str, Any]) -> list[list[float]]:
    """(step, loss) of what a training logged."""
    return record["result"].get("losses") or []


def _summary(record: dict[str, Any]) -> str:
    result, logged = record["result"], losses(record)
    change = f"loss {logged[0][1]:.3f} -> {logged[-1][1]:.3f}" if logged else f"loss {result['train_loss']:.3f}"
    return f"{record['recipe']} on {record['rows']} rows, {result['steps']} steps, {change}, {result['seconds']:.0f} s"
