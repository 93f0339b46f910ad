"""The verbs in Python: what the command line does, with the same names and settings.

A table in, a `Result` out. With `out` the tables are kept in a run folder, where what is finished is not done again;
without it they are in memory, and only the answers of models are stored.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypedDict, TypeVar, Unpack, overload

from caredio.errors import InputError
from caredio.evaluation.judging_settings import Options as JudgingOptions
from caredio.evaluation.judging_settings import Settings as Judging
from caredio.evaluation.settings import Options as EvaluationOptions
from caredio.evaluation.settings import Settings as Evaluation
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.publishing.settings import Options as ReleaseOptions
from caredio.publishing.settings import Settings as Release
from caredio.selection.settings import Calibrating, Objective, Ranking, Reading
from caredio.selection.settings import Settings as Selection
from caredio.settings import check_names, documented
from caredio.synthesis.settings import Options as SynthesisOptions
from caredio.synthesis.settings import Settings as Synthesis
from caredio.training.finetuning_settings import Options as FinetuningOptions
from caredio.training.finetuning_settings import Settings as Finetuning
from caredio.training.options import Budget, Curve, CurveOptions, Train, TrainOptions
from caredio.training.settings import RatedOptions, ViewOptions
from caredio.training.settings import Settings as Views

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    from caredio.app.rating_export import Ratings
    from caredio.evaluation.ratings import Judged
    from caredio.evaluation.table import Comparison
    from caredio.llm.plan import Plan
    from caredio.publishing.diff import Diff
    from caredio.publishing.plan import Plan as ReleasePlan
    from caredio.publishing.verify import Verified
    from caredio.result import Result
    from caredio.selection.calibrate import Calibration
    from caredio.training.curve import Curves
    from caredio.training.export import Exported
    from caredio.training.finetune import Estimate
    from caredio.training.job_record import Finetuned
    from caredio.training.pipeline import Schedule, Trained

P = ParamSpec("P")
T = TypeVar("T")
Table: TypeAlias = "Dataset | pd.DataFrame | Path | str"


class ModelOptions(TypedDict, total=False):
    """`Spec` as named parameters."""

    model: str
    provider: str | None
    model_revision: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int
    json_mode: str


class EndpointOptions(TypedDict, total=False):
    """`Endpoint` as named parameters."""

    base_url: str | None
    api_key_variable: str | None
    embedder_base_url: str | None
    embedder_api_key_variable: str | None
    embedder_requests_per_minute: int | None
    embedder_tokens_per_minute: int | None
    system_role: str
    token_limit: str
    concurrency: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    timeout: float
    retries: int
    batch: bool
    max_cost: float | None
    max_total_tokens: int | None


class ReviewerOptions(TypedDict, total=False):
    """What of `Endpoint` is the reviewer's, as named parameters."""

    review_base_url: str | None
    review_api_key_variable: str | None
    review_requests_per_minute: int | None
    review_tokens_per_minute: int | None


class SynthesizeOptions(SynthesisOptions, Objective, ModelOptions, EndpointOptions, ReviewerOptions, total=False):
    """What `synthesize` takes besides."""


class SelectOptions(Ranking, Reading, ViewOptions, ModelOptions, EndpointOptions, ReleaseOptions, total=False):
    """What `select` takes besides."""


class BuildOptions(
    SynthesisOptions, Ranking, ViewOptions, ModelOptions, EndpointOptions, ReviewerOptions, ReleaseOptions, total=False
):
    """What `build` takes besides."""


class PreferOptions(RatedOptions, Reading, total=False):
    """What `prefer` takes besides."""


class CalibrateOptions(Calibrating, EndpointOptions, total=False):
    """What `calibrate` takes besides."""


class FinetuneOptions(FinetuningOptions, total=False):
    """What `finetune` takes besides."""

    provider: str
    base_url: str
    api_key_variable: str
    timeout: float
    retries: int
    max_cost: float
    test_share: float | None


class _Answering(TypedDict, total=False):
    """What a model behind an API takes whose answers are measured, or measure."""

    provider: str | None
    model_revision: str | None
    max_tokens: int
    base_url: str | None
    api_key_variable: str | None
    system_role: str
    token_limit: str
    concurrency: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    timeout: float
    retries: int
    batch: bool
    max_cost: float | None
    max_total_tokens: int | None


