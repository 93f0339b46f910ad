"""Checks of a release's tables: columns, sample_ids, ranks, scores, splits, and texts of two cultures."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from datasets import Dataset, concatenate_datasets

from caredio import features
from caredio.errors import InputError
from caredio.publishing import scoring
from caredio.publishing.released import EVERY, Finding, Released, Unchecked, columns_of, view
from caredio.publishing.split import is_test
from caredio.training import style

EVERYONE = "all"
# columns of a ranked row that its pool may give otherwise: ranks count within splits, sample_ids are of the texts
_OF_SPLITS = ("rank", "drop_reason", "question", "response")
_LONG = 8  # words of a response that two cultures do not both give by chance
_QUOTED = 60  # characters of a text in a finding


def schema(given: Released) -> Iterator[Finding]:
    """Columns that are missing, unknown, or of another type."""
    for (config, split), table in given.tables.items():
        wanted, found = columns_of(config, table), table.features
        said = [
            *(f"column {name} is missing" for name in wanted if name not in found),
            *(f"column {name} is none of features.py" for name in found if name not in wanted),
            *(
                f"column {name} holds {_kind(found[name])}, where features.py has {_kind(kind)}"
                for name, kind in wanted.items()
                if name in found and found[name] != kind
            ),
        ]
        if said:
            yield Finding("schema", f"{config}/{split}", "; ".join(said))


def sample_ids(given: Released) -> Iterator[Finding]:
    """Rows whose sample_id, prompt or completion is of another text, and sample_ids that stand twice."""
    removed = set(given.record.get("removed") or ())
    for config, split, table in sound(given, "", "pool", everyone=True):
        columns = [table[name][:] for name in ("sample_id", "culture", "question", "response")]
        rows = list(zip(*columns, strict=True))
        wrong = [row for row, (name, *text) in enumerate(rows) if features.sample_id(*text) != name]
        yield from counted("sample_ids", config, split, wrong, columns[0], "has the sample_id of another text")
        twice = [name for name, count in Counter(columns[0]).items() if count > 1]
        again = [row for row, name in enumerate(columns[0]) if name in set(twice)]
        gone = [row for row, name in enumerate(columns[0]) if name in removed]
        yield from counted("sample_ids", config, split, gone, columns[0], "was removed, and stands there")
        beside = [row for row, answers in enumerate(_answers(table)) if not removed.isdisjoint(answers)]
        yield from counted("sample_ids", config, split, beside, columns[0], "has a removed answer beside it")
        yield from counted("sample_ids", config, split, again, columns[0], "stands there more than once")
        if "prompt" in table.column_names:
            chats = zip(*columns[2:], table["prompt"][:], table["completion"][:], strict=True)
            other = [row for row, cells in enumerate(chats) if not says(*cells)]
            yield from counted("sample_ids", config, split, other, columns[0], "has another text in its chat")
    yield from _beside(given)


def _beside(given: Released) -> Iterator[Finding]:
    """Rows of pools beside which an answer stands whose sample_id is of another text.

    The answer is a row of a pool, or was given to the row's question. Rows that stay of an earlier release may have
    answers beside them of cultures that this one has anew, to the question in other words: these are not looked at.
    """
    names = ["sample_id", "culture", "question", "response"]
    said = {name: text for _, _, table in sound(given, "pool") for name, *text in cells_of(table, names)}
    strict = set(given.scoring.cultures) if given.record.get("groups") and given.scoring else None
    for config, split, table in sound(given, "pool"):
        wrong = []
        for row, (culture, question, others, panel) in enumerate(
            cells_of(table, ["culture", "question", "others", "panel"])
        ):
            answers = [
                *((one["sample_id"], one["culture"], one["response"]) for one in others or ()),
                *((one["sample_id"], culture, one["response"]) for one in panel or ()),
            ]
            if any(not _is_of(*one, question, said, strict is None or culture in strict) for one in answers):
                wrong.append(row)
        own = table["sample_id"]
        yield from counted("sample_ids", config, split, wrong, own, "has an answer beside it of another text")


def _is_of(
    name: str, culture: str, response: str, question: str, said: Mapping[str, Sequence[str]], strict: bool
) -> bool:
    """Whether an answer beside a row to a question says what its sample_id is of."""
    if name in said:
        return (said[name][0], said[name][2]) == (culture, response)
    return not strict or features.sample_id(culture, question, response) == name


def _answers(table: Dataset) -> Iterator[set[str]]:
    """The sample_ids of the answers beside each row."""
    for row in cells_of(table, ["others", "panel"]):
        yield {one["sample_id"] for answers in row for one in answers or ()}


def ranks(given: Released) -> Iterator[Finding]:
    """Ranks that are left out or stand twice, rows out of their order, and ranks that differ between configs."""
    known: dict[tuple[str, str], dict[str, int]] = {}
    for config, split, table in sound(given, "", "pool", everyone=True):
        of_culture: dict[str, list[int]] = defaultdict(list)
        for culture, rank in zip(table["culture"][:], table["rank"][:], strict=True):
            if rank is not None:
                of_culture[culture].append(rank)
        for culture, found in of_culture.items():
            found = sorted(found) if view(config) == "pool" else found
            if found != list(range(1, len(found) + 1)):
                yield Finding("ranks", f"{config}/{split}", f"{culture}: {_gap(found)}")
        if view(config) != "pool":
            known[config, split] = dict(zip(table["sample_id"][:], table["rank"][:], strict=True))
    for config, split, table in sound(given, "preference", "unpaired", everyone=True):
        of = known.get((config.partition("-")[0], split))
        if of is None:
            continue
        names = zip(table["sample_id"][:], table["rank"][:], strict=True)
        wrong = [row for row, (name, rank) in enumerate(names) if name in of and of[name] != rank]
        said = f"has another rank than in {config.partition('-')[0]}"
        yield from counted("ranks", config, split, wrong, table["sample_id"], said)


def scores(given: Released) -> Iterator[Finding | Unchecked]:
    """Numbers of the pools that come out otherwise, and of ranked rows that are not their pool's."""
    pools = [table for _, _, table in sound(given, "pool")]
    if not pools:
        yield Unchecked("there is no pool of features.py's columns")
        return
    pool = concatenate_datasets(pools)
    kept = [name for name in features.RANKED if name in features.SCORED and name not in _OF_SPLITS]
    own = dict(zip(pool["sample_id"][:], cells_of(pool, kept), strict=True))
    for config, split, table in sound(given, "", everyone=True):
        cells = zip(table["sample_id"][:], cells_of(table, kept), strict=True)
        wrong = [row for row, (name, held) in enumerate(cells) if own.get(name) != held]
        yield from counted("scores", config, split, wrong, table["sample_id"], "is not as in the pool of its culture")
    if given.scoring is None:
        yield Unchecked("release.json does not say what they were made by")
    elif why := _removed(given):
        yield Unchecked(why)
    else:
        yield from _made_anew(given, pool, given.scoring)


