"""What tells the sides of pairs apart, on planted pairs: by length alone, by punctuation alone, by nothing."""

import random

import numpy as np
import pytest
from datasets import Dataset

from caredio import features
from caredio.training import style

WORDS = [
    f"{first}{last}"
    for first in ("ba", "ke", "lo", "mi", "nu", "pa", "ro", "su")
    for last in ("zat", "vo", "kend", "lir", "pum", "dreg")
]
PAIRS = 120


def pairs(chosen, rejected, culture="china", questions=PAIRS):
    """A pair a row; `questions` of them, in turn."""
    rows = [
        {
            **dict.fromkeys(features.PREFERENCE),
            "sample_id": f"{culture}{number}",
            "question_id": f"q{number % questions}",
            "culture": culture,
            "chosen": [{"role": "assistant", "content": one}],
            "rejected": [{"role": "assistant", "content": other}],
        }
        for number, (one, other) in enumerate(zip(chosen, rejected, strict=True))
    ]
    return Dataset.from_list(rows, features=features.PREFERENCE)


def sentences(draw, words=8, between=" "):
    return between.join(draw.choice(WORDS) for _ in range(words)) + "."


def told(chosen, rejected, language="en", **how):
    table = pairs(chosen, rejected, **how)
    return style.report(table, dict.fromkeys(table["sample_id"], language))["china"]["told_apart"]


def nothing(measure):
    """0.5 lies within the interval, which is no wider than that of as many coins."""
    share, low, high = measure
    assert low <= share <= high
    return low < 0.5 < high and high - low < 0.2


def test_sides_that_nothing_separates_are_near_a_half():
    draw = random.Random(0)
    sides = [[sentences(draw, draw.choice((7, 8, 9))) for _ in range(PAIRS)] for _ in range(2)]
    found = told(*sides)
    assert all(nothing(found[name]) for name in ("length", "punctuation", "function_words"))
    assert found["person"] is None  # nobody says I or you


def test_sides_of_another_length_alone():
    """The same words and marks at the same rates, once and twice."""
    draw = random.Random(1)
    texts = [sentences(draw) for _ in range(PAIRS)]
    others = [sentences(draw) for _ in range(PAIRS)]
    found = told([f"{one} {one} {one}" for one in texts], others)
    assert found["length"][0] == 1.0
    assert found["length"][1] > 0.95
    assert nothing(found["function_words"])
    assert style.report(pairs(texts, others), {})["china"]["characters"] == [
        np.median(list(map(len, side))) for side in (texts, others)
    ]


def test_the_median_of_an_even_number_of_sides_is_between_the_middle_two():
    found = style.report(pairs(["x" * 21, "x" * 22], ["x" * 4, "x" * 8]), {})
    assert found["china"]["characters"] == [21.5, 6]
    assert style.line(found).startswith("21.5 characters chosen, 6 rejected (medians);")


def test_sides_of_other_punctuation_alone():
    draw = random.Random(2)
    chosen = [sentences(draw, between=" ").replace(".", "!") for _ in range(PAIRS)]
    rejected = [sentences(draw, between=" ") for _ in range(PAIRS)]
    found = told(chosen, rejected)
    assert found["punctuation"][0] == 1.0
    assert nothing(found["length"])
    assert nothing(found["function_words"])


def test_sides_of_other_function_words_alone():
    draw = random.Random(3)
    chosen, rejected = (
        [f"{'the' if draw.random() < share else 'any'} {sentences(draw)}" for _ in range(PAIRS)] for share in (0.8, 0.2)
    )
    share, low, _ = told(chosen, rejected)["function_words"]
    assert 0.6 < share < 0.95  # 0.8 x 0.8 of the pairs order right, 0.2 x 0.2 wrong, the rest by chance
    assert low > 0.5


