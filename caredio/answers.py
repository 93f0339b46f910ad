"""What a model was asked for a row, and what it wrote: rebuilt from the row, the settings of its run and the store.

The store holds answers by the hash of what was asked, not what was asked: the stages are run again for the row alone,
with a model that only remembers.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, disable_progress_bars

from caredio import prompts
from caredio.cultures import Culture
from caredio.errors import EndpointError, InputError
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import CallFailed
from caredio.llm.model import Model
from caredio.llm.spec import Chat, Messages, Spec
from caredio.runs import Run, in_use
from caredio.selection.settings import Settings as Selection
from caredio.synthesis import adapt, addresses, contrast, grounding, isolated, pipeline, review, roleplay
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.settings import Settings as Synthesis
from caredio.synthesis.settings import of_older

_STAGES = ("questions", "answers", "adapted", "isolated", "addressed", "contrasted", "reviewed", "candidates")


class _Remembering(Model):
    """A model that answers from the store alone, and notes what it is asked."""

    def __init__(self, spec: Spec, store: Store, seed: int) -> None:
        self.spec, self.store, self.seed = spec, store, seed
        self.asked: list[tuple[Messages, Answer | None]] = []

    @property
    def batch(self) -> bool:
        return False

    async def complete(self, chat: Chat) -> Answer:
        answer = self.store.get(self.key(chat))
        self.asked.append((chat.messages, answer))
        if answer is None:
            raise CallFailed("not in the store")
        return answer


def show(out: Path, sample: str | None = None, store: Path | None = None) -> str:
    """The messages and answers behind a candidate of a run, stage by stage.

    Args:
        out: run folder.
        sample: sample_id of the candidate; the first of the run when None.
        store: file of stored answers; by default one for all runs of this user.

    Raises:
        InputError: the run wrote no candidates, or has no such one.
    """
    disable_progress_bars()
    with Run(out, create=False) as run:
        made = in_use(run.stages)
        tables = {name: run.table(name) for name in _STAGES if name in made and name != "candidates"}
        if "adapted" not in tables:
            raise InputError(f"{out}: no model wrote the candidates of this run, so there are no answers to show.")
        row = _row(run.table("candidates"), sample, out)
        records = {name: made[name]["made_from"] for name in _STAGES if name in made}
        cultures, texts = run.cultures(), dict(run.used.get("prompts", {}))
        near = run.table("grounding") if "grounding" in made else None
        reviewed = pipeline.review_record(made)
    answers = Store(store)
    model = _remembering(records["isolated"], answers)
    of = {name: _of(table, row) for name, table in tables.items()}
    with tempfile.TemporaryDirectory(prefix="caredio-") as folder:
        for name, text in texts.items():  # as they were used, whatever stands in the run's folder now
            Path(folder, f"{name}.txt").write_text(text, encoding="utf-8")
            _fits(name, folder, out)
        settings, selection = _settings(records, folder)
        grounds = grounding.of(near, None, folder)
        stages = _stages(row, of, settings, selection, model, cultures, grounds)
        parts = [_shown(name, work, model) for name, work in stages]
        if reviewed:
            reviewer = _remembering(reviewed, answers)
            of_review = of["contrasted"], settings, reviewer, cultures, grounds
            parts.append(_shown("reviewed", lambda: review.run(*of_review), reviewer))
    parts.insert(0, f"sample {row['sample_id']}: {row['culture']}, question {row['question_id']}")
    if row["round"]:
        parts.append(
            f"== optimized: round {row['round']} replaced what stands above; its calls are not shown\n\n"
            f"[question]\n{row['question']}\n\n[response]\n{row['response']}"
        )
    return "\n\n".join(parts)


def _remembering(record: Mapping[str, Any], store: Store) -> _Remembering:
    """The model that a stage asked, by its record."""
    recorded = {**record["model"]}
    seed = recorded.pop("seed", 0)
    return _Remembering(Spec(**recorded), store, seed)


def _fits(name: str, folder: str, out: Path) -> None:
    """See that a prompt of the run is one that today's stages can fill.

    Raises:
        InputError: another version wrote the run, with other slots.
    """
    try:
        prompts.load(name, folder)
    except InputError:
        raise InputError(
            f"{out}: was written by another version of caredio, with another {name}.txt, so what was asked cannot be"
            " rebuilt; show its answers with that version."
        ) from None


def _stages(
    row: Mapping[str, Any],
    of: Mapping[str, Dataset],
    settings: Synthesis,
    selection: Selection,
    model: Model,
    cultures: dict[str, Culture],
    grounds: Grounds,
) -> list[tuple[str, Callable[[], object]]]:
    """(name, what runs it for the row) of each stage that asks about rows; questions are asked for several at once."""
    target, both = cultures[row["culture"]], (settings, selection, model, cultures, grounds)
    judged = "addressed" if "addressed" in of else "isolated"
    stages: list[tuple[str, Callable[[], object]]] = [
        ("answers", lambda: roleplay.run(of["questions"], settings, model, {target.slug: target}, None, grounds)),
        ("adapted", lambda: adapt.run(of["questions"], of["answers"], settings, model, cultures, [target])),
        ("isolated", lambda: isolated.run(of["adapted"], *both)),
        ("addressed", lambda: addresses.run(of["adapted"], of["isolated"], settings, model, cultures, grounds)),
        ("contrasted", lambda: contrast.run(of["adapted"], of[judged], *both)),
    ]
    left_out = {
        *(() if settings.adaptation else ("answers", "adapted")),
        *(() if settings.contrast else ("contrasted",)),
        *(() if "addressed" in of else ("addressed",)),
    }
    return [one for one in stages if one[0] not in left_out]


def _shown(stage: str, work: Callable[[], object], model: _Remembering) -> str:
    model.asked = []
    with contextlib.suppress(EndpointError, InputError):  # what is missing is shown as such
        work()
    parts = [f"== {stage}: {len(model.asked)} call{'s' if len(model.asked) != 1 else ''}"]
    for messages, answer in model.asked:
        parts += [f"[{message['role']}]\n{message['content']}" for message in messages]
        parts.append(f"[answer of {answer.model}]\n{answer.text}" if answer else "[answer]\nnot in this store")
    return "\n\n".join(parts)


def _row(candidates: Dataset, sample: str | None, out: Path) -> dict[str, Any]:
    ids = candidates["sample_id"][:]
    if sample is not None and sample not in ids:
        raise InputError(f"{out}: no candidate has the sample_id {sample!r}; the column sample_id holds them.")
    return cast(dict[str, Any], candidates[ids.index(sample) if sample else 0])


def _of(table: Dataset, row: Mapping[str, Any]) -> Dataset:
    """The rows of a table that the candidate was made from: of its question and, where they are one culture's, its."""
    wanted = {"question_id": row["question_id"]}
    if "target" in table.column_names or "universal_question" in table.column_names:
        wanted["target" if "target" in table.column_names else "culture"] = row["culture"]
    cells = {name: table[name][:] for name in wanted}
    places = [place for place in range(len(table)) if all(cells[name][place] == wanted[name] for name in wanted)]
    return table.select(places)


def _settings(records: Mapping[str, Any], prompts_from: str) -> tuple[Synthesis, Selection]:
    """The settings that a run's stages recorded."""
    found: dict[str, Any] = {}
    for record in records.values():
        found |= record["config"] if isinstance(record["config"], dict) else {}
    found["prompts"] = prompts_from
    synthesis, selection = (
        {one.name: found[one.name] for one in fields(room) if one.name in found} for room in (Synthesis, Selection)
    )
    return Synthesis(**of_older(synthesis)), Selection(**selection)
