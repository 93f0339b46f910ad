"""Cards of datasets and models, filled from what was built: nothing in them that a build knows is typed by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from caredio.publishing.release import Config
    from caredio.runs import Run

from caredio import disk
from caredio.cultures import Culture
from caredio.llm.spec import EMBEDDED

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    run: Run, config: Config, folder: Path, splits: dict[str, dict[str, int]], known: dict[str, Culture], name: str
) -> str:
    """The README.md of a dataset release; its YAML head makes every folder a config of `load_dataset`.

    Args:
        folder: holds `<config>/<split>.parquet`.
        splits: config -> split -> rows, of what is there.
        known: cultures by slug.
        name: the dataset's name.
    """
    from caredio.runs import version

    ranked, pool = run.table("ranked"), run.table("scored")
    slugs = sorted(set(ranked["culture"]))
    generators = _values(ranked["generator"])
    candidates = Counter(pool["culture"])
    scores: dict[str, list[float]] = {slug: [] for slug in slugs}
    for slug, score in zip(ranked["culture"], ranked["score"], strict=True):
        scores[slug].append(score)
    made_from = run.stages["scored"]["made_from"]["config"]
    source = run.stages["candidates"]["made_from"]["source"]  # of a table of one's own; nothing where we wrote it
    languages = _values(ranked["language"]) or ([] if source else ["en"])
    license_ = config.license or ("unknown" if source else "other")
    return _render(
        "caredio.dataset_card",
        head=_head(
            {
                "license": license_,
                **({"language": languages} if languages else {}),
                "task_categories": ["text-generation"],
                "tags": ["culture", "alignment", "caredio"],
                "size_categories": [next((tag for limit, tag in _SIZES if len(ranked) < limit), "n>1M")],
                "configs": [_config(folder, config_name, held) for config_name, held in splits.items()],
            }
        ),
        name=name,
        version=config.version,
        example=slugs[0],
        held_out=config.held_out,
        cultures=[
            {
                "slug": slug,
                "name": known[slug].name if slug in known else slug,
                "train": splits.get(slug, {}).get("train", 0),
                "test": splits.get(slug, {}).get("test", 0),
                "pool": candidates[slug],
                "best": max(scores[slug]),
                "median": median(scores[slug]),
                "last": min(scores[slug]),
            }
            for slug in slugs
        ],
        caredio=version(),
        source=source,
        generators=generators,
        revisions=[revision for revision in _values(ranked["model_revision"]) if revision not in generators],
        theta=run.stages["scored"]["theta"],
        embedder=run.stages["vectors"]["made_from"]["config"]["embedder"],
        budget=made_from["rank"]["budget"],
        stages=[
            {"name": stage, "rows": entry["rows"], "dropped": _dropped(entry)}
            for stage, entry in run.stages.items()
            if stage in ("questions", "answers", "adapted", "candidates", "scored", "ranked")
        ],
        small=EMBEDDED in generators,
        license=license_,
        stated=bool(config.license),
        terms=config.terms,
        reviewed_by=config.reviewed_by,
    )


def model_card(record: dict[str, Any], config: Config, results: Iterable[dict[str, Any]] | None, name: str) -> str:
    """The README.md of a model release.

    Args:
        record: the recipe's training.json.
        results: rows of `features.RESULTS` measured on these weights; those on the model's cultures are shown.
        name: the model's name.
    """
    adapter = record["method"] != "full"
    cultures = record.get("cultures") or ([record["dataset_config"]] if record["dataset_config"] else [])
    head = {
        "license": config.license or "other",
        **({"base_model": record["base_model"]} if _on_the_hub(record["base_model"]) else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["culture", "alignment", "caredio", record["recipe"]],
    }
    facts = [(key, value) for key, value in _flat(record) if value is not None]
    return _render(
        "caredio.model_cards",
        head=_head(head),
        name=name,
        version=config.version,
        base=record["base_model"],
        cultures=cultures,
        method=f"{record['recipe']} ({record['method']})",
        rows=record["rows"],
        dataset=record["dataset_name"],
        adapter=adapter,
        facts=facts,
        results=[row for row in results or [] if row["culture"] in cultures or not cultures],
        license=config.license or "other",
        terms=config.terms,
        reviewed_by=config.reviewed_by,
    )


def _on_the_hub(model: str) -> bool:
    """Whether a base model's name is one of the Hub's, and no folder of this machine."""
    return re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", model) is not None and not Path(model).is_dir()


def code(value: object) -> str:
    """Text that is not ours as inline code on one line: it can neither end the code nor a table's cell."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else "` `"


def _render(package: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown; foreign text goes through `code`)
    )
    environment.filters["code"] = code
    template = resources.files(package).joinpath("README.md.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", page)


def _head(metadata: dict[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n"


def _config(folder: Path, name: str, splits: dict[str, int]) -> dict[str, Any]:
    from caredio.runs import config

    entry = config(name, {split: disk.named(folder, name) / f"{split}.parquet" for split in splits})
    for file in entry["data_files"]:
        file["path"] = f"{name}/{file['path']}"
    return {**entry, **({"default": True} if name == "all" else {})}


def _values(column: Any) -> list[str]:
    return sorted({value for value in column if value})


def _dropped(entry: dict[str, Any]) -> str:
    return ", ".join(f"{count} {code(reason)}" for reason, count in entry["dropped"].items()) or "none"


def _flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in record.items():
        flat += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return flat
