"""What the best rows teach: one region's rows against as many random ones, on questions that neither holds.

The questions are parted by their ids, before anything is ranked. Of the rest, the best rows of a region train the base
model, and as many random rows of those that could have been ranked, in as many steps. Both, and the base model, are
then asked the held-out questions of the region and of another one.

    training/                    the ranking of the rows that may be learned, as `caredio select` leaves it
    training/rows/<region>-<arm>/    the rows of an arm        training/models/<region>-<arm>/    what it became
    training/measured/<arm>-<of>.json    likelihoods and replies      training/<region>.png .svg
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import api, checkpoints, contents, disk, packages, prompts
from caredio.api import SelectOptions
from caredio.errors import InputError
from caredio.evaluation import majority, short_answers
from caredio.evaluation.benchmark import GENERATED, LIKELIHOOD, Document
from caredio.llm.local import model_path
from caredio.llm.spec import LOCAL_MODEL
from caredio.publishing.split import is_test
from caredio.training import arms, heldout, nested, pipeline, views
from caredio.training.arms import Arm
from caredio.training.options import Train
from caredio.training.pipeline import Source

log = logging.getLogger("caredio")

RAW, RANDOM, OURS = "raw", "random", "ours"
HELD_OUT = 0.4  # of the questions
_SEED = 0  # by which the random rows are drawn
# over the recipe's YAML, as in docs/proof.md: more steps of fewer rows, of like lengths
_FLAGS = "--per_device_train_batch_size 4 --gradient_accumulation_steps 1 --train_sampling_strategy group_by_length"
_EMBEDDED = "--learning_rate 1e-3 --lora_dropout 0"  # a rate at which 80 short answers change the embedded model


@dataclass(frozen=True)
class Size:
    """How much is trained and measured."""

    rows: int = 80
    steps: int = 40  # each row is learned from twice
    written: int = 40  # of a region's held-out questions, those to which answers are written


@dataclass(frozen=True)
class People:
    """What people answered.

    Attributes:
        answers: a row an answer of the regions that may be trained on.
        own: a row a region and question that has an own answer, of all regions.
    """

    answers: Dataset
    own: Dataset

    def asked(self, region: str) -> list[Document]:
        """The held-out questions to which the region has an own answer, and another region a rival one."""
        owns: dict[str, dict[str, str]] = {}
        for row in self.own:
            owns.setdefault(row["question_id"], {})[row["culture"]] = row["response"]
        found: dict[str, Document] = {}
        for row in self.answers:
            name = row["question_id"]
            if row["culture"] == region and is_test(name, HELD_OUT) and region in owns.get(name, {}):
                document = found.setdefault(name, {"id": name, "culture": region, "language": "en", "answers": []})
                document |= {"question": row["question"], "own": owns[name][region]}
                answer = {"text": row["response"], "weight": row["annotators"], "also": list(row["also"])}
                document["answers"].append(answer)
        for name, document in found.items():
            said = [text for one in document["answers"] for text in (one["text"], *one["also"])]
            others = {other: text for other, text in owns[name].items() if other != region}
            rivals = majority.rivals(others, said)
            document["rivals"] = [{"culture": other, "text": text} for other, text in rivals.items()]
        return [found[name] for name in sorted(found, key=_drawn) if found[name]["rivals"]]


@dataclass(frozen=True)
class Measured:
    """What a model answered to the held-out questions of a region.

    Attributes:
        nats: question -> the log-likelihood of each text that `short_answers.choices` names.
        replies: question -> what it wrote.
    """

    nats: Mapping[str, list[float]]
    replies: Mapping[str, str]

    def scores(self, documents: Iterable[Document]) -> dict[str, dict[str, float]]:
        """Metric -> question -> score."""
        found: dict[str, dict[str, float]] = {}
        for document in documents:
            name = document["id"]
            scores = short_answers.by_likelihoods(document, self.nats[name])
            if name in self.replies:
                scores |= short_answers.by_replies(document, [self.replies[name]])
            for metric, score in scores.items():
                found.setdefault(metric, {})[name] = score
        return found


class Trial:
    """A region's training, whose arguments are checked."""

    def __init__(
        self,
        people: People,
        out: Path,
        region: str,
        ranking: SelectOptions,
        model: str | None = None,
        size: Size = Size(),
    ) -> None:
        """Check what is needed; nothing is ranked or trained.

        Args:
            people: what people answered.
            out: folder of all that is made.
            region: whose rows are learned.
            ranking: how rows are ranked.
            model: base model, by name or folder; None is the recipe's.
            size: how much is trained and measured.

        Raises:
            InputError: a package is missing, or the model cannot be used.
        """
        packages.require("quickstart --train", "train", *pipeline.PACKAGES)
        packages.require("quickstart --train", "eval", "snowballstemmer")
        self.people, self.out, self.region, self.ranking, self.size = people, out, region, ranking, size
        regions = list(dict.fromkeys(people.answers["culture"][:]))
        self.other = regions[(regions.index(region) + 1) % len(regions)]
        self.train = Train(model=model, flags=f"{_FLAGS} {_EMBEDDED}" if model is None else _FLAGS)
        self.method = pipeline.method(self.train)
        self.base = Base(self.method.values)
        self.learned: dict[str, Dataset] = {}
        self.could_be_ranked = 0
        self.documents = {of: people.asked(of) for of in (region, self.other)}

    def rows(self) -> None:
        """Rank the rows that may be learned, and draw as many random ones; what is ranked is not ranked again.

        Raises:
            InputError: the region has no ranked row.
        """
        names, answers = self.people.answers["question_id"], self.people.answers
        allowed = answers.select([row for row, name in enumerate(names) if not is_test(name, HELD_OUT)])
        made = api.select(allowed, out=self.out, **self.ranking)
        best, pool = (views.of_culture(table, self.region) for table in (made.ranked, made.pool))
        able = pool.select([row for row, compared in enumerate(pool["compared"][:]) if compared])
        if not (n := min(self.size.rows, len(best))):
            raise InputError(f"{self.region}: no row that may be learned is ranked; name another region.")
        drawn = nested.by_chance(able["sample_id"][:], _SEED)[:n]
        chosen = {OURS: best.select(range(n)), RANDOM: nested.as_ranked(able.select(drawn))}
        self.learned = {arm: views.sft(rows) for arm, rows in chosen.items()}
        self.could_be_ranked = len(able)

    def models(self) -> dict[str, Path | None]:
        """Arm -> the folder of its adapter, which is trained where it is not there; None of the raw model."""
        found: dict[str, Path | None] = {RAW: None}
        with pipeline.working(self.out / "models"):
            for name, rows in self.learned.items():
                arm = self._arm(name, rows)
                pipeline.run(arm, arms.finished(arm), self.train)
                found[name] = arm.folder
        return {name: found[name] for name in (RAW, RANDOM, OURS)}

    def _arm(self, name: str, rows: Dataset) -> Arm:
        place = self.out / "rows" / f"{self.region}-{name}"
        pipeline.keep(rows, place)
        source = Source(self.region, str(place), "default")
        folder = self.out / "models" / f"{self.region}-{name}"
        given = {"budget": 0, "max_steps": self.size.steps}
        return self.method.arm(f"{self.region}, {name} rows", folder, source, rows, **given)

    def measured(self, models: Mapping[str, Path | None]) -> dict[tuple[str, str], Measured]:
        """(arm, region) -> what its model answered; what was measured is not measured again."""
        found = {}
        for arm, adapter in models.items():
            for of, documents in self.documents.items():
                called = arm if adapter is None else f"{self.region}-{arm}"
                file = self.out / "measured" / f"{called}-of-{of}.json"
                found[arm, of] = self.base.measured(documents, adapter, file, self.size.written)
        return found


