"""What was measured of whom: gathered from run folders and folders of lm-eval, under names that tell systems apart.

Numbers come with the scores of their questions where samples are there; the rows of a run's results table and the
numbers of an evaluation without samples come alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import comparable, ledger, paired, samples
from caredio.evaluation.benchmark import VARIED, is_share, metric
from caredio.evaluation.results import MEANINGS
from caredio.evaluation.samples import Aggregated, Measured
from caredio.evaluation.systems import still_left_out
from caredio.evaluation.tasks import PREFIX
from caredio.runs import Run

RAW, ROLE_PLAY = "raw", "role-play"
BESIDE = ("unparsed", "characters")  # metrics that say how replies are, not how good
JUDGE = "judge"  # of an identity: who rated
WITH_ROLE_PLAY = " + role-play"
_SHARED = (  # of a task's configuration, what two systems must be asked alike
    "output_type",
    "doc_to_text",
    "doc_to_choice",
    "doc_to_target",
    "generation_kwargs",
    "fewshot_delimiter",
    "target_delimiter",
)
_ERROR = 1.959964  # standard errors in half of a 95 % interval


@dataclass(frozen=True)
class Number:
    """A system's number on a benchmark, of a culture or, where the task is another's, of the task."""

    system: str
    benchmark: str  # with its variant
    metric: str
    part: str  # the culture's slug, or the task
    cultural: bool
    n: int
    value: float
    low: float | None
    high: float | None
    higher: bool  # whether higher is better
    made: str  # when; empty of a row of a results table
    path: Path  # the file
    folder: Path  # as it was given
    model: str = ""
    who: str = ""  # what tells two models apart; empty of those who know nothing
    benchmark_sha256: str = ""
    scores: Mapping[str, float] | None = None  # by question
    hashes: Mapping[str, str] = field(default_factory=dict)  # question -> hash of its document
    asked: Mapping[str, Any] = field(default_factory=dict)  # how: equal for all systems
    settings: str = ""  # the hash of how, as a run's rows have it
    manner: str = ""  # how, but for which questions: equal for all measurements of one system that are joined
    left: int = 0  # questions with a score that are not in the value, as another system was not asked them
    alone: bool = False  # whether no question is shared by all systems, so that it is not comparable
    budget: int | None = None  # rows that it was trained on; None where that is not known
    ranking: str = ""  # by what these were ranked
    recipe: str = ""  # that trained on them
    base: str = ""  # the hash of the weights that an adapter was trained on
    title: str = ""  # of the benchmark, as the run that asked it was told
    of: str = ""  # the culture whose model was asked about another one's culture, where that has a model too

    @property
    def constant(self) -> bool:
        """Whether nobody was asked: what is right without knowing anything."""
        return self.system in MEANINGS and not self.who

    @property
    def place(self) -> tuple[str, str, str]:
        """What it is a number of, whoever was asked."""
        return self.benchmark, self.metric, self.part


def gather(folders: Sequence[Path | str]) -> tuple[list[Number], list[str]]:
    """The numbers of folders, each system under one name, and sentences on what a reader should know of them.

    Args:
        folders: runs, or what lm_eval had as --output_path; `NAME=FOLDER` names the one system in it.

    Raises:
        InputError: a folder is not there, holds no results, or a damaged file; two measurements cannot be told apart;
            or two systems were not asked the same.
    """
    found: list[Number] = []
    notes: list[str] = []
    for name, folder in map(_name_and_folder, folders):
        measured, settings = samples.find(folder), _settings(folder)
        numbers = [one for sample in measured for one in _readable(sample, folder, settings)]
        alone = list(_without_samples(folder, measured))
        if alone:
            tasks = ", ".join(dict.fromkeys(one.benchmark for one in alone))
            notes.append(f"{folder}: no samples of {tasks} (lm_eval --log_samples), so no paired test is possible.")
        rows = _of_run(folder, settings, notes)
        if not (numbers or alone or rows):
            raise InputError(
                f"{folder}: holds no results; name a run, or what lm_eval had as --output_path, in which"
                " results_<date>.json has numbers (an older lm_eval wrote other names)."
            )
        titles = _titles(folder)
        every = [replace(one, title=titles.get(one.benchmark, "")) for one in [*numbers, *alone, *rows]]
        plain = [one for one in every if VARIED not in one.benchmark]
        if len(plain) < len(every):
            notes.append(f"{folder}: what was asked in other ways is left out; evaluate --robustness shows its spread.")
        found += _renamed(plain, name, folder)
    chosen = comparable.chosen(_told_apart(_of_questions(found)), notes)
    _check(chosen)
    return chosen, notes


def _name_and_folder(given: Path | str) -> tuple[str, Path]:
    name, equals, folder = str(given).partition("=")
    if equals and not Path(given).exists():
        return name.strip(), Path(folder).expanduser()
    return "", Path(given).expanduser()


def _readable(measured: Measured, folder: Path, settings: Mapping[str, Any]) -> list[Number]:
    """The numbers of a samples file; raises an InputError where its documents are nested too deep to be compared."""
    try:
        return list(_of_samples(measured, folder, settings))
    except RecursionError:
        raise InputError(f"{measured.path}: holds JSON nested too deep to be read; take it out.") from None


def _of_samples(measured: Measured, folder: Path, settings: Mapping[str, Any]) -> Iterator[Number]:
    """The numbers of a samples file, one a metric, in the order in which they stand beside it."""
    content, rows = samples.about(measured), samples.rows(measured)
    part, benchmark, cultural = _part(measured.task, measured.benchmark, measured.culture, content)
    identity = measured.identity
    asked = _asked(content, measured.task) | {JUDGE: identity.get(JUDGE)} | _prompt(settings, identity)
    questions = samples.questions(rows)
    hashes = {
        name: _sha256(row["doc"]) for name, row in zip(questions, rows, strict=True) if isinstance(row.get("doc"), dict)
    }
    for label, key, value in _metrics(content, measured.task):
        scores = _scores(rows, key, value, measured.path)
        own = list(scores.values()) if scores else []
        mean = fmean(own) if own else value
        if scores:
            low, high = paired.of_mean(scores, is_share(benchmark, label, own))
        else:
            low, high = _by_error(content, measured.task, key, value)
        yield Number(
            measured.system,
            benchmark,
            label,
            part,
            cultural,
            len(scores or rows),
            mean,
            low,
            high,
            _higher(content, measured.task, benchmark, label),
            measured.made,
            measured.path,
            folder,
            measured.model,
            identity.get("weights_sha256") or (measured.model if identity else _theirs(measured.model, measured.path)),
            identity.get("benchmark_sha256", ""),
            scores,
            hashes,
            asked,
            identity.get("settings_sha256") or "",
            _manner(settings, identity, content, measured.task),
            budget=identity.get("budget"),
            ranking=identity.get("ranking") or "",
            recipe=identity.get("recipe") or "",
            base=str(identity.get("base_sha256") or ""),
        )


def _without_samples(folder: Path, measured: Sequence[Measured]) -> Iterator[Number]:
    """The numbers of tasks whose samples were not kept, the newest of each task and folder."""
    there = {(one.path.parent, one.task) for one in measured}
    newest: dict[tuple[Path, str], Aggregated] = {}
    for found in sorted(samples.aggregated(folder), key=lambda one: one.made):
        groups = {
            *found.content.get("groups", ()),
            *(k for k, v in found.content.get("group_subtasks", {}).items() if v),
        }
        for task in found.content["results"]:
            if task not in groups and (found.path.parent, task) not in there:
                newest[found.path.parent, task] = found
    for (_, task), found in newest.items():
        content = found.content
        system, benchmark, culture = found.place(task)
        part, benchmark, cultural = _part(task, benchmark, culture, content)
        n = content.get("n-samples", {}).get(task, {}).get("effective") or content["results"][task].get("sample_len", 0)
        for label, key, value in _metrics(content, task):
            low, high = _by_error(content, task, key, value)
            yield Number(
                system,
                benchmark,
                label,
                part,
                cultural,
                n,
                value,
                low,
                high,
                _higher(content, task, benchmark, label),
                found.made,
                found.path,
                folder,
                found.model,
                _theirs(found.model, found.path),
                asked=_asked(content, task),
            )


def _theirs(model: str, file: Path) -> str:
    """Who answered, of another's folder, which names no weights."""
    return f"{model} {file.parent}"


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of a run's evaluations by their hash; empty of another folder."""
    found: dict[str, Any] = {}
    for record in _records(folder):
        found |= record.get("settings") or {}
    return found


