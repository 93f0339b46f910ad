"""report.html: what stands in it, that text of rows stays text, and that a run does not depend on it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from datasets import Dataset
from llm_server import LLMServer
from report_run import ANSWERS, HOSTILE, rows, select

import caredio
from caredio.report import page


class Read(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []


def test_a_page_shows_the_run(run: Path) -> None:
    read = Read(run / "report.html")
    assert "12 ranked rows of 4 cultures" in read.texts
    assert read.texts[read.texts.index("its rows") + 1] == "16"
    assert read.texts[read.texts.index("embedder") + 1] == "given"
    place = read.texts.index("scored")
    assert read.texts[place : place + 4] == ["scored", "16", "4", "over_budget"]
    place = read.texts.index("over_budget", place + 4)  # what the reason means
    assert read.texts[place + 1] == "it ranks below the rows that the budget takes"
    assert read.elements.count("svg") == 4  # no model was asked, so nothing was spent
    ranked = Dataset.from_parquet([str(file) for file in (run / "ranked").glob("*.parquet")])
    assert {*ranked["response"], *ranked["question"]} <= set(read.texts)
    assert set(ANSWERS) <= set(read.texts)
    settings = read.texts[read.texts.index("theta") :]
    assert settings[1] == "0.9999"


def test_a_page_of_a_build_shows_what_was_asked_and_spent(
    server: LLMServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    asked = {"model": "scripted", "base_url": server.url, "per_topic": 3, "embedder": "openai:m", "theta": 0.9}
    out = tmp_path / "run"
    caredio.build(["china", "brazil"], ["food"], out=out, **asked)
    read, record = Read(out / "report.html"), json.loads((out / "run.json").read_text())
    assert read.texts[read.texts.index("1 topic") + 1] == "Food"
    assert read.texts[read.texts.index("models") + 1] == "scripted"
    used = record["stages"]["answers"]["usage"]
    tokens = used["prompt_tokens"] + used["completion_tokens"]
    row = [str(record["stages"]["answers"]["rows"]), str(used["calls"]), "0", f"{tokens:,}", "no listed price"]
    place = read.texts.index("answers")
    assert read.texts[place : place + 6] == ["answers", *row]
    (spent,) = (one for one in record["spending"]["models"] if one["model"] == "scripted")
    place = read.texts.index("scripted", read.texts.index("Spent by all commands on this run"))
    assert read.texts[place + 1 : place + 3] == [f"{spent['calls']:,}", f"{spent['prompt_tokens']:,}"]
    assert read.elements.count("svg") >= 4
    assert "sk-very-secret" not in (out / "report.html").read_text(encoding="utf-8")


def test_hostile_text_is_text(run: Path) -> None:
    read = Read(run / "report.html")
    shown = [text for text in HOSTILE if text in read.texts]
    assert len(shown) == 3  # the fourth is not ranked
    assert not {"script", "iframe", "object", "embed", "form", "base", "audio", "video"} & set(read.elements)
    assert read.elements.count("link") == 0
    assert read.elements.count("title") == 1
    names = {name for name, _ in read.attributes}
    assert not [name for name in names if name.startswith("on")]
    links = [value for name, value in read.attributes if name in ("href", "src", "xlink:href", "srcset", "action")]
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "url(http" not in (run / "report.html").read_text(encoding="utf-8")
    assert ("http-equiv", "Content-Security-Policy") in read.attributes


def test_equal_runs_have_equal_pages(run: Path, tmp_path: Path) -> None:
    other = select(tmp_path / "elsewhere")
    assert (other / "report.html").read_bytes() == (run / "report.html").read_bytes()


def test_a_page_is_made_anew_where_the_run_has_changed(tmp_path: Path) -> None:
    out = select(tmp_path / "run")
    file = out / "report.html"
    made = file.read_bytes()
    file.write_bytes(made + b"<!-- as it stands -->")
    select(out)
    assert file.read_bytes() == made + b"<!-- as it stands -->"
    caredio.select(out=out, embedder="given", theta=0.9999, compared=9, budget=2)
    assert "8 ranked rows of 4 cultures" in Read(file).texts
    file.unlink()
    caredio.select(out=out, embedder="given", theta=0.9999, compared=9, budget=2)
    assert "8 ranked rows of 4 cultures" in Read(file).texts


def test_a_page_that_cannot_be_made_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)  # where no file can be written
    select(tmp_path / "run")
    assert "report.html: is not written (" in caplog.text
    assert "the run is complete without it" in caplog.text
    monkeypatch.setattr(page.plots, "figure", lambda *size: 1 / 0)
    select(tmp_path / "other")
    assert "other/report.html: is not written (division by zero)" in caplog.text
    assert sorted(json.loads((tmp_path / "other" / "run.json").read_text())["stages"]) == sorted(
        ["candidates", "vectors", "scored", "ranked", "preference", "unpaired"]
    )
    assert not list((tmp_path / "other").glob("report.html*"))


def test_tables_in_memory_leave_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    caredio.select(rows(ANSWERS), embedder="given", theta=0.9999)
    assert list(tmp_path.iterdir()) == []