def _removed(given: Released) -> str:
    """Why scores are not made anew where rows are left out that had counted; nothing where none of them had.

    A removed sample_id may be of another run's row, which release.json counts; in older releases it does not.
    """
    removed = given.record.get("removed") or ()
    scored = given.record.get("removed_scored")
    if scored is None:
        return f"{len(removed)} sample_ids were removed, whose rows may have counted" if removed else ""
    if not scored:
        return ""
    return f"{scored} row{'s were removed after they' if scored != 1 else ' was removed after it'} had counted"


def _made_anew(given: Released, pool: Dataset, by: scoring.Scoring) -> Iterator[Finding | Unchecked]:
    """Columns of the pool that come out otherwise, of the cultures that were scored together."""
    cultures = pool["culture"][:]
    if older := sorted(set(cultures) - set(by.cultures)):
        yield Unchecked(f"{', '.join(older)}: as in the release to which cultures were added; verify that one")
    pool = pool.select([row for row, culture in enumerate(cultures) if culture in by.cultures])
    cultures, names = pool["culture"][:], pool["sample_id"][:]
    try:
        for column, rows, old, new in scoring.differences(pool, _vectors(given, by.cultures), by):
            said = f"{column} of {len(rows)} of {len(pool)} rows comes out otherwise, such as of {names[rows[0]]}"
            yield Finding("scores", f"pool of {cultures[rows[0]]}", f"{said}: {old!r}, made anew {new!r}")
    except InputError as error:
        yield Unchecked(str(error))
    if by.asks:
        yield Unchecked(f"{' and '.join(by.asks)}: what a model was asked for is taken as it stands")
    if by.given:
        yield Unchecked(f"score: what ranking {by.given} read is not in a release, so it is taken as it stands")


