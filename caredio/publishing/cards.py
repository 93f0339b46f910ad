"""Cards of datasets and models, filled from what was built: nothing in them that a build knows is typed by hand."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from datasets import Dataset

from caredio import disk
from caredio.cultures import Culture
from caredio.llm.spec import LOCAL_MODEL
from caredio.markdown import code
from caredio.publishing import metadata
from caredio.publishing.settings import Settings
from caredio.publishing.split import is_test
from caredio.runs import Run, config
from caredio.selection import pipeline as selection_pipeline
from caredio.synthesis import pipeline as synthesis_pipeline
from caredio.training import style, views
from caredio.training.recipe import RECIPES

# what a model card shows of training.json before all of it
_SHORT = {
    *(f"hyperparameters.{name}" for name in ("learning_rate", "rows_per_step", "num_train_epochs", "beta")),
    *("result.first_loss", "result.last_loss"),
}


def dataset_card(
    run: Run,
    settings: Settings,
    folder: Path,
    splits: dict[str, dict[str, int]],
    slugs: dict[str, str],
    known: dict[str, Culture],
    name: str,
    own_prompts: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> str:
    """The README.md of a dataset release; its YAML head makes every folder a config of `load_dataset`.

    Args:
        folder: holds `<config>/<split>.parquet`.
        splits: config -> split -> rows, of what is there.
        slugs: culture -> what its configs are called, as `cultures.slugs` gives it.
        known: cultures by slug.
        name: the dataset's name.
        own_prompts: names of prompts of the release that are not the shipped ones; those of stages are in their
            entries.
        changes: lines on what differs from the release before; they are shown as code.
    """
    ranked, pool = run.table("ranked"), run.table("scored")
    stages = _behind(run.stages, "ranked")
    source = stages["candidates"]["made_from"]["source"]  # of a table of one's own; nothing where we wrote it
    languages = metadata.languages(ranked["language"]) or ([] if source else ["en"])
    license_ = settings.license or ("unknown" if source else "other")
    head = {
        "license": license_,
        **({"language": languages} if languages else {}),
        "task_categories": ["text-generation"],
        "tags": ["culture", "alignment", "caredio"],
        "size_categories": [metadata.size_category(len(ranked))],
        "configs": [_config(folder, config_name, held) for config_name, held in splits.items()],
    }
    return _render(
        "caredio.dataset_card",
        head=_head(head),
        name=name,
        version=settings.version,
        **_example(splits, [slugs[culture] for culture in sorted(slugs, key=slugs.__getitem__)], name),
        views={view for slug in slugs.values() for view in _VIEWS if f"{slug}-{view}" in splits},
        order=selection_pipeline.describe_order(stages),
        parts=_parts(ranked, splits["all"], settings.test_share),
        cultures=_cultures(ranked, pool, splits, slugs, known),
        caredio=", ".join(sorted({entry["made_from"]["version"] for entry in stages.values()})),
        source=source,
        **_writers(ranked, bool(source)),
        method=[
            *([] if source else synthesis_pipeline.describe(stages)),
            *selection_pipeline.describe(stages),
            views.describe(run.stages["preference"], bool(source)),
            *_own_prompts(stages, own_prompts),
        ],
        sides=_sides(run.stages["preference"].get("sides", {}), slugs),
        limits=selection_pipeline.describe_limits(stages),
        stages=[
            {"name": stage, "rows": entry["rows"], "dropped": _dropped(entry)}
            for stage, entry in stages.items()
            if stage != "vectors"
        ],
        license=license_,
        stated=bool(settings.license),
        attribution=settings.attribution,
        terms=settings.terms,
        reviewed_by=settings.reviewed_by,
        changes=changes,
    )


def _own_prompts(stages: Mapping[str, Any], more: Sequence[str]) -> list[str]:
    """A sentence on prompts that are not the shipped ones; none where all are."""
    own = sorted({*more, *(name for entry in stages.values() for name in entry["made_from"].get("own_prompts", ()))})
    if not own:
        return []
    changed = ", ".join(f"`{name}.txt`" for name in own)
    return [f"Prompts: {changed} {'were' if len(own) > 1 else 'was'} changed by who built this."]


def model_card(record: dict[str, Any], settings: Settings, results: Iterable[dict[str, Any]] | None, name: str) -> str:
    """The README.md of a model release.

    Args:
        record: the recipe's training.json.
        results: rows of `features.RESULTS` measured on these weights; those on the model's cultures are shown.
        name: the model's name.
    """
    adapter = record["method"] != "full"
    recipe = record["recipe"]
    scores = recipe == "reward"
    cultures = record.get("cultures") or ([record["dataset_config"]] if record["dataset_config"] else [])
    head = {
        "license": settings.license or "other",
        **({"base_model": record["base_model"]} if _on_hub(record["base_model"]) else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification" if scores else "text-generation",
        "tags": ["culture", "alignment", "caredio", recipe],
    }
    facts = [(key, value) for key, value in _flat(record) if value is not None]
    return _render(
        "caredio.model_cards",
        head=_head(head),
        name=name,
        version=settings.version,
        base=record["base_model"],
        cultures=cultures,
        method=f"{recipe} ({record['method']})",
        recipe=recipe,
        about=RECIPES[recipe].about if recipe in RECIPES else None,
        scores=scores,
        kind="ModelForSequenceClassification" if scores else "ModelForCausalLM",
        rows=record["rows"],
        dataset=record["dataset_name"],
        adapter=adapter,
        short=[(key.rpartition(".")[2], value) for key, value in facts if key in _SHORT],
        facts=facts,
        results=[row for row in results or [] if row["culture"] in cultures or not cultures],
        license=settings.license or "other",
        terms=settings.terms,
        reviewed_by=settings.reviewed_by,
    )


def _render(package: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown; foreign text goes through `code`)
    )
    environment.filters["code"] = code
    environment.filters["line"] = lambda text: " ".join(str(text).split())
    environment.filters["py"] = _literal
    template = resources.files(package).joinpath("README.md.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(**values)
    page = re.sub(r"\n{3,}", "\n\n", page)
    return page.encode("utf-8", "backslashreplace").decode()  # a folder's name may be no text


def _on_hub(model: str) -> bool:
    """Whether a base model's name can be a Hub's: the Hub refuses a card that names a folder."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model) is not None and not Path(model).exists()


