"""Every column of every table, once: the contract between stages.

A table is a `datasets.Features`; `COLUMNS` gives each column its type, its meaning and the stage that writes it, and
the tables below are lists of column names. Rows that a stage gives up carry a `drop_reason`; `kept` leaves them behind.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value, concatenate_datasets
from datasets.fingerprint import generate_random_fingerprint

from caredio import reasons
from caredio.errors import InputError

_PART = 1_000  # rows made into a table at once
_TEXT = Value("string")
_MESSAGES = List({"role": _TEXT, "content": _TEXT})


# what synthesis/checks.py looks for in a model's text; the first that is found is the reason
TEXT_CHECKS = (
    "refusal",
    "meta-talk",
    "leaked prompt",
    "wrong language",
    "toxic",
    "personal data",
    "sweeping statement",
    "names another culture",
    "compares_with_elsewhere",
)
_REASON_CHECKS = ("toxic", "personal data")  # a reviewer speaks of what it objects to
# a reflection is on other cultures, and on the answers that the prompt shows
_REFLECTION_CHECKS = ("refusal", "meta-talk", "wrong language", "toxic", "personal data", "sweeping statement")


class Column(NamedTuple):
    type: object
    meaning: str
    writer: str
    # checks that a model's text in it has passed, by field of a nested column; none where no model writes the text
    checks: tuple[str, ...] | dict[str, tuple[str, ...]] = ()


COLUMNS: dict[str, Column] = {
    # topics and questions
    "topic_id": Column(_TEXT, "topic, as in topics.yaml", "topics"),
    "level": Column(_TEXT, "values, norms, practices or customs", "topics"),
    "topic": Column(_TEXT, "the topic's name", "topics"),
    "description": Column(_TEXT, "the topic in a sentence", "topics"),
    "subtopic": Column(_TEXT, "part of the topic; null is the whole of it", "subtopics", TEXT_CHECKS),
    "question_id": Column(
        _TEXT, "slot of a universal question; (culture, question_id) lasts across releases", "questions"
    ),
    "question_type": Column(_TEXT, "scenario, value or open", "questions"),
    "language": Column(_TEXT, "BCP-47 tag of the text", "questions"),
    "sensitivity": Column(
        Value("int32"),
        "how differently cultures would answer, 1 to 5, as a model judged; null where none did",
        "questions",
    ),
    # answers
    "target": Column(_TEXT, "culture whose adapted question is answered", "isolated"),
    "culture": Column(_TEXT, "slug of the culture that speaks", "roleplay"),
    "persona": Column(_TEXT, "who answers within the culture; null is nobody in particular", "roleplay"),
    "condition": Column(_TEXT, "isolated (sees no other answer) or contrastive", "roleplay"),
    "draw": Column(Value("int32"), "number of the sample for the same prompt, from 0", "roleplay"),
    # candidates
    "sample_id": Column(_TEXT, "content hash of culture, question and response", "contrast"),
    "universal_question": Column(_TEXT, "the question before adaptation", "adapt", TEXT_CHECKS),
    "question": Column(_TEXT, "the question as asked", "questions, adapt", TEXT_CHECKS),
    "response": Column(
        _TEXT,
        "the answer as the culture; of candidates, the contrastive one if there is contrast",
        "roleplay, contrast",
        TEXT_CHECKS,
    ),
    "isolated_response": Column(_TEXT, "the answer before seeing the others'", "contrast", TEXT_CHECKS),
    "reflection": Column(
        _TEXT,
        "what the model thought before the response, in English; null where it failed a check; no training text",
        "contrast, optimize",
        _REFLECTION_CHECKS,
    ),
    "others": Column(
        List({"culture": _TEXT, "sample_id": _TEXT, "response": _TEXT, "shown": Value("bool")}),
        "isolated answers of other cultures to this question; shown ones were in the contrastive prompt",
        "contrast",
        {"response": TEXT_CHECKS},
    ),
    "panel": Column(
        List({"persona": _TEXT, "sample_id": _TEXT, "response": _TEXT}),
        "other answers of the same culture to this question, by persona where one was drawn",
        "contrast",
        {"response": TEXT_CHECKS},
    ),
    "traits": Column(List(_TEXT), "what the comparison says of the culture", "adapt", TEXT_CHECKS),
    # review
    "truth": Column(Value("int32"), "true of most people there today, 1 to 5; null where not reviewed", "review"),
    "answering": Column(Value("int32"), "answers the question, 1 to 5", "review"),
    "fairness": Column(Value("int32"), "no stereotype or caricature, 1 to 5", "review"),
    "recognition": Column(Value("int32"), "would be recognised without the culture's name, 1 to 5", "review"),
    "recognised_as": Column(_TEXT, "culture that the reviewer guessed first", "review"),
    "review": Column(
        List({"criterion": _TEXT, "reason": _TEXT}),
        "the reviewer's reason for each score; null where it fails a check",
        "review",
        {"reason": _REASON_CHECKS},
    ),
    "round": Column(Value("int32"), "optimisation round that wrote the text, 0 for none", "contrast, optimize"),
    "history": Column(
        List(
            {
                "round": Value("int32"),
                "question": _TEXT,
                "response": _TEXT,
                "reflection": _TEXT,
                "objective": Value("float64"),
            }
        ),
        "accepted steps of the optimisation, from round 0 on",
        "optimize",
        {"question": TEXT_CHECKS, "response": TEXT_CHECKS, "reflection": _REFLECTION_CHECKS},
    ),
    "generator": Column(_TEXT, "model that was asked", "contrast"),
    "model_revision": Column(_TEXT, "model that says it answered", "contrast"),
    "prompt_sha": Column(_TEXT, "hash of the prompt file", "contrast"),
    "weight": Column(Value("float64"), "how many people, or draws, gave the row; null is 1", "contrast, candidates"),
    # vectors, of the embedder's length
    "sample_embedding": Column(List(Value("float32")), "of question and response; null for other answers", "embed"),
    "response_embedding": Column(List(Value("float32")), "of the response alone", "embed"),
    # scores
    "cluster": Column(Value("int32"), "cluster within the culture, 0 = largest", "cluster"),
    "cluster_size": Column(Value("float64"), "the sum of the weights of the samples in it", "cluster"),
    "is_center": Column(Value("bool"), "most similar to the rest of its cluster", "cluster"),
    "representativeness": Column(
        Value("float64"), "r, how central to its culture the answer is; null where not a centre", "represent"
    ),
    "distinctiveness": Column(
        Value("float64"), "d, how far it is from other cultures' answers; null where none answered", "distinct"
    ),
    "compared": Column(Value("int32"), "how many other cultures d is the mean over", "distinct"),
    "score": Column(Value("float64"), "s, what the rank follows", "rank"),
    "drop_reason": Column(_TEXT, "why the row is not in the next table; null where it is", "every stage"),
    "unusable": Column(_TEXT, "what the model wrote, in rows dropped for it; among rejects only", "every stage"),
    # what is trained on
    "rank": Column(Value("int32"), "1 = first within its culture; null where dropped", "rank"),
    "prompt": Column(_MESSAGES, "chat messages asked", "rank, preference, unpaired", {"content": TEXT_CHECKS}),
    "completion": Column(_MESSAGES, "chat messages to learn", "rank, unpaired", {"content": TEXT_CHECKS}),
    "chosen": Column(
        _MESSAGES, "the culture's answer, or the one rated highest", "preference", {"content": TEXT_CHECKS}
    ),
    "rejected": Column(
        _MESSAGES,
        "another culture's answer to the same question, or the worst rated",
        "preference",
        {"content": TEXT_CHECKS},
    ),
    "rejected_culture": Column(_TEXT, "whose answer that is; null where answers were rated", "preference"),
    # evidence
    "evidence_id": Column(_TEXT, "of a piece of evidence within its source; of a survey, its question's", "evidence"),
    "text": Column(_TEXT, "a piece of evidence as prompts show it", "evidence"),
    "similarity": Column(Value("float64"), "cosine of the question and the piece", "grounding"),
    "evidence": Column(
        List({"source": _TEXT, "evidence_id": _TEXT}),
        "the pieces that the prompts of the culture's answers showed; null where none was given",
        "contrast",
    ),
    "label": Column(Value("bool"), "whether the completion is one that was chosen", "unpaired"),
    # rated responses
    "source": Column(_TEXT, "who or what wrote the response; of evidence, where it comes from", "rated, evidence"),
    "origin": Column(_TEXT, "of the question: native (on the raters' culture), foreign, or null", "rated"),
    "rating": Column(Value("float64"), "how well the response fits the culture, 1 to 10", "rated"),
    # results
    "system": Column(_TEXT, "what was evaluated, or what knows nothing: chance, fixed letter, ...", "evaluate"),
    "benchmark": Column(_TEXT, "of those that `caredio benchmarks` lists, with its variant", "evaluate"),
    "metric": Column(_TEXT, "one of the benchmark's: acc (of questions), unparsed, ...", "evaluate"),
    "n": Column(Value("int32"), "questions, of which a judgement or an order of options is a part", "evaluate"),
    "value": Column(Value("float64"), "mean over the questions", "evaluate"),
    "low": Column(Value("float64"), "lower end of its 95 % interval; null of chance, an expectation", "evaluate"),
    "high": Column(Value("float64"), "upper end", "evaluate"),
    "model": Column(_TEXT, "adapter or model that answered, as it was named; null of a baseline", "evaluate"),
    "weights_sha256": Column(_TEXT, "hash of that adapter's or model's files, tokenizer included", "evaluate"),
    "base_sha256": Column(_TEXT, "hash of the weights an adapter was put on; null where there was none", "evaluate"),
    "benchmark_sha256": Column(_TEXT, "hash of the benchmark's file or folder", "evaluate"),
    "settings_sha256": Column(_TEXT, "hash of how it was asked; run.json holds the settings", "evaluate"),
    "benchmark_version": Column(_TEXT, "version of the benchmark's declaration", "evaluate"),
    "trained_on": Column(_TEXT, "what training.json beside the weights names as data; null where none is", "evaluate"),
    "rows_sha256": Column(_TEXT, "hash of the rows of it that were trained on", "evaluate"),
    "budget": Column(Value("int32"), "how many of the best rows they are; null where all were taken", "evaluate"),
    "ranking": Column(_TEXT, "by what these were ranked; null where training.json does not say", "evaluate"),
    "recipe": Column(_TEXT, "the recipe that trained on them, such as sft", "evaluate"),
}


def columns(names: str) -> Features:
    """The columns of these names, with spaces between."""
    return Features({name: COLUMNS[name].type for name in names.split()})


TOPICS = columns("topic_id level topic description")
SUBTOPICS = columns("topic_id level topic description subtopic")
QUESTIONS = columns("question_id topic_id level subtopic question_type language question sensitivity")
ANSWERS = columns("question_id culture persona condition draw response")
ISOLATED = Features({**columns("target"), **ANSWERS})
ADAPTED = columns("question_id culture language topic_id level question_type universal_question question traits")
CANDIDATES = columns(
    "sample_id question_id culture language topic_id level question_type universal_question question response"
    " isolated_response reflection others panel traits round history generator model_revision prompt_sha"
    " weight truth answering fairness recognition recognised_as review evidence"
)
EVIDENCE = columns("evidence_id culture source question text")
GROUNDING = columns("question_id culture evidence_id source text similarity")
CONTRASTED_OTHERS = columns("sample_id culture response")  # of a candidate: what another culture says in contrast
LATER = columns(
    "weight truth answering fairness recognition recognised_as review reflection evidence"
)  # of these, what runs of older versions lack
REJECTS = columns("drop_reason unusable")  # what the rows given up hold besides
OWN = columns("question_id question response culture")  # the least a table of one's own holds
# what is taken over from it, where it is text; a row with a drop_reason is left out, and counted under it
TAKEN = columns("language topic_id level question_type universal_question generator model_revision drop_reason")
_SCORES = "cluster cluster_size is_center representativeness distinctiveness compared score"
SCORED = Features({**CANDIDATES, **columns(_SCORES), **columns("rank drop_reason")})
RANKED = Features({**CANDIDATES, **columns(_SCORES), **columns("rank prompt completion")})
RESULTS = columns(
    "system culture benchmark metric n value low high model weights_sha256 base_sha256 benchmark_sha256 settings_sha256"
    " benchmark_version trained_on rows_sha256 budget ranking recipe"
)
PREFERENCE = columns("sample_id question_id culture rank prompt chosen rejected rejected_culture")
UNPAIRED = columns("sample_id question_id culture rank prompt completion label")
RATED = columns("sample_id question_id culture origin source question response rating")


def vectors(dim: int) -> Features:
    """Embeddings keyed by `sample_id`, unit float32 vectors of length `dim`.

    `sample_embedding` (question and response: what is clustered) is null for texts that only stand in `others` or
    `panel`; `response_embedding` is what Eq. 1 compares.
    """
    vector = List(Value("float32"), length=dim)
    return Features({"sample_id": _TEXT, "sample_embedding": vector, "response_embedding": vector})


def require(dataset: Dataset, columns: Iterable[str], what: str) -> Dataset:
    """`dataset` without rows dropped earlier, once it is known to hold `columns` and at least one row.

    Raises:
        InputError: names the missing columns and those that are there, or says that no row is left.
    """
    missing = [name for name in columns if name not in dataset.column_names]
    if missing:
        raise InputError(f"{what}: column {', '.join(missing)} is missing; found {', '.join(dataset.column_names)}.")
    left = kept(dataset)
    if not len(left):
        raise reasons.nothing_left(what, Counter(rejected(dataset)["drop_reason"][:]) if len(dataset) else {})
    return left


def current(dataset: Dataset) -> Dataset:
    """A run's table with the columns and fields that candidates have had since it was written, as nulls."""
    missing = [name for name in LATER if name not in dataset.column_names]
    if not missing or "prompt_sha" not in dataset.column_names:  # not made of candidates
        return dataset
    steps = columns("history")  # which have had a field more
    if dataset.features.get("history", steps["history"]) != steps["history"]:
        dataset = beside(dataset, conform(dataset, steps))
    rows = {name: [None] * len(dataset) for name in missing}
    return beside(dataset, Dataset.from_dict(rows, features=columns(" ".join(missing))))


