"""The voice of answers, their length, and what neither may hold."""

import json

import pytest
from datasets import Features, List, Value
from llm_server import LLMServer

import caredio
from caredio import configuration, cultures, features, runs
from caredio.answers import show
from caredio.errors import InputError
from caredio.llm.model import connect
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.prompts import load
from caredio.synthesis import checks, contrast, roleplay, voice
from caredio.synthesis.settings import Settings, of_older

KNOWN = cultures.load()
QUESTION = "Who cooks at home, and why?"


def asked(settings, culture="china", language="en", persona=None):
    row = {"question": QUESTION, "language": language, "persona": persona}
    return [one["content"] for one in roleplay.prompt(row, KNOWN[culture], settings, load("roleplay"))]


def test_an_assistant_speaks_by_default_and_to_the_persona_where_one_is_drawn():
    system, user = asked(Settings())
    assert system.startswith("You are an assistant to someone who lives in China. You know Chinese life as it is today")
    assert user.startswith(
        f"{QUESTION}\n\nAnswer for someone who lives in China, in 80 to 200 words of English. Say what"
    )
    assert "You are no person: tell no childhood" in user
    system, _ = asked(Settings(), persona="a man aged 18 to 29, studying")
    assert system.startswith("You are an assistant to someone who lives in China: a man aged 18 to 29, studying. You")


def test_a_person_is_asked_by_the_very_texts_of_older_versions_where_their_settings_are_named():
    older = Settings(**of_older({"sentences": "two or three", "register": "plain words"}))
    inside = (
        " You know Chinese life from the inside: what people around you really do, expect and feel, as it is now and"
        " not as outsiders picture it."
    )
    assert asked(older, persona="a man, retired") == [
        f"You are an ordinary person who grew up in China and lives there today: a man, retired.{inside}",
        f"{QUESTION}\n\nAnswer as yourself, in two or three sentences of English, in plain words. Be concrete.",
    ]
    assert asked(older)[0] == f"You are an ordinary person who grew up in China and lives there today.{inside}"
    assert asked(Settings(voice="person"))[1].endswith("Answer as yourself, in 30 to 80 words of English. Be concrete.")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"sentences": "five"}, "person"),
        ({"register": "slang"}, "person"),
        ({"sentences": "five", "voice": "assistant"}, "assistant"),
        ({"sentences": None, "register": None}, "assistant"),
        ({"per_topic": 3}, "assistant"),
    ],
)
def test_what_an_older_file_named_is_a_person_s(given, made, tmp_path):
    assert Settings(**of_older(given)).voice == made
    file = tmp_path / "build.yaml"
    file.write_text(json.dumps(given))
    read = configuration.read(file, "build", {"sentences", "register", "voice", "per_topic"}, set())
    assert Settings(**read).voice == made


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"voice": "poet"}, "voice is 'poet'; use assistant, person"),
        ({"words": "many"}, "words is 'many'; say fewest and most, such as 80-200"),
        ({"words": "90-20"}, "words is '90-20'"),
        ({"words": "0-20"}, "words is '0-20'"),
        ({"words": "10-20", "sentences": "two"}, "leave words out"),
    ],
)
def test_what_cannot_be_is_refused(wrong, why):
    with pytest.raises(InputError, match=why):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("language", "length"),
    [
        ("en", "80 to 200 words of English"),
        ("de-DE", "80 to 200 words of German (Germany)"),
        ("zh-CN", "140 to 340 characters of Chinese (Simplified, China)"),
        ("ja-JP", "180 to 440 characters of Japanese (Japan)"),
        ("th-TH", "360 to 900 characters of Thai (Thailand)"),
    ],
)
def test_length_is_asked_for_in_what_the_language_is_counted_in(language, length):
    assert f", in {length}. Say what" in asked(Settings(), language=language)[1]


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("Don't rush: the well-known rule isn't 2,000 years old.", "en", 9),
        ("Keep mianzi (面子, face) in mind.", "en", 6),  # two characters are a word in a text of another language
        ("हम घर पर खाना बनाते हैं।", "hi-IN", 6),
        ("过年时，全家人一起包饺子。", "zh-CN", 11),
        ("お正月は家族で過ごす。", "ja-JP", 10),
        ("คนไทย", "th-TH", 5),
        ("우리는 함께 먹는다.", "ko-KR", 3),
    ],
)
def test_words_and_characters_are_counted(text, language, count):
    assert voice.count(text, language) == count