def _titles(folder: Path) -> dict[str, str]:
    """The titles of the benchmarks that a run asked, by name with variant; an earlier release kept none."""
    every = [one for record in _records(folder) for one in record.get("benchmarks", ())]
    return {one["name"]: one["title"] for one in every if "title" in one}


def _records(folder: Path) -> list[dict[str, Any]]:
    """How a run's evaluations were made; an earlier release kept the last one alone."""
    if not (folder / "run.json").is_file():
        return []
    with Run(folder, create=False) as run:
        made = run.stages.get(ledger.TABLE, {}).get("measured", [])
    return list(made) if isinstance(made, list) else [made]


def _of_run(folder: Path, settings: Mapping[str, Any], notes: list[str]) -> list[Number]:
    """The rows of a run's results table; the notes get what its evaluations left out and none measured."""
    if not (folder / "run.json").is_file():
        return []
    with Run(folder, create=False) as run:
        rows = ledger.past(run)
    measured = {(row["system"], row["culture"]) for row in rows}
    for record in _records(folder):
        left = [still_left_out(note, measured) for note in record.get("left_out", ())]
        notes += [note for note in left if note and note not in notes]
    return [_of_row(row, folder, settings) for row in rows]


def _of_row(row: Mapping[str, Any], folder: Path, settings: Mapping[str, Any]) -> Number:
    """The number of a row of a results table, which an earlier release wrote with fewer columns."""
    found = metric(row["benchmark"], row["metric"])
    return Number(
        row["system"],
        row["benchmark"],
        row["metric"],
        row["culture"],
        True,
        row["n"],
        row["value"],
        row.get("low"),
        row.get("high"),
        found.higher_is_better if found else row["metric"] != "unparsed",
        "",
        folder / ledger.TABLE,
        folder,
        row.get("model") or "",
        row.get("weights_sha256") or row.get("model") or "",
        row.get("benchmark_sha256") or "",
        asked=_prompt(settings, row),
        settings=row.get("settings_sha256") or "",
        budget=row.get("budget"),
        ranking=row.get("ranking") or "",
        recipe=row.get("recipe") or "",
        base=row.get("base_sha256") or "",
    )


