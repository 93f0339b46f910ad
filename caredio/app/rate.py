"""The page on which native speakers rate answers, or compare two datasets; rate.js draws it, what is here answers it.

Text of rows and of people reaches the page as JSON and is put there as text nodes, so nothing in it is markup. Who
wrote an answer does not leave the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caredio import cultures, packages
from caredio.app import rating_tasks
from caredio.app.annotations import Annotation, Annotations
from caredio.app.rating_tasks import COMPARE, RATE, SAME, Said, Task, Tasks
from caredio.app.shelf import Shelf
from caredio.errors import CaredioError, InputError

if TYPE_CHECKING:
    from gradio import Blocks

REFUSED = "Not saved: the answers to rate have changed since this page showed them. This is the task that is there now."


class Rating:
    """Answers the page: which tasks there are, and what was said of them."""

    def __init__(self, shelf: Shelf, kept: Annotations, other: Shelf | None = None) -> None:
        self._shelf, self._other, self._kept = shelf, other, kept
        self._tasks: dict[tuple[str, str], Tasks] = {}

    @cached_property
    def start(self) -> dict[str, Any]:
        """What the page begins with."""
        ranked = self._shelf.of(stage="ranked")
        known = cultures.load()
        slugs = sorted({row["culture"] for row in self._shelf.cells(ranked, "culture")})
        names = {slug: known[slug].name if slug in known else slug for slug in slugs}
        return {"cultures": names, "kinds": [RATE, COMPARE] if self._other else [RATE]}

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A task as the page shows it, after what was clicked there; or `error`, a sentence.

        A click about a task that is no more, or that shows something else, is not kept; `refused`, a sentence, says so
        beside the task that is there.

        Args:
            asked: `name`, `culture` and `kind`; `task`, its number, or None for the first that is not done; `click` as
                `rating_tasks.clicked` takes it, with `seen`, that of the task on which it was made.
        """
        try:
            annotator = self._kept.annotator(str(asked.get("name") or ""))
            tasks = self._of(str(asked.get("kind")), str(asked.get("culture")))
            begun = self._kept.of(annotator)
            done = [self._done(annotator, begun.get(name), tasks, at) for at, name in enumerate(tasks.names)]
            click, seen = asked.get("click"), str(asked.get("seen") or "")
            if click is not None and not seen:
                raise InputError("this page is older than the server: load it again.")
            number = _number(asked.get("task"), seen if click is not None else "", tasks, done)
            before = begun.get(tasks.names[number])
            task = before.task if before else tasks[number]
            refused = REFUSED if click is not None and seen != task.seen(annotator) else None
            if click is not None and not refused:
                done[number] = self._kept.click(annotator, task, click).done(task)
            return {
                "number": number,
                "tasks": len(tasks),
                "done": sum(done),
                "next": next((at for at, one in enumerate(done) if not one), None),
                "refused": refused,
                **_shown(task, self._kept.said(annotator, task), annotator),
            }
        except CaredioError as error:
            return {"error": str(error)}

    def _done(self, annotator: str, begun: Annotation | None, tasks: Tasks, at: int) -> bool:
        """Whether all of a task is said; one that was not begun is read whole only where its own rows are."""
        if begun:
            return begun.said.done(begun.task)
        own = tasks.own[at]
        return self._kept.said(annotator, own).done(own) and self._kept.said(annotator, tasks[at]).done(tasks[at])

    def _of(self, kind: str, culture: str) -> Tasks:
        if culture not in self.start["cultures"] or kind not in self.start["kinds"]:
            raise InputError("choose a culture and what to do first.")
        if (kind, culture) not in self._tasks:
            made = rating_tasks.rating(culture, self._shelf, self._other)
            if kind == COMPARE and self._other:
                made = rating_tasks.comparing(culture, self._shelf, self._other)
            if not len(made):
                raise InputError(f"there is nothing of {culture} to {kind}.")
            self._tasks[kind, culture] = made
        return self._tasks[kind, culture]


def _number(asked: Any, seen: str, tasks: Tasks, done: Sequence[bool]) -> int:
    """The number of the task to show: that of the one a click is about, wherever it is by now, else the one asked for.

    Raises:
        InputError: there is no such task, and nothing was clicked.
    """
    name = seen.partition("-")[0]
    if name in tasks.names:
        return tasks.names.index(name)
    if asked is None or (seen and asked not in range(len(tasks))):
        return done.index(False) if False in done else 0
    if type(asked) is not int or not 0 <= asked < len(tasks):
        raise InputError(f"task is {asked!r}; there are {len(tasks)}.")
    return asked


def _shown(task: Task, said: Said, annotator: str) -> dict[str, Any]:
    """A task and what is said of it, by the places of its items instead of their names."""
    shown = task.shown(annotator)
    place = {item.sample_id: number for number, item in enumerate(shown)}
    sides = {shown[0].sample_id: "left", shown[-1].sample_id: "right", SAME: SAME}
    return {
        "kind": task.kind,
        "seen": task.seen(annotator),
        "question": task.items[0].question,
        "items": [{"question": item.question, "response": item.response} for item in shown],
        "ratings": {str(place[name]): rating for name, rating in said.ratings.items()},
        "order": [place[name] for name in said.order or place],
        "untrue": {str(place[name]): comment for name, comment in said.untrue.items()},
        "verdicts": {measure: sides[name] for measure, name in said.verdicts.items()},
        "contradictions": [[place[one], place[other]] for one, other in said.contradictions(task)],
        "finished": said.done(task),
    }


def page(shelf: Shelf, folder: Path, other: Shelf | None = None) -> tuple[Blocks, Annotations]:
    """The page to rate on alone, as every other tab shows ranks and whose an answer is. Takes and raises as `tab`."""
    packages.require("a page to rate on", "app", "gradio")
    import gradio

    with gradio.Blocks(title="CAReDiO: rate", analytics_enabled=False) as made:
        kept = tab(shelf, folder, other)
    return made, kept


def tab(shelf: Shelf, folder: Path, other: Shelf | None = None) -> Annotations:
    """Put the page into the Gradio blocks that are being made.

    Args:
        folder: where what annotators say is kept.
        other: a second dataset, to compare rows with.

    Raises:
        InputError: gradio is not installed, or the folder cannot be written.
    """
    packages.require("a page to rate on", "app", "gradio")
    import gradio

    kept = Annotations(folder)
    rating = Rating(shelf, kept, other)

    def annotate(asked: Any) -> dict[str, Any]:
        (one,) = asked if isinstance(asked, list) else (asked,)
        return rating.answer(one)

    page = resources.files("caredio.app")
    gradio.HTML(
        html_template='<div class="rate"></div>',
        css_template=page.joinpath("rate.css").read_text(encoding="utf-8"),
        js_on_load=page.joinpath("rate.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        server_functions=[annotate],
        elem_id="rate",
        start=rating.start,
    )
    return kept
