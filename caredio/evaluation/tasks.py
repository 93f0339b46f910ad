"""lm-eval's tasks, written from the declarations of benchmarks into a folder for its `--include_path`.

A benchmark has a task a culture, `caredio_<benchmark>_<culture>`, and a group of them without the culture. Between
benchmark and culture stands how it is asked: `_generated` (the answer is written), `_cot` (after reasoning), and
`_role_play`, which tells the model to play the part.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from caredio import contents, disk, prompts
from caredio import cultures as culture_files
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import benchmark as declarations
from caredio.evaluation.benchmark import COT, LIKELIHOOD, LOGPROBS, Benchmark
from caredio.llm import marks

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "caredio"
ROLE_PLAY = "role_play"
GROUPS = Path(__file__).parents[1] / "data" / "lm_eval_groups.yaml"  # of lm-eval's own tasks
_REASONING = 512  # tokens
_METRICS = Path(__file__).with_name("metrics")
Asked = tuple[Benchmark, str]  # a benchmark, and its variant


def name(benchmark: str, variant: str, culture: str = "", role_play: bool = False) -> str:
    """lm-eval's name of a task; without a culture, of the group of all."""
    parts = [PREFIX, declarations.named(benchmark, variant), ROLE_PLAY if role_play else "", culture]
    return "_".join(filter(None, parts))


def path(cultures_file: Path | str | None = None, benchmarks: Sequence[str] = ()) -> Path:
    """The folder of all tasks for lm-eval's `--include_path`, in the cache; equal tasks have one folder.

    Args:
        cultures_file: cultures besides the shipped ones.
        benchmarks: YAML files of tables of one's own, besides the benchmarks that come with caredio.

    Raises:
        InputError: a file is not what it should be.
    """
    every = {**declarations.load(), **{one.name: one for one, _ in declarations.chosen(benchmarks)}}
    asked = [(one, variant) for one in every.values() for variant in one.variants if variant != LOGPROBS]
    return folder(asked, list(culture_files.load(cultures_file).values()))


def folder(
    asked: Iterable[Asked],
    cultures: Sequence[Culture],
    prompt_folders: str | None = None,
    left_out: Mapping[tuple[str, str], Sequence[str]] = MappingProxyType({}),
) -> Path:
    """The folder of the tasks of benchmarks on cultures, made where it is not there yet.

    Args:
        left_out: (benchmark, culture) -> ids of the questions that are not asked.
    """
    groups = yaml.safe_load(GROUPS.read_text(encoding="utf-8"))
    files = {f"{PREFIX}_{group}.yaml": {"group": f"{PREFIX}_{group}", "task": own} for group, own in groups.items()}
    for benchmark, variant in asked:
        for role_play in (False, True):
            group = name(benchmark.name, variant, role_play=role_play)
            base = f"_{group}_yaml"
            files[base] = _base(benchmark, variant)
            names = {one.slug: name(benchmark.name, variant, one.slug, role_play) for one in cultures}
            covered = [names[one.slug] for one in cultures if benchmark.covers(one)]
            if covered:  # lm-eval runs no group with a task that has no documents
                files[f"{group}.yaml"] = _group(benchmark, variant, group, covered)
            for one in cultures:
                how: dict[str, Any] = {"benchmark": benchmark.reference, "variant": variant, "culture": one.slug}
                how |= {"spellings": list(benchmark.spellings(one)), "prompts_from": prompt_folders or ""}
                if without := left_out.get((benchmark.name, one.slug)):
                    how["left_out"] = sorted(without)
                part = prompts.load("systems", prompt_folders).part("system", adjective=one.adjective)
                files[f"{names[one.slug]}.yaml"] = {
                    "include": base,
                    "task": names[one.slug],
                    **({"description": part} if role_play else {}),
                    "dataset_kwargs": how,
                }
    texts = {file: yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True) for file, made in files.items()}
    digest = hashlib.sha256("".join(f"{file}\0{text}\0" for file, text in sorted(texts.items())).encode()).hexdigest()
    place = disk.cache_dir() / "tasks" / digest[:16]
    if not place.is_dir():
        _write(place, texts)
    return place