def _literal(text: str) -> str:
    """Text as a Python literal on one line."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)


def _head(values: dict[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n\n"


def _config(folder: Path, name: str, splits: dict[str, int]) -> dict[str, Any]:
    entry = config(name, {split: disk.named(folder, name) / f"{split}.parquet" for split in splits})
    for file in entry["data_files"]:
        file["path"] = f"{name}/{file['path']}"
    return {**entry, **({"default": True} if name == "all" else {})}


_FIRST = 200  # rows that the card's example takes, where as many are there
_VIEWS = ("preference", "unpaired", "pool", "vectors")


def _behind(stages: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The entries in run.json of a stage and of all that its table was made from, in the order they ran."""
    found, waiting = {name}, [name]
    while waiting:
        inputs = [stage for stage in stages[waiting.pop()]["made_from"]["inputs"] if stage not in found]
        found.update(inputs)
        waiting += inputs
    return {stage: entry for stage, entry in stages.items() if stage in found}


def _example(splits: dict[str, dict[str, int]], slugs: list[str], name: str) -> dict[str, Any]:
    """What the card shows how to load: the first culture that has rows to train on, and TRL's commands for it."""
    split = "train" if "train" in splits["all"] else "test"
    example = next(slug for slug in slugs if split in splits.get(slug, {}))
    configs = [("sft", example), ("dpo", f"{example}-preference")]
    commands = [
        f"trl {method} --dataset_name {shlex.quote(name)} --dataset_config {config}"
        for method, config in configs
        if "train" in splits.get(config, {})
    ]
    return {"example": example, "split": split, "first": min(_FIRST, splits[example][split]), "commands": commands}


def _parts(ranked: Dataset, splits: dict[str, int], share: float) -> str:
    """What the splits hold, as the rows were split."""
    if len(splits) == 1:
        return f"Every ranked row is in `{next(iter(splits))}`."
    questions = set(ranked["question_id"])
    test = sum(is_test(question, share) for question in questions)
    return (
        f"`test` holds {test} of the {len(questions)} ranked questions ({100 * test / len(questions):.3g} %), the same"
        " ones in every culture; ranks count within a split."
    )


def _cultures(
    ranked: Dataset, pool: Dataset, splits: dict[str, dict[str, int]], slugs: dict[str, str], known: dict[str, Culture]
) -> list[dict[str, Any]]:
    """A line of the card's table for every culture that has a ranked row."""
    candidates = Counter(pool["culture"])
    scores: dict[str, list[float]] = {}
    for culture, score in zip(ranked["culture"], ranked["score"], strict=True):
        scores.setdefault(culture, []).append(score)
    return [
        {
            "slug": slugs[culture],
            "name": known[culture].name if culture in known else code(culture),
            "train": splits.get(slugs[culture], {}).get("train", 0),
            "test": splits.get(slugs[culture], {}).get("test", 0),
            "pool": candidates[culture],
            "best": max(scores[culture]),
            "median": median(scores[culture]),
            "last": min(scores[culture]),
        }
        for culture in sorted(scores)
    ]


def _sides(report: Mapping[str, Any], slugs: Mapping[str, str]) -> list[dict[str, Any]]:
    """A line of the card's table on what tells chosen from rejected, for every culture that has pairs."""
    return [
        {
            "slug": slugs[culture],
            "pairs": one["pairs"],
            "characters": one["characters"],
            "told_apart": [
                f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})" if (found := one["told_apart"][name]) else "-"
                for name in style.MEASURES
            ],
        }
        for culture, one in report.items()
    ]


def _writers(ranked: Dataset, own: bool) -> dict[str, Any]:
    """Who the rows say wrote them; `small` where the embedded model did, in this build."""
    generators = _values(ranked["generator"])
    revisions = [revision for revision in _values(ranked["model_revision"]) if revision not in generators]
    return {"generators": generators, "revisions": revisions, "small": LOCAL_MODEL in generators and not own}


def _values(column: Any) -> list[str]:
    return sorted({value for value in column if value})


def _dropped(entry: dict[str, Any]) -> str:
    return ", ".join(f"{count} {code(reason)}" for reason, count in entry["dropped"].items()) or "none"


def _flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in record.items():
        flat += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return flat
