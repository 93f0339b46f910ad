"""The `caredio` command: one sub-command per verb, whose flags are the fields of the settings."""

from __future__ import annotations

import argparse
import functools
import io
import os
import shlex
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caredio import api, configuration, disk, messages
from caredio.errors import CaredioError, InputError
from caredio.evaluation import tasks_path
from caredio.evaluation.judging_settings import Settings as Judging
from caredio.evaluation.settings import Settings as Evaluation
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.markdown import inert
from caredio.publishing.settings import GATES
from caredio.publishing.settings import Settings as Release
from caredio.selection.settings import PAPER
from caredio.settings import kinds
from caredio.training.finetuning_settings import Settings as Finetuning

if TYPE_CHECKING:
    from caredio.publishing.plan import Plan as ReleasePlan

_BUILD_EXAMPLES = """examples:
  caredio build --cultures china,united_kingdom --topics food,respect_elders --per-topic 3 --out runs/first
  caredio build --cultures japan --model gpt-4.1-mini --out runs/japan --dry-run
  caredio build --cultures japan --model gpt-4.1-mini --out runs/japan --max-cost 5
  caredio build --cultures japan --model gpt-4.1-mini --out runs/japan --batch       half the price, within a day
  caredio build --config runs/japan/build.yaml                                       the same once more
"""
_SYNTHESIZE_EXAMPLES = """examples:
  caredio synthesize --cultures china,japan --topics food --per-topic 9 --out runs/food
  caredio synthesize --cultures nigeria --model my-model --base-url http://localhost:8000/v1 --out runs/nigeria
"""
_SELECT_EXAMPLES = """examples:
  caredio select --out runs/food                      the candidates that `caredio synthesize` wrote there
  caredio select answers.csv --out runs/own           a table with question, response, culture (and question_id)
  caredio select chats.jsonl --out runs/own --question-column messages --response-column messages \\
      --culture-column country --match-by text
  caredio select answers.csv --out runs/own --embedder openai:text-embedding-3-small
  caredio select answers.csv --out runs/own --embedder BAAI/bge-m3 --theta 0.8 --engine ray
  caredio select owner/name --dataset-config default --split train --out runs/own --push me/ranked --license cc-by-4.0
"""
_PREFER_EXAMPLES = """examples:
  caredio prefer rated.csv --out runs/rated           question, response, rating, and culture or associated_culture
  caredio prefer owner/name --split train --origin mixed --out runs/rated   on equally many native and foreign ones
"""
_CALIBRATE_EXAMPLES = """examples:
  caredio calibrate --out runs/food                   on the candidates that `caredio synthesize` wrote there
  caredio calibrate answers.csv --out runs/own --embedder intfloat/multilingual-e5-base
"""
_EVALUATE_EXAMPLES = """examples:
  caredio evaluate --out runs/food --trained runs/food/models
  caredio evaluate --out runs/food --cultures china --culturalbench CulturalBench-Easy.csv --limit 20
  caredio evaluate --out runs/food --cultures china --model ft:gpt-4.1-2025-04-14:me::abc --dry-run
  lm_eval --include_path "$(caredio tasks-path)" --tasks caredio_culturalbench_hard_china \\
      --model hf --model_args pretrained=Qwen/Qwen2.5-7B-Instruct --apply_chat_template
"""
_JUDGE_EXAMPLES = """examples:
  caredio judge runs/food --benchmark care --model gpt-4.1-2025-04-14 --dry-run
  caredio judge runs/food runs/other --benchmark care --model gpt-4.1-2025-04-14 --batch
  caredio judge runs/food --benchmark prism --model gpt-4.1-2025-04-14 --against raw      both orders asked
  caredio judge runs/food --benchmark care --model gpt-4.1-2025-04-14 --human people.csv  id, system, rating
  caredio judge lm-eval-output --model my-judge --base-url http://localhost:8000/v1 --rubric quality
"""
_TRAIN_EXAMPLES = """examples:
  caredio train runs/food                             an adapter a culture, by SFT, to runs/food/models
  caredio train runs/food --method dpo --cultures china,japan --budget 200 --out runs/food/models-dpo
  caredio train owner/name --model Qwen/Qwen2.5-7B-Instruct --out models -- --learning_rate 1e-4
  caredio train runs/food --dry-run --timed           steps, and hours by one step that is taken
"""
_CURVE_EXAMPLES = """examples:
  caredio curve runs/food --budgets 100,200,500,1000 --cultures china
  caredio curve runs/food --budgets 100,200 --rankings ours,random,one_per_question,representativeness --seeds 5
  caredio curve runs/food --dry-run --timed           arms and steps, and hours by one step that is taken
"""
_EXPORT_EXAMPLES = """examples:
  caredio export runs/food/models/china --to exported/china       one model, for transformers, vLLM and llama.cpp
  caredio export runs/food/models --adapter --to adapters         all of them, for one vLLM server
"""
_RECIPES = """examples:
  caredio recipes                                     where the recipes are, and their YAML files
  caredio recipes smollm2-135m/sft-lora.yaml my       a copy, to change and give to --recipe my/sft-lora.yaml
  caredio recipes cardset.yaml my                     the paper's own build: caredio build --config my/cardset.yaml
  caredio recipes all my                              all of them
"""
_QUICKSTART = """examples:
  caredio quickstart                                  rank and release to runs/quickstart
  caredio quickstart --train                          then train on the best rows of a region, and on random ones
  caredio quickstart --out runs/try --push owner/name
  caredio quickstart --annotations BLEnD/data/annotations    all 16 regions of a clone, to runs/blend-regions
"""
_RESULTS_EXAMPLES = """examples:
  caredio results runs/food                           what `caredio evaluate --out runs/food` measured
  caredio results runs/food runs/rice --to table.tex --plot pictures
  caredio results raw=eval/base trained=eval/tuned    what `lm_eval --output_path eval/base --log_samples` wrote
"""
_PLOT_EXAMPLES = """examples:
  caredio plot runs/food                              to runs/food/figures, a PNG and an SVG each
  caredio plot runs/food --out pictures
"""
_RATE_EXAMPLES = """examples:
  caredio rate runs/food                              a page on which people of a culture rate its answers
  caredio rate runs/food runs/rice --port 7861        and compare rows of both
  caredio rate owner/name@v1.0.0 --out food-ratings
"""
_RATINGS_EXAMPLES = """examples:
  caredio ratings runs/food                           report and files of what was rated there
  caredio ratings owner/name@v1.0.0 --out food-ratings
"""
_PUBLISH_EXAMPLES = """examples:
  caredio publish --out runs/food --dry-run                                 what would be released, and what differs
  caredio publish --out runs/food --version v1.0.0                          to the folder runs/food/release
  caredio publish --out runs/food --push owner/name --yes                   and to the Hub, as the next version
  caredio publish --out runs/rice --add-to owner/name --push owner/name     beside the cultures that are there
  caredio publish --out runs/food --remove ids.txt --push owner/name        without these rows, now and later
  caredio publish --out runs/food --model runs/food/china-sft --push owner/model --private
"""
_DIFF_EXAMPLES = """examples:
  caredio diff owner/name@v1.0.0 owner/name           what the newest release changed since
  caredio diff runs/food/release runs/food            what a run would change
"""
_VERIFY_EXAMPLES = """examples:
  caredio verify runs/food/release
  caredio verify owner/name@v1.0.0                    a release on the Hub
  caredio verify runs/food --benchmark-data culturalbench=CulturalBench-Easy.csv,blend=BLEnD/data
exit code: 0 without a fault, 1 with one, 2 where there is nothing to verify
"""
_FINETUNE_EXAMPLES = """examples:
  caredio finetune runs/food --culture china --model gpt-4.1-2025-04-14 --dry-run      what it would cost
  caredio finetune runs/food --culture china --model gpt-4.1-2025-04-14 --budget 200
  caredio finetune runs/food --culture china --model gpt-4.1-2025-04-14 --method dpo --export-only
"""
_BROWSE_EXAMPLES = """examples:
  caredio browse runs/food                            search it in the browser, at http://127.0.0.1:7860
  caredio browse owner/name@v1.0.0 owner/name@v1.1.0  two releases side by side
  caredio browse owner/name@v1.0.0 --space owner/look a page on the Hub for everybody
  caredio browse runs/food --trained runs/food/models put questions to the model before and after training
"""
_PROMPTS = """examples:
  caredio prompts                                     names of the prompts
  caredio prompts adapt                               the text of one
  caredio prompts --to my-prompts                     copies, to change and give to --prompts my-prompts
"""
_ANSWERS = """examples:
  caredio answers --out runs/food                     one row of each stage, with its messages and what the model wrote
  caredio answers --out runs/food --sample 3f2a9c0d11e87b52
"""
_EVERYDAY = "everyday settings"
_HEADINGS = {Spec: "the model", Endpoint: "the endpoint", Release: "the release", Evaluation: "the evaluation"}
_HEADINGS |= {Finetuning: "the fine-tuning", Judging: "the judge"}
_MODELS = "folder with a model or an adapter a culture, those that are there are not trained again; default: RUN/models"
_ARMS = "folder of the arms and the curves, what is finished is not done again; default: RUN/curve"
_TRAINED_ON = "run folder, release folder, or owner/name on the Hub"
_RATED = "parquet, csv, json or jsonl, or owner/name on the Hub"
_NAMED_FIRST = {
    "data": f"what to train on first, a {_TRAINED_ON},",
    "folders": "what to judge first, runs or folders of samples,",
}
_TABLE = "parquet, csv, json or jsonl, or owner/name on the Hub; default: the run's candidates"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; a mistake of the user's is one sentence on stderr and exit code 2."""
    if argv is None:
        disk.in_utf8()
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack characters that tables have
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given: dict[str, Any] = {}
    try:
        given = _arguments(sys.argv[1:] if argv is None else list(argv))
        messages.show(given.pop("log_level", "info"), given.pop("quiet", False))
        made = given.pop("verb")(**given)
        if made is not None:
            print(inert(str(made)))
        sys.stdout.flush()
    except CaredioError as error:
        sys.exit(_fail(str(error), 2))
    except BrokenPipeError:  # who reads has read enough
        _leave_unwritten()
        sys.exit(1)
    except (OSError, sqlite3.Error) as error:
        if not disk.refused(error):
            raise
        _leave_unwritten()
        sys.exit(_fail(disk.refusal(error, given.get("out") or "the output"), 2))
    except KeyboardInterrupt as stopped:
        said = str(stopped) or "stopped; answers that arrived are stored, and the same command goes on from there."
        sys.exit(_fail(said, 130))


