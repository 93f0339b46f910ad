"""The settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.settings import setting

PROMPTS = ("systems", "choice", "judgements", "short_answers")  # that questions are asked with
DEFAULT = "culturalbench_easy,culturalbench_hard"


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of an evaluation."""

    benchmarks: str = setting(
        DEFAULT,
        "benchmarks with commas between (`caredio benchmarks` lists them), or YAML files that declare tables of yours",
        "results",
        everyday=True,
    )
    benchmark_data: str | None = setting(
        None, "where data lies, as SOURCE=FILE with commas between; default: fetched from the Hub", "results"
    )
    culturalbench: str | None = setting(
        None, "copy of CulturalBench-Easy.csv, or 'sample'; default: fetched from the Hub", "results", everyday=True
    )
    limit: int | None = setting(
        None, "questions asked about a culture, from the first on; default: all", "results", everyday=True
    )
    show: int | None = setting(
        None,
        "questions printed below the table, each with every system's reply; likelihoods have none to show, ask a"
        " benchmark that is answered in writing, such as culturalbench_easy_cot",
        "results",
        counts=False,
    )
    robustness: bool = setting(
        False, "ask multiple choice in other ways too, and print how far the numbers move below the table", "results"
    )
    paraphrases: str | None = setting(
        None, "table of id and question: questions in other words, one more way of --robustness", "results"
    )
    allow_leaked: bool = setting(
        False, "report benchmarks whose questions stand in rows of training too, and say so", "results"
    )
    batch_size: int = setting(8, "prompts the model reads at once", "results")
    device: str | None = setting(None, "cpu, cuda, ...; default: cuda where there is one", "results")
    prompts: str | None = setting(
        None,
        "folder whose systems.txt tells the model its part, and whose choice.txt and judgements.txt ask it",
        "results",
        counts=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}; give a number of questions, or leave it out for all.")
        if self.show is not None and self.show < 1:
            raise InputError(f"show is {self.show}; give a number of questions, or leave it out.")
        if self.batch_size < 1:
            raise InputError("batch_size must be at least 1 prompt.")
        if self.paraphrases and not self.robustness:
            raise InputError("paraphrases is given without robustness, which asks them; give both.")
        if not self.asked:
            raise InputError("benchmarks is empty; name one or more, with commas between.")
        if wrong := next((one for one in _listed(self.benchmark_data) if not all(one.partition("="))), None):
            raise InputError(f"benchmark_data holds {wrong!r}; give SOURCE=FILE, such as blend=annotations/.")

    @property
    def asked(self) -> list[str]:
        """The names of the benchmarks, with their variants."""
        return _listed(self.benchmarks)

    @property
    def data(self) -> dict[str, str]:
        """Source -> where its data lies."""
        named = {"culturalbench": self.culturalbench} if self.culturalbench else {}
        return {**named, **self.named_data}

    @property
    def named_data(self) -> dict[str, str]:
        """That of `benchmark_data`."""
        pairs = (one.partition("=") for one in _listed(self.benchmark_data))
        return {source.strip(): path.strip() for source, _, path in pairs}


def _listed(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


class Options(TypedDict, total=False):
    """`Settings` as named parameters; `prompts` is a parameter of the verb."""

    benchmarks: str
    benchmark_data: str | None
    culturalbench: str | None
    limit: int | None
    show: int | None
    robustness: bool
    paraphrases: str | None
    allow_leaked: bool
    batch_size: int
    device: str | None
