"""What publishing would do: shown before anything is written or sent."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from caredio import disk
from caredio.publishing import diff, record, released, verify_rows
from caredio.publishing.diff import Diff
from caredio.publishing.record import EVERYONE, Release
from caredio.publishing.released import Unchecked
from caredio.publishing.split import is_test
from caredio.publishing.versions import proposed

_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Target:
    """Where on the Hub a release goes.

    Attributes:
        there: whether the repository is there already.
        tagged: whether the tag is.
        moved: whether its files were changed since the last release.
    """

    repo_id: str
    repo_type: str
    private: bool = False
    gated: str | None = None
    create_pr: bool = False
    there: bool = False
    tagged: bool = False
    moved: bool = False


@dataclass(frozen=True)
class Plan:
    """A release to come; `str` of it is what `caredio publish` shows.

    Attributes:
        folder: where it is written.
        version: its tag; `why` says why, where it was proposed.
        last: how the release before is called; None of the first one.
        rows: config -> split -> rows; nothing of a model.
        files: path -> bytes.
        removed: how many sample_ids of the run are left out on request; `rejected` how many besides, by raters.
        elsewhere: how many sample_ids that are to be left out are of no row of the run.
        found: how it differs from the release before; None of the first one.
        unchanged: whether it is the release before.
        target: where on the Hub it goes; None where it stays in its folder.
        notes: sentences on what is kept from the release before, on a test split that is missing, and on equal answers
            of cultures that were not compared.
    """

    folder: Path
    kind: str
    version: str
    why: str
    last: str | None
    rows: Mapping[str, Mapping[str, int]]
    files: Mapping[str, int]
    removed: int
    rejected: int
    found: Diff | None
    unchanged: bool
    target: Target | None
    notes: Sequence[str] = ()
    elsewhere: int = 0

    def __str__(self) -> str:
        head = f"release of a {self.kind}: {self.version}{f' ({self.why})' if self.why else ''}"
        total = f"{len(self.files):,} files, {_size(sum(self.files.values()))}, to {disk.name(self.folder)}"
        lines = [head, *self._contents(), total, *([_sent(self.target, self.version)] if self.target else [])]
        lines += self.notes
        if self.removed or self.rejected or self.elsewhere:
            lines.append(f"left out on request: {self.removed:,}; rejected by raters: {self.rejected:,}")
        if self.elsewhere:
            here = self.removed + self.rejected
            lines.append(
                f"{here:,} of {here + self.elsewhere:,} ids to leave out are of this run; the others change nothing"
            )
        if self.unchanged:
            lines.append(f"nothing differs from {self.last}")
        elif self.found is not None:
            lines += str(self.found).splitlines()
        return "\n".join(lines)

    def _contents(self) -> list[str]:
        """A line for each config, with its rows, and for each other file."""
        if not self.rows:
            return [f"  {name:<44}{_size(size):>10}" for name, size in self.files.items()]
        width = max(map(len, self.rows)) + 2
        lines = [f"  {'config':<{width}}{'train':>9}{'test':>9}{'size':>10}"]
        for name, splits in self.rows.items():
            size = sum(bytes_ for path, bytes_ in self.files.items() if path.startswith(f"{name}/"))
            counts = "".join(f"{splits.get(split, 0):>9,}" for split in ("train", "test"))
            lines.append(f"  {name:<{width}}{counts}{_size(size):>10}")
        rest = {path: size for path, size in self.files.items() if path.partition("/")[0] not in self.rows}
        return [*lines, *(f"  {path:<{width + 18}}{_size(size):>10}" for path, size in rest.items())]


def of(
    making: Path,
    made: Mapping[str, Any],
    folder: Path,
    last: Release | None,
    asked: str | None,
    target: Target | None,
    kept: Sequence[str] = (),
    gone: Collection[str] = (),
) -> Plan:
    """The plan of a release that is written and not in its place yet.

    Args:
        making: the folder that holds it.
        made: what its release.json holds.
        folder: where it is to be.
        asked: the version that was asked for.
        kept: lines on what is kept from the release before.
        gone: sample_ids of the run that are left out.
    """
    version = str(made["version"])
    unchanged = last is not None and record.same(dict(made), last.record)
    found = None
    if last is not None and not unchanged:
        found = diff.compare(last.path, making, (last.place, f"{version} to come"))
    why = ""
    if asked is None:
        if last is None:
            why = "the first one"
        elif not unchanged and found is not None:
            why = f"proposed over {last.version}: {proposed(last.version, found)[1]}"
    elif last is not None and record.numbers(asked) < record.numbers(last.version):
        why = f"lower than the last one, {last.version}"
    elif last is not None and asked == last.version and last.path == folder and not unchanged:
        kept = [f"{asked} stands there with other content, which this replaces", *kept]
    rejected = len(set(made.get("rejected", ())).intersection(gone))
    names = [file for file in sorted(making.rglob("*")) if file.is_file()]
    files = {disk.name(file.relative_to(making)): file.stat().st_size for file in names}
    return Plan(
        folder,
        str(made["kind"]),
        version,
        why,
        last.place if last else None,
        made.get("rows", {}),
        files,
        len(gone) - rejected,
        rejected,
        found,
        unchanged,
        target,
        [*kept, *_unsplit(making, made), *_uncompared(making, made)],
        len(set(made.get("removed", ())).difference(gone)),
    )


def _unsplit(making: Path, made: Mapping[str, Any]) -> list[str]:
    """A sentence on a test split that was wanted and is not there, as no question falls into its share."""
    share = made.get("test_share")
    if not share or set(made.get("rows", {}).get(EVERYONE, ())) != {"train"}:
        return []
    table = pq.read_table(disk.named(making, EVERYONE) / "train.parquet", columns=["question_id"])
    questions = set(table["question_id"].to_pylist())
    some = (one / 20 for one in range(1, 20) if 0 < sum(is_test(name, one / 20) for name in questions) < len(questions))
    larger = next(some, None)
    told = f"give --test-share {larger:g} for one" if larger else "it takes more questions"
    return [f"no test split, as a test share of {share:g} holds out none of {len(questions):,} questions; {told}"]


def _uncompared(making: Path, made: Mapping[str, Any]) -> list[str]:
    """Sentences on cultures of two runs that say the same, which neither run saw."""
    if not made.get("groups"):
        return []
    return [found.why for found in verify_rows.equal_texts(released.opened(making)) if isinstance(found, Unchecked)]


def _sent(target: Target, version: str) -> str:
    """The sentence on what goes to the Hub."""
    kind = f"{'private ' if target.private and not target.there else ''}{target.repo_type}"
    if target.create_pr:
        return f"to the Hub: a pull request to the {kind} {target.repo_id}, which bears no tag until it is merged"
    made = "" if target.there else ", which is created"
    gated = f", gated ({target.gated})" if target.gated else ""
    what = f"nothing is sent, {version} is there" if target.tagged else f"one commit and the tag {version}"
    moved = "; changes made there since the last release are replaced" if target.moved and not target.tagged else ""
    return f"to the Hub: the {kind} {target.repo_id}{made}{gated}: {what}{moved}"


def _size(count: float) -> str:
    """Bytes in a unit that suits them."""
    power = min(len(_UNITS) - 1, int(math.log10(max(count, 1))) // 3)
    return f"{count / 1000**power:.{1 if power else 0}f} {_UNITS[power]}"
