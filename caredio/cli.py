"""The `caredio` command: one sub-command per room, flags generated from the Config dataclasses."""

from __future__ import annotations

import argparse
import io
import logging
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from caredio import disk, verbs
from caredio.errors import CaredioError

_BUILD_EXAMPLES = """examples:
  caredio build --cultures china,united_kingdom --topics food,respect_elders --per-topic 3 --out runs/first
  caredio build --cultures japan --model gpt-4.1-mini --out runs/japan --dry-run
  caredio build --cultures japan --model gpt-4.1-mini --out runs/japan --max-cost 5
  caredio build --cultures japan --model gpt-4.1-mini --out runs/japan --batch       half the price, within a day
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
  caredio select owner/name --config default --split train --out runs/own --push me/ranked --license cc-by-4.0
"""
_CALIBRATE_EXAMPLES = """examples:
  caredio calibrate --out runs/food                   on the candidates that `caredio synthesize` wrote there
  caredio calibrate answers.csv --out runs/own --embedder intfloat/multilingual-e5-base
"""
_EVALUATE_EXAMPLES = """examples:
  caredio evaluate --out runs/food --trained runs/food/models
  caredio evaluate --out runs/food --cultures china --culturalbench CulturalBench-Easy.csv --limit 20
  lm_eval --include_path "$(caredio tasks-path)" --tasks caredio_culturalbench_hard_china \\
      --model hf --model_args pretrained=Qwen/Qwen2.5-7B-Instruct --apply_chat_template
"""
_QUICKSTART = """examples:
  caredio quickstart                                  rank and release to runs/quickstart
  caredio quickstart --out runs/try --push owner/name
"""
_PUBLISH_EXAMPLES = """examples:
  caredio publish --out runs/food --version v1.0.0                          to the folder runs/food/release
  caredio publish --out runs/food --version v1.0.0 --push owner/name        and to the Hub
  caredio publish --out runs/food --model runs/food/china-sft --version v1.0.0 --push owner/model
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; a mistake of the user's is one sentence on stderr and exit code 2."""
    if argv is None:
        disk.in_utf8()
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack characters that tables have
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("caredio").setLevel(logging.INFO)
    for library in ("transformers", "sentence_transformers", "httpx2", "httpx", "openai", "datasets", "lm_eval"):
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # calls that were cut off need no epitaph
    _quiet_model_loading()
    try:
        given = vars(arguments)
        _tell(given.pop("verb")(**given), given.get("out"))
        sys.stdout.flush()
    except CaredioError as error:
        sys.exit(_fail(str(error), 2))
    except (OSError, sqlite3.Error) as error:
        if not disk.refused(error):
            raise
        sys.exit(_fail(disk.refusal(error, given.get("out") or "the output"), 2))
    except KeyboardInterrupt:
        sys.exit(_fail("stopped; answers that arrived are stored, and the same command goes on from there.", 130))


def _quiet_model_loading() -> None:
    """No progress bar for reading weights, which takes no time: the stages' own bars stay."""
    import transformers

    transformers.utils.logging.disable_progress_bar()


