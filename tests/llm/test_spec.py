"""What makes two calls the same call."""

import dataclasses

import pytest

from caredio.errors import InputError
from caredio.llm.spec import EMBEDDED, Spec

MESSAGES = [{"role": "user", "content": "How do you greet a neighbour?"}]
SCHEMA = {"type": "object", "properties": {}}


def test_equal_calls_have_equal_keys_and_any_difference_another():
    spec = Spec(model="m")
    keys = {
        spec.key(MESSAGES),
        spec.key([{**MESSAGES[0], "content": "Other"}]),
        spec.key(MESSAGES, SCHEMA),
        spec.key(MESSAGES, draw=1),
        Spec(model="n").key(MESSAGES),
        Spec(model="m", provider="vllm").key(MESSAGES),
        Spec(model="m", model_revision="2").key(MESSAGES),
        Spec(model="m", temperature=0.1).key(MESSAGES),
        Spec(model="m", top_p=0.5).key(MESSAGES),
        Spec(model="m", max_tokens=7).key(MESSAGES),
    }
    assert len(keys) == 10
    assert Spec(model="m").key(list(MESSAGES)) == spec.key(MESSAGES)


def test_json_mode_is_part_of_the_key_only_where_there_is_a_schema():
    one, other = Spec(model="m"), Spec(model="m", json_mode="prompt")
    assert one.key(MESSAGES) == other.key(MESSAGES)
    assert one.key(MESSAGES, SCHEMA) != other.key(MESSAGES, SCHEMA)


def test_a_key_is_the_same_in_every_version_of_python():
    assert Spec(model="m").key(MESSAGES).startswith("c60396d6")
    assert Spec(model="m").likelihood_key(MESSAGES, "With a bow.").startswith("e346fe02")


def test_a_likelihood_is_another_call_and_sampling_is_no_part_of_it():
    spec = Spec(model="m")
    keys = {
        spec.key(MESSAGES),
        spec.likelihood_key(MESSAGES, ""),
        spec.likelihood_key(MESSAGES, "With a bow."),
        Spec(model="n").likelihood_key(MESSAGES, ""),
        Spec(model="m", provider="vllm").likelihood_key(MESSAGES, ""),
        Spec(model="m", model_revision="2").likelihood_key(MESSAGES, ""),
    }
    assert len(keys) == 6
    sampled = Spec(model="m", temperature=0.1, top_p=0.5, max_tokens=7, json_mode="prompt")
    assert sampled.likelihood_key(MESSAGES, "") == spec.likelihood_key(MESSAGES, "")


def test_provider_label_follows_the_model():
    assert Spec().model == EMBEDDED
    assert Spec().provider == "embedded"
    assert Spec(model="gpt-4.1-mini").provider == "openai"


def test_a_spec_is_hashable_and_frozen():
    assert hash(Spec()) == hash(Spec())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec().model = "other"


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 3}, {"top_p": 0}, {"top_p": 1.5}, {"max_tokens": 0}, {"json_mode": "xml"}],
)
def test_settings_that_cannot_be_are_told(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        Spec(model="m", **settings)
