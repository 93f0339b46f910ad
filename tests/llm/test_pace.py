"""When calls leave, on an event loop whose clock jumps to whatever is next."""

import asyncio
import random
from email.utils import formatdate
from time import time

import pytest

from caredio.llm.pace import Pace, retry_after


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


def departures(pace, tokens):
    async def story():
        return await asyncio.gather(*map(pace.turn, tokens))

    return run(story)


def test_without_limits_nobody_waits():
    assert departures(Pace(), [1000] * 50) == [0.0] * 50


def test_no_minute_sees_more_requests_than_allowed():
    left = sorted(departures(Pace(requests_per_minute=120), [0] * 240))
    assert left[1] - left[0] == pytest.approx(0.5)
    assert left[-1] == pytest.approx(239 * 0.5)
    assert all(sum(start <= other < start + 60 for other in left) <= 120 + 2 for start in left)


def test_tokens_take_their_share_of_a_minute():
    # 6,000 a minute are 100 a second: each leaves once what left before is earned
    assert departures(Pace(tokens_per_minute=6000), [200, 100, 300, 50]) == pytest.approx([0, 2, 3, 6])


def test_the_stricter_limit_holds():
    assert departures(Pace(60, 6000), [50, 500, 50]) == pytest.approx([0, 1, 5.5])


def test_tokens_that_were_not_used_are_given_back():
    async def story():
        pace = Pace(tokens_per_minute=6000)
        left = await pace.turn(1000)
        pace.answered(left, -900)
        return await pace.turn(1000)

    assert run(story) == pytest.approx(1)


def test_unused_quota_is_saved_for_a_second_and_no_longer():
    async def story():
        pace = Pace(requests_per_minute=600)
        await asyncio.sleep(100)
        return await asyncio.gather(*(pace.turn(0) for _ in range(20)))

    left = run(story)
    assert left[:11] == [100.0] * 11
    assert left[11:] == pytest.approx([100 + 0.1 * n for n in range(1, 10)])


def test_a_refusal_pauses_everyone_for_as_long_as_it_says():
    async def story():
        pace = Pace()
        assert pace.refused(await pace.turn(0), 7.0)
        return await asyncio.gather(*(pace.turn(0) for _ in range(100)))

    left = run(story)
    assert min(left) >= 7
    assert max(left) <= 7.5
    assert len(set(left)) > 50  # not all at once


def test_refusals_of_calls_that_left_together_are_one():
    async def story():
        pace = Pace(patience=1)
        left = [await pace.turn(0) for _ in range(100)]
        await asyncio.sleep(0.1)
        for one in left:
            assert pace.refused(one, 0)
        later = await pace.turn(0)
        return pace.refused(later, 0)

    assert run(story) is False  # the second in a row, with nothing answered in between


def test_pauses_grow_until_a_call_is_answered():
    async def story():
        pace, pauses = Pace(patience=4), []
        for _ in range(4):
            left = await pace.turn(0)
            assert pace.refused(left, 0)
            pauses.append(pace._until - left)
        pace.answered(await pace.turn(0), 0)
        left = await pace.turn(0)
        assert pace.refused(left, 0)
        return [*pauses, pace._until - left]

    random.seed(0)
    assert run(story) == pytest.approx([0.5, 1, 2, 4, 0.5])


def test_an_endpoint_that_asks_for_an_hour_is_not_waited_for():
    async def story():
        return Pace().refused(0.0, 3600.0)

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
