"""The first minute: rank the packaged sample of BLEnD, people's answers in three regions, and release the result.

No model writes here. It is `caredio select` and `caredio publish` on a table that comes with the package
(caredio/data/blend says how it was made), followed by what a reader wants to know of the result. On request, minutes
more show what training on the ranked rows does (quickstart_training.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import api, blend, messages, preflight, progress, quickstart_regions, quickstart_table, runs, yamlfile
from caredio.api import SelectOptions
from caredio.errors import InputError
from caredio.quickstart_table import title
from caredio.quickstart_training import OURS, RANDOM, RAW, People, Trial

SAMPLE = Path(str(resources.files("caredio"))) / "data" / "blend" / "blend_sample.parquet"
OWN = SAMPLE.with_name("blend_own.parquet")  # the own answers of all 16 regions
OUT = Path("runs/quickstart")
ATTRIBUTION = f"{blend.SOURCE}; changed: 3 of 16 regions, one English wording of each answer, ranked"
RANKING: SelectOptions = {"budget": 100, "weight_column": "annotators"}
_SHOWN = 4  # rows of a region on the screen
_BESIDE = 3  # answers of each other region beside a row
_WHY = {
    "one_annotator": "a single person of the region gave the answer",
    "no_letters": "the answer is a number or a time, which embeddings do not compare",
    "redundant": "another answer stands for its cluster",
    "no_other_culture": "no other region's answer to the question is left",
    "over_budget": f"it ranks below the best {RANKING['budget']} of its region",
}
Answers = Mapping[tuple[str, str, str], int]  # (culture, question_id, response) -> annotators who gave it


def quickstart(
    out: Path | str | None = None,
    *,
    annotations: Path | str | None = None,
    push: str = "",
    version: str = "v0.1.0",
    train: bool | str = False,
    model: str | None = None,
) -> Path:
    """Rank the sample into `out`, release it, and print the best rows; what a finished run left there is not redone.

    Args:
        out: run folder; None is runs/quickstart, or runs/blend-regions with `annotations`.
        annotations: BLEnD's folder data/annotations, to rank and release all 16 regions of it in place of the sample.
        push: `owner/name` on the Hub, if the release is to go there too.
        version: tag of the release.
        train: also train a model on a region's best rows and on random ones, and print what both make of held-out
            questions: a region of the sample, or True for its first.
        model: base model of `train`, by name or folder; None is the embedded one.

    Returns:
        The folder of the release.

    Raises:
        CaredioError: one sentence on what to correct.
    """
    if model and not train:
        raise InputError("model is the base of a training; give train (--train) too.")
    if annotations is not None:
        if train:
            raise InputError("train shows what the packaged sample teaches; leave it or annotations out.")
        return quickstart_regions.release(Path(annotations), Path(out or quickstart_regions.OUT), push, version)
    out = Path(out or OUT)
    if push:
        preflight.pushing(push, out / "release", version)
    sample = runs.read([SAMPLE])
    trial = _trial(sample, out, train, model) if train else None
    print(_opening(sample), flush=True)
    made = api.select(SAMPLE, out=out, **RANKING)
    release = api.publish(out, push=push or None, version=version, license=blend.LICENSE, attribution=ATTRIBUTION)
    print(_MEANING)
    print(best_rows(made.ranked, annotators(sample)))
    print(drops([made.report[stage]["dropped"] for stage in ("candidates", "scored")]))
    print(_places(out, release))
    if trial:
        print(_TRAINING.format(region=title(trial.region)), flush=True)
        print(trained(trial))
    print(_next())
    return release


def _trial(sample: Dataset, out: Path, region: bool | str, model: str | None) -> Trial:
    regions = {name: name for name in sample["culture"]}
    (chosen,) = yamlfile.pick([next(iter(regions)) if region is True else str(region)], regions, "region")
    return Trial(People(sample, runs.read([OWN])), out / "training", chosen, RANKING, model)


def trained(trial: Trial) -> str:
    """The screen of a trial; what a finished one left is not trained or measured again."""
    messages.begin()
    with progress.only_own_bars():
        trial.rows()
        measured = trial.measured(trial.models())
    found = {
        of: {arm: measured[arm, of].scores(documents) for arm in (RAW, RANDOM, OURS)}
        for of, documents in trial.documents.items()
    }
    return quickstart_table.screen(trial, found, quickstart_table.draw(trial, found))


def annotators(sample: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], int]:
    """How many people gave an answer, by culture, question_id and response; of equal wordings, the more frequent."""
    rows = sorted(sample, key=lambda row: row["annotators"])
    return {(row["culture"], row["question_id"], row["response"]): row["annotators"] for row in rows}


def best_rows(ranked: Iterable[Mapping[str, Any]], given: Answers) -> str:
    """The first rows of each culture, a response once, beside what the others answered, with how many people did."""
    lines: list[str] = []
    shown: dict[str, list[str]] = {}
    rows = sorted(ranked, key=lambda row: (row["culture"], row["rank"]))
    cultures = list(dict.fromkeys(row["culture"] for row in rows))
    for row in rows:
        culture, responses = row["culture"], shown.setdefault(row["culture"], [])
        if len(responses) == _SHOWN or row["response"] in responses:
            continue
        if not responses:
            lines += ["", f"{title(culture)}, best rows (an answer that comes again is left out here)"]
        responses.append(row["response"])
        lines += [
            f"{row['rank']:>3}. {row['question']}",
            f"       {title(culture):<13}{_answers(culture, row['question_id'], [row['response']], given)}",
        ]
        beside: dict[str, list[str]] = {}
        for other in row["others"]:
            beside.setdefault(other["culture"], []).append(other["response"])
        lines += [
            f"       {title(other):<13}{_answers(other, row['question_id'], beside.get(other, []), given)}"
            for other in cultures
            if other != culture
        ]
    return "\n".join(lines)


def drops(dropped: Sequence[Mapping[str, int]]) -> str:
    """What stages left out of the ranking, with the meaning of each reason."""
    rows = [(count, reason) for stage in dropped for reason, count in stage.items()]
    lines = [f"{count:>7,}  {reason:<17} {_WHY.get(reason, '')}".rstrip() for count, reason in rows]
    return "\n".join(["", f"Dropped: {sum(count for count, _ in rows):,} answers", *lines])


def _answers(culture: str, question_id: str, responses: Sequence[str], given: Answers) -> str:
    if not responses:
        return "no answer is left"
    counted = [(given[culture, question_id, response], response) for response in dict.fromkeys(responses)]
    counted.sort(key=lambda answer: (-answer[0], answer[1]))
    listed = [f"{response} ({people} people)" for people, response in counted[:_BESIDE]]
    return ", ".join([*listed, f"and {len(counted) - _BESIDE} more"] if len(counted) > _BESIDE else listed)


def _opening(sample: Dataset) -> str:
    regions = list(dict.fromkeys(sample["culture"]))
    names = f"{', '.join(map(title, regions[:-1]))} and {title(regions[-1])}"
    questions = len(set(sample["question_id"]))
    text = (
        f"Ranking {len(sample):,} short answers that people in {names} gave to the same {questions} everyday questions."
        f" No model wrote them. Source: {ATTRIBUTION}."
    )
    return textwrap.fill(text, 100)


_MEANING = """
Rank 1 is the highest score of a region: the sum of two measures, in standard deviations.
  representativeness   how many people gave an answer, and how near it is to what its region answers
                       to other questions (support)
  distinctiveness      how far it is from the other regions' answers to the same question, and in
                       how many of them nobody words it so (hybrid)
