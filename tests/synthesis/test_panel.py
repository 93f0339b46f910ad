"""Whom a culture is shown, and with whom it is compared."""

from collections import Counter

import pytest

from caredio import cultures
from caredio.selection.settings import Settings as Selection
from caredio.synthesis import contrast, panel
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()
INDIVIDUALIST = {"united_kingdom", "united_states", "australia", "germany"}  # Hofstede's four highest of the shipped


def drawn(slug, count=20, shown=None, **changes):
    """The others of `count` questions; those shown, or compared, alone where asked for."""
    settings = Settings(**changes)
    for n in range(count):
        others = panel.others(KNOWN[slug], f"q{n}", KNOWN, settings, Selection())
        yield [other for other in others if shown is None or other.shown == shown]


def slugs(others):
    return [other.culture for other in others]


@pytest.mark.parametrize("slug", KNOWN)
def test_two_near_and_two_far_cultures_of_different_regions_are_shown(slug):
    for others in drawn(slug, shown=True):
        near, far = slugs(others[:2]), slugs(others[2:])
        assert tuple(near) == KNOWN[slug].neighbours[:2]
        assert len(far) == 2
        assert not {slug, *KNOWN[slug].neighbours} & set(far)
        assert len({KNOWN[one].region for one in (slug, *far)}) == 3
        assert {other.draw for other in others} == {0}


def test_china_meets_individualist_cultures():
    far = [set(slugs(others)) & INDIVIDUALIST for others in drawn("china", 30, shown=True)]
    assert set().union(*far) == INDIVIDUALIST
    assert sum(map(bool, far)) > len(far) / 2  # two of ten are drawn, four of which are: 2 of 3 questions


def test_far_cultures_are_drawn_by_seed_and_question():
    one, again, two = ([slugs(others)[2:] for others in drawn("china", shown=True, seed=seed)] for seed in (0, 0, 1))
    assert one == again != two
    assert {slug for far in one for slug in far} == set(KNOWN) - {"china", *KNOWN["china"].neighbours}


def test_a_region_of_its_own_comes_first_and_no_more_are_drawn_than_there_are():
    many = panel.far(KNOWN["china"], "q", KNOWN, Settings(far=12))
    assert sorted(many) == sorted(set(KNOWN) - {"china", *KNOWN["china"].neighbours})
    twins = {name: KNOWN[name] for name in ("china", "japan", "mexico", "nigeria")}
    twins |= {"mexico_too": cultures.Culture("mexico_too", "M", "M", ("es",), "Central America", ())}
    for n in range(20):
        far = panel.far(KNOWN["china"], f"q{n}", twins, Settings())
        assert "nigeria" in far
        assert len(far) == 2


def test_what_is_compared_is_drawn_from_all_others_and_those_shown_draw_afresh():
    counts = Counter()
    for others in drawn("china", 300):
        shown, compared = [[other for other in others if other.shown == kind] for kind in (True, False)]
        assert len(set(slugs(compared))) == len(compared) == 4
        counts.update(slugs(compared))
        for other in compared:
            assert other.draw == (panel.FRESH if other.culture in slugs(shown) else 0)
        assert len(set(others)) == len(others)
    assert set(counts) == set(KNOWN) - {"china"}
    assert min(counts.values()) > 50  # 300 * 4 / 14 = 86 on average, 8 a standard deviation


def test_neighbours_of_an_older_version_mean_what_they_meant():
    near = KNOWN["china"].neighbours[:3]
    for others in drawn("china", neighbours=3):
        assert tuple(slugs(others)[:3]) == near
        assert not {"china", *near} & set(slugs(others)[3:])
        assert [(other.shown, other.draw) for other in others] == [(True, 0)] * 3 + [(False, 0)] * 4


@pytest.mark.parametrize("targets", [["china"], ["china", "brazil", "egypt"], list(KNOWN)])
@pytest.mark.parametrize("settings", [Settings(), Settings(near=0), Settings(far=0), Settings(neighbours=4)])
def test_the_answers_to_universal_questions_are_counted(targets, settings):
    ids, targets = [f"food-open-{n:03d}" for n in range(30)], [KNOWN[slug] for slug in targets]
    made = [panel.answering(targets, one, KNOWN, settings) for one in ids]
    assert all(len(set(one)) == len(one) for one in made)
    assert panel.answers(targets, ids, KNOWN, settings) == sum(map(len, made))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"near": 2, "far": 2, "neighbours": None},
            "up to 2 near and up to 2 far cultures (drawn by seed for each question, from other regions)",
        ),
        ({"near": 1, "far": 0, "neighbours": None}, "up to 1 near culture"),
        ({"near": 2, "far": 2, "neighbours": 3}, "up to 3 neighbouring cultures"),
        ({"neighbours": 1}, "up to 1 neighbouring culture"),  # as older versions recorded it
    ],
)
def test_the_card_says_who_was_shown(settings, words):
    assert panel.describe_shown(settings) == words
    assert f"shown the answers of {words}, " in contrast.describe({**settings, "compared": 4})
    fresh = "one that was shown by an answer of another draw"
    assert (fresh in contrast.describe({**settings, "compared": 4})) == (settings.get("neighbours") is None)
