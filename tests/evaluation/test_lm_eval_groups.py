"""Groups of lm-eval's own tasks: every name is one that the installed lm-eval knows."""

from __future__ import annotations

import pytest
import yaml
from lm_eval.tasks import TaskManager

from caredio.evaluation import tasks

GROUPS = yaml.safe_load(tasks.GROUPS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def known() -> set[str]:
    return set(TaskManager().all_tasks)


@pytest.mark.parametrize("group", GROUPS)
def test_every_task_of_a_group_is_lm_evals(group: str, known: set[str]) -> None:
    assert set(GROUPS[group]) <= known
    assert len(set(GROUPS[group])) == len(GROUPS[group])


def test_the_folder_of_tasks_has_the_groups() -> None:
    manager = TaskManager(include_path=[str(tasks.path())], include_defaults=False)
    assert {f"caredio_{group}" for group in GROUPS} == {"caredio_out_of_domain", "caredio_general"}
    assert {f"caredio_{group}" for group in GROUPS} <= set(manager.all_groups)
