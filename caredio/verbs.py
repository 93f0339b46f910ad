"""What the verbs do: `Synthesizing`, `Selecting` and `Building` check their arguments, then are planned or run."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import configuration, features, messages, preflight, progress, runs, yamlfile
from caredio import prompts as prompt_files
from caredio.api import Table, settings_of
from caredio.errors import InputError
from caredio.evaluation.settings import PROMPTS as EVALUATION_PROMPTS
from caredio.evaluation.settings import Settings as Evaluation
from caredio.llm.model import connect
from caredio.llm.plan import Plan, Step, is_local
from caredio.llm.rows import likelihoods
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.publishing import hub, release
from caredio.publishing.settings import Settings as Release
from caredio.result import Result
from caredio.runs import Run
from caredio.selection import calibrate as calibration
from caredio.selection import engine, match, source
from caredio.selection import pipeline as selecting
from caredio.selection.calibrate import Calibration
from caredio.selection.conditioning import Conditioning, probe, probing
from caredio.selection.embedders import ENDPOINT
from caredio.selection.pipeline import SCORED, candidates_and_vectors, select
from caredio.selection.settings import Settings as Selection
from caredio.settings import fill, names, view
from caredio.stages import Planning, planned
from caredio.synthesis import pipeline as synthesizing
from caredio.synthesis.pipeline import synthesize
from caredio.synthesis.settings import Settings as Synthesis
from caredio.training import preferences, views
from caredio.training.curve import Curves, Curving
from caredio.training.finetune import Estimate
from caredio.training.finetuning_settings import Settings as Finetuning
from caredio.training.job_record import Finetuned
from caredio.training.options import Budget, Curve, Train
from caredio.training.pipeline import Schedule, Trained, Training
from caredio.training.settings import Settings as Views
from caredio.training.tuning import Tuning

_RANKED = ("ranked", "scored", "vectors", "preference", "unpaired")


class Synthesizing:
    """A synthesis whose arguments are checked: its plan, or its run."""

    def __init__(
        self,
        cultures: Sequence[str] | None,
        topics: Sequence[str] | None,
        out: Path | str | None,
        cultures_file: Path | str | None,
        topics_file: Path | str | None,
        store: Path | str | None,
        endpoint: Endpoint | None,
        given: dict[str, Any],
    ) -> None:
        _check_paths(out=out, cultures_file=cultures_file, topics_file=topics_file, store=store)
        used = [name for stage in synthesizing.STAGES for name in stage.prompts]
        _check_prompts(given, out, [*prompt_files.SHARED, *used])
        self.settings, self.selection, self.spec, own_endpoint = fill([Synthesis, Selection, Spec, Endpoint], given)
        self.out, self.store, self.endpoint = out, store, _endpoint(endpoint, own_endpoint)
        self.files = {"cultures_file": cultures_file, "topics_file": topics_file, "store": store}
        self.known, self.known_topics = runs.known(out, cultures_file, topics_file)
        self.targets = yamlfile.pick(_listed(cultures, "cultures"), self.known, "culture")
        self.topics = yamlfile.pick(_listed(topics, "topics"), self.known_topics, "topic")
        planning = Planning(self.spec, self.settings, self.selection, self.targets, self.topics, self.known)
        self.steps, self.planning = planned(synthesizing.STAGES, planning)
        self.candidates = tuple(self.planning.rows["candidates"])
        preflight.writing(self.settings, self.selection, self.spec, self.endpoint, self.candidates)

    def plan(self, steps: Sequence[Step] = (), probed: bool = False) -> Plan:
        """Its plan.

        Args:
            steps: of what follows it.
            probed: as in `run`.
        """
        steps = [*self._probing(probed), *self.steps, *steps]
        return Plan(self.spec.model, tuple(steps), self.endpoint.batch, is_local(self.spec), self.candidates)

    def _probing(self, probed: bool) -> list[Step]:
        if not (probed or self.settings.reads_likelihood):
            return []
        return [probing(Conditioning(prompts=self.settings.prompts), self.spec)]

    def calls(self) -> dict[str, int]:
        """Those of each stage of its plan."""
        return self.plan().calls

    def run(self, run: Run, probed: bool = False) -> Dataset:
        """Its candidates.

        Args:
            probed: see first that the model returns log-probabilities, which what follows reads.
        """
        model = connect(self.spec, self.endpoint, self.store, self.settings.seed)
        run.charge(self.endpoint.budget)
        if probed or self.settings.reads_likelihood:
            likelihoods([probe(Conditioning(prompts=self.settings.prompts))], model, "log-probabilities")
        return synthesize(
            run,
            model,
            self.targets,
            self.topics,
            self.known,
            self.settings,
            self.selection,
            self.endpoint,
            self.known_topics,
        )

    def arguments(self) -> dict[str, Any]:
        """What it was given besides settings."""
        cultures, topics = [one.slug for one in self.targets], [one.topic_id for one in self.topics]
        return {"cultures": cultures, "topics": topics, **self.files}

    def rooms(self) -> list[Any]:
        """Its settings."""
        return [self.settings, self.selection, self.spec, self.endpoint]

    def result(self) -> Result:
        return _made("synthesize", self, ("candidates",))


class Selecting:
    """A selection whose arguments are checked: its plan, or its run."""

    def __init__(
        self,
        data: Table | None,
        out: Path | str | None,
        push: str | None,
        private: bool,
        store: Path | str | None,
        endpoint: Endpoint | None,
        given: dict[str, Any],
    ) -> None:
        _check_paths(out=out, store=store)
        _check_data(data, out)
        self.prompts = given.get("prompts")
        _check_prompts(given, out, ["views"] if push else [])
        everything = [Selection, Views, Release, Spec, Endpoint]
        self.settings, self.views, self.release, self.spec, own_endpoint = fill(everything, given)
        self.out, self.push, self.private, self.store = out, push, private, store
        self.data = data if isinstance(data, (str, Path)) else None
        self.endpoint = _endpoint(endpoint, own_endpoint)
        _described(self.settings, self.release, data is not None, push)
        _check_push(push, out, self.release)
        self.rows, self.record = _table(data, self.settings)
        preflight.served(self.endpoint, (self.settings.embedder,))
        preflight.ranking(self.settings, self.spec, self.endpoint)
        self.asks = self.settings.asks or self.settings.embedder.startswith(ENDPOINT)
        if self.settings.asks:
            _load_prompts([*prompt_files.SHARED, *SCORED.prompts], self.settings.prompts)
        if self.asks:
            candidates = _candidates(out, self.rows, self.settings)
            preflight.measuring(self.settings, match.expected(candidates))

    def plan(self, warn: bool = True) -> Plan:
        candidates = _candidates(self.out, self.rows, self.settings, warn)
        rows = {"candidates": match.expected(candidates)}
        planning = Planning(self.spec, Synthesis(), self.settings, rows=rows, candidates=candidates)
        steps, _ = planned(selecting.STAGES, planning)
        return Plan(self.spec.model, tuple(steps), self.endpoint.batch, is_local(self.spec))

    def calls(self) -> dict[str, int]:
        """Those of each stage of its plan."""
        return self.plan(warn=False).calls if self.asks else {}

    def run(self, run: Run) -> Dataset:
        ranked = _rank(run, self.settings, self.spec, self.endpoint, self.store, self.rows, self.record)
        views.write(run, ranked, self.views)
        return ranked

    def arguments(self) -> dict[str, Any]:
        """What it was given besides settings; a table in memory has no name to repeat it by."""
        return {"data": self.data, "store": self.store}

    def rooms(self) -> list[Any]:
        """Its settings."""
        return [self.settings, self.views, *([self.spec, self.endpoint] if self.asks else [])]

    def result(self) -> Result:
        made = _made("select", self, _RANKED, create=self.rows is not None)
        if self.push and made.path:
            options = _options(self.release)
            publish(made.path, push=self.push, private=self.private, prompts=self.prompts, given=options)
        return made


class Building:
    """A synthesis and a selection whose arguments are checked: their plan, or their run."""

    def __init__(
        self,
        cultures: Sequence[str] | None,
        topics: Sequence[str] | None,
        out: Path | str | None,
        cultures_file: Path | str | None,
        topics_file: Path | str | None,
        push: str | None,
        private: bool,
        store: Path | str | None,
        endpoint: Endpoint | None,
        given: dict[str, Any],
    ) -> None:
        self.out, self.push, self.private, self.prompts = out, push, private, given.get("prompts")
        everything = [Synthesis, Selection, Spec, Endpoint, Views, Release]
        _, self.settings, _, own_endpoint, self.views, self.release = fill(everything, given)
        _described(self.settings, self.release, table=False, push=push)
        self.endpoint = endpoint = _endpoint(endpoint, own_endpoint)
        writing = {name: given[name] for name in given if name in names([Synthesis, Selection, Spec])}
        self.writing = Synthesizing(cultures, topics, out, cultures_file, topics_file, store, endpoint, writing)
        self.settings = dataclasses.replace(self.settings, prompts=self.writing.settings.prompts)
        _load_prompts(["views"] if push else [], self.settings.prompts)
        preflight.ranking(self.settings, self.writing.spec, endpoint)
        if self.settings.asks:
            _load_prompts([*prompt_files.SHARED, *SCORED.prompts], self.settings.prompts)
        preflight.measuring(self.settings, self.writing.candidates)

    def plan(self) -> Plan:
        steps, _ = planned(selecting.STAGES, dataclasses.replace(self.writing.planning, selection=self.settings))
        return self.writing.plan(steps, self.settings.measures_likelihood)

    def calls(self) -> dict[str, int]:
        """Those of each stage of its plan."""
        return self.plan().calls

    def run(self, run: Run) -> Dataset:
        writing = self.writing
        writing.run(run, self.settings.measures_likelihood)
        ranked = _rank(run, self.settings, writing.spec, writing.endpoint, writing.store)
        views.write(run, ranked, self.views)
        return ranked

    def arguments(self) -> dict[str, Any]:
        """What it was given besides settings."""
        return self.writing.arguments()

    def rooms(self) -> list[Any]:
        """Its settings."""
        return [self.writing.settings, self.settings, self.views, self.writing.spec, self.writing.endpoint]

    def result(self) -> Result:
        preflight.building(self.settings, self.writing.spec, self.writing.endpoint, self.out)
        _check_push(self.push, self.out, self.release)
        made = _made("build", self, ("candidates", *_RANKED))
        if self.push and made.path:
            options = _options(self.release)
            publish(made.path, push=self.push, private=self.private, prompts=self.prompts, given=options)
        return made


def plan(verb: str, given: dict[str, Any]) -> Plan | Estimate | Schedule:
    """The plan of a verb with these arguments, by name.

    Raises:
        InputError: the verb neither asks a model nor trains one, or as the verb raises.
    """
    asking = {"synthesize": Synthesizing, "select": Selecting, "build": Building, "evaluate": Evaluating}
    prepare: Any = {**asking, "train": training, "curve": curving, "finetune": tuning}.get(verb)
    if prepare is None:
        raise InputError(
            "only synthesize, select, build and evaluate ask a model, and train, curve and finetune train one; plan"
            " takes one of them."
        )
    own = {name: given.pop(name) for name in inspect.signature(prepare).parameters if name != "given"}
    planned: Plan | Estimate | Schedule = prepare(**own, given=given).plan()
    return planned


def prefer(data: Table | None, out: Path | str | None, given: dict[str, Any]) -> Result:
    """As `api.prefer`."""
    _check_paths(out=out)
    if data is None:
        raise InputError("nothing to pair: give a table of rated responses.")
    chosen, reading = fill([Views, Selection], given)
    named = isinstance(data, (str, Path))
    rows, record = preferences.load(str(data) if named else data, reading)
    tables = ("preference", "unpaired")
    with _opened(out) as run:
        preferences.write(run, rows, record, chosen)
        if out is None:
            return Result({name: run.table(name) for name in tables}, run.report(), None)
        hashes = run.hashes()
    _repeatable("prefer", Path(out), {"data": data if named else None}, [chosen, reading])
    return Result(dict.fromkeys(tables), run.report(), Path(out), hashes)


def calibrate(
    data: Table | None, out: Path | str | None, endpoint: Endpoint | None, given: dict[str, Any]
) -> Calibration:
    """As `api.calibrate`."""
    _check_paths(out=out)
    _check_data(data, out)
    chosen, own_endpoint = fill([Selection, Endpoint], given)
    endpoint = _endpoint(endpoint, own_endpoint)
    rows, record = _table(data, chosen)
    if chosen.embedder.startswith(ENDPOINT):
        calibration.cultures(_candidates(out, rows, chosen))  # too few are known before vectors are paid for
    with _opened(out, create=rows is not None) as run:
        run.charge(endpoint.budget)
        candidates, vectors = candidates_and_vectors(
            run, chosen, rows, record, endpoint, engine.connect(chosen.engine), aside="calibration"
        )
        return calibration.run(candidates, vectors, view("calibrated", chosen))


class Evaluating:
    """An evaluation whose arguments are checked: its plan, or its run."""

    def __init__(
        self,
        cultures: Sequence[str] | None,
        out: Path | str | None,
        model: str,
        trained: Path | str | None,
        store: Path | str | None,
        endpoint: Endpoint | None,
        given: dict[str, Any],
    ) -> None:
        """As `api.evaluate`; nothing is written, and nobody asked."""
        # lm-eval's packages
        from caredio.evaluation import ledger

        _check_paths(out=out, trained=trained, store=store)
        _check_prompts(given, out, EVALUATION_PROMPTS)
        sampled = {"model": str(model), "temperature": 0.0, "top_p": None}
        self.chosen, self.spec, own_endpoint = fill([Evaluation, Spec, Endpoint], {**given, **sampled})
        self.endpoint = _endpoint(endpoint, own_endpoint)
        self.out, self.model, self.trained, self.store = out, model, trained, store
        self.behind_api = _behind_api(self.spec, self.endpoint, trained)
        if self.behind_api and trained:
            raise InputError(
                f"trained is given, and model {model!r} is behind an API, whose weights take no adapter; leave one out."
            )
        with _opened(out, create=out is None) as run:
            self.known = run.cultures()
            self.slugs, self.notes = ledger.cultures(run, self.known, _listed(cultures, "cultures"))
            self.past = ledger.past(run)
        yamlfile.pick(self.slugs, self.known, "culture")

    def plan(self) -> Plan:
        """What it will ask an API; weights of one's own are asked nothing that costs."""
        return self._generated().plan(self.past, self.endpoint.batch) if self.behind_api else Plan(self.spec.model, ())

    def result(self) -> Result:
        """Measure, and what was measured."""
        from caredio.evaluation import ledger  # lm-eval's packages

        asked = self._generated() if self.behind_api else self._by_likelihood()
        if self.behind_api:
            asked.through(connect(self.spec, self.endpoint, self.store))
        with _opened(self.out) as run:  # a folder that is not there is made once all of that is right
            if self.behind_api:
                run.charge(self.endpoint.budget)
            found = ledger.evaluate(run, asked)
        if self.out is not None:
            arguments = {"cultures": self.slugs, "model": self.model, "trained": self.trained, "store": self.store}
            rooms = [self.chosen, self.spec, self.endpoint] if self.behind_api else [self.chosen]
            _repeatable("evaluate", Path(self.out), arguments, rooms)
        return Result({"results": found}, run.report(), None if self.out is None else Path(self.out))

    def _generated(self) -> Any:
        from caredio.evaluation.generated import Generated  # lm-eval's packages

        return Generated(self.spec, self.slugs, self.chosen, self.known, self.notes, _spent(self.endpoint))

    def _by_likelihood(self) -> Any:
        # lm-eval, torch and peft
        from caredio.evaluation import results, systems
        from caredio.llm.local import model_path

        systems.installed()
        base = str(model_path()) if self.model == LOCAL_MODEL else self.model
        arms = [systems.System("raw", base), systems.System("role-play", base, role_play=True)]
        if self.trained:
            arms.append(systems.trained(Path(self.trained), base, self.slugs))
        return results.Evaluation(arms, self.slugs, self.chosen, self.known, self.notes)


