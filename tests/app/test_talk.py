"""The tab Talk: three answers on the screen of a browser, and what stands there meanwhile."""

import contextlib
import json
import socket
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llm_server import LLMServer

import caredio
from caredio import cultures
from caredio.errors import InputError

pytest.importorskip("gradio")
pytest.importorskip("peft")

from caredio.app import speakers, talk

ASKED = [cultures.load()[slug] for slug in ("brazil", "china")]


class Scripted:
    """Speakers whose answers are known."""

    names = ("raw", "role-play", "trained")

    def answer(self, name, culture, question):
        if name == "role-play":
            raise InputError("it is not there.")
        return f"{name} on {culture}: {question}"


def test_answers_come_one_after_another_and_a_failure_is_said_in_its_place():
    shown = list(talk.replies(Scripted(), "china", " What is eaten? "))
    assert shown == [
        ["...", "", ""],
        ["raw on china: What is eaten?", "...", ""],
        ["raw on china: What is eaten?", "(no answer: it is not there.)", "..."],
        ["raw on china: What is eaten?", "(no answer: it is not there.)", "trained on china: What is eaten?"],
    ]
    assert list(talk.replies(Scripted(), "china", "  ")) == [["Type a question first.", "", ""]]


@pytest.fixture
def run(tmp_path):
    """A run of four rows, ranked by vectors of their own."""
    rng = np.random.default_rng(0)
    vectors = [list(map(float, rng.normal(size=8))) for _ in range(4)]
    columns = {
        "question_id": ["a", "a", "b", "b"],
        "question": ["What is eaten?", "What is eaten?", "Who pays?", "Who pays?"],
        "response": ["rice", "feijoada", "the host", "each"],
        "culture": ["china", "brazil", "china", "brazil"],
        "sample_embedding": pa.array(vectors, pa.list_(pa.float32(), 8)),
        "response_embedding": pa.array(vectors, pa.list_(pa.float32(), 8)),
    }
    pq.write_table(pa.table(columns), tmp_path / "own.parquet")
    caredio.select(tmp_path / "own.parquet", out=tmp_path / "run", embedder="given", theta=0.9)
    return tmp_path / "run"


@pytest.mark.slow
def test_a_question_is_answered_three_times_on_the_screen(run, tiny, trained, browser):
    local = speakers.Local(str(tiny), trained, ASKED)
    wanted = {name: local.answer(name, "china", "What is eaten?") for name in local.names}
    assert len(set(wanted.values())) > 1
    with browsed(run, "--model", tiny, "--trained", trained) as address:
        reads_three_answers(browser.new_page(), address, wanted)


def test_a_model_behind_an_endpoint_is_asked_from_the_page(run, tmp_path, monkeypatch, browser):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    tuned = tmp_path / "finetune" / "china"
    tuned.mkdir(parents=True)
    (tuned / "finetune.json").write_text(json.dumps({"job": {"fine_tuned_model": "ft:m:me::1"}}))

    def says(number, body):
        return f"{body['model']}, {len(body['messages'])}: {body['messages'][-1]['content']}"

    wanted = {
        "raw": "m, 1: What is eaten?",
        "role-play": "m, 2: What is eaten?",
        "trained": "ft:m:me::1, 1: What is eaten?",
    }
    with LLMServer(says) as server:
        with browsed(run, "--model", "m", "--base-url", server.url, "--trained", tuned.parent) as address:
            reads_three_answers(browser.new_page(), address, wanted)
        assert len(server.seen) == 3


@contextlib.contextmanager
def browsed(run, *given):
    """The address of the page that the command serves."""
    command = ["browse", run, *given, "--port", free_port()]
    serving = subprocess.Popen(
        [sys.executable, "-m", "caredio.cli", *map(str, command)], stdout=subprocess.PIPE, text=True
    )
    try:
        address, _, rest = serving.stdout.readline().partition(" ")
        assert rest == f"shows {run}; Ctrl+C stops it.\n"
        yield address
    finally:
        serving.kill()
        serving.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def reads_three_answers(tab, address, wanted):
    tab.set_default_timeout(60_000)
    tab.goto(address)
    tab.get_by_role("tab", name="Talk").click()
    tab.locator("#talk-culture input").click()
    tab.get_by_role("option", name="China").click()
    box = tab.locator("#talk-question textarea")
    box.fill("What is eaten?")
    box.press("Enter")
    for name in wanted:
        answer = tab.locator(f"#talk-{name} textarea")
        tab.wait_for_function(
            "name => !['', '...'].includes(document.querySelector(`#talk-${name} textarea`).value)", arg=name
        )
        assert answer.input_value() == wanted[name]
        assert answer.is_visible()
    assert tab.get_by_text("The same model, told to speak as a member of the culture.").is_visible()


def test_what_is_to_answer_is_refused_where_it_cannot(tmp_path):
    with pytest.raises(InputError, match="a model is given beside space"):
        caredio.browse(tmp_path, space="owner/look", model="m")
    with pytest.raises(InputError, match=r"base_url is given, but no model"):
        caredio.browse(tmp_path, base_url="http://localhost:8000/v1")
