"""Ranked rows as the tables TRL's trainers read, each made by a stage of its own.

SFT reads `ranked` as it is: prompt and completion. `preference` rejects other cultures' answers (seed 001, 3.4: "SFT or
DPO where the responses generated for other cultures can be regarded as dispreferred ones"), `unpaired` holds both sides
of these pairs one by one, with a label, for KTO.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value, concatenate_datasets

from caredio import contents, features, prompts, runs
from caredio.errors import InputError
from caredio.runs import Run
from caredio.selection.embed import matrix
from caredio.settings import view
from caredio.stages import Stage, fan_out
from caredio.training import style
from caredio.training.settings import Settings

log = logging.getLogger("caredio")

PREFERENCE = Stage(
    "preference",
    {
        "ranked": "sample_id question_id culture language rank prompt completion response isolated_response others",
        "vectors": "sample_id response_embedding",
        "scored": "culture question_id response",
    },
    features.PREFERENCE,
    modules=(__name__, style.__name__),
    split_by="culture",
)
UNPAIRED = Stage(
    "unpaired",
    {"preference": " ".join(features.PREFERENCE)},
    features.UNPAIRED,
    modules=(__name__,),
    split_by="culture",
)
STAGES = (PREFERENCE, UNPAIRED)
OTHERS = "contrasted_others"  # the table of what others say in contrast, where it was asked for


def write(run: Run, ranked: Dataset, settings: Settings) -> None:
    """The views of a run's ranked rows as its tables `preference` and `unpaired`.

    Pairs of these rows that were made before there were settings of them stand as they are, unless settings are given.
    """
    if settings == Settings(seed=settings.seed) and _made_before_settings(run):
        pairs = run.table("preference")
    else:
        contrasted = _contrasted(run)
        pairs = PREFERENCE.run(
            run,
            lambda: _reported(run, ranked, settings, contrasted),
            [settings],
            source=contents.sha256(dropped) if (dropped := _dropped(run)) else "",
            after=[*PREFERENCE.reads, *([OTHERS] if contrasted else [])],
        )
    UNPAIRED.run(run, lambda: unpaired(pairs))


def of_run(run: Run, ranked: Dataset, settings: Settings, contrasted: bool) -> Dataset:
    """The pairs of some of a run's rows."""
    others = run.table(OTHERS) if contrasted else None
    vectors = run.table("vectors") if settings.rejected == "hardest" else None
    return preference(ranked, vectors, settings, others, _answered(run))


def _answered(run: Run) -> Dataset:
    """Culture, question_id and response of all that was answered, in a table of one's own what it drops too."""
    named = ["culture", "question_id", "response"]
    tables = [run.table("scored"), *([runs.read(files)] if (files := _dropped(run)) else [])]
    return concatenate_datasets([table.select_columns(named) for table in tables])


def _dropped(run: Run) -> list[Path]:
    """The files of a table's rows that were dropped before scoring: people gave these answers all the same."""
    made_from = run.stages.get("candidates", {}).get("made_from", {})
    return run.rejects("candidates") if made_from.get("source") else []


def settings_of(run: Run) -> tuple[Settings, bool]:
    """The settings that a run's pairs were made by, and whether their sides are contrastive."""
    config = (run.stages.get("preference", {}).get("made_from", {}).get("config")) or {}
    names = ("rejected", "pairs", "length_ratio", "seed")
    return Settings(**{name: config[name] for name in names if name in config}), _contrasted(run)


def _reported(run: Run, ranked: Dataset, settings: Settings, contrasted: bool) -> tuple[Dataset, dict[str, Any]]:
    """The pairs, and the report on their sides."""
    pairs = of_run(run, ranked, view("preference", settings), contrasted)
    sides = style.report(pairs, dict(zip(ranked["sample_id"][:], ranked["language"][:], strict=True)))
    alone = len(ranked) - len(set(pairs["sample_id"][:]))
    log.info("preference: %s; %d of %d rows without a pair", style.line(sides), alone, len(ranked))
    return pairs, {"sides": sides, "without_pair": alone}


