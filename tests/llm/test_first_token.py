"""The likeliest first tokens of an answer, over HTTP: what is asked, how replies are read, who returns none."""

import asyncio

import pytest
from llm_server import LLMServer, first_token
from openai.types.chat import ChatCompletion

from caredio.errors import EndpointError
from caredio.llm.limits import CallFailed
from caredio.llm.model import connect
from caredio.llm.rows import first_tokens
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

MESSAGES = [{"role": "system", "content": "You are tall."}, {"role": "user", "content": "A or B?"}]
TOKENS = {"A": -0.5, " B": -1.25, "é\0<think>": -3.0, "\ud83d": -9999.0}
READ = [
    {"token": "A", "logprob": -0.5},
    {"token": " B", "logprob": -1.25},
    {"token": "é\\x00<think>", "logprob": -3.0},
    {"token": "\\ud83d", "logprob": -9999.0},
]
NONE = "the endpoint does not return the 20 top_logprobs of a first token for scripted"
INSTEAD = "; ask for the benchmark's variant _generated instead, whose letters are drawn."


def says(tokens):
    return {"content": "A", "finish_reason": "length", "logprobs": tokens}


def model_for(server, store=None, **endpoint):
    given = {"base_url": server.url, "retries": 0, "timeout": 5.0, **endpoint}
    return connect(Spec(model="scripted", temperature=0.0, max_tokens=9), Endpoint(**given), store)


async def ask(model, messages=MESSAGES):
    try:
        return await model.first_token(messages)
    finally:
        await model.close()


def served(*replies):
    """A server that gives these replies in turn, and the last one from then on."""
    return LLMServer(fault=lambda number, body: replies[min(number, len(replies) - 1)])


