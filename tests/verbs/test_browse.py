"""`caredio browse`: what it refuses, and that it serves until it is stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

import caredio
from caredio import packages
from caredio.errors import InputError


@pytest.fixture
def run(tmp_path):
    rows = [{"question": "What?", "response": dish, "culture": dish} for dish in ("rice", "maize", "yam")]
    from datasets import Dataset

    caredio.select(Dataset.from_list(rows), out=tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"place": "no/such folder"}, "is no run, no release and no owner/name of one on the Hub"),
        ({"place": 3}, "place is 3; give a path."),
        ({"place": ".", "port": 0}, "port is 0; give a number from 1 to 65535."),
        ({"place": ".", "port": True}, "port is True"),
        ({"place": ".", "private": True}, "private is given without space"),
        ({"place": ".", "space": "me/look"}, "a Space shows what is on the Hub"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, said):
    with pytest.raises(InputError, match=re.escape(said)):
        caredio.browse(**arguments)


def test_without_gradio_the_sentence_says_what_to_install(monkeypatch, run):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=re.escape("browse needs gradio, which is not installed: pip install 'caredio[app]'")
    ):
        caredio.browse(run)


def test_a_port_that_is_taken_is_one_sentence(run):
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is taken on this machine; name another with --port"):
            caredio.browse(run, port=port)


def test_the_page_is_served_until_it_is_interrupted(run):
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "caredio.cli", "browse", str(run), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as served:
        try:
            line = served.stdout.readline()
            assert line == f"http://127.0.0.1:{port}/ shows {run}; Ctrl+C stops it.\n"
            with urllib.request.urlopen(line.split()[0]) as answer:
                assert answer.status == 200
            served.send_signal(signal.SIGINT)
            _, error = served.communicate(timeout=60)
        finally:
            served.kill()
    assert (served.returncode, error) == (0, "")
