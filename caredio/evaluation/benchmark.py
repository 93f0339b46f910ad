"""A benchmark is declared once: its name, where its data lies, its kind of document, metrics, and licence.

lm-eval's tasks (tasks.py), `caredio evaluate` and the tables are made of these declarations. A module of `benchmarks/`
with a tuple `BENCHMARKS` is all that a new one takes; a table of one's own is declared in a YAML file (own.py).
"""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from caredio import contents, packages
from caredio.cultures import Culture
from caredio.errors import InputError, did_you_mean
from caredio.evaluation import benchmarks
from caredio.prompts import Prompt

LIKELIHOOD, GENERATED, COT, LOGPROBS = "", "generated", "cot", "logprobs"
# how an answer is had: the likelier one, a written one, one after reasoning, the first token's top_logprobs of an API
VARIANTS = (LIKELIHOOD, GENERATED, COT, LOGPROBS)
VARIED = "+"  # in the name of a benchmark that is asked in another way (robustness.py)
RATING = "rating"  # the metric of a judge
SAMPLE = "sample"  # in the place of a file: the shipped part of a benchmark
FINAL = "Answer:"  # begins the last line of an answer after reasoning

_DECLARATION = re.compile(r"(.+\.ya?ml)(?::(\w+))?")  # of a table of one's own: its file, and a variant

_WAY = re.compile(r"(.+?)\+(\w+|paraphrased=.+)")  # of a benchmark that is asked in another way: its name, and the way

Document = dict[str, Any]
Scores = dict[str, float]
Tokens = Sequence[Mapping[str, Any]]  # the likeliest first tokens of an answer: `token` and `logprob`


class Metric(NamedTuple):
    """A number that a document gets; a benchmark's is the mean over documents that have it."""

    name: str
    title: str
    higher_is_better: bool = True
    share: bool = True  # within 0 and 1, and shown in per cent


@dataclass(frozen=True, eq=False)
class Kind:
    """What documents of a kind hold, and how they are asked and scored."""

    name: str
    columns: tuple[str, ...]  # beside id and culture
    prompt: str  # of prompts/, with a part for each variant
    metrics: Mapping[str, tuple[Metric, ...]]  # by variant
    turns: Callable[[Document, Prompt, str], list[str]]  # document, prompt, variant -> the user turns to answer
    by_replies: Callable[[Document, list[str]], Scores]  # a reply for each turn
    choices: Callable[[Document], list[str]] | None = None  # whose likelihoods are asked after each turn
    by_likelihoods: Callable[[Document, list[float]], Scores] | None = None  # a log-likelihood of each, turn by turn
    shares: Callable[[Document, Tokens], list[float]] | None = None  # of the options, in the first token
    by_shares: Callable[[Document, list[float]], Scores] | None = None
    # (documents of the culture, of the others) -> who knows nothing -> metric -> its mean
    baselines: Callable[[Sequence[Document], Sequence[Document]], dict[str, Scores]] = lambda own, others: {}
    tokens: int = 8  # of a written answer
    sampled: bool = False  # whether turns are repeated, to be answered by chance at temperature 1


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One benchmark; its tasks are `caredio_<name>_<culture>`, and the variants of tasks.py."""

    name: str  # lower-case letters, digits, underscores
    title: str
    kind: Kind
    source: str  # what its data is called: in `--benchmark-data SOURCE=FILE`, $CAREDIO_SOURCE and lm-eval's metadata
    read: Callable[[Path], Iterable[Document]]  # documents of all cultures; `culture` is the benchmark's own spelling
    licence: str
    file: str  # what to hand over where the Hub cannot be reached
    hub: str = ""  # dataset of the Hub that holds it; empty where there is none
    files: tuple[str, ...] = ()  # of that dataset: one file, or the patterns of a folder
    split: str = "test"
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # slug -> spellings besides name and slug
    regions: tuple[str, ...] = ()  # what it calls all that it has questions on; empty where its data alone tells
    chance: Mapping[str, float] = field(default_factory=dict)  # by metric: a guess's number, if questions have one
    version: str = "1.0"  # another one is not compared with this
    sample: Path | None = None  # a part that is shipped
    local: Path | None = None  # where its data lies, unless another place is named
    part: Callable[[Path], Path] = lambda path: path  # of the folder that is named, what its data is
    variants: tuple[str, ...] = VARIANTS  # those of them that its kind has
    real: bool = True  # whether it was run on the real data
    notes: str = ""  # a sentence for whoever reads its numbers
    caveat: Callable[[Sequence[Document]], str] = lambda documents: ""  # one on these documents
    declared_in: Path | None = None  # the YAML file of a table of one's own
    referred: str = ""  # by which it is found, where that is neither its name nor its file

    def __post_init__(self) -> None:
        object.__setattr__(self, "variants", tuple(one for one in self.variants if one in self.kind.metrics))

    @property
    def reference(self) -> str:
        """By which `chosen` finds it: its name, or its file."""
        return self.referred or str(self.declared_in or self.name)

    def path(self, given: Mapping[str, str] | None = None) -> Path:
        """Its file or folder: as given, else as the environment says, else the Hub's.

        Raises:
            InputError: the Hub's is wanted and cannot be fetched.
        """
        variable = f"CAREDIO_{self.source.upper()}"
        named = (given or {}).get(self.source) or os.environ.get(variable, "")
        if named == SAMPLE and self.sample:
            return self.sample
        if named:
            return self.part(Path(named).expanduser())
        if self.local:
            return self.local
        if not self.hub:
            raise InputError(
                f"{self.title} is on no server that serves everyone; get {self.file}, and name it with"
                f" --benchmark-data {self.source}=FILE or in {variable}."
            )
        return _fetched(self, variable)

    def documents(self, path: Path, variant: str = LIKELIHOOD) -> list[Document]:
        """All documents in a file, `culture` as the benchmark spells it.

        Several orders of a document's options are for likelihoods, which cost no calls.

        Raises:
            InputError: the file is missing, or not what the benchmark's is.
        """
        found = _documents(self, path, self.sha256(path))
        if variant == LIKELIHOOD:
            return list(found)
        return [{name: value for name, value in one.items() if name != "orders"} for one in found]

    def sha256(self, path: Path) -> str:
        """The hash of its file, or of its folder's files.

        Raises:
            InputError: it is missing.
        """
        if not path.exists():
            raise InputError(f"{path}: no such file; give {self.file}.")
        return contents.sha256(path) if path.is_dir() else contents.of_file(path)

    def spellings(self, culture: Culture) -> tuple[str, ...]:
        """What the benchmark may call a culture."""
        return tuple(dict.fromkeys([culture.name, culture.slug, *self.labels.get(culture.slug, ())]))

    def covers(self, culture: Culture) -> bool:
        """Whether it has questions on a culture, or may have some."""
        known = {region.casefold() for region in self.regions}
        return not known or any(one.casefold() in known for one in self.spellings(culture))

    def about(self, culture: str, spellings: Iterable[str], path: Path, variant: str) -> list[Document]:
        """The documents on a culture, which they then name by its slug; none where the benchmark has none."""
        wanted = {spelling.casefold() for spelling in spellings}
        found = self.documents(path, variant)
        return [{**one, "culture": culture} for one in found if one["culture"].casefold() in wanted]

    def metrics(self, variant: str) -> tuple[Metric, ...]:
        """Those of a variant."""
        return self.kind.metrics[variant]


def heading(title: str, metric: Metric) -> str:
    """What a column is headed by: the benchmark's title with the measure, as accuracy alone goes without saying."""
    return title if metric.name == "acc" else f"{title}, {metric.title}"


