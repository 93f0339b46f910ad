"""`build`: `synthesize`, then `select`."""

from __future__ import annotations

import dataclasses

from datasets import Dataset

from caredio import preflight
from caredio.api import VERBS
from caredio.llm.plan import Plan
from caredio.llm.settings import Endpoint
from caredio.result import Result
from caredio.runs import Run
from caredio.selection import pipeline
from caredio.settings import names
from caredio.stages import planned
from caredio.verbs import arguments, select
from caredio.verbs.arguments import Given, Names, Place
from caredio.verbs.publish import Push
from caredio.verbs.synthesize import Synthesizing
from caredio.verbs.work import Asking


class Building(Asking):
    """A synthesis and a selection whose arguments are checked: their plan, or their run."""

    def __init__(
        self,
        cultures: Names,
        topics: Names,
        out: Place,
        cultures_file: Place,
        topics_file: Place,
        push: str | None,
        private: bool,
        store: Place,
        given: Given,
    ) -> None:
        _, selection, self.views, _, self.endpoint, release = arguments.settings("build", given)
        self.out, self.push = out, Push(push, private, given.get("prompts"), release)
        select.described(selection, self.push, table=False)
        own = names([room for room in VERBS["synthesize"][0] if room is not Endpoint])
        writing = {name: given[name] for name in given if name in own} | {"endpoint": self.endpoint}
        self.writing = Synthesizing(cultures, topics, out, cultures_file, topics_file, store, writing)
        self.arguments, self.spec = self.writing.arguments, self.writing.spec
        self.settings = dataclasses.replace(selection, prompts=self.writing.settings.prompts)
        self.rooms = [self.writing.settings, self.settings, self.views, self.spec, self.endpoint]
        arguments.load_prompts(["views"] if push else [], self.settings.prompts)
        preflight.ranking(self.settings, self.spec, self.endpoint)
        select.load_scoring(self.settings)
        preflight.measuring(self.settings, self.writing.candidates)

    def plan(self) -> Plan:
        planning = dataclasses.replace(self.writing.planning, selection=self.settings, batch=self.endpoint.batch)
        steps, _ = planned(pipeline.STAGES, planning)
        return self.writing.plan(steps, self.settings.measures_likelihood)

    def run(self, run: Run) -> Dataset:
        self.writing.run(run, self.settings.measures_likelihood)
        return select.ranked(run, self.settings, self.views, self.spec, self.endpoint, self.writing.store)

    def result(self) -> Result:
        preflight.building(self.settings, self.spec, self.endpoint, self.out)
        self.push.check(self.out)
        return self.push.after(self.tables("build", ("candidates", *select.RANKED)))