def _behind_api(spec: Spec, endpoint: Endpoint, trained: Path | str | None) -> bool:
    """Whether a model to evaluate is behind an API, not weights that can be loaded.

    An address in the environment, which is there for other commands too, makes no folder of weights and no base of
    trained ones a model behind an API.

    Raises:
        InputError: an address is given, and no model that it serves.
    """
    if is_local(spec):
        if endpoint.base_url:
            raise InputError(f"base_url is given, but no model; name the model that {endpoint.base_url} serves.")
        return False
    if spec.model.startswith("ft:") or spec.provider != "openai" or endpoint.base_url:
        return True
    return bool(os.environ.get("OPENAI_BASE_URL", "").strip()) and not trained and not Path(spec.model).exists()


def training(
    data: Path | str | Result, cultures: Sequence[str] | None, out: Path | str | None, given: dict[str, Any]
) -> Training:
    """The training of `api.train`, checked."""
    _check_paths(data=_folder(data), out=out)
    messages.begin()
    with progress.only_own_bars():
        return Training(_folder(data), _listed(cultures, "cultures"), out, *fill([Train, Budget], given))


def train(
    data: Path | str | Result, cultures: Sequence[str] | None, out: Path | str | None, given: dict[str, Any]
) -> Trained:
    """As `api.train`."""
    prepared = training(data, cultures, out, given)
    with progress.only_own_bars():
        made = prepared.result()
    arguments = {"data": _folder(data), "cultures": list(made.records)}
    _repeatable("train", made.path, arguments, fill([Train, Budget], given))
    return made