def named(benchmark: str, variant: str) -> str:
    """What a benchmark's variant is called in tables: blend, blend_generated, blend_cot."""
    return f"{benchmark}_{variant}" if variant else benchmark


def finite(likelihoods: Sequence[float]) -> Sequence[float]:
    """Log-likelihoods as they are, each a number.

    Raises:
        InputError: one is none, which would be read as an answer.
    """
    if not all(map(math.isfinite, likelihoods)):
        raise InputError(
            "a log-likelihood is no finite number: the model's numbers may have overflowed, as float16 does; store it"
            " in bfloat16 or float32 (`dtype` in its config.json), or train it anew if its weights are no numbers."
        )
    return likelihoods


def final(reply: str, variant: str) -> str:
    """The part of a reply that answers: after reasoning the last line that begins with `Answer:`, or nothing."""
    if variant != COT:
        return reply
    lines = [line.strip().strip("*_ ") for line in reply.strip().splitlines()]
    found = [line for line in lines if line.lower().startswith(FINAL.lower())]
    return found[-1][len(FINAL) :].strip("*_ ") if found else ""


@cache
def load() -> dict[str, Benchmark]:
    """The declared benchmarks by name."""
    modules = (importlib.import_module(f"{benchmarks.__name__}.{one.name}") for one in _modules())
    return {one.name: one for module in modules for one in module.BENCHMARKS}