A high rank means common here and distinctive among these answers. It does not mean true, and a
region's 5 annotators a question do not speak for everybody."""


_TRAINING = """
Now {region}'s best rows train a model, and random ones: minutes on two quiet cores, seconds the second time.
"""


def _places(out: Path, release: Path) -> str:
    """Where everything lies."""
    return f"""
Where it lies
  {release}/     the dataset with its card and licence: load_dataset("{release}", "china", split="train")
  {out}/report.html  all of this on a page, with figures and more rows: open it in a browser
  {out}/ranked/      the ranked rows, best first
  {out}/preference/  the same rows over other regions' answers, for DPO; {out}/unpaired/ for KTO
  {out}/scored/      every ranked or dropped answer with its scores and drop_reason
  {out}/run.json     settings, counts and hashes of each table
  {SAMPLE}"""


def _next() -> str:
    """What to type next."""
    flags = " ".join(f"--{name} {value}" for name, value in RANKING.items() if name != "weight_column")
    return f"""
What to type next
  caredio select answers.csv --out runs/own {flags}
      the same on a table of your own with the columns question, response, culture, and weight if it counts people
  caredio build --cultures china,japan --topics food --per-topic 6 --model gpt-4.1-mini --out runs/real --dry-run
      have a model write questions and answers: what it would cost
  caredio --help"""