def curving(
    data: Path | str | Result,
    cultures: Sequence[str] | None,
    out: Path | str | None,
    budgets: Sequence[int],
    rankings: Sequence[str],
    given: dict[str, Any],
) -> Curving:
    """The curves of `api.curve`, checked."""
    _check_paths(data=_folder(data), out=out)
    names = _listed(rankings, "rankings") or []
    messages.begin()
    with progress.only_own_bars():
        train, own = fill([Train, Curve], given)
        return Curving(_folder(data), _listed(cultures, "cultures"), out, budgets, names, train, own)


def curve(
    data: Path | str | Result,
    cultures: Sequence[str] | None,
    out: Path | str | None,
    budgets: Sequence[int],
    rankings: Sequence[str],
    given: dict[str, Any],
) -> Curves:
    """As `api.curve`."""
    prepared = curving(data, cultures, out, budgets, rankings, given)
    with progress.only_own_bars():
        made = prepared.result()
    arguments: dict[str, Any] = {"data": _folder(data), "cultures": list(prepared.pools)}
    arguments |= {"budgets": prepared.budgets, "rankings": list(rankings)}
    _repeatable("curve", made.path, arguments, fill([Train, Curve], given))
    return made


def tuning(
    data: Path | str | Result,
    culture: str,
    model: str,
    out: Path | str | None,
    export_only: bool,
    yes: bool,
    cancel: bool,
    endpoint: Endpoint | None,
    given: dict[str, Any],
) -> Tuning:
    """The fine-tuning of `api.finetune`, checked."""
    _check_paths(data=_folder(data), out=out, culture=culture)
    settings, spec, own_endpoint, releasing = fill([Finetuning, Spec, Endpoint, Release], {**given, "model": model})
    reached = _endpoint(endpoint, own_endpoint)
    with progress.only_own_bars():
        return Tuning(Path(_folder(data)), culture, out, settings, spec, reached, releasing, export_only, yes, cancel)


