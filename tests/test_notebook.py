"""Verbs in a real Jupyter kernel: what a reader of the notebook sees, and that an interrupt stops what is spent."""

import os
import re
import signal
import threading
import time

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from llm_server import LLMServer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FIRST = """
import caredio
from datasets import Dataset

rows = [
    {{"question": f"What is eaten on day {{day}}?", "response": f"{{dish}} {{day}} <b>", "culture": culture}}
    for day in range(4)
    for culture, dish in (("mexico", "tamales"), ("korea", "kimchi"))
]
result = caredio.select(Dataset.from_list(rows), budget=2, theta=0.99)
result
"""
BUILD = """
made = caredio.synthesize(["china"], ["food"], per_topic=3, neighbours=1, model="scripted", base_url="{url}")
print(len(made.candidates))
"""
MAP = """
longer = result.ranked.map(lambda row: {{"letters": len(row["response"])}})
print(sum(longer["letters"]) > 0)
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A client of a kernel that runs this Python, with an empty notebook."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("HF_DATASETS_DISABLE_PROGRESS_BARS")  # as a reader has it
    from ipykernel.kernelspec import install

    install(user=True, kernel_name="caredio-test")
    assert "caredio-test" in KernelSpecManager().find_kernel_specs()
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=300, kernel_name="caredio-test")
    with client.setup_kernel(cwd=str(tmp_path)):
        yield client


def run(client, source, **values):
    """The outputs of a cell: text that was printed or shown, and the HTML."""
    cell = nbformat.v4.new_code_cell(source.format(**values))
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
    text = "".join(output.get("text", "") for output in cell.outputs)
    shown = [output["data"] for output in cell.outputs if output.output_type in ("execute_result", "display_data")]
    return text, shown


def test_what_a_notebook_shows(kernel, server):
    text, shown = run(kernel, FIRST)
    for stage in ("candidates", "vectors", "scored", "ranked", "preference"):
        assert f"{stage:<10}" in text  # stage lines, as in a terminal
    assert "Casting" not in text
    assert re.search(r"<td>tamales \d &lt;b&gt;</td>", shown[-1]["text/html"])
    text, _ = run(kernel, BUILD, url=server.url)  # a loop runs in the kernel's main thread
    assert "candidates " in text
    assert text.strip().endswith("3")
    assert re.search(r"synthesize, answers: +\d+%\|.*\| \d+/\d+ calls", text)  # the bar, where no widget can show it
    assert re.search(r"synthesize: 100%\|.*\| (\d+)/\1 calls", text)
    text, _ = run(kernel, "caredio.quiet()\n" + BUILD.replace("per_topic=3", "per_topic=6"), url=server.url)
    assert text.strip() == "6"
    text, _ = run(kernel, MAP)
    assert text.strip().endswith("True")


def test_an_interrupt_stops_what_is_spent(kernel):
    pid = int(run(kernel, "import os, caredio; print(os.getpid())")[0])
    with LLMServer(latency=0.5) as server:

        def interrupt():
            while len(server.seen) < 8:
                time.sleep(0.05)
            os.kill(pid, signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
            run(
                kernel,
                'caredio.synthesize(["china"], ["food"], per_topic=90, neighbours=4, model="scripted", '
                'base_url="{url}", concurrency=4, checks="none")',
                url=server.url,
            )
        asked = len(server.seen)
        time.sleep(3)
        assert len(server.seen) - asked <= 4  # what was in flight, and nothing after it
        assert asked >= 8
