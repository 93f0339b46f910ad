"""Spending on disk as it happens."""

import asyncio
import resource
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from llm_server import LLMServer

from caredio import journal
from caredio.errors import InputError
from caredio.journal import Journal
from caredio.llm.limits import Budget, Rate, Usage

CHAT, VECTORS = Rate("gpt-4.1-mini"), Rate("text-embedding-3-small", batch=True)
MOST = Usage(1, 0, 600, 400)


def test_what_was_used_is_read_back_by_rate(tmp_path):
    async def story():
        budget = Budget()
        budget.journal = Journal(tmp_path / "spending.jsonl")
        for rate, used in ((CHAT, Usage(1, 0, 60, 40)), (VECTORS, Usage(1, 0, 9, 0)), (CHAT, None)):
            async with budget.hold(rate, MOST) as held:
                held.used = used
        return budget.spent

    spent = asyncio.run(story())
    assert journal.read(tmp_path / "spending.jsonl") == spent
    assert spent == {CHAT: Usage(2, 0, 660, 440, uncounted=1), VECTORS: Usage(1, 0, 9, 0)}


def test_a_line_cut_short_hides_no_other(tmp_path):
    file = tmp_path / "spending.jsonl"
    first = Journal(file)
    first.held(0, CHAT, MOST)
    first.close()
    with file.open("ab") as damaged:
        damaged.write(b"\n[0, 1, 0, 6")
    again = Journal(file)
    again.held(1, CHAT, MOST)
    again.used(1, Usage(1, 0, 6, 4))
    again.close()
    assert journal.read(file) == {CHAT: Usage(2, 0, 606, 404, uncounted=1)}


def test_a_killed_process_has_spent_nothing_in_secret(tmp_path):
    """Every request that the endpoint saw stands in the journal, at what it cost or at the most it can have."""
    script = """
import asyncio, sys
from importlib import metadata
from pathlib import Path
from caredio.llm.settings import Endpoint
from caredio.journal import Journal
from caredio.llm.model import connect
from caredio.llm.spec import Chat, Spec

async def story():
    endpoint = Endpoint(base_url=sys.argv[1], concurrency=8)
    endpoint.budget.journal = Journal(Path(sys.argv[2]))
    model = connect(Spec(model="m", max_tokens=10), endpoint)
    await asyncio.gather(*(model.complete(Chat([{"role": "user", "content": f"{n}"}])) for n in range(500)))

asyncio.run(story())
"""
    file, victim = tmp_path / "spending.jsonl", []

    def kills(number, body):
        if number == 60:
            victim[0].send_signal(signal.SIGKILL)

    with LLMServer(fault=kills, latency=0.02) as server:
        victim.append(subprocess.Popen([sys.executable, "-c", script, server.url, str(file)]))
        assert victim[0].wait(60) == -signal.SIGKILL
        seen = len(server.seen)
    spent = journal.read(file)[Rate("m")]
    assert seen <= spent.calls <= seen + 8
    assert 1 <= spent.uncounted <= 16


def test_a_journal_that_cannot_grow_is_one_sentence(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    full = Journal(tmp_path / "spending.jsonl")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        full.held(0, CHAT, MOST)
        full.held(1, CHAT, MOST)
        with pytest.raises(InputError, match=r"spending.jsonl: cannot be written .*the same command goes on"):
            full.held(2, CHAT, MOST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    with pytest.raises(InputError, match="cannot be written"):
        Journal(Path(tmp_path, "missing", "spending.jsonl"))


def test_commands_add_up_each_journal_once_even_where_a_process_was_killed_between(tmp_path):
    def spends(record, used):
        open_ = Journal(journal.file_of(record, tmp_path))
        open_.held(0, CHAT, MOST)
        open_.used(0, used)
        open_.close()

    spends(journal.NOTHING, Usage(1, 0, 60, 40))
    first = journal.added(journal.NOTHING, tmp_path)
    assert first == {
        "next": 1,
        "models": [
            {
                "model": "gpt-4.1-mini",
                "batch": False,
                "calls": 1,
                "prompt_tokens": 60,
                "completion_tokens": 40,
                "uncounted": 0,
                "cost_usd": pytest.approx((60 * 0.40 + 40 * 1.60) / 1e6),
            }
        ],
        "prices": f"genai-prices {metadata.version('genai-prices')}",
    }
    assert journal.added(first, tmp_path) == first  # killed before its journal was removed
    spends(first, Usage(1, 0, 6, 4))
    second = journal.added(first, tmp_path)
    assert (second["next"], second["models"][0]["prompt_tokens"]) == (2, 66)
    journal.remove(second, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert journal.added(second, tmp_path) == second
    older = {"next": 2, "models": [{**second["models"][0], "cost_usd": 1.0}]}  # by a list that knew other prices
    assert journal.added(older, tmp_path) == older
