"""How likely an endpoint's model finds a text, over HTTP; the scripted model's log p of a word is known."""

import asyncio
import math

import numpy as np
import pytest
from llm_server import LLMServer, logprob

from caredio.errors import EndpointError
from caredio.llm.limits import CallFailed
from caredio.llm.model import connect
from caredio.llm.rows import likelihoods
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

MESSAGES = [{"role": "system", "content": "You are tall."}, {"role": "user", "content": "How do you greet?"}]
OTHER = [{"role": "user", "content": "Who pays?"}]
SPEC = Spec(model="scripted")


def model_for(server, store=None, **endpoint):
    return connect(SPEC, Endpoint(base_url=server.url, **{"retries": 0, "timeout": 5.0, **endpoint}), store)


def bits(text):
    return sum(logprob(word) for word in text.split()) / math.log(2)


async def ask(model, *calls):
    try:
        return await asyncio.gather(*(model.likelihood(*call) for call in calls))
    finally:
        await model.close()


def prefixes(server):
    """The bodies that ask for a chat's own likelihood."""
    return [server.bodies[name] for name in server.seen if server.bodies[name]["add_generation_prompt"]]


@pytest.mark.parametrize("completion", ["With a bow", "你好", "", "<end> is a mark of the template"])
def test_it_is_the_sum_over_the_completion_s_tokens(server, completion):
    (found,) = asyncio.run(ask(model_for(server), (MESSAGES, completion)))
    assert found == pytest.approx(bits(completion), abs=6e-4)


def test_the_template_is_that_of_a_turn_the_model_is_about_to_end(server):
    asyncio.run(ask(model_for(server), (MESSAGES, "With a bow")))
    before, after = (server.bodies[name] for name in server.seen)
    asked = {"model": "scripted", "max_tokens": 1, "prompt_logprobs": 0}
    assert before == {**asked, "messages": MESSAGES, "add_generation_prompt": True}
    whole = [*MESSAGES, {"role": "assistant", "content": "With a bow"}]
    assert after == {**asked, "messages": whole, "add_generation_prompt": False, "continue_final_message": True}


@pytest.mark.parametrize("latency", [0.0, 0.05])
def test_the_chat_so_far_is_asked_once_for_all_its_completions(server, latency):
    server.latency = latency
    model = model_for(server)
    said = ["a bow", "a nod", "a hug", "a wave"]
    asyncio.run(ask(model, *((chat, text) for chat in (MESSAGES, OTHER) for text in said)))
    assert [body["messages"] for body in prefixes(server)] in ([MESSAGES, OTHER], [OTHER, MESSAGES])
    assert len(server.seen) == 2 + 2 * len(said)
    asyncio.run(ask(model, (MESSAGES, "a kiss")))
    assert len(server.seen) == 2 + 2 * len(said) + 1


def test_equal_calls_are_made_once_and_stored(server, tmp_path):
    server.latency = 0.05
    model = model_for(server, tmp_path / "s.sqlite")
    first = asyncio.run(ask(model, *[(MESSAGES, "With a bow")] * 5))
    assert len(set(first)) == 1
    assert len(server.seen) == 2
    assert (model.usage.calls, model.usage.stored) == (2, 0)  # requests
    with LLMServer() as elsewhere:
        again = model_for(elsewhere, tmp_path / "s.sqlite")
        assert asyncio.run(ask(again, (MESSAGES, "With a bow"))) == first[:1]
        assert elsewhere.seen == []
    assert (again.usage.calls, again.usage.stored) == (0, 1)


def test_the_tokens_of_all_requests_are_counted(server):
    model = model_for(server)
    asyncio.run(ask(model, (MESSAGES, "a bow"), (MESSAGES, "a low bow")))
    words = sum(len(turn["content"].split()) for turn in MESSAGES)
    assert model.usage.prompt_tokens == words + (words + 2) + (words + 3)


UNKNOWN = {"status": 400, "message": "Unknown parameter: 'prompt_logprobs'."}


@pytest.mark.parametrize("settings", [{"logprobs": False}, {"fault": lambda number, body: UNKNOWN}])
def test_an_endpoint_without_log_probabilities_is_told(settings):
    with LLMServer(**settings) as server, pytest.raises(EndpointError, match="no log-probabilities of prompts"):
        asyncio.run(ask(model_for(server), (MESSAGES, "With a bow")))


def test_a_prefix_without_an_answer_fails_its_completions_and_is_asked_again():
    with LLMServer(fault=lambda number, body: 500 if number == 0 else None, latency=0.05) as server:
        model = model_for(server)
        with pytest.raises(CallFailed, match="status 500"):
            asyncio.run(ask(model, (MESSAGES, "a bow"), (MESSAGES, "a nod")))
        assert len(server.seen) == 1
        assert asyncio.run(ask(model, (MESSAGES, "a bow"))) == [pytest.approx(bits("a bow"), abs=6e-4)]


def calls(count):
    return [(MESSAGES, f"answer number {place}") for place in range(count)]


def refused(*numbers):
    """A fault: completions that end with one of the numbers are refused."""
    return lambda number, body: 500 if body["messages"][-1]["content"].endswith(tuple(map(str, numbers))) else None


def test_likelihoods_are_in_the_calls_order(server):
    found = likelihoods([*calls(30), (OTHER, "all of us")], model_for(server), "test")
    expected = [*(bits(text) for _, text in calls(30)), bits("all of us")]
    assert found == pytest.approx(expected, abs=6e-4)
    assert found.dtype == np.float64


def test_no_calls_have_no_likelihoods(server):
    assert likelihoods([], model_for(server), "test").shape == (0,)


def test_failed_calls_are_unknown():
    with LLMServer(fault=refused("r 7")) as server:
        found = likelihoods(calls(20), model_for(server), "test")
    assert np.flatnonzero(np.isnan(found)).tolist() == [7]
    assert np.delete(found, 7) == pytest.approx(np.delete([bits(text) for _, text in calls(20)], 7), abs=6e-4)


def test_more_than_5_percent_without_an_answer_is_one_sentence_and_keeps_what_arrived():
    with LLMServer(fault=refused("r 7", "r 8")) as server:
        model = model_for(server, concurrency=4)
        with pytest.raises(
            EndpointError, match=r"test: 2 of 20 calls got no answer \(endpoint: status 500, which says: scripted"
        ):
            likelihoods(calls(20), model, "test")
        server.fault = None
        assert not np.isnan(likelihoods(calls(20), model, "test")).any()
        assert server.repeats() <= 2 + 4  # those refused, and those in flight when it stopped