def weights(dataset: Dataset) -> list[float]:
    """How many people gave each row: 1 where that is not known."""
    if "weight" not in dataset.column_names:
        return [1.0] * len(dataset)
    return [1.0 if weight is None else weight for weight in dataset["weight"][:]]


def kept(dataset: Dataset) -> Dataset:
    """The rows without a `drop_reason`, and without that column."""
    if "drop_reason" not in dataset.column_names:
        return dataset
    rows = dataset.with_format("arrow")[:]
    dropped = rows["drop_reason"]
    if dropped.null_count < len(rows):
        rows = rows.filter(pc.is_null(dropped))
    return in_memory(rows).remove_columns("drop_reason")


def rejected(dataset: Dataset) -> Dataset:
    """The rows with a `drop_reason`."""
    dropped = dataset["drop_reason"][:] if "drop_reason" in dataset.column_names else []
    return dataset.select([row for row, reason in enumerate(dropped) if reason is not None])


def table(rows: Iterable[Mapping[str, Any]], columns: Features) -> Dataset:
    """Rows as a table of `columns`; absent values are null, and no rows make an empty table.

    A generator's rows are not all held at once: as dicts, a whole dataset's answers are several times its table.
    """
    rest = iter(rows)
    parts = iter(lambda: list(islice(rest, _PART)), [])
    tables = [
        Dataset.from_dict({name: [row.get(name) for row in part] for name in columns}, features=columns)
        for part in chain([next(parts, [])], parts)
    ]
    return concatenate_datasets(tables)


