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
from types import MappingProxyType
from typing import Any

import yaml
from datasets import Dataset

from caredio import cultures as culture_files
from caredio import disk
from caredio.cultures import Culture
from caredio.llm.spec import LOCAL_MODEL
from caredio.markdown import as_json, code
from caredio.publishing import citation, columns, head, metadata, parquet
from caredio.publishing.figures import Figure
from caredio.publishing.provenance import Made
from caredio.publishing.settings import Settings
from caredio.publishing.split import is_test
from caredio.publishing.versions import FIRST
from caredio.runs import Run
from caredio.selection import pipeline as selection_pipeline
from caredio.training import style
from caredio.training.recipe import RECIPES

# what a model card shows of training.json before all of it; beta is of preference recipes, lora.r of adapters
_HYPERPARAMETERS = ("learning_rate", "rows_per_step", "num_train_epochs", "beta")
SHORT = (*(f"hyperparameters.{name}" for name in _HYPERPARAMETERS), "lora.r")


def dataset_card(
    run: Run,
    settings: Settings,
    folder: Path,
    splits: dict[str, dict[str, int]],
    slugs: dict[str, str],
    known: dict[str, Culture],
    name: str,
    made: Made,
    title: str | None = None,
    repo: str | None = None,
    figures: Sequence[Figure] = (),
    phrases: Mapping[str, Sequence[tuple[str, float]]] = MappingProxyType({}),
    changes: Sequence[str] = (),
    tables: Mapping[str, Dataset] | None = None,
) -> str:
    """The README.md of a dataset release; its YAML head makes every folder a config of `load_dataset`.

    Args:
        folder: holds `<config>/<split>.parquet`, and `figures/`.
        splits: config -> split -> rows, of what is there.
        slugs: culture -> what its configs are called, as `cultures.slugs` gives it.
        known: cultures by slug.
        name: what `load_dataset` is given: the repository or the folder.
        made: how the rows came about.
        title: the dataset's; by default the name.
        repo: its name on the Hub; None where it stays in its folder.
        figures: pictures of the release, the first to be shown near the top.
        phrases: culture -> what tells its answers from others', with their scores.
        changes: lines on what differs from the release before; they are shown as code.
        tables: `ranked`, `scored` and `preference` as they are released; by default those of the run.
    """
    ranked, pool = (tables[name] if tables else run.table(name) for name in ("ranked", "scored"))
    license_ = settings.license or made.license
    title = title or name
    written = (made.languages, made.source, made.writers, made.added is not None)
    front = head.of_dataset(folder, splits, title, license_, *written)
    return _render(
        "caredio.dataset_card",
        head=_head(front),
        title=title,
        name=name,
        version=settings.version or FIRST,
        **_example(splits, [slugs[culture] for culture in sorted(slugs, key=slugs.__getitem__)], name),
        **_columns(folder, splits, bool(made.source)),
        views={view for slug in slugs.values() for view in head.VIEWS if f"{slug}-{view}" in splits},
        order=selection_pipeline.describe_order(made.stages),
        parts=_parts(ranked, splits["all"], settings.share),
        rows=sum(splits[head.DEFAULT].values()),
        cultures=_cultures(ranked, pool, splits, slugs, known),
        samples=_samples(ranked, known, settings.share),
        figures=figures,
        phrases=[(_shown(culture, known), [one for one, _ in told]) for culture, told in phrases.items() if told],
        made=made,
        small=LOCAL_MODEL in made.generators and not made.source,
        **_stages(made),
        sides=_sides(made.sides, slugs),
        license=license_,
        deed=metadata.deed(license_),
        settings=settings,
        bibtex=citation.BIBTEX,
        own_bibtex=citation.bibtex(settings, title, repo) if settings.authors else "",
        changes=changes,
    )


def _stages(made: Made) -> dict[str, Any]:
    """What the card says of the stages: rows, drops, models, prompts, seeds and cost."""
    costs = [one.cost for one in made.asked]
    return {
        "stages": [
            {"name": stage, "rows": entry["rows"], "dropped": _dropped(entry)}
            for stage, entry in made.stages.items()
            if stage != "vectors"
        ],
        "cost": None if None in costs else sum(cost or 0 for cost in costs),
        "seeds": made.seeds,
    }