def cells_of(table: Dataset, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """The cells of some columns, a row at a time."""
    arrow = table.select_columns(names).with_format("arrow")[:]
    return zip(*(arrow[name].to_pylist() for name in names), strict=True)


def splits(given: Released) -> Iterator[Finding]:
    """Questions that are in train and in test, of the same or of two cultures."""
    places: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for config, split, table in sound(given, "", "preference", "unpaired", everyone=True):
        for name in table["question_id"][:] if split in places else ():
            places[split].setdefault(name, config)
    if both := sorted(places["train"].keys() & places["test"].keys()):
        there = f"{places['train'][both[0]]}/train and {places['test'][both[0]]}/test"
        yield Finding("splits", there, f"{len(both)} questions are in train and in test, such as {both[0]!r}")
    share = given.record.get("test_share")
    if share is not None and not both:
        for split, of in places.items():
            if wrong := sorted(name for name in of if is_test(name, share) != (split == "test")):
                said = f"{len(wrong)} questions are not of this split by test_share {share}, such as {wrong[0]!r}"
                yield Finding("splits", f"{of[wrong[0]]}/{split}", said)


def equal_texts(given: Released) -> Iterator[Finding | Unchecked]:
    """Question and response, or a long response alone, that rows of two cultures have.

    Cultures of a release and those that were added to it were never compared: there it is no fault, and said.
    """
    seen: dict[tuple[str, ...], tuple[str, str]] = {}
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for _, _, table in sound(given, ""):
        cells = (table[name][:] for name in ("culture", "sample_id", "question", "response"))
        for culture, name, question, response in zip(*cells, strict=True):
            said = folded(response)
            keys = [(folded(question), said), *([(said,)] if len(said.split()) >= _LONG else [])]
            for key in keys:
                other, its = seen.setdefault(key, (culture, name))
                if other != culture:
                    found[other, culture].append((its, name, response))
                    break
    for (one, other), rows in found.items():
        first, second, text = rows[0]
        count = len({name for _, name, _ in rows})
        said = f"{count} row{'s say' if count > 1 else ' says'} the same in both"
        said += f", such as {first} and {second}: {_short(text)}"
        groups = given.record.get("groups") or [[one, other]]
        if any(one in group and other in group for group in groups):
            yield Finding("equal_texts", f"{one} and {other}", said)
        else:
            yield Unchecked(f"{one} and {other} were ranked by two runs, which compared none of their rows; {said}")


def sound(given: Released, *wanted: str, everyone: bool = False) -> Iterator[tuple[str, str, Dataset]]:
    """Tables of views that have their columns; `everyone` takes `all` too, where ranked rows are wanted."""
    for (config, split), table in given.tables.items():
        if (config != EVERYONE or everyone) and view(config) in wanted and table.features == columns_of(config, table):
            yield config, split, table


def counted(check: str, config: str, split: str, rows: list[int], names: Sequence[str], said: str) -> Iterator[Finding]:
    """One finding on the rows of a table that share a fault; none of no rows."""
    if rows:
        more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
        yield Finding(check, f"{config}/{split}, row {rows[0] + 1}", f"{names[rows[0]]} {said}{more}")


def _gap(found: list[int]) -> str:
    """What is wrong with ranks that are not 1, 2, 3, ... in order."""
    if missing := sorted(set(range(1, len(found) + 1)) - set(found)):
        return f"rank {missing[0]} is missing among {len(found)} rows"
    place, (one, other) = next((place, pair) for place, pair in enumerate(pairwise(found), 2) if pair[0] > pair[1])
    return f"rank {other} comes after {one} in row {place} of the culture"


def says(question: str, response: str, prompt: list[dict[str, str]], completion: list[dict[str, str]]) -> bool:
    """Whether a chat asks the question, after a line on the culture where there is one, and gives the response."""
    asked, said = style.text(prompt[-1:]), style.text(completion)
    return said == response and (asked == question or asked.endswith(f"\n\n{question}"))


def _vectors(given: Released, cultures: Iterable[str]) -> Dataset:
    """The vectors of some cultures, each sample's once.

    Raises:
        InputError: there are none.
    """
    of = {config.partition("-")[0] for config, _, table in given.of("pool") if table["culture"][0] in set(cultures)}
    tables = [table for config, _, table in sound(given, "vectors") if config.partition("-")[0] in (*of, EVERY)]
    if not tables:
        raise InputError("there are no vectors of features.py's columns.")
    every = concatenate_datasets(tables)
    first = {name: row for row, name in reversed(list(enumerate(every["sample_id"][:])))}
    return every.select(sorted(first.values()))


def folded(text: str) -> str:
    """A text by which equal ones are known: without case, forms of characters and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _short(text: str) -> str:
    text = re.sub(r"\s+", " ", text)
    return ascii(text)[1:-1][:_QUOTED] if not text.isprintable() else text[:_QUOTED]


def _kind(kind: Any) -> str:
    return getattr(kind, "dtype", None) or type(kind).__name__
