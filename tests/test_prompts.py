"""Prompt files: the shipped ones, and a user's in their place."""

import hashlib
import json
import os
from importlib import resources

import pytest

from caredio import prompts
from caredio.errors import InputError
from caredio.evaluation.judging_settings import SCALES

NAMES = sorted(
    file.name.removesuffix(".txt")
    for file in resources.files("caredio.prompts").iterdir()
    if file.name.endswith(".txt")
)
PARTS = {  # of the prompts that are more, or less, than a system and a user message
    "choice": ["likelihood", "generated", "cot"],
    "evidence": ["shown", "judged"],
    "judgements": ["likelihood", "generated", "cot"],
    **{f"judge_{rubric}": ["criteria", "scale"] for rubric in SCALES},
    "repair": ["user"],
    "schema": ["user"],
    "short_answers": ["likelihood", "generated", "cot", "open"],
    "questions": ["system", "user", "scenario", "value", "open", "part", "form", "taken"],
    "systems": ["system"],
    "validation": ["user"],
    "views": ["system"],
    "voice": ["assistant", "assistant_answer", "person", "person_answer"],
}
SHIPPED = resources.files("caredio.prompts").joinpath("roleplay.txt").read_text(encoding="utf-8")
SLOTS = "$form, $question, $voice"


@pytest.fixture
def own(tmp_path):
    """Writes a prompt of one's own into a folder; the file."""

    def written(text, name="roleplay", folder="mine"):
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / f"{name}.txt"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return written


def test_every_prompt_may_be_replaced():
    names = [
        *(
            "adapt",
            "addresses",
            "choice",
            "contrast",
            "evidence",
            "generality",
            "improve",
            *("judge_awareness", "judge_entities", "judge_literacy", "judge_norms", "judge_pairwise", "judge_quality"),
            "judge_rating",
            "judgements",
            "likelihood",
            "questions",
            "recognise",
            "repair",
            "review",
            "rewrite",
            "roleplay",
        ),
        *("schema", "sensitivity", "short_answers", "subtopics", "systems", "validation", "views", "voice"),
    ]
    assert names == NAMES
    assert prompts.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_has_its_parts_and_names_a_missing_slot(name):
    prompt = prompts.load(name)
    assert list(prompt.parts) == PARTS.get(name, ["system", "user"])
    assert prompt.shipped
    if "likelihood" in prompt.parts:
        with pytest.raises(KeyError):
            prompt.part("likelihood")
    if {"system", "user"} & prompt.parts.keys():
        with pytest.raises(KeyError):
            prompt.messages()


def test_braces_and_dollars_in_values_survive():
    messages = prompts.load("roleplay").messages(
        voice="You are in Peru.",
        question='Why {"a": 1} at $5?',
        form="Answer.",
    )
    assert messages[1]["content"].startswith('Why {"a": 1} at $5?')


def test_a_part_is_filled_alone():
    assert prompts.load("views").part("system", name="Peru") == "You answer as someone who lives in Peru would."
    with pytest.raises(KeyError, match="name"):
        prompts.load("views").part("system")


def test_quote_is_one_line_of_json():
    text = 'He said "no".\n\u00e9\u4f60'
    assert "\n" not in prompts.quote(text)
    assert json.loads(prompts.quote(text)) == text


def test_a_folder_s_file_is_used_and_the_rest_is_shipped(own):
    file = own(SHIPPED + "Cost: $$5.")
    found, shipped = (prompts.load("roleplay", folders) for folders in (str(file.parent), None))
    filled = dict.fromkeys(SLOTS.replace("$", "").split(", "), "x")
    assert found.messages(**filled)[1]["content"] == "x\n\nx\nCost: $5."
    assert found.messages(**filled)[0] == shipped.messages(**filled)[0]
    assert found.text == file.read_text(encoding="utf-8")
    assert found.sha != shipped.sha
    assert not found.shipped
    assert prompts.load("adapt", str(file.parent)) == prompts.load("adapt")
    prompts.check(str(file.parent))