class EvaluateOptions(EvaluationOptions, _Answering, total=False):
    """What `evaluate` takes."""


class JudgeOptions(JudgingOptions, _Answering, total=False):
    """What `judge` takes."""


_WRITING = frozenset(("isolated", "contrasted", "optimized"))
# the settings of each verb, and the stages of selection and of the views that it runs
VERBS: dict[str, tuple[tuple[type, ...], frozenset[str]]] = {
    "build": (
        (Synthesis, Selection, Views, Spec, Endpoint, Release),
        _WRITING | {"vectors", "scored", "preference"},
    ),
    "synthesize": ((Synthesis, Selection, Spec, Endpoint), _WRITING),
    "select": (
        (Selection, Views, Spec, Endpoint, Release),
        frozenset(("table", "candidates", "vectors", "scored", "preference")),
    ),
    "prefer": ((Views, Selection), frozenset(("rated_preference", "table"))),
    "calibrate": ((Selection, Endpoint), frozenset(("table", "candidates", "vectors", "calibrated"))),
    "evaluate": ((Evaluation, Spec, Endpoint), frozenset()),
    "judge": ((Judging, Spec, Endpoint), frozenset()),
    "publish": ((Release,), frozenset()),
    "finetune": ((Finetuning, Spec, Endpoint, Release), frozenset()),
    "train": ((Train, Budget), frozenset()),
    "curve": ((Train, Curve), frozenset()),
}
# verb -> its own room, and what it takes of the others, whose other settings it has no use for
_PARTS = {
    verb: (room, frozenset(options.__annotations__) - frozenset(own.__annotations__))
    for verb, room, options, own in (
        ("finetune", Finetuning, FinetuneOptions, FinetuningOptions),
        ("evaluate", Evaluation, EvaluateOptions, EvaluationOptions),
        ("judge", Judging, JudgeOptions, JudgingOptions),
    )
}


BY_STAGE = (Selection, Views)  # rooms of whose settings a verb takes a part


def settings_of(verb: str) -> Iterator[tuple[type, dataclasses.Field[Any]]]:
    """(room, field) of the settings that a verb takes: of selection's and the views', those that its stages read."""
    rooms, stages = VERBS[verb]
    for room in rooms:
        for one in dataclasses.fields(room):
            if verb in _PARTS and room is not _PARTS[verb][0] and one.name not in _PARTS[verb][1]:
                continue
            if one.name in ReviewerOptions.__annotations__ and Synthesis not in rooms:
                continue
            if room not in BY_STAGE or stages.intersection(one.metadata.get("stages", ())):
                yield room, one


_SETTINGS = {verb: {one.name for _, one in settings_of(verb)} for verb in VERBS}


def _of_settings(verb: Callable[P, T]) -> Callable[P, T]:
    """`verb` with the settings that it takes in its signature and docstring; others are refused by their names."""
    rooms, known = VERBS[verb.__name__][0], _SETTINGS[verb.__name__]
    own = {one.name for one in inspect.signature(verb).parameters.values()}

    @functools.wraps(verb)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        check_names(kwargs, known | own)
        return verb(*args, **kwargs)

    return documented(*rooms, only=known)(checked)


@_of_settings
def synthesize(
    cultures: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    cultures_file: Path | str | None = None,
    topics_file: Path | str | None = None,
    store: Path | str | None = None,
    endpoint: Endpoint | None = None,
    seed: int = 0,
    prompts: str | None = None,
    **settings: Unpack[SynthesizeOptions],
) -> Result:
    """Write candidates for `cultures` on `topics` (all when None).

    Args:
        cultures, topics: slugs and topic ids.
        out: run folder; None keeps the tables in memory.
        cultures_file, topics_file: YAML whose entries add to or override the shipped ones; by default those that the
            run was built with, if it was built before.
        store: file of stored answers; by default one for all runs of this user.
        endpoint: how to reach models, in place of its settings; what is given one object shares its limits.
        seed: of every draw.
        prompts: folder of prompt files that replace the shipped ones.

    Returns:
        A result with `candidates`.

    Raises:
        CaredioError: one sentence on what to mend. What arrived before is stored; call again to go on.
    """
    given = {"endpoint": endpoint, "seed": seed, "prompts": prompts, **settings}
    from caredio.verbs.synthesize import Synthesizing  # heavy: when a verb runs

    return Synthesizing(cultures, topics, out, cultures_file, topics_file, store, given).result()


