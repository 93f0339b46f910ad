"""Table stage (a question's responses stand in several rows): the highest rated response over the lowest.

Seed 003 (CARE), 4.1: "We use the highest- and lowest-scored responses", for DPO, KTO and SimPO alike: so a label of
`unpaired` says which of the two a response was, and no threshold is drawn. 4.5 tunes on questions about the raters' own
culture, about others, or half of each, on equally many. CARE's columns: source, question, response, culture_type,
associated_culture ("Native (Chinese)", "Foreign (...)", "General"), rating (1 to 10).
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, Value

from caredio import cultures, features, tablefile
from caredio.errors import InputError
from caredio.runs import Run
from caredio.selection import match, source
from caredio.selection.settings import Settings as Reading
from caredio.settings import view
from caredio.stages import Stage
from caredio.training import style, views
from caredio.training.settings import Settings

log = logging.getLogger("caredio")

LOWEST, HIGHEST = 1, 10  # of a rating
RATED = Stage("rated", {}, features.RATED, modules=(__name__,))
PAIRS = Stage(
    "rated_preference",
    {"rated": " ".join(features.RATED)},
    features.PREFERENCE,
    modules=(__name__, style.__name__),
    split_by="culture",
)
STAGES = (RATED, PAIRS)
_NATIVE = re.compile(r"native\b\W*(.*?)\W*", re.IGNORECASE)
_FOREIGN = re.compile(r"foreign\b.*", re.IGNORECASE)


def write(run: Run, rows: Dataset, record: Mapping[str, Any], settings: Settings) -> None:
    """The tables `rated`, `preference` and `unpaired` of a run, made of a table as `load` gives it.

    Raises:
        InputError: the run holds something else, no question has a pair, or none of an origin that is asked for.
    """
    before = run.stages.get("rated", {}).get("made_from", {}).get("source", {})
    other = run.stages.keys() - {"rated", "preference", "unpaired", "results"}
    if other or before.get("table", record["table"]) != record["table"]:
        raise InputError(f"{run.path}: holds tables that were not made of {record['table']}; name another --out.")
    rated = RATED.run(run, lambda: rows, source=dict(record))

    def paired() -> tuple[Dataset, dict[str, Any]]:
        made = pairs(rated, view(PAIRS.name, settings))
        known = cultures.load()
        languages = {slug: culture.languages[0] for slug, culture in known.items()}
        kept = features.kept(made)
        sides = style.report(kept, {row["sample_id"]: languages.get(row["culture"]) for row in kept})
        log.info("preference: %s", style.line(sides))
        return made, {"sides": sides}

    made = PAIRS.run(run, paired, [settings], table="preference")
    views.UNPAIRED.run(run, lambda: views.unpaired(made))


def load(data: Any, settings: Reading) -> tuple[Dataset, dict[str, Any]]:
    """Rated responses out of a Dataset, a DataFrame, a file or a Hub dataset, and what the table is.

    Returns:
        `features.RATED` and `drop_reason` (empty, rating_not_a_number, rating_out_of_range). The culture is that of the
        raters: the column `culture`, or else the one that "Native (...)" names, which holds for the table's other rows
        too where it names one alone. The record holds the table's name and hash.

    Raises:
        InputError: a column is missing or holds no text, or the rows do not say whose raters rated them.
    """
    if isinstance(data, str):
        table, record = source.opened(data, settings)
    elif hasattr(data, "iloc"):  # a DataFrame, without importing pandas
        table, record = tablefile.Table("the table", list(map(str, data.columns)), lambda name: list(data[name])), {}
    elif isinstance(data, Dataset):
        table, record = tablefile.of(data, "the table"), {}
    else:
        raise InputError(f"the table is a {type(data).__name__}, where a Dataset, a DataFrame or a name was wanted.")
    rows = _rated(table, settings)
    if not record:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.features.arrow_schema) as stream:
            stream.write_table(rows.with_format("arrow")[:])
        record = {"table": "a table in memory", "sha256": hashlib.sha256(sink.getvalue()).hexdigest()}
    return rows, {**record, **source.described(settings)}


def _rated(table: tablefile.Table, settings: Reading) -> Dataset:
    """The table's rows as `load` returns them."""
    if "rating" not in table.names:
        raise InputError(
            f"{table.origin}: column rating is missing; found {', '.join(map(tablefile.shown, table.names))}."
        )
    texts = source.texts(table, settings)
    cells = [[(text or "").strip() for text in texts[own].to_pylist()] for own in ("question", "response")]
    ratings = [text or "" for text in _column(table, "rating")]
    spoken, origins = _whose(table, settings)
    by_id = settings.id_column or ("question_id" if "question_id" in table.names else None)
    asked = _column(table, by_id) if by_id and settings.match_by != "text" else []
    wrote = _column(table, "source") if "source" in table.names else [None] * len(spoken)
    columns = Features({**features.RATED, "drop_reason": Value("string")})
    rows = []
    for place, (question, response, rating) in enumerate(zip(*cells, ratings, strict=True)):
        number, reason = _number(rating)
        if not (match.visible(question) and match.visible(response) and spoken[place]):
            reason = "empty"
        rows.append(
            {
                "sample_id": features.sample_id(spoken[place], question, response),
                "question_id": (asked[place] if asked else None) or match.text_id(question),
                "culture": spoken[place],
                "origin": origins[place],
                "source": wrote[place],
                "question": question,
                "response": response,
                "rating": number,
                "drop_reason": reason,
            }
        )
    return features.table(rows, columns)