@pytest.mark.parametrize("text", [SHIPPED, b"\xef\xbb\xbf" + SHIPPED.encode()], ids=["equal", "with a mark before it"])
def test_an_equal_text_is_the_shipped_prompt(own, text):
    folder = str(own(text).parent)
    assert prompts.load("roleplay", folder) is prompts.load("roleplay")
    prompts.check(folder)


def test_windows_line_ends_change_no_message(own):
    folder = str(own(SHIPPED.replace("\n", "\r\n")).parent)
    assert prompts.load("roleplay", folder).parts == prompts.load("roleplay").parts


def test_of_several_folders_the_first_that_has_a_file_holds(own):
    one = own((SHIPPED + "One."), folder="one").parent
    two = own((SHIPPED + "Two."), folder="two").parent
    adapt = resources.files("caredio.prompts").joinpath("adapt.txt").read_text(encoding="utf-8")
    own(adapt.replace("[user]\n", "[user]\nTwo. "), "adapt", "two")

    def last(name, *folders):
        return prompts.load(name, prompts.JOIN.join(map(str, folders))).parts["user"]

    assert [last("roleplay", *folders)[-4:] for folders in ((one, two), (two, one))] == ["One.", "Two."]
    assert last("adapt", one, two).startswith("Two. ")
    assert last("contrast", one, two) == prompts.load("contrast").parts["user"]
    assert last("roleplay", "", two) == last("roleplay", two)  # an empty entry is no folder, not even this one
    prompts.check(str(one))
    prompts.check(str(two))


def test_a_changed_file_is_read_again(own):
    texts = [SHIPPED + end for end in ("Be brief.", "Be vivid.", "")]
    found = []
    for moment, text in enumerate(texts):
        file = own(text)
        os.utime(file, ns=(moment, moment))  # the first two are as long
        found.append(prompts.load("roleplay", str(file.parent)))
    assert [prompt.text for prompt in found] == texts
    assert [prompt.shipped for prompt in found] == [False, False, True]
    file.unlink()
    assert prompts.load("roleplay", str(file.parent)).shipped


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHIPPED.replace("$question", "It"), f": slot $question is missing; the slots are {SLOTS}."),
        (SHIPPED.replace("$question", "$asked"), f": slot $question is missing; the slots are {SLOTS}."),
        (SHIPPED + " $age", f": slot $age is unknown; the slots are {SLOTS}."),
        (SHIPPED + "\n[tone]\nKind.", ": part [tone] is unknown; the parts are system, user."),
        (
            SHIPPED.split("[user]")[0],
            ": part [user] is missing or empty; `caredio prompts roleplay` shows the shipped.",
        ),
        (SHIPPED.split("[user]")[0] + "[user]\n \n", ": part [user] is missing or empty; `caredio prompts roleplay`"),
        ("", ": part [system] is missing or empty; `caredio prompts roleplay` shows the shipped."),
        (SHIPPED + " It costs $5.", ", part [user]: '$' begins a slot, and one of them is none; write '$$' for a '$'."),
        (SHIPPED + " $", ", part [user]: '$' begins a slot, and one of them is none; write '$$' for a '$'."),
        (SHIPPED.encode("utf-16"), ": is not UTF-8 text; save it as UTF-8."),
    ],
    ids=[
        *("slot missing", "slot renamed", "slot unknown", "part unknown", "part missing", "part empty", "nothing"),
        *("a price", "lone $", "utf-16"),
    ],
)
def test_a_file_that_is_no_such_prompt_is_told(own, text, said):
    file = own(text)
    for look in (lambda: prompts.check(str(file.parent)), lambda: prompts.load("roleplay", str(file.parent))):
        with pytest.raises(InputError) as error:
            look()
        assert str(error.value).startswith(f"{file}{said}")
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")