def _contrasted(run: Run) -> bool:
    """Whether others answered in contrast to the very candidates that were ranked."""
    inputs = run.stages.get(OTHERS, {}).get("made_from", {}).get("inputs", {})
    return bool(inputs) and inputs == {"candidates": run.stages["candidates"]["sha256"]}


def _made_before_settings(run: Run) -> bool:
    """Whether pairs of these very rows are there whose record knows no settings."""
    entry = run.stages.get("preference")
    if entry is None or "rejected" in (entry["made_from"]["config"] or {}):
        return False
    inputs = entry["made_from"]["inputs"]
    return inputs == {"ranked": run.stages["ranked"]["sha256"]}


def describe(entry: Mapping[str, Any], own: bool) -> str:
    """Sentences for the card on a run's pairs, from their entry in run.json.

    Args:
        own: the answers are those of a table of one's own.
    """
    settings = entry["made_from"]["config"] or {}
    if "rejected" not in settings:
        return "Preference: of each other culture one answer is rejected."
    whose = {
        "all": f"one answer of each of up to {settings['pairs']} other cultures (of more, drawn by seed) is rejected",
        "hardest": "of other cultures' answers the one whose embedding is nearest to the row's response is rejected",
        "one": "one other culture's answer, drawn by seed, is rejected",
    }[settings["rejected"]]
    limit = settings["length_ratio"]
    length = f"the sides differ by at most {100 * limit:.3g} % of the longer one's characters" if limit < 1 else ""
    seeing = "in contrast to" if OTHERS in entry["made_from"]["inputs"] else "without seeing"
    sides = "Both sides are answers " + ("of the table" if own else f"that were given {seeing} others'")
    left = entry.get("without_pair")
    rows = f"{left} ranked row{'s have' if left != 1 else ' has'} no pair" if left is not None else ""
    return f"Preference: `{settings['rejected']}`, {whose}. {'; '.join(filter(None, (sides, length, rows)))}."


def sft(ranked: Dataset, budget: int | None = None) -> Dataset:
    """The best `budget` rows of each culture (all when None) as prompt and completion, in the order of `ranked`.

    Returns:
        sample_id, culture, rank, prompt, completion: TRL trains on the completion only.
    """
    ranked = _best(ranked, budget)
    return ranked.select_columns(["sample_id", "culture", "rank", "prompt", "completion"])


def preference(
    ranked: Dataset,
    vectors: Dataset | None = None,
    settings: Settings = Settings(),
    contrasted: Dataset | None = None,
    pool: Dataset | None = None,
) -> Dataset:
    """Ranked rows as prompt, chosen and rejected: a row a pair.

    Both sides come from one condition, so that it is not what tells them apart: the others' answers were given without
    seeing any (isolated), and so was the chosen one, the row's `isolated_response`; a row of a table of one's own has
    none, and its `response` is chosen. With what others say in contrast, both sides are contrastive: `response` is
    chosen over their answers. An answer can be rejected whose length differs from the chosen side's by no more
    than `length_ratio` of the longer. An answer that the row's own culture gave to the question too is not rejected,
    and of a culture with an answer equal to the chosen one none is. Of the rest, each text once, by `rejected`:

    - all: one answer of each other culture, the first that fits; of more than `pairs`, those drawn by seed;
    - hardest: of all answers that fit the one whose response_embedding has the highest cosine with that of the row's
      `response`, the smallest contrast (the isolated answer has no embedding of its own); of equals the first;
    - one: as all with one pair a row.

    Args:
        vectors: `features.vectors`, which `hardest` reads: of others those of isolated answers, in either condition.
        contrasted: `features.CONTRASTED_OTHERS` of these rows.
        pool: culture, question_id and response of all that the cultures answered; by default of `ranked`.

    Returns:
        `features.PREFERENCE`, in the order of `ranked`; rows without a pair are not in it.
    """
    ranked = PREFERENCE.table(ranked, "ranked")
    if settings.rejected == "hardest":
        if vectors is None:
            raise InputError("rejected is hardest, which compares embeddings; give the vectors.")
        near = Features({"near": List(Value("float32"))})
        ranked = features.beside(ranked, Dataset.from_dict({"near": _near(ranked, vectors)}, features=near))
    if contrasted is not None:
        ranked = _in_contrast(ranked, contrasted)
    said = Features({"said": List(Value("string"))})
    ranked = features.beside(ranked, Dataset.from_dict({"said": _said(ranked, pool or ranked)}, features=said))
    names = ("rejected", "pairs", "length_ratio", "seed")
    return ranked.map(
        pair,
        batched=True,
        fn_kwargs={name: getattr(settings, name) for name in names},
        remove_columns=[name for name in ranked.column_names if name not in features.PREFERENCE],
        features=features.PREFERENCE,
        desc="preference",
    ).select_columns(list(features.PREFERENCE))


