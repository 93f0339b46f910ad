"""What a verb made: its tables, how they came about, and where they lie."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

from caredio.cultures import slugs
from caredio.errors import InputError

_SHOWN = 3  # rows of a culture in a notebook
_TABLES = {"pool": "scored"}  # attribute -> table, where the names differ


class _NotMadeError(InputError, AttributeError):
    """The result has no such table: to `hasattr` it is an attribute that is not there."""


class Result:
    """Tables by name; of a run folder each is read when it is asked for.

    Attributes:
        report: stage -> rows, what was dropped and why, seconds, usage and cost, and what else a stage reports.
        path: the run folder; None where the tables are in memory.
    """

    def __init__(
        self,
        tables: Mapping[str, Dataset | None],
        report: dict[str, Any],
        path: Path | None,
        hashes: Mapping[str, str] | None = None,
        shown: str = "",
    ) -> None:
        """`hashes`: of the tables that the folder held when the verb ended; `shown`: what its text ends with."""
        self._shown = shown
        self._tables, self.report, self._hashes = dict(tables), report, dict(hashes or {})
        self.path = path.resolve() if path else None

    @property
    def candidates(self) -> Dataset:
        """`features.CANDIDATES`: what was written, before selection."""
        return self._table("candidates")

    @property
    def ranked(self) -> Dataset:
        """`features.RANKED`: by culture, best first."""
        return self._table("ranked")

    @property
    def pool(self) -> Dataset:
        """`features.SCORED`: every candidate with its scores, or with a drop_reason."""
        return self._table("scored")

    @property
    def vectors(self) -> Dataset:
        """`features.vectors`: embeddings by sample_id."""
        return self._table("vectors")

    @property
    def preference(self) -> Dataset:
        """`features.PREFERENCE`: ranked rows against other cultures' answers, for DPO."""
        return self._table("preference")

    @property
    def unpaired(self) -> Dataset:
        """`features.UNPAIRED`: the sides of these pairs one by one, with a label, for KTO."""
        return self._table("unpaired")

    @property
    def results(self) -> Dataset:
        """`features.RESULTS`: how systems did on benchmarks."""
        return self._table("results")

    def _table(self, name: str) -> Dataset:
        if name not in self._tables:
            there = ", ".join(attribute_of(table) for table in self._tables)
            raise _NotMadeError(f"this result has no {attribute_of(name)}; it has {there}.")
        found = self._tables[name]
        if found is None:
            # results are light, and a table that is read is not
            from caredio.runs import Run

            assert self.path is not None
            with Run(self.path, create=False) as run:
                self._check(run.hashes(), name)
                found = self._tables[name] = run.table(name)
        return found

    def _check(self, hashes: Mapping[str, str], name: str) -> None:
        if name in self._hashes and hashes.get(name) != self._hashes[name]:
            raise InputError(
                f"{self.path}: another command wrote {attribute_of(name)} since; take the result of that one, or read"
                " the folder with load_dataset."
            )

    def __str__(self) -> str:
        if "results" in self._tables:
            # lm-eval's packages
            from caredio.evaluation.results import format_table

            return "\n\n".join(filter(None, (format_table(self.results), self._shown)))
        what = next(name for name in ("ranked", "candidates", "preference") if name in self._tables)
        made = self._table(what)
        cultures = Counter(made["culture"][:])
        lines = [f"{what}: {', '.join(f'{culture} {count}' for culture, count in sorted(cultures.items()))}"]
        if what != "candidates" and self.path and cultures:
            config = slugs(cultures)[min(cultures)]
            lines.append(f"load_dataset({f'{self.path}/{what}'!r}, {config!r}, split='train') loads them by rank")
        return "\n".join(lines)

    def __repr__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        return f"<caredio.Result{where}: {', '.join(attribute_of(name) for name in self._tables)}>\n{self}"

    def _repr_html_(self) -> str:
        """The top rows of each culture, for a notebook."""
        if "ranked" not in self._tables:
            return f"<pre>{html.escape(str(self))}</pre>"
        rows = []
        for row in self.ranked:
            if row["rank"] <= _SHOWN:
                cells = (row["culture"], row["rank"], f"{row['score']:.3g}", row["question"], row["response"])
                rows.append("".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells))
        head = "".join(f"<th>{name}</th>" for name in ("culture", "rank", "score", "question", "response"))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<pre>{html.escape(str(self))}</pre><table><tr>{head}</tr>{body}</table>"


def attribute_of(table: str) -> str:
    """How a result calls a table."""
    return next((attribute for attribute, name in _TABLES.items() if name == table), table)