def _leave_unwritten() -> None:
    """What stdout holds and cannot write is not tried again as Python ends, which would change the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def _fail(sentence: str, code: int) -> int:
    print(inert(f"caredio: {sentence}"), file=sys.stderr)
    return code


def _arguments(argv: list[str]) -> dict[str, Any]:
    """The verb and its arguments: flags, over those of a `--config` file.

    Raises:
        InputError: the file, or what is missing.
    """
    parser = _parser()
    argv, further = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    given = vars(parser.parse_args(argv))
    file = given.pop("config", None)
    name = given.pop("command")
    if further:
        if "flags" not in _keys(parser, name):
            raise InputError(f"caredio {name} takes nothing after --.")
        given["flags"] = shlex.join([*shlex.split(given.get("flags", "")), *further])
    given = {**(PAPER if given.pop("paper", False) else {}), **given}
    if file:
        given = {**configuration.read(file, name, _keys(parser, name), _optional(name)), **given}
    if given.pop("needs_out", False) and given.get("out") is None and not given.get("dry_run"):
        raise InputError(f"caredio {name} writes into a run folder; name it with --out.")
    if missing := next((one for one in given.pop("needs", ()) if given.get(one) is None), None):
        said = _NAMED_FIRST.get(missing, f"--{missing}")
        raise InputError(f"caredio {name} needs {said}; `caredio {name} --help` shows examples.")
    if given.pop("dry_run", False):
        given.pop("yes", None)
        given["verb"] = functools.partial(api.plan, getattr(api, name))
    return given


def _keys(parser: argparse.ArgumentParser, command: str) -> set[str]:
    """The arguments that a configuration file may hold for a command."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    flags = {action.dest for action in commands.choices[command]._actions}
    return flags - {"help", "config", "dry_run", "quiet", "log_level", "yes", "cancel", "paper"}


