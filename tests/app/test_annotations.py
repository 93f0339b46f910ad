"""What annotators say is kept: through kills, damage and crowds, and without their names."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from caredio.app import annotations
from caredio.app.annotations import Annotations
from caredio.app.rating_tasks import Item, Said, Task
from caredio.errors import InputError


def task(number=0, answers=3):
    items = tuple(Item(f"{number}-{at}", "china", "runs/a", f"Q{number}?", f"answer {at}") for at in range(answers))
    return Task(f"{number:016x}", "rate", "china", f"q{number}", None, items)


def rated(kept, who, one, place, value):
    return kept.click(who, one, {"item": place, "rate": value})


def test_an_annotator_goes_on_where_the_last_process_stopped(tmp_path):
    with Annotations(tmp_path) as kept:
        amina = kept.annotator("Amina")
        rated(kept, amina, task(), 0, 3)
        rated(kept, amina, task(), 0, 8)
        rated(kept, amina, task(1), 1, 5)
    with Annotations(tmp_path) as kept:
        assert kept.annotator("  AMINA ") == amina
        found = kept.of(amina)
        assert [sorted(found[one.task_id].said.ratings.values()) for one in (task(), task(1))] == [[8], [5]]
        assert kept.of(kept.annotator("Bo")) == {}


def test_a_name_is_nowhere_and_its_hash_differs_between_folders(tmp_path):
    hashes = []
    for folder in ("one", "two"):
        with Annotations(tmp_path / folder) as kept:
            hashes.append(kept.annotator("Amina Yusuf"))
            rated(kept, hashes[-1], task(), 0, 3)
    assert hashes[0] != hashes[1]
    for file in tmp_path.rglob("*"):
        assert "amina" not in file.name.lower()
        assert not file.is_file() or b"amina" not in file.read_bytes().lower()
        assert not file.name.endswith(".jsonl") or file.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("name", ["", "  \t", "x" * 201])
def test_a_name_that_is_none_is_refused(name, tmp_path):
    with Annotations(tmp_path) as kept, pytest.raises(InputError, match="a name has 1 to 200 characters"):
        kept.annotator(name)


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    with Annotations(tmp_path), pytest.raises(InputError, match="another process is rating here"):
        Annotations(tmp_path)
    with Annotations(tmp_path):
        pass


def test_annotators_at_once_lose_nothing(tmp_path):
    def work(kept, name):
        who = kept.annotator(name)
        for number in range(40):
            rated(kept, who, task(number % 10), number % 3, number % 10 + 1)

    with Annotations(tmp_path) as kept:
        threads = [threading.Thread(target=work, args=(kept, name)) for name in ("a", "b", "c", "a")]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    found, notes = annotations.read(tmp_path)
    assert not notes
    assert len({one.annotator for one in found}) == 3
    assert len(found) == 30
    # task 3 got clicks 3, 13, 23 and 33: places 0, 1, 2 and 0, all of them 4
    assert {tuple(sorted(one.said.ratings.values())) for one in found if one.task == task(3)} == {(4, 4, 4)}


WRITES = """
import sys
from caredio.app.annotations import Annotations
sys.path.insert(0, {tests!r})
from test_annotations import rated, task
with Annotations({folder!r}) as kept:
    who = kept.annotator("Amina")
    for number in range(10**6):
        rated(kept, who, task(number), 0, number % 10 + 1)
        print(number, flush=True)