def finetune(
    data: Path | str | Result,
    culture: str,
    model: str,
    out: Path | str | None,
    export_only: bool,
    yes: bool,
    cancel: bool,
    endpoint: Endpoint | None,
    given: dict[str, Any],
) -> Finetuned:
    """As `api.finetune`."""
    messages.begin()
    prepared = tuning(data, culture, model, out, export_only, yes, cancel, endpoint, given)
    try:
        return prepared.result()
    finally:
        if prepared.folder.is_dir() and not cancel:
            rooms = [prepared.settings, prepared.spec, prepared.endpoint, prepared.release]
            _repeatable("finetune", prepared.folder, {"data": prepared.data, "culture": culture, "model": model}, rooms)


def publish(
    out: Path | str | Result,
    to: Path | str | None = None,
    model: Path | str | None = None,
    push: str | None = None,
    private: bool = False,
    cultures_file: Path | str | None = None,
    prompts: str | None = None,
    given: dict[str, Any] | None = None,
) -> Path:
    """As `api.publish`."""
    if not isinstance(out, (str, Path, Result)):
        raise InputError(f"out is {out!r}; give a run folder, or the result of a verb that wrote one.")
    if isinstance(out, Result):
        out = _published(out)
    _check_paths(to=to, model=model, cultures_file=cultures_file, prompts=prompts)
    (chosen,) = fill([Release], given or {})
    trained = Path(model) if model else None
    if trained and prompts:
        raise InputError("prompts are given beside model, whose release holds no text of theirs; leave them out.")
    found = {"prompts": prompts}
    _check_prompts(found, out, [] if trained else ["views"])
    folder = Path(to) if to else Path(out) / (f"release-{trained.name}" if trained else "release")
    name = push or folder.as_posix()
    with _opened(out, create=False) as run:
        if trained:
            measured = run.table("results") if "results" in run.stages else None
            release.model(trained, folder, chosen, measured, name)
        else:
            for stage in ("ranked", "scored", "vectors", "preference"):
                run.check(stage)  # before the folder of a release is made
            release.dataset(run, folder, chosen, run.cultures(cultures_file), name, found["prompts"])
    if push:
        hub.push(folder, push, "model" if trained else "dataset", private)
    return folder


