"""The tab Talk: three answers on the screen of a browser, and what stands there meanwhile."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import caredio
from caredio import cultures
from caredio.errors import InputError

pytest.importorskip("gradio")

from caredio.app import speakers, talk

_SHARED = Path(__file__).parents[1] / "training" / "test_export.py"
_spec = importlib.util.spec_from_file_location("export_fixtures_of_talk", _SHARED)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
tiny, trained = _shared.tiny, _shared.trained

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
    command = ["browse", run, "--model", tiny, "--trained", trained, "--port", free_port()]
    serving = subprocess.Popen(
        [sys.executable, "-m", "caredio.cli", *map(str, command)], stdout=subprocess.PIPE, text=True
    )
    try:
        address, _, rest = serving.stdout.readline().partition(" ")
        assert rest == f"shows {run}; Ctrl+C stops it.\n"
        reads_three_answers(browser.new_page(), address, wanted)
    finally:
        serving.kill()
        serving.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def reads_three_answers(tab, address, wanted):
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
