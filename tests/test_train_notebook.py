"""The notebook of the pages: executed as a reader would, and stored without what it printed."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "train.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_no_output_is_stored(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert set(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["metadata"]) == {"kernelspec", "language_info"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("embedded_home")
def test_a_reader_ranks_trains_and_looks(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    from ipykernel.kernelspec import install

    install(user=True, kernel_name="caredio-train")
    NotebookClient(
        notebook, timeout=1800, kernel_name="caredio-train", resources={"metadata": {"path": tmp_path}}
    ).execute()
    record = json.loads((tmp_path / "runs" / "notebook" / "models" / "mexico" / "training.json").read_text())
    assert (record["rows"], record["result"]["steps"]) == (16, 6)
    losses = [loss for _, loss in record["result"]["losses"]]
    assert losses[-1] < losses[0]
    printed = ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in notebook.cells]
    assert any("mexico  loss" in text for text in printed)
    before, after = (line.split(": ", 1)[1] for line in printed[-1].splitlines()[-2:])
    assert before != after
