"""Which questions ask the same: ROUGE-L and MiniLM's cosine beside pairs that were labelled by hand."""

import csv
from pathlib import Path

import pytest

from caredio.selection import embed
from caredio.selection.embedders import MINILM
from caredio.selection.measure import unit
from caredio.synthesis.questions import Known
from caredio.synthesis.settings import COSINES, Settings

DATA = Path(__file__).parents[1] / "data"
# two questions that ask the same in other words (same = 1), or differ by what is asked and little else (same = 0)
PAIRS = list(csv.DictReader((DATA / "question_pairs.csv").open(encoding="utf-8")))


@pytest.fixture(scope="module")
def encode():
    return embed.encoder(MINILM)


def near(encode, cosine, rouge_l=1.0):
    """Of the pairs that ask the same, and of those that do not, how many each way takes for near-duplicates."""
    texts = [pair[side] for pair in PAIRS for side in ("first", "second")]
    vectors = unit(encode, texts).reshape(len(PAIRS), 2, -1) if cosine < 1 else [[None, None]] * len(PAIRS)
    found = {"1": 0, "0": 0}
    for pair, (one, other) in zip(PAIRS, vectors, strict=True):
        known = Known(rouge_l, cosine)
        assert known.add(pair["first"], one)
        found[pair["same"]] += not known.add(pair["second"], other)
    return found["1"], found["0"]


def test_what_is_found_of_pairs_that_were_labelled_by_hand(encode):
    """The figures in settings.py."""
    assert [sum(pair["same"] == label for pair in PAIRS) for label in "10"] == [24, 24]
    assert near(encode, 1.0, Settings().rouge_l) == (0, 4)
    assert near(encode, COSINES[MINILM]) == (13, 6)
    assert near(encode, 0.85) == (1, 1)  # higher, it finds hardly anything
    found, mistaken = near(encode, 0.65)  # lower, it mistakes as many as half
    assert (found, mistaken) == (20, 11)
