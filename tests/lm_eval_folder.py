"""Folders as `lm_eval --output_path X --log_samples` leaves them, made by lm-eval with a scripted model."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

TEXT = "Question {{question}}"
# over the configuration of a task, so that its answers are written
WRITTEN: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_target": "",
    "generation_kwargs": {"until": []},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


class Scripted(LM):
    """Finds likely the option that `says` gives for a document; writes it where it is asked to."""

    def __init__(self, says: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self.says = says

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        right = [request.args[1].strip() == self.says(request.doc) for request in requests]
        return [(-1.0, True) if one else (-2.0, False) for one in right]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self.says(request.doc) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError


def questions(n: int, prefix: str = "q") -> list[dict[str, Any]]:
    """Questions whose right answer is B, with ids that are the same in each call."""
    return [{"id": f"{prefix}{place}", "question": str(place), "options": ["A", "B"], "key": 1} for place in range(n)]


def asked(
    folder: Path, tasks: Mapping[str, Sequence[dict[str, Any]]], says: Callable[[dict[str, Any]], str], **config: Any
) -> dict[str, Any]:
    """What lm-eval returns of multiple-choice tasks with samples; `folder` holds what it is configured by.

    Args:
        config: over the configuration of the tasks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for task, documents in tasks.items():
        data = folder / f"{task}.jsonl"
        data.write_text("".join(json.dumps(one) + "\n" for one in documents))
        common = {
            "task": task,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": TEXT,
            "doc_to_choice": "options",
            "doc_to_target": "key",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1},
        }
        (folder / f"{task}.yaml").write_text(yaml.safe_dump({**common, **config}))
    manager = TaskManager(include_path=[folder], include_defaults=False)
    made = evaluate(Scripted(says), manager.load(list(tasks)), log_samples=True, bootstrap_iters=0)
    assert made is not None
    return dict(made)


def saved(output: Path, model: str, made: Mapping[str, Any], log_samples: bool = True) -> Path:
    """The folder in which lm-eval's own tracker saved what `asked` returned, below `output`."""
    results = copy.deepcopy(dict(made))  # which the tracker changes
    tracker = EvaluationTracker(output_path=str(output))
    tracker.general_config_tracker.log_experiment_args("hf", f"pretrained={model}", None, None, False)
    samples = results.pop("samples")
    tracker.save_results_aggregated(results, samples if log_samples else None)
    for task in results["configs"] if log_samples else ():
        tracker.save_results_samples(task, samples[task])
    (folder,) = (one.parent for one in output.rglob(f"results_{tracker.date_id}.json"))
    return folder


def right_on(share: int, of: int = 10) -> Callable[[dict[str, Any]], str]:
    """Right on `share` of every `of` questions."""
    return lambda doc: "B" if int(doc["question"]) % of < share else "A"


CULTURES = ("china", "japan", "india", "egypt", "brazil", "mexico")


class Folders:
    """Folders below a path, of what models say of a benchmark's questions on cultures."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(
        self,
        name: str,
        says: Callable[[dict[str, Any]], str],
        n: int = 20,
        cultures: Sequence[str] = CULTURES,
        benchmark: str = "quiz",
        prefix: str = "",
        log_samples: bool = True,
        **config: Any,
    ) -> Path:
        """The folder `name` of the model `org/name`; questions of cultures are others where there is no `prefix`."""
        tasks = {f"caredio_{benchmark}_{one}": questions(n, prefix or f"{one}-") for one in cultures}
        made = asked(self.path / "tasks" / f"{name}-{benchmark}", tasks, says, **config)
        saved(self.path / name, f"org/{name}", made, log_samples)
        return self.path / name


def named(**folders: Path) -> list[str]:
    """`NAME=FOLDER` of each."""
    return [f"{name.replace('_', '-')}={path}" for name, path in folders.items()]
