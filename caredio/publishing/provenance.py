"""How a release's rows came about, from run.json: for its card and its Croissant file."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from datasets import Dataset

from caredio import features
from caredio.app import rating_export
from caredio.publishing import metadata
from caredio.runs import Run, behind
from caredio.selection import pipeline as selection_pipeline
from caredio.synthesis import pipeline as synthesis_pipeline
from caredio.training import style, views

_SAMPLING = ("provider", "model_revision", "temperature", "top_p", "max_tokens")
_WRITTEN = (
    "A language model wrote these texts. They show what that model says of a culture, which can be outdated, shallow or"
    " wrong."
)
_GIVEN = "Scores and ranks say how rows compare among the rows given, not whether they are true."
_COUNTRY = (
    "A country or a group stands for a culture here. Regions, generations, classes and minorities within it differ, and"
    " no answer speaks for all."
)
_APART = (
    "Compared: answers of these cultures with answers of their own run alone, and with none of the cultures that stay:"
    " scores of the two do not compare."
)
_SHORT = 20  # characters, a few words


class Asked(NamedTuple):
    """What a stage asked a model for, and what that took in this run.

    Attributes:
        sampling: name and value of what was set.
        prompts: name and hash of each prompt file.
        calls: requests that were sent; `stored` were answered from the store, by earlier commands.
        cost: in dollars; None where the price is not known.
    """

    stage: str
    model: str
    sampling: list[tuple[str, Any]]
    prompts: list[tuple[str, str]]
    calls: int
    stored: int
    tokens: int
    cost: float | None


class Added(NamedTuple):
    """Whose rows a run made of a release to which they were added, in words: Thailand and Vietnam.

    Attributes:
        cultures: of the run.
        others: that stay as in the release `before`, as cards call it.
        languages: ISO 639 codes of the others' text.
    """

    cultures: str
    others: str
    before: str
    languages: list[str]


@dataclass(frozen=True)
class Made:
    """How the ranked rows of a run came about.

    Attributes:
        stages: the entries in run.json of the ranked rows and of all that they were made from.
        source: the table of the user's that they were taken from; empty where this package wrote them.
        cultures: of the release, as the rows call them.
        languages: ISO 639 codes of the release's text.
        generators: models that the run's rows name as their writers; `revisions` are those that say they answered.
        writers: models that any row of the release names as its writer.
        method: a sentence for each step.
        limits: sentences on what the rows do not say.
        license: what they are under where the publisher states nothing.
        sides: the report on the sides of the release's pairs.
        without_pair: ranked rows of the release that have none.
        weighed: a sentence on the weights of the release's rows; empty where all are 1.
        removed: how many of the run's rows were removed from the release.
        rated: a sentence on how many of the run's rows people of their cultures rated; empty where nobody did.
        added: whose rows these are, where other cultures stay as in another release; None where all are the run's.
        stated: what the publisher stated of a part of the release alone, by setting -> of which cultures, in words.
    """

    stages: Mapping[str, Any]
    source: Mapping[str, Any]
    cultures: list[str]
    languages: list[str]
    generators: list[str]
    revisions: list[str]
    writers: list[str]
    method: list[str]
    limits: list[str]
    license: str
    sides: Mapping[str, Any]
    without_pair: int
    weighed: str = ""
    removed: int = 0
    rated: str = ""
    added: Added | None = None
    stated: Mapping[str, str] = field(default_factory=dict)

    @property
    def whose(self) -> str:
        """Whose rows the run made, after a noun; nothing where that is all."""
        return f" of {self.added.cultures}" if self.added else ""

    @property
    def asked(self) -> list[Asked]:
        """What each stage asked a model for; a stage that had a model and asked it nothing is left out."""
        return [_asked(stage, entry) for stage, entry in self.stages.items() if _asks(entry)]

    @property
    def versions(self) -> list[str]:
        """The versions of this package that made the tables."""
        return sorted({entry["made_from"]["version"] for entry in self.stages.values()})

    @property
    def seeds(self) -> dict[int, list[str]]:
        """Seed -> the stages that draw by it."""
        found: dict[int, list[str]] = {}
        for stage, entry in self.stages.items():
            made_from = entry["made_from"]
            for seed in sorted({*_seeds(made_from.get("config")), *_seeds(made_from.get("model"))}):
                found.setdefault(seed, []).append(stage)
        return found


def of_run(
    run: Run,
    own_prompts: Sequence[str] = (),
    tables: Mapping[str, Dataset] | None = None,
    whole: Mapping[str, Dataset] | None = None,
    added: Added | None = None,
    stated: Mapping[str, str] = MappingProxyType({}),
) -> Made:
    """How a run's ranked rows came about.

    Args:
        tables: its `ranked`, `scored` and `preference` as they are released; by default those of the run.
        own_prompts: names of prompts of the release that are not the shipped ones; those of stages are in their
            entries.
        whole: the tables of the release, with the rows that were not made by the run; by default `tables`.
        added, stated: as in `Made`.
    """
    tables = tables or {name: run.table(name) for name in ("ranked", "scored", "preference")}
    whole = whole or tables
    ranked, every, stages = tables["ranked"], whole["ranked"], behind(run.stages, "ranked")
    paired = run.stages["preference"]
    source = stages["candidates"]["made_from"]["source"] or {}
    generators = _values(ranked["generator"][:])
    languages = metadata.languages(ranked["language"][:]) or ([] if source else ["en"])
    of = f"Of {added.cultures}" if added else ""
    rated = rating_export.reviewed(run.path / rating_export.FOLDER, run.table("ranked")["sample_id"][:])
    limits = [_GIVEN if source else _WRITTEN, *selection_pipeline.describe_limits(stages)]
    return Made(
        stages=stages,
        source=source,
        cultures=sorted(set(every["culture"][:])),
        languages=sorted({*languages, *(added.languages if added else ())}),
        generators=generators,
        revisions=[revision for revision in _values(ranked["model_revision"][:]) if revision not in generators],
        writers=_values(every["generator"][:]),
        method=[
            *([] if source else synthesis_pipeline.describe(stages)),
            *selection_pipeline.describe(stages, topics=any(ranked.unique("topic_id"))),
            *([_APART] if added else []),
            views.describe({name: held for name, held in paired.items() if name != "without_pair"}, bool(source)),
            *_changed_prompts(stages, own_prompts),
        ],
        limits=[
            *(f"{of}: {limit}" if added else limit for limit in limits[:1]),
            _COUNTRY,
            *(f"{of}: {limit}" if added else limit for limit in limits[1:]),
            *(_wordings(every["response"][:]) if source else []),
        ],
        license="unknown" if source else "other",
        sides=_sides(run, whole),
        without_pair=len(every) - len(set(whole["preference"]["sample_id"][:])),
        weighed=_weighed(every),
        removed=run.stages["scored"]["rows"] - len(tables["scored"]),
        rated=f"{of}, {rated}" if added and rated else rated,
        added=added,
        stated=stated,
    )


def _sides(run: Run, tables: Mapping[str, Dataset]) -> Mapping[str, Any]:
    """The report on the sides of pairs: that in run.json, or one of those that are released where these are others."""
    entry, ranked, pairs = run.stages["preference"], tables["ranked"], tables["preference"]
    if "sides" not in entry:
        return {}
    if (len(pairs), len(ranked)) == (entry["rows"], run.stages["ranked"]["rows"]):
        return dict(entry["sides"])
    return style.report(pairs, dict(zip(ranked["sample_id"][:], ranked["language"][:], strict=True)))


def _weighed(ranked: Dataset) -> str:
    """A sentence on what the weights of a table's rows are; none where all are 1."""
    weights = features.weights(ranked)
    if all(weight == 1 for weight in weights):
        return ""
    return (
        "Weights: `weight` counts the people who gave an answer, as the table's column of that name says (1 where it"
        f" says nothing), the sum of equal rows; {min(weights):.6g} to {max(weights):.6g} in the ranked rows."
    )