class Base:
    """The base model, loaded when something is to be measured, on which adapters are put."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Raises: InputError: there is no such model."""
        name = values["model_name_or_path"]
        self._source = str(model_path()) if name == LOCAL_MODEL else str(name)
        checkpoints.check_model(self._source)
        self._dtype = str(values.get("dtype", "auto"))
        self._model: heldout.Model | None = None

    def measured(self, documents: Sequence[Document], adapter: Path | None, file: Path, written: int) -> Measured:
        """What the model, or an adapter on it, answers; kept in a file.

        Args:
            documents: the questions.
            adapter: folder; None asks the model as it is.
            file: where it is kept.
            written: how many of the questions are answered in writing.
        """
        weights = adapter or checkpoints.folder(self._source)
        asked = {variant: _prompts(documents, variant) for variant in (LIKELIHOOD, GENERATED)}
        texts = [short_answers.choices(document) for document in documents]
        told = json.dumps([asked, texts, written, short_answers.TOKENS])
        made_from = {
            "asked": hashlib.sha256(told.encode()).hexdigest(),
            "weights": checkpoints.sha256(weights),
            "by": contents.of_file(Path(heldout.__file__)),
        }
        if file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["made_from"] == made_from:
                return Measured(kept["nats"], kept["replies"])
        log.info("%s  asked %d questions, %d answers to write", file.stem, len(documents), min(written, len(documents)))
        if self._model is None:
            packages.quiet_transformers()
            self._model = heldout.Model(self._source, self._dtype)
        names = [document["id"] for document in documents]
        nats = self._model.likelihoods(asked[LIKELIHOOD], texts, adapter)
        replies = self._model.replies(asked[GENERATED][:written], adapter, short_answers.TOKENS)
        found = Measured(dict(zip(names, nats, strict=True)), dict(zip(names, replies, strict=False)))
        with disk.writing(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(file) as content:
            content.write(json.dumps({"made_from": made_from, "nats": found.nats, "replies": found.replies}).encode())
        return found


def _prompts(documents: Sequence[Document], variant: str) -> list[list[dict[str, str]]]:
    prompt = prompts.load(short_answers.KIND.prompt)
    turns = [short_answers.turns(document, prompt, variant)[0] for document in documents]
    return [[{"role": "user", "content": turn}] for turn in turns]


def _drawn(question_id: str) -> str:
    """The order in which questions are asked, so that the first ones are drawn by chance."""
    return hashlib.sha256(f"asked/{question_id}".encode()).hexdigest()
