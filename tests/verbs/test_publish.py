"""What `caredio publish` shows, asks and does: without a terminal, on one, and in Python."""

import hashlib
import json
import os
import pty
import sys

import pytest
from publishing.test_release import table

import caredio
from caredio import cli
from caredio.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    caredio.select(table(folder), out=folder, theta=0.99)
    return folder


def held(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def terminal(monkeypatch):
    """A terminal as stdin, on which an answer is typed."""
    typing, typed = pty.openpty()
    with os.fdopen(typed, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda answer: os.write(typing, answer.encode())
    os.close(typing)


def asked(run, folder, *flags):
    return ["publish", "--out", str(run), "--to", str(folder), *flags]


def test_the_plan_says_what_would_be_written_and_writes_nothing(run, tmp_path, capsys):
    before = held(run)
    cli.main(asked(run, tmp_path / "r", "--dry-run", "--test-share", "0.2"))
    shown = capsys.readouterr().out
    assert held(run) == before
    assert not (tmp_path / "r").exists()
    folder = caredio.publish(run, to=tmp_path / "r", test_share=0.2)
    files = held(folder)
    record = json.loads(files["release.json"])
    lines = shown.splitlines()
    assert lines[0] == "release of a dataset: v0.1.0 (the first one)"
    for name, splits in record["rows"].items():
        (line,) = [line.split() for line in lines if line.split()[:1] == [name]]
        assert line[1:3] == [str(splits.get(split, 0)) for split in ("train", "test")]
    assert f"{len(files)} files, " in shown
    assert shown.strip().endswith(f", to {tmp_path / 'r'}")
    assert any(line.split()[:1] == ["README.md"] for line in lines)


def test_what_differs_from_the_release_in_the_folder_is_in_the_plan(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r")
    again = caredio.plan(caredio.publish, run, to=folder)
    assert (again.unchanged, again.version) == (True, "v0.1.0")
    assert str(again).endswith(f"nothing differs from {folder}")
    card = caredio.plan(caredio.publish, run, to=folder, license="mit")
    assert (card.version, card.why) == ("v0.1.1", "proposed over v0.1.0: what describes the data differs")
    (tmp_path / "few").mkdir()
    rows = table(tmp_path / "few").read_text().splitlines()
    (tmp_path / "few" / "own.jsonl").write_text("\n".join(row for row in rows if '"q07"' not in row))
    caredio.select(tmp_path / "few" / "own.jsonl", out=tmp_path / "few", theta=0.99)
    plan = caredio.plan(caredio.publish, tmp_path / "few", to=folder)
    assert (plan.version, plan.why) == ("v0.2.0", "proposed over v0.1.0: the data differs")
    assert len(plan.found.cultures["china"].removed) == 1
    assert f"since {folder}: 3 rows removed" in str(plan)
    assert caredio.plan(caredio.publish, tmp_path / "few", to=folder, version="v7.0.0").version == "v7.0.0"


def test_without_a_terminal_a_folder_is_written_and_the_plan_shown(run, tmp_path, capsys):
    cli.main(asked(run, tmp_path / "r"))
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'r'}\n"
    assert "release of a dataset: v0.1.0 (the first one)\n" in shown.err
    assert (tmp_path / "r" / "release.json").exists()


@pytest.mark.parametrize(("answer", "written"), [("Yes\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_is_asked_for(run, tmp_path, capsys, terminal, answer, written):
    terminal(answer)
    if written:
        cli.main(asked(run, tmp_path / "r"))
    else:
        with pytest.raises(SystemExit) as end:
            cli.main(asked(run, tmp_path / "r"))
        assert end.value.code == 2
    shown = capsys.readouterr()
    assert f"Write v0.1.0 to {tmp_path / 'r'}? [y/N] " in shown.err
    assert ("caredio: nothing was written." in shown.err) is not written
    assert (tmp_path / "r").exists() is written
    assert shown.out == (f"{tmp_path / 'r'}\n" if written else "")


def test_yes_and_what_is_there_already_are_not_asked_for(run, tmp_path, capsys, terminal):
    cli.main(asked(run, tmp_path / "r", "--yes"))
    cli.main(asked(run, tmp_path / "r"))  # nothing differs
    assert "[y/N]" not in capsys.readouterr().err


def test_python_acts_unless_it_is_told_to_ask(run, tmp_path):
    seen = []
    with pytest.raises(InputError, match=r"^nothing was written\.$"):
        caredio.publish(run, to=tmp_path / "r", confirm=lambda plan: seen.append(plan.version))
    assert seen == ["v0.1.0"]
    assert not (tmp_path / "r").exists()
    caredio.publish(run, to=tmp_path / "r", confirm=lambda plan: True)
    assert (tmp_path / "r" / "release.json").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gated": "auto"}, "gated is given, but push names no repository"),
        ({"create_pr": True}, "create_pr is given, but push names no repository"),
        ({"gated": "yes", "push": "me/x"}, "gated is 'yes'; use auto or manual."),
        ({"create_pr": True, "private": True, "push": "me/x"}, "private is a setting of a repository, which a pull"),
        ({"model": "m", "remove": "ids.txt"}, "remove is given beside model, whose release holds neither rows"),
        ({"model": "m", "add_to": "r"}, "add_to is given beside model"),
        ({"add_to": "not/there/at/all"}, "'not/there/at/all' is no repository's name"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(run, tmp_path, given, said):
    with pytest.raises(InputError) as told:
        caredio.publish(run, to=tmp_path / "r", **given)
    assert said in str(told.value)
    assert not (tmp_path / "r").exists()


def test_a_run_is_compared_with_its_release(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", test_share=0)
    found = caredio.diff(folder, run)
    assert not found.cultures
    assert found.lines()[0].startswith(f"since {folder}: ")


def test_a_test_split_that_nothing_falls_into_is_one_sentence(tmp_path):
    rows = table(tmp_path).read_text().splitlines()
    (tmp_path / "few.jsonl").write_text("\n".join(row for row in rows if json.loads(row)["question_id"] < "q03"))
    caredio.select(tmp_path / "few.jsonl", out=tmp_path / "few", theta=0.99)
    shares = [int(hashlib.sha256(f"q0{one}".encode()).hexdigest()[:8], 16) / 16**8 for one in range(3)]
    assert min(shares) > 0.05
    larger = next(one for one in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5) if one > min(shares))
    said = "no test split, as a test share of 0.05 holds out none of 3 questions; give --test-share "
    assert f"\n{said}{larger} for one" in str(caredio.plan(caredio.publish, tmp_path / "few"))
    for share in (larger, 0):  # with one, and with none on purpose
        assert "no test split" not in str(caredio.plan(caredio.publish, tmp_path / "few", test_share=share))
