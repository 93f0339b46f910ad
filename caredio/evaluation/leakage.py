"""Whether questions of a benchmark stand in the rows that a model was trained on.

Texts are compared without case, punctuation, articles and what shows nothing. A question is leaked where a text of a
row equals it, holds its words in their order (those of fewer than five words stand in many texts), or is near to it:
MinHash finds the pairs that may be near, and the exact Jaccard similarity of their runs of three words decides. The
word in which two questions of one template differ is in three runs, so that only long texts are near that differ in
one; texts on two cultures that are known never are.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from datasets import load_dataset
from datasets.exceptions import DatasetsError

from caredio import checkpoints, packages
from caredio import cultures as culture_files
from caredio.errors import InputError
from caredio.evaluation.benchmark import VARIED, Document, named
from caredio.evaluation.benchmarks import held_out
from caredio.evaluation.majority import MARKS, plain
from caredio.evaluation.results import Asked
from caredio.runs import Run

EQUAL, CONTAINED, NEAR = "equal", "contained", "near"
NEAR_ABOVE = 0.8  # similarity
_RUN = 3  # words
_LEAST = 5  # words of a question that counts where a longer text holds it
_LONG = 8  # words of an answer that may not stand in training; letters of a question without spaces that counts
_NAMED = 3  # leaks in a message
_BANDS = (16, 4)  # of MinHash: a pair of a similarity of 0.8 is looked at with probability 0.9998
_SKIPPED = ("a", "an", "the")  # "in the UK" is "in UK"
_CHATS = ("prompt", "completion", "chosen", "rejected")
_TEXTS = ("question", "response", "text")
# a letter of a script that leaves no space between words is a word
_UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
_WORD = re.compile(rf"{_UNSPACED}[{MARKS}]*|(?:(?!{_UNSPACED})[^\W_][{MARKS}]*)+")
_ALONE = re.compile(_UNSPACED)
_Words = tuple[str, ...]
_Match = tuple[_Words, _Words, str, float]  # the words of a question and of a text, and how near


class Row(NamedTuple):
    """What a model was trained on."""

    sample_id: str
    culture: str
    texts: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...] = ()  # (source, id) of what grounded it


@dataclass(frozen=True)
class Training:
    """What is known to have been trained on."""

    rows: list[Row]
    sources: list[str]  # tables
    unread: list[str]  # a sentence on each table that cannot be read
    named: list[Row]  # those of the rows that records of trained models name


class Leak(NamedTuple):
    """A question of a benchmark in a row of training."""

    benchmark: str
    id: str
    culture: str
    sample_id: str
    how: str
    similarity: float

    def __str__(self) -> str:
        how = f"{self.how}, similarity {self.similarity:.2f}" if self.how == NEAR else self.how
        return f"question {self.id} on {self.culture} in row {self.sample_id} ({how})"


def training(run: Run, trained: Path | str | None, model: Path | str | None = None) -> Training:
    """The run's ranked rows, and those of which trained models' records say that they learned them.

    Args:
        trained: what recipes left in a folder.
        model: that is evaluated; a folder may hold a record too.
    """
    ranked = list(rows_of(run.table("ranked"))) if "ranked" in run.stages else []
    rows: list[Row] = []
    sources = ["ranked"] if ranked else []
    unread: list[str] = []
    read: set[str] = set()
    for file in _records(trained, model):
        try:
            source, found = _learned(file, read)
        except (OSError, ValueError, TypeError, DatasetsError, *packages.unreachable()) as error:
            why = checkpoints.one_line(error)
            unread.append(f"leakage: what {file} names cannot be read ({why}), so it could not be checked.")
            continue
        if silent := sum(not row.texts for row in found):
            unread.append(
                f"leakage: {silent} of {len(found)} rows of {source} hold no text in a known column"
                f" ({', '.join((*_CHATS, 'messages', *_TEXTS))}), so they could not be checked."
            )
        rows += found
        sources += [source] if source not in sources else []
    return Training(list(dict.fromkeys([*ranked, *rows])), sources, unread, list(dict.fromkeys(rows)))


def _learned(file: Path, read: set[str]) -> tuple[str, list[Row]]:
    """What a record names, and its rows; none where the same of it was `read`.

    Raises: what keeps them from being read.
    """
    record = json.loads(file.read_text(encoding="utf-8"))
    source, rows = learned(record)
    names = ("dataset_name", "dataset_config", "dataset_split", "dataset_revision", "budget")
    same = json.dumps([record.get(name) for name in names])
    if same in read:
        return source, []
    read.add(same)
    return source, list(rows_of(rows))


def learned(record: Any) -> tuple[str, Iterator[Mapping[str, Any]]]:
    """What a record of a training names, and the rows of it that were trained on.

    Raises: what keeps them from being read.
    """
    if not isinstance(record, dict) or not isinstance(record.get("dataset_name"), str):
        raise ValueError("it names no data set")
    name, config, budget = record["dataset_name"], record.get("dataset_config"), record.get("budget")
    split, revision = record.get("dataset_split") or "train", record.get("dataset_revision")

    def rows() -> Iterator[Mapping[str, Any]]:
        table = load_dataset(name, config, split=split, revision=revision)
        ranked = isinstance(budget, int) and "rank" in table.column_names  # else any row may be one of them
        yield from (row for row in table if not budget or not ranked or (row["rank"] or 0) <= budget)

    return f"{name} ({config})", rows()


def _records(trained: Path | str | None, model: Path | str | None) -> list[Path]:
    """The records that recipes left beside a model, or beside that of each culture, and beside what it was made of."""
    folder = Path(trained) if trained else None
    below = sorted(place for place in folder.glob("*") if place.is_dir()) if folder else []
    places = [*([folder] if folder else []), *below, *([Path(model)] if model else [])]
    found: dict[Path, None] = {}
    for place in places:  # which grows by what a model was made of
        file = place / checkpoints.RECORD
        if file.is_file() and file not in found:
            found[file] = None
            places += [Path(name) for name in _made_of(file)]
    return list(found)


def _made_of(file: Path) -> list[str]:
    """The models and adapters that a record says its model was trained from."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return [name for name in (record.get("base_model"), record.get("adapter")) if isinstance(name, str) and name]
    except (OSError, ValueError, AttributeError):
        return []  # which `_learned` tells