@_of_settings
def select(
    data: Table | None = None,
    *,
    out: Path | str | None = None,
    push: str | None = None,
    private: bool = False,
    store: Path | str | None = None,
    endpoint: Endpoint | None = None,
    seed: int = 0,
    prompts: str | None = None,
    **settings: Unpack[SelectOptions],
) -> Result:
    """Rank rows of several cultures within each culture: a table of one's own, or the candidates of a run.

    Args:
        data: a Dataset, a DataFrame, a parquet, csv, json or jsonl file, or `owner/name` of a dataset on the Hub, with
            a question, a response and a culture in each row; None takes the candidates of the run `out`.
        out: run folder; None keeps the tables in memory.
        push: `owner/name` on the Hub, to `publish` the ranked split there.
        private: visibility of a repository this creates.
        store: file of stored answers, for scores that ask a model; by default one for all runs of this user.
        endpoint, seed, prompts: as `synthesize` takes them.

    Returns:
        A result with `ranked`, `pool` (every row, scored, or with a drop_reason), `vectors`, `preference` and
        `unpaired`.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    given = {"endpoint": endpoint, "seed": seed, "prompts": prompts, **settings}
    from caredio.verbs.select import Selecting  # heavy: when a verb runs

    return Selecting(data, out, push, private, store, given).result()


@_of_settings
def build(
    cultures: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    cultures_file: Path | str | None = None,
    topics_file: Path | str | None = None,
    push: str | None = None,
    private: bool = False,
    store: Path | str | None = None,
    endpoint: Endpoint | None = None,
    seed: int = 0,
    prompts: str | None = None,
    **settings: Unpack[BuildOptions],
) -> Result:
    """`synthesize`, then `select`; takes what both take. Limits are for both together.

    Where it fails, tables that the run held before stay as they were.

    Returns:
        A result with `candidates`, `ranked`, `pool`, `vectors`, `preference` and `unpaired`.
    """
    given = {"endpoint": endpoint, "seed": seed, "prompts": prompts, **settings}
    from caredio.verbs.build import Building  # heavy: when a verb runs

    return Building(cultures, topics, out, cultures_file, topics_file, push, private, store, given).result()


@_of_settings
def prefer(
    data: Table | None = None, *, out: Path | str | None = None, seed: int = 0, **settings: Unpack[PreferOptions]
) -> Result:
    """Pair responses that people of a culture rated: of each question the highest over the lowest, ties left out.

    Args:
        data: a Dataset, a DataFrame, a file, or `owner/name` of a dataset on the Hub, with the columns question,
            response, rating (1 to 10) and culture (of the raters) or associated_culture, as CARE has them.
        out: run folder; None keeps the tables in memory.
        seed: of every draw.

    Returns:
        A result with `preference` and `unpaired`.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.prefer import Preferring  # heavy: when a verb runs

    return Preferring(data, out, {"seed": seed, **settings}).result()


@overload
def plan(verb: Callable[P, Finetuned], /, *args: P.args, **kwargs: P.kwargs) -> Estimate: ...


@overload
def plan(verb: Callable[P, Trained] | Callable[P, Curves], /, *args: P.args, **kwargs: P.kwargs) -> Schedule: ...


@overload
def plan(verb: Callable[P, Result] | Callable[P, Judged], /, *args: P.args, **kwargs: P.kwargs) -> Plan: ...


@overload
def plan(verb: Callable[P, Path], /, *args: P.args, **kwargs: P.kwargs) -> ReleasePlan: ...