def documents(
    benchmark: str,
    culture: str,
    spellings: list[str],
    variant: str,
    prompts_from: str = "",
    left_out: Sequence[str] = (),
    **given: Any,
) -> dict[str, Dataset]:
    """The documents of a task, with the user `turns` that are asked, as a dataset's one split.

    Args:
        benchmark: name, or YAML file.
        culture: slug.
        spellings: what the benchmark may call it.
        variant: how it is asked.
        prompts_from: folders of one's own prompts.
        left_out: ids of questions that are not asked.
        given: file or folder by source; lm-eval passes it from `--metadata '{"culturalbench": "..."}'`.

    Raises:
        InputError: the data is not there, is not the benchmark's, or holds nothing on the culture.
    """
    from datasets import Dataset

    declaration = declared(benchmark)
    path = declaration.path({source: str(value) for source, value in given.items()})
    without = set(left_out)
    found = [one for one in declaration.about(culture, spellings, path, variant) if str(one["id"]) not in without]
    if not found:
        raise InputError(f"{path}: {declaration.title} holds no question on {' or '.join(map(repr, spellings))}.")
    prompt = prompts.load(declaration.kind.prompt, prompts_from or None)
    rows = [{**one, "turns": declaration.kind.turns(one, prompt, variant)} for one in found]
    return {"test": Dataset.from_list(rows)}


def declared(benchmark: str) -> Benchmark:
    """The benchmark of a name, or of a YAML file.

    Raises:
        InputError: as `benchmark.chosen`.
    """
    return declarations.chosen([benchmark])[0][0]


def sha256(benchmark: Benchmark) -> str:
    """The hash of the code that makes a benchmark's questions, asks and scores them; prompts are hashed apart."""
    modules = {"caredio.evaluation.choice", benchmark.read.__module__, benchmark.kind.turns.__module__}
    files = {Path(str(sys.modules[module].__file__)) for module in modules}
    shared = {Path(__file__).with_name(name) for name in ("turns.py", "published.py", "majority.py")}
    shared.add(Path(marks.__file__))
    parts = contents.sha256(files | shared), contents.sha256(_METRICS.glob("*.py"))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


class _Function(str):
    """A name that lm-eval imports."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, data: dumper.represent_scalar("!function", str(data)))


def _base(benchmark: Benchmark, variant: str) -> dict[str, Any]:
    """What the tasks of a benchmark's variant share."""
    kind = benchmark.kind
    likelihood = variant == LIKELIHOOD
    tokens = _REASONING if variant == COT else kind.tokens
    sampling = {"do_sample": True, "temperature": 1.0} if kind.sampled else {"do_sample": False}
    return {
        "class": _Function("caredio.evaluation.turns.Turns"),
        "custom_dataset": _Function("caredio.evaluation.tasks.documents"),
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "multiple_choice" if likelihood else "generate_until",
        "doc_to_text": "turns",
        **({"doc_to_choice": "choices"} if likelihood else {}),
        "doc_to_target": "",
        **({} if likelihood else {"generation_kwargs": {"until": [], "max_gen_toks": tokens, **sampling}}),
        "metric_list": [
            {"metric": one.name, "aggregation": "mean", "higher_is_better": one.higher_is_better}
            for one in benchmark.metrics(variant)
        ],
        "metadata": {"version": benchmark.version},
    }


def _group(benchmark: Benchmark, variant: str, group: str, names: list[str]) -> dict[str, Any]:
    return {
        "group": group,
        "group_alias": benchmark.title,
        "task": names,
        "aggregate_metric_list": [
            {"metric": one.name, "weight_by_size": True}  # the mean over questions
            for one in benchmark.metrics(variant)
        ],
        "metadata": {"version": benchmark.version},
    }


def _write(place: Path, texts: Mapping[str, str]) -> None:
    """Write the files into a folder that is there when it is whole."""
    with disk.writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place.parent, prefix=".making-"))
        for file, text in texts.items():
            (made / file).write_text(text, encoding="utf-8")
        try:
            made.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
