"""`publish`: the release of a run's ranked rows, or of a model trained on them, in a folder and on the Hub."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caredio import preflight
from caredio.app import rating_export
from caredio.errors import EndpointError, InputError
from caredio.publishing import additions, hub, kept, metadata, record, release, removals
from caredio.publishing import plan as plans
from caredio.publishing.plan import Plan, Target
from caredio.publishing.record import Release
from caredio.publishing.release import Over
from caredio.publishing.settings import GATES
from caredio.publishing.settings import Settings as Chosen
from caredio.result import Result
from caredio.runs import Run
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Given, Place

log = logging.getLogger("caredio")


class _PlannedError(Exception):
    """Ends a release that is only planned."""


class Publishing:
    """A release whose arguments are checked: its plan, or the release."""

    def __init__(
        self,
        out: Folder,
        to: Place,
        model: Place,
        push: str | None,
        private: bool,
        gated: str | None,
        create_pr: bool,
        remove: Place,
        add_to: Place,
        cultures_file: Place,
        confirm: Callable[[Plan], bool] | None,
        given: Given,
    ) -> None:
        if not isinstance(out, (str, Path, Result)):
            raise InputError(f"out is {out!r}; give a run folder, or the result of a verb that wrote one.")
        self.out = Path(arguments.folder(out))
        arguments.paths(
            to=to, model=model, remove=remove, add_to=add_to, cultures_file=cultures_file, prompts=given.get("prompts")
        )
        self.model = Path(model) if model else None
        for what, value in (("prompts are", given.get("prompts")), ("remove is", remove), ("add_to is", add_to)):
            if self.model and value:
                raise InputError(
                    f"{what} given beside model, whose release holds neither rows nor their text; leave it out."
                )
        arguments.prompts(given, self.out, [] if self.model else ["views"])
        self.prompts = given.pop("prompts")
        (self.settings,) = arguments.settings("publish", given)
        _check_target(push, private, gated, create_pr)
        kind = "model" if self.model else "dataset"
        self.target = Target(push, kind, private, gated, create_pr) if push else None
        own = f"release-{self.model.name}" if self.model else "release"
        self.folder = Path(to) if to else self.out / own
        _check_folder(self.folder)
        self.file, self.cultures_file, self.confirm = Path(remove) if remove else None, cultures_file, confirm
        self.asked = removals.read(self.file) if self.file else []
        self.add_to = str(add_to) if add_to else None

    def plan(self) -> Plan:
        """What would be released; nothing is left of it."""
        found: list[Plan] = []

        def stop(plan: Plan) -> bool:
            found.append(plan)
            raise _PlannedError

        with tempfile.TemporaryDirectory(prefix="caredio-") as folder, contextlib.suppress(_PlannedError):
            self._write(Path(folder) / "release", stop)
        return found[0]

    def result(self) -> Path:
        """The folder of the release; on the Hub, what somebody else released meanwhile is planned over anew."""
        if self.target:
            hub.check_token(self.target.repo_id)
        for _ in range(hub.ATTEMPTS):
            seen = self._write(self.folder, self._agreed)
            if self.target is None:
                return self.folder
            one = self.target
            try:
                made = hub.push(
                    self.folder, one.repo_id, one.repo_type, one.private,
                    gated=one.gated, create_pr=one.create_pr, seen=seen,
                )  # fmt: skip
            except hub.Moved as moved:
                log.info("%s: %s; planned again", one.repo_id, moved)
                continue
            log.info("%s: %s", one.repo_id, made)
            return self.folder
        raise EndpointError(
            f"{self.target and self.target.repo_id}: others released there {hub.ATTEMPTS} times meanwhile; run the same"
            " command again."
        )

    def _agreed(self, plan: Plan) -> bool:
        log.info("%s", plan)
        return self.confirm is None or self.confirm(plan)

    def _write(self, folder: Path, agreed: Callable[[Plan], bool]) -> hub.Seen:
        """Write the release, if it is agreed to; what was seen on the Hub before."""
        seen = hub.look(self.target.repo_id, self.target.repo_type) if self.target else hub.Seen()
        last, base = self._last(seen), _base(self.add_to)
        if self.target is None and last and self.settings.version:
            record.see_higher(last, self.settings.version)
        if self.target is None and last is None:
            last = base
        if last and self.settings.version is None:
            record.see_version(last)
        before, kind = last or base, "model" if self.model else "dataset"
        called = before.version if before and before is not base else before.place if before else ""
        chosen = kept.of(self.settings, kind, before, called, base is not None)
        left_out = removals.LeftOut()

        def agree(making: Path, made: dict[str, Any]) -> None:
            target = self._on_hub(seen, last, made)
            lines = kept.lines(chosen, made)
            plan = plans.of(making, made, self.folder, last, self.settings.version, target, lines, left_out.gone)
            if not agreed(plan):
                raise InputError(f"nothing was written{' or sent' if self.target else ''}.")

        repo = self.target.repo_id if self.target else None
        name = repo or self.folder.as_posix()
        with work.opened(self.out, create=False) as run:
            if self.model:
                measured = run.table("results") if "results" in run.stages else None
                over = Over(last, repo=repo, agreed=agree)
                release.model(self.model, folder, chosen.settings, measured, name, over)
            else:
                for stage in release.TABLES:
                    run.check(stage)  # before the folder of a release is made
                known = run.cultures(self.cultures_file)
                left_out = self._left_out(run, last, base)
                over = Over(last, base, left_out.removed, left_out.rejected, repo, agree)
                release.dataset(run, folder, chosen.settings, known, name, self.prompts, over, chosen.texts)
                removals.remember(self.out, self.asked)
        return seen

    def _left_out(self, run: Run, last: Release | None, base: Release | None) -> removals.LeftOut:
        """What is left out, now and in earlier releases.

        What raters rejected follows the run's ratings, or where these say nothing of it the release before; what was
        removed on request stays out.
        """
        releases = [one for one in (last, base) if one]
        ratings = rating_export.load(self.out / rating_export.FOLDER)
        rejected = {name for one in releases for name in one.rejected}.difference(ratings.judged).union(
            ratings.rejected
        )
        asked = {name for one in releases for name in {*one.removed} - {*one.rejected}}
        asked.update(removals.remembered(self.out))
        there = removals.named(run.table("scored"))
        if self.file:
            staying = removals.named(additions.pool(base)) if base else frozenset()
            removals.check(self.asked, {*there, *staying, *rejected, *asked}, self.file)
        asked.update(self.asked)
        return removals.LeftOut(
            sorted(asked | rejected), sorted(rejected - asked), frozenset(there & (asked | rejected))
        )

    def _last(self, seen: hub.Seen) -> Release | None:
        """The release before: on the Hub where this one goes there, else in the folder."""
        if self.target is None:
            return record.found(self.folder)
        asked = self.settings.version
        tag = asked if asked in seen.tags else record.newest(seen.tags)
        return hub.fetched(self.target.repo_id, self.target.repo_type, tag) if tag else None

    def _on_hub(self, seen: hub.Seen, last: Release | None, made: dict[str, Any]) -> Target | None:
        """The target, with what is there of it.

        Raises:
            InputError: the tag is there with other content.
        """
        if self.target is None:
            return None
        tagged = made["version"] in seen.tags
        if tagged and not (last and record.same(made, last.record)):
            raise hub.taken(self.target.repo_id, made["version"], last.record if last else None)
        moved = last is not None and seen.head != seen.tags.get(last.version)
        return dataclasses.replace(self.target, there=seen.head is not None, tagged=tagged, moved=moved)


def _check_folder(folder: Path) -> None:
    """See that a folder can be replaced: it is moved away, and so cannot be the one that the command runs in.

    Raises:
        InputError: it is that one, or holds it.
    """
    if Path.cwd().is_relative_to(folder.resolve()):
        raise InputError(
            f"to is {str(folder)!r}, which is or holds the folder that this runs in, and a release takes the place of"
            " its folder; name another one, such as ./release."
        )


def _check_target(push: str | None, private: bool, gated: str | None, create_pr: bool) -> None:
    """See that what is asked of the Hub goes together.

    Raises:
        InputError: it does not, or the name is no repository's.
        EndpointError: the Hub's client is in offline mode.
    """
    if gated not in (None, *GATES):
        raise InputError(f"gated is {gated!r}; use {' or '.join(GATES)}.")
    if not push and (gated or create_pr):
        raise InputError(f"{'gated' if gated else 'create_pr'} is given, but push names no repository (owner/name).")
    if create_pr and (gated or private):
        raise InputError(
            f"{'gated' if gated else 'private'} is a setting of a repository, which a pull request does not change;"
            " leave out one of the two."
        )
    if push:
        metadata.check_repo(push)
        hub.check_online(push)


def _base(place: str | None) -> Release | None:
    """The release that cultures are added to, whole. Raises InputError where there is none."""
    if place is None:
        return None
    return record.read(Path(place)) if Path(place).is_dir() else hub.named(place, whole=True)


@dataclasses.dataclass(frozen=True)
class Push:
    """What `push` of a verb asks for: to publish what it ranks; `name` is None where it does not."""

    name: str | None
    private: bool
    prompts: str | None
    release: Chosen

    def check(self, out: Place) -> None:
        """See that a release can be pushed, before what it holds is made. Raises InputError, and as `preflight`."""
        if self.name and out is None:
            raise InputError("push needs a run folder, as the release is written there first; give out=.")
        if self.name and out is not None:
            preflight.pushing(self.name, Path(out) / "release", self.release.version)

    def after(self, made: Result) -> Result:
        """What the verb made, published."""
        if self.name and made.path:
            given = {"prompts": self.prompts, **dataclasses.asdict(self.release)}
            nothing = (None, False, None, None, None, None)
            Publishing(made.path, None, None, self.name, self.private, *nothing, given).result()
        return made
