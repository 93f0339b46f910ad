"""`verify`: whether a release, or a run, is what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from caredio.errors import InputError
from caredio.evaluation import benchmark as declarations
from caredio.evaluation.benchmark import SAMPLE, Benchmark
from caredio.evaluation.settings import Settings as Evaluation
from caredio.publishing import verify
from caredio.publishing.verify import Verified
from caredio.result import Result
from caredio.verbs import arguments


class Verifying:
    """A place whose checks are to be made, and the benchmarks that may not stand in it."""

    def __init__(
        self, place: Path | str | Result, benchmarks: Sequence[str] | None, benchmark_data: str | None
    ) -> None:
        if not isinstance(place, (str, Path, Result)) or not str(place):
            raise InputError(f"place is {place!r}; give a release or run folder, or owner/name@v1.0.0 on the Hub.")
        if isinstance(benchmarks, str):
            raise InputError(f"benchmarks is {benchmarks!r}, one text; give a list of names.")
        self.place = arguments.folder(place) if isinstance(place, Result) else place
        self.data = Evaluation(benchmark_data=benchmark_data).named_data
        self.benchmarks = list(self._asked(benchmarks))

    def _asked(self, names: Sequence[str] | None) -> Iterator[tuple[Benchmark, Path]]:
        """The benchmarks of these names, or those of which a part is shipped or data is named, each with its file."""
        if names:
            asked = {one.name: one for one, _ in declarations.chosen(names)}
        else:
            known = declarations.load().values()
            asked = {one.name: one for one in known if one.sample or one.source in self.data}
        declarations.check_sources(self.data, asked.values())
        for one in asked.values():
            shipped = {one.source: SAMPLE} if one.sample and not names else {}
            yield one, one.path({**shipped, **self.data})

    def result(self) -> Verified:
        """What was found, what was looked at, and what could not be."""
        return verify.run(self.place, self.benchmarks)
