from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation.benchmarks import culturalbench

HEAD = (
    "data_idx,question_idx,prompt_question,prompt_option_a,prompt_option_b,prompt_option_c,prompt_option_d,"
    "answer,country\n"
)
PLAIN = {
    "data_idx": "7",
    "prompt_question": "What is worn?",
    "prompt_option_a": "A hat",
    "prompt_option_b": "None",
    "prompt_option_c": "A coat",
    "prompt_option_d": "NA",
    "answer": "B",
    "country": "Spain",
}
NUMBERED = {
    **PLAIN,
    "prompt_question": "What is eaten?\nRead the following statements and select the option that include all the "
    "appropriate statements for this question.\n(i) Rice\n(ii) Stone (i) soup\n(iii) Bread\n(iv) Sand",
    "prompt_option_a": "i, ii",
    "prompt_option_b": "i, iii",
    "prompt_option_c": "ii, iii",
    "prompt_option_d": "i, ii, iii, iv",
}
SAMPLE = culturalbench.read(culturalbench.SAMPLE)


def test_the_sample_has_eight_questions_on_every_culture() -> None:
    assert Counter(row["country"] for row in SAMPLE) == {culture.name: 8 for culture in cultures.load().values()}


@pytest.mark.parametrize("row", SAMPLE, ids=lambda row: row["data_idx"])
def test_options_change_places_and_the_key_follows(row: dict[str, str]) -> None:
    document = culturalbench.choice(row)
    options = [row[f"prompt_option_{letter}"] for letter in "abcd"]
    assert document["options"][document["key"]] == options["ABCD".index(row["answer"])]
    assert sorted(document["options"]) == sorted(options)


def test_the_order_of_the_options_is_the_questions_own() -> None:
    # pinned: another order is another benchmark
    assert culturalbench.choice(PLAIN)["options"] == ["None", "NA", "A coat", "A hat"]
    assert culturalbench.choice({**PLAIN, "data_idx": "8", "answer": "A"})["key"] == 3


def test_the_permuted_key_is_not_skewed() -> None:
    before = Counter(row["answer"] for row in SAMPLE)
    after = Counter(culturalbench.choice(row)["key"] for row in SAMPLE)
    assert before["A"] == 59
    assert sorted(after.values()) == [22, 28, 33, 37]  # of 120


def test_easy_is_asked_in_all_rotations_of_its_options() -> None:
    documents = culturalbench.easy(culturalbench.SAMPLE)
    assert len(documents) == 120
    assert {str(document["orders"]) for document in documents} == {
        "[[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]]"
    }
    shown = [[order.index(document["key"]) for order in document["orders"]] for document in documents]
    assert all(sorted(places) == [0, 1, 2, 3] for places in shown)


def test_a_plain_question_has_its_options_judged() -> None:
    assert culturalbench.judgements(PLAIN) == {
        "id": "7",
        "culture": "Spain",
        "question": "What is worn?",
        "statements": ["A hat", "None", "A coat", "NA"],
        "truth": [False, True, False, False],
    }


def test_a_numbered_question_has_its_statements_judged() -> None:
    document = culturalbench.judgements(NUMBERED)
    assert document["question"] == "What is eaten?"
    assert document["statements"] == ["Rice", "Stone (i) soup", "Bread", "Sand"]
    assert document["truth"] == [True, False, True, False]


def test_a_numbered_question_with_options_in_words_is_a_plain_one() -> None:
    document = culturalbench.judgements({**NUMBERED, "prompt_option_b": "the first and the third"})
    assert document["statements"][1] == "the first and the third"
    assert document["truth"] == [False, True, False, False]


def test_every_question_of_the_sample_has_something_true_and_something_false() -> None:
    documents = [culturalbench.judgements(row) for row in SAMPLE]
    assert all(len(document["statements"]) == 4 and len(set(document["truth"])) == 2 for document in documents)
    numbered = [document for document, row in zip(documents, SAMPLE, strict=True) if "(iv)" in row["prompt_question"]]
    assert numbered
    assert not any("(iv)" in document["question"] for document in numbered)
    assert all(sum(document["truth"]) == 1 for document in documents if document not in numbered)


def test_none_is_a_word(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("\ufeff" + HEAD + '3,3,"Which, then?",None,NA,null,,A,Spain\n', encoding="utf-8")
    (document,) = culturalbench.easy(file)
    assert sorted(document["options"]) == ["", "NA", "None", "null"]
    assert document["options"][document["key"]] == "None"
    assert culturalbench.hard(file)[0]["statements"] == ["None", "NA", "null", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("answer,", ""), "lacks answer; give CulturalBench-Easy.csv as the Hub has it."),
        (HEAD + "1,1,Q,a,b,c,d,E,Spain\n", "line 2: expected four options .* found answer 'E'."),
        (HEAD + "1,1,Q,a,b,c,d\n", "line 2: expected four options .* found answer None."),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "own.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        culturalbench.easy(file)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.csv: cannot be read \(No such file or directory\)\.$"):
        culturalbench.hard(tmp_path / "own.csv")
    (tmp_path / "own.csv").write_bytes(b"data_idx,\xff\xfe")
    with pytest.raises(InputError, match=r"own\.csv: is not a CSV file in UTF-8"):
        culturalbench.hard(tmp_path / "own.csv")