def check(asked: Asked, learned: Training, allowed: bool) -> None:
    """See that nothing that is asked was learned; what is found goes into the record of the results.

    The held-out questions of a run are among its rows; so they are looked for in what trained models' records name.

    Args:
        allowed: whether leaks are noted alone.

    Raises:
        InputError: a question stands in what was learned, and that is not allowed.
    """
    plain = {named(one.name, variant): one.title for one, variant in asked.asked if VARIED not in one.name}
    found: dict[str, dict[tuple[str, str], Document]] = {title: {} for title in plain.values()}
    for (column, culture), some in asked.documents.items():
        if column in plain:
            found[plain[column]] |= {(str(one["id"]), culture): one for one in some}
    documents = {title: list(some.values()) for title, some in found.items()}
    own = {benchmark.title for benchmark, _ in asked.asked if benchmark.source == held_out.NAME}
    others = {title: some for title, some in documents.items() if title not in own}
    leaks = find(others, learned.rows) if learned.rows and others else []
    leaks += find({title: documents[title] for title in own}, learned.named) if learned.named and own else []
    if leaks and not allowed:
        raise InputError(
            f"{_told(documents, leaks)}; take these rows out of training, leave the benchmark out, or report it all"
            " the same with --allow-leaked."
        )
    asked.notes += [*learned.unread, *([f"leakage: {_told(documents, leaks)}."] if leaks else [])]
    asked.leakage = {
        "sources": learned.sources,
        "unchecked": learned.unread,
        "rows": len(learned.rows),
        "questions": {title: len(some) for title, some in documents.items()},
        "leaks": [leak._asdict() for leak in leaks],
    }


def _told(documents: Mapping[str, Sequence[Document]], leaks: Sequence[Leak]) -> str:
    """How many questions are leaked, and some of them, in words."""
    counts = [
        f"{len(own)} of {len(some)} questions of {name}"
        for name, some in documents.items()
        if (own := {(leak.id, leak.culture) for leak in leaks if leak.benchmark == name})
    ]
    more = f" and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
    verb = "stands" if len(leaks) == 1 else "stand"
    return f"{', '.join(counts)} {verb} in rows of training: {', '.join(map(str, leaks[:_NAMED]))}{more}"


def words(text: str) -> tuple[str, ...]:
    """The words of a text that are compared, without case and punctuation, their vowel signs and accents kept."""
    return tuple(word for word in _WORD.findall(plain(text)) if word not in _SKIPPED)


