"""CulturalBench as lm-eval documents: Easy picks one of four options, Hard judges four statements.

Both are made of one file, CulturalBench-Easy.csv of the Hub's kellycyy/CulturalBench (Chiu et al., arXiv 2410.02677,
CC-BY-4.0). Hard is rebuilt as upstream did: a plain question gives its four options, one of them true; a question over
numbered statements, whose options are combinations such as `i, iii`, gives the statements, and those in the key are
true. (Upstream's CulturalBench-Hard.csv is listed at 717 kB; this reading makes 717,289 bytes of the same columns, the
plain one 800 kB.)
"""

from __future__ import annotations

import csv
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caredio.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE = Path(__file__).with_name("tasks") / "culturalbench" / "sample.csv"
VARIABLE = "CAREDIO_CULTURALBENCH"
LETTERS = "ABCD"
_OPTIONS = [f"prompt_option_{letter.lower()}" for letter in LETTERS]
_COLUMNS = ("data_idx", "prompt_question", *_OPTIONS, "answer", "country")
_SEED = "culturalbench"  # of the options' order; another one is another benchmark
_NUMERALS = ("i", "ii", "iii", "iv")
_NUMBERED = re.compile(r"\n\((i|ii|iii|iv)\) ")
_INSTRUCTION = "\nRead the following statements"


def easy(country: str, culturalbench: str = "", **_: Any) -> dict[str, Dataset]:
    """The split `test` of `choice` documents on a country.

    Args:
        country: as the file spells it.
        culturalbench: as in `path`; lm-eval passes it from `--metadata '{"culturalbench": "..."}'`.

    Raises:
        InputError: as `path`, `read` and `about`.
    """
    from datasets import Dataset

    return {"test": Dataset.from_list([choice(row) for row in about(country, path(culturalbench))])}


def hard(country: str, culturalbench: str = "", **_: Any) -> dict[str, Dataset]:
    """The split `test` of `judgements` documents on a country; arguments and errors as `easy`."""
    from datasets import Dataset

    return {"test": Dataset.from_list([judgements(row) for row in about(country, path(culturalbench))])}


def choice(row: dict[str, str]) -> dict[str, Any]:
    """A row as data_idx, country, question, options[4] and key, the index of the right one.

    The file's key is skewed (A is right in 53.6 % of 1,227 rows), so the options change places, by a seed and the
    question alone.
    """
    order = random.Random(f"{_SEED}/{row['prompt_question']}").sample(range(len(_OPTIONS)), len(_OPTIONS))
    return {
        "data_idx": row["data_idx"],
        "country": row["country"],
        "question": row["prompt_question"],
        "options": [row[_OPTIONS[place]] for place in order],
        "key": order.index(LETTERS.index(row["answer"])),
    }


def judgements(row: dict[str, str]) -> dict[str, Any]:
    """A row as data_idx, country, question, statements[4] and truth[4]."""
    question, statements = row["prompt_question"], [row[option] for option in _OPTIONS]
    truth = [letter == row["answer"] for letter in LETTERS]
    head, *numbered = _NUMBERED.split(question)  # head, i, first statement, ii, second statement, ...
    right = statements[LETTERS.index(row["answer"])].split(", ")
    if tuple(numbered[::2]) == _NUMERALS and set(right) <= set(_NUMERALS):
        question, statements = head.split(_INSTRUCTION)[0], numbered[1::2]
        truth = [numeral in right for numeral in _NUMERALS]
    return {
        "data_idx": row["data_idx"],
        "country": row["country"],
        "question": question,
        "statements": statements,
        "truth": truth,
    }


def path(source: str = "") -> Path:
    """The CSV file: `source`, else what CAREDIO_CULTURALBENCH names, else the Hub's; `sample` is the shipped one.

    Raises:
        InputError: the Hub's is wanted and cannot be fetched.
    """
    source = source or os.environ.get(VARIABLE, "")
    if source == "sample":
        return SAMPLE
    if source:
        return Path(source).expanduser()
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download("kellycyy/CulturalBench", "CulturalBench-Easy.csv", repo_type="dataset"))
    except OSError as error:
        raise InputError(
            f"CulturalBench cannot be fetched from the Hub ({type(error).__name__}); give a copy of "
            f"CulturalBench-Easy.csv, or the word sample, in the environment variable {VARIABLE}."
        ) from None


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


def about(country: str, file: Path) -> list[dict[str, str]]:
    """The file's rows on a country.

    Raises:
        InputError: as `read`, or there is none.
    """
    rows = [row for row in read(file) if row["country"] == country]
    if not rows:
        raise InputError(f"{file}: holds no question on {country!r}; the column country must spell it so.")
    return rows