@pytest.mark.parametrize(
    ("words", "reason"), [(59, "too_short"), (60, None), (80, None), (200, None), (250, None), (251, "too_long")]
)
def test_a_quarter_beside_the_range_passes(words, reason):
    wrong = voice.wrong_length("word " * words, "en", Settings())
    assert (wrong and wrong.reason) == reason
    assert voice.wrong_length("word " * words, "en", Settings(sentences="two")) is None


@pytest.mark.parametrize(("characters", "wrong"), [(104, True), (105, False), (425, False), (426, True)])
def test_of_a_language_that_does_not_write_words_apart_characters_count(characters, wrong):
    assert bool(voice.wrong_length("家" * characters, "zh-CN", Settings())) == wrong


def answers(fault, **settings):
    """The answer of one culture to one question by a scripted model, and what was asked."""
    row = {"question_id": "q", "question": QUESTION, "language": "en"}
    with LLMServer(fault=fault) as server:
        model = connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0))
        made = roleplay.run(
            features.table([row], features.QUESTIONS), Settings(**settings), model, {"china": KNOWN["china"]}
        )
        return made[0], [body["messages"] for body in server.bodies.values()]


@pytest.mark.parametrize(
    ("text", "reason", "sentence"),
    [
        ("Most families cook at home. " * 4, "too_short", "it has about 20 words, where 80 to 200 are asked for"),
        ("Most families cook at home. " * 60, "too_long", "it has about 300 words, where 80 to 200 are asked for"),
        (
            "When I was little the whole house smelled of rice. " * 10,
            "invented_biography",
            "it tells of a life of its own, which an assistant has not",
        ),
    ],
)
@pytest.mark.parametrize("mended", [True, False])
def test_an_answer_outside_of_the_voice_is_asked_for_again_then_dropped(text, reason, sentence, mended):
    row, sent = answers(lambda number, body: None if number and mended else text)
    assert row["drop_reason"] == (None if mended else reason)
    assert (row["unusable"] or "").strip() == ("" if mended else text.strip())
    assert [messages[-1]["content"] for messages in sent[1:]] == [
        f"That cannot be used: {sentence}. Answer again, exactly as asked."
    ]


def test_without_checks_length_and_voice_are_free_and_a_person_may_tell_of_a_life():
    short = "I grew up with rice."
    assert answers(lambda number, body: short, checks="none")[0]["response"] == short
    assert answers(lambda number, body: short, voice="person", words="3-9")[0]["response"] == short


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I grew up in a village.", True),
        ("My grandmother still cooks.", True),
        ("As a German, I wait until all have sat down.", True),
        ("I still remember the smell.", True),
        ('Say "my mother is not well" and leave.', False),
        ("Many say that they grew up with it.", False),
        ("I would wait until the eldest has sat down.", False),
        ("Most families keep one room for it.", False),
    ],
)
def test_a_life_of_its_own_is_known_by_its_words(text, found):
    assert voice.biography(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "Unlike elsewhere, guests wait.",
        "Unlike people in other countries, guests wait.",
        "Guests wait longer here than in many other countries.",
        "Here, in contrast to Western societies, elders speak first.",
        "In individualistic cultures children leave early.",
        "Compared with the rest of the world, meals are long.",
        "People elsewhere eat early.",
        "Elsewhere people shake hands.",
        "It differs from what is usual abroad.",
        "Elders sit, while people in the West stand.",
        "Nowhere else in the world is it so.",
        "与其他国家不同，我们先敬长辈。",
        "他の国と違って、靴を脱ぎます。",
        "다른 나라와 달리 어른이 먼저 먹는다.",
        "Anders als in anderen Ländern duzt man sich nicht.",
        "A diferencia de otros países, aquí se cena tarde.",
        "Ao contrário de outros países, o almoço é longo.",
    ],
)
def test_a_comparison_with_elsewhere_is_known_by_its_words(text):
    assert checks.reason(text, "xx") == "compares_with_elsewhere"


