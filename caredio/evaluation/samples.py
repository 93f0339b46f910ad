"""The answers behind numbers, question by question, in the files of lm-eval: written, found and read.

<folder>/<16 hex digits of the identity>/samples_<task>_<date>.jsonl    a row for each question
<folder>/<16 hex digits of the identity>/results_<date>.json            the numbers, and the identity

Both are as `lm_eval --output_path X --log_samples` leaves them below X in a folder called like the model, so either is
read where the other is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from caredio import cultures, disk
from caredio.errors import InputError
from caredio.evaluation.paired import WITHIN
from caredio.evaluation.tasks import PREFIX, ROLE_PLAY

log = logging.getLogger("caredio")

IDENTITY = "caredio"  # the key of a results file that lm-eval itself does not write
_MAKING = ".making"
_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_(?P<made>{_DATE})\.jsonl")
_RESULTS = re.compile(rf".+_(?P<made>{_DATE})\.json")


class Measured(NamedTuple):
    """A task as a system answered it."""

    system: str  # of another's folder: the model's name
    culture: str | None  # slug; None where the task's name tells of none
    benchmark: str  # with its variant
    task: str
    model: str
    path: Path  # the samples file
    made: str  # the date in its name
    identity: dict[str, Any]  # {} of another's folder


class Aggregated(NamedTuple):
    """A results file of lm-eval: its numbers, and how they were made."""

    path: Path
    made: str
    content: dict[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """What `write` was given; {} of another's file."""
        return dict(self.content.get(IDENTITY, {}))

    @property
    def model(self) -> str:
        """The model's name; the folder's where the file does not say."""
        return str(self.identity.get("model") or self.content.get("model_name") or self.path.parent.name)

    def place(self, task: str) -> tuple[str, str, str | None]:
        """The system, the benchmark and the culture that a task's numbers belong to."""
        asked = self.content.get("configs", {}).get(task, {}).get("dataset_kwargs") or {}
        benchmark, culture, role_play = parts(task, self.identity.get("culture") or asked.get("culture"))
        system = self.identity.get("system")
        name = Path(self.model).name if _is_folder(self.model) else self.model
        return str(system or (f"{name} + role-play" if role_play else name)), benchmark, culture


def _is_folder(model: str) -> bool:
    """Whether a model is named by where it lies, not as on the Hub."""
    return model.startswith(("/", "./", "../", "~")) or Path(model).is_dir()


def write(folder: Path, identity: Mapping[str, Any], results: Mapping[str, Any]) -> Path:
    """The folder that now holds a system's answers, below `folder`; what stands there of earlier dates stays.

    Args:
        folder: `samples` of a run.
        identity: who answered and how: system, culture, model and hashes, as JSON can hold them.
        results: what `lm_eval.evaluate(log_samples=True)` returned; left as it is.

    Raises:
        InputError: the disk refuses.
    """
    from lm_eval.utils import sanitize_model_name

    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    place, making = folder / name, folder / f"{name}{_MAKING}"
    made = datetime.now().isoformat().replace(":", "-")
    model, samples = str(identity.get("model", "")), results.get("samples") or {}
    content = {
        **{key: value for key, value in results.items() if key != "samples"},
        "task_hashes": {task: _task_hash(rows) for task, rows in samples.items()},
        "model_name": model,
        "model_name_sanitized": sanitize_model_name(model),
        IDENTITY: dict(identity),
    }
    with disk.writing(folder):
        shutil.rmtree(making, ignore_errors=True)  # of a write that was killed
        making.mkdir(parents=True)
        for task, rows in samples.items():
            lines = (_dumped(_sample(row)) + "\n" for row in rows)
            _write(making / f"samples_{task}_{made}.jsonl", lines)
        _write(making / f"results_{made}.json", [_dumped(content, indent=2)])
        place.mkdir(exist_ok=True)
        for file in sorted(making.iterdir(), reverse=True):  # samples before results
            os.replace(file, place / file.name)
        making.rmdir()
    return place


