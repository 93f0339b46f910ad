"""Does choosing rows help a model learn a culture? Measured on what people in 16 regions answered (BLEnD).

    python tests/benchmarks/proof.py BLEnD/data/annotations --out runs/proof --half tune
    python tests/benchmarks/proof.py BLEnD/data/annotations --out runs/proof --half tune --report
    python tests/benchmarks/proof.py BLEnD/data/annotations --out runs/proof --half confirm

The plan, its contrasts and its stop rule are docs/proof.md. A fit is one arm's 80 rows of one region, a LoRA adapter of
SmolLM2-135M-Instruct. What it scored is a line of the results, written when the fit ends; the same command goes on with
those that are not there. `--report` prints the tables (proof_report.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import proof_model
import proof_report
from datasets import Dataset, concatenate_datasets
from proof_report import MAIN_SEED, RAW, REGIONS, partner

import caredio
from caredio.evaluation import short_answers
from caredio.evaluation.benchmark import Document
from caredio.evaluation.benchmarks import blend_answers
from caredio.selection import match
from caredio.selection.embedders import GIVEN, MINILM
from caredio.selection.settings import PAPER, THETA
from caredio.training import heldout, nested, views
from caredio.training.record import rows_sha256

BUDGET = 80
STEPS = 40  # of 4 rows: each of 80 is learned from twice
ALL = 10**6  # more rows than there are
TESTED = {"tune": range(6, 10), "confirm": range(4)}  # parts of the questions, see `part`
RESULTS = Path(__file__).parent / "proof"
Ordered = Callable[["Pool", str, int], Dataset]  # pool, region, seed -> its rows, those to take first


def part(question_id: str) -> int:
    """The part of the questions, 0 to 9, that one is in."""
    return hashlib.sha256(question_id.encode()).digest()[-1] % 10


def documents(folder: Path) -> list[Document]:
    """What people answered, in English; regions in lower case."""
    return [{**one, "culture": one["culture"].lower()} for one in blend_answers.english(folder)]


def tested(every: Iterable[Document], half: str, region: str) -> list[Document]:
    """The region's test questions: those that have an own answer, and another region's rival one."""
    found = [one for one in every if one["culture"] == region and part(one["id"]) in TESTED[half]]
    return sorted((one for one in found if one["own"] and one["rivals"]), key=lambda one: _drawn(one["id"]))


def table(every: Iterable[Document], half: str) -> Dataset:
    """The answers of all regions to the other questions, with how many people gave each."""
    rows = [
        {
            "question_id": one["id"],
            "question": one["question"],
            "culture": one["culture"],
            "response": answer["text"],
            "weight": answer["weight"],
        }
        for one in every
        if part(one["id"]) not in TESTED[half]
        for answer in one["answers"]
    ]
    return Dataset.from_list(rows)


@dataclass
class Pool:
    """The rows that may be learned, as `caredio.select` ranks them by one setting or another.

    Attributes:
        rows: the table.
        own: (region, question) -> the answer that most people gave, where one stands out.
        out: folder of the vectors and of the ranking that was made last.
    """

    rows: Dataset
    own: dict[tuple[str, str], str]
    out: Path
    made: dict[str, tuple[Dataset, Dataset]] = field(default_factory=dict)

    @cached_property
    def weights(self) -> dict[tuple[str, str, str], float]:
        """(region, question, answer) -> how many people gave it."""
        found: dict[tuple[str, str, str], float] = {}
        for row in self.rows:
            key = row["culture"], row["question_id"], row["response"]
            found[key] = found.get(key, 0) + row["weight"]
        return found

    @cached_property
    def embedded(self) -> Dataset:
        """The table with MiniLM's vectors, which are made once, whatever is then ranked by them."""
        file = self.out / "embedded.parquet"
        if file.is_file():
            kept = Dataset.from_parquet(str(file))
            if kept.select_columns(self.rows.column_names).to_list() == self.rows.to_list():
                return kept
        made = caredio.select(self.rows, out=self.out / "embedded", budget=1, ranking="random").vectors
        names = match.sample_ids(match.own_cells(self.rows))
        place = {name: row for row, name in enumerate(made["sample_id"])}
        beside = made.select([place[name] for name in names]).remove_columns("sample_id")
        found = concatenate_datasets([self.rows, beside], axis=1)
        found.to_parquet(str(file))
        return found

    def select(self, **settings: Any) -> tuple[Dataset, Dataset]:
        """The ranked rows, best first, and all rows with their scores."""
        key = json.dumps(settings, sort_keys=True)
        if key not in self.made:
            given = {"embedder": GIVEN, "theta": THETA[MINILM], "budget": BUDGET, "rejected": "one", **settings}
            result = caredio.select(self.embedded, out=self.out / "ranked", **given)
            self.made[key] = result.ranked, result.pool
        return self.made[key]

    def best(self, region: str, **settings: Any) -> Dataset:
        """The region's ranked rows, best first."""
        return views.of_culture(self.select(**settings)[0], region)

    def able(self, region: str) -> Dataset:
        """Every row of the region that could have been ranked, with prompt and completion."""
        rows = views.of_culture(self.select(ranking="random", **EVERY)[1], region)
        rows = rows.select([place for place, compared in enumerate(rows["compared"]) if compared])
        return nested.as_ranked(rows.remove_columns("drop_reason"))

    def by_chance(self, region: str, seed: int) -> Dataset:
        """Rows that could have been ranked, in an order drawn by seed."""
        able = self.able(region)
        return able.select(nested.by_chance(able["sample_id"][:], seed))

    def by_people(self, region: str, seed: int) -> Dataset:
        """As `by_chance`, where an answer that k people gave has k chances to come first (Efraimidis, 2006)."""
        able = self.able(region)
        keys = []
        for row in able.select_columns(["culture", "question_id", "response", "sample_id"]):
            drawn = random.Random(f"{seed}/{row['sample_id']}").random()
            keys.append(drawn ** (1 / self.weights[row["culture"], row["question_id"], row["response"]]))
        return able.select(sorted(range(len(able)), key=lambda place: -keys[place]))

    def by_score(self, region: str, **settings: Any) -> Dataset:
        """The region's rows that have a score, best first, whatever their number."""
        rows = views.of_culture(self.select(**settings)[1], region)
        rows = rows.select([place for place, score in enumerate(rows["score"]) if score is not None])
        order = nested.by_column(rows["score"][:], rows["sample_id"][:])
        return nested.as_ranked(rows.select(order).remove_columns("drop_reason"))


