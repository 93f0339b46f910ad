"""What a release is: a folder that `load_dataset` or `from_pretrained` reads, with a card and release.json.

    china/train.parquet, china/test.parquet     the ranked selection, and a share held out by question
    all/...                                     every culture, interleaved by rank, named before the question (default)
    china-preference/...  china-unpaired/...    these rows over other cultures' answers, in pairs and one by one
    china-pool/  china-vectors/                 all that was scored, and its embeddings

A culture's configs are named by its slug, as `cultures.slugs` gives it.
    README.md  release.json

Equal inputs give equal bytes, by which a release that is there already is known.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import checkpoints, cultures, disk, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import entries
from caredio.evaluation.benchmark import VARIED
from caredio.markdown import as_json
from caredio.publishing import (
    additions,
    cards,
    citation,
    croissant,
    diff,
    figures,
    head,
    kept,
    parquet,
    provenance,
    removals,
    screening,
)
from caredio.publishing.record import EVERYONE, RECORD, Release, foreign, same
from caredio.publishing.scoring import Scoring
from caredio.publishing.settings import Settings
from caredio.publishing.split import is_test
from caredio.publishing.versions import FIRST, proposed
from caredio.report import figures as of_run
from caredio.report import phrases
from caredio.runs import Run, version
from caredio.training import views

TABLES = ("ranked", "scored", "vectors", "preference")
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Over:
    """What a release is made over.

    Attributes:
        last: the release before, which the version and the changelog follow; None of the first one.
        base: the release whose other cultures stay in this one.
        removed: sample_ids that are left out.
        rejected: those of them that raters rejected and nobody asked to remove.
        repo: where on the Hub it goes, `owner/name`; None where it stays in its folder.
        agreed: called with the folder in which the release is written and what its release.json will hold, before
            anything takes its place; what it raises leaves everything as it was.
    """

    last: Release | None = None
    base: Release | None = None
    removed: Sequence[str] = ()
    rejected: Sequence[str] = ()
    repo: str | None = None
    agreed: Callable[[Path, dict[str, Any]], None] = lambda making, record: None


def dataset(
    run: Run,
    folder: Path,
    settings: Settings,
    known: dict[str, Culture],
    name: str,
    prompt_folders: str | None = None,
    over: Over = Over(),
    kept_texts: Collection[str] = (),
) -> dict[str, Any]:
    """Write the run's ranked split as a dataset release.

    Args:
        run: holds finished ranked, scored, vectors and preference stages.
        folder: the release; replaced when it is there.
        known: cultures by slug, for the names in `all` and the card.
        name: what the card calls the dataset (`owner/name` or the folder's).
        prompt_folders: whose `views.txt` names the culture in `all`; the run records it.
        kept_texts: settings that were not given and are as in the release before.

    Returns:
        What release.json holds: version, counts and hash of every file.

    Raises:
        InputError: a stage is missing; a text holds what is not published; `folder` is something else than a release.
    """
    tables = removals.without({stage: run.table(stage) for stage in TABLES}, over.removed)
    slugs = cultures.slugs([*tables["ranked"]["culture"][:], *tables["scored"]["culture"][:]])
    staying = additions.NOTHING
    if over.base:
        staying = additions.staying(over.base, slugs, settings.share, over.removed)
    configs = [one for one in _tables(tables, staying, settings, slugs, known, prompt_folders) if len(one[-1])]
    screening.check(configs, {name: known[slug].country for name, slug in slugs.items() if slug in known})
    with _replacing(folder) as making:
        splits = _write(making, configs, staying)
        own = [] if prompts.load("views", prompt_folders).shipped else ["views"]
        whole = staying.beside(tables)
        stated = kept.stated_of(kept_texts, over.last or over.base, slugs, staying.slugs)
        settings = kept.without(settings, stated)
        stated = {name: those for name, those in stated.items() if those}
        in_words = {name: head.listed(those, known) for name, those in stated.items()}
        made = provenance.of_run(run, own, tables, whole, staying.added(sorted(slugs), known), in_words)
        groups = staying.groups(slugs)
        slugs |= staying.slugs
        title = head.title(over.repo, slugs, known)
        shown = of_run.Tables(whole["ranked"], whole["scored"], whole["vectors"])
        told = phrases.distinctive(shown.responses())
        pictures = figures.of_dataset(making, splits, shown, told)

        def describe(version: str, changes: Sequence[str]) -> dict[str, Any]:
            chosen, lines = replace(settings, version=version), [*changes, *staying.lines()]
            page = (making, splits, slugs, known, name, made, title, over.repo, pictures, told, lines, whole)
            (making / "README.md").write_text(cards.dataset_card(run, chosen, *page), encoding="utf-8")
            croissant.write(making, splits, made, chosen, title, over.repo)
            citation.write(making, chosen, title, over.repo, in_words.get("attribution", ""))
            record = {"kind": "dataset", "version": version, "rows": splits, "test_share": settings.share}
            about: dict[str, Any] = {"columns": _columns(making, splits), "scored": Scoring.of_run(run).record()}
            left_out: dict[str, Any] = {"removed": sorted(over.removed), "rejected": sorted(over.rejected)}
            left_out |= {"removed_scored": len(removals.named(run.table("scored")).intersection(over.removed))}
            about |= {"contrasted": staying.contrasted(views.settings_of(run)[1])}
            parts = {name: value for name, value in (("stated_of", stated), ("groups", groups)) if value}
            return record | kept.stated(settings) | left_out | about | parts

        record = _versioned(making, settings.version, over.last, describe)
        over.agreed(making, record)
        run.use_prompts(["views"], prompt_folders)
        return record


def _write(
    making: Path, configs: Iterable[tuple[str, str, Dataset]], staying: additions.Staying
) -> dict[str, dict[str, int]]:
    """Write every config; config -> split -> rows."""
    splits: dict[str, dict[str, int]] = {}
    for config_name, split, table in configs:
        parquet.write(table, disk.named(making, config_name) / f"{split}.parquet")
        splits.setdefault(config_name, {})[split] = len(table)
    staying.copy(making)
    return {**splits, **staying.splits}


def _columns(making: Path, splits: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
    """View -> column -> type of what was written."""
    paths = {name: [disk.named(making, name) / f"{split}.parquet" for split in held] for name, held in splits.items()}
    return diff.schema(paths)


def _versioned(
    making: Path,
    asked: str | None,
    last: Release | None,
    describe: Callable[[str, Sequence[str]], dict[str, Any]],
) -> dict[str, Any]:
    """Describe and sign what was written, as the version that was asked for or as the next one.

    What is as it was in the last release keeps its version.

    Args:
        describe: writes what holds a version (the card), and gives the record.
    """

    def signed(version: str, changes: Sequence[str]) -> dict[str, Any]:
        record = describe(version, changes)
        return _sign(making, record | {"changes": list(changes)})

    record = signed(asked or (last.version if last else FIRST), last.changes if last else ())
    if last is None or same(record, last.record) or (asked == last.version and not last.changes):
        return record
    found = diff.compare(last.path, making, (last.version, ""))
    if asked == last.version:  # takes its place: what was said of other data is not true of this
        return signed(asked, ()) if found.data_differs else record
    return signed(asked or proposed(last.version, found)[0], found.lines())


def model(
    source: Path, folder: Path, settings: Settings, results: Dataset | None, name: str, over: Over = Over()
) -> dict[str, Any]:
    """Write what a recipe trained as a model release.

    Args:
        source: the recipe's output folder: weights or adapter, tokenizer and training.json.
        folder: the release; replaced when it is there.
        results: the rows of all evaluations; the card shows those measured on exactly these weights.
        name: what the card calls the model.

    Returns:
        What release.json holds.

    Raises:
        InputError: `source` was not written by a recipe; `folder` is something else than a release.
    """
    if (source / checkpoints.TUNED).exists():
        raise InputError(
            f"{source}: its model is kept by the API that tuned it, so there are no weights to release;"
            f" {checkpoints.TUNED} records it."
        )
    training = source / checkpoints.RECORD
    if not training.exists() or not any((source / weights).exists() for weights in _WEIGHTS):
        raise InputError(f"{source}: is no trained model (weights and training.json); train one with recipes/sft.py.")
    try:
        record = json.loads(training.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{training}: is damaged; train the model again.") from None
    if settings.version:
        _check_same(folder, record, settings.version)
    measured = _measured(source, record.get("base_sha256"), results or ())
    with _replacing(folder) as making:
        for file in sorted(source.iterdir()):
            if file.is_file() and file.suffix in (".json", ".safetensors", ".jinja", ".model"):
                shutil.copyfile(file, making / file.name)
        for path, text in entries.files(measured).items():
            (making / path).parent.mkdir(exist_ok=True)
            (making / path).write_text(text, encoding="utf-8")

        pictures = figures.of_model(making, record)

        def describe(version: str, changes: Sequence[str]) -> dict[str, Any]:
            card = cards.model_card(record, replace(settings, version=version), measured, name, over.repo, pictures)
            (making / "README.md").write_text(card, encoding="utf-8")
            return {"kind": "model", "version": version, "training": record} | kept.stated(settings)

        made = _versioned(making, settings.version, over.last, describe)
        over.agreed(making, made)
        return made


def _check_same(folder: Path, record: dict[str, Any], version: str) -> None:
    """See that a folder holds no release of another training under the same version.

    Raises:
        InputError: it does.
    """
    if not (folder / RECORD).is_file():
        return
    try:
        before = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except ValueError:
        return
    if before.get("version") == version and before.get("training") not in (None, record):
        raise InputError(
            f"{folder}: holds {version} of another training ({before['training'].get('recipe')}); name another folder"
            " with to, or another version."
        )


def _measured(source: Path, base: str | None, results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows measured on the weights in a folder, on the base that they were trained on (any where that is unknown).

    Rows of a release that kept no hashes match nothing.
    """
    weights = checkpoints.sha256(source)
    return [
        row
        for row in results
        if row.get("weights_sha256") == weights
        and (base is None or row["base_sha256"] in (None, base))
        and VARIED not in row["benchmark"]
    ]


def _tables(
    tables: Mapping[str, Dataset],
    staying: additions.Staying,
    settings: Settings,
    slugs: dict[str, str],
    known: dict[str, Culture],
    prompt_folders: str | None,
) -> Iterator[tuple[str, str, Dataset]]:
    """(config, split, table) of everything a dataset release holds, but for the cultures that stay."""
    ranked, pool, vectors, pairs = (tables[name] for name in TABLES)
    held_out = [is_test(question_id, settings.share) for question_id in ranked["question_id"][:]]
    names = {slug: culture.name for slug, culture in known.items()}
    for split, test in (("train", False), ("test", True)):
        rows = views.ranked_anew(ranked.select([row for row, out in enumerate(held_out) if out == test]))
        everyone = staying.with_ranked(rows, split)
        if not len(everyone):
            continue
        yield EVERYONE, split, views.interleaved(everyone, names, prompt_folders)
        for culture in sorted(set(ranked["culture"][:])):
            own = views.of_culture(rows, culture)
            yield slugs[culture], split, own
            preferred = views.pairs_of(own, pairs)
            yield f"{slugs[culture]}-preference", split, preferred
            yield f"{slugs[culture]}-unpaired", split, views.unpaired(preferred)
    named = vectors["sample_id"][:]  # as a list, since a column is read row by row
    pooled = set(pool["sample_id"][:])  # whose vectors lie beside their own culture's pool
    for culture, slug in slugs.items():
        samples = views.of_culture(pool, culture)
        yield f"{slug}-pool", "train", samples
        used = set(samples["sample_id"][:])
        for column in ("others", "panel"):  # distinctiveness reads the former, typicality the latter
            beside = {answer["sample_id"] for answers in samples[column] for answer in answers}
            used |= beside - pooled
        rows = [row for row, name in enumerate(named) if name in used]
        yield f"{slug}-vectors", "train", vectors.select(rows)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A folder to write the release into, which takes the place of `folder` once it is whole.

    Raises:
        InputError: `folder` holds something that is no release, or the disk refuses; what stood there stays.
    """
    making, old = (folder.with_name(f".{folder.name}.{what}") for what in ("making", "old"))
    with disk.writing(folder):
        if old.exists() and not folder.exists():  # an earlier command was stopped between the two moves below
            old.rename(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).exists():
            raise InputError(f"{folder}: is not empty and holds no {RECORD}; name another folder to release into.")
        shutil.rmtree(making, ignore_errors=True)
        try:
            making.mkdir(parents=True)
            yield making
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sign(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write release.json last: with it the folder is a release."""
    (folder / RECORD).unlink(missing_ok=True)
    files = {
        disk.name(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not foreign(disk.name(file.relative_to(folder)))
    }
    record = {**record, "caredio": version(), "files": files}
    (folder / RECORD).write_text(as_json(record) + "\n", encoding="utf-8")
    return record