def _column(table: tablefile.Table, name: str) -> list[str | None]:
    return [text.strip() if text else None for text in source.text(table, name).to_pylist()]


def _number(text: str) -> tuple[float | None, str | None]:
    """A rating, or why it is none."""
    try:
        rating = float(text)
    except ValueError:
        return None, "rating_not_a_number"
    if not math.isfinite(rating):
        return None, "rating_not_a_number"
    return (rating, None) if LOWEST <= rating <= HIGHEST else (None, "rating_out_of_range")


def _whose(table: tablefile.Table, settings: Reading) -> tuple[list[str], list[str | None]]:
    """The raters' culture, and the origin, of every row.

    Raises:
        InputError: neither `culture` nor `associated_culture` says it.
    """
    column = settings.culture_column or "culture"
    said = None
    if "associated_culture" in table.names:
        said = [text or "" for text in _column(table, "associated_culture")]
    native = [_NATIVE.fullmatch(text) for text in said or []]
    origins: list[str | None] = [
        "native" if found else "foreign" if _FOREIGN.fullmatch(text) else None
        for found, text in zip(native, said or [], strict=True)
    ]
    if column in table.names:
        spoken = cultures.one_spelling([text or "" for text in _column(table, column)])
        cultures.check_names(spoken)
        return spoken, origins or [None] * len(spoken)
    if said is None or settings.culture_column:
        found = ", ".join(map(tablefile.shown, table.names))
        raise InputError(f"{table.origin}: no column {column} or associated_culture; found {found}.")
    adjectives = {culture.adjective.casefold(): slug for slug, culture in cultures.load().items()}
    named = [found[1] if found else "" for found in native]
    alone = {name for name in named if name}
    if len(alone) != 1 and not all(named):
        raise InputError(
            f"{table.origin}: associated_culture names {', '.join(sorted(alone)) or 'no culture'} as native, so that"
            " the raters of other rows are unknown; add a column culture, or give one culture's rows at a time."
        )
    only = next(iter(alone), "")
    return [adjectives.get((name or only).casefold(), name or only) for name in named], origins


