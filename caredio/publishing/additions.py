"""The cultures of a release that stay as they are while those of a run are added: their configs, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from datasets import Dataset, Features, concatenate_datasets

from caredio import cultures, disk, features, runs
from caredio.errors import InputError
from caredio.publishing import metadata, record, removals
from caredio.publishing.provenance import Made
from caredio.publishing.record import VIEWS, Release
from caredio.publishing.split import is_test

_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Staying:
    """What stays of a release.

    Attributes:
        slugs: culture -> what its configs are called.
        splits: config -> split -> rows.
        ranked: split -> the ranked rows.
        pool: every scored row.
    """

    release: Release | None = None
    slugs: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, dict[str, int]] = field(default_factory=dict)
    ranked: Mapping[str, Dataset] = field(default_factory=dict)
    pool: Dataset | None = None

    def with_ranked(self, rows: Dataset, split: str) -> Dataset:
        """The rows of a split, and those that stay."""
        return concatenate_datasets([rows, self.ranked[split]]) if split in self.ranked else rows

    def beside(self, tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
        """`ranked` and `scored` with the rows that stay."""
        if self.release is None or self.pool is None:
            return {}
        ranked = [tables["ranked"], *self.ranked.values()]
        return {
            "ranked": concatenate_datasets(ranked),
            "scored": concatenate_datasets([tables["scored"], self.pool]),
        }

    def made(self, made: Made) -> Made:
        """How the rows came about, with the cultures and languages of those that stay."""
        if self.pool is None:
            return made
        spoken = metadata.languages(self.pool["language"][:])
        return replace(
            made,
            cultures=sorted({*made.cultures, *self.slugs}),
            languages=sorted({*made.languages, *spoken}),
        )

    def copy(self, folder: Path) -> None:
        """Put the configs that stay into a release."""
        if self.release is not None:
            for name in self.splits:
                shutil.copytree(disk.named(self.release.path, name), disk.named(folder, name))

    def lines(self) -> list[str]:
        """What the changelog says of them."""
        if self.release is None:
            return []
        names = ", ".join(f"{slug}" for slug in sorted(self.slugs.values()))
        return [f"{names}: as in {self.release.version}, whose card says how the rows were made"]


NOTHING = Staying()


def staying(base: Release, slugs: Mapping[str, str], share: float, removed: Sequence[str] = ()) -> Staying:
    """What stays of a release to which a run's cultures are added; a culture that both have is the run's.

    Args:
        slugs: of the run's cultures.
        share: of the questions that the run's release holds out.
        removed: sample_ids that the release leaves out.

    Raises:
        InputError: the release is no dataset, has other columns, holds out other questions, or holds what is removed;
            nothing of it stays; or a file is missing or damaged.
    """
    if base.record.get("kind") != "dataset":
        raise InputError(f"{base.place}: is no release of a dataset, to which a culture could be added.")
    held = base.record["rows"]
    names = [name for name in record.slugs(base.record) if name not in slugs.values()]
    if not names:
        raise InputError(f"{base.place}: has no other culture than the run; leave out add_to.")
    configs = [config for name in names for config in (name, *(f"{name}-{view}" for view in VIEWS)) if config in held]
    splits = {config: dict(held[config]) for config in configs}
    ranked = {
        split: _table(base, [f"{name}/{split}" for name in names if split in held.get(name, ())], features.RANKED)
        for split in _SPLITS
        if any(split in held.get(name, ()) for name in names)
    }
    for split, rows in ranked.items():
        if any(is_test(question, share) != (split == "test") for question in rows["question_id"][:]):
            made_with = base.record.get("test_share")
            said = f"test_share {made_with}" if made_with is not None else "the test_share that it was made with"
            raise InputError(f"{base.place}: holds out other questions than this release would; give {said}.")
    scored = pool(base, names)
    removals.see_none(scored, removed, base.place)
    known = {
        culture: slug for culture, slug in cultures.slugs([*slugs, *scored["culture"][:]]).items() if slug in names
    }
    if len(known) < len(names):
        raise InputError(
            f"{base.place}: names configs by other cultures than its rows hold; publish all its cultures from one run."
        )
    return Staying(base, known, splits, ranked, scored)


def pool(base: Release, names: Collection[str] | None = None) -> Dataset:
    """Every scored row of a release's cultures; by default of all.

    Raises:
        InputError: it has other columns, or a file is missing or damaged.
    """
    held = [f"{name}-pool" for name in record.slugs(base.record) if names is None or name in names]
    files = [f"{config}/train" for config in held if config in base.record["rows"]]
    return _table(base, files, features.SCORED) if files else features.table([], features.SCORED)


def _table(base: Release, files: list[str], columns: Features) -> Dataset:
    paths = [disk.named(base.path, file.partition("/")[0]) / f"{file.partition('/')[2]}.parquet" for file in files]
    tables = [_read(path) for path in paths]
    try:
        return concatenate_datasets([features.conform(table, columns) for table in tables])
    except (ValueError, KeyError, TypeError) as error:  # Arrow's errors are such
        raise InputError(
            f"{base.place}: has other columns than this version writes ({' '.join(str(error).split())[:150]}); publish"
            " all its cultures from one run."
        ) from None


def _read(path: Path) -> Dataset:
    try:
        return runs.read([path])
    except (OSError, ValueError) as error:  # Arrow's errors are such
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{path}: is missing or damaged ({reason}); restore it, or add to another release.") from None
