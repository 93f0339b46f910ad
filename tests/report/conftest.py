from __future__ import annotations

from pathlib import Path

import pytest
from report_run import select


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranked run whose rows are in several scripts, some of them hostile."""
    return select(tmp_path_factory.mktemp("report") / "run")