def _in_contrast(ranked: Dataset, contrasted: Dataset) -> Dataset:
    """Ranked rows whose own and others' answers are the contrastive ones; others that gave none are left out."""
    keys = zip(contrasted["sample_id"][:], contrasted["culture"][:], strict=True)
    said = dict(zip(keys, contrasted["response"][:], strict=True))

    def swapped(row: dict[str, Any]) -> dict[str, Any]:
        there = [one for one in enumerate(row["others"]) if (row["sample_id"], one[1]["culture"]) in said]
        others = [{**other, "response": said[row["sample_id"], other["culture"]]} for _, other in there]
        near = {"near": [row["near"][place] for place, _ in there]} if "near" in row else {}
        return {"isolated_response": None, "others": others, **near}

    return ranked.map(swapped, features=ranked.features, desc="answers in contrast")


def unpaired(pairs: Dataset) -> Dataset:
    """The sides of preference pairs one by one, a side that stands in several of a row's pairs once.

    Returns:
        `features.UNPAIRED`, in the order of `pairs`: of each row first what was chosen (label true), then what was
        rejected (label false).
    """

    seen = set()

    def sides(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for label, side in ((True, "chosen"), (False, "rejected")):
            key = (row["sample_id"], label, style.text(row[side]))
            if key not in seen:
                seen.add(key)
                yield {**row, "completion": row[side], "label": label}

    return fan_out(pairs, sides, features.UNPAIRED, "unpaired")


def interleaved(ranked: Dataset, names: dict[str, str], folders: str | None = None) -> Dataset:
    """Every culture's rows by rank, in turn, each question led by a line that names the culture.

    Without that line equal prompts would carry contradictory completions. It stands in the user's turn, as some chat
    templates refuse a system message. Rank stays within the culture.

    Args:
        names: culture slug -> name; a culture that is not among them is named by its slug.
        folders: of prompts, whose `views.txt` is the system line.

    Returns:
        `features.RANKED`.
    """
    template = prompts.load("views", folders)
    order = sorted(range(len(ranked)), key=list(zip(ranked["rank"][:], ranked["culture"][:], strict=True)).__getitem__)

    def with_line(row: dict[str, Any]) -> dict[str, Any]:
        first, *rest = row["prompt"]
        line = template.part("system", name=names.get(row["culture"], row["culture"]))
        return {"prompt": [{**first, "content": f"{line}\n\n{first['content']}"}, *rest]}

    if not len(ranked):
        return ranked
    return ranked.select(order).map(with_line, features=features.RANKED, desc="all")


def ranked_anew(ranked: Dataset) -> Dataset:
    """Rows taken out of a ranked table, ranked from 1 again within each culture; their order is kept."""
    return with_ranks(ranked, features.count_within(ranked["culture"][:]))


def pairs_of(ranked: Dataset, pairs: Dataset) -> Dataset:
    """The preference pairs of some ranked rows, with the rank that the rows have there."""
    ranks = dict(zip(ranked["sample_id"][:], ranked["rank"][:], strict=True))
    kept = pairs.select([place for place, name in enumerate(pairs["sample_id"][:]) if name in ranks])
    return with_ranks(kept, [ranks[name] for name in kept["sample_id"][:]])


def with_ranks(rows: Dataset, ranks: Sequence[int | None]) -> Dataset:
    """Rows with these ranks."""
    fresh = Dataset.from_dict({"rank": ranks}, features=Features({"rank": features.RANKED["rank"]}))
    return features.beside(rows, fresh).select_columns(rows.column_names)


def of_culture(dataset: Dataset, culture: str) -> Dataset:
    """The rows of one culture."""
    return dataset.select([row for row, name in enumerate(dataset["culture"][:]) if name == culture])


def pair(batch: dict[str, list[Any]], **chosen: Any) -> dict[str, list[Any]]:
    """Batch of ranked rows and the settings by name -> batch of (prompt, chosen, rejected)."""
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    pairs = [
        {
            **{name: row[name] for name in ("sample_id", "question_id", "culture", "rank", "prompt")},
            "chosen": [{"role": "assistant", "content": _own(row)}],
            "rejected": [{"role": "assistant", "content": other["response"]}],
            "rejected_culture": other["culture"],
        }
        for row in rows
        for other in _rejected(row, **chosen)
    ]
    return {name: [one[name] for one in pairs] for name in features.PREFERENCE}


def _said(ranked: Dataset, pool: Dataset) -> list[list[str]]:
    """What the culture of each row answered to its question."""
    answers = defaultdict(set)
    for culture, question, response in zip(
        pool["culture"][:], pool["question_id"][:], pool["response"][:], strict=True
    ):
        answers[culture, question].add(response)
    keys = zip(ranked["culture"][:], ranked["question_id"][:], strict=True)
    return [sorted(answers[key]) for key in keys]


def _own(row: Mapping[str, Any]) -> str:
    """The row's answer in the condition of the others'."""
    return row["isolated_response"] or row["response"]


def _rejected(row: dict[str, Any], rejected: str, pairs: int, length_ratio: float, seed: int) -> list[dict[str, Any]]:
    """The answers that a row's own is preferred over."""
    own, own_answers = _own(row), {_plain(text) for text in (_own(row), *row["said"])}
    of_culture: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for place, other in enumerate(row["others"]):
        of_culture[other["culture"]].append((place, other))
    fitting = [
        fits
        for answers in of_culture.values()
        if all(_plain(other["response"]) != _plain(own) for _, other in answers)
        and (
            fits := [
                answer
                for answer in answers
                if _plain(answer[1]["response"]) not in own_answers
                and _alike(len(own), len(answer[1]["response"]), length_ratio)
            ]
        )
    ]
    if not fitting:
        return []
    if rejected == "hardest":
        place, other = max((answer for answers in fitting for answer in answers), key=lambda one: row["near"][one[0]])
        return [other]
    first = list({_plain(answers[0][1]["response"]): answers[0][1] for answers in reversed(fitting)}.values())[::-1]
    wanted = 1 if rejected == "one" else pairs
    if len(first) <= wanted:
        return first
    drawn = random.Random(f"{seed}/{row['sample_id']}/rejected").sample(range(len(first)), wanted)
    return [first[place] for place in sorted(drawn)]


def _plain(text: str) -> str:
    """A text by which equal answers are known: without case and white space around it."""
    return text.strip().casefold()


def _alike(one: int, other: int, ratio: float) -> bool:
    """Whether two lengths differ by no more than that share of the longer."""
    return abs(one - other) <= ratio * max(one, other)


def _near(ranked: Dataset, vectors: Dataset) -> list[list[float]]:
    """Cosine of each row's response with each of its others'."""
    own = ranked["sample_id"][:]
    others = [[other["sample_id"] for other in row] for row in ranked["others"][:]]
    used = list(dict.fromkeys(chain(own, *others)))
    place = {name: row for row, name in enumerate(used)}
    unit = matrix(vectors, "response_embedding", used)
    return [
        (unit[[place[other] for other in row]] @ unit[place[name]]).tolist() if row else []
        for name, row in zip(own, others, strict=True)
    ]


def _best(ranked: Dataset, budget: int | None) -> Dataset:
    ranked = features.require(ranked, features.RANKED, "ranked rows")
    if budget is None:
        return ranked
    if budget < 1:
        raise InputError(f"budget is {budget}; take at least 1 row a culture.")
    return ranked.select([row for row, rank in enumerate(ranked["rank"][:]) if rank <= budget])
