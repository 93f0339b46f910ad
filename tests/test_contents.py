from __future__ import annotations

import hashlib
import os
from pathlib import Path

from caredio import contents


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    file = write(tmp_path / "a", one="text") / "one"
    assert contents.of_file(file) == hashlib.sha256(b"text").hexdigest()


def test_equal_contents_are_equal_wherever_they_lie(tmp_path: Path) -> None:
    here, there = write(tmp_path / "a", one="1", two="2"), write(tmp_path / "deep" / "b", two="2", one="1")
    assert contents.sha256(here) == contents.sha256(there)
    assert contents.sha256([here / "two", here / "one"]) == contents.sha256([there / "one", there / "two"])


def test_a_name_a_byte_and_a_folder_count(tmp_path: Path) -> None:
    made = [write(tmp_path / "a", one="1"), write(tmp_path / "b", uno="1"), write(tmp_path / "c", one="2")]
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "in", one="1")
    assert len({contents.sha256(folder) for folder in [*made, tmp_path / "d"]}) == 4


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a", one="1") / "one"
    before = contents.of_file(file)
    file.write_text("2")  # as long as before
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000))
    assert contents.of_file(file) != before