def find(*folders: Path) -> list[Measured]:
    """The samples files below folders, the newest of each task and folder; an older one is named in the log, with both
    their numbers of rows where the newest has fewer, as of another `--limit`.

    A folder without samples gives nothing here: `aggregated` finds its numbers.

    Raises:
        InputError: a folder is not there, or the results file beside samples is missing or damaged.
    """
    found: dict[tuple[Path, str], list[Measured]] = {}
    for file in _files(folders, "samples_*.jsonl"):
        if named := _SAMPLES.fullmatch(file.name):
            beside = _beside(file, named["made"])
            system, benchmark, culture = beside.place(named["task"])
            made, own = named["made"], beside.identity
            one = Measured(system, culture, benchmark, named["task"], beside.model, file, made, own)
            found.setdefault((file.parent, one.task), []).append(one)
    return [_newest(every) for every in found.values()]


def _newest(every: Sequence[Measured]) -> Measured:
    """The newest of a task's samples files in a folder; the log names the others."""
    *others, newest = sorted(every, key=lambda one: one.made)
    n = _count(newest.path) if others else 0
    for older in others:
        if (more := _count(older.path)) > n:
            log.warning(
                "%s: left out with its %d rows, as %s is newer, which has %d; move the one that shall not count out of"
                " the folder",
                *(older.path, more, newest.path.name, n),
            )
        else:
            log.warning("%s: left out, as %s is newer", older.path, newest.path.name)
    return newest


def _count(file: Path) -> int:
    """The rows of a samples file."""
    try:
        with file.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from None


def aggregated(*folders: Path) -> list[Aggregated]:
    """The results files of lm-eval below folders, by folder and date.

    Raises:
        InputError: a folder is not there, or a file is damaged.
    """
    return [
        _aggregated(file, named["made"])
        for file in _files(folders, "*.json")
        if (named := _RESULTS.fullmatch(file.name))
    ]


def about(measured: Measured) -> dict[str, Any]:
    """What the results file of samples holds: `configs`, `versions`, `higher_is_better`, ... by task.

    Raises:
        InputError: the file is missing or damaged.
    """
    return _beside(measured.path, measured.made).content


def rows(measured: Measured) -> list[dict[str, Any]]:
    """The rows of a samples file.

    Raises:
        InputError: the file cannot be read, or a line of it is no row.
    """
    return list(_rows(measured.path))


def scores(measured: Measured, metric: str) -> dict[str, float]:
    """Question id -> score, as `by_question`.

    Raises:
        InputError: as `rows` and `by_question`.
    """
    return by_question(rows(measured), metric, measured.path)


def by_question(rows: Sequence[Mapping[str, Any]], metric: str, file: Path) -> dict[str, float]:
    """Question id -> score; the mean where a question has several rows. Questions without a number are left out.

    Args:
        rows: of a samples file.
        metric: its name, with the filter behind a comma where answers were read in several ways
            (`exact_match,strict-match`).
        file: where the rows stand, for messages.

    Raises:
        InputError: the metric is not there, its filter is not clear, or it is no number.
    """
    name, _, filtered = metric.partition(",")
    found = [(number, row) for number, row in enumerate(rows, 1) if name in row]
    filters = list(dict.fromkeys(str(row.get("filter", "none")) for _, row in found))
    if not filtered and len(filters) == 1:
        filtered = filters[0]
    if not found or filtered not in filters:
        known = {f"{one},{row.get('filter')}" for row in rows for one in row.get("metrics") or ()}
        raise InputError(f"{file}: has no {metric!r}; it has {', '.join(sorted(known)) or 'no metric'}.")
    values: dict[str, list[float]] = {}
    ids = questions(rows)
    for number, row in found:
        value = row[name]
        if str(row.get("filter", "none")) != filtered or value is None:
            continue
        if not isinstance(value, (int, float)):
            raise InputError(f"{file}, line {number}: {name} is {value!r}, which is no number.")
        if _is_infinite(value):
            raise InputError(f"{file}, line {number}: {name} is larger than any number that can be averaged.")
        if not math.isnan(value):
            values.setdefault(ids[number - 1], []).append(float(value))
    return {one: fmean(of) for one, of in values.items()}


