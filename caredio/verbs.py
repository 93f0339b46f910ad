"""What the command line does, as Python functions with the same names and settings.

Settings are the fields of the stages' Configs, of `Spec` and of `Endpoint`: `per_topic=3`, `model="gpt-4.1-mini"`,
`budget=200`; `caredio build --help` lists them. A name that several stages share sets all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from caredio.errors import InputError
from caredio.llm.spec import EMBEDDED

if TYPE_CHECKING:
    from datasets import Dataset

    from caredio.llm.client import Endpoint
    from caredio.llm.plan import Plan
    from caredio.runs import Run
    from caredio.selection import match
    from caredio.selection.calibrate import Calibration


def synthesize(
    out: Path | str | Run,
    cultures: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    *,
    cultures_file: Path | str | None = None,
    topics_file: Path | str | None = None,
    store: Path | str | None = None,
    dry_run: bool = False,
    endpoint: Endpoint | None = None,
    **settings: Any,
) -> Dataset | Plan:
    """Write candidates for `cultures` on `topics` (all when None) into the run folder `out`.

    Args:
        out: the folder, or one that is open.
        cultures, topics: slugs and topic ids.
        cultures_file, topics_file: YAML whose entries add to or override the shipped ones; by default those that the
            run was built with, if it was built before.
        store: file of stored answers; by default one for all runs of this user.
        dry_run: return the plan of calls, tokens and cost instead, and spend nothing.
        endpoint: how to reach models, in place of its settings; what is given one object shares its limits.

    Returns:
        `features.CANDIDATES`, or the plan.

    Raises:
        CaredioError: one sentence on what to mend. What arrived before is stored; call again to go on.
    """
    from caredio import preflight, runs, synthesis, yamlfile
    from caredio.llm.client import Endpoint
    from caredio.llm.model import connect
    from caredio.llm.spec import Spec
    from caredio.synthesis.plan import plan

    config, spec, reached = fill([synthesis.Config, Spec, Endpoint], settings)
    endpoint = _endpoint(endpoint, reached)
    known, known_topics = runs.known(_path(out), cultures_file, topics_file)
    targets = yamlfile.pick(cultures, known, "culture")
    asked = yamlfile.pick(topics, known_topics, "topic")
    planned = plan(targets, asked, known, config, spec, endpoint.batch)
    preflight.writing(config, spec, endpoint, planned.candidates)
    if dry_run:
        return planned
    model = connect(spec, endpoint, store, config.questions.seed)
    with _opened(out) as run:
        run.charge(endpoint.budget)
        return synthesis.synthesize(run, model, targets, asked, known, config, endpoint, known_topics)


def select(
    out: Path | str | Run,
    table: Path | str | None = None,
    *,
    push: str = "",
    private: bool = False,
    store: Path | str | None = None,
    dry_run: bool = False,
    endpoint: Endpoint | None = None,
    **settings: Any,
) -> Dataset | Plan:
    """Rank the candidates of the run folder `out`, or the rows of a table of one's own, within each culture.

    Args:
        out: the folder, or one that is open.
        table: parquet, csv, json or jsonl file, or `owner/name` of a dataset on the Hub, with a question, a response
            and a culture in each row.
        push: `owner/name` on the Hub, to `publish` the ranked split there; empty does not.
        private: visibility of a repository this creates.
        store: file of stored answers, for scores that ask a model; by default one for all runs of this user.
        dry_run: return the plan of the calls that scores make of a model instead, and spend nothing.
        endpoint: as `synthesize` takes it.

    Returns:
        `features.RANKED`, or the plan. `out` holds it as `ranked/`, and the preference pairs as `preference/`, one
        config a culture.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio import preflight, selection
    from caredio.llm.client import Endpoint
    from caredio.llm.model import connect
    from caredio.llm.plan import Plan, is_local
    from caredio.llm.spec import Spec
    from caredio.publishing import release
    from caredio.selection import embed, engine, source
    from caredio.selection import plan as plans
    from caredio.training import views

    reading, config, releasing, spec, reached, where = fill(
        [source.Config, selection.Config, release.Config, Spec, Endpoint, engine.Config], settings
    )
    endpoint = _endpoint(endpoint, reached)
    _described(reading, releasing, table is not None, push)
    if push:
        preflight.pushing(push, _path(out) / "release", releasing.version)
    rows, record = source.run(str(table), reading) if table else (None, None)
    if dry_run or config.asks or config.embed.embedder.startswith(embed.ENDPOINT):
        candidates = _candidates(out, rows, config.match, warn=dry_run)
        preflight.ranking(config, spec, endpoint, plans.pool(candidates))
        if dry_run:
            return Plan(spec.model, plans.steps(candidates, config, spec), endpoint.batch, is_local(spec))
    model = connect(spec, endpoint, store, config.match.seed) if config.asks else None
    with _opened(out, create=rows is not None) as run:
        run.charge(endpoint.budget)
        ranked = selection.select(run, config, rows, record, model, endpoint, where)
        run.stage("preference", lambda: views.preference(ranked), after=["ranked"], code=[views], split_by="culture")
    if push:
        publish(_path(out), push=push, private=private, **dataclasses.asdict(releasing))
    return ranked


