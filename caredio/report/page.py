"""`report.html`: one page on a run, which needs no other file, no network and no script.

What is text in the run is text in the page: the template escapes it, and the page forbids scripts and requests. Times
are left out, so that equal runs have equal pages.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caredio import disk, plots, reasons
from caredio.cultures import slugs
from caredio.report import cost, figures, phrases, rows
from caredio.runs import Run, in_use
from caredio.selection import pipeline as selection_pipeline
from caredio.synthesis import pipeline as synthesis_pipeline
from caredio.training import views

if TYPE_CHECKING:
    from markupsafe import Markup

log = logging.getLogger("caredio")

FILE = "report.html"
_PHRASES = 12  # of a culture
_ELSEWHERE = ("prompts", "topics", "cultures", "targets", "names")  # settings that are paths, or are shown by name
_STEPS = {"questions", "adapted", "isolated"}  # of a synthesis, all of which its sentences speak of


def write(out: Path) -> Path | None:
    """The page of the run in a folder, made anew where the run has changed; None, and a warning, where that fails."""
    file = out / FILE
    try:
        with Run(out, create=False) as run:
            facts = _facts(run)
            if _made_of(file) == facts:
                return file
            made = page(run, facts)
            with disk.replacing(file) as content:
                content.write(made.encode("utf-8", "replace"))
    except Exception as error:  # the run is whole without it
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s: is not written (%s); the run is complete without it.", file, reason)
        return None
    log.info("%-10s %s", "report", file)
    return file


def page(run: Run, facts: str = "") -> str:
    """The page of an open run.

    Args:
        facts: hash of what it is made of.

    Raises:
        InputError: as `figures.read`.
    """
    from markupsafe import Markup

    tables, stages = figures.read(run), in_use(run.stages)
    splits, known = tables.splits(), tables.ranked.unique("culture")
    source = stages["candidates"]["made_from"]["source"] if "candidates" in stages else ""
    best = rows.best(tables.ranked, tables.pool if source else None)
    names, said = _names(run, known), phrases.distinctive(tables.responses(), top=_PHRASES)
    report = run.report()
    made = figures.of(tables, {name: report[name] for name in stages})
    drawn = {name: plots.inline(one.make, one.title) for name, one in made.items()}
    return _template().render(
        facts=facts,
        title=f"{len(tables.ranked):,} ranked rows of {len(best)} culture{'s' if len(best) != 1 else ''}",
        asked=_asked(run, source),
        method=_method(stages, bool(source), topics=any(tables.ranked.unique("topic_id"))),
        limits=selection_pipeline.describe_limits(stages),
        stages=[_stage(name, entry) for name, entry in stages.items()],
        meanings=_meanings(stages),
        models=run.spending.get("models", []),
        pictures={name: Markup(svg) for name, svg in drawn.items() if svg},  # noqa: S704 (of matplotlib, which escapes)
        cultures=[
            {
                "id": slug,
                "name": names[culture],
                "column": culture,
                "splits": splits[culture],
                "rows": best.get(culture, []),
                "phrases": said[culture],
            }
            for culture, slug in sorted(slugs(known).items())
        ],
        names=names,
        settings={name: held for name, entry in stages.items() if (held := _settings(entry))},
        version=", ".join(sorted({entry["made_from"]["version"] for entry in stages.values()})),
    )


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("caredio.report", ""),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = _sentence
    environment.filters["dollars"] = cost.dollars
    return environment.get_template("report.html.jinja")


def _sentence(text: str) -> Markup:
    """A sentence of a card as HTML: what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped before)


def _facts(run: Run) -> str:
    """The hash of what a page is made of: the run's record without times, and this code."""
    code = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.*"))]
    code += [Path(file).read_bytes() for file in (plots.__file__, reasons.__file__)]
    record = {
        name: {key: value for key, value in entry.items() if key not in ("seconds", "fingerprint")} | _settings(entry)
        for name, entry in run.stages.items()
    }
    for entry in record.values():
        entry["made_from"] = {key: value for key, value in entry["made_from"].items() if key != "config"}
    text = json.dumps([record, run.spending, run.used], sort_keys=True)
    return hashlib.sha256(b"\0".join([text.encode(), *code])).hexdigest()


def _made_of(file: Path) -> str:
    """The facts of a page that stands there; empty where there is none."""
    try:
        with file.open(encoding="utf-8", errors="replace") as content:
            found = re.search(r'<meta name="caredio-run" content="([0-9a-f]+)">', content.read(2000))
    except OSError:
        return ""
    return found[1] if found else ""


def _names(run: Run, found: list[str]) -> dict[str, str]:
    """Culture -> its name, where the run or the package knows all of them, else what it is called in the tables."""
    known = run.cultures()
    if not known.keys() >= set(found):
        return {culture: culture for culture in found}
    return {culture: known[culture].name for culture in found}


def _asked(run: Run, source: Any) -> list[tuple[str, str]]:
    """(what, value) of what the command asked for."""
    made = {name: entry["made_from"] for name, entry in in_use(run.stages).items()}
    models = sorted({one["model"]["model"] for one in made.values() if one.get("model")})
    topics = [one["topic"] for one in (made.get("questions", {}).get("config") or {}).get("topics", ())]
    told: list[tuple[str, str]] = []
    if source:
        table = source.get("table") or "a table in memory"
        taken = run.stages["candidates"]
        given = taken["rows"] + sum(taken["dropped"].values()) + taken.get("merged", 0)
        told.append(("table", table))
        told.append(("its rows", f"{given:,}"))
    if models:
        told.append(("models", ", ".join(models)))
    if topics:
        told.append((f"{len(topics)} topic{'s' if len(topics) > 1 else ''}", ", ".join(topics)))
    if embedder := (made.get("vectors", {}).get("config") or {}).get("embedder"):
        told.append(("embedder", embedder))
    return told


def _method(stages: Mapping[str, Any], own: bool, topics: bool) -> list[str]:
    """Sentences on how the run's rows were made, as its card has them."""
    wrote = [] if own or not stages.keys() >= _STEPS else synthesis_pipeline.describe(stages)
    paired = [views.describe(stages["preference"], own)] if "preference" in stages else []
    return [sentence for sentence in (*wrote, *selection_pipeline.describe(stages, topics), *paired) if sentence]


def _stage(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    usage = entry.get("usage") or {}
    return {
        "name": name,
        "rows": entry["rows"],
        "dropped": sorted(entry["dropped"].items(), key=lambda one: (-one[1], one[0])),
        "usage": usage if cost.asked(entry) or usage.get("stored") else None,
        "complete": entry["complete"],
    }


def _meanings(stages: Mapping[str, Any]) -> dict[str, str]:
    """Reason -> what it means, of those that rows were dropped for."""
    found = dict.fromkeys(reason for entry in stages.values() for reason in entry["dropped"])
    return {reason: meaning for reason in found if (meaning := reasons.meaning(reason))}


def _settings(entry: Mapping[str, Any]) -> dict[str, str]:
    """The settings that made a table, as text."""
    config = entry["made_from"].get("config") or {}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in config.items()
        if name not in _ELSEWHERE and value is not None
    }
