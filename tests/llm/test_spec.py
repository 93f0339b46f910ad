"""What makes two calls the same call."""

import dataclasses
import hashlib

import pytest

from caredio.errors import InputError
from caredio.llm.spec import LOCAL_MODEL, Chat, Spec

MESSAGES = [{"role": "user", "content": "How do you greet a neighbour?"}]
SCHEMA = {"type": "object", "properties": {}}


def test_equal_calls_have_equal_keys_and_any_difference_another():
    spec = Spec(model="m")
    keys = {
        spec.key(Chat(MESSAGES)),
        spec.key(Chat([{**MESSAGES[0], "content": "Other"}])),
        spec.key(Chat(MESSAGES, SCHEMA)),
        spec.key(Chat(MESSAGES, draw=1)),
        Spec(model="n").key(Chat(MESSAGES)),
        Spec(model="m", provider="vllm").key(Chat(MESSAGES)),
        Spec(model="m", model_revision="2").key(Chat(MESSAGES)),
        Spec(model="m", temperature=0.1).key(Chat(MESSAGES)),
        Spec(model="m", top_p=0.5).key(Chat(MESSAGES)),
        Spec(model="m", max_tokens=7).key(Chat(MESSAGES)),
    }
    assert len(keys) == 10
    assert Spec(model="m").key(Chat(list(MESSAGES))) == spec.key(Chat(MESSAGES))


@pytest.mark.parametrize(
    ("older", "now"),
    [
        ({"temperature": -1}, {"temperature": None}),
        ({"top_p": -1.0}, {"top_p": None}),
        ({"provider": ""}, {"provider": None}),
        ({"model_revision": ""}, {"model_revision": None}),
    ],
)
def test_what_older_files_say_for_none_is_none(older, now):
    assert Spec(model="m", **older) == Spec(model="m", **now)
    assert Spec(model="m", **older).key(Chat(MESSAGES)) == Spec(model="m", **now).key(Chat(MESSAGES))


def test_what_is_not_given_stands_in_a_key_as_it_always_did():
    spec = Spec(model="m", temperature=None, top_p=None)
    call = (
        '{"draw": 0, "kind": "chat", "max_tokens": 512, "messages": [{"content": "How do you greet a neighbour?",'
        ' "role": "user"}], "model": "m", "model_revision": "", "provider": "openai", "schema": null,'
        ' "temperature": -1.0, "top_p": -1.0}'
    )
    assert spec.key(Chat(MESSAGES)) == hashlib.sha256(call.encode()).hexdigest()


def test_a_schema_s_own_words_are_part_of_the_key_where_there_is_a_schema():
    spec = Spec(model="m")
    assert spec.key(Chat(MESSAGES, instruction="JSON!")) == spec.key(Chat(MESSAGES))
    assert len({spec.key(Chat(MESSAGES, SCHEMA, instruction=words)) for words in (None, "JSON!", "Json!")}) == 3


def test_json_mode_is_part_of_the_key_only_where_there_is_a_schema():
    one, other = Spec(model="m"), Spec(model="m", json_mode="prompt")
    assert one.key(Chat(MESSAGES)) == other.key(Chat(MESSAGES))
    assert one.key(Chat(MESSAGES, SCHEMA)) != other.key(Chat(MESSAGES, SCHEMA))


CHAT = [
    {"role": "system", "content": "You live in Côte d'Ivoire."},
    {"role": "user", "content": "茶 or coffee?"},
]
FORM = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
OTHER = Spec(
    model="mine",
    provider="vllm",
    model_revision="r1",
    temperature=0.0,
    top_p=-1.0,
    max_tokens=64,
    json_mode="json_object",
)


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        (Spec(), ("caa4492a1faeaabb", "a0827edc55edcee3", "125e171690e3212b", "97b3ba71eb3a5d39")),
        (Spec(model="gpt-4.1-mini"), ("9f903a9903922", "fa08c35e137de8586", "e4b988ebce76f0ef", "7a37ea9a7537f99f")),
        (OTHER, ("e6584b4fb3972623", "47cedf694ebd4a21", "276772e39882759e", "5c26a5fe0a658060")),
    ],
)
def test_keys_of_stored_answers_never_change(spec, keys):
    """What people have paid for is found by these; a change here makes them pay again."""
    made = (
        spec.key(Chat(CHAT)),
        spec.key(Chat(CHAT, FORM)),
        spec.key(Chat(CHAT, FORM, 3)),
        spec.likelihood_key(CHAT, "Tea."),
    )
    assert all(map(str.startswith, made, keys))


def test_a_number_has_one_spelling_in_a_key():
    whole, real = Spec(model="m", temperature=1, top_p=1), Spec(model="m", temperature=1.0, top_p=1.0)
    assert whole.key(Chat(CHAT)) == real.key(Chat(CHAT))


def test_a_setting_that_is_added_or_renamed_changes_no_key():
    @dataclasses.dataclass(frozen=True)
    class More(Spec):
        another: str = "new"

    assert More(model="m").key(Chat(CHAT, FORM)) == Spec(model="m").key(Chat(CHAT, FORM))
    assert More(model="m").likelihood_key(CHAT, "Tea.") == Spec(model="m").likelihood_key(CHAT, "Tea.")


def test_a_likelihood_is_another_call_and_sampling_is_no_part_of_it():
    spec = Spec(model="m")
    keys = {
        spec.key(Chat(MESSAGES)),
        spec.likelihood_key(MESSAGES, ""),
        spec.likelihood_key(MESSAGES, "With a bow."),
        Spec(model="n").likelihood_key(MESSAGES, ""),
        Spec(model="m", provider="vllm").likelihood_key(MESSAGES, ""),
        Spec(model="m", model_revision="2").likelihood_key(MESSAGES, ""),
    }
    assert len(keys) == 6
    sampled = Spec(model="m", temperature=0.1, top_p=0.5, max_tokens=7, json_mode="prompt")
    assert sampled.likelihood_key(MESSAGES, "") == spec.likelihood_key(MESSAGES, "")


def test_first_tokens_are_another_call_and_sampling_is_no_part_of_it():
    spec = Spec(model="m")
    call = (
        '{"kind": "first_token", "messages": [{"content": "How do you greet a neighbour?", "role": "user"}],'
        ' "model": "m", "model_revision": "", "provider": "openai", "top_logprobs": 20}'
    )
    assert spec.first_token_key(MESSAGES) == hashlib.sha256(call.encode()).hexdigest()
    sampled = Spec(model="m", temperature=0.1, top_p=0.5, max_tokens=7, json_mode="prompt")
    assert sampled.first_token_key(MESSAGES) == spec.first_token_key(MESSAGES)
    assert Spec(model="n").first_token_key(MESSAGES) != spec.first_token_key(MESSAGES)
    assert spec.first_token_key(CHAT) != spec.first_token_key(MESSAGES)


def test_provider_label_follows_the_model():
    assert Spec().model == LOCAL_MODEL
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