def _endpoint(given: Endpoint | None, settings: Endpoint) -> Endpoint:
    """The Endpoint that was given, or that of the settings.

    Raises:
        InputError: there are both.
    """
    if given is None:
        return settings
    own = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    if both := [name for name, value in own.items() if value != getattr(type(settings), name)]:
        raise InputError(f"{', '.join(both)} is given beside endpoint, which holds it; give it to the Endpoint.")
    return given


def _path(out: Path | str | Run) -> Path:
    return Path(out) if isinstance(out, (Path, str)) else out.path


def _opened(out: Path | str | Run, create: bool = True) -> contextlib.AbstractContextManager[Run]:
    """The run in a folder until the block ends, or one that whoever opened it will close."""
    from caredio.runs import Run

    return Run(out, create) if isinstance(out, (Path, str)) else contextlib.nullcontext(out)


def _candidates(out: Path | str | Run, table: Dataset | None, matching: match.Config, warn: bool = False) -> Dataset:
    """What `select` ranks: the run's candidates, or those of a table of one's own; nothing is written.

    Args:
        warn: log what the table's own stage would.
    """
    from caredio import features
    from caredio.selection import match

    if table is not None:
        return features.kept(match.run(table, matching, warn))
    with _opened(out, create=False) as run:
        return run.table("candidates")


