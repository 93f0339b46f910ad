"""What the command line does, as Python functions with the same names and settings.

Settings are the fields of the stages' Configs, of `Spec` and of `Endpoint`: `per_topic=3`, `model="gpt-4.1-mini"`,
`budget=200`; `caredio build --help` lists them. A name that several stages share sets all of them.
"""

from __future__ import annotations

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
    from caredio.selection.calibrate import Calibration


def synthesize(
    out: Path | str,
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
        cultures, topics: slugs and topic ids.
        cultures_file, topics_file: YAML whose entries add to or override the shipped ones.
        store: file of stored answers; by default one for all runs of this user.
        dry_run: return the plan of calls, tokens and cost instead, and spend nothing.
        endpoint: how to reach models, in place of its settings; what is given one object shares its limits.

    Returns:
        `features.CANDIDATES`, or the plan.

    Raises:
        CaredioError: one sentence on what to mend. What arrived before is stored; call again to go on.
    """
    from caredio import cultures as culture_files
    from caredio import synthesis, yamlfile
    from caredio import topics as topic_files
    from caredio.llm.client import Endpoint
    from caredio.llm.model import connect
    from caredio.llm.spec import Spec
    from caredio.runs import Run
    from caredio.synthesis.plan import plan

    config, spec, reached = fill([synthesis.Config, Spec, Endpoint], settings)
    endpoint = endpoint or reached
    known = culture_files.load(cultures_file)
    targets = yamlfile.pick(cultures, known, "culture")
    asked = yamlfile.pick(topics, topic_files.load(topics_file), "topic")
    if dry_run:
        return plan(targets, asked, known, config, spec, endpoint.batch)
    model = connect(spec, endpoint, store)
    with Run(out) as run:
        return synthesis.synthesize(run, model, targets, asked, known, config, endpoint)


def select(
    out: Path | str,
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
    from caredio import selection
    from caredio.llm.client import Endpoint
    from caredio.llm.model import connect
    from caredio.llm.spec import Spec
    from caredio.publishing import release
    from caredio.runs import Run
    from caredio.selection import engine, source
    from caredio.training import views

    reading, config, releasing, spec, reached, where = fill(
        [source.Config, selection.Config, release.Config, Spec, Endpoint, engine.Config], settings
    )
    endpoint = endpoint or reached
    if table is None and reading != source.Config():
        raise InputError("a table's columns and splits are told, but no table; name the file or the Hub dataset.")
    if not push and releasing != release.Config():
        raise InputError("a release is described, but select publishes with --push owner/name only.")
    rows, record = source.run(str(table), reading) if table else (None, None)
    if dry_run:
        return _scoring(out, rows, config, spec, endpoint)
    model = connect(spec, endpoint, store) if config.asks else None
    with Run(out) as run:
        ranked = selection.select(run, config, rows, record, model, endpoint, where)
        run.stage("preference", lambda: views.preference(ranked), after=["ranked"], split_by="culture")
    if push:
        publish(out, push=push, private=private, **dataclasses.asdict(releasing))
    return ranked


def _scoring(out: Path | str, table: Dataset | None, config: Any, spec: Any, endpoint: Any) -> Plan:
    """The plan of `select`; nothing is written."""
    from caredio import features
    from caredio.llm.plan import Plan
    from caredio.runs import Run
    from caredio.selection import match
    from caredio.selection.plan import steps

    if table is None:
        with Run(out) as run:
            candidates = run.table("candidates")
    else:
        candidates = features.kept(match.run(table, config.match))
    count = max(1, len(candidates))
    question, answer = (sum(map(len, candidates[name][:])) // count for name in ("question", "response"))
    others = 0 if table is not None else sum(map(len, (*candidates["others"], *candidates["panel"])))
    planned = steps(len(candidates), len(set(candidates["culture"])), config, others, question, answer)
    return Plan(spec.model, planned, endpoint.batch)


def calibrate(out: Path | str, table: Path | str | None = None, **settings: Any) -> Calibration:
    """Find the theta that fits an embedder, on the candidates of the run folder `out` or a table of one's own.

    Args:
        table: as `select` takes it.

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
    reading, matching, embedding, config, endpoint, where = fill(configs, settings)
    rows, record = source.run(str(table), reading) if table else (None, None)
    with Run(out) as run:
        on = engine.connect(where)
        candidates, vectors = selection.embedded(run, matching, embedding, rows, record, endpoint, on)
    return calibrate.run(candidates, vectors, config, embedding.embedder)


def build(
    out: Path | str,
    cultures: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    *,
    store: Path | str | None = None,
    dry_run: bool = False,
    **settings: Any,
) -> Dataset | Plan:
    """`synthesize`, then `select`, in one run folder; takes what both take. Limits are for both together."""
    from caredio import cultures as culture_files
    from caredio import selection, synthesis
    from caredio.llm.client import Endpoint
    from caredio.llm.plan import Plan
    from caredio.llm.spec import Spec
    from caredio.selection import embed, engine
    from caredio.selection.plan import steps

    scoring = [selection.Config, engine.Config]
    config, *_, endpoint = fill([*scoring, Spec, Endpoint], _of([*scoring, Spec, Endpoint], settings))
    if not dry_run:
        embed.encoder(config.embed, endpoint)  # what cannot be is told before anything is spent
    ranking = _of([*scoring, Spec], settings)
    writing = {name: settings[name] for name in settings if name not in _of([*scoring, Endpoint], settings)}
    writing |= _of([synthesis.Config, Spec], settings)
    written = synthesize(out, cultures, topics, store=store, dry_run=dry_run, endpoint=endpoint, **writing)
    if isinstance(written, Plan):
        rows, others = (
            next(step.calls for step in written.steps if step.stage == stage)
            for stage in ("adapted", "isolated answers")
        )
        many = len(cultures) if cultures else len(culture_files.load(settings.get("cultures_file")))
        return dataclasses.replace(written, steps=(*written.steps, *steps(rows, many, config, others)))
    return select(out, store=store, endpoint=endpoint, **ranking)


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
    from caredio import cultures as culture_files
    from caredio.evaluation import ledger, results, systems
    from caredio.llm.local import model_path
    from caredio.runs import Run

    (config,) = fill([results.Config], settings)
    systems.installed()
    with Run(out) as run:
        slugs, notes = ledger.cultures(run, cultures)
        base = str(model_path()) if model == EMBEDDED else model
        arms = [systems.System("raw", base), systems.System("role-play", base, role_play=True)]
        if trained:
            arms.append(systems.trained(Path(trained), base, slugs or list(culture_files.load())))
        return ledger.evaluate(run, arms, slugs, config, notes)


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
        cultures_file: the YAML that the run was built with.

    Returns:
        The folder of the release.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio import cultures as culture_files
    from caredio.publishing import hub, release
    from caredio.runs import Run

    (config,) = fill([release.Config], settings)
    trained = Path(model) if model else None
    folder = Path(to) if to else Path(out) / (f"release-{trained.name}" if trained else "release")
    name = push or folder.as_posix()
    with Run(out) as run:
        if trained:
            results = run.table("results") if "results" in run.stages else None
            release.model(trained, folder, config, results, name)
        else:
            release.dataset(run, folder, config, culture_files.load(cultures_file), name)
    if push:
        hub.push(folder, push, "model" if trained else "dataset", private)
    return folder


def quickstart(out: Path | str = "runs/quickstart", *, push: str = "", version: str = "v0.1.0") -> Path:
    """Build, train, evaluate and publish three cultures with the embedded models, in minutes and without a key.

    Args:
        out: run folder; what is finished there is not done again.
        push: `owner/name` on the Hub, if it is to go there too.
        version: tag of the release.

    Returns:
        The folder of the dataset's release.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio import walkthrough

    return walkthrough.run(Path(out), version, push)


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
    if unknown := sorted(set(settings) - set(_of(configs, settings))):
        known = {name for config in configs for name, _, _ in fields(config)}
        raise TypeError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return [_filled(config, settings) for config in configs]


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