def question(row: Mapping[str, Any]) -> str:
    """The id of a row's question, which is one across systems."""
    own = row["doc"].get("id") if isinstance(row.get("doc"), dict) else None
    return str(row["doc_hash"] if own is None else own)


def questions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of each row's question in tests and intervals: its id, as `ids`, behind that of the question which it
    asks in one of several ways, where its document names that one as `question_id`.

    A document that a data set holds twice is two items of a question.
    """
    found: list[str] = []
    places: dict[str, dict[str, int]] = {}
    for row, name in zip(rows, ids(rows), strict=True):
        doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
        if doc.get("id") is not None and doc.get("question_id") is not None:
            name = f"{doc['question_id']}{WITHIN}{name}"
        seen = places.setdefault(name, {})
        place = seen.setdefault(str(row.get("doc_id")), len(seen))
        found.append(f"{name}{WITHIN}{place}" if place else name)
    return found


def ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The id of each row's question, as `question`; the hash of its document where an id stands for several."""
    documents: dict[str, set[str]] = {}
    for row in rows:
        documents.setdefault(question(row), set()).add(repr(row.get("doc")))
    own = [question(row) for row in rows]
    return [str(row["doc_hash"]) if len(documents[one]) > 1 else one for one, row in zip(own, rows, strict=True)]


def parts(task: str, culture: str | None = None) -> tuple[str, str | None, bool]:
    """The benchmark with its variant, the culture, and whether the model plays a part, of a task's name.

    Args:
        culture: where it is known; else the name's end is compared with the shipped cultures.
    """
    if not task.startswith(f"{PREFIX}_"):
        return task, None, False
    name = task.removeprefix(f"{PREFIX}_")
    ends = [slug for slug in ([culture] if culture else _slugs()) if name.endswith(f"_{slug}")]
    found = max(ends, key=len, default=None)
    name = name.removesuffix(f"_{found}") if found else name
    return name.removesuffix(f"_{ROLE_PLAY}"), found or culture, name.endswith(f"_{ROLE_PLAY}")


@cache
def _slugs() -> list[str]:
    return list(cultures.load())


def _files(folders: Sequence[Path], pattern: str) -> list[Path]:
    """The files below folders, each once, by their paths."""
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; name a run, or what lm_eval had as --output_path.")
        for file in sorted(folder.rglob(pattern)):
            if not file.parent.name.endswith(_MAKING):
                found.setdefault(file.resolve(), file)
    return list(found.values())


def _beside(file: Path, made: str) -> Aggregated:
    """The results file of the same date as a samples file, whatever --output_path called it."""
    there = sorted(file.parent.glob(f"*_{made}.json"))
    if not there:
        raise InputError(
            f"{file}: results_{made}.json is not beside it, which names the model and its metrics; put it there, or"
            " take the samples away."
        )
    return _aggregated(there[0], made)


def _aggregated(file: Path, made: str) -> Aggregated:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: is no JSON ({error.msg}); evaluate again.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is no JSON in UTF-8 ({error.reason}); evaluate again.") from None
    except ValueError:
        raise InputError(f"{file}: holds a number of too many digits; evaluate again.") from None
    except RecursionError:
        raise InputError(f"{file}: is JSON nested too deep to be read; take it out of the folder.") from None
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise InputError(f"{file}: has no results by task, as lm-eval writes them; take it out of the folder.")
    if wrong := next(_wrong(content), None):
        raise InputError(f"{file}: {wrong} is not as lm-eval writes it; take the file out of the folder.")
    return Aggregated(file, made, content)