def calibrate(
    out: Path | str, table: Path | str | None = None, *, endpoint: Endpoint | None = None, **settings: Any
) -> Calibration:
    """Find the theta that fits an embedder, on the candidates of the run folder `out` or a table of one's own.

    No table of the run is replaced: vectors of another embedder are written to `out/calibration-vectors`.

    Args:
        table: as `select` takes it.
        endpoint: as `synthesize` takes it.

    Returns:
        What clusters look like at each theta; `str` of it is a table, and its `theta` the one to give `select`.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio import selection
    from caredio.llm.client import Endpoint
    from caredio.runs import Run
    from caredio.selection import calibrate, embed, engine, match, source

    configs = [source.Config, match.Config, embed.Config, calibrate.Config, Endpoint, engine.Config]
    reading, matching, embedding, config, reached, where = fill(configs, settings)
    endpoint = _endpoint(endpoint, reached)
    rows, record = source.run(str(table), reading) if table else (None, None)
    if embedding.embedder.startswith(embed.ENDPOINT):
        calibrate.cultures(_candidates(out, rows, matching))  # too few are known before vectors are paid for
    with Run(out, create=rows is not None) as run:
        run.charge(endpoint.budget)
        on = engine.connect(where)
        candidates, vectors = selection.embedded(
            run, matching, embedding, rows, record, endpoint, on, aside="calibration"
        )
        return calibrate.run(candidates, vectors, config, embedding.embedder)


def build(
    out: Path | str,
    cultures: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    *,
    cultures_file: Path | str | None = None,
    topics_file: Path | str | None = None,
    push: str = "",
    private: bool = False,
    store: Path | str | None = None,
    dry_run: bool = False,
    endpoint: Endpoint | None = None,
    **settings: Any,
) -> Dataset | Plan:
    """`synthesize`, then `select`, in one run folder; takes what both take. Limits are for both together.

    Where it fails, tables that the run held before stay as they were.
    """
    from caredio import preflight, selection, synthesis
    from caredio.llm.client import Endpoint
    from caredio.llm.spec import Spec
    from caredio.publishing import release
    from caredio.selection import engine, source
    from caredio.selection.plan import expected

    everything = [synthesis.Config, selection.Config, engine.Config, Spec, Endpoint, source.Config, release.Config]
    _check_names(everything, settings)
    settings, releasing = _releasing(settings, push)
    scoring, files = [selection.Config, engine.Config], {"cultures_file": cultures_file, "topics_file": topics_file}
    config, where, spec, reached = fill([*scoring, Spec, Endpoint], _of([*scoring, Spec, Endpoint], settings))
    endpoint = _endpoint(endpoint, reached)
    ranking = _of([*scoring, Spec], settings)
    writing = {name: settings[name] for name in settings if name not in _of([*scoring, Endpoint], settings)}
    writing |= {**_of([synthesis.Config, Spec], settings), **files, "store": store, "endpoint": endpoint}
    planned: Any = synthesize(out, cultures, topics, dry_run=True, **writing)
    preflight.ranking(config, spec, endpoint, planned.candidates)
    if dry_run:
        steps = (*planned.steps, *expected(planned.candidates, config, spec))
        return dataclasses.replace(planned, steps=steps)
    preflight.building(config, spec, endpoint, where, Path(out))
    if push:
        preflight.pushing(push, Path(out) / "release", fill([release.Config], releasing)[0].version)
    with _opened(out) as run:
        synthesize(run, cultures, topics, **writing)
        ranked = select(run, store=store, endpoint=endpoint, **ranking)
    if push:
        publish(out, push=push, private=private, **releasing)
    return ranked


def _releasing(settings: dict[str, Any], push: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `build` apart from a table's and a release's, and those of the release.

    Raises:
        InputError: a table or a release is described, and there is none.
    """
    from caredio.publishing import release
    from caredio.selection import source

    reading = _of([source.Config], settings)
    found = _of([release.Config], settings)
    own, releasing = fill([source.Config, release.Config], {**reading, **found})
    _described(own, releasing, table=False, push=push)
    return {name: settings[name] for name in settings.keys() - reading.keys() - found.keys()}, found


def _described(reading: Any, releasing: Any, table: bool, push: str) -> None:
    """See that a table or a release that settings describe is there.

    Raises:
        InputError: it is not.
    """
    if not table and reading != type(reading)():
        raise InputError("a table's columns and splits are told, but no table; name the file or the Hub dataset.")
    if not push and releasing != type(releasing)():
        raise InputError("a release is described, but it is published with --push owner/name only.")