def _optional(command: str) -> set[str]:
    """The settings of a command that may be None, which the word `none` on the command line says."""
    settings = api.settings_of(command) if command in api.VERBS else ()
    return {one.name for room, one in settings if kinds(room)[one.name][1]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="caredio", description="Small, right datasets that align models to a culture.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"caredio {metadata.version('caredio')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command", dest="command")

    _data_commands(commands)
    _model_commands(commands)
    _training_commands(commands)
    _looking_commands(commands)
    for name in api.VERBS:
        _setting_flags(commands.choices[name], name)
    return parser


def _data_commands(commands: Any) -> None:
    """Those that make tables."""
    build = _command(commands, api.build, "synthesize, then select, in one run folder", _BUILD_EXAMPLES)
    _synthesis_flags(build)
    _paper_flag(build)
    _push_flags(build)

    synthesize = _command(commands, api.synthesize, "write candidates with a model", _SYNTHESIZE_EXAMPLES)
    _synthesis_flags(synthesize)

    select = _command(commands, api.select, "rank candidates, or a table of your own", _SELECT_EXAMPLES)
    select.add_argument("data", metavar="table", nargs="?", default=argparse.SUPPRESS, help=_TABLE)
    _paper_flag(select)
    _push_flags(select)
    _path_flag(select, "--store", "file of stored answers, for scores that ask a model")
    select.add_argument("--dry-run", action="store_true", help="print the calls of such scores, and spend nothing")

    prefer = _command(commands, api.prefer, "pair responses that people rated", _PREFER_EXAMPLES)
    prefer.add_argument("data", metavar="table", nargs="?", default=argparse.SUPPRESS, help=_RATED)

    calibrate = _command(commands, api.calibrate, "find an embedder's theta", _CALIBRATE_EXAMPLES)
    calibrate.add_argument("data", metavar="table", nargs="?", default=argparse.SUPPRESS, help=_TABLE)

    quickstart = _command(commands, _quickstart, "rank a packaged sample of people's answers", _QUICKSTART)
    _path_flag(quickstart, "--annotations", "BLEnD's folder of annotations: rank and release all of its 16 regions")
    quickstart.add_argument("--push", default="", metavar="OWNER/NAME", help="also publish on the Hub, with $HF_TOKEN")
    quickstart.add_argument("--version", default="v0.1.0", help="tag of the release (default: v0.1.0)")
    quickstart.add_argument(
        "--train",
        nargs="?",
        const=True,
        default=False,
        metavar="REGION",
        help="train on the best rows of a region (default: the first), and measure it on held-out questions",
    )
    quickstart.add_argument("--model", metavar="NAME", help="base model of --train; default: the embedded one")


def _paper_flag(command: argparse.ArgumentParser) -> None:
    """Settings in one flag; other flags stand above it, a `--config` file below."""
    said = ", ".join(f"--{name.replace('_', '-')} {str(value).lower()}" for name, value in PAPER.items())
    command.add_argument("--paper", action="store_true", default=argparse.SUPPRESS, help=f"as the paper ranks: {said}")


def _model_commands(commands: Any) -> None:
    """Those that measure and release."""
    evaluate = _command(commands, api.evaluate, "measure a model on benchmarks of culture", _EVALUATE_EXAMPLES)
    _names_flag(evaluate, "--cultures", "slugs, comma-separated; default: those of the run")
    evaluate.add_argument(
        "--model", default=argparse.SUPPRESS, help="base model, by name or folder, or ft:NAME of an API"
    )
    _path_flag(evaluate, "--trained", "folder with an adapter a culture, or with one trained model")
    _path_flag(evaluate, "--cultures-file", "YAML of cultures that the run was not built with")
    _path_flag(evaluate, "--store", "file of stored answers, of a model behind an API")
    evaluate.add_argument("--dry-run", action="store_true", help="print the calls of such a model, and spend nothing")

    results = _plain_command(commands, "results", _results, "compare runs, and folders of lm-eval", _RESULTS_EXAMPLES)
    results.add_argument("folders", metavar="run", nargs="+", help="run, or lm_eval's --output_path; or NAME=FOLDER")
    _names_flag(results, "--cultures", "slugs, comma-separated; default: all that are there")
    results.add_argument(
        "--format", default=argparse.SUPPRESS, help="text, markdown, csv, html or latex; default: as --to ends"
    )
    _path_flag(results, "--to", "file for the table; default: print it")
    _path_flag(results, "--plot", "folder for pictures")
    results.add_argument("--seed", type=int, default=argparse.SUPPRESS, help="of what is drawn (default: 0)")
    _quiet_flag(results)
    _judge_command(commands)
    _rating_commands(commands)

    plot = _plain_command(commands, "plot", _plot, "draw a run that was ranked", _PLOT_EXAMPLES)
    plot.add_argument("data", metavar="run", help="run folder")
    _path_flag(plot, "--out", "folder for the figures; default: RUN/figures")
    _quiet_flag(plot)

    _publish_command(commands)

    differing = _plain_command(commands, "diff", api.diff, "compare two releases or runs", _DIFF_EXAMPLES)
    for name in ("before", "after"):
        differing.add_argument(name, help="release or run folder, or owner/name on the Hub, with @tag or its newest")
    _quiet_flag(differing)

    about = "see whether a release, or a run, is what it says"
    verify = _plain_command(commands, "verify", _verify, about, _VERIFY_EXAMPLES)
    verify.add_argument("place", help="release folder, run folder, or owner/name@v1.0.0 on the Hub")
    _names_flag(
        verify, "--benchmarks", "whose questions may not stand in it, comma-separated; default: those that are shipped"
    )
    verify.add_argument(
        "--benchmark-data", default=argparse.SUPPRESS, help="where data lies, as SOURCE=FILE with commas between"
    )
    _quiet_flag(verify)

    _finetune_command(commands)


def _publish_command(commands: Any) -> None:
    publish = _command(commands, _publish, "release a dataset or a model", _PUBLISH_EXAMPLES)
    _path_flag(publish, "--to", "folder of the release; default: OUT/release")
    _path_flag(publish, "--model", "release this folder that a recipe wrote, not the dataset")
    _push_flags(publish)
    publish.add_argument(
        "--gated", choices=GATES, default=argparse.SUPPRESS, help="readers on the Hub ask first: let in at once, or not"
    )
    publish.add_argument(
        "--create-pr", action="store_true", default=argparse.SUPPRESS, help="open a pull request, without a tag"
    )
    _path_flag(publish, "--remove", "file of sample_ids that are in this release and later ones no more")
    publish.add_argument(
        "--add-to", default=argparse.SUPPRESS, metavar="RELEASE", help="folder or owner/name whose other cultures stay"
    )
    _path_flag(publish, "--cultures-file", "YAML of cultures that the run was not built with")
    publish.add_argument("--prompts", default=argparse.SUPPRESS, help="folder whose views.txt names the culture in all")
    publish.add_argument("--yes", action="store_true", help="do so without asking; a push that nobody can be asked of")
    publish.add_argument("--dry-run", action="store_true", help="print the plan, and write and send nothing")


def _rating_commands(commands: Any) -> None:
    """Those with people of a culture."""
    what = "run folder, release folder, or owner/name@tag on the Hub"
    rate = _plain_command(commands, "rate", api.rate, "serve a page to rate answers on", _RATE_EXAMPLES)
    rate.add_argument("place", help=what)
    rate.add_argument("other", nargs="?", default=argparse.SUPPRESS, help="a second one, to compare")
    _path_flag(rate, "--out", "folder of what is said; default: PLACE/ratings, of a run")
    rate.add_argument("--port", type=int, default=argparse.SUPPRESS, help="of the page (default: 7860, or a free one)")

    ratings = _plain_command(commands, "ratings", api.ratings, "count and write what was rated", _RATINGS_EXAMPLES)
    ratings.add_argument("place", help=what)
    _path_flag(ratings, "--out", "folder of what was said; default: PLACE/ratings, of a run")


def _judge_command(commands: Any) -> None:
    folder = "folder that judged samples are written to; default: beside the samples"
    judge = _command(commands, api.judge, "rate replies, or compare them, with a model", _JUDGE_EXAMPLES, folder)
    judge.add_argument(
        "folders", metavar="folder", nargs="*", type=Path, default=argparse.SUPPRESS, help="runs, or lm_eval's output"
    )
    judge.add_argument("--model", default=argparse.SUPPRESS, help="the endpoint's name of the judge, best a dated one")
    _path_flag(judge, "--human", "table of people's ratings: id, rating, and system where ids are not enough")
    _path_flag(judge, "--store", "file of stored answers; default: one for all runs")
    judge.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost, and spend nothing")
    judge.set_defaults(needs_out=False, needs=("folders", "model"))


def _finetune_command(commands: Any) -> None:
    folder = "folder of the files and the job's record; default: RUN/finetune/CULTURE"
    finetune = _command(commands, api.finetune, "fine-tune a model behind an API", _FINETUNE_EXAMPLES, folder)
    finetune.add_argument("data", metavar="run", nargs="?", default=argparse.SUPPRESS, help="run folder")
    finetune.add_argument(
        "--culture", default=argparse.SUPPRESS, help="whose rows, or all: one model, each row naming its culture"
    )
    finetune.add_argument("--model", default=argparse.SUPPRESS, help="the endpoint's name of the model to tune")
    finetune.add_argument("--dry-run", action="store_true", help="print what it would cost, and write and send nothing")
    finetune.add_argument(
        "--export-only", action="store_true", default=argparse.SUPPRESS, help="write the files, and send nothing"
    )
    finetune.add_argument("--yes", action="store_true", help="submit without asking")
    finetune.add_argument("--cancel", action="store_true", help="cancel the job that was submitted")
    finetune.set_defaults(needs_out=False, needs=("data", "culture", "model"))


def _training_commands(commands: Any) -> None:
    """Those that train."""
    train = _command(commands, api.train, "train a model on each culture's rows", _TRAIN_EXAMPLES, _MODELS)
    train.set_defaults(needs_out=False, needs=("data",))
    train.add_argument("data", metavar="run", default=argparse.SUPPRESS, nargs="?", help=_TRAINED_ON)
    _names_flag(train, "--cultures", "slugs, comma-separated; default: all of the run or release")
    train.add_argument("--dry-run", action="store_true", help="print arms, rows and steps, and train nothing")

    curve = _command(commands, api.curve, "measure what more rows bring", _CURVE_EXAMPLES, _ARMS)
    curve.set_defaults(needs_out=False, needs=("data",))
    curve.add_argument("data", metavar="run", default=argparse.SUPPRESS, nargs="?", help="run folder")
    _names_flag(curve, "--cultures", "slugs, comma-separated; default: all of the run")
    curve.add_argument(
        "--budgets", type=_numbers, default=argparse.SUPPRESS, help="rows, comma-separated (default: 100,200,500,1000)"
    )
    _names_flag(
        curve,
        "--rankings",
        "ours, random, one_per_question, columns of the pool and folders of other runs (default: ours,random)",
    )
    curve.add_argument("--dry-run", action="store_true", help="print arms and steps, and train nothing")

    export = _plain_command(commands, "export", api.export, "merge an adapter, or make it servable", _EXPORT_EXAMPLES)
    export.add_argument("model", type=Path, help="folder with an adapter, or with one a culture")
    export.add_argument("--to", type=Path, required=True, help="folder that is written")
    export.add_argument("--base", default=argparse.SUPPRESS, help="model to put it on; default: what it was trained on")
    export.add_argument(
        "--adapter", action="store_true", default=argparse.SUPPRESS, help="keep adapters apart, as vLLM serves several"
    )
    _quiet_flag(export)

    recipes = _plain_command(commands, "recipes", configuration.recipes, "list or copy the recipes", _RECIPES)
    recipes.add_argument("name", nargs="?", default=argparse.SUPPRESS, help="a YAML file, or all; default: list them")
    recipes.add_argument("to", nargs="?", default=argparse.SUPPRESS, help="folder to copy it to")


def _looking_commands(commands: Any) -> None:
    """Those that change nothing."""
    browse = _plain_command(
        commands, "browse", api.browse, "look at a run or a release in the browser", _BROWSE_EXAMPLES
    )
    browse.add_argument("place", metavar="run", help="run folder, release folder, or owner/name@tag on the Hub")
    browse.add_argument("other", metavar="other", nargs="?", default=None, help="another one, to compare with it")
    browse.add_argument("--port", type=int, default=argparse.SUPPRESS, help="of this machine (default: 7860)")
    browse.add_argument("--space", metavar="OWNER/NAME", default=argparse.SUPPRESS, help="make it a Space on the Hub")
    browse.add_argument("--private", action="store_true", help="make a Space that is not there yet private")
    browse.add_argument("--model", default=argparse.SUPPRESS, help="model to put questions to on the page")
    _path_flag(browse, "--trained", "what was trained of it, to be asked beside it")
    browse.add_argument("--base-url", default=argparse.SUPPRESS, help="endpoint that serves the model")
    _path_flag(browse, "--cultures-file", "YAML of cultures besides the shipped ones")
    _quiet_flag(browse)

    prompts = _plain_command(commands, "prompts", configuration.prompts, "print or copy the prompts", _PROMPTS)
    prompts.add_argument("name", nargs="?", default=argparse.SUPPRESS, help="of a prompt; default: list their names")
    _path_flag(prompts, "--to", "folder to copy all of them to")
    _path_flag(prompts, "--out", "run folder, whose prompts are meant")

    answers = _plain_command(commands, "answers", _answers, "what a model was asked for a row, and wrote", _ANSWERS)
    answers.add_argument("--out", type=Path, required=True, help="run folder")
    answers.add_argument("--sample", default=argparse.SUPPRESS, help="sample_id; default: the first of each stage")
    _path_flag(answers, "--store", "file of stored answers")

    _plain_command(commands, "benchmarks", _benchmarks, "list the benchmarks: how asked, metrics, data, licence", "")

    about = "print the folder of the lm-eval tasks, for lm_eval --include_path"
    path = _plain_command(commands, "tasks-path", tasks_path, about, "")
    _names_flag(path, "--benchmarks", "YAML files that declare tables of yours, comma-separated")
    _path_flag(path, "--cultures-file", "YAML of cultures besides the shipped ones")


def _plot(data: str, **arguments: Any) -> str:
    return "\n".join(map(str, api.plot(data, **arguments)))


def _publish(yes: bool = False, **arguments: Any) -> Path:
    return api.publish(**arguments, confirm=None if yes else _agreed)


def _agreed(plan: ReleasePlan) -> bool:
    """Whether whoever sits at the terminal wants a release; a folder is written where there is none, as by any verb.

    Raises:
        InputError: it goes to the Hub, and there is nobody to ask.
    """
    if plan.unchanged and (plan.target is None or plan.target.tagged):
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        if plan.target is None:
            return True
        raise InputError(f"nothing was written or sent; give --yes to publish this at {plan.target.repo_id}.")
    where = f" and publish it at {plan.target.repo_id}" if plan.target else ""
    print(f"Write {plan.version} to {plan.folder}{where}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _quickstart(out: Path | None = None, **arguments: Any) -> None:
    from caredio.quickstart import quickstart  # heavy: it ranks

    quickstart(out, **arguments)


def _results(folders: Sequence[str], **arguments: Any) -> str:
    compared = api.results(*folders, **arguments)
    return str(arguments.get("to") or compared.to(arguments.get("format", "text")).rstrip("\n"))


def _verify(**arguments: Any) -> str:
    found = api.verify(**arguments)
    if found.findings:
        print(inert(str(found)))
        sys.exit(1)
    return str(found)


def _benchmarks() -> str:
    from caredio.evaluation.listing import show  # heavy: all declarations

    return show()


def _answers(**arguments: Any) -> str:
    from caredio.answers import show  # heavy: it reads tables

    return show(**arguments)


def _quiet_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="warnings and the result alone")


def _command(
    commands: Any,
    verb: Callable[..., Any],
    does: str,
    examples: str,
    out: str = "run folder; what is finished is not done again",
) -> argparse.ArgumentParser:
    parser = _plain_command(commands, verb.__name__.lstrip("_"), verb, does, examples)
    parser.add_argument("--out", type=Path, default=argparse.SUPPRESS, help=out)
    parser.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,
        help="YAML of these flags, such as a run writes; flags go over it. none, in YAML null, is no value, of settings"
        " that need none",
    )
    _quiet_flag(parser)
    parser.add_argument("--log-level", default="info", choices=messages.LEVELS, help="(default: info)")
    parser.set_defaults(needs_out=verb is not _quickstart)
    return parser


def _plain_command(
    commands: Any, name: str, verb: Callable[..., Any], does: str, examples: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=does,
        description=does,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=f"caredio {name} [options]",
        allow_abbrev=False,
    )
    parser.set_defaults(verb=verb)
    return parser


def _synthesis_flags(parser: argparse.ArgumentParser) -> None:
    _names_flag(parser, "--cultures", "slugs, comma-separated; default: all 15")
    _names_flag(parser, "--topics", "topic ids, comma-separated; default: all 38")
    _path_flag(parser, "--cultures-file", "YAML whose cultures add to or override the shipped ones")
    _path_flag(parser, "--topics-file", "YAML whose topics add to or override the shipped ones")
    _path_flag(parser, "--store", "file of stored answers; default: one for all runs")
    parser.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost, and spend nothing")


def _push_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--push", default=argparse.SUPPRESS, metavar="OWNER/NAME", help="also publish on the Hub, with $HF_TOKEN"
    )
    parser.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="make a repository that is not there yet private",
    )