def _wrong(content: Mapping[str, Any]) -> Iterator[str]:
    """The names of what is read of a results file and has another shape than lm-eval's."""
    for name in (
        "configs",
        "versions",
        "n-shot",
        "higher_is_better",
        "group_subtasks",
        "groups",
        "n-samples",
        IDENTITY,
    ):
        if not isinstance(content.get(name, {}), dict):
            yield name
            return
    for name in ("results", "configs", "higher_is_better", "n-samples"):
        yield from (f"{name} of {task!r}" for task, one in content.get(name, {}).items() if not isinstance(one, dict))
    for group, tasks in content.get("group_subtasks", {}).items():
        if not isinstance(tasks, list) or not all(isinstance(one, str) for one in tasks):
            yield f"group_subtasks of {group!r}"
    yield from _wrong_values(content)


def _wrong_values(content: Mapping[str, Any]) -> Iterator[str]:
    """As `_wrong`, of the values in it, where all objects are there."""
    for task, found in content["results"].items():
        yield from (f"{key} of {task!r}" for key, value in found.items() if "," in key and _is_infinite(value))
        if not _is_count(found.get("sample_len", 0)):
            yield f"sample_len of {task!r}"
    for task, found in content.get("n-samples", {}).items():
        if not _is_count(found.get("effective", 0)):
            yield f"n-samples of {task!r}"
    for task, found in content.get("higher_is_better", {}).items():
        if not all(one is None or isinstance(one, (bool, int, float)) for one in found.values()):
            yield f"higher_is_better of {task!r}"
    for task, found in content.get("configs", {}).items():
        given = found.get("dataset_kwargs")
        if given is not None and not (isinstance(given, dict) and _is_text(given.get("culture"))):
            yield f"dataset_kwargs of {task!r}"
    identity = content.get(IDENTITY, {})
    for name in ("system", "culture", "model", "weights_sha256", "benchmark_sha256", "settings_sha256"):
        if not _is_text(identity.get(name)):
            yield f"{name} of {IDENTITY}"


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_infinite(value: object) -> bool:
    """Whether a number is beyond those that can be computed with; what is no number at all is none of these."""
    try:
        return isinstance(value, (int, float)) and math.isinf(float(value))
    except OverflowError:
        return True


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield _row(line, f"{file}, line {number}")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from None


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise InputError(f"{where}: is JSON nested too deep to be read; take the line out.") from None
    except ValueError:
        torn = "" if line.endswith(b"\n") else ", as its writer was stopped"
        raise InputError(f"{where}: is no JSON{torn}; evaluate again, or take the line out.") from None
    if not isinstance(row, dict) or "doc_hash" not in row:
        raise InputError(f"{where}: is no sample of lm-eval, which has a doc_hash; evaluate again.")
    return row


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    """A sample as lm-eval's EvaluationTracker writes it."""
    from lm_eval.utils import sanitize_list

    arguments = {
        f"gen_args_{place}": {f"arg_{number}": value for number, value in enumerate(one)}
        for place, one in enumerate(row["arguments"])
    }
    changed = {"resps": sanitize_list(row["resps"]), "filtered_resps": sanitize_list(row["filtered_resps"])}
    return {**row, **changed, "arguments": arguments, "target": str(row["target"])}


def _task_hash(samples: Sequence[Mapping[str, Any]]) -> str:
    whole = "".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in samples)
    return hashlib.sha256(whole.encode()).hexdigest()


def _dumped(value: Any, indent: int | None = None) -> str:
    from lm_eval.utils import handle_non_serializable

    return json.dumps(value, indent=indent, default=handle_non_serializable, ensure_ascii=False)


def _write(file: Path, lines: Sequence[str] | Iterator[str]) -> None:
    # a lone surrogate becomes the escape by which JSON writes it
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as content:
        content.writelines(lines)
