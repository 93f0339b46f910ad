"""Rows to look at, and a real browser to look with."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest
from llm_server import LLMServer

import caredio

if importlib.util.find_spec("peft"):  # else the files that need it are skipped
    _SHARED = Path(__file__).parents[1] / "training" / "test_export.py"
    _spec = importlib.util.spec_from_file_location("export_fixtures_of_the_app", _SHARED)
    _shared = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_shared)
    tiny, trained = _shared.tiny, _shared.trained

CHROMIUM = "/usr/bin/chromium"
HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> **bold** [link](javascript:alert(1))"
    " ${window.hacked = 3} {{window.hacked}} `tick` \x1b[31mred\x1b[0m \u202eturned"
)


def rows():
    """Answers of three cultures to eight questions, one of them hostile."""
    foods = {"china": "rice with {}", "mexico": "tortilla and {}", "peru": "potato, then {}"}
    found = [
        {
            "question_id": f"q{number}",
            "question": f"What is eaten at feast {number * number}?",
            "response": food.format(side),
            "culture": culture,
            "topic_id": ("food", "feasts")[number % 2],
            "level": ("values", "customs")[number % 2],
            "language": "en",
        }
        for number, side in enumerate(["jam", "tea", "fish", "honey", "leeks", "beans", "plums", "ham"])
        for culture, food in foods.items()
    ]
    found += [{**found[0], "response": response} for response in (HOSTILE, "السلام عليكم", "a plain bowl of RICE")]
    return found


@pytest.fixture(scope="session")
def ranked(tmp_path_factory):
    """A run of a table of one's own: ranked rows, and rows over the budget."""
    folder = tmp_path_factory.mktemp("ranked")
    table = folder / "own.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    with LLMServer() as server:
        given = {"embedder": "openai:m", "base_url": server.url, "theta": 0.99, "budget": 6}
        caredio.select(table, out=folder / "run", store=folder / "store", **given)
    return folder / "run"


@pytest.fixture(scope="session")
def released(ranked, tmp_path_factory):
    """Its release."""
    return caredio.publish(ranked, to=tmp_path_factory.mktemp("release") / "feasts", version="v1.0.0", test_share=0.3)


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A run that a model wrote, with review, rejects and rounds of optimisation."""
    folder = tmp_path_factory.mktemp("written")
    with LLMServer() as server:
        asked = {"model": "scripted", "base_url": server.url, "per_topic": 3, "neighbours": 1, "subtopics": 0}
        asked |= {"embedder": "openai:m", "theta": 0.9, "optimize_rounds": 1, "review": True}
        caredio.build(["china", "brazil"], ["food"], out=folder / "run", store=folder / "store", **asked)
    return folder / "run"


@pytest.fixture(scope="module")  # its driver has an event loop that runs, under which others' tests cannot start theirs
def browser():
    """Debian's Chromium, without a window."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is not there")
        pytest.skip(f"{CHROMIUM} is not there")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def look(browser):
    """Opens an address; fails on an error in the page and on a request to another machine."""
    contexts, wrong = [], []

    def opened(address: str, width: int = 1300, height: int = 900):
        own = "/".join(address.split("/")[:3])
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda sent: None if sent.url.startswith((own, "data:", "blob:")) else wrong.append(sent.url)
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def serve():
    """Serves a page on a port of its own; gives its address."""
    from caredio.app import page as pages

    served = []

    def started(page) -> str:
        served.append(page)
        return pages.launch(page)

    yield started
    for page in served:
        page.close()
