"""Results as the Hub shows them on a model's page: `.eval_results/*.yaml`, a file for each dataset that asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from caredio.evaluation import benchmark as declarations
from caredio.evaluation import tasks
from caredio.evaluation.measurements import BESIDE, ROLE_PLAY

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

FOLDER = ".eval_results"


def entries(rows: Iterable[Mapping[str, Any]]) -> list[EvalResultEntry]:
    """An entry for each row, of `features.RESULTS`, with the first metric of a benchmark whose data is on the Hub.

    Its task is lm-eval's, of one culture; shares are in per cent. What was asked of a shipped sample is no entry.
    """
    from huggingface_hub import EvalResultEntry

    found = []
    for row in rows:
        benchmark, variant = declarations.declared().get(row["benchmark"], (None, ""))
        if benchmark is None or not benchmark.hub or not benchmark.real:
            continue
        metric = benchmark.metrics(variant)[0]
        sampled = benchmark.sample and benchmark.sha256(benchmark.sample) == row["benchmark_sha256"]
        if row["metric"] != metric.name or metric.name in BESIDE or sampled:
            continue
        task = tasks.name(benchmark.name, variant, row["culture"], row["system"].endswith(ROLE_PLAY))
        value = round(100 * row["value"], 2) if metric.share else round(row["value"], 4)
        found.append(EvalResultEntry(benchmark.hub, task, value, notes=_notes(row, metric.title, metric.share)))
    return found


def files(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Path in a model's repository -> the YAML that it holds; none where no row can be shown."""
    from huggingface_hub import eval_result_entries_to_yaml

    by_dataset: dict[str, list[EvalResultEntry]] = {}
    for entry in entries(rows):
        by_dataset.setdefault(entry.dataset_id, []).append(entry)
    return {
        f"{FOLDER}/{dataset.replace('/', '__')}.yaml": yaml.safe_dump(
            eval_result_entries_to_yaml(found), sort_keys=False, allow_unicode=True
        )
        for dataset, found in by_dataset.items()
    }


def _notes(row: Mapping[str, Any], metric: str, share: bool) -> str:
    said = f"{metric}{', per cent,' if share else ''} over {row['n']} questions by lm-eval's task of CAReDiO"
    return f"{said}; sha256 of its data {row['benchmark_sha256'][:12]}, of its settings {row['settings_sha256'][:12]}"