"""


@pytest.mark.parametrize("clicks", [1, 30])
def test_what_was_answered_stands_after_a_kill(clicks, tmp_path):
    script = WRITES.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for _ in range(clicks):
        answered = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Annotations(tmp_path) as kept:
        found = kept.of(kept.annotator("Amina"))
    assert {task(number).task_id for number in range(answered + 1)} <= found.keys()


DAMAGE = {
    "half a line": lambda lines: [*lines[:2], lines[2][: len(lines[2]) // 2]],
    "half a line, gone on": lambda lines: [lines[0], lines[1][:40], lines[2]],
    "no end of line": lambda lines: [*lines[:2], lines[2][:-1]],
    "bad bytes": lambda lines: [*lines[:2], lines[2].replace(b"answer", b"ans\xff\x00r")],
    "another digit": lambda lines: [*lines[:2], lines[2].replace(b'": 7', b'": 9')],
    "zeros": lambda lines: [*lines[:2], b"\0" * 512],
    "another file": lambda lines: [*lines[:2], b'{"hello": "there"}\n'],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_and_kept_beside_and_the_rest_stands(damage, tmp_path):
    with Annotations(tmp_path) as kept:
        who = kept.annotator("Amina")
        for number in range(3):
            rated(kept, who, task(number), 0, 5 + number)
    file = tmp_path / f"{who}.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    damaged = DAMAGE[damage](lines)
    lost = [line for line in damaged if line not in lines or not line.endswith(b"\n")]
    if damage == "half a line, gone on":
        lost = [damaged[1] + damaged[2]]
    file.write_bytes(b"".join(damaged))
    found, notes = annotations.read(tmp_path)
    assert notes == [f"{file}: a line cannot be read and is left out."]
    with Annotations(tmp_path) as kept:
        (note,) = kept.notes
        assert note == (
            f"{file}: a line could not be read and is kept in {who}.damaged; what was clicked then is to be clicked"
            " again."
        )
        assert [one.said.ratings for one in kept.of(who).values()] == [one.said.ratings for one in found]
        assert (tmp_path / f"{who}.damaged").read_bytes().rstrip(b"\n") == lost[0].rstrip(b"\n")
        rated(kept, who, task(9), 0, 1)
    found, notes = annotations.read(tmp_path)
    assert not notes
    whole = 1 if damage == "half a line, gone on" else 2
    assert len(found) == whole + 1
    with Annotations(tmp_path) as kept:
        assert not kept.notes


def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path, monkeypatch):
    with Annotations(tmp_path) as kept:
        who = kept.annotator("Amina")
        rated(kept, who, task(), 0, 5)
        before = (tmp_path / f"{who}.jsonl").read_bytes()
        write, left = os.write, [10]  # bytes that the disk still takes

        def full(at, content):
            if not left:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(at, bytes(content)[: left.pop()])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InputError, match="cannot be written"):
            rated(kept, who, task(), 0, 6)
        monkeypatch.undo()
        assert (tmp_path / f"{who}.jsonl").read_bytes() == before
        assert kept.of(who)[task().task_id].said.ratings == {task().shown(who)[0].sample_id: 5}
        rated(kept, who, task(), 0, 7)
    assert not annotations.read(tmp_path)[1]


def test_a_salt_that_is_gone_is_told(tmp_path):
    with Annotations(tmp_path) as kept:
        rated(kept, kept.annotator("Amina"), task(), 0, 5)
    (tmp_path / "salt").unlink()
    with pytest.raises(InputError, match="salt: is missing, and annotators are known by it"):
        Annotations(tmp_path)


def test_any_text_comes_back_as_it_was(tmp_path):
    hostile = "<script>alert(1)</script>\n{{ 7 * 7 }}\u202e\x1b[31m\x00\u2028 \U0001f600 '\"`${x}"
    item = Item("0", "china", "a", hostile, hostile)
    one = Task("f" * 16, "rate", "china", hostile, hostile, (item,))
    with Annotations(tmp_path) as kept:
        who = kept.annotator(hostile)
        kept.click(who, one, {"item": 0, "untrue": hostile + "\ud800"})
    ((_, task, said),), notes = annotations.read(tmp_path)
    assert (task, notes) == (one, [])
    assert said == Said(untrue={"0": (hostile + "?").strip()})


def test_a_file_is_json_lines(tmp_path):
    with Annotations(tmp_path) as kept:
        who = kept.annotator("Amina")
        rated(kept, who, task(), 0, 5)
    (line,) = map(json.loads, (tmp_path / f"{who}.jsonl").read_text().splitlines())
    assert list(line) == ["crc32", "line"]
    assert line["line"]["task"]["question_id"] == "q0"


def test_a_file_whose_tasks_do_not_know_of_each_other_keeps_what_was_said_last(tmp_path):
    # as earlier versions wrote it: a line holds what was said in its own task alone
    one = task()
    other = replace(one, task_id="f" * 16)
    lines = [(one, {"0-0": 3, "0-1": 4}), (other, {"0-0": 8}), (one, {"0-0": 3, "0-1": 4, "0-2": 5}), (one, {"0-0": 3})]
    content = b"".join(annotations._line(where, Said(ratings)) for where, ratings in lines)
    (tmp_path / f"{'a' * 16}.jsonl").write_bytes(content)
    found, _ = annotations.read(tmp_path)
    assert [said.ratings for _, _, said in found] == [{"0-0": 8}, {"0-0": 8}]
    (tmp_path / f"{'a' * 16}.jsonl").write_bytes(b"".join(content.splitlines(keepends=True)[:3]))
    found, _ = annotations.read(tmp_path)
    assert [said.ratings for _, _, said in found] == 2 * [{"0-0": 8, "0-1": 4, "0-2": 5}]