def _rank(
    run: Run,
    settings: Selection,
    spec: Spec,
    endpoint: Endpoint,
    store: Path | str | None,
    rows: Dataset | None = None,
    record: dict[str, Any] | None = None,
) -> Dataset:
    model = connect(spec, endpoint, store, settings.seed) if settings.asks else None
    run.charge(endpoint.budget)
    return select(run, settings, rows, record, model, endpoint)


def _made(
    verb: str, prepared: Synthesizing | Selecting | Building, tables: Sequence[str], create: bool = True
) -> Result:
    """The result of a verb: of a run folder it reads the tables when they are asked for, else it holds them."""
    out = prepared.out
    with progress.command(verb, prepared.calls, _spent(prepared.endpoint)), _opened(out, create) as run:
        prepared.run(run)
        if out is None:
            return Result({name: run.table(name) for name in tables}, run.report(), None)
        hashes = run.hashes()
    _repeatable(verb, Path(out), prepared.arguments(), prepared.rooms())
    return Result(dict.fromkeys(tables), run.report(), Path(out), hashes)


def _spent(endpoint: Endpoint) -> Callable[[], str]:
    """What is spent through an Endpoint from now on, in words: dollars, or tokens where no price is known."""
    tokens_before, dollars_before = endpoint.budget.total()

    def spent() -> str:
        tokens, dollars = endpoint.budget.total()
        if dollars is not None and dollars_before is not None and tokens > tokens_before:
            return f"${dollars - dollars_before:,.4f}"
        return f"{tokens - tokens_before:,} tokens" if tokens > tokens_before else ""

    return spent