def _wordings(responses: Sequence[str]) -> list[str]:
    """A sentence on short answers, which say the same in many wordings; none where most are longer."""
    median = statistics.median_low(map(len, responses)) if responses else _SHORT + 1
    if median > _SHORT:
        return []
    return [
        f"Answers are short (half of them have at most {median} characters): two wordings of one answer, such as"
        " synonyms or spellings, count as two different answers."
    ]


def _changed_prompts(stages: Mapping[str, Any], more: Sequence[str]) -> list[str]:
    """A sentence on prompts that are not the shipped ones; none where all are."""
    own = sorted({*more, *(name for entry in stages.values() for name in entry["made_from"].get("own_prompts", ()))})
    if not own:
        return []
    changed = ", ".join(f"`{name}.txt`" for name in own)
    return [f"Prompts: {changed} {'were' if len(own) > 1 else 'was'} changed by who built this."]


def _asks(entry: Mapping[str, Any]) -> bool:
    if not entry["made_from"].get("model"):
        return False
    usage = entry.get("usage")  # without which a record does not say that nothing was asked
    return usage is None or any(usage.get(name) for name in ("calls", "stored", "failed"))


def _asked(stage: str, entry: Mapping[str, Any]) -> Asked:
    made_from, usage = entry["made_from"], entry.get("usage", {})
    model, names = made_from["model"], made_from.get("prompts") or []
    return Asked(
        stage=stage,
        model=model["model"],
        sampling=[(name, model[name]) for name in _SAMPLING if model.get(name) not in (None, "")],
        prompts=list(zip(names, made_from["prompt"], strict=False)),  # of older runs there are hashes alone
        calls=usage.get("calls", 0),
        stored=usage.get("stored", 0),
        tokens=usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0),
        cost=usage.get("cost_usd"),
    )


def _seeds(config: Any) -> Iterator[int]:
    """The seeds of a stage's settings, which may be those of several rooms."""
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if name == "seed" and isinstance(value, int):
            yield value
        yield from _seeds(value)


def _values(column: Any) -> list[str]:
    return sorted({value for value in column if value})