def evaluate(
    out: Path | str,
    cultures: Sequence[str] | None = None,
    *,
    model: str = EMBEDDED,
    trained: Path | str | None = None,
    **settings: Any,
) -> Dataset:
    """Measure a model on CulturalBench: as it is, told to play the part, and trained.

    What the run's results hold of the same weights, questions and settings is not measured again; the rest is added.

    Args:
        out: run folder; `results/` is written there, and the cultures of its ranked split are the default.
        cultures: slugs.
        model: base model, by name or folder.
        trained: what the recipes made: a model or an adapter, or a folder of one a culture (`trained/china/`).

    Returns:
        `features.RESULTS` of these; `evaluation.results.told(table)` makes it readable.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio import yamlfile
    from caredio.evaluation import ledger, results, systems
    from caredio.llm.local import model_path
    from caredio.runs import Run

    (config,) = fill([results.Config], settings)
    systems.installed()
    with Run(out, create=False) as run:
        known = run.cultures()
        slugs, notes = ledger.cultures(run, known, cultures)
    yamlfile.pick(slugs, known, "culture")
    base = str(model_path()) if model == EMBEDDED else model
    arms = [systems.System("raw", base), systems.System("role-play", base, role_play=True)]
    if trained:
        arms.append(systems.trained(Path(trained), base, slugs))
    asked = results.Evaluation(arms, slugs, config, known, notes)
    with Run(out) as run:  # a folder that is not there is made once all of that is right
        return ledger.evaluate(run, asked)


def publish(
    out: Path | str,
    *,
    to: Path | str | None = None,
    model: Path | str | None = None,
    push: str = "",
    private: bool = False,
    cultures_file: Path | str | None = None,
    **settings: Any,
) -> Path:
    """Release the ranked split of the run folder `out`, or a model trained on it, to a folder and to the Hub.

    Args:
        to: folder of the release; by default `out/release`, or `out/release-<model's folder>`. The same tree as on the
            Hub: `load_dataset(to, "china")` and `from_pretrained(to)` read it.
        model: folder a recipe wrote; None releases the dataset.
        push: `owner/name` on the Hub; empty writes the folder only.
        private: visibility of a repository this creates.
        cultures_file: YAML of cultures that the run was not built with, as those of a table.

    Returns:
        The folder of the release.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.publishing import hub, release
    from caredio.runs import Run

    (config,) = fill([release.Config], settings)
    trained = Path(model) if model else None
    folder = Path(to) if to else Path(out) / (f"release-{trained.name}" if trained else "release")
    name = push or folder.as_posix()
    with Run(out, create=False) as run:
        if trained:
            results = run.table("results") if "results" in run.stages else None
            release.model(trained, folder, config, results, name)
        else:
            for stage in ("ranked", "scored", "vectors"):
                run.check(stage)  # before the folder of a release is made
            release.dataset(run, folder, config, run.cultures(cultures_file), name)
    if push:
        hub.push(folder, push, "model" if trained else "dataset", private)
    return folder


def fields(config: Any) -> list[tuple[str, type, dataclasses.Field[Any]]]:
    """(name, type, field) of a Config class, those of the Configs it bundles included."""
    types: dict[str, Any] = get_type_hints(config)
    found: list[tuple[str, type, dataclasses.Field[Any]]] = []
    for field in dataclasses.fields(config):
        kind = types[field.name]
        found += fields(kind) if dataclasses.is_dataclass(kind) else [(field.name, kind, field)]
    return found


def fill(configs: Sequence[type], settings: dict[str, Any]) -> list[Any]:
    """Each of `configs` from the settings that bear its fields' names.

    Raises:
        TypeError: a setting is none of theirs.
    """
    _check_names(configs, settings)
    return [_filled(config, settings) for config in configs]


def _check_names(configs: Sequence[type], settings: dict[str, Any]) -> None:
    if unknown := sorted(set(settings) - set(_of(configs, settings))):
        known = {name for config in configs for name, _, _ in fields(config)}
        raise TypeError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _filled(config: type, settings: dict[str, Any]) -> Any:
    types = get_type_hints(config)
    values = {}
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(types[field.name]):
            values[field.name] = _filled(types[field.name], settings)
        elif field.name in settings:
            values[field.name] = settings[field.name]
    return config(**values)


def _of(configs: Sequence[type], settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that bear the names of the Configs' fields."""
    names = {name for config in configs for name, _, _ in fields(config)}
    return {name: value for name, value in settings.items() if name in names}