def conform(dataset: Dataset, columns: Features) -> Dataset:
    """`dataset` with `columns` and no others, cast to their types, in memory."""
    return in_memory(dataset.select_columns(list(columns)).with_format("arrow")[:].cast(columns.arrow_schema))


def in_memory(arrow: pa.Table) -> Dataset:
    """An Arrow table as a dataset; its fingerprint is drawn, as the whole table would be pickled to compute one."""
    return Dataset(arrow, fingerprint=generate_random_fingerprint())


def beside(dataset: Dataset, added: Dataset) -> Dataset:
    """`dataset` with the columns of `added`, row by row; columns of the same name are replaced."""
    if not len(dataset):
        return table([], Features({**dataset.features, **added.features}))
    old = [name for name in added.column_names if name in dataset.column_names]
    return concatenate_datasets([dataset.remove_columns(old), added], axis=1)


def stack(dataset: Dataset, dropped: list[dict[str, Any]]) -> Dataset:
    """`dataset` (with a `drop_reason`) followed by rows given up before they came that far; absent columns are null."""
    if not dropped:
        return dataset
    return concatenate_datasets([dataset, table(dropped, dataset.features)])


def count_within(groups: Iterable[str]) -> list[int]:
    """For each row, how many rows of its group came up to it, itself included: 1, 2, ... within each group."""
    counts: Counter[str] = Counter()
    numbers = []
    for group in groups:
        counts[group] += 1
        numbers.append(counts[group])
    return numbers


def sample_id(culture: str, question: str, response: str) -> str:
    """The 16 hex digits that the same sample has everywhere."""
    return hashlib.sha256("\x1f".join((culture, question, response)).encode()).hexdigest()[:16]