EVERY = {"compared": None}  # all other regions


def random_rows(pool: Pool, region: str, seed: int) -> Dataset:
    return pool.by_chance(region, seed)


def random_question(pool: Pool, region: str, seed: int) -> Dataset:
    return _one_each(pool.by_chance(region, seed))


def random_person(pool: Pool, region: str, seed: int) -> Dataset:
    return _reordered(pool.by_people(region, seed), pool.by_chance(region, seed))


def majority(pool: Pool, region: str, seed: int) -> Dataset:
    rows = pool.by_chance(region, seed)
    own = [pool.own.get((region, row["question_id"])) == row["response"] for row in rows]
    return _reordered(rows.select([place for place, found in enumerate(own) if found]), rows)


def chosen(**settings: Any) -> Ordered:
    """An arm of the best rows by a setting; its seed moves the training alone."""
    return lambda pool, region, seed: pool.best(region, **settings)


def best_answers(**settings: Any) -> Ordered:
    """An arm of random questions, each with its best answer by a setting."""

    def ordered(pool: Pool, region: str, seed: int) -> Dataset:
        best = _one_each(pool.by_score(region, **settings))
        return _reordered(best, pool.by_chance(region, seed))

    return ordered


def _one_each(rows: Dataset) -> Dataset:
    """The first row of each question."""
    questions = rows["question_id"][:]
    return rows.select(sorted({question: place for place, question in reversed(list(enumerate(questions)))}.values()))


def _reordered(rows: Dataset, by: Dataset) -> Dataset:
    """The first row of each question, in the order in which the questions first come in another table."""
    place = {row["question_id"]: number for number, row in reversed(list(enumerate(by)))}
    first = _one_each(rows)
    questions = first["question_id"][:]
    return first.select(sorted(range(len(first)), key=lambda row: place[questions[row]]))


@dataclass(frozen=True)
class Arm:
    """One way to fill the budget."""

    about: str
    ordered: Ordered
    budget: int = BUDGET


SUPPORT = {"score": "sum", "representativeness": "support", "distinctiveness": "hybrid", "weight": 1.0, **EVERY}
TYPICALITY = {"score": "sum", "representativeness": "typicality", "weight": 0.5, **EVERY}
ARMS = {
    "random_question": Arm("one random answer to each of 80 random questions", random_question),
    "support": Arm("support + hybrid, all regions compared, answers weighted", chosen(**SUPPORT)),
    "size": Arm("the paper's: size x cosine, 4 regions compared", chosen(**PAPER)),
    "random_person": Arm("one random person's answer to each of 80 random questions", random_person),
    "typicality": Arm("typicality + 0.5 cosine, all regions compared, answers weighted", chosen(**TYPICALITY)),
    "majority": Arm("80 random questions' majority answers (oracle)", majority),
    "random": Arm("random rows", random_rows),
    "best_answer": Arm("80 random questions, each with its best answer by `support`", best_answers(**SUPPORT)),
    "all": Arm("all rows, in as many steps (oracle)", random_rows, ALL),
}


def main() -> None:
    given = _arguments()
    results = RESULTS / f"{given.half}.jsonl"
    if given.report:
        print(proof_report.report(proof_report.read(results), given.half))
        return
    every = documents(given.annotations)
    given.out.mkdir(parents=True, exist_ok=True)
    run(every, given, results)