def _columns(folder: Path, splits: Mapping[str, Mapping[str, int]], of_a_table: bool) -> dict[str, Any]:
    """The columns of the card's tables, those that hold nothing, and a row of the default config as an example."""
    first = {view: min((name for name in splits if name.endswith(f"-{view}")), default=None) for view in head.VIEWS}
    kinds = {"ranked": head.DEFAULT, **{view: name for view, name in first.items() if name}}
    files = {kind: disk.named(folder, name) / f"{next(iter(splits[name]))}.parquet" for kind, name in kinds.items()}
    described = columns.described({kind: parquet.features(file) for kind, file in files.items()}, of_a_table)
    paths = (disk.named(folder, name) / f"{split}.parquet" for name, held in splits.items() for split in held)
    filled = set().union(*map(parquet.filled, paths))
    every = [column for column in described if column.name in filled]
    row = parquet.first(files["ranked"])
    return {
        "main": [column for column in every if column.name in columns.MAIN],
        "every": every,
        "unused": [column.name for column in described if column.name not in filled],
        "row": as_json({name: row[name] for name in row if name in columns.MAIN and name != "others"}),
    }


def _samples(ranked: Dataset, known: Mapping[str, Culture], share: float) -> list[dict[str, Any]]:
    """The best rows of each culture, each with its split and its rank there, beside what another culture answered."""
    taken: Counter[str] = Counter()
    ranks: Counter[tuple[str, str]] = Counter()
    found: list[dict[str, Any]] = []
    for row in ranked.select_columns(["culture", "question_id", "question", "response", "others"]):
        split = "test" if is_test(row["question_id"], share) else "train"
        ranks[row["culture"], split] += 1
        if taken[row["culture"]] < SAMPLES:
            taken[row["culture"]] += 1
            other = next(iter(row["others"]), None)
            answer = f"{_shown(other['culture'], known)}: {code(clipped(other['response']))}" if other else "-"
            texts = {name: code(clipped(row[name])) for name in ("question", "response")}
            place = ranks[row["culture"], split]
            found.append(
                {"culture": _shown(row["culture"], known), "split": split, "rank": place, **texts, "other": answer}
            )
    return sorted(found, key=lambda one: one["culture"])


def _shown(culture: str, known: Mapping[str, Culture]) -> str:
    """A culture's name, or what the table calls it, as code."""
    return known[culture].name if culture in known else code(culture)


def clipped(text: str) -> str:
    """A text as long as a card shows one."""
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}\u2026"


def model_card(
    record: dict[str, Any],
    settings: Settings,
    results: Iterable[dict[str, Any]] | None,
    name: str,
    repo: str | None = None,
    figures: Sequence[Figure] = (),
) -> str:
    """The README.md of a model release.

    Args:
        record: the recipe's training.json.
        results: rows of `features.RESULTS` measured on these weights; those on the model's cultures are shown.
        name: the model's name.
        repo: its name on the Hub; None where it stays in its folder.
        figures: pictures of the training.
    """
    adapter, recipe = _is_adapter(record), record["recipe"]
    scores = recipe == "reward"
    cultures = record.get("cultures") or ([record["dataset_config"]] if record["dataset_config"] else [])
    measured = {one.slug for one in culture_files.named(cultures, culture_files.load()).values()}
    measured.add(record["dataset_config"])
    facts = {key: value for key, value in flat(record) if value is not None}
    losses = [facts.get(f"result.{name}_loss") for name in ("first", "last")]
    return _render(
        "caredio.model_cards",
        head=_head(_model_head(record, settings.license or "other")),
        name=name,
        version=settings.version or FIRST,
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
        short=[(key.removeprefix("hyperparameters."), facts[key]) for key in SHORT if key in facts],
        loss=None if None in losses else losses,
        figures=figures,
        facts=facts.items(),
        results=[row for row in results or [] if row["culture"] in measured or not cultures],
        license=settings.license or "other",
        terms=settings.terms,
        reviewed_by=settings.reviewed_by,
        bibtex=citation.BIBTEX,
        authors=settings.names,
        own_bibtex=citation.bibtex(settings, Path(name).name, repo, "") if settings.authors else "",
    )


