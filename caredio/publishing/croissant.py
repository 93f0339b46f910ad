"""croissant.json: a dataset release for machines, with the responsible-AI fields that NeurIPS asks for.

The format is Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html) with its RAI vocabulary
(https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html). `REQUIRED` is the minimal set of NeurIPS 2026's
Evaluations and Datasets Track (https://neurips.cc/Conferences/2026/EvaluationsDatasetsHosting).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Features, List, Value

from caredio import disk
from caredio.markdown import as_json
from caredio.publishing import citation, columns, head, metadata, parquet, provenance
from caredio.publishing.settings import Settings
from caredio.publishing.versions import FIRST

FILE = "croissant.json"
REQUIRED = (
    *("rai:dataLimitations", "rai:dataBiases", "rai:personalSensitiveInformation", "rai:dataUseCases"),
    *("rai:dataSocialImpact", "rai:hasSyntheticData", "prov:wasDerivedFrom", "prov:wasGeneratedBy"),
)
HUB = "https://huggingface.co/datasets"  # whatever mirror a client asks: equal releases are equal files
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
            *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
            *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace"),
            *("samplingRate", "separator", "source", "subField", "transform"),
        )
    },
}
_TYPES = {
    "string": "sc:Text",
    "int32": "cr:Int32",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
    "bool": "sc:Boolean",
}


def write(
    folder: Path,
    splits: Mapping[str, Mapping[str, int]],
    made: provenance.Made,
    settings: Settings,
    title: str,
    repo: str | None,
) -> None:
    """Write `croissant.json` beside the tables.

    Args:
        folder: holds `<config>/<split>.parquet`.
        splits: config -> split -> rows, of what is there.
        made: how the rows came about.
        title: the dataset's.
        repo: its name on the Hub, from where files are then read; None where they lie beside this one.
    """
    files = {
        f"{one}/{split}.parquet": disk.named(folder, one) / f"{split}.parquet"
        for one in splits
        for split in splits[one]
    }
    place = f"{HUB}/{repo}/resolve/{settings.version}/" if repo else ""
    license_ = settings.license or made.license
    page = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": title,
        "description": "Conversations that align a language model to a culture: questions, and answers"
        f" {'of' if made.source else 'given to them as'} {len(made.cultures)} cultures ({', '.join(made.cultures)}),"
        " ranked within each.",
        "version": (settings.version or FIRST).removeprefix("v"),
        "license": metadata.spdx_url(license_) or license_,
        **({"url": f"{HUB}/{repo}"} if repo else {}),
        "creator": [{"@type": "sc:Person", "name": name} for name in settings.names]
        or {"@type": "sc:Organization", "name": citation.publisher(repo)},
        "citeAs": "\n\n".join([*([citation.bibtex(settings, title, repo)] if settings.names else []), citation.BIBTEX]),
        "keywords": ["culture", "alignment", "caredio"],
        **({"inLanguage": made.languages} if made.languages else {}),
        "isLiveDataset": False,
        "distribution": [_file(path, file, place) for path, file in files.items()],
        "recordSet": [
            _records(path, parquet.features(file), bool(made.source))
            for path, file in files.items()
            if _described(path)
        ],
        **_responsible(made, settings),
    }
    (folder / FILE).write_text(as_json(page, indent=1) + "\n", encoding="utf-8")


def _file(path: str, file: Path, place: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": f"{place}{path}",
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def _described(path: str) -> bool:
    """Whether the rows of a file are described: those that are trained on; others are files alone."""
    view = path.partition("/")[0].rpartition("-")[2]
    return view not in head.VIEWS or view == "preference"


def _records(path: str, kinds: Features, of_a_table: bool) -> dict[str, Any]:
    """The rows of a file. Its name has no slash, which divides records from fields."""
    name = path.removesuffix(".parquet").replace("/", "-")
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/sample_id"},
        "field": [_field(name, path, column, kinds[column], of_a_table) for column in kinds],
    }


def _field(records: str, path: str, column: str, feature: Any, of_a_table: bool) -> dict[str, Any]:
    many = isinstance(feature, List)
    held = feature.feature if isinstance(feature, List) else feature
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{records}/{column}",
        "name": column,
        "description": columns.meaning(column, of_a_table),
        **({"isArray": True, "arrayShape": "-1"} if many else {}),
    }
    source = {"fileObject": {"@id": path}, "extract": {"column": column}}
    if isinstance(held, Value):
        return {**found, "dataType": _TYPES[held.dtype], "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{records}/{column}/{part}",
            "name": part,
            "dataType": _TYPES[value.dtype],
            "source": {**source, "transform": {"jsonPath": part}},
        }
        for part, value in held.items()
    ]
    return {**found, "subField": parts}


def _responsible(made: provenance.Made, settings: Settings) -> dict[str, Any]:
    """Use, limits and origin, in the words of the card."""
    reviewed = settings.reviewed_by or "nobody"
    if those := made.stated.get("reviewed_by"):
        reviewed += f" ({those} alone)"
    older = [f"{made.added.others}: as in {made.added.before}. {made.added.cultures}:"] if made.added else []
    return {
        "rai:dataCollection": " ".join([*older, *made.method, *filter(None, [made.weighed])]),
        "rai:dataCollectionType": ["Secondary Data Analysis" if made.source else "Software Collection"],
        "rai:dataPreprocessingProtocol": list(_drops(made)),
        "rai:dataAnnotationProtocol": "Scores and ranks are computed;"
        f" {made.rated or f'no person labelled a row{made.whose}.'}"
        f" Reviewed by native speakers: {reviewed}.",
        "rai:machineAnnotationTools": [f"caredio {', '.join(made.versions)}"],
        "rai:dataLimitations": made.limits,
        "rai:dataBiases": _biases(made),
        "rai:personalSensitiveInformation": [
            "Every row names a culture, mostly a country, and may speak of its religion, politics, family life or"
            " ethnic groups. No row is meant to be about a person.",
            "Release files with e-mail addresses, phone numbers or access tokens are refused when they are written.",
        ],
        "rai:dataUseCases": [
            "Supervised fine-tuning on the answers of one culture or of all, and preference tuning over the answers of"
            " other cultures.",
            "Not validated for: measuring opinions of people, deciding about people, or as a source on a culture.",
        ],
        "rai:dataSocialImpact": "Models may answer more as people of these cultures would. They may also learn"
        " stereotypes, as rows stand for whole countries; have people of the culture read them before use.",
        "rai:hasSyntheticData": True if not made.source or made.writers else "unknown",  # a table may not say
        "prov:wasDerivedFrom": [_origin(made), *_before(made)],
        "prov:wasGeneratedBy": [_activity(stage, entry, made) for stage, entry in made.stages.items()],
    }


def _drops(made: provenance.Made) -> Iterator[str]:
    for stage, entry in made.stages.items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in entry["dropped"].items())
        said = "dropped " + dropped if dropped else "none dropped"
        yield f"{stage}{made.whose}: {entry['rows']} rows kept, {said}."


def _before(made: provenance.Made) -> list[dict[str, Any]]:
    """The release whose other cultures stay."""
    if not made.added:
        return []
    said = f"The release in which {made.added.others} are the same; its card says how they were made."
    return [{"@type": "prov:Entity", "prov:label": made.added.before, "sc:description": said}]


def _biases(made: provenance.Made) -> list[str]:
    wrote = "people or models of the source table" if made.source else f"models ({', '.join(made.generators)})"
    return [
        f"The answers{made.whose} are those of {wrote}; views of minorities within a culture may be missing.",
        "Selection prefers answers that many others of the culture resemble, or that differ from other cultures'"
        " answers, as the method says.",
    ]


def _origin(made: provenance.Made) -> dict[str, Any]:
    """The table that the rows were selected from; without one, what a model was given to write from."""
    if not made.source:
        return {
            "@type": "prov:Entity",
            "prov:label": "Topics, cultures and prompts of caredio",
            "sc:description": "A model wrote every text from them; no dataset was the source.",
        }
    table = str(made.source["table"])
    hub = {"@id": f"{HUB}/{table}"} if "commit" in made.source else {}
    kept = {key: value for key, value in made.source.items() if key in ("sha256", "commit", "split", "dataset_config")}
    told = ", ".join(f"{key} {value}" for key, value in kept.items())
    return {"@type": "prov:Entity", **hub, "prov:label": table, "sc:description": told}


def _activity(stage: str, entry: Mapping[str, Any], made: provenance.Made) -> dict[str, Any]:
    asked: Sequence[provenance.Asked] = [one for one in made.asked if one.stage == stage]
    agents = [{"@type": "prov:SoftwareAgent", "prov:label": f"caredio {entry['made_from']['version']}"}]
    agents += [{"@type": "prov:SoftwareAgent", "prov:label": one.model} for one in asked]
    prompts = ", ".join(f"{name} {sha}" for one in asked for name, sha in one.prompts)
    return {
        "@type": "prov:Activity",
        "prov:label": stage,
        "sc:description": f"{entry['rows']} rows{made.whose}{f'; prompts {prompts}' if prompts else ''}",
        "prov:wasAssociatedWith": agents,
    }
