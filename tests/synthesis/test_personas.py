"""Panels: drawn by seed, and as mixed as their size allows."""

import re
from collections import Counter

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.synthesis.personas import AGES, GENDERS, OCCUPATIONS, PARTS, SETTLEMENTS, draw
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()
FORM = re.compile(r"(a woman|a man) aged (\d\d to \d\d), (.+), living in (.+?) in (.+) of the country")


def people(size, questions=1, culture="brazil", seed=0):
    """(gender, age, occupation, settlement, part) of each persona, panel by panel."""
    settings = Settings(personas=size, seed=seed)
    drawn = [draw(KNOWN[culture], f"food-open-{number:03d}", settings) for number in range(questions)]
    return [[FORM.fullmatch(person).groups() for person in one] for one in drawn]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 30])
def test_every_value_is_as_frequent_in_a_panel_as_any_other(size):
    for one in people(size, questions=20):
        for place, pack in ((0, GENDERS), (1, AGES), (3, SETTLEMENTS), (4, PARTS)):
            counts = Counter(person[place] for person in one)
            assert set(counts) <= set(pack)
            assert max(counts[value] for value in pack) - min(counts[value] for value in pack) <= 1


def test_occupations_fit_the_age_and_do_not_repeat_in_a_small_panel():
    for one in people(5, questions=100):
        assert len({job for _, _, job, _, _ in one}) == 5
        assert all(age in OCCUPATIONS[job] for _, age, job, _, _ in one)


def test_over_many_questions_everybody_is_drawn_in_every_place_and_gender_and_occupation_mix():
    everyone = [person for one in people(3, questions=400) for person in one]
    assert {job for _, _, job, _, _ in everyone} == set(OCCUPATIONS)
    for job in OCCUPATIONS:  # none belongs to one gender
        share = sum(gender == "a woman" for gender, _, its, _, _ in everyone if its == job) / sum(
            its == job for _, _, its, _, _ in everyone
        )
        assert 0.3 < share < 0.7, job


def test_the_seed_the_question_and_the_culture_decide():
    assert people(3, 5) == people(3, 5)
    assert people(3, 5) != people(3, 5, seed=1)
    assert people(3, 5) != people(3, 5, culture="japan")
    assert len({str(one) for one in people(3, 5)}) == 5


def test_a_culture_with_places_of_its_own_lives_in_them():
    assert KNOWN["singapore"].places
    drawn = draw(KNOWN["singapore"], "q", Settings(personas=5))
    assert {person.split(", living in ")[1] for person in drawn} == set(KNOWN["singapore"].places)


def test_no_panel_by_default():
    assert draw(KNOWN["china"], "q", Settings()) == []


def test_a_negative_panel_is_told():
    with pytest.raises(InputError, match="personas"):
        Settings(personas=-1)
