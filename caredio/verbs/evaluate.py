"""`evaluate`: a model measured as it is, told to play the part, and trained."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from caredio import yamlfile
from caredio.errors import InputError
from caredio.evaluation.settings import PROMPTS
from caredio.llm.batch import NO_TOP_LOGPROBS
from caredio.llm.model import connect
from caredio.llm.plan import Plan, is_local
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.result import Result
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Given, Names, Place


class Evaluating:
    """An evaluation whose arguments are checked: its plan, or its run."""

    def __init__(
        self,
        cultures: Names,
        out: Place,
        model: str,
        trained: Place,
        cultures_file: Place,
        store: Place,
        given: Given,
    ) -> None:
        """As `api.evaluate`; nothing is written, and nobody asked."""
        # lm-eval's packages
        from caredio.evaluation import grounded, leakage, ledger

        arguments.paths(out=out, trained=trained, cultures_file=cultures_file, store=store)
        arguments.prompts(given, out, PROMPTS)
        sampled = {"model": str(model), "temperature": 0.0, "top_p": None}
        self.rooms = arguments.settings("evaluate", {**given, **sampled})
        self.chosen, self.spec, self.endpoint = self.rooms
        self.out, self.model, self.trained = out, model, trained
        self.files = {"cultures_file": cultures_file, "store": store}
        for name in ("show", "robustness"):
            if getattr(self.chosen, name) and out is None:
                raise InputError(f"{name} is given without out; name the run folder that keeps the replies.")
        self.behind_api = _behind_api(self.spec, self.endpoint, trained)
        if self.behind_api and trained:
            raise InputError(
                f"trained is given, and model {model!r} is behind an API, whose weights take no adapter; leave one out."
            )
        with work.opened(out, create=out is None) as run:
            declared = run.cultures(cultures_file)
            self.slugs, self.known, self.notes = ledger.cultures(run, declared, arguments.listed(cultures, "cultures"))
            self.past = ledger.past(run)
            self.learned = leakage.training(run, trained, None if self.behind_api else model)
            pieces = grounded.pieces(run)
            self.leave_out = None if self.chosen.allow_leaked else grounded.leave_out(self.learned, pieces)
        yamlfile.pick(self.slugs, self.known, "culture")

    def plan(self) -> Plan:
        """What it will ask an API; weights of one's own are asked nothing that costs."""
        return self._asked().plan(self.past, self.endpoint.batch) if self.behind_api else Plan(self.spec.model, ())

    def result(self) -> Result:
        """Measure, and what was measured."""
        # lm-eval's packages
        from caredio.evaluation import ledger

        asked = self._asked()
        if self.behind_api:
            asked.through(lambda spec: connect(spec, self.endpoint, self.files["store"]))
        with work.opened(self.out) as run:  # a folder that is not there is made once all of that is right
            if self.behind_api:
                run.charge(self.endpoint.budget)
            found = ledger.evaluate(run, asked)
        given = {"cultures": self.slugs, "model": self.model, "trained": self.trained, **self.files}
        work.repeatable("evaluate", self.out, given, self.rooms if self.behind_api else [self.chosen])
        out = None if self.out is None else Path(self.out)
        return Result({"results": found}, run.report(), out, shown=self._shown(out, asked) if out else "")

    def _shown(self, out: Path, asked: Any) -> str:
        """What stands below the table."""
        # lm-eval's packages
        from caredio.evaluation import ledger, robustness
        from caredio.evaluation.side_by_side import side_by_side

        parts = []
        if self.chosen.robustness:
            found = robustness.spreads(out / ledger.SAMPLES, [one.column for one in asked.measurements], self.slugs)
            parts += [robustness.report(found)] if found else []
            parts.append(self._topics(out, asked))
        if self.chosen.show:
            parts.append(side_by_side([out], self.chosen.show))
        return "\n\n".join(parts)

    def _topics(self, out: Path, asked: Any) -> str:
        """What the report of robustness says of topics that were trained on."""
        # lm-eval's packages
        from caredio.evaluation import ledger, topics
        from caredio.evaluation.benchmarks import held_out

        if held_out.NAME not in asked.files:
            return topics.NOT_ASKED
        with work.opened(out, create=False) as run:
            known = topics.of_questions(run)
        return topics.report(*topics.compare(out / ledger.SAMPLES, asked.identities.values(), known))

    def _asked(self) -> Any:
        """What is asked, once none of it is known to have been learned."""
        from caredio.evaluation import leakage  # lm-eval's packages

        asked = self._generated() if self.behind_api else self._by_likelihood()
        leakage.check(asked, self.learned, self.chosen.allow_leaked)
        return asked

    def _generated(self) -> Any:
        from caredio.evaluation.generated import Generated  # lm-eval's packages

        place = Path(self.out) if self.out else None
        spent = work.spent(self.endpoint)
        asked = Generated(self.spec, self.slugs, self.chosen, self.known, self.notes, place, spent, self.leave_out)
        if self.endpoint.batch and asked.first_tokens:
            raise InputError(NO_TOP_LOGPROBS)
        return asked

    def _by_likelihood(self) -> Any:
        # lm-eval, torch and peft
        from caredio.evaluation import results, systems
        from caredio.llm.local import model_path

        systems.installed()
        base = str(model_path()) if self.model == LOCAL_MODEL else self.model
        arms = [systems.System("raw", base), systems.System("role-play", base, role_play=True)]
        if self.trained:
            trained = systems.trained(Path(self.trained), base, self.slugs)
            arms += [trained, replace(trained, name=f"{trained.name} + role-play", role_play=True)]
        place = Path(self.out) if self.out else None
        return results.Evaluation(arms, self.slugs, self.chosen, self.known, self.notes, place, self.leave_out)


def _behind_api(spec: Spec, endpoint: Endpoint, trained: Place) -> bool:
    """Whether a model to evaluate is behind an API, not weights that can be loaded.

    An address in the environment, which is there for other commands too, makes no folder of weights and no base of
    trained ones a model behind an API.

    Raises:
        InputError: an address is given, and no model that it serves.
    """
    if is_local(spec):
        if endpoint.base_url:
            raise InputError(f"base_url is given, but no model; name the model that {endpoint.base_url} serves.")
        return False
    if spec.model.startswith("ft:") or spec.provider != "openai" or endpoint.base_url:
        return True
    return bool(os.environ.get("OPENAI_BASE_URL", "").strip()) and not trained and not Path(spec.model).exists()