def chosen(names: Sequence[str]) -> list[tuple[Benchmark, str]]:
    """Benchmarks and their variants by name: `blend`, `blend_cot`; or a table of one's own by its YAML file:
    `my.yaml`, `my.yaml:cot`.

    Raises:
        InputError: there is none of a name, or a file declares none.
    """
    known = load()
    every = {one.name: (one, one.variants[0]) for one in known.values()}  # what is only written needs no suffix
    every |= {named(one.name, variant): (one, variant) for one in known.values() for variant in one.variants}
    found: dict[str, tuple[Benchmark, str]] = {}
    for given in names:
        name, way = found_way.groups() if (found_way := _WAY.fullmatch(given)) else (given, "")
        if file := _DECLARATION.fullmatch(name):
            benchmark, variant = _own(Path(file[1]), file[2] or LIKELIHOOD, every)
        elif name in every:
            benchmark, variant = every[name]
        else:
            near = did_you_mean(name, every) or f"; there are {', '.join(known)}, or a YAML file that declares one."
            raise InputError(f"{name!r} is no benchmark{near}")
        if way:
            benchmark = _varied(benchmark, way)
        column = named(benchmark.name, variant)
        if column in found and found[column][0].reference != benchmark.reference:
            other = found[column][0].reference
            raise InputError(f"{name}: is called {benchmark.name!r}, as that of {other} is; name it otherwise.")
        found[column] = benchmark, variant
    return list(found.values())


def _varied(benchmark: Benchmark, way: str) -> Benchmark:
    from caredio.evaluation import robustness  # builds on this file

    return robustness.vary(benchmark, way)


def _own(file: Path, variant: str, known: Collection[str]) -> tuple[Benchmark, str]:
    from caredio.evaluation import own as tables  # builds on this file

    benchmark = tables.read(file)
    if benchmark.name in known:
        raise InputError(f"{file}: {benchmark.name!r} is a benchmark that comes with caredio; name it otherwise.")
    if variant not in benchmark.variants:
        there = " and ".join(f"{file}:{one}" for one in benchmark.variants if one)
        raise InputError(f"{file}: has no variant {variant!r}; there are {file} and {there}.")
    return benchmark, variant


@cache
def declared() -> dict[str, tuple[Benchmark, str]]:
    """Column -> the declared benchmark and the variant that it is of."""
    every = [(one, variant) for one in load().values() for variant in one.variants]
    return {named(one.name, variant): (one, variant) for one, variant in every}


def metric(benchmark: str, name: str) -> Metric | None:
    """The declared metric of a column; None where it is another's."""
    one, variant = declared().get(benchmark, (None, ""))
    return next((metric for metric in one.metrics(variant) if metric.name == name), None) if one else None


def is_share(benchmark: str, name: str, scores: Iterable[float]) -> bool:
    """Whether a metric is a share: as it is declared, else where all of its scores are within 0 and 1."""
    found = metric(benchmark, name)
    return found.share if found else name.partition(",")[0] != RATING and all(0 <= score <= 1 for score in scores)


def check_sources(named: Iterable[str], asked: Iterable[Benchmark]) -> None:
    """See that data that was named is read, as a misspelt source would leave another's in its place.

    Raises:
        InputError: no benchmark that is asked reads a source.
    """
    wanted = {one.source: one.name for one in asked}
    for source in named:
        if source in wanted:
            continue
        readers = [one.name for one in load().values() if one.source == source]
        why = f"{', '.join(readers)} reads, and no benchmark that is asked" if readers else "is no source of data"
        near = did_you_mean(source, wanted) or f"; {', '.join(f'{name} reads {one}' for one, name in wanted.items())}."
        raise InputError(f"benchmark_data names {source!r}, which {why}{near}")


def _modules() -> list[Any]:
    return sorted(pkgutil.iter_modules(benchmarks.__path__), key=lambda one: one.name)


@lru_cache(maxsize=16)
def _documents(benchmark: Benchmark, path: Path, hashed: str) -> tuple[Document, ...]:
    columns = ("id", "culture", *benchmark.kind.columns)
    return tuple({**dict.fromkeys(columns), **document} for document in benchmark.read(path))


def _fetched(benchmark: Benchmark, variable: str) -> Path:
    """The Hub's file, or a folder of its files."""
    packages.require("evaluation", "eval", "huggingface_hub")
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import GatedRepoError

    how = f"with --benchmark-data {benchmark.source}=FILE or in the environment variable {variable}"
    try:
        if len(benchmark.files) == 1 and "*" not in benchmark.files[0]:
            return Path(hf_hub_download(benchmark.hub, benchmark.files[0], repo_type="dataset"))
        patterns = list(benchmark.files) or None
        return Path(snapshot_download(benchmark.hub, repo_type="dataset", allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(
            f"{benchmark.title} asks for consent: accept its terms at huggingface.co/datasets/{benchmark.hub} and set"
            f" HF_TOKEN, or name your copy of {benchmark.file} {how}."
        ) from None
    except (OSError, ValueError) as error:
        ask = f", or the word {SAMPLE}," if benchmark.sample else ""
        raise InputError(
            f"{benchmark.title} cannot be fetched from the Hub ({type(error).__name__}); give a copy of"
            f" {benchmark.file}{ask} {how}."
        ) from None
