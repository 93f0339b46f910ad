"""`select`: rows ranked within their culture, and the views that are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import preflight
from caredio.api import Table
from caredio.errors import InputError
from caredio.llm.model import connect
from caredio.llm.plan import Plan, is_local
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.prompts import SHARED
from caredio.publishing.settings import SHARE
from caredio.publishing.settings import Settings as Release
from caredio.result import Result
from caredio.runs import Run
from caredio.selection import match, pipeline, source
from caredio.selection.conditioning import Conditioning, probing
from caredio.selection.embedders import ENDPOINT
from caredio.selection.settings import Settings as Selection
from caredio.stages import Planning, planned
from caredio.synthesis.settings import Settings as Synthesis
from caredio.training import views
from caredio.training.settings import Settings as Views
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Given, Place
from caredio.verbs.publish import Push

RANKED = ("ranked", "scored", "vectors", "preference", "unpaired")


class Selecting(work.Asking):
    """A selection whose arguments are checked: its plan, or its run."""

    def __init__(
        self, data: Table | None, out: Place, push: str | None, private: bool, store: Place, given: Given
    ) -> None:
        arguments.to_rank(data, out, store)
        own_prompts = given.get("prompts")
        arguments.prompts(given, out, ["views"] if push else [])
        rooms = arguments.settings("select", given)
        self.settings, self.views, self.spec, self.endpoint, release = rooms
        self.out, self.store, self.push = out, store, Push(push, private, own_prompts, release)
        described(self.settings, self.push, table=data is not None)
        self.push.check(out)
        self.rows, self.record = arguments.table(data, self.settings)
        preflight.served(self.endpoint, (self.settings.embedder,))
        preflight.ranking(self.settings, self.spec, self.endpoint)
        self.asks = self.settings.asks or self.settings.embedder.startswith(ENDPOINT)
        load_scoring(self.settings)
        if self.asks or self.settings.reads_validation:
            preflight.measuring(self.settings, match.expected(work.candidates(out, self.rows, self.settings)))
        # a table in memory has no name to repeat it by
        self.arguments = {"data": data if isinstance(data, (str, Path)) else None, "store": store}
        self.rooms = [self.settings, self.views, *([self.spec, self.endpoint] if self.asks else [])]

    def plan(self, warn: bool = True) -> Plan:
        candidates = work.candidates(self.out, self.rows, self.settings, warn)
        rows = {"candidates": match.expected(candidates)}
        known = {"rows": rows, "candidates": candidates, "batch": self.endpoint.batch}
        planning = Planning(self.spec, Synthesis(), self.settings, **known)
        steps, _ = planned(pipeline.STAGES, planning)
        if self.settings.measures_likelihood:
            steps = [probing(Conditioning(prompts=self.settings.prompts), self.spec), *steps]
        return Plan(self.spec.model, tuple(steps), self.endpoint.batch, is_local(self.spec))

    def calls(self) -> dict[str, int]:
        return self.plan(warn=False).calls if self.asks else {}

    def run(self, run: Run) -> Dataset:
        asked = (self.settings, self.views, self.spec, self.endpoint, self.store)
        return ranked(run, *asked, self.rows, self.record)

    def result(self) -> Result:
        return self.push.after(self.tables("select", RANKED, create=self.rows is not None))


def described(reading: Selection, push: Push, table: bool) -> None:
    """See that a table or a release that settings describe is there.

    Raises:
        InputError: it is not.
    """
    if not table and source.described(reading):
        raise InputError("a table's columns and splits are given, but no table; name the file or the Hub dataset.")
    if not push.name and push.release not in (Release(), Release(test_share=SHARE)):
        raise InputError("a release is described, but push names no repository (owner/name) to publish it to.")


def load_scoring(settings: Selection) -> None:
    """See that the prompts of the scores that ask a model fit. Raises as `arguments.prompts` does."""
    if settings.asks:
        arguments.load_prompts([*SHARED, *pipeline.prompts(settings)], settings.prompts)


def ranked(
    run: Run,
    settings: Selection,
    viewing: Views,
    spec: Spec,
    endpoint: Endpoint,
    store: Place,
    rows: Dataset | None = None,
    record: dict[str, Any] | None = None,
) -> Dataset:
    """The ranked rows, of the run's candidates where no rows are given; their views are written beside them."""
    model = connect(spec, endpoint, store, settings.seed) if settings.asks else None
    run.charge(endpoint.budget)
    made = pipeline.select(run, settings, rows, record, model, endpoint)
    views.write(run, made, viewing)
    return made