def _repeatable(verb: str, out: Path, arguments: dict[str, Any], rooms: Sequence[Any]) -> None:
    """Write the YAML that repeats a verb into its run folder."""
    taken = {one.name for _, one in settings_of(verb)}
    values = {
        field.name: getattr(room, field.name)
        for room in rooms
        for field in dataclasses.fields(room)
        if field.name in taken and (getattr(room, field.name), field.default) != (None, None)
    }
    # relative to the file, so that a folder that is moved keeps its prompts
    pinned = {"prompts": runs.PROMPTS} if (out / runs.PROMPTS).is_dir() else {}
    named = {name: value for name, value in arguments.items() if value is not None}
    configuration.write(out, verb, {**named, **values, **pinned, "out": out})


def _endpoint(given: Endpoint | None, settings: Endpoint) -> Endpoint:
    """The Endpoint that was given, or that of the settings.

    Raises:
        InputError: there are both.
    """
    if given is None:
        return settings
    if not isinstance(given, Endpoint):
        raise InputError(f"endpoint is {given!r}; give an Endpoint, or the address alone as base_url.")
    own = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    if both := [name for name, value in own.items() if value != getattr(type(settings), name)]:
        raise InputError(f"{', '.join(both)} is given beside endpoint, which holds it; give it to the Endpoint.")
    return given