@pytest.mark.parametrize(
    "text",
    [
        "Many young people work abroad and send money home.",
        "Most would rather stay than move abroad.",
        "As many families live abroad, calls matter.",
        "Parents wait while the children work overseas.",
        "If the shop is closed, people look elsewhere.",
        "People greet differently in other regions.",
        "Unlike his brother, the eldest son stays.",
        "Compared with ten years ago, meals are short.",
        "It is colder than in the west of the country.",
        "They walk as far as the West Lake.",
        "Other families eat late, and different families do it differently.",
    ],
)
def test_other_uses_of_the_words_are_no_comparison(text):
    assert checks.reason(text, "xx") is None


def test_an_answer_after_a_reflection_must_hold_text():
    row = {"question": QUESTION, "culture": "china", "language": "en"}
    with pytest.raises(contrast.Unusable, match="empty"):
        contrast.parse({"reflection": "They differ.", "answer": " "}, row, None, KNOWN, Settings(checks="none"))


SMALL = {"per_topic": 3, "near": 1, "far": 0, "compared": 1, "model": "scripted"}


def test_the_answers_of_another_version_are_shown_by_it(server, tmp_path):
    out = tmp_path / "run"
    caredio.synthesize(["china"], ["food"], out=out, base_url=server.url, **SMALL)
    record = json.loads((out / "run.json").read_text())
    record["used"]["prompts"]["roleplay"] = "[system]\nYou are $name.\n\n[user]\n$question in $sentences\n"
    (out / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"run: was written by another version of caredio, with another roleplay\.txt"):
        show(out)


STEP = {"round": "int32", "question": "string", "response": "string", "objective": "float64"}


def test_candidates_of_a_version_without_reflections_are_read_with_none():
    steps = [{"round": 0, "question": "q", "response": "r", "objective": 0.5}]
    kinds = {**features.CANDIDATES, "history": List({name: Value(kind) for name, kind in STEP.items()})}
    del kinds["reflection"]
    older = features.table([{"sample_id": "a", "history": steps}], Features(kinds))
    read = features.current(older)
    assert {name: read.features[name] for name in features.CANDIDATES} == features.CANDIDATES
    assert (read[0]["sample_id"], read[0]["reflection"]) == ("a", None)
    assert read[0]["history"] == [{**steps[0], "reflection": None}]


def test_personas_are_spoken_to_and_the_card_names_the_voice(server, tmp_path):
    out = tmp_path / "run"
    made = caredio.build(
        ["china", "brazil"],
        ["food"],
        out=out,
        base_url=server.url,
        **SMALL,
        personas=1,
        embedder="openai:m",
        theta=0.99,
    )
    systems = {body["messages"][0]["content"] for body in server.bodies.values() if "messages" in body}
    people = {one["persona"] for row in made.candidates for one in row["panel"]}
    assert len(people) > 1
    assert all(any(f": {person}. You know" in system for system in systems) for person in people)
    card = (caredio.publish(out) / "README.md").read_text()
    assert "- Answers: in the voice of an assistant, of 80 to 200 words.\n" in card
    assert "after a reflection on what they take for granted" in card
    candidates = runs.read(sorted((out / "candidates").glob("*.parquet")))
    assert all(row["reflection"] and row["reflection"] not in row["response"] for row in candidates)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"voice": "person", "words": None}, "in the voice of a person, of 30 to 80 words."),
        ({"voice": "assistant", "words": "5-9", "sentences": None}, "in the voice of an assistant, of 5 to 9 words."),
        (
            {"sentences": "two or three", "register": "plain words"},
            "in the voice of a person, two or three sentences, worded as `plain words`.",
        ),
        (
            {"voice": "assistant", "sentences": "one", "register": None},
            "in the voice of an assistant, one sentence, worded as `plain words`.",
        ),
    ],
)
def test_a_card_describes_records_of_this_and_older_versions(settings, sentence):
    assert voice.describe(settings) == f"Answers: {sentence}"
