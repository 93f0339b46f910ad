"""The 38 topics of the paper's appendix A.1, and a user's YAML on top of them."""

from collections import Counter

import pytest

from caredio import topics
from caredio.errors import InputError

PAPER = {
    "values": (
        "Self-Direction, Stimulation, Hedonism, Achievement, Power, Security, Tradition, Conformity, Benevolence,"
        " Universalism, Power Distance Index, Individualism vs. Collectivism, Uncertainty Avoidance Index,"
        " Masculinity vs. Femininity, Long-Term Orientation, Indulgence vs. Restraint"
    ),
    "norms": (
        "Gender Roles, Respect Elders, Family Obligations, Justice and Fairness, Individual Rights, Social Norms,"
        " Moral Duties and Altruism, Environmental Ethics"
    ),
    "practices": (
        "Social Relationship, Work Behaviors, Economic Behaviors, Education System and Relationship,"
        " Religious and Ceremonial Behaviors"
    ),
    "customs": (
        "Language and Communication, Food, Dining Etiquette, Festival and Holidays, Entertainment,"
        " Professional Settings, Daily Rituals and Courtesies, Clothing, Travel/Transport"
    ),
}
OWN = """- topic_id: tea
  level: customs
  topic: Tea
  description: How tea is made, offered and drunk.
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_38_topics_on_four_levels():
    known = topics.load()
    assert Counter(topic.level for topic in known.values()) == {"values": 16, "norms": 8, "practices": 5, "customs": 9}
    assert all(topic.topic_id == topic_id for topic_id, topic in known.items())


@pytest.mark.parametrize("level", topics.LEVELS)
def test_the_topics_are_the_paper_s(level):
    assert [topic.topic for topic in topics.load().values() if topic.level == level] == PAPER[level].split(", ")


def test_every_topic_is_described_in_a_sentence_of_its_own():
    descriptions = [topic.description for topic in topics.load().values()]
    assert len(set(descriptions)) == 38
    assert all(30 < len(text) < 200 and text.endswith(".") and text[0].isupper() for text in descriptions)


def test_a_file_of_one_s_own_adds_and_overrides(write):
    shipped = topics.load()
    known = topics.load(write(OWN + "- topic_id: food\n  description: What is eaten.\n"))
    assert list(known) == [*shipped, "tea"]
    assert known["tea"] == topics.Topic("tea", "customs", "Tea", "How tea is made, offered and drunk.")
    assert known["food"] == topics.Topic("food", "customs", "Food", "What is eaten.")
    assert all(known[name] == topic for name, topic in shipped.items() if name != "food")


MISTAKES = {  # text after OWN (4 lines), the line the mistake is told at, words of the message
    "bad level": ("- topic_id: food\n  level: rituals\n", 5, "level must be one of values, norms, .*'rituals'"),
    "level in capitals": ("\n- topic_id: food\n  level: Customs\n", 6, "level must be one of.*'Customs'"),
    "missing field": ("- topic_id: coffee\n  topic: Coffee\n", 5, "'coffee' lacks level, description"),
    "duplicate": (OWN, 5, "'tea' is used twice"),
    "unknown key": ("- topic_id: food\n  slug: food\n", 5, "unknown key 'slug'.*topic_id"),
    "wrong type": ("- topic_id: food\n  topic: [Food]\n", 5, "topic must be .* str"),
    "bad id": ("- topic_id: Food-2\n", 5, "topic_id must be lower-case letters.*'Food-2'"),
    "no id": ("- topic: Food\n", 5, "topic_id must be"),
    "unquoted no": ("- topic_id: food\n  topic: no\n", 5, "topic must be .* str, found False"),
    "bad YAML": ("- topic_id: food\n  topic: 'Food\n", 7, "not valid YAML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_file_and_line(write, mistake):
    text, line, words = MISTAKES[mistake]
    path = write(OWN + text)
    with pytest.raises(InputError, match=words) as error:
        topics.load(path)
    assert str(error.value).startswith(f"{path}, line {line}: ")


@pytest.mark.parametrize("text", ["", "food\n", "topic_id: food\n"])
def test_a_file_that_is_no_list_is_told(write, text):
    path = write(text)
    with pytest.raises(InputError, match="expected a list") as error:
        topics.load(path)
    assert str(error.value).startswith(f"{path}, line 1: ")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        topics.load(tmp_path / "none.yaml")