@contextlib.contextmanager
def _opened(out: Path | str | None, create: bool = True) -> Iterator[Run]:
    """The run in a folder, or in one that is gone after the block."""
    messages.begin()
    with progress.only_own_bars():
        if out is not None:
            with Run(out, create) as run:
                yield run
        else:
            with tempfile.TemporaryDirectory(prefix="caredio-") as folder, Run(folder) as run:
                yield run


def _table(data: Table | None, settings: Selection) -> tuple[Dataset | None, dict[str, Any] | None]:
    """The rows of a table of one's own, and their record; None where there is none."""
    if data is None:
        return None, None
    if isinstance(data, Result):
        data = data.candidates
    return source.run(str(data) if isinstance(data, (str, Path)) else data, settings)


def _candidates(out: Path | str | None, table: Dataset | None, settings: Selection, warn: bool = False) -> Dataset:
    """What `select` ranks: the run's candidates, or those of a table of one's own; nothing is written.

    Args:
        warn: log what the table's own stage would.
    """
    if table is not None:
        return features.kept(match.run(table, settings, warn))
    with _opened(out, create=False) as run:
        return run.table("candidates")


def _described(reading: Selection, releasing: Release, table: bool, push: str | None) -> None:
    """See that a table or a release that settings describe is there.

    Raises:
        InputError: it is not.
    """
    if not table and source.described(reading):
        raise InputError("a table's columns and splits are given, but no table; name the file or the Hub dataset.")
    if not push and releasing != Release():
        raise InputError("a release is described, but push names no repository (owner/name) to publish it to.")


def _folder(data: Path | str | Result) -> Path | str:
    """What a verb reads that takes a folder, or the result of a verb that wrote one."""
    return _published(data) if isinstance(data, Result) else data


def _published(result: Result) -> Path:
    """The folder of a result whose tables still stand there.

    Raises:
        InputError: it is in memory, or another command wrote them anew.
    """
    if result.path is None:
        raise InputError("this result is in memory; give the verb that made it a run folder with out=, to publish.")
    result.ranked  # noqa: B018 (which looks)
    return result.path


def _check_prompts(given: dict[str, Any], out: Path | str | None, used: Iterable[str]) -> None:
    """See that the prompts that were given and those of the run that are `used` fit; `given` then names all folders.

    Raises:
        InputError: one does not.
    """
    prompt_files.check(given.get("prompts"))
    given["prompts"] = runs.prompt_folders(out, given.get("prompts"))
    _load_prompts(used, given["prompts"])


def _load_prompts(names: Iterable[str], folders: str | None) -> None:
    for name in names:
        prompt_files.load(name, folders)


def _check_data(data: Table | None, out: Path | str | None) -> None:
    """See that there is something to rank.

    Raises:
        InputError: there is neither a table nor a run.
    """
    if data is None and out is None:
        raise InputError("nothing to rank: give a table, or with out= the run folder that holds candidates.")


def _check_push(push: str | None, out: Path | str | None, releasing: Release) -> None:
    """See that a release can be pushed, before what it holds is made. Raises as `preflight.pushing`, or InputError."""
    if push and out is None:
        raise InputError("push needs a run folder, as the release is written there first; give out=.")
    if push and out is not None:
        preflight.pushing(push, Path(out) / "release", releasing.version)


def _check_paths(**paths: object) -> None:
    """See that what is to name a file or folder does.

    Raises:
        InputError: something is neither text nor a path.
    """
    for name, value in paths.items():
        if value is not None and not isinstance(value, (str, Path)):
            raise InputError(f"{name} is {value!r}; give a path.")


def _listed(value: Sequence[str] | None, what: str) -> list[str] | None:
    if isinstance(value, str):
        raise InputError(f"{what} is {value!r}, one text; give a list of names, such as [{value!r}].")
    if value is not None and not isinstance(value, Sequence):
        raise InputError(f"{what} is {value!r}; give a list of names.")
    return None if value is None else list(value)


def _options(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