def plan(verb: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Plan | Estimate | Schedule | ReleasePlan:
    """What a verb would do with these arguments: calls, tokens and cost, trainings and steps, or files and versions.

    Nothing is spent, written or sent.

        caredio.plan(caredio.build, ["mexico"], ["food"], per_topic=30, model="gpt-4.1-mini")
        caredio.plan(caredio.train, "runs/mexico", timed=True)
        caredio.plan(caredio.publish, "runs/mexico", push="owner/name")

    Raises:
        CaredioError: one sentence on what would stop it before the first call.
    """
    from caredio import verbs  # which loads this module

    if not callable(verb) or getattr(verb, "__name__", "") not in VERBS:
        raise InputError(
            "plan takes one of the verbs that ask a model, train one or publish: synthesize, select, build, evaluate,"
            " judge, train, curve, finetune or publish."
        )
    check_names(kwargs, inspect.signature(verb).parameters)
    bound = inspect.signature(verb).bind(*args, **kwargs)
    bound.apply_defaults()
    return verbs.plan(getattr(verb, "__name__", ""), dict(bound.arguments))


@_of_settings
def calibrate(
    data: Table | None = None,
    *,
    out: Path | str | None = None,
    endpoint: Endpoint | None = None,
    seed: int = 0,
    **settings: Unpack[CalibrateOptions],
) -> Calibration:
    """Find the theta that fits an embedder, on the candidates of the run `out` or a table of one's own.

    No table of the run is replaced: vectors of another embedder are written to `out/calibration-vectors`.

    Args:
        data, out, endpoint, seed: as `select` takes them.

    Returns:
        What clusters look like at each theta; `str` of it is a table, and its `theta` the one to give `select`.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.calibrate import Calibrating  # heavy: when a verb runs

    return Calibrating(data, out, {"endpoint": endpoint, "seed": seed, **settings}).result()


@_of_settings
def evaluate(
    cultures: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    model: str = LOCAL_MODEL,
    trained: Path | str | None = None,
    cultures_file: Path | str | None = None,
    store: Path | str | None = None,
    endpoint: Endpoint | None = None,
    prompts: str | None = None,
    **settings: Unpack[EvaluateOptions],
) -> Result:
    """Measure a model on benchmarks: as it is, told to play the part, and trained, with that part and without.

    What the run's results hold of the same weights, questions and settings is not measured again; the rest is added.
    A model behind an API writes its answers, at temperature 0: one whose name begins with `ft:`, with a provider, or
    with an address (base_url, $OPENAI_BASE_URL) where no folder of weights is meant.

    Args:
        cultures: slugs; by default those of the run's ranked split.
        out: run folder; `results/` is written there. None keeps the results in memory.
        model: base model, by name or folder, or the endpoint's name of it.
        trained: what the recipes made: a model or an adapter, or a folder of one a culture (`trained/china/`).
        cultures_file: YAML of cultures besides the shipped ones and those that the run was built with.
        store: file of stored answers, of a model behind an API; by default one for all runs of this user.
        endpoint: how to reach it, in place of its settings.
        prompts: folder whose `systems.txt` tells the model its part, and `choice.txt` and `judgements.txt` ask it;
            by default that of the run, if it has one.

    Returns:
        A result with `results`; `str` of it is a table.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.evaluate import Evaluating  # heavy: when a verb runs

    given = {"endpoint": endpoint, "prompts": prompts, **settings}
    return Evaluating(cultures, out, model, trained, cultures_file, store, given).result()


def results(
    *folders: Path | str,
    cultures: Sequence[str] | None = None,
    format: str | None = None,
    to: Path | str | None = None,
    plot: Path | str | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare what runs, and folders of lm-eval, hold: methods by benchmarks, with paired tests on the same questions.

    Args:
        folders: runs, or what lm_eval had as --output_path (with --log_samples, for tests); `NAME=FOLDER` names the one
            system in it. `raw` and `role-play` are what others are compared with.
        cultures: slugs of those that count; by default all.
        format: text, markdown, csv, html or latex; by default as the ending of `to` says.
        to: file that the table is written to.
        plot: folder that pictures are written to.
        seed: of the sign-flips and intervals that are drawn.

    Returns:
        The comparison; `str` of it is a table, and `to("latex")` and the like give it in another format.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.results import Comparing  # heavy: when a verb runs

    return Comparing(folders, cultures, format, to, plot, seed).result()


def plot(data: Path | str | Result, *, out: Path | str | None = None) -> list[Path]:
    """Draw a run that was ranked: its rows by culture, scores, map, phrases, drops and costs.

    Args:
        data: a run folder, or the result of a verb that wrote one.
        out: folder that the figures are written to, a PNG and an SVG each; by default `figures` in the run folder.

    Returns:
        The files. What a run has nothing of, such as costs, is not drawn.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.plot import Plotting  # heavy: when a verb runs

    return Plotting(data, out).result()


def rate(
    place: Path | str | Result,
    other: Path | str | Result | None = None,
    *,
    out: Path | str | None = None,
    port: int | None = None,
) -> None:
    """Serve a page on which people of a culture rate its answers, until the process is interrupted.

    They rank and rate the answers to a question, those of other cultures among them, not knowing whose each is; with
    `other` they may also compare rows of both datasets. Every click is kept. `ratings` counts what they said.

    Args:
        place: a run folder, a release's folder, or `owner/name@tag` of one on the Hub.
        other: a second one.
        out: folder of what is said; by default `ratings` in the run.
        port: of the page; by default the first that is free from 7860 on.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.rate import Rating  # heavy: when a verb runs

    Rating(place, other, out, port).result()


def ratings(place: Path | str | Result, *, out: Path | str | None = None) -> Ratings:
    """Count what people said on the page of `rate`, and write it in CARE's columns, as KTO's labels and as weights.

    Args:
        place: what they rated.
        out: folder of what they said, where the files are written too; by default `ratings` in the run.

    Returns:
        What each annotator said; `str` of it is a report with their agreement.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.rate import Exporting  # heavy: when a verb runs

    return Exporting(place, out).result()


@_of_settings
def judge(
    folders: Path | str | Result | Sequence[Path | str | Result],
    *,
    model: str,
    human: Path | str | None = None,
    out: Path | str | None = None,
    store: Path | str | None = None,
    endpoint: Endpoint | None = None,
    seed: int = 0,
    prompts: str | None = None,
    **settings: Unpack[JudgeOptions],
) -> Judged:
    """Rate every reply in samples files, or compare it with a rival's, by a model behind an API.

    What is judged by the same model, prompts and settings is not judged again. The judge is not told whose a reply is.

    Args:
        folders: runs that were evaluated, or what lm_eval had as --output_path with --log_samples.
        model: the endpoint's name of the judge; a dated one, as ratings of two versions are not compared.
        human: table of people's ratings of these replies: id (of the question), rating, and system or culture where
            ids do not tell replies apart. How far the judge agrees with them is reported.
        out: folder that judged samples are written to; by default beside the samples that they are made of.
        store: file of stored answers; by default one for all runs of this user.
        endpoint: how to reach the judge, in place of its settings.
        seed: of the order in which replies are judged, and of intervals.
        prompts: folder of prompt files that replace the shipped `judge_*.txt`.

    Returns:
        Means or win rates by culture, category and geographic scope; `str` of it is a table.

    Raises:
        CaredioError: one sentence on what to mend. What arrived before is stored; call again to go on.
    """
    from caredio.verbs.judge import Judging  # heavy: when a verb runs

    given = {"endpoint": endpoint, "seed": seed, "prompts": prompts, **settings}
    return Judging(folders, model, human, out, store, given).result()


@_of_settings
def publish(
    out: Path | str | Result,
    *,
    to: Path | str | None = None,
    model: Path | str | None = None,
    push: str | None = None,
    private: bool = False,
    gated: str | None = None,
    create_pr: bool = False,
    remove: Path | str | None = None,
    add_to: Path | str | None = None,
    cultures_file: Path | str | None = None,
    prompts: str | None = None,
    confirm: Callable[[ReleasePlan], bool] | None = None,
    **settings: Unpack[ReleaseOptions],
) -> Path:
    """Release the ranked split of the run folder `out`, or a model trained on it, to a folder and to the Hub.

    `caredio.plan(caredio.publish, ...)` says what that would be: files, rows, version, and what differs from the
    release before, which is the newest on the Hub where this one goes there, else the one in the folder.

    Args:
        out: a run folder, or the result of a verb that wrote one.
        to: folder of the release; by default `release`, or `release-<name>` for a model, in the run folder.
        model: folder a recipe wrote; None releases the dataset.
        push: `owner/name` on the Hub; None writes the folder only.
        private: visibility of a repository this creates.
        gated: `auto` or `manual`: who wants to read on the Hub asks first, and is let in at once or by hand.
        create_pr: open a pull request in place of a commit and a tag.
        remove: file of sample_ids, one a line or a table's column, that are in this release and later ones no more.
        add_to: release whose other cultures stay as they are: a folder, or `owner/name` on the Hub, with `@tag` where
            it is not the newest.
        cultures_file: YAML of cultures that the run was not built with, as those of a table.
        prompts: folder whose `views.txt` is the system line of the config `all`; by default that of the run, if it has
            one.
        confirm: called with the plan before anything is written or sent; where it says no, nothing is.

    Returns:
        The folder of the release.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.publish import Publishing  # heavy: when a verb runs

    given = {"prompts": prompts, **settings}
    place = (out, to, model, push, private, gated, create_pr)
    return Publishing(*place, remove, add_to, cultures_file, confirm, given).result()


def diff(before: Path | str | Result, after: Path | str | Result) -> Diff:
    """How a release or run differs from another: rows added, removed, changed and scored anew, by culture; columns.

    Args:
        before, after: a release folder, a run folder or the result of a verb that wrote one, or `owner/name` on the
            Hub, with `@tag` where it is not the newest.

    Returns:
        The differences; `str` of it shows counts, and the first rows of each kind.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.diff import Differing  # heavy: when a verb runs

    return Differing(before, after).result()


def browse(
    place: Path | str | Result,
    other: Path | str | Result | None = None,
    *,
    port: int = 7860,
    space: str | None = None,
    private: bool = False,
    model: str | None = None,
    trained: Path | str | None = None,
    base_url: str | None = None,
    cultures_file: Path | str | None = None,
) -> str | None:
    """Serve a page in the browser that shows a run or a release row by row, until it is interrupted.

    Nothing is changed, and a run that is being made can be looked at. It needs `pip install 'caredio[app]'`.

    Args:
        place: a run folder, the result of a verb that wrote one, a release's folder, or `owner/name@tag` of a release
            on the Hub.
        other: another one, to be compared with it.
        port: of this machine.
        space: `owner/name` of a Space on the Hub that shows the page instead, to everybody who may see it.
        private: visibility of a Space that this creates.
        model: base model to put questions to on the page, by name or folder, or the endpoint's name of it; with
            `trained` the embedded one by default.
        trained: what recipes or `finetune` made of it, to be asked beside it: as `evaluate` takes it, or a folder that
            `finetune` or `export` with adapter left.
        base_url: address of the endpoint that serves the model.
        cultures_file: YAML of cultures besides the shipped ones.

    Returns:
        The address of the Space; None where there is none.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.browse import Browsing  # heavy: when a verb runs

    return Browsing(place, other, port, space, private, model, trained, base_url, cultures_file).result()


def verify(
    place: Path | str | Result,
    *,
    benchmarks: Sequence[str] | None = None,
    benchmark_data: str | None = None,
) -> Verified:
    """See whether a release, or a run, is what it says: what follows from its tables is worked out anew.

    Looked at are its files' hashes, columns, sample_ids, ranks, scores, pairs, splits, texts that two cultures share,
    questions of benchmarks, and of its card what the tables say; of a model's release its card and training.json. What
    was checked, and what was not, stands in the report.

    Args:
        place: a release folder, a run folder, or a release on the Hub: `owner/name`, `owner/name@v1.0.0`.
        benchmarks: names of those whose questions may not stand in ranked rows, as `evaluate` takes them; by default
            those of which a part is shipped, and those whose data is named.
        benchmark_data: where data lies, as SOURCE=FILE with commas between; by default what is shipped, and of
            benchmarks that are named the Hub's.

    Returns:
        `findings`, each a sentence with its place, `checked` and `unchecked`; `str` of it is a report.

    Raises:
        CaredioError: one sentence on what to mend: there is no such place, or a benchmark cannot be read.
    """
    from caredio.verbs.verify import Verifying  # heavy: when a verb runs

    return Verifying(place, benchmarks, benchmark_data).result()


@_of_settings
def finetune(
    data: Path | str | Result,
    *,
    culture: str,
    model: str,
    out: Path | str | None = None,
    export_only: bool = False,
    yes: bool = False,
    cancel: bool = False,
    endpoint: Endpoint | None = None,
    seed: int = 0,
    **settings: Unpack[FinetuneOptions],
) -> Finetuned:
    """Fine-tune a model behind OpenAI's API, or one that speaks it, on the ranked rows of a run.

    The rows are written as the API's JSONL files and checked by its published rules; then the files are sent, a job is
    created once, and watched until it has ended. Call again to go on, whatever stopped it.

    Args:
        data: a run folder, or the result of a verb that wrote one.
        culture: whose rows, or `all` for one model of every culture, each row naming its own.
        model: the endpoint's name of the model to tune, such as gpt-4.1-2025-04-14.
        out: folder of the files and of finetune.json; by default `finetune/<culture>` in the run folder.
        export_only: write the files, and send nothing.
        yes: submit without asking on the terminal whether to.
        cancel: cancel the job that was submitted, and do nothing else.
        endpoint: how to reach the API, in place of its settings.
        seed: of the job.

    Returns:
        What finetune.json records; its `model` is the tuned model's name.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.finetune import Tuning  # heavy: when a verb runs

    given = {"endpoint": endpoint, "seed": seed, **settings}
    return Tuning(data, culture, model, out, export_only, yes, cancel, given).result()


@_of_settings
def train(
    data: Path | str | Result,
    cultures: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    **settings: Unpack[TrainOptions],
) -> Trained:
    """Train a model on each culture's rows in turn: a recipe by `accelerate launch`, in a process of its own.

    A culture that is trained is not trained again; one that was interrupted goes on from its last checkpoint.

    Args:
        data: a run folder, the result of a verb that wrote one, a release's folder, or `owner/name` of one on the Hub.
        cultures: slugs; all when None. A release also has `all`, its cultures in one.
        out: folder with a model or an adapter a culture; by default `models` in the run.

    Returns:
        The record of each culture and the pictures of their losses; its `path` is what `evaluate` takes as `trained`.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.train import Training  # heavy: when a verb runs

    return Training(data, cultures, out, dict(settings)).result()


@_of_settings
def curve(
    data: Path | str | Result,
    cultures: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    budgets: Sequence[int] = (100, 200, 500, 1000),
    rankings: Sequence[str] = ("ours", "random"),
    **settings: Unpack[CurveOptions],
) -> Curves:
    """Train nested budgets of a run's rows by several rankings, and measure each on questions that none learned.

    Every arm takes as many steps from the same weights. Arms that are trained are not trained again.

    Args:
        data: a run folder, or the result of a verb that wrote one.
        cultures: slugs; all of the run when None.
        out: folder of the arms, the table and the picture; by default `curve` in the run.
        budgets: rows of the arms; one of all rows is added.
        rankings: `ours`, the run's ranked split; `random` and `one_per_question` (by chance, the first row of each
            question first), once a seed; a column of numbers of the run's pool, the highest first; or the folder of
            another run, for its ranked split.

    Returns:
        Bits a byte of the held-out answers for each arm, with 95 % intervals; `str` of it is a table.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.curve import Curving  # heavy: when a verb runs

    return Curving(data, cultures, out, budgets, rankings, dict(settings)).result()


def export(model: Path | str, *, to: Path | str, base: str | None = None, adapter: bool = False) -> Exported:
    """Write what a recipe left for other programs: an adapter merged into its base, or to be served beside others.

    Args:
        model: folder with an adapter, or with one a culture, such as `train` leaves.
        to: folder that is written; several adapters go to folders in it.
        base: model that they are put on, by name or folder; by default the one they were trained on.
        adapter: keep adapters apart, as vLLM serves several on one base; else each is merged into a whole model, in the
            base's dtype, which transformers, vLLM and converters to GGUF load.

    Returns:
        The folder, and the commands that take it; `str` of it shows both.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    from caredio.verbs.export import Exporting  # heavy: when a verb runs

    return Exporting(model, to, base, adapter).result()
