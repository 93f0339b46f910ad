from __future__ import annotations

import math
from pathlib import Path

import pytest
from svg import texts

from caredio.report import phrases

TEA = {
    "uk": ["Afternoon tea, at home.", "Afternoon tea at four", "rain at noon", "a queue"],
    "china": ["green tea", "rice at noon", "noodles", "the Spring Festival", "Spring Festival at home"],
}


def test_scores_are_those_worked_by_hand() -> None:
    found = phrases.distinctive(TEA)
    # two of four texts here, none elsewhere; two of nine in all; `afternoon` and `tea` stand within it
    assert found["uk"] == [("afternoon tea", pytest.approx(0.5 * math.log(9 / 2)))]
    assert found["china"] == [("spring festival", pytest.approx(0.4 * math.log(9 / 2)))]


def test_a_phrase_is_as_frequent_here_as_twice_elsewhere() -> None:
    often = {"a": ["x tea"] * 2 + ["water"] * 2, "b": ["tea"] + ["water"] * 3, "c": ["water"]}
    assert [phrase for phrase, _ in phrases.distinctive(often)["a"]] == ["x tea"]
    assert phrases.distinctive(often)["b"] == []


def test_a_longer_phrase_stands_for_what_is_nearly_as_frequent() -> None:
    answers = {"a": ["hot pot"] * 3 + ["pot"] * 4 + ["rice"], "b": ["soup"] * 20}
    assert [phrase for phrase, _ in phrases.distinctive(answers)["a"]] == ["pot", "hot pot"]
    answers["a"][3:7] = ["pot", "rice", "rice", "rice"]  # four with pot, three of them hot
    assert [phrase for phrase, _ in phrases.distinctive(answers)["a"]] == ["rice", "hot pot"]


def test_words_of_any_script_are_whole() -> None:
    found = phrases.distinctive(
        {
            "china": ["春节吃饺子", "我们吃饺子。", "喝茶"],
            "india": ["हम दिवाली मनाते", "दिवाली है", "चाय"],
            "korea": ["설날에 떡국을", "떡국을 먹다"],
            "france": ["l’aïoli", "L’AÏOLI", "5 7 9", "12"],
        }
    )
    assert {culture: [phrase for phrase, _ in own] for culture, own in found.items()} == {
        "china": ["吃饺子"],
        "india": ["दिवाली"],
        "korea": ["떡국을"],
        "france": ["l’aïoli"],
    }


def test_one_culture_has_its_frequent_phrases_and_rows_alone_have_none() -> None:
    assert [phrase for phrase, _ in phrases.distinctive({"uk": TEA["uk"]})["uk"]] == ["afternoon tea"]
    assert phrases.distinctive({"uk": ["tea"], "empty": []}) == {"uk": [], "empty": []}


def test_english_stop_words_neither_begin_nor_end_a_phrase() -> None:
    said = ["the day of the dead"] * 3 + ["of their own"] * 3 + ["jumping over fire"] * 2 + ["der Hund"] * 2
    found = phrases.distinctive({"a": said, "b": ["rice"] * 9, "c": ["soup"] * 9})
    words = {word for phrase, _ in found["a"] for word in (phrase.split()[0], phrase.split()[-1])}
    assert words == {"day", "dead", "jumping", "fire", "der", "hund"}
    assert "jumping over fire" in [phrase for phrase, _ in found["a"]]


def test_what_no_font_draws_is_left_out_of_a_picture(tmp_path: Path) -> None:
    found = {"uk": [("tea", 0.5), ("\U00013000", 0.4)], "\U00013001": [("\U00013000", 0.1)]}  # hieroglyphs
    _, svg = phrases.draw(found, tmp_path / "phrases")
    assert {"uk", "tea"} <= texts(svg)
    assert not [text for text in texts(svg) if "\U00013000" in text or "\U00013001" in text]
    assert phrases.draw({"uk": []}, tmp_path / "none") == []
