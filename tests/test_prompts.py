"""Prompt files."""

import json
from importlib import resources

import pytest

from caredio import prompts

NAMES = sorted(
    file.name.removesuffix(".txt")
    for file in resources.files("caredio.prompts").iterdir()
    if file.name.endswith(".txt")
)


def test_the_stages_prompts_are_there():
    assert NAMES == ["adapt", "contrast", "improve", "likelihood", "questions", "rewrite", "roleplay", "sensitivity"]


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_has_a_system_and_a_user_part_and_names_a_missing_slot(name):
    prompt = prompts.load(name)
    assert [role for role, _ in prompt.parts] == ["system", "user"]
    with pytest.raises(KeyError):
        prompt.messages()


def test_braces_and_dollars_in_values_survive():
    messages = prompts.load("roleplay").messages(
        name="Peru",
        adjective="Peruvian",
        persona="",
        question='Why {"a": 1} at $5?',
        sentences="two",
        language="English",
        register="plain words",
    )
    assert messages[1]["content"].startswith('Why {"a": 1} at $5?')


def test_quote_is_one_line_of_json():
    text = 'He said "no".\n\u00e9\u4f60'
    assert "\n" not in prompts.quote(text)
    assert json.loads(prompts.quote(text)) == text