def _path_flag(parser: argparse.ArgumentParser, flag: str, does: str) -> None:
    parser.add_argument(flag, type=Path, default=argparse.SUPPRESS, help=does)


def _names_flag(parser: argparse.ArgumentParser, flag: str, does: str) -> None:
    parser.add_argument(flag, type=_names, default=argparse.SUPPRESS, help=does)


def _setting_flags(parser: argparse.ArgumentParser, verb: str) -> None:
    """A flag for each setting of a verb, in groups: the everyday ones, then by the first stage that reads them."""
    grouped: dict[str, list[tuple[type, Field[Any]]]] = {_EVERYDAY: []}
    seen = {action.dest for action in parser._actions}
    for room, one in api.settings_of(verb):
        if one.name not in seen:
            seen.add(one.name)
            group = _EVERYDAY if one.metadata.get("everyday") else f"settings of {_heading(verb, room, one)}"
            grouped.setdefault(group, []).append((room, one))
    for name, members in grouped.items():
        flags = parser.add_argument_group(name)
        for room, one in members:
            _setting_flag(flags, room, one)


def _heading(verb: str, room: type, one: Field[Any]) -> str:
    _, run = api.VERBS[verb]
    stages = (stage for stage in one.metadata.get("stages", ()) if room not in api.BY_STAGE or stage in run)
    return _HEADINGS.get(room) or f"stage {next(stages)}"


