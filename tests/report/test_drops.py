from __future__ import annotations

from pathlib import Path

from svg import texts

from caredio.report import drops


def test_each_reason_has_a_bar_and_rare_ones_share_one(tmp_path: Path) -> None:
    many = {f"reason_{number}": number for number in range(1, 11)}
    report = {"candidates": {"dropped": many}, "vectors": {"dropped": {}}, "scored": {"dropped": {"redundant": 1234}}}
    _, svg = drops.draw(report, tmp_path / "drops")
    shown = texts(svg)
    assert {"candidates: reason_10", "candidates: reason_3", "candidates: 2 other reasons", "3"} <= shown
    assert {"scored: redundant", "1,234"} <= shown
    assert "candidates: reason_2" not in shown


def test_nothing_is_drawn_where_nothing_was_dropped(tmp_path: Path) -> None:
    assert drops.draw({"ranked": {"dropped": {}}}, tmp_path / "drops") == []
