from __future__ import annotations

from pathlib import Path

import pytest
from svg import texts

from caredio.report import cost


def used(read: int, written: int, dollars: float | None) -> dict[str, object]:
    return {"usage": {"prompt_tokens": read, "completion_tokens": written, "cost_usd": dollars}}


def test_stages_cost_dollars_or_tokens_where_a_price_is_not_known(tmp_path: Path) -> None:
    report = {"questions": used(1000, 200, 0.012), "answers": used(90_000, 4000, 2.5), "ranked": {}}
    _, svg = cost.draw(report, tmp_path / "dollars")
    assert texts(svg) == {"Cost of each stage, US dollars", "questions", "$0.0120", "answers", "$2.50"}
    report["answers"] = used(90_000, 4000, None)
    _, svg = cost.draw(report, tmp_path / "tokens")
    assert {"Tokens of each stage", "read", "written", "1,000 + 200", "90,000 + 4,000"} <= texts(svg)


@pytest.mark.parametrize("report", [{}, {"ranked": {}}, {"answers": used(0, 0, 0.0)}])
def test_nothing_is_drawn_where_no_model_was_asked(report: dict[str, object], tmp_path: Path) -> None:
    assert cost.draw(report, tmp_path / "cost") == []  # type: ignore[arg-type]