def _setting_flag(group: Any, room: type, one: Field[Any]) -> None:
    (kind, optional), choices = kinds(room)[one.name], one.metadata.get("choices")
    flag, does = f"--{one.name.replace('_', '-')}", one.metadata["help"].replace("%", "%%")
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=does)
        return
    default = "" if one.default is None else f" (default: {one.default})"
    shown = f"{{{','.join(choices)}}}" if choices else kind.__name__.upper()
    group.add_argument(
        flag,
        type=_or_none(kind) if optional else kind,
        default=argparse.SUPPRESS,
        choices=None if optional else choices or None,  # else the settings see that it is one of them
        metavar=shown,
        help=does + default,
    )


def _or_none(kind: type) -> Callable[[str], Any]:
    """Reads the text of a flag as a `kind`, and the word `none` as None."""

    def read(text: str) -> Any:
        return None if text == "none" else kind(text)

    read.__name__ = kind.__name__  # which argparse names where it cannot be read
    return read


def _numbers(flag: str) -> list[int]:
    try:
        return [int(number) for number in _names(flag)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{flag!r}: give whole numbers with commas between, such as 50,100.") from None


def _names(flag: str) -> list[str]:
    return [name.strip() for name in flag.split(",") if name.strip()]


if __name__ == "__main__":
    main()