def runs(found: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """The runs of words of a text, its beginning and its end marked, so that each word is in as many."""
    edge = ("",) * (_RUN - 1)
    padded = (*edge, *found, *edge)
    return frozenset(padded[place : place + _RUN] for place in range(len(padded) - _RUN + 1))


def similarity(one: frozenset[Any], other: frozenset[Any]) -> float:
    """Jaccard's, of two texts' runs."""
    return len(one & other) / len(one | other)


def texts_of(document: Document) -> list[str]:
    """What of a document may not stand in training: its question, alone and with what is offered; long answers."""
    question = str(document.get("question") or "")
    told = [str(one) for one in document.get("options") or document.get("statements") or ()]
    answers = [str(one["text"]) for one in document.get("answers") or ()]
    long = [one for one in answers if len(words(one)) >= _LONG]
    return [question, *([" ".join([question, *told])] if told else []), *long]


def rows_of(table: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """The rows of a table that a model is trained on: ranked, of pairs, of marked answers, of chats or of texts."""
    for number, row in enumerate(table, 1):
        prompt, *answers = [_said(row.get(name)) for name in _CHATS]
        chat = _said(row.get("messages"))
        texts = [*prompt, *chain(*answers), *(" ".join([*prompt, *answer]) for answer in answers if answer)]
        texts += [*chat, " ".join(chat), *chain(*(_said(row.get(name)) for name in _TEXTS))]
        name = str(row.get("sample_id") or f"number {number}")
        evidence = tuple((one["source"], one["evidence_id"]) for one in row.get("evidence") or ())
        yield Row(name, str(row.get("culture") or ""), tuple(filter(str.strip, dict.fromkeys(texts))), evidence)


def _said(value: Any) -> list[str]:
    """The texts of a cell: of a text itself, or of a chat's messages and their parts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return _said(value.get("content") or value.get("text"))
    return [text for one in value for text in _said(one)] if isinstance(value, (list, tuple)) else []


def find(documents: Mapping[str, Sequence[Document]], rows: Iterable[Row]) -> list[Leak]:
    """The leaks of benchmarks' documents, by name; of a document and a row the closest.

    Raises:
        InputError: datasketch is not installed.
    """
    packages.require("the check of leakage", "eval", "datasketch")
    holders: dict[_Words, list[Row]] = {}
    for row in rows:
        for text in row.texts:
            if found := words(text):
                holders.setdefault(found, []).append(row)
    asked: dict[_Words, list[tuple[str, Document]]] = {}
    for benchmark, some in documents.items():
        for document in some:
            for question in filter(None, map(words, texts_of(document))):
                asked.setdefault(question, []).append((benchmark, document))
    known = _cultures(documents)
    leaks: dict[tuple[str, ...], Leak] = {}
    for question, found, how, near in chain(_held(asked, holders), _near(asked, holders)):
        for benchmark, document in asked[question]:
            for row in holders[found]:
                if how != NEAR or known.get(words(row.culture)) in (None, known[words(document["culture"])]):
                    own = benchmark, str(document["id"]), document["culture"], row.sample_id
                    leaks.setdefault(own, Leak(*own, how, round(near, 3)))
    return list(leaks.values())


def _cultures(documents: Mapping[str, Sequence[Document]]) -> dict[_Words, _Words]:
    """What a culture is called -> its slug, of all that are known; a row of another name may be on any of them."""
    asked = {words(one["culture"]) for some in documents.values() for one in some}
    every = culture_files.load().values()
    return {words(name): words(one.slug) for one in every for name in (one.name, one.slug)} | {
        one: one for one in asked
    }


def _held(asked: Mapping[_Words, Any], texts: Iterable[_Words]) -> Iterator[_Match]:
    """Questions that equal a text, or whose words stand in one in their order."""
    starts: dict[_Words, set[int]] = {}  # the first words of questions -> how many words these have
    for question in asked:
        if len(question) >= (_LONG if _ALONE.match(question[0]) else _LEAST):
            starts.setdefault(question[:_LEAST], set()).add(len(question))
    for found in texts:
        if found in asked:
            yield found, found, EQUAL, 1.0
        for place in range(len(found) - _LEAST + 1):
            for length in starts.get(found[place : place + _LEAST], ()):
                question = found[place : place + length]
                if question in asked and len(question) == length < len(found):
                    yield question, found, CONTAINED, 1.0


def _near(asked: Iterable[_Words], texts: Iterable[_Words]) -> Iterator[_Match]:
    """Questions that a text is near to."""
    from datasketch import MinHash, MinHashLSH

    def hashed(some: Iterable[frozenset[_Words]]) -> Iterator[Any]:
        shingles = ([" ".join(run).encode() for run in one] for one in some)
        return MinHash.generator(shingles, num_perm=_BANDS[0] * _BANDS[1], seed=1, hashfunc=zlib.crc32)

    questions = [(one, runs(one)) for one in asked]
    sizes = [len(of) for _, of in questions] or [0]
    least, most = NEAR_ABOVE * min(sizes), max(sizes) / NEAR_ABOVE  # a text of another size is near to none
    found = [(one, of) for one in texts for of in [runs(one)] if least <= len(of) <= most]
    index = MinHashLSH(num_perm=_BANDS[0] * _BANDS[1], params=_BANDS)
    for place, one in enumerate(hashed(of for _, of in questions)):
        index.insert(place, one)
    for (text, own), one in zip(found, hashed(of for _, of in found), strict=True):
        for place in index.query(one):
            question, of = questions[place]
            if question != text and (near := similarity(of, own)) > NEAR_ABOVE:
                yield question, text, NEAR, near
