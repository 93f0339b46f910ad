"""When calls leave, on an event loop whose clock jumps to whatever is next."""

import asyncio
import random
from email.utils import formatdate
from time import time

import pytest

from caredio.llm.limits import RateLimiter, retry_after


class Jumping(asyncio.SelectorEventLoop):
    """Its time passes only while everyone sleeps, and then at once."""

    now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


def run(story):
    with asyncio.Runner(loop_factory=Jumping) as runner:
        return runner.run(story())


def departures(limiter, tokens):
    async def story():
        return await asyncio.gather(*map(limiter.acquire, tokens))

    return run(story)


def test_without_limits_nobody_waits():
    assert departures(RateLimiter(), [1000] * 50) == [0.0] * 50


def test_no_minute_sees_more_requests_than_allowed():
    left = sorted(departures(RateLimiter(requests_per_minute=120), [0] * 240))
    assert left[1] - left[0] == pytest.approx(61 / 120)
    assert left[-1] == pytest.approx(239 * 61 / 120)
    assert max(sum(start <= other < start + 60 for other in left) for start in left) <= 120


@pytest.mark.parametrize("limit", [1, 6, 50, 600])
def test_no_minute_sees_more_even_after_a_pause(limit):
    async def story():
        limiter, left = RateLimiter(requests_per_minute=limit), []
        for _ in range(3):
            left += await asyncio.gather(*(limiter.acquire(0) for _ in range(limit)))
            await asyncio.sleep(random.Random(limit).uniform(0, 90))
        return left

    left = run(story)
    assert max(sum(start <= other < start + 60 for other in left) for start in left) <= limit


def test_tokens_take_their_share_of_a_minute():
    # 6,000 a minute are 100 a second: each leaves once what left before is earned
    assert departures(RateLimiter(tokens_per_minute=6000), [200, 100, 300, 50]) == pytest.approx(
        [seconds * 61 / 60 for seconds in (0, 2, 3, 6)]
    )


def test_the_stricter_limit_holds():
    assert departures(RateLimiter(60, 6000), [50, 500, 50]) == pytest.approx(
        [seconds * 61 / 60 for seconds in (0, 1, 5.5)]
    )


def test_tokens_that_were_not_used_are_given_back():
    async def story():
        limiter = RateLimiter(tokens_per_minute=6000)
        left = await limiter.acquire(1000)
        limiter.answered(left, -900)
        return await limiter.acquire(1000)

    assert run(story) == pytest.approx(61 / 60)


def test_unused_quota_is_saved_for_a_second_and_no_longer():
    async def story():
        limiter = RateLimiter(requests_per_minute=600)
        await asyncio.sleep(100)
        return await asyncio.gather(*(limiter.acquire(0) for _ in range(20)))

    left = run(story)
    assert left[:10] == [100.0] * 10  # a second's worth
    assert left[10:] == pytest.approx([100 + 61 / 600 * n - 1 for n in range(10, 20)])


def test_a_refusal_pauses_everyone_for_as_long_as_it_says():
    async def story():
        limiter = RateLimiter()
        assert limiter.refused(await limiter.acquire(0), 7.0)
        return await asyncio.gather(*(limiter.acquire(0) for _ in range(100)))

    left = run(story)
    assert min(left) >= 7
    assert max(left) <= 7.5
    assert len(set(left)) > 50  # not all at once


def test_refusals_of_calls_that_left_together_are_one():
    async def story():
        limiter = RateLimiter()
        left = [await limiter.acquire(0) for _ in range(100)]
        await asyncio.sleep(0.1)
        for one in left:
            assert limiter.refused(one, 0)
        return limiter._until

    assert run(story) == pytest.approx(0.1 + 0.5)  # the first pause, not the hundredth


@pytest.mark.parametrize("window", [10, 25, 60])
def test_refusals_are_waited_out_for_as_long_as_a_quota_takes_to_be_renewed(window):
    async def story():
        limiter, answered = RateLimiter(patience=5), 0
        while answered < 30:
            sent_at = await limiter.acquire(0)
            if answered >= 12 * (1 + sent_at // window):  # 12 calls a window
                assert limiter.refused(sent_at, 0)
            else:
                answered += 1
                limiter.answered(sent_at, 0)
        return asyncio.get_running_loop().time()

    assert 2 * window <= run(story) < 4 * window


@pytest.mark.parametrize(("patience", "seconds"), [(0, (0, 0)), (5, (120, 200))])
def test_refusals_that_never_end_are_given_up(patience, seconds):
    async def story():
        limiter = RateLimiter(patience=patience)
        while limiter.refused(await limiter.acquire(0), 0):
            pass
        return asyncio.get_running_loop().time()

    least, most = seconds
    assert least <= run(story) <= most


def test_pauses_grow_until_a_call_is_answered():
    async def story():
        limiter, pauses = RateLimiter(patience=4), []
        for _ in range(4):
            left = await limiter.acquire(0)
            assert limiter.refused(left, 0)
            pauses.append(limiter._until - left)
        limiter.answered(await limiter.acquire(0), 0)
        left = await limiter.acquire(0)
        assert limiter.refused(left, 0)
        return [*pauses, limiter._until - left]

    random.seed(0)
    assert run(story) == pytest.approx([0.5, 1, 2, 4, 0.5])


def test_an_endpoint_that_asks_for_an_hour_is_not_waited_for():
    async def story():
        return RateLimiter().refused(0.0, 3600.0)

    assert run(story) is False


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "20"}, 20),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": formatdate(time() - 60, usegmt=True)}, 0),
    ],
)
def test_what_headers_ask_for(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_date_to_come_back_at():
    assert 50 < retry_after({"retry-after": formatdate(time() + 60, usegmt=True)}) <= 60
