"""`synthesize`: candidates, written by a model."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset

from caredio import preflight, runs, yamlfile
from caredio.llm.model import connect
from caredio.llm.plan import Plan, Step, is_local
from caredio.llm.rows import likelihoods
from caredio.prompts import SHARED
from caredio.result import Result
from caredio.runs import Run
from caredio.selection.conditioning import Conditioning, probe, probing
from caredio.stages import Planning, planned
from caredio.synthesis import pipeline, review
from caredio.synthesis.grounding import PROMPT
from caredio.verbs import arguments, evidence
from caredio.verbs.arguments import Given, Names, Place
from caredio.verbs.work import Asking


class Synthesizing(Asking):
    """A synthesis whose arguments are checked: its plan, or its run."""

    def __init__(
        self,
        cultures: Names,
        topics: Names,
        out: Place,
        cultures_file: Place,
        topics_file: Place,
        store: Place,
        given: Given,
    ) -> None:
        files = {"cultures_file": cultures_file, "topics_file": topics_file, "store": store}
        arguments.paths(out=out, **files)
        arguments.prompts(given, out, [*SHARED, PROMPT, *(name for stage in pipeline.STAGES for name in stage.prompts)])
        self.rooms = arguments.settings("synthesize", given)
        self.settings, self.selection, self.spec, self.endpoint = self.rooms
        self.out, self.store = out, store
        self.known, self.known_topics = runs.known(out, cultures_file, topics_file)
        self.targets = yamlfile.pick(arguments.listed(cultures, "cultures"), self.known, "culture")
        self.topics = yamlfile.pick(arguments.listed(topics, "topics"), self.known_topics, "topic")
        slugs, topic_ids = [one.slug for one in self.targets], [one.topic_id for one in self.topics]
        self.arguments = {"cultures": slugs, "topics": topic_ids, **files}
        asked = self.settings
        self.pieces = evidence.opened(asked.evidence, self.known, self.targets) if asked.evidence else None
        self.people = None
        if asked.personas_file:
            self.people = evidence.people(asked.personas_file, self.known, self.targets, asked.personas)
        texts = evidence.shown(self.pieces, asked) if self.pieces else []
        planning = Planning(self.spec, asked, self.selection, self.targets, self.topics, self.known, evidence=texts)
        self.steps, self.planning = planned(pipeline.STAGES, planning)
        self.candidates = tuple(self.planning.rows["candidates"])
        preflight.writing(self.settings, self.selection, self.spec, self.endpoint, self.candidates)
        self.conditioning = Conditioning(prompts=self.settings.prompts)

    def plan(self, steps: Sequence[Step] = (), probed: bool = False) -> Plan:
        """Its plan.

        Args:
            steps: of what follows it.
            probed: as in `run`.
        """
        probes = [probing(self.conditioning, self.spec)] if probed or self.settings.reads_likelihood else []
        steps = (*probes, *self.steps, *steps)
        return Plan(self.spec.model, steps, self.endpoint.batch, is_local(self.spec), self.candidates)

    def run(self, run: Run, probed: bool = False) -> Dataset:
        """Its candidates.

        Args:
            probed: see first that the model returns log-probabilities, which what follows reads.
        """
        model = connect(self.spec, self.endpoint, self.store, self.settings.seed)
        reviewer = None
        if self.settings.reviews:
            spec, own = review.reviewer(self.settings, self.spec, self.endpoint), self.endpoint.for_role("review")
            reviewer = connect(spec, own, self.store, self.settings.seed)
        run.charge(self.endpoint.budget)
        if probed or self.settings.reads_likelihood:
            likelihoods([probe(self.conditioning)], model, "log-probabilities")
        asked = (self.targets, self.topics, self.known, self.settings, self.selection, self.endpoint)
        return pipeline.synthesize(run, model, *asked, self.known_topics, reviewer, self.pieces, self.people)

    def result(self) -> Result:
        return self.tables("synthesize", ("candidates",))