def _fail(sentence: str, code: int) -> int:
    print(f"caredio: {sentence}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    from caredio import quickstart, selection, synthesis
    from caredio.evaluation import results, tasks_path
    from caredio.llm.client import Endpoint
    from caredio.llm.spec import Spec
    from caredio.publishing import release
    from caredio.selection import calibrate as thetas
    from caredio.selection import embed, engine, match, source

    asking, writing, ranking = [Spec, Endpoint], [synthesis.Config], [selection.Config, engine.Config]
    parser = argparse.ArgumentParser(
        prog="caredio", description="Small, right datasets that align models to a culture.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"caredio {metadata.version('caredio')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")

    build = _command(commands, verbs.build, "synthesize, then select, in one run folder", _BUILD_EXAMPLES)
    _synthesis_flags(build)
    _push_flags(build)
    _setting_flags(build, [release.Config, *asking, *writing, *ranking])

    synthesize = _command(commands, verbs.synthesize, "write candidates with a model", _SYNTHESIZE_EXAMPLES)
    _synthesis_flags(synthesize)
    _setting_flags(synthesize, [*asking, *writing])

    select = _command(commands, verbs.select, "rank candidates, or a table of your own", _SELECT_EXAMPLES)
    select.add_argument(
        "table",
        nargs="?",
        help="parquet, csv, json or jsonl, or owner/name on the Hub; default: the run's candidates",
    )
    _push_flags(select)
    select.add_argument("--store", type=Path, help="file of stored answers, for scores that ask a model")
    select.add_argument("--dry-run", action="store_true", help="print the calls of such scores, and spend nothing")
    _setting_flags(select, [source.Config, *ranking, *asking, release.Config])

    calibrate = _command(commands, verbs.calibrate, "find an embedder's theta", _CALIBRATE_EXAMPLES)
    calibrate.add_argument("table", nargs="?", help="as select takes it; default: the run's candidates")
    _setting_flags(calibrate, [source.Config, match.Config, embed.Config, thetas.Config, Endpoint, engine.Config])

    first = _command(
        commands, quickstart.quickstart, "rank a packaged sample of people's answers", _QUICKSTART, quickstart.OUT
    )
    first.add_argument("--push", default="", metavar="OWNER/NAME", help="also publish on the Hub, with $HF_TOKEN")
    first.add_argument("--version", default="v0.1.0", help="tag of the release (default: v0.1.0)")

    evaluate = _command(commands, verbs.evaluate, "measure a model on CulturalBench", _EVALUATE_EXAMPLES)
    evaluate.add_argument("--cultures", type=_names, help="slugs, comma-separated; default: those of the run")
    evaluate.add_argument("--model", default=argparse.SUPPRESS, help="base model, by name or folder")
    evaluate.add_argument("--trained", type=Path, help="folder with an adapter a culture, or with one trained model")
    _setting_flags(evaluate, [results.Config])

    tasks = commands.add_parser(
        "tasks-path", help="print the folder of the lm-eval tasks, for lm_eval --include_path", allow_abbrev=False
    )
    tasks.set_defaults(verb=tasks_path)

    publish = _command(commands, verbs.publish, "release a dataset or a model", _PUBLISH_EXAMPLES)
    publish.add_argument("--to", type=Path, help="folder of the release; default: OUT/release")
    publish.add_argument("--model", type=Path, help="release this folder that a recipe wrote, not the dataset")
    _push_flags(publish)
    publish.add_argument("--cultures-file", type=Path, help="YAML of cultures that the run was not built with")
    _setting_flags(publish, [release.Config])
    return parser


def _command(
    commands: Any, verb: Callable[..., Any], does: str, examples: str, out: Path | None = None
) -> argparse.ArgumentParser:
    """The sub-command of a verb; `out` is the default of its run folder, without which one has to be named."""
    parser = commands.add_parser(
        verb.__name__,
        help=does,
        description=does,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(verb=verb)
    default = f" (default: {out})" if out else ""
    parser.add_argument(
        "--out",
        type=Path,
        required=not out,
        default=out,
        help=f"run folder; what is finished is not done again{default}",
    )
    return parser


def _synthesis_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cultures", type=_names, help="slugs, comma-separated; default: all 15")
    parser.add_argument("--topics", type=_names, help="topic ids, comma-separated; default: all 38")
    parser.add_argument("--cultures-file", type=Path, help="YAML whose cultures add to or override the shipped ones")
    parser.add_argument("--topics-file", type=Path, help="YAML whose topics add to or override the shipped ones")
    parser.add_argument("--store", type=Path, help="file of stored answers; default: one for all runs")
    parser.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost, and spend nothing")


def _push_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--push", default="", metavar="OWNER/NAME", help="also publish on the Hub, with $HF_TOKEN")
    parser.add_argument("--private", action="store_true", help="make a repository that is not there yet private")


def _setting_flags(parser: argparse.ArgumentParser, configs: Sequence[type]) -> None:
    """A flag for each field of the Configs; a name that several share is one flag."""
    group = parser.add_argument_group("settings")
    settings = {name: (kind, field) for config in configs for name, kind, field in verbs.fields(config)}
    for name, (kind, field) in settings.items():
        choices = field.metadata.get("choices")
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            group.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=field.metadata["help"])
            continue
        default = f" (default: {field.default})" if field.default != "" else ""
        group.add_argument(
            flag,
            type=kind,
            default=argparse.SUPPRESS,
            choices=choices,
            metavar=None if choices else kind.__name__.upper(),
            help=field.metadata["help"].replace("%", "%%") + default,
        )


def _names(flag: str) -> list[str]:
    return [name.strip() for name in flag.split(",") if name.strip()]


def _tell(made: Any, out: Path | None) -> None:
    """What a verb made: a plan, candidates, a ranked split, results, or the path of a release."""
    if not hasattr(made, "column_names"):
        print(made)
        return
    if "benchmark" in made.column_names:
        from caredio.evaluation.results import told

        print(told(made))
        return
    cultures = Counter(made["culture"])
    what = "ranked" if "rank" in made.column_names else "candidates"
    print(f"{what}: {', '.join(f'{culture} {count}' for culture, count in sorted(cultures.items()))}")
    if what == "ranked":
        from caredio.cultures import slugs

        config = slugs(cultures)[min(cultures)]
        print(f"load_dataset({f'{out}/{what}'!r}, {config!r}, split='train') loads them by rank")


if __name__ == "__main__":
    main()