def test_a_file_that_is_named_as_no_prompt_is_told(own):
    file = own(SHIPPED, "role-play")
    with pytest.raises(InputError) as error:
        prompts.check(str(file.parent))
    assert str(error.value) == f"{file}: no prompt is named so; the prompts are {', '.join(prompts.names())}."


def test_a_folder_that_is_not_there_is_told(own, tmp_path):
    none = tmp_path / "none"
    for folders in (none,):
        with pytest.raises(InputError) as error:
            prompts.check(str(folders))
        said = f"{none}: no such folder of prompts; `caredio prompts --to {none}` makes one."
        assert str(error.value) == said


def test_a_file_that_cannot_be_read_is_told(own):
    file = own("")
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError) as error:
        prompts.check(str(file.parent))
    assert str(error.value) == f"{file}: cannot be read (Is a directory)."


def test_no_folder_is_nothing_to_check():
    prompts.check(None)
    prompts.check("")


def test_a_shipped_text_that_never_changes_is_no_part_of_a_fingerprint(own):
    names = ("roleplay", "repair", "schema", "systems")
    shipped = [prompts.load(name) for name in names]
    assert prompts.counting(shipped) == [shipped[0].sha]
    folder = str(own("[user]\n$reason. Again.\n", "repair").parent)
    mine = [prompts.load(name, folder) for name in names]
    assert prompts.counting(mine) == [shipped[0].sha, mine[1].sha]


SLOT_OF_PART = {  # parts of the shipped questions that are filled on their own: slots that they may not have
    "scenario": "$count",
    "taken": "$topic",
}


@pytest.mark.parametrize("part", SLOT_OF_PART)
def test_a_slot_that_its_part_is_not_given_is_told(own, part):
    text = resources.files("caredio.prompts").joinpath("questions.txt").read_text(encoding="utf-8")
    file = own(text.replace(f"[{part}]\n", f"[{part}]\n{SLOT_OF_PART[part]} "), "questions")
    with pytest.raises(InputError) as error:
        prompts.check(str(file.parent))
    assert str(error.value).startswith(f"{file}")
    assert SLOT_OF_PART[part] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_slot_that_moved_to_a_part_that_is_not_given_it_is_told(own):
    text = resources.files("caredio.prompts").joinpath("questions.txt").read_text(encoding="utf-8")
    taken, rest = "Questions already taken, so write others:\n$questions", "Answer with JSON"
    assert taken in text
    moved = text.replace(taken, "Write others.").replace(rest, f"$questions\n{rest}")
    with pytest.raises(InputError, match=r"\$questions"):
        prompts.check(str(own(moved, "questions").parent))


def test_a_part_that_stands_twice_is_told(own):
    text = prompts.load("likelihood").text
    with pytest.raises(InputError, match=r"likelihood.txt: part \[user\] stands twice"):
        prompts.check(str(own(f"{text}\n[user]\n$question\n", "likelihood").parent))


def test_a_text_that_was_shipped_once_gives_way_where_stages_need_other_parts(tmp_path):
    folder = tmp_path / "prompts"
    prompts.keep(folder, {"roleplay": prompts.load("roleplay").text})
    assert prompts.load("roleplay", str(folder)).shipped
    older = "[system]\nYou are $name.\n\n[user]\n$question\n"  # as if an older version had shipped it
    (folder / "roleplay.txt").write_text(older)
    with pytest.raises(InputError, match=r"slot \$form is missing"):
        prompts.load("roleplay", str(folder))  # a person wrote this
    (folder / ".shipped.json").write_text(json.dumps({"roleplay": hashlib.sha256(older.encode()).hexdigest()[:16]}))
    assert prompts.load("roleplay", str(folder)) == prompts.load("roleplay")


def test_a_blank_line_more_is_the_same_prompt(own):
    file = own(f"{prompts.load('likelihood').text}\n\n", "likelihood")
    assert prompts.load("likelihood", str(file.parent)) == prompts.load("likelihood")
