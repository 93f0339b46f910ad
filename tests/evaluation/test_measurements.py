from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from lm_eval_folder import Folders, named, right_on

from caredio.errors import InputError
from caredio.evaluation import samples
from caredio.evaluation.table import build


@pytest.fixture
def folder(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_systems_of_one_name_go_by_their_folders(folder: Folders, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = folder("x/m", right_on(4)), folder("y", right_on(8))
    saved_as = samples.find(other)[0].path.parent
    saved_as.rename(other / "org__x__m")
    for file in other.rglob("results_*"):
        file.write_text(file.read_text().replace('"org/y"', '"org/x/m"'))
    found = build([one, other])
    assert found.systems == ("org/x/m (m)", "org/x/m (y)")
    (other / "m").mkdir()
    (other / "org__x__m").rename(other / "m" / "org__x__m")
    with pytest.raises(InputError, match="two measurements of 'org/x/m' on quiz; give each folder a name, as NAME="):
        build([one, other / "m"])
    assert build([f"raw={one}", f"trained={other / 'm'}"]).systems == ("raw", "trained")


def test_a_name_is_for_a_folder_of_one_system(folder: Folders, tmp_path: Path) -> None:
    folder("a", right_on(4)).rename(tmp_path / "both")
    folder("b", right_on(8)).rename(tmp_path / "both" / "b")
    with pytest.raises(InputError, match="holds org/a, org/b; a name such as 'raw' is for a folder of one system"):
        build([f"raw={tmp_path / 'both'}"])


def test_what_was_asked_otherwise_is_not_compared(folder: Folders) -> None:
    raw = folder("a", right_on(4))
    other = folder("b", right_on(8), metadata={"version": 2})
    with pytest.raises(
        InputError, match=r"'raw' and 'trained' were not asked the same quiz: version is 1 in one, 2 in"
    ):
        build(named(raw=raw, trained=other))
    other = folder("c", right_on(8), doc_to_text="Answer {{question}}")
    with pytest.raises(InputError, match=r"doc_to_text is 'Question \{\{question\}\}' in one, 'Answer"):
        build(named(raw=raw, trained=other))
    other = folder("d", right_on(8))
    for file in other.rglob("samples_*_china_*"):
        file.write_text(file.read_text().replace('"question": "3"', '"question": "33"'))
    with pytest.raises(InputError, match="the question 'china-3' is another one"):
        build(named(raw=raw, trained=other))


def test_nothing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results; name a run"):
        build([tmp_path])
    with pytest.raises(InputError, match="nowhere: is no folder"):
        build([tmp_path / "nowhere"])
