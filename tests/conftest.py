"""What every test starts from: no key, no endpoint and no cache of the person who runs them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from llm_server import LLMServer

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: a thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
_CACHE = os.environ.get("CAREDIO_TEST_CACHE") or tempfile.mkdtemp(prefix="caredio-tests-")


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No key and no address; answers are stored under the test's own folder."""
    for name in os.environ:
        if name.startswith(("OPENAI_", "AZURE_")) or name == "HF_TOKEN":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAREDIO_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def session_home() -> str:
    """Folder where the embedded model is unpacked once for all tests of a session."""
    return _CACHE


@pytest.fixture
def embedded_home(monkeypatch: pytest.MonkeyPatch, session_home: str) -> None:
    """The embedded model unpacked once for all tests of a session."""
    monkeypatch.setenv("CAREDIO_HOME", session_home)


@pytest.fixture(scope="session")
def published() -> Callable[[str], Path]:
    """The path of published data under $CAREDIO_TEST_DATA or ../shared/data; skips where there is none."""
    folder = Path(os.environ.get("CAREDIO_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")

    def path(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"{name} is not at hand")
        return folder / name

    return path


@pytest.fixture
def server():
    """A scripted endpoint that never fails."""
    with LLMServer() as server:
        yield server
