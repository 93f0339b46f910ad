"""How systems do on benchmarks: one row per system, culture, benchmark and metric, with a 95 % interval.

Weights are asked for likelihoods, or write their answers, through their chat template; a model behind an API writes its
answers (generated.py). The variants of a benchmark are benchmarks of their own: they are not compared.

A row carries the hashes of what answered, of what was asked and of how. By them the rows of several evaluations stand
in one table, and what stands there is not measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from statistics import mean
from typing import Any

from datasets import Dataset, DatasetInfo

from caredio import checkpoints, prompts, yamlfile
from caredio import cultures as culture_files
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import benchmark as declarations
from caredio.evaluation import choice, robustness, systems, tasks
from caredio.evaluation.benchmark import LIKELIHOOD, LOGPROBS, VARIANTS, VARIED, Benchmark, Document, Metric, named
from caredio.evaluation.benchmarks import held_out
from caredio.evaluation.samples import write
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import Loader, Measurement, System
from caredio.features import RESULTS
from caredio.intervals import of_mean, wilson

MEANINGS = {
    choice.CHANCE: "an option drawn evenly, each judgement by a coin; no interval",
    choice.FIXED_LETTER: "always the letter that is most often right on the file's other cultures",
    "always False": "every statement judged false",
    "uniform": "every option alike, and one of them by chance; no interval",
}
LeaveOut = Callable[[Benchmark, Sequence[Document]], set[str]]
_EXACT = (choice.CHANCE, "uniform")  # expected numbers, which no sample varies
_IDENTITY = ("culture", "weights_sha256", "base_sha256", "benchmark_sha256", "settings_sha256")
_PACKAGES = ("lm_eval", "peft", "transformers", "torch")
_WRITTEN = "answers that the model wrote, not comparable with likelihoods"
_HAD = {  # variant -> how its answers are had
    LIKELIHOOD: "chat template applied",
    LOGPROBS: "shares by the first token's probabilities, not comparable with answers that were drawn",
}
_LEFT_OUT = "left out: "  # begins a note
_NAMED = 5  # cultures that a note names
_COLUMNS, _WIDTH = 4, 26  # numbers beside each other in a printed table, and the least characters of one


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

    unit = "questions"  # that the bar counts

    def __init__(
        self,
        cultures: Sequence[str] | None,
        settings: Settings,
        known: Mapping[str, Culture] | None,
        notes: list[str],
        run: Path | None = None,
        instead: Mapping[str, str] | None = None,
        leave_out: LeaveOut | None = None,
    ) -> None:
        """Read the questions. Arguments and errors as those of `Evaluation`.

        Args:
            run: whose held-out questions are asked, unless others are named.
            instead: variant -> the one that is asked in its place.
            leave_out: gives the ids of those of a benchmark's documents on a culture that are not asked.
        """
        self._known = dict(known or culture_files.load())
        self._cultures = yamlfile.pick(cultures, self._known, "culture")
        self._chosen, self.prompts, self.notes = settings, settings.prompts, notes
        wanted = declarations.chosen(settings.asked)
        self.asked = list(dict.fromkeys((one, (instead or {}).get(variant, variant)) for one, variant in wanted))
        if settings.robustness:
            self.asked += robustness.ways(self.asked, settings.paraphrases)
        declarations.check_sources(settings.named_data, [one for one, _ in self.asked])
        data = {**({held_out.NAME: str(run)} if run else {}), **settings.data}
        self.files = {one.source: one.path(data) for one, _ in self.asked}
        self._hashes = {one.source: one.sha256(self.files[one.source]) for one, _ in self.asked}
        self._prompts = {one.kind.prompt: prompts.load(one.kind.prompt, settings.prompts) for one, _ in self.asked}
        self.documents: dict[tuple[str, str], list[Document]] = {}  # by benchmark with variant, and culture
        self._leave_out = leave_out
        self.left_out: dict[tuple[str, str], list[str]] = {}  # ids of questions, by benchmark and culture
        self._settings: dict[str, dict[str, Any]] = {}  # by their hash
        self.measurements: list[Measurement] = []
        self.titles: dict[Measurement, str] = {}  # of what is missing, as progress names it
        self.identities: dict[Measurement, dict[str, Any]] = {}
        self.constants: list[dict[str, Any]] = []
        self.leakage: dict[str, Any] = {}  # what of it stands in rows of training, where that was looked at
        for benchmark, variant in self.asked:
            self._read(benchmark, variant)
        if not any(self.documents.values()):
            raise InputError(f"nothing can be asked: {self._why_nothing()}.")

    def _why_nothing(self) -> str:
        """What keeps every question from being asked."""
        said = [note.removeprefix(_LEFT_OUT).rstrip(".") for note in self.notes if note.startswith(_LEFT_OUT)]
        return "; ".join(said)

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """The prompts that it asks with."""
        return ("systems", *self._prompts)

    def _read(self, benchmark: Benchmark, variant: str) -> None:
        """Read the questions of a benchmark on each culture, and what is right of them without knowing anything."""
        path, limit, lacking = self.files[benchmark.source], self._chosen.limit, []
        everybody = benchmark.documents(path, variant)
        for culture in self._cultures:
            spellings = benchmark.spellings(culture)
            about = benchmark.about(culture.slug, spellings, path, variant)
            found = self._without_grounds(benchmark, culture, about)[: limit or None]
            self.documents[named(benchmark.name, variant), culture.slug] = found
            if not found:
                lacking += [] if about else [culture.slug]
                continue
            own = {spelling.casefold() for spelling in spellings}
            others = [one for one in everybody if one["culture"].casefold() not in own]
            for name, values in benchmark.kind.baselines(found, others).items():
                identity = {"system": name, "culture": culture.slug}
                identity |= self._asked(benchmark, self._about(benchmark, variant, len(found), culture.slug))
                self.constants += [
                    _row(identity, benchmark, variant, metric, [values[metric.name]] * len(found), _questions(found))
                    for metric in benchmark.metrics(variant)
                    if metric.name in values
                ]
            if (caveat := benchmark.caveat(found)) and caveat not in self.notes:
                self.notes.append(caveat)
        if lacking and (everybody or VARIED not in benchmark.name):  # no question of three options has a fourth order
            self.notes.append(f"{_LEFT_OUT}{benchmark.title} has no question on {', '.join(lacking)}.")
        if (note := self._unknown(benchmark, everybody)) and note not in self.notes:
            self.notes.append(note)

    def _unknown(self, benchmark: Benchmark, everybody: Sequence[Document]) -> str:
        """A sentence on the questions of a table of one's own whose culture is none that is known; else empty."""
        if benchmark.declared_in is None or VARIED in benchmark.name:
            return ""
        known = {one.casefold() for culture in self._known.values() for one in benchmark.spellings(culture)}
        found = Counter(one["culture"] for one in everybody if one["culture"].casefold() not in known)
        if not found:
            return ""
        named = [f"{culture} ({n})" for culture, n in found.most_common(_NAMED)]
        more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
        return (
            f"{_LEFT_OUT}{sum(found.values())} of {len(everybody)} questions of {benchmark.title} are on cultures that"
            f" are not known: {', '.join([*named, *more])}; name what the table calls a culture under labels in"
            f" {benchmark.declared_in.name}, as in 'china: [{next(iter(found))}]', or declare one in a file of"
            " --cultures-file."
        )

    def _without_grounds(self, benchmark: Benchmark, culture: Culture, about: list[Document]) -> list[Document]:
        """The documents on a culture but those that are left out, which a note counts."""
        without = self._leave_out(benchmark, about) if self._leave_out and about else set()
        if not without:
            return about
        self.left_out[benchmark.name, culture.slug] = sorted(without)
        share = f"{len(without)} of {len(about)} questions of {benchmark.title} on {culture.slug}"
        note = f"{_LEFT_OUT}{share}, which grounded the rows of training as evidence."
        self.notes += [note] if note not in self.notes else []
        return [one for one in about if str(one["id"]) not in without]

    def missing(self, past: Iterable[Mapping[str, Any]]) -> list[list[Measurement]]:
        """What `past` has no rows of: a list for each system and benchmark, those of the same model in turn."""
        there = {key(row) for row in past}
        parts: dict[tuple[str, str, str], list[Measurement]] = {}
        for model in dict.fromkeys(one.subject.model for one in self.measurements):
            for one in self.measurements:
                if one.subject.model == model and key(self.identities[one]) not in there:
                    there.add(key(self.identities[one]))
                    parts.setdefault((model, one.subject.system, one.column), []).append(one)
        self.titles = self._titles(list(parts.values()))
        return list(parts.values())

    def _titles(self, parts: Sequence[Sequence[Measurement]]) -> dict[Measurement, str]:
        """What each measurement is called while it is made, one after the other."""
        every = [one for part in parts for one in part]
        return {
            one: f"{one.subject.system}: {one.column}, {one.subject.culture.slug} ({place} of {len(every)})"
            for place, one in enumerate(every, 1)
        }

    def questions(self, parts: Iterable[Sequence[Measurement]]) -> dict[str, int]:
        """Title -> how many questions, or calls, are asked in `parts`."""
        asked: Counter[str] = Counter()
        for part in parts:
            for one in part:
                asked[self.titles[one]] += len(self.of(one))
        return asked

    def of(self, one: Measurement) -> list[Document]:
        """The documents that are asked."""
        return self.documents[one.column, one.subject.culture.slug]

    def spent(self) -> str:
        """What was spent so far, in words; nothing by weights of one's own."""
        return ""

    def measure(self, part: Sequence[Measurement], folder: Path | None = None) -> list[dict[str, Any]]:
        """The rows of a part; what each question got is written under `folder`, where one is given."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """How the rows are made: questions, settings, the role-play text, and who was left out."""
        role_play = prompts.load("systems", self._chosen.prompts)
        used = [role_play, *self._prompts.values()]
        return {
            "benchmarks": [
                {"name": named(one.name, variant), "title": one.title, "version": one.version, "licence": one.licence}
                | {"file": self.files[one.source].name, "sha256": self._hashes[one.source], "real": one.real}
                for one, variant in self.asked
            ],
            "config": {name: value for name, value in asdict(self._chosen).items() if name not in ("prompts", "show")},
            "role_play": role_play.parts["system"],
            "own_prompts": [one.name for one in used if not one.shipped],
            "left_out": self.notes,
            **({"leakage": self.leakage} if self.leakage else {}),
            "settings": self._settings,
        }

    def select(self, rows: Iterable[Mapping[str, Any]]) -> Dataset:
        """The rows of what was asked for, out of those of this and other evaluations, under the names given now."""
        by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for row in rows:
            by_key.setdefault(key(row), []).append(row)
        chosen = [row for one in dict.fromkeys(map(key, self.constants)) for row in by_key[one]]
        for one in self.measurements:
            chosen += [{**row, "system": one.subject.system} for row in by_key[key(self.identities[one])]]
        info = DatasetInfo(features=RESULTS, description=json.dumps(self.record()))
        return Dataset.from_list([{name: row.get(name) for name in RESULTS} for row in chosen], info=info)

    def rows(self, one: Measurement, scores: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
        """The rows of a measurement: the mean of each metric over the documents that have it."""
        found, questions = [], _questions(self.of(one))
        for metric in one.benchmark.metrics(one.variant):
            values = [score[metric.name] for score in scores if score.get(metric.name) is not None]
            if values:
                found.append(_row(self.identities[one], one.benchmark, one.variant, metric, values, questions))
        return found

    def _about(self, benchmark: Benchmark, variant: str, n: int, culture: str) -> dict[str, Any]:
        """What makes questions, asks and scores them."""
        without = self.left_out.get((benchmark.name, culture))
        return {
            **({"left_out": hashlib.sha256(json.dumps(without).encode()).hexdigest()} if without else {}),
            "benchmark": named(benchmark.name, variant),
            "version": benchmark.version,
            "n": n,
            "tasks_sha256": tasks.sha256(benchmark),
            "prompt": self._prompts[benchmark.kind.prompt].parts[choice.PARTS[variant]],
        }

    def _asked(self, benchmark: Benchmark, settings: dict[str, Any]) -> dict[str, str]:
        sha256 = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self._settings[sha256] = settings
        hashes = {"benchmark_sha256": self._hashes[benchmark.source], "settings_sha256": sha256}
        return {**hashes, "benchmark_version": benchmark.version}


class Evaluation(Asked):
    """What is asked of whom: checked, and each measurement's identity known, before anything is measured."""

    def __init__(
        self,
        given: Sequence[System],
        cultures: Sequence[str] | None,
        settings: Settings,
        known: Mapping[str, Culture] | None = None,
        notes: Sequence[str] = (),
        run: Path | None = None,
        leave_out: LeaveOut | None = None,
    ) -> None:
        """Read the questions, and look at every model, adapter and tokenizer.

        Args:
            given: the systems.
            cultures: slugs; all 15 when None.
            settings: of the evaluation.
            known: the cultures that the slugs are of; the shipped ones when None.
            notes: what was left out before this.
            run, leave_out: as `Asked` takes them.

        Raises:
            InputError: a package, culture, system, file or model is not what was wanted.
        """
        systems.installed()
        for benchmark, variant in declarations.chosen(settings.asked):
            if variant == LOGPROBS:
                raise InputError(
                    f"{named(benchmark.name, variant)} is for models behind an API; of weights of your own, ask"
                    f" {benchmark.reference}, which is by likelihood."
                )
        super().__init__(cultures, settings, known, [*notes], run, leave_out=leave_out)
        self._loader = Loader(settings.device or "")
        self._given = given
        subjects, left_out = systems.subjects(given, self._cultures, settings.prompts)
        self.notes += left_out
        self.measurements = [
            Measurement(subject, benchmark, variant)
            for subject in subjects
            for benchmark, variant in self.asked
            if self.documents[named(benchmark.name, variant), subject.culture.slug]
        ]
        self.identities = self._identified()

    def measure(self, part: Sequence[Measurement], folder: Path | None = None) -> list[dict[str, Any]]:
        """The rows of a part; what each question got is written under `folder`, where one is given.

        Raises:
            InputError: a model cannot be loaded.
        """
        files = {source: str(path.absolute()) for source, path in self.files.items()}
        place = tasks.folder(self.asked, self._cultures, self.prompts, self.left_out)
        how = (files, self._chosen.limit or 0, self._chosen.batch_size)
        found = systems.answered({one: self.titles[one] for one in part}, self._loader, place, *how)
        made = []
        for one in part:
            (task_samples,) = found[one]["samples"].values()
            if folder is not None:
                write(folder, self.identities[one], found[one])
            made += self.rows(one, task_samples)
        return made

    def record(self) -> dict[str, Any]:
        """As `Asked.record`, with the chat template, the systems and the packages."""
        return {
            "apply_chat_template": True,
            **super().record(),
            "systems": [asdict(system) for system in self._given],
            "packages": {name: metadata.version(name) for name in _PACKAGES},
        }

    def _identified(self) -> dict[Measurement, dict[str, Any]]:
        """What each measurement's rows say of who answered what."""
        place, own, base = cache(checkpoints.folder), cache(checkpoints.sha256), cache(checkpoints.weights_sha256)
        training = cache(_training)
        identities = {}
        for one in self.measurements:
            subject = one.subject
            model = place(subject.model)
            settings = {
                **self._about(one.benchmark, one.variant, len(self.of(one)), one.subject.culture.slug),
                "apply_chat_template": True,
                "system_message": subject.instruction,
                "tokenizer_sha256": checkpoints.tokenizer_sha256(place(subject.tokenizer)),
                "lm_eval": metadata.version("lm_eval"),
            }
            identities[one] = {
                "system": subject.system,
                "culture": subject.culture.slug,
                "model": subject.adapter or subject.model,
                "weights_sha256": own(Path(subject.adapter) if subject.adapter else model),
                "base_sha256": base(model) if subject.adapter else None,
                **training(Path(subject.adapter) if subject.adapter else model),
                **self._asked(one.benchmark, settings),
            }
        return identities