def run(every: list[Document], given: argparse.Namespace, results: Path) -> None:
    """Fit and measure what is asked for and not among the results."""
    done = {proof_report.key(one) for one in proof_report.read(results)}
    test = {region: tested(every, given.half, region) for region in REGIONS[given.half]}
    own = {(one["culture"], one["id"]): one["own"] for one in every if one["own"]}
    pool = Pool(table(every, given.half), own, given.out / given.half)
    wanted = list(_wanted(given, done))
    if not wanted:
        return
    tokenizer, base = proof_model.tokenizer(), heldout.Model(str(proof_model.model_path()), "float32")
    base.tokenizer.chat_template = tokenizer.chat_template
    written, by = proof_model.WRITTEN[given.half], {"commit": _commit()}
    for arm, region, seed in wanted:
        head = {"half": given.half, "arm": arm, "region": region, "seed": seed}
        asked = test[region], [] if arm == RAW else test[partner(given.half, region)]
        if arm == RAW:
            found = scores(proof_model.raw(), tokenizer, base, None, *asked, written)
        else:
            rows = taken(pool, arm, region, seed, test[region])
            for fit in proof_model.fitted(rows, given.steps, seed, given.out):
                found = facts(rows, fit, tokenizer) | scores(fit.model, tokenizer, base, fit.adapter, *asked, written)
        append(results, head | found | by)
        print(proof_report.line(head | found), flush=True)


def _wanted(given: argparse.Namespace, done: set[tuple[str, str, int]]) -> Iterator[tuple[str, str, int]]:
    regions = given.regions or REGIONS[given.half]
    raw = [(RAW, region, MAIN_SEED) for region in REGIONS[given.half]]
    fits = [(arm, region, seed) for seed in given.seeds for arm in given.arms for region in regions]
    return (one for one in raw + fits if one not in done)


def taken(pool: Pool, arm: str, region: str, seed: int, test: Sequence[Document]) -> Dataset:
    """The arm's rows, in its budget."""
    rows = ARMS[arm].ordered(pool, region, seed)
    rows = rows.select(range(min(ARMS[arm].budget, len(rows))))
    assert not set(rows["question_id"]) & {one["id"] for one in test}, f"{arm}: a test question among the rows"
    return rows


def facts(rows: Dataset, fit: proof_model.Fit, tokenizer: Any) -> dict[str, Any]:
    """What was learned from, and how."""
    answers = [tokenizer(row[0]["content"])["input_ids"] for row in rows["completion"]]
    return {
        "rows": len(rows),
        "questions": len(set(rows["question_id"])),
        "completion_tokens": sum(map(len, answers)),
        "rows_sha256": rows_sha256(rows.select_columns(["prompt", "completion"])),
        "steps": fit.steps,
        "loss": [round(loss, 3) for loss in fit.losses],
        "cpu_seconds": round(fit.cpu_seconds),
    }


def scores(
    model: Any,
    tokenizer: Any,
    base: heldout.Model,
    adapter: Path | None,
    own: Sequence[Document],
    partners: Sequence[Document],
    write: int,
) -> dict[str, dict[str, Any]]:
    """Question -> scores of the region's own questions, and of its partner's, where margins are all that is asked.

    Args:
        base, adapter: the model again, for written answers.
        write: how many of the own questions are answered in writing.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, asked in (("own", own), ("partner", [{**one, "answers": []} for one in partners])):
        nats = proof_model.likelihoods(model, tokenizer, asked)
        every = [short_answers.by_likelihoods(one, values) for one, values in zip(asked, nats, strict=True)]
        found[name] = {one["id"]: _rounded(values) for one, values in zip(asked, every, strict=True)}
    written = own[:write]
    for one, reply in zip(written, [] if not written else proof_model.replies(base, written, adapter), strict=True):
        found["own"][one["id"]]["sem_b"] = short_answers.by_replies(one, [reply])["sem_b"]
    return found


def append(results: Path, record: dict[str, Any]) -> None:
    """One more line, whole or not at all."""
    results.parent.mkdir(parents=True, exist_ok=True)
    if results.is_file() and not (kept := results.read_bytes()).endswith(b"\n"):
        results.write_bytes(kept[: kept.rfind(b"\n") + 1])  # of a run that was killed
    with results.open("ab") as file:
        file.write((json.dumps(record, separators=(",", ":")) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _drawn(question_id: str) -> str:
    """The order in which questions are asked, so that the first ones are drawn by chance."""
    return hashlib.sha256(f"asked/{question_id}".encode()).hexdigest()


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path, help="BLEnD's folder data/annotations")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rankings")
    parser.add_argument("--half", choices=tuple(TESTED), default="tune")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--regions", nargs="+", help="default: all of the half")
    parser.add_argument("--seeds", nargs="+", type=int, default=[MAIN_SEED])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--report", action="store_true", help="print the tables of the results that are there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
