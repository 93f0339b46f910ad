"""The YAML head of a dataset's card: what the Hub, its viewer and `load_dataset` read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from caredio import disk
from caredio.cultures import Culture, slug
from caredio.publishing import metadata, parquet, record
from caredio.runs import config

VIEWS = record.VIEWS  # `<culture>-<view>`, in the order in which they are listed
DEFAULT = record.EVERYONE
_NAMED = 4  # cultures that a title names
_PLAIN = re.compile(r"[^\W_]+(?:[ _'\u2019-][^\W_]+)*")


def of_dataset(
    folder: Path,
    splits: Mapping[str, Mapping[str, int]],
    called: str,
    license_: str,
    languages: Iterable[str],
    source: Mapping[str, Any],
    generators: Iterable[str],
    added: bool = False,
) -> dict[str, Any]:
    """The head of a release's card.

    Args:
        folder: holds `<config>/<split>.parquet`.
        splits: config -> split -> rows, of what is there.
        called: the dataset's title.
        languages: ISO 639 codes of the text.
        source: what the rows were taken from; empty where they were written for the release.
        generators: models that the rows name as their writers.
        added: whether cultures stay of another release, whose sources are not known here.
    """
    configs = sorted(splits, key=_place)
    spoken = list(languages)
    pairs = [tag for tag, view in (("dpo", "preference"), ("kto", "unpaired")) if any(view in one for one in configs)]
    return {
        "pretty_name": called,
        "license": license_,
        **({"language": spoken, "multilinguality": [_multilinguality(spoken)]} if spoken else {}),
        "task_categories": ["text-generation"],
        "tags": ["culture", "alignment", "sft", *pairs, *(["synthetic"] if any(generators) else []), "caredio"],
        **({} if added else _creators(source, generators)),
        "size_categories": [metadata.size_category(sum(splits[DEFAULT].values()))],
        "dataset_info": _dataset_info(folder, {one: splits[one] for one in configs}),
        "configs": [_config(folder, one, splits[one]) for one in configs],
    }


def title(repo: str | None, slugs: Mapping[str, str], known: Mapping[str, Culture]) -> str:
    """What a dataset is called: as its repository, or in a folder by whose answers it holds."""
    if repo:
        return PurePosixPath(repo).name
    if len(slugs) > _NAMED:
        return f"Ranked answers of {len(slugs)} cultures"
    return f"Ranked answers of {listed(slugs, known)}"


def listed(names: Iterable[str], known: Mapping[str, Culture]) -> str:
    """Cultures in words, as the package knows or their table writes them: China, Japan and Peru.

    What would be markup in a card is named by its slug.
    """
    named = sorted(
        known[name].name if name in known else name if _PLAIN.fullmatch(name) else slug(name) for name in names
    )
    return " and ".join(filter(None, (", ".join(named[:-1]), *named[-1:])))


def _place(name: str) -> tuple[int, str]:
    """Where a config stands in the Hub's list: every culture, each culture, its pairs, and what is not trained on."""
    view = name.rpartition("-")[2]
    return (0 if name == DEFAULT else 2 + VIEWS.index(view) if "-" in name else 1, name)


def _multilinguality(languages: list[str]) -> str:
    return "monolingual" if len(languages) == 1 else "multilingual"


def _config(folder: Path, name: str, splits: Mapping[str, int]) -> dict[str, Any]:
    entry = config(name, {split: disk.named(folder, name) / f"{split}.parquet" for split in splits})
    for file in entry["data_files"]:
        file["path"] = f"{name}/{file['path']}"
    return {**entry, **({"default": True} if name == DEFAULT else {})}


def _creators(source: Mapping[str, Any], generators: Iterable[str]) -> dict[str, list[str]]:
    """Who wrote the text, in the Hub's words: a model here, or whoever wrote the user's table, which is only found."""
    if not source:
        made = ["machine-generated"]
        return {"annotations_creators": made, "language_creators": list(made), "source_datasets": ["original"]}
    return {
        "language_creators": ["found", *(["machine-generated"] if any(generators) else [])],
        **({"source_datasets": [source["table"]]} if "commit" in source else {}),  # a dataset of the Hub
    }


def _dataset_info(folder: Path, splits: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Features and sizes of each config, as `datasets` writes them into a card."""
    infos, card = {}, DatasetCardData()
    for name, held in splits.items():
        files = {split: disk.named(folder, name) / f"{split}.parquet" for split in held}
        sizes = {split: parquet.size(file) for split, file in files.items()}
        infos[name] = DatasetInfo(
            features=parquet.features(next(iter(files.values()))),
            splits=SplitDict({split: SplitInfo(split, size.memory, size.rows) for split, size in sizes.items()}),
            download_size=sum(file.stat().st_size for file in files.values()),
            dataset_size=sum(size.memory for size in sizes.values()),
        )
    DatasetInfosDict(infos).to_dataset_card_data(card)
    written = card.to_dict()["dataset_info"]  # of a single config no list
    by_name = {one["config_name"]: one for one in ([written] if isinstance(written, dict) else written)}
    return [by_name[name] for name in splits]
