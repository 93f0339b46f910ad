"""What a command may spend."""

import asyncio
import json

import pytest
from llm_server import LLMServer

import caredio
from caredio.errors import BudgetError, InputError
from caredio.llm.limits import Budget, CallFailed, Rate, Usage
from caredio.llm.model import connect
from caredio.llm.prices import cost
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Chat, Spec

CALL = Usage(1, 0, 600, 400)  # the most that a call holds
RATE = Rate("m")


async def call(budget, used, seconds=0.01, rate=RATE):
    async with budget.hold(rate, CALL) as held:
        await asyncio.sleep(seconds)
        held.used = used
    return used


def test_calls_wait_for_what_those_in_flight_leave():
    async def story():
        budget = Budget(max_total_tokens=2500)
        await asyncio.gather(*(call(budget, Usage(1, 0, 60, 40)) for _ in range(15)))
        return budget.spent[RATE]

    # two fit at once; as each uses 100, fifteen go through before 2,500 - 1,000 are used
    assert asyncio.run(story()) == Usage(15, 0, 900, 600)


def test_it_ends_before_the_limit_once_nothing_is_in_flight():
    async def story():
        budget = Budget(max_total_tokens=2500)
        calls = [asyncio.ensure_future(call(budget, Usage(1, 0, 60, 40))) for _ in range(30)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        return budget, ended

    budget, ended = asyncio.run(story())
    stopped = [error for error in ended if isinstance(error, BudgetError)]
    assert budget.spent[RATE].calls == len(ended) - len(stopped) == 16
    assert budget.spent[RATE].prompt_tokens + budget.spent[RATE].completion_tokens == 1600
    assert str(stopped[0]) == (
        "16 calls used 1,600 tokens, and the next could go beyond max_total_tokens 2500; every answer is stored, and"
        " the same command with a higher limit goes on from here."
    )


def test_dollars_are_limited_at_the_listed_price_and_a_batch_costs_half():
    most = cost("gpt-4.1-mini", CALL)
    assert most == pytest.approx((600 * 0.40 + 400 * 1.60) / 1e6)
    assert cost("gpt-4.1-mini", CALL, batch=True) == pytest.approx(most / 2)

    async def through(batch):
        budget, rate = Budget(max_cost=10.5 * most), Rate("gpt-4.1-mini", batch)
        await asyncio.gather(*(call(budget, CALL, rate=rate) for _ in range(30)), return_exceptions=True)
        return budget.spent[rate].calls

    assert asyncio.run(through(False)) == 10
    assert asyncio.run(through(True)) == 21


def test_dollars_of_a_model_without_a_price_cannot_be_limited():
    with pytest.raises(InputError, match=r"no price is known for mine.*max_total_tokens"):
        connect(Spec(model="mine"), Endpoint(base_url="http://localhost:1/v1", max_cost=1.0))


def test_models_spend_from_one_purse_each_at_its_price():
    dear, cheap = Rate("gpt-4.1"), Rate("text-embedding-3-small")
    most = cost("gpt-4.1", CALL)

    async def story():
        budget = Budget(max_cost=2.5 * most)
        await call(budget, CALL, rate=dear)
        for _ in range(200):  # 200 x 600 x $0.02 / 1M is 0.54 of what the dear one costs
            await call(budget, CALL, rate=cheap)
        ended = await asyncio.gather(*(call(budget, CALL, rate=dear) for _ in range(3)), return_exceptions=True)
        return budget, [error for error in ended if isinstance(error, BudgetError)]

    budget, stopped = asyncio.run(story())
    assert (budget.spent[dear].calls, budget.spent[cheap].calls, len(stopped)) == (1, 200, 3)
    assert str(stopped[0]).startswith("201 calls used 201,000 tokens, $0.0068, and")


def test_the_embedded_model_stands_beside_an_embedder_that_is_capped():
    connect(Spec(), Endpoint(max_cost=1.0))
    with pytest.raises(InputError, match="no Batch API"):
        connect(Spec(), Endpoint(batch=True))


def test_an_endpoint_that_counts_no_tokens_is_taken_to_use_the_most():
    def fault(number, body):
        return {"body": json.dumps({"choices": [{"message": {"content": "yes"}}]})}

    async def story(url):
        model = connect(Spec(model="m", max_tokens=10), Endpoint(base_url=url, max_total_tokens=1000))
        ended = await asyncio.gather(
            *(model.complete(Chat([{"role": "user", "content": f"{n}"}])) for n in range(20)), return_exceptions=True
        )
        await model.close()
        return ended

    with LLMServer(fault=fault) as server:
        ended = asyncio.run(story(server.url))
        assert 0 < len(server.seen) < 10
    assert sum(isinstance(error, BudgetError) for error in ended) == 20 - len(server.seen)


def test_an_attempt_whose_cost_is_unknown_keeps_what_it_held():
    async def fails(budget):
        async with budget.hold(RATE, CALL):
            _ = 1 / 0

    async def story():
        budget, usage = Budget(max_total_tokens=2500), Usage()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await fails(budget)
        with pytest.raises(BudgetError, match=r"2 calls used 2,000 tokens \(2 of them without a count"):
            await call(budget, CALL)
        async with Budget().hold(RATE, CALL, usage):
            pass
        return usage

    assert asyncio.run(story()) == Usage(1, 0, 600, 400, uncounted=1)


def test_a_call_that_is_stopped_while_it_waits_gives_its_room_back():
    async def story():
        budget = Budget(max_total_tokens=1900)
        first = asyncio.ensure_future(call(budget, Usage(1, 0, 1, 1)))
        waits = asyncio.ensure_future(call(budget, CALL))
        await asyncio.sleep(0)
        first.add_done_callback(lambda _: waits.cancel())  # as its turn comes
        await asyncio.wait([first, waits])
        assert waits.cancelled()
        return budget

    budget = asyncio.run(story())
    assert budget._held[RATE] == Usage()
    assert budget.spent[RATE] in (Usage(1, 0, 1, 1), Usage(2, 0, 601, 401, uncounted=1))  # if it had begun


def billed_as(body):
    """What a request may have cost: all of its bytes, and the longest answer."""
    return len(json.dumps(body).encode()) + body["max_tokens"]


@pytest.mark.parametrize("fault", ["hang", "drop", 504, 500, {"body": "<html>"}, {"body": "{}"}, None])
def test_no_more_is_billed_than_the_cap_whatever_becomes_of_the_replies(fault):
    billed = []

    def bills(number, body):
        billed.append(billed_as(body))
        return fault if number % 3 else None

    async def story(url):
        timeout = 1.5 if fault == "hang" else 60.0  # a busy machine is no fault
        endpoint = Endpoint(base_url=url, max_total_tokens=6000, timeout=timeout, retries=4, concurrency=8)
        model = connect(Spec(model="m", max_tokens=100), endpoint)
        ended = await asyncio.gather(
            *(model.complete(Chat([{"role": "user", "content": f"{n}"}])) for n in range(200)), return_exceptions=True
        )
        return endpoint.budget, model, ended

    with LLMServer(fault=bills, hang=3.0) as server:
        budget, model, ended = asyncio.run(story(server.url))
    spent = budget.spent[Rate("m")]
    if fault is not None:
        assert any(isinstance(error, BudgetError) for error in ended)
        # answers are counted by the server's own count, what got none by the most that it can have cost
        assert spent.uncounted == sum(1 for number in range(len(billed)) if number % 3)
        lost = sum(tokens for number, tokens in enumerate(billed) if number % 3)
        assert lost <= spent.prompt_tokens + spent.completion_tokens <= 6000
    assert model.take_usage() == Usage(**{**vars(spent), "failed": sum(isinstance(e, CallFailed) for e in ended)})


@pytest.mark.parametrize(
    ("usage", "used"),
    [
        ({"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 560}, Usage(1, 0, 50, 510)),  # thinking
        ({"prompt_tokens": 50, "completion_tokens": 10}, Usage(1, 0, 50, 10)),
        ({"prompt_tokens": 50}, None),
        ({"completion_tokens": 50}, None),
        ({"prompt_tokens": 50, "completion_tokens": 0}, None),
        (None, None),
    ],
)
def test_a_count_that_is_not_whole_is_none(usage, used):
    body = json.dumps({"choices": [{"message": {"content": "yes"}}], "usage": usage})
    with LLMServer(fault=lambda number, _: {"body": body}) as server:
        model = connect(Spec(model="m", max_tokens=100), Endpoint(base_url=server.url))
        asyncio.run(model.complete(Chat([{"role": "user", "content": "hello"}])))
        (sent,) = server.bodies.values()
    most = Usage(1, 0, len(json.dumps(sent).encode()), 100, uncounted=1)
    assert model.take_usage() == (used or most)


def test_a_refused_connection_and_a_refused_call_cost_nothing():
    async def story(url):
        endpoint = Endpoint(base_url=url, max_total_tokens=1000, retries=2)
        model = connect(Spec(model="m", max_tokens=10), endpoint)
        with pytest.raises(CallFailed):
            await model.complete(Chat([{"role": "user", "content": "hello"}]))
        return sum(usage.calls for usage in endpoint.budget.spent.values())

    with LLMServer(fault=lambda number, body: 422) as server:
        assert asyncio.run(story(server.url)) == 0
    assert asyncio.run(story(server.url)) == 0  # nobody listens there any more


def test_two_models_through_one_endpoint_share_its_places_and_its_minute():
    async def story(url):
        endpoint = Endpoint(base_url=url, concurrency=3, requests_per_minute=1200)
        models = [connect(Spec(model=name), endpoint) for name in ("one", "two")]
        await asyncio.gather(
            *(model.complete(Chat([{"role": "user", "content": f"{n}"}])) for n in range(15) for model in models)
        )

    with LLMServer(latency=0.05) as server:
        asyncio.run(story(server.url))
        assert server.most_in_flight == 3


def test_a_synthesis_stops_at_its_limit_and_a_higher_one_goes_on(tmp_path, monkeypatch):
    wanted = {
        "model": "scripted",
        "per_topic": 2,
        "neighbours": 1,
        "compared": 1,
        "max_tokens": 50,
        "question_cosine": 1,
    }
    with LLMServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(BudgetError, match=r"calls used [\d,]+ tokens.*max_total_tokens 4000") as stopped:
            caredio.synthesize(["china"], ["food"], out=tmp_path / "run", max_total_tokens=4000, **wanted)
        calls = len(server.seen)
        assert str(stopped.value).startswith(f"{calls} calls used")  # all stages count
        assert calls > 2
        whole = caredio.synthesize(["china"], ["food"], out=tmp_path / "run", max_total_tokens=10**6, **wanted)
        assert server.repeats() == 0
    assert len(whole.candidates) == 2