def _prompt(settings: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt that everybody was asked with, where a run tells it."""
    known = settings.get(identity.get("settings_sha256") or "", {})
    return {"prompt": known["prompt"]} if "prompt" in known else {}


def _manner(settings: Mapping[str, Any], identity: Mapping[str, Any], content: Mapping[str, Any], task: str) -> str:
    """How a system was asked, whichever questions."""
    known = settings.get(identity.get("settings_sha256") or "")
    if known is None:
        known = {"description": content.get("configs", {}).get(task, {}).get("description")}
    return json.dumps({name: value for name, value in known.items() if name != "n"}, sort_keys=True)


def _part(task: str, benchmark: str, culture: str | None, content: Mapping[str, Any]) -> tuple[str, str, bool]:
    """The part, the benchmark, and whether the part is a culture: tasks of a group that has a number are its parts."""
    if culture is not None:
        return culture, benchmark, True
    if task.startswith(f"{PREFIX}_"):
        return "", benchmark, False
    above = {child: group for group, tasks in content.get("group_subtasks", {}).items() for child in tasks}
    top, group, seen = task, task, {task}
    while (group := above.get(group, "")) and group not in seen:
        seen.add(group)
        top = group if group in content.get("groups", {}) else top
    return task, top, False


def _metrics(content: Mapping[str, Any], task: str) -> Iterator[tuple[str, str, float]]:
    """Each metric of a task: its label, its key `metric,filter`, and its number."""
    found = content["results"].get(task, {})
    keys = [key for key, value in found.items() if "," in key and "_stderr," not in key and _is_number(value)]
    names = [key.partition(",")[0] for key in keys]
    for key, name in zip(keys, names, strict=True):
        yield (key if names.count(name) > 1 else name), key, float(found[key])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _scores(rows: Sequence[Mapping[str, Any]], key: str, value: float, file: Path) -> dict[str, float] | None:
    """The scores by question, where their mean is the number; None where it is made of them in another way."""
    name, _, filtered = key.partition(",")
    own = [row[name] for row in rows if row.get("filter", "none") == filtered and row.get(name) is not None]
    if not own or any(isinstance(one, (list, dict)) for one in own) or all(isinstance(one, str) for one in own):
        return None
    scores = samples.by_question(rows, key, file)
    numbers = [float(one) for one in own if one == one]
    return scores if scores and isclose(fmean(numbers), value, rel_tol=1e-6, abs_tol=1e-9) else None


def _by_error(content: Mapping[str, Any], task: str, key: str, value: float) -> tuple[float | None, float | None]:
    """The interval by lm-eval's standard error, which is right for one task."""
    error = content["results"][task].get(key.replace(",", "_stderr,", 1))
    return (value - _ERROR * error, value + _ERROR * error) if _is_number(error) else (None, None)


def _higher(content: Mapping[str, Any], task: str, benchmark: str, label: str) -> bool:
    """Whether higher is better, as the task says; so it is where nobody says."""
    name = label.partition(",")[0]
    said = content.get("higher_is_better", {}).get(task, {}).get(name)
    known = metric(benchmark, name)
    return bool(said) if said is not None else known.higher_is_better if known else True


def _sha256(document: Mapping[str, Any]) -> str:
    """The hash of a document, whoever wrote it: a column without a value is none, and its topic is not asked."""
    filled = {name: value for name, value in document.items() if value is not None and name != "topic_id"}
    return hashlib.sha256(json.dumps(filled, sort_keys=True).encode()).hexdigest()


def _asked(content: Mapping[str, Any], task: str) -> dict[str, Any]:
    """How a task was asked, as far as systems must share it."""
    config = content.get("configs", {}).get(task, {})
    return {
        "version": content.get("versions", {}).get(task),
        "n-shot": content.get("n-shot", {}).get(task),
        **{name: config[name] for name in _SHARED if name in config},
    }


def _renamed(numbers: list[Number], name: str, folder: Path) -> list[Number]:
    """The numbers under the name that was given for the one system in a folder."""
    if not name:
        return numbers
    own = sorted({one.system.removesuffix(WITH_ROLE_PLAY) for one in numbers if not one.constant})
    if len(own) != 1:
        raise InputError(f"{folder}: holds {', '.join(own)}; a name such as {name!r} is for a folder of one system.")
    ending = len(own[0])
    return [one if one.constant else replace(one, system=f"{name}{one.system[ending:]}") for one in numbers]


def _of_questions(numbers: Sequence[Number]) -> list[Number]:
    """The numbers without those that knowing nothing gets on files of questions that no system was asked of."""
    asked: dict[tuple[str, str, str], set[str]] = {}
    for one in numbers:
        if not one.constant:
            asked.setdefault(one.place, set()).add(one.benchmark_sha256)
    return [
        one
        for one in numbers
        if not one.constant or asked.get(one.place, {one.benchmark_sha256}) & {one.benchmark_sha256, ""}
    ]


def _told_apart(numbers: Sequence[Number]) -> list[Number]:
    """The numbers, with the model or the folder behind a system's name where that stands for several.

    Raises:
        InputError: neither tells them apart.
    """
    found: list[Number] = []
    for system in dict.fromkeys(one.system for one in numbers):
        own = _across([one for one in numbers if one.system == system])
        clash = _clash(own)
        ways = (_no_name, _model, _folder, lambda one: f"{_folder(one)}, {_model(one)}".strip(", "), _place, _weights)
        tries = ([replace(one, system=_with(system, way(one))) for one in own] for way in ways)
        if (apart := next((one for one in tries if _clash(one) is None), None)) is None:
            assert clash is not None
            raise InputError(
                f"{clash[0].path} and {clash[1].path}: two measurements of {system!r} on {clash[0].benchmark}; give"
                " each folder a name, as NAME=FOLDER."
            )
        found += apart
    return found


def _across(numbers: list[Number]) -> list[Number]:
    """The numbers of a system, those of one culture's model on another culture marked, where that has its own."""
    cultures = {one.part for one in numbers if one.cultural}
    at_home = {one.place for one in numbers if Path(one.model).name == one.part}
    return [
        replace(one, of=name) if name in cultures - {one.part} and one.place in at_home else one
        for one in numbers
        for name in [Path(one.model).name]
    ]


def _clash(numbers: Sequence[Number]) -> tuple[Number, Number] | None:
    """Two numbers of the same thing by different models under one name; None where there are none."""
    first: dict[tuple[Any, ...], Number] = {}
    for one in numbers:
        other = first.setdefault((one.system, one.of, *one.place), one)
        if one.who != other.who:
            return other, one
    return None


def _no_name(number: Number) -> str:
    return ""


def _model(number: Number) -> str:
    """What a model is called beside others; the model of the asked culture goes by its folder."""
    path = Path(number.model)
    return path.parent.name if path.name in (number.part, number.of) else path.name


def _folder(number: Number) -> str:
    return number.folder.resolve().name


def _place(number: Number) -> str:
    return number.model


def _weights(number: Number) -> str:
    """The model with the first digits of its weights' hash, of one that was trained anew in its place."""
    return f"{_model(number)} {number.who[:8]}".strip()


def _with(system: str, name: str) -> str:
    base = system.removesuffix(WITH_ROLE_PLAY)
    return f"{base} ({name}){system[len(base) :]}" if name else system


def _check(numbers: Sequence[Number]) -> None:
    """See that systems were asked the same in each place.

    Raises:
        InputError: they were not.
    """
    first: dict[tuple[str, str, str], Number] = {}
    for one in sorted(numbers, key=lambda one: not one.asked):
        other = first.setdefault(one.place, one)
        for name in sorted({*one.asked} & {*other.asked}):
            if one.asked[name] != other.asked[name]:
                _refuse(other, one, f"{name} is {other.asked[name]!r} in one, {one.asked[name]!r} in the other")
        if one.benchmark_sha256 and other.benchmark_sha256 not in ("", one.benchmark_sha256) and not one.constant:
            _refuse(other, one, "their questions come from files that differ")
        for question in one.hashes.keys() & other.hashes.keys():
            if one.hashes[question] != other.hashes[question]:
                _refuse(other, one, f"the question {question.rpartition(paired.WITHIN)[2]!r} is another one")


def _refuse(one: Number, other: Number, why: str) -> None:
    raise InputError(
        f"{one.path} and {other.path}: {one.system!r} and {other.system!r} were not asked the same {one.benchmark}:"
        f" {why}; evaluate both alike."
    )
