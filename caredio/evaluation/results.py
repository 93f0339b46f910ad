"""How systems do on CulturalBench: one row per system, culture and measure, with a 95 % interval.

Measures are accuracy on Easy, the share of Hard questions whose four judgements are all right (the benchmark's own
number), and the share of Hard's judgements that are right. Weights are asked for likelihoods through their chat
template; a model behind an API writes its answers (generated.py), which are benchmarks of their own: the two are not
compared.

A row carries the hashes of what answered, of what was asked and of how. By them the rows of several evaluations stand
in one table, and what stands there is not measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo

from caredio import checkpoints, contents, prompts, yamlfile
from caredio import cultures as culture_files
from caredio.cultures import Culture
from caredio.evaluation import baselines, culturalbench, systems, tasks_path
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import BENCHMARKS, Loader, Subject, System
from caredio.features import RESULTS
from caredio.intervals import wilson

_EASY, _HARD = BENCHMARKS
_MEASURES = {(_EASY, "acc"): "Easy", (_HARD, "acc"): "Hard", (_HARD, "judgement_acc"): "Hard, judgements"}
EASY_GENERATED, HARD_GENERATED = (f"{benchmark}_generated" for benchmark in BENCHMARKS)
GENERATED = {
    (EASY_GENERATED, "acc"): "Easy, generated",
    (HARD_GENERATED, "acc"): "Hard, generated",
    (HARD_GENERATED, "judgement_acc"): "Hard, generated judgements",
    (EASY_GENERATED, "unparsed"): "Easy, unparsed",
    (HARD_GENERATED, "unparsed"): "Hard, unparsed judgements",
}
_FOOTERS = (
    (_MEASURES, "Per cent right with 95 % Wilson interval over n questions; chat template applied."),
    (
        GENERATED,
        "Per cent right, and per cent that are no letter or word alone (unparsed, counted as wrong), with 95 % Wilson"
        " interval over n questions; answers that the model wrote, not comparable with likelihoods.",
    ),
)
_IDENTITY = ("culture", "weights_sha256", "base_sha256", "benchmark_sha256", "settings_sha256")
_PACKAGES = ("lm_eval", "peft", "transformers", "torch")


def evaluate(
    systems: Sequence[System], cultures: Sequence[str] | None = None, settings: Settings = Settings()
) -> Dataset:
    """Ask every system the questions on every culture (slugs; all 15 when None).

    A model is loaded once for all systems that share it; adapters are put on and taken off.

    Returns:
        `features.RESULTS`: the baselines' rows, then each system's. `record` tells how they were made, and who was
        left out.

    Raises:
        InputError: a culture, system, file or model is not what was wanted; known before anything is measured.
    """
    asked = Evaluation(systems, cultures, settings)
    rows = [*asked.constants]
    for part in asked.missing(rows):
        rows += asked.measure(part)
    return asked.select(rows)


class Asked:
    """What is asked about cultures, the baselines on it, and what of it a table lacks; derived classes measure it."""

    measures = _MEASURES
    prompt_names: tuple[str, ...] = ("systems",)
    unit = "questions"  # that the bar counts

    def __init__(
        self, cultures: Sequence[str] | None, settings: Settings, known: Mapping[str, Culture] | None, notes: list[str]
    ) -> None:
        """Read the questions. Arguments and errors as those of `Evaluation`."""
        self._cultures = yamlfile.pick(cultures, dict(known or culture_files.load()), "culture")
        self._file = culturalbench.path(settings.culturalbench or "")
        self._chosen, self.prompts, self.notes = settings, settings.prompts, notes
        answered = {culture.slug: baselines.of(culture, self._file, settings.limit or 0) for culture in self._cultures}
        self._benchmark = contents.of_file(self._file)
        self._settings: dict[str, dict[str, Any]] = {}  # by their hash
        self._questions = {slug: n for slug, (n, _) in answered.items()}
        self._subjects: list[Subject] = []
        self.identities: dict[Subject, dict[str, Any]] = {}
        self.constants = [
            _row({"system": name, "culture": slug, **self._asked(self._about(n))}, measure, value, n)
            for slug, (n, found) in answered.items()
            for name, values in found.items()
            for measure, value in zip(self.measures, values, strict=False)  # shares right, which come first
            if value is not None
        ]

    def missing(self, past: Iterable[Mapping[str, Any]]) -> list[list[Subject]]:
        """The subjects that `past` has no rows of: a list for each system, those of the same model in turn."""
        there = {key(row) for row in past}
        parts: dict[tuple[str, str], list[Subject]] = {}
        for model in dict.fromkeys(subject.model for subject in self._subjects):
            for subject in self._subjects:
                if subject.model == model and key(self.identities[subject]) not in there:
                    there.add(key(self.identities[subject]))
                    parts.setdefault((model, subject.system), []).append(subject)
        return list(parts.values())

    def questions(self, parts: Iterable[Sequence[Subject]]) -> dict[str, int]:
        """System -> how many questions, or calls, the subjects of `parts` are asked."""
        asked: Counter[str] = Counter()
        for part in parts:
            for subject in part:
                asked[subject.system] += len(BENCHMARKS) * self._questions[subject.culture.slug]
        return asked

    def spent(self) -> str:
        """What was spent so far, in words; nothing by weights of one's own."""
        return ""

    def measure(self, part: Sequence[Subject]) -> list[dict[str, Any]]:
        """The rows of subjects."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """How the rows are made: questions, settings, the role-play text, and who was left out."""
        role_play = prompts.load("systems", self._chosen.prompts)
        used = [prompts.load(name, self._chosen.prompts) for name in self.prompt_names]
        return {
            "culturalbench": {"file": self._file.name, "sha256": self._benchmark},
            "config": {name: value for name, value in asdict(self._chosen).items() if name != "prompts"},
            "role_play": role_play.parts["system"],
            "own_prompts": [one.name for one in used if not one.shipped],
            "left_out": self.notes,
            "settings": self._settings,
        }

    def select(self, rows: Iterable[Mapping[str, Any]]) -> Dataset:
        """The rows of what was asked for, out of those of this and other evaluations, under the names given now."""
        by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for row in rows:
            by_key.setdefault(key(row), []).append(row)
        names = {key(row): row["system"] for row in self.constants}
        chosen = [row for key in names for row in by_key[key]]
        for subject in self._subjects:
            chosen += [{**row, "system": subject.system} for row in by_key[key(self.identities[subject])]]
        info = DatasetInfo(features=RESULTS, description=json.dumps(self.record()))
        return Dataset.from_list([{name: row[name] for name in RESULTS} for row in chosen], info=info)

    def _about(self, n: int) -> dict[str, Any]:
        """What makes questions, asks and scores them."""
        return {"n": n, "tasks_sha256": _tasks()}

    def _asked(self, settings: dict[str, Any]) -> dict[str, str]:
        sha256 = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self._settings[sha256] = settings
        return {"benchmark_sha256": self._benchmark, "settings_sha256": sha256}


class Evaluation(Asked):
    """What is asked of whom: checked, and each measurement's identity known, before anything is measured."""

    def __init__(
        self,
        given: Sequence[System],
        cultures: Sequence[str] | None,
        settings: Settings,
        known: Mapping[str, Culture] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Read the questions, and look at every model, adapter and tokenizer.

        Args:
            given: the systems.
            cultures: slugs; all 15 when None.
            settings: of the evaluation.
            known: the cultures that the slugs are of; the shipped ones when None.
            notes: what was left out before this.

        Raises:
            InputError: a package, culture, system, file or model is not what was wanted.
        """
        systems.installed()
        super().__init__(cultures, settings, known, [*notes])
        self._loader = Loader(settings.device or "")
        self._given = given
        self._subjects, left_out = systems.subjects(given, self._cultures, settings.prompts)
        self.notes += left_out
        self.identities = self._identified(self._questions)

    def measure(self, part: Sequence[Subject]) -> list[dict[str, Any]]:
        """The rows of subjects.

        Raises:
            InputError: a model cannot be loaded.
        """
        found = systems.scores(part, self._loader, self._file, self._chosen.limit or 0, self._chosen.batch_size)
        return [
            _row(self.identities[subject], measure, numbers[f"{measure[1]},none"], numbers["sample_len"])
            for subject in part
            for measure in _MEASURES
            for numbers in [found[subject][measure[0]]]
        ]

    def record(self) -> dict[str, Any]:
        """As `Asked.record`, with the chat template, the systems and the packages."""
        return {
            "apply_chat_template": True,
            **super().record(),
            "systems": [asdict(system) for system in self._given],
            "packages": {name: metadata.version(name) for name in _PACKAGES},
        }

    def _identified(self, asked: Mapping[str, int]) -> dict[Subject, dict[str, Any]]:
        """What each subject's rows say of who answered what; `asked` is the number of questions by culture."""
        place, own, base = cache(checkpoints.folder), cache(checkpoints.sha256), cache(checkpoints.weights_sha256)
        identities = {}
        for subject in self._subjects:
            model = place(subject.model)
            settings = {
                **self._about(asked[subject.culture.slug]),
                "apply_chat_template": True,
                "system_message": subject.instruction,
                "tokenizer_sha256": checkpoints.tokenizer_sha256(place(subject.tokenizer)),
                "lm_eval": metadata.version("lm_eval"),
            }
            identities[subject] = {
                "system": subject.system,
                "culture": subject.culture.slug,
                "model": subject.adapter or subject.model,
                "weights_sha256": own(Path(subject.adapter) if subject.adapter else model),
                "base_sha256": base(model) if subject.adapter else None,
                **self._asked(settings),
            }
        return identities


def record(table: Dataset) -> dict[str, Any]:
    """How `evaluate` made the table (`Evaluation.record`); {} of another table."""
    return json.loads(table.info.description) if table.info.description else {}


def format_table(table: Dataset) -> str:
    """The table as text: a block per culture and one over all of them, systems as rows, the baselines last.

    What was generated and what was found by likelihood stand in blocks of their own.
    """
    rows, lines = list(table), []
    for measures, footer in _FOOTERS:
        if part := [row for row in rows if (row["benchmark"], row["metric"]) in measures]:
            lines += [*_blocks(part, measures), footer]
    lines += [f"{name}: {meaning}." for name, meaning in baselines.MEANINGS.items() if name in table["system"]]
    made = record(table)
    for name in made.get("own_prompts", ()):
        lines.append(f"{'role-play: ' if name == 'systems' else ''}{name}.txt is not the shipped prompt.")
    return "\n".join(line.rstrip() for line in [*lines, *made.get("left_out", [])])


def _blocks(rows: list[dict[str, Any]], measures: Mapping[tuple[str, str], str]) -> list[str]:
    """The lines of a table's blocks."""
    blocks = {row["culture"]: [one for one in rows if one["culture"] == row["culture"]] for row in rows}
    if len(blocks) > 1:
        blocks[f"all {len(blocks)} cultures"] = rows
    names = sorted(dict.fromkeys(row["system"] for row in rows), key=lambda name: name in baselines.MEANINGS)
    width = max(map(len, [*blocks, *names])) + 4
    lines = []
    for title, block in blocks.items():
        lines.append(f"{title:{width}}" + "".join(f"{label:28}" for label in measures.values()))
        for system in names:
            cells = [_cell([row for row in block if _is(row, system, measure)]) for measure in measures]
            lines.append(f"  {system:{width - 2}}" + "".join(f"{cell:28}" for cell in cells))
        lines.append("")
    return lines


def _cell(rows: list[dict[str, Any]]) -> str:
    """The number of several cultures' rows: the share of all their questions."""
    if not rows:
        return "-"
    n = sum(row["n"] for row in rows)
    value = sum(row["n"] * row["value"] for row in rows) / n
    if any(row["low"] is None for row in rows):
        return f"{100 * value:.1f} n={n}"
    low, high = wilson(value, n)
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}] n={n}"


def _is(row: dict[str, Any], system: str, measure: tuple[str, str]) -> bool:
    return row["system"] == system and (row["benchmark"], row["metric"]) == measure


def _row(identity: Mapping[str, Any], measure: tuple[str, str], value: float, n: int) -> dict[str, Any]:
    low, high = wilson(value, n) if identity["system"] != baselines.CHANCE else (None, None)
    numbers = {"benchmark": measure[0], "metric": measure[1], "n": n, "value": value, "low": low, "high": high}
    return {**dict.fromkeys(RESULTS), **identity, **numbers}


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row is a measurement of; nobody's weights stand behind a baseline, which goes by its name."""
    identity = tuple(row.get(name) for name in _IDENTITY)
    return identity if row.get("weights_sha256") else (*identity, row["system"])


@cache
def _tasks() -> str:
    """The hash of what makes the questions, asks and scores them."""
    folder = tasks_path() / "culturalbench"
    code = [Path(culturalbench.__file__), Path(culturalbench.__file__).with_name("judgements.py")]
    return contents.sha256([*code, folder / "_easy_yaml", folder / "_hard_yaml"])
