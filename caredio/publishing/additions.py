"""The cultures of a release that stay as they are while those of a run are added: their configs, byte for byte."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, Features, concatenate_datasets

from caredio import cultures, disk, features, runs
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.publishing import head, metadata, record, removals
from caredio.publishing.provenance import Added
from caredio.publishing.record import VIEWS, Release
from caredio.publishing.split import is_test

_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Staying:
    """What stays of a release.

    Attributes:
        slugs: culture -> what its configs are called.
        splits: config -> split -> rows.
        ranked: split -> the ranked rows; `pairs` their preference pairs.
        pool: every scored row.
    """

    release: Release | None = None
    slugs: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, dict[str, int]] = field(default_factory=dict)
    ranked: Mapping[str, Dataset] = field(default_factory=dict)
    pairs: Dataset | None = None
    pool: Dataset | None = None

    def with_ranked(self, rows: Dataset, split: str) -> Dataset:
        """The rows of a split, and those that stay."""
        return concatenate_datasets([rows, self.ranked[split]]) if split in self.ranked else rows

    def beside(self, tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
        """All tables of a run, `ranked`, `scored` and `preference` with the rows that stay."""
        if self.pool is None or self.pairs is None:
            return dict(tables)
        more = {"ranked": [*self.ranked.values()], "scored": [self.pool], "preference": [self.pairs]}
        return {**tables, **{name: concatenate_datasets([tables[name], *rows]) for name, rows in more.items()}}

    def added(self, names: Collection[str], known: Mapping[str, Culture]) -> Added | None:
        """Whose rows a run makes of the release, in words; None where nothing stays.

        Args:
            names: the run's cultures.
            known: cultures by slug.
        """
        if self.release is None or self.pool is None:
            return None
        spoken = metadata.languages(self.pool["language"][:])
        return Added(head.listed(names, known), head.listed(self.slugs, known), self.before, spoken)

    @property
    def before(self) -> str:
        """What cards call the release: by its version, on the Hub after its name."""
        if self.release is None:
            return ""
        place = self.release.place
        return place if re.fullmatch(r"[\w.-]+/[\w.-]+@v[\d.]+", place) else self.release.version

    def groups(self, names: Collection[str]) -> list[list[str]]:
        """Cultures that were ranked together, those of the run first: answers of two groups were never compared.

        Args:
            names: the run's cultures.
        """
        if self.release is None:
            return []
        before = self.release.record
        known = before.get("groups") or [(before.get("scored") or {}).get("cultures", [])]
        known = [*known, sorted(self.slugs.keys() - {name for group in known for name in group})]
        staying = [sorted(self.slugs.keys() & set(group)) for group in known]
        return [sorted(names), *filter(None, staying)]

    def contrasted(self, own: bool) -> bool | None:
        """Whether rejected answers were given in contrast, of the run or in what stays; None where that is not known.

        Args:
            own: of the run.
        """
        return own if own or self.release is None else self.release.record.get("contrasted")

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
        return [f"{names}: as in {self.before}, whose card says how the rows were made"]


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
        raise InputError(
            f"{base.place}: has no other culture than the run, whose rows take the place of the release's; leave out"
            " --add-to."
        )
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
    paired = [f"{name}-preference" for name in names]
    files = [f"{config}/{split}" for config in paired for split in held.get(config, ())]
    pairs = _table(base, files, features.PREFERENCE) if files else features.table([], features.PREFERENCE)
    return Staying(base, known, splits, ranked, pairs, scored)


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
