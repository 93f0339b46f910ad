"""What a model is and how it is sampled."""

import dataclasses

import pytest

from caredio.errors import InputError
from caredio.llm.spec import LOCAL_MODEL, Spec


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