def record(table: Dataset) -> dict[str, Any]:
    """How `evaluate` made the table (`Evaluation.record`); {} of another table."""
    return json.loads(table.info.description) if table.info.description else {}


def format_table(table: Dataset) -> str:
    """The table as text: a block per culture and one over all of them, systems as rows, the baselines last.

    Variants of benchmarks, such as what was generated and what was found by likelihood, stand in blocks of their own.
    """
    rows, lines = [row for row in table if VARIED not in row["benchmark"]], []
    made = record(table)
    titles = {one["name"]: one["title"] for one in made.get("benchmarks", ()) if "title" in one}
    for variant, columns in _variants(rows, titles).items():
        for start in range(0, len(columns), _COLUMNS):
            some = columns[start : start + _COLUMNS]
            part = [row for row in rows if any(_is(row, column) for column in some)]
            if part:
                lines += _blocks(part, some)
        lines.append(_footer(variant, [metric for _, metric, _ in columns]))
    if len({row["culture"] for row in rows}) > 1:
        lines.append(
            "All cultures: the mean over all questions, and of how many cultures where a system lacks some; its"
            " interval is in `caredio results`, as cultures may share questions."
        )
    lines += [f"{name}: {meaning}." for name, meaning in MEANINGS.items() if name in table["system"]]
    for name in made.get("own_prompts", ()):
        lines.append(f"{'role-play: ' if name == 'systems' else ''}{name}.txt is not the shipped prompt.")
    return "\n".join(line.rstrip() for line in [*lines, *made.get("left_out", [])])