def replied(logprobs):
    """A reply that tells these of its one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "length"}
    made = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return {**made, "choices": [{**choice, "logprobs": logprobs}]}


def test_the_scripted_reply_is_openai_s():
    reply = replied(first_token({"B": -2.0, "A": -0.5, "C": -7.0}, 2))
    (told,) = ChatCompletion.model_validate(reply, strict=True).choices[0].logprobs.content
    assert (told.token, told.logprob, told.bytes) == ("A", -0.5, [65])
    assert [(one.token, one.logprob) for one in told.top_logprobs] == [("A", -0.5), ("B", -2.0)]


def test_one_token_is_asked_for_at_temperature_1_and_what_comes_is_kept(tmp_path):
    with served(says(TOKENS)) as server:
        model = model_for(server, tmp_path / "s.sqlite")
        assert asyncio.run(ask(model)) == READ
        (body,) = server.bodies.values()
    assert body == {"model": "scripted", "messages": MESSAGES, "max_tokens": 1, "temperature": 1.0} | {
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert (model.usage.calls, model.usage.stored) == (1, 0)
    with LLMServer() as elsewhere:
        again = model_for(elsewhere, tmp_path / "s.sqlite")
        assert asyncio.run(ask(again)) == READ
        assert elsewhere.seen == []
    assert (again.usage.calls, again.usage.stored) == (0, 1)


def test_no_more_than_20_tokens_come():
    with served(says({f"{place}": -float(place) for place in range(30)})) as server:
        assert [one["logprob"] for one in asyncio.run(ask(model_for(server)))] == [-float(n) for n in range(20)]


LOGPROBS = "'logprobs' is not supported with this model."
NOT_ALLOWED = "You are not allowed to request logprobs from this model."
FEWER = "top_logprobs: must be at most 5."


@pytest.mark.parametrize(("status", "words"), [(400, LOGPROBS), (403, NOT_ALLOWED), (422, FEWER), (500, LOGPROBS)])
def test_a_server_that_refuses_them_is_one_sentence_with_its_words(status, words):
    with served({"status": status, "message": words}) as server, pytest.raises(EndpointError) as caught:
        asyncio.run(ask(model_for(server, retries=3)))
    assert str(caught.value) == f"{NONE}, which says: {words[:-1]}{INSTEAD}"
    assert len(server.seen) == 1


def test_what_a_reasoning_model_refuses_before_is_left_out_first():
    limit = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    heat = "Unsupported value: 'temperature' does not support 1.0 with this model. Only the default is supported."
    refused = [{"status": 400, "message": words} for words in (limit, LOGPROBS)]
    with served(*refused) as server, pytest.raises(EndpointError, match="says: 'logprobs' is not supported with"):
        asyncio.run(ask(model_for(server)))
    with served(*({"status": 400, "message": words} for words in (limit, heat)), says(TOKENS)) as server:
        assert asyncio.run(ask(model_for(server))) == READ
        last = server.bodies[server.seen[-1]]
    assert last.keys() == {"model", "messages", "max_completion_tokens", "logprobs", "top_logprobs"}


@pytest.mark.parametrize(
    "none", [None, {}, [], {"content": None}, {"content": []}, {"content": [{"top_logprobs": []}]}]
)
def test_a_server_that_passes_over_the_wish_is_one_sentence(none, tmp_path):
    with served({"body": replied(none)}) as server, pytest.raises(EndpointError) as caught:
        asyncio.run(ask(model_for(server, tmp_path / "s.sqlite")))
    assert str(caught.value) == NONE + INSTEAD
    with served(says(TOKENS)) as other:  # nothing of it was kept
        assert asyncio.run(ask(model_for(other, tmp_path / "s.sqlite"))) == READ


@pytest.mark.parametrize("top", [[{"token": "A"}], [{"token": "A", "logprob": None}], ["A"], [{"logprob": -1.0}], 7])
def test_what_is_no_log_probability_is_asked_for_again(top):
    broken = {"body": replied({"content": [{"token": "A", "top_logprobs": top}]})}
    with served(broken) as server, pytest.raises(CallFailed, match="no log-probabilities"):
        asyncio.run(ask(model_for(server)))
    with served(broken, says(TOKENS)) as server:
        assert asyncio.run(ask(model_for(server, retries=1))) == READ


@pytest.mark.parametrize("number", ["NaN", "1.0", "Infinity"])
def test_a_number_that_is_no_logarithm_of_a_share_is_none(number):
    top = f'[{{"token": "A", "logprob": {number}}}]'
    body = f'{{"choices": [{{"message": {{"content": "A"}}, "logprobs": {{"content": [{{"top_logprobs": {top}}}]}}}}]}}'
    with served({"body": body}) as server, pytest.raises(CallFailed, match="no log-probabilities"):
        asyncio.run(ask(model_for(server)))


def test_a_prompt_that_is_refused_has_no_first_token():
    filtered = {"status": 400, "body": {"error": {"message": "No.", "code": "content_filter"}}}
    stopped = {"content": None, "finish_reason": "content_filter"}
    for reply in (filtered, stopped):
        with served(reply) as server:
            assert asyncio.run(ask(model_for(server))) == []


def test_a_batch_api_is_not_asked(tmp_path):
    with LLMServer() as server, pytest.raises(EndpointError, match=r"^the Batch API is not asked for top_logprobs; "):
        asyncio.run(ask(model_for(server, tmp_path / "s.sqlite", batch=True)))
    assert server.seen == []


def chats(count):
    return [[{"role": "user", "content": f"question {place}"}] for place in range(count)]


def test_they_are_in_the_order_of_the_chats(tmp_path):
    def number(_, body):
        return says({body["messages"][-1]["content"].split()[-1]: -1.0})

    with LLMServer(fault=number) as server:
        model = model_for(server, tmp_path / "s.sqlite")
        found = first_tokens(chats(40), model, "test")
        assert [one["token"] for (one,) in found] == [str(place) for place in range(40)]
        assert first_tokens(chats(40), model, "test") == found
        assert len(server.seen) == 40


def test_none_may_go_without_an_answer_and_what_arrived_is_stored(tmp_path):
    broken = [True]

    def fault(_, body):
        return 500 if broken[0] and body["messages"][-1]["content"].endswith(" 7") else says(TOKENS)

    with LLMServer(fault=fault) as server:
        model = model_for(server, tmp_path / "s.sqlite", concurrency=1)
        with pytest.raises(EndpointError, match=r"^test: 1 of 10 calls got no answer \(endpoint: status 500"):
            first_tokens(chats(10), model, "test")
        broken[0] = False
        assert first_tokens(chats(10), model, "test") == [READ] * 10
        assert len(server.bodies) == 10
        assert server.repeats() <= 1 + 1  # what was refused, and what was in flight when it stopped
