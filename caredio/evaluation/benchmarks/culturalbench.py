"""CulturalBench: Easy picks one of four options, Hard judges four statements.

Both are made of one file, CulturalBench-Easy.csv of the Hub's kellycyy/CulturalBench (Chiu et al., arXiv 2410.02677,
CC-BY-4.0). Hard is rebuilt as upstream did: a plain question gives its four options, one of them true; a question over
numbered statements, whose options are combinations such as `i, iii`, gives the statements, and those in the key are
true. (Upstream's CulturalBench-Hard.csv is listed at 717 kB; this reading makes 717,289 bytes of the same columns, the
plain one 800 kB.)
"""

from __future__ import annotations

import csv
import random
import re
from dataclasses import replace
from pathlib import Path

from caredio.errors import InputError
from caredio.evaluation import choice as choices
from caredio.evaluation import judgements as judged
from caredio.evaluation.benchmark import Benchmark, Document

SAMPLE = Path(__file__).parents[2] / "data" / "culturalbench" / "sample.csv"
LETTERS = "ABCD"
_OPTIONS = [f"prompt_option_{letter.lower()}" for letter in LETTERS]
_COLUMNS = ("data_idx", "prompt_question", *_OPTIONS, "answer", "country")
_SEED = "culturalbench"  # of the options' order; another one is another benchmark
_NUMERALS = ("i", "ii", "iii", "iv")
_NUMBERED = re.compile(r"\n\((i|ii|iii|iv)\) ")
_INSTRUCTION = "\nRead the following statements"


def easy(file: Path) -> list[Document]:
    """Every row as a `choice`, in all rotations of its options. Raises as `read`."""
    return [{**choice(row), "orders": choices.rotations(len(_OPTIONS))} for row in read(file)]


def hard(file: Path) -> list[Document]:
    """Every row as `judgements`. Raises as `read`."""
    return [judgements(row) for row in read(file)]


def choice(row: dict[str, str]) -> Document:
    """A row with its options in another order, and the place of the right one as key.

    The file's key is skewed (A is right in 53.6 % of 1,227 rows), so the options change places, by a seed and the
    question alone.
    """
    order = random.Random(f"{_SEED}/{row['prompt_question']}").sample(range(len(_OPTIONS)), len(_OPTIONS))
    return {
        "id": row["data_idx"],
        "culture": row["country"],
        "question": row["prompt_question"],
        "options": [row[_OPTIONS[place]] for place in order],
        "key": order.index(LETTERS.index(row["answer"])),
    }


def judgements(row: dict[str, str]) -> Document:
    """A row with its four statements, and the truth of each."""
    question, statements = row["prompt_question"], [row[option] for option in _OPTIONS]
    truth = [letter == row["answer"] for letter in LETTERS]
    head, *numbered = _NUMBERED.split(question)  # head, i, first statement, ii, second statement, ...
    right = statements[LETTERS.index(row["answer"])].split(", ")
    if tuple(numbered[::2]) == _NUMERALS and set(right) <= set(_NUMERALS):
        question, statements = head.split(_INSTRUCTION)[0], numbered[1::2]
        truth = [numeral in right for numeral in _NUMERALS]
    return {
        "id": row["data_idx"],
        "culture": row["country"],
        "question": question,
        "statements": statements,
        "truth": truth,
    }


def read(file: Path) -> list[dict[str, str]]:
    """The file's rows. An option that says `None` or `NA` is that word: no reader of data frames comes between.

    Raises:
        InputError: the file is missing or no CSV, a column is missing, or an answer is no letter.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise InputError(f"{file}: lacks {', '.join(missing)}; give CulturalBench-Easy.csv as the Hub has it.")
            rows = []
            for row in reader:
                if row["answer"] not in tuple(LETTERS) or None in (row[name] for name in _COLUMNS):
                    raise InputError(
                        f"{file}, line {reader.line_num}: expected four options and an answer among A, B, C and D, "
                        f"found answer {row['answer']!r}."
                    )
                rows.append(row)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not a CSV file in UTF-8 ({error}).") from None
    return rows


EASY = Benchmark(
    name="culturalbench_easy",
    title="CulturalBench-Easy",
    kind=choices.KIND,
    source="culturalbench",
    read=easy,
    licence="CC-BY-4.0",
    file="CulturalBench-Easy.csv as the Hub has it",
    hub="kellycyy/CulturalBench",
    files=("CulturalBench-Easy.csv",),
    chance={"acc": 1 / 4},
    version="2.0",
    sample=SAMPLE,
)
HARD = replace(
    EASY,
    name="culturalbench_hard",
    title="CulturalBench-Hard",
    kind=judged.KIND,
    read=hard,
    chance={"acc": 1 / 16, "judgement_acc": 1 / 2},
    version="1.0",
)
BENCHMARKS = (EASY, HARD)