_Column = tuple[str, Metric, str]  # a benchmark with its variant, a metric, and the heading


def _variants(rows: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> dict[str, list[_Column]]:
    """Variant -> the columns that stand in the rows; `titles` are those of tables of one's own, by name."""
    every = [(one, variant) for one in declarations.load().values() for variant in one.variants]
    known = {named(one.name, variant): (variant, one) for one, variant in every}
    shares = {metric.name: metric.share for one, variant in every for metric in one.metrics(variant)}
    found: dict[str, list[_Column]] = {}
    for name, metric_name in dict.fromkeys((row["benchmark"], row["metric"]) for row in rows):
        ending = next((one for one in VARIANTS if one and name.endswith(f"_{one}")), LIKELIHOOD)
        variant, one = known.get(name, (ending, None))
        metrics = {metric.name: metric for metric in one.metrics(variant)} if one else {}
        metric = metrics.get(metric_name) or Metric(metric_name, metric_name, share=shares.get(metric_name, False))
        title = one.title if one else titles.get(name, name)
        found.setdefault(variant, []).append((name, metric, declarations.heading(title, metric)))
    return found


def _footer(variant: str, metrics: Sequence[Metric]) -> str:
    shares, lines = [metric.share for metric in metrics], []
    if any(shares):
        lines.append("Per cent with 95 % Wilson interval over n questions")
    if not all(shares):
        which = "other numbers" if any(shares) else "Numbers"
        lines.append(f"{which} with the 95 % bootstrap interval of the mean over n questions")
    return "; ".join([*lines, _HAD.get(variant, _WRITTEN)]) + "."


def _blocks(rows: list[dict[str, Any]], columns: Sequence[_Column]) -> list[str]:
    """The lines of a table's blocks."""
    blocks = {row["culture"]: [one for one in rows if one["culture"] == row["culture"]] for row in rows}
    if len(blocks) > 1:
        blocks[f"all {len(blocks)} cultures"] = rows
    names = sorted(dict.fromkeys(row["system"] for row in rows), key=lambda name: name in MEANINGS)
    tables = []
    for title, block in blocks.items():
        cultures = len({row["culture"] for row in block})
        table = [[title, *(heading for _, _, heading in columns)]]
        for system in names:
            own = [[row for row in block if row["system"] == system and _is(row, column)] for column in columns]
            cells = [_cell(found, column[1], cultures) for found, column in zip(own, columns, strict=True)]
            table.append([f"  {system}", *cells])
        tables.append(table)
    width = max(_WIDTH, *(len(text) for table in tables for row in table for text in row[1:]))
    first = max(map(len, [*blocks, *names])) + 2
    lines = []
    for table in tables:
        lines += ["  ".join([f"{row[0]:{first}}", *(f"{text:{width}}" for text in row[1:])]) for row in table]
        lines.append("")
    return lines


def _cell(rows: list[dict[str, Any]], metric: Metric, cultures: int) -> str:
    """A row's number with its interval; of several cultures' rows the mean over all their questions, without one.

    Cultures may be asked the same questions, which makes the mean less certain than its n; rows do not tell.

    Args:
        cultures: of the block; where fewer have a row, the number says of how many it is.
    """
    if not rows:
        return "-"
    n = sum(row["n"] for row in rows)
    value = sum(row["n"] * row["value"] for row in rows) / n
    scale, digits = (100, 1) if metric.share else (1, 3)
    low, high = (rows[0]["low"], rows[0]["high"]) if len(rows) == 1 else (None, None)
    of = f"n={n}" if len(rows) == cultures else f"n={n} ({len(rows)} of {cultures})"
    if low is None or high is None:
        return f"{scale * value:.{digits}f} {of}"
    return f"{scale * value:.{digits}f} [{scale * low:.{digits}f}, {scale * high:.{digits}f}] {of}"


def _is(row: dict[str, Any], column: _Column) -> bool:
    return (row["benchmark"], row["metric"]) == (column[0], column[1].name)


def _questions(documents: Sequence[Document]) -> int:
    """How many questions documents ask, of which some stand in several with other options."""
    return len({one.get("question_id", one["id"]) for one in documents})


def _row(
    identity: Mapping[str, Any],
    benchmark: Benchmark,
    variant: str,
    metric: Metric,
    values: Sequence[float],
    questions: int | None = None,
) -> dict[str, Any]:
    value, n = mean(values), len(values)
    exact, known = identity["system"] in _EXACT, min(n, questions or n)
    low, high = (None, None) if exact else wilson(value, known) if metric.share else of_mean(values)
    numbers = {"benchmark": named(benchmark.name, variant), "metric": metric.name, "n": n, "value": value}
    return {**dict.fromkeys(RESULTS), **identity, **numbers, "low": low, "high": high}


def _training(folder: Path) -> dict[str, Any]:
    """What the record beside a model tells of its training; {} without one, as beside a base model."""
    try:
        record = json.loads((folder / checkpoints.RECORD).read_text(encoding="utf-8"))
        named = {"trained_on": record["dataset_name"], "rows_sha256": record["rows_sha256"]}
        return named | {name: record.get(name) for name in ("budget", "ranking", "recipe")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none of ours


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row is a measurement of; nobody's weights stand behind a baseline, which goes by its name."""
    identity = tuple(row.get(name) for name in _IDENTITY)
    return identity if row.get("weights_sha256") else (*identity, row["system"])