def _is_adapter(record: Mapping[str, Any]) -> bool:
    """Whether the weights are an adapter's; `caredio export` merges one."""
    return record["method"] != "full" and "merged" not in record


def _model_head(record: Mapping[str, Any], license_: str) -> dict[str, Any]:
    """The YAML head of a model's card; of folders of this machine it names none."""
    adapter, base, data = _is_adapter(record), record["base_model"], record["dataset_name"]
    relation = {"base_model": base, "base_model_relation": "adapter" if adapter else "finetune"}
    return {
        "license": license_,
        **(relation if _on_hub(base) else {}),
        **({"datasets": [data]} if _on_hub(data) and "/" in data else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification" if record["recipe"] == "reward" else "text-generation",
        "tags": ["culture", "alignment", "caredio", record["recipe"]],
    }


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
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    template = resources.files(package).joinpath("README.md.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(**values)
    page = re.sub(r"\n{3,}", "\n\n", page)
    return page.encode("utf-8", "backslashreplace").decode()  # a folder's name may be no text


def _on_hub(name: str) -> bool:
    """Whether a name can be a repository's: the Hub refuses a card that names a folder."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not Path(name).exists()


def _literal(text: str) -> str:
    """Text as a Python literal on one line."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)


def _head(values: dict[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n\n"


FIRST_ROWS = 200  # rows that the card's example takes, where as many are there
SAMPLES, _LENGTH = 3, 160  # rows of a culture that the card shows, and characters of a text in them


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
    return {"example": example, "split": split, "first": min(FIRST_ROWS, splits[example][split]), "commands": commands}


def _parts(ranked: Dataset, splits: dict[str, int], share: float) -> str:
    """What the splits hold, as the rows were split."""
    if len(splits) == 1:
        return f"Every ranked row is in `{next(iter(splits))}`."
    questions = set(ranked["question_id"][:])
    test = sum(is_test(question, share) for question in questions)
    return (
        f"`test` holds {test} of the {len(questions)} ranked questions ({100 * test / len(questions):.3g} %), the same"
        " ones in every culture; ranks count within a split."
    )


def _cultures(
    ranked: Dataset, pool: Dataset, splits: dict[str, dict[str, int]], slugs: dict[str, str], known: dict[str, Culture]
) -> list[dict[str, Any]]:
    """A line of the card's table for every culture that has a ranked row."""
    candidates = Counter(pool["culture"][:])
    scores: dict[str, list[float]] = {}
    for culture, score in zip(ranked["culture"][:], ranked["score"][:], strict=True):
        scores.setdefault(culture, []).append(score)
    return [
        {
            "slug": slugs[culture],
            "name": _shown(culture, known),
            "train": splits.get(slugs[culture], {}).get("train", 0),
            "test": splits.get(slugs[culture], {}).get("test", 0),
            "pool": candidates[culture],
            "best": max(scores[culture]),
            "median": median(scores[culture]),
            "lowest": min(scores[culture]),
        }
        for culture in sorted(scores)
    ]


def _sides(report: Mapping[str, Any], slugs: Mapping[str, str]) -> list[dict[str, Any]]:
    """A line of the card's table on what tells chosen from rejected, for every culture that has pairs."""
    return [
        {
            "slug": slugs[culture],
            "pairs": one["pairs"],
            "characters": [f"{characters:g}" for characters in one["characters"]],
            "told_apart": [
                f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})" if (found := one["told_apart"][name]) else "-"
                for name in style.MEASURES
            ],
        }
        for culture, one in report.items()
    ]


def _dropped(entry: dict[str, Any]) -> str:
    return ", ".join(f"{count} {code(reason)}" for reason, count in entry["dropped"].items()) or "none"


def flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The values of a record, each by the dotted path of its keys."""
    found: list[tuple[str, Any]] = []
    for key, value in record.items():
        found += flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found
