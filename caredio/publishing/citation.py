"""How a release is cited: CITATION.cff (the Citation File Format 1.2.0), and the paper on the method."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from caredio.publishing import metadata
from caredio.publishing.settings import Settings

FILE = "CITATION.cff"
HUB = "https://huggingface.co/"
TITLE = (
    "CAReDiO: Enhancing Cultural Alignment of LLM via Representativeness and Distinctiveness Guided Data Optimization"
)
AUTHORS = (("Jing", "Yao"), ("Xiaoyuan", "Yi"), ("Jindong", "Wang"), ("Zhicheng", "Dou"), ("Xing", "Xie"))
VENUE = "Proceedings of the 43rd International Conference on Machine Learning"
SERIES, VOLUME, YEAR, ARXIV = "Proceedings of Machine Learning Research", 306, 2026, "2504.08820"
BIBTEX = f"""@inproceedings{{yao{YEAR}caredio,
  title = {{{TITLE}}},
  author = {{{" and ".join(f"{family}, {given}" for given, family in AUTHORS)}}},
  booktitle = {{{VENUE}}},
  series = {{{SERIES}}},
  volume = {{{VOLUME}}},
  publisher = {{PMLR}},
  year = {{{YEAR}}},
  note = {{arXiv:{ARXIV}}}
}}"""
PAPER = {
    "type": "conference-paper",
    "title": TITLE,
    "authors": [{"given-names": given, "family-names": family} for given, family in AUTHORS],
    "collection-title": VENUE,
    "conference": {"name": "International Conference on Machine Learning (ICML 2026)"},
    "volume": VOLUME,
    "year": YEAR,
    "publisher": {"name": "PMLR"},
    "identifiers": [{"type": "other", "value": f"arXiv:{ARXIV}", "description": "preprint"}],
}


def bibtex(settings: Settings, title: str, repo: str | None, kind: str = "datasets/") -> str:
    """The entry of a release that has authors; it has no year, as equal releases are equal files."""
    given = {
        "title": title,
        "author": " and ".join(f"{{{_plain(name)}}}" for name in settings.names),
        "version": settings.version or "",
        "url": f"{HUB}{kind}{repo}" if repo else "",
    }
    name = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-") or "dataset"
    plain = {**given, "title": _plain(given["title"])}
    lines = [f"  {key} = {{{value}}}" for key, value in plain.items() if value]
    return ",\n".join([f"@misc{{{name}", *lines]) + "\n}"


def _plain(text: str) -> str:
    """Text in which nothing ends a field of BibTeX, or a block of code, and nothing is a command of TeX."""
    text = re.sub(r"[{}\\`\s]+", " ", text).strip()
    return re.sub(r"[&%#$_]", r"\\\g<0>", text)


def publisher(repo: str | None) -> str:
    """Who a release is by: the owner of its repository, where it has one."""
    return repo.partition("/")[0] if repo else "not stated"


def write(folder: Path, settings: Settings, title: str, repo: str | None, attributed: str = "") -> None:
    """Write `CITATION.cff` beside the tables: the release, and the paper on how it was made.

    Args:
        attributed: cultures of whose rows alone the attribution is, in words.
    """
    of = f" of {attributed} alone" if attributed else ""
    known = metadata.spdx(settings.license or "")
    page: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it and the paper on how it was made.",
        "type": "dataset",
        "title": title,
        "version": settings.version,
        "authors": [{"name": name} for name in settings.names or [publisher(repo)]],
        **({"license": known} if known else {}),
        **({"url": f"{HUB}datasets/{repo}"} if repo else {}),
        **({"abstract": f"Attribution of the source{of}: {settings.attribution}"} if settings.attribution else {}),
        "keywords": ["culture", "alignment"],
        "references": [PAPER],
    }
    text = yaml.safe_dump(page, sort_keys=False, allow_unicode=True, width=120)
    (folder / FILE).write_text(text, encoding="utf-8")