def pairs(rated: Dataset, settings: Settings) -> Dataset:
    """The highest rated response to each question over the lowest; the rank follows how far the ratings are apart.

    Of equal responses the mean rating counts; of several that are highest, or lowest, one is drawn by seed. With an
    `origin`, a culture keeps as many pairs as its rarer one of native and foreign has, drawn by seed: native ones,
    foreign ones, or half of each (of an odd number, one more native).

    Returns:
        `features.PREFERENCE` by culture and rank (ours: the largest difference first), and `drop_reason` (one_response,
        tie, other_origin, not_drawn).

    Raises:
        InputError: an origin was asked for, and a culture lacks native or foreign pairs.
    """
    rated = PAIRS.table(rated, "rated")
    questions: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rated:
        questions[row["culture"], row["question_id"]].append(row)
    found = [_pair(rows, settings.seed) for rows in questions.values()]
    made: list[dict[str, Any]] = []
    for culture in sorted({one["culture"] for one in found}):
        own = [one for one in found if one["culture"] == culture]
        made += _ranked(own) if settings.origin is None else _of_origin(own, settings, culture)
    return features.table(made, Features({**features.PREFERENCE, "drop_reason": Value("string")}))


def _pair(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """What a question's responses make: a pair with its origin and gap, or a drop_reason."""
    ratings: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        ratings[row["response"]].append(row["rating"])
    rating = {response: mean(given) for response, given in sorted(ratings.items())}
    one = {name: rows[0][name] for name in ("question_id", "culture", "origin")}
    top, bottom = max(rating.values()), min(rating.values())
    if top == bottom:
        return {**one, "drop_reason": "one_response" if len(rating) == 1 else "tie"}
    draw = random.Random(f"{seed}/{one['culture']}/{one['question_id']}")
    chosen, rejected = (
        draw.choice([response for response, value in rating.items() if value == end]) for end in (top, bottom)
    )
    return {
        **one,
        "sample_id": features.sample_id(one["culture"], rows[0]["question"], chosen),
        "prompt": [{"role": "user", "content": rows[0]["question"]}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "gap": top - bottom,
        "drop_reason": None,
    }


def _ranked(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pairs with their rank, then what was dropped."""
    kept = [one for one in found if one["drop_reason"] is None]
    kept.sort(key=lambda one: (-one["gap"], one["sample_id"]))
    yield from ({**one, "rank": rank} for rank, one in enumerate(kept, start=1))
    yield from (one for one in found if one["drop_reason"] is not None)


def _of_origin(found: list[dict[str, Any]], settings: Settings, culture: str) -> Iterator[dict[str, Any]]:
    """A culture's pairs of an origin, as `_ranked`."""
    pools: dict[str | None, list[dict[str, Any]]] = {"native": [], "foreign": []}
    for one in found:
        if one["drop_reason"] is None:
            pools.setdefault(one["origin"], []).append(one)
    size = min(len(pools[origin]) for origin in ("native", "foreign"))
    if not size:
        counts = Counter({str(origin or "general"): len(pool) for origin, pool in pools.items()})
        told = ", ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
        raise InputError(
            f"origin is {settings.origin}, which takes equally many native and foreign questions, and {culture} has"
            f" pairs of {told}; leave --origin out, or add rows whose associated_culture says Native or Foreign."
        )
    wanted = {"native": (size, 0), "foreign": (0, size), "mixed": (size - size // 2, size // 2)}[settings.origin or ""]
    drawn: set[str] = set()
    for origin, count in zip(("native", "foreign"), wanted, strict=True):
        order = sorted(pools[origin], key=lambda one: random.Random(f"{settings.seed}/{one['sample_id']}").random())
        drawn.update(one["question_id"] for one in order[:count])
    asked = {origin for origin, count in zip(("native", "foreign"), wanted, strict=True) if count}
    for one in found:
        if one["drop_reason"] is None and one["question_id"] not in drawn:
            one["drop_reason"] = "not_drawn" if one["origin"] in asked else "other_origin"
    return _ranked(found)