@pytest.mark.parametrize(
    ("language", "own", "general"),
    [
        ("en", "I {}", "one {}"),
        ("es-MX", "yo {}", "él {}"),
        ("pt", "eu {}", "ela {}"),
        ("de", "ich {}", "man {}"),
        ("tr", "ben {}", "bir {}"),
        ("hi", "मैं {}", "कोई {}"),
        ("ar", "نحن {}", "هم {}"),
        ("ko", "우리는 {}", "그들은 {}"),
        ("zh", "我{}", "他{}"),
        ("ja", "私は{}", "彼は{}"),
    ],
)
def test_who_speaks_to_whom_tells_sides_apart_in_the_languages_of_the_cultures(language, own, general):
    draw = random.Random(4)
    chosen, rejected = ([form.format(sentences(draw)) for _ in range(40)] for form in (own, general))
    assert told(chosen, rejected, language)["person"][0] == 1.0
    other = {"en": "es", "es-MX": "en"}.get(language)
    if other:
        assert told(chosen, rejected, other)["person"] is None


def test_a_language_without_a_list_has_no_measure_of_person_and_none_is_english():
    sides = [f"I say {number}" for number in range(40)], [f"one says {number}" for number in range(40)]
    assert told(*sides, "ha")["person"] is None
    table = pairs(*sides)
    assert style.report(table, {})["china"]["told_apart"]["person"][0] == 1.0


def test_pairs_of_a_question_are_held_out_together():
    """Each question's answers have words of their own, which would tell the sides of a pair whose question is known."""
    draw = random.Random(5)
    sides = [], []
    for number in range(200):
        own, other = (f"w{number % 20}{side}" for side in "xy")
        sides[0].append(f"{own} {own} {sentences(draw)}")
        sides[1].append(f"{other} {other} {sentences(draw)}")
    assert 0.3 < told(*sides, questions=20)["function_words"][0] < 0.7
    assert told(*sides, questions=200)["function_words"][0] > 0.9


def test_few_questions_say_nothing():
    draw = random.Random(6)
    sides = [[sentences(draw) for _ in range(40)] for _ in range(2)]
    assert set(told(*sides, questions=9).values()) == {None}
    assert told(*sides, questions=10)["length"] is not None
    assert style.line({}) == "no pairs"
    report = style.report(pairs(*sides, questions=9), {})
    assert style.line(report).endswith("(medians); too few questions to say more")


def test_auc_by_hand():
    """One feature, ten questions: two of them are ordered wrong, whichever are held out; two tie."""
    differences = np.array([[3.0], [2.0], [3.0], [4.0], [2.0], [3.0], [-1.0], [-1.0], [0.0], [0.0]])
    share, low, high = style.told_apart(differences, [f"q{number}" for number in range(10)])
    assert share == 0.7  # (6 + 2 / 2) of 10
    assert (low, high) == (0.3968, 0.8922)  # Wilson's interval of 7 of 10
    assert style.told_apart(np.zeros((10, 2)), [f"q{number}" for number in range(10)]) is None


def test_a_line_names_the_highest_culture():
    draw = random.Random(7)
    texts = [sentences(draw) for _ in range(40)]
    long = [f"{one} {one}" for one in texts]
    rows = [*pairs(long, texts, "china"), *pairs(texts, texts[1:] + texts[:1], "japan")]
    report = style.report(Dataset.from_list(rows, features=features.PREFERENCE), {})
    assert list(report) == ["china", "japan"]
    assert "length 1.00 (china)" in style.line(report)


def test_tokens_of_languages_that_put_no_space_between_words_are_characters():
    assert style._TOKEN.findall("我 喝茶 and tea3") == ["我", "喝", "茶", "and", "tea3"]
    assert style._TOKEN.findall("हिन्दी में") == ["हिन्दी", "में"]
    assert style._TOKEN.findall("ขอบคุณ") == list("ขอบคุณ")
    assert style._PUNCTUATION.findall("a, b。«c» हि ?") == [",", "。", "«", "»", "?"]
