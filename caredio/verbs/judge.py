"""`judge`: the replies in samples files, rated or compared by a model behind an API."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caredio import disk, messages, progress
from caredio.errors import InputError
from caredio.evaluation import agreement, ratings
from caredio.evaluation.judge import Judge
from caredio.evaluation.judging_settings import SCALES, Settings
from caredio.evaluation.ratings import RATING, Arm, Judged
from caredio.llm.model import connect
from caredio.llm.plan import Plan
from caredio.result import Result
from caredio.runs import Run
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Given, Place


class Judging:
    """A judge whose arguments are checked: its plan, or its run."""

    def __init__(
        self,
        folders: Folder | Sequence[Folder],
        model: str,
        human: Place,
        out: Place,
        store: Place,
        given: Given,
    ) -> None:
        """As `api.judge`; nothing is written, and nobody asked."""
        arguments.paths(human=human, out=out, store=store)
        arguments.prompts(given, None, [])
        sampled = {"temperature": Settings.temperature, "top_p": None}
        self.rooms = arguments.settings("judge", {**sampled, **given, "model": str(model)})
        self.chosen, self.spec, self.endpoint = self.rooms
        self.folders, self.out, self.store, self.human = _folders(folders), out, store, human
        self.judge = Judge(self.folders, self.spec, self.chosen, Path(out) if out else None)
        arguments.load_prompts(self.judge.prompt_names, self.chosen.prompts)
        self.replies = [
            (reply.question, task.system, task.arm.culture or "") for task in self.judge.tasks for reply in task.replies
        ]
        self.rated, self.places = self._people(Path(human)) if human else ([], [])

    def plan(self) -> Plan:
        """What it will ask."""
        return self.judge.plan(self.endpoint.batch)

    def result(self) -> Judged:
        """Judge what is not judged yet, and what the judge found of all."""
        with contextlib.ExitStack() as held, progress.only_own_bars():
            messages.begin()
            runs = [held.enter_context(Run(folder, create=False)) for folder in self._runs()]
            if runs:
                runs[0].charge(self.endpoint.budget)
            with progress.command("judge", lambda: self.plan().calls, work.spent(self.endpoint)):
                arms, written, by = self.judge.measure(lambda: connect(self.spec, self.endpoint, self.store))
        if self.out is not None:
            with disk.writing(self.out):
                Path(self.out).mkdir(parents=True, exist_ok=True)
            given = {"folders": list(map(str, self.folders)), "model": self.spec.model, "human": self.human}
            work.repeatable("judge", self.out, {**given, "store": self.store}, self.rooms)
        asked, unparsed = ratings.unparsed(arms)
        changed, spread = ratings.disagreement(arms)
        return Judged(
            by,
            ratings.lines(arms, self.chosen.seed),
            asked,
            unparsed,
            changed,
            spread,
            self._agreement(arms),
            sum(place is None for place in self.places),
            tuple(written),
            tuple(self.judge.notes),
        )

    def _runs(self) -> list[Path]:
        """The run folders among those that are read and written, which no other command is to change meanwhile."""
        named = [*([Path(self.out)] if self.out else []), *self.folders]
        return list({folder.resolve(): folder for folder in named if (folder / "run.json").is_file()}.values())

    def _people(self, file: Path) -> tuple[list[agreement.Rated], list[int | None]]:
        """The rows of people's ratings, and the reply of each.

        Raises:
            InputError: replies are compared, or rated on several scales, or the file is not what was wanted.
        """
        if self.chosen.against:
            raise InputError(
                "human is given beside against: ratings say nothing of comparisons; leave one of them out."
            )
        scales = {SCALES[reply.rubric] for task in self.judge.tasks for reply in task.replies}
        if len(scales) > 1:
            raise InputError("human is given, and the replies are rated on several scales; name one --benchmark.")
        rated = agreement.load(file, *scales.pop())
        return rated, agreement.places(rated, self.replies)

    def _agreement(self, arms: Sequence[Arm]) -> tuple[agreement.Agreement, ...]:
        if not self.rated:
            return ()
        found: list[Any] = [row.get(RATING) for arm in arms for row in arm.rows]
        items = agreement.items(self.rated, self.places, self.replies, found)
        return tuple(agreement.agreement(items, self.chosen.seed))


def _folders(given: Folder | Sequence[Folder]) -> list[Path]:
    """The folders of samples.

    Raises:
        InputError: there are none, or one is no path.
    """
    named = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    found = [one.path if isinstance(one, Result) else one for one in named]
    if not found or None in found:
        raise InputError("nothing to judge: give a run folder, or what lm_eval had as --output_path.")
    for one in found:
        arguments.paths(folders=one)
    return [Path(str(one)) for one in found]
