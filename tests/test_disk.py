"""What is written: UTF-8 whatever the locale, whole or not at all, and one sentence where the disk refuses."""

import ast
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset

import caredio
from caredio import cli, disk
from caredio.cultures import slug
from caredio.errors import InputError
from caredio.publishing import release

PACKAGE = Path(caredio.__file__).parent
CULTURES = ("türkiye", "日本", "peru")
LOCALES = (("en_US", "ISO-8859-1"), ("ja_JP", "EUC-JP"), ("tr_TR", "ISO-8859-9"))


def own_table(folder, name="own.jsonl", many=2):
    """A table that brings its vectors."""
    rows = [
        {"question": f"Nº {number}?", "response": f"{culture} says “{number}”", "culture": culture}
        | {"sample_embedding": [number, 1.0, len(culture)], "response_embedding": [1.0, number, len(culture)]}
        for number in range(many)
        for culture in CULTURES
    ]
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


SELECT = ("--embedder", "given", "--theta", "0.99", "--ranking", "longest")


def tree(folder):
    """Every file under a folder but the lock: name on disk -> content, run times and the folder's own path left out."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".lock":
            content = file.read_bytes()
            if file.name == "run.json":
                stages = json.loads(content.decode("utf-8"))["stages"]
                content = {name: entry["sha256"] for name, entry in stages.items()}
            elif file.suffix == ".yaml":  # the arguments, of which `out` is the folder
                assert str(folder).encode() in content
                content = content.replace(str(folder).encode(), b"<out>")
            found[os.fsencode(file.relative_to(folder))] = content
    return found


# text and names


_NO_TEXT = ("access.open", "os.open", "shelf.open", "shelves.open")  # what opens no text


def calls_without_encoding(tree):
    """(line, call) of what reads or writes text in the locale's encoding."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        strings = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        binary = any("b" in str(mode) for mode in [*strings[-1:], given.get("mode")])
        texts = name in ("read_text", "write_text", "fdopen", "NamedTemporaryFile", "TextIOWrapper") or (
            name == "open" and (isinstance(node.func, ast.Name) or not ast.unparse(node.func).endswith(_NO_TEXT))
        )
        if (texts and not binary and "encoding" not in given) or (
            given.get("text") is True and "encoding" not in given
        ):
            yield node.lineno, ast.unparse(node)


def test_nothing_is_read_or_written_in_the_locale_s_encoding():
    found = [
        (file.name, *call)
        for file in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "recipes").rglob("*.py")]
        for call in calls_without_encoding(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_search_for_such_calls_finds_them():
    source = (
        "p.read_text()\np.open()\nopen(p, 'w')\nopen(p, 'rb')\np.write_text(t, encoding='utf-8')\nrun(c, text=True)\n"
    )
    assert [line for line, _ in calls_without_encoding(ast.parse(source))] == [1, 2, 3, 6]


@pytest.fixture(scope="session")
def locales(tmp_path_factory):
    """A folder of locales that are not UTF-8, for LOCPATH."""
    folder = tmp_path_factory.mktemp("locales")
    localedef = shutil.which("localedef")
    for language, encoding in LOCALES if localedef else ():
        subprocess.run(
            [localedef, "-i", language, "-f", encoding, folder / f"{language}.{encoding}"],
            capture_output=True,
            check=False,
        )
    return folder


def in_locale(locales, name, tmp_path, *command):
    """A command in a locale, without the help that Python has against the C locale."""
    if name != "C" and not (locales / name).exists():
        pytest.skip(f"this machine cannot make the locale {name}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    environment |= {"LOCPATH": str(locales), "LC_ALL": name, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment |= {"CAREDIO_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *map(str, command)], env=environment, capture_output=True, check=False)


ALL_LOCALES = [*(".".join(names) for names in LOCALES[:2]), "C"]


@pytest.mark.parametrize("name", ALL_LOCALES)
def test_a_run_is_the_same_whatever_the_locale(locales, tmp_path, name):
    """Byte for byte, names of files included; and a locale reads what another wrote."""
    folder = tmp_path / "où"
    folder.mkdir()
    table = own_table(folder, "données.jsonl")
    cli.main(["select", str(table), "--out", str(folder / "usual"), *SELECT])
    command = ("-m", "caredio.cli", "select", table, "--out", folder / "odd", *SELECT)
    done = in_locale(locales, name, tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"ranked: peru 2, ")
    assert tree(folder / "odd") == tree(folder / "usual")
    assert b"turkiye.parquet" in os.listdir(os.fsencode(folder / "odd" / "ranked"))
    rows = load_dataset(str(folder / "odd" / "ranked"), slug("日本"), split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows["culture"]) == {"日本"}


def test_a_program_in_another_locale_writes_the_same(locales, tmp_path):
    """There the package cannot change the mode of Python."""
    table = own_table(tmp_path)
    caredio.select(table, out=tmp_path / "usual", embedder="given", theta=0.99, ranking="longest")
    caredio.publish(tmp_path / "usual", to=tmp_path / "usual" / "release", version="v1.0.0")
    program = (
        "import sys, caredio; out = sys.argv[2]\n"
        "caredio.select(sys.argv[1], out=out, embedder='given', theta=0.99, ranking='longest')\n"
        "caredio.select(sys.argv[1], out=out, embedder='given', theta=0.99, ranking='longest')\n"
        "caredio.publish(out, to=out + '/release', version='v1.0.0')\n"
        "assert sys.getfilesystemencoding() != 'utf-8'\n"
    )
    done = in_locale(locales, "en_US.ISO-8859-1", tmp_path, "-c", program, table, tmp_path / "odd")
    assert done.returncode == 0, done.stderr
    odd, usual = tree(tmp_path / "odd"), tree(tmp_path / "usual")
    assert odd.keys() == usual.keys()
    assert [name for name in odd if odd[name] != usual[name] and b"README.md" not in name] == [b"release/release.json"]


@pytest.mark.parametrize("name", ALL_LOCALES)
def test_a_program_in_another_locale_writes_the_same_into_a_folder_of_any_name(locales, tmp_path, name):
    folder = tmp_path / "où"
    folder.mkdir()
    table = own_table(tmp_path)
    caredio.select(table, out=folder / "usual", embedder="given", theta=0.99, ranking="longest")
    program = (
        "import sys, caredio\n"
        "caredio.select(sys.argv[1], out=sys.argv[2], embedder='given', theta=0.99, ranking='longest')\n"
    )
    done = in_locale(locales, name, tmp_path, "-c", program, table, folder / "odd")
    assert done.returncode == 0, done.stderr
    assert tree(folder / "odd") == tree(folder / "usual")


def test_a_command_starts_anew_in_utf_8_with_its_arguments_and_the_terminal_s_encoding(locales, tmp_path):
    """So that libraries too read what is there: recipes load a culture's rows with `load_dataset`."""
    caredio.select(own_table(tmp_path), out=tmp_path / "usual", embedder="given", theta=0.99, ranking="longest")
    program = (
        "import sys; from caredio import disk; disk.in_utf8()\n"
        "from datasets import load_dataset\n"
        "rows = load_dataset(sys.argv[1], 'turkiye', split='train', cache_dir=sys.argv[1] + '/cache')\n"
        "print(sys.getfilesystemencoding(), sys.argv[2], rows['culture'][0], '日')\n"
    )
    odd = os.fsdecode("\u00fc".encode("latin-1"))  # as a terminal in this locale hands over an argument
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    done = in_locale(locales, "en_US.ISO-8859-1", tmp_path, file, tmp_path / "usual" / "ranked", odd)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(b"\n")[0] == "utf-8 \\udcfc türkiye \\u65e5".encode("latin-1")


def test_names_are_utf_8_on_disk(tmp_path):
    file = disk.named(tmp_path, "日本.parquet")
    file.touch()
    assert os.listdir(os.fsencode(tmp_path)) == ["日本.parquet".encode()]
    assert disk.name(Path(file.name)) == "日本.parquet"
    assert disk.name(Path("a") / "ü") == "a/ü"


# what the disk refuses


def fails(capsys, *arguments):
    """The one sentence that a command ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert "Traceback" not in said
    sentence = said.strip().splitlines()[-1]
    assert sentence.startswith("caredio: ")
    return sentence


@pytest.fixture
def small(tmp_path):
    """A disk of 512 KB, and what fills it up to a number of free bytes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")

    def leave(free):
        (place / "fill").unlink(missing_ok=True)
        there = os.statvfs(place)
        with suppressed(), (place / "fill").open("wb") as file:
            file.write(b"x" * max(0, there.f_bavail * there.f_frsize - free))

    yield place, leave
    subprocess.run(["umount", "-l", place], capture_output=True, check=True)


class suppressed:  # noqa: N801 (reads as contextlib's does)
    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        return kind is not None and issubclass(kind, OSError)


@pytest.mark.parametrize("free", [0, 4096, 5 * 4096, 8 * 4096, 11 * 4096, 15 * 4096])
def test_a_run_on_a_full_disk_goes_on_when_there_is_room(small, tmp_path, capsys, free):
    place, leave = small
    arguments = ["select", own_table(tmp_path), "--out", place / "run", *SELECT]
    leave(free)
    assert "No space left on device" in fails(capsys, *arguments)
    assert not list(place.rglob("*.making"))
    leave(400_000)
    cli.main(list(map(str, arguments)))
    cli.main(["select", str(tmp_path / "own.jsonl"), "--out", str(tmp_path / "usual"), *SELECT])
    assert tree(place / "run") == tree(tmp_path / "usual")


def test_a_release_on_a_full_disk_leaves_the_one_before(small, tmp_path, capsys):
    place, leave = small
    cli.main(["select", str(own_table(tmp_path)), "--out", str(tmp_path / "run"), *SELECT])
    publish = ["publish", "--out", tmp_path / "run", "--to", place / "release"]
    leave(0)
    assert "No space left on device" in fails(capsys, *publish)
    (place / "fill").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
    cli.main([*map(str, publish), "--version", "v1.0.0"])
    before = tree(place / "release")
    leave(40_000)
    assert "No space left on device" in fails(capsys, *publish, "--version", "v2.0.0")
    assert tree(place / "release") == before
    assert sorted(os.listdir(place)) == ["fill", "release"]
    (place / "fill").unlink()
    cli.main([*map(str, publish), "--version", "v2.0.0"])
    assert json.loads((place / "release" / "release.json").read_text(encoding="utf-8"))["version"] == "v2.0.0"


def test_a_read_only_disk_is_told_and_what_is_there_is_read(small, tmp_path, capsys):
    place, _ = small
    arguments = ["select", own_table(tmp_path), "--out", place / "run", *SELECT]
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    assert "Read-only file system" in fails(capsys, *arguments)
    subprocess.run(["mount", "-o", "remount,rw", place], check=True)
    cli.main(list(map(str, arguments)))


def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(tmp_path):
    """What a user without a disk of their own runs into."""
    table = own_table(tmp_path, many=40)
    program = (
        "import resource, sys; from caredio import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "cli.main(sys.argv[2:])\n"
    )
    arguments = ["select", table, "--out", tmp_path / "run", *SELECT]
    for limit, code in ((8000, 2), (10**9, 0)):
        done = subprocess.run(
            [sys.executable, "-c", program, str(limit), *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        if code:
            assert "cannot be written (File too large)" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("out", "reason"),
    [("own.jsonl", "File exists"), ("own.jsonl/run", "Not a directory"), ("x" * 300, "File name too long")],
)
def test_a_run_folder_that_cannot_be_is_told(tmp_path, capsys, out, reason):
    table = own_table(tmp_path)
    assert f"cannot be written ({reason})" in fails(capsys, "select", table, "--out", tmp_path / out, *SELECT)


def test_files_where_a_run_s_folders_should_be_are_told(tmp_path, capsys):
    arguments = ["select", own_table(tmp_path), "--out", tmp_path / "run", *SELECT]
    (tmp_path / "run" / "run.json").mkdir(parents=True)
    assert "run.json" in fails(capsys, *arguments)
    (tmp_path / "run" / "run.json").rmdir()
    cli.main(list(map(str, arguments)))


@pytest.mark.parametrize("name", ["own.csv", "own.json", "own.jsonl", "own.parquet"])
def test_a_table_that_is_a_folder_or_forbidden_is_told(tmp_path, capsys, name):
    (tmp_path / name).mkdir()
    assert "cannot be read (Is a directory)" in fails(capsys, "select", tmp_path / name, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_release_where_a_file_stands_is_told(tmp_path, capsys):
    cli.main(["select", str(own_table(tmp_path)), "--out", str(tmp_path / "run"), *SELECT])
    said = fails(capsys, "publish", "--out", tmp_path / "run", "--to", tmp_path / "own.jsonl")
    assert "own.jsonl: cannot be written (Not a directory)" in said
    assert (tmp_path / "own.jsonl").read_bytes()


def test_a_release_stopped_between_its_two_moves_is_put_back(tmp_path, capsys):
    cli.main(["select", str(own_table(tmp_path)), "--out", str(tmp_path / "run"), *SELECT])
    publish = ["publish", "--out", str(tmp_path / "run"), "--to", str(tmp_path / "release")]
    cli.main(publish)
    (tmp_path / "release").rename(tmp_path / ".release.old")
    (tmp_path / "own.jsonl").unlink()
    before = tree(tmp_path / ".release.old")
    with pytest.raises(ZeroDivisionError), release._replacing(tmp_path / "release") as making:
        (making / "a").write_bytes(b"%d" % (1 // 0))
    assert tree(tmp_path / "release") == before
    cli.main(publish)
    assert sorted(os.listdir(tmp_path)) == ["release", "run"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_terminal_is_told(unbuffered):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = [sys.executable, "-m", "caredio.cli", "tasks-path"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in done.stderr
    assert b"No space left on device" in done.stderr
    assert done.returncode == 2


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a.json"
    with disk.replacing(file) as content:
        content.write(b"one")
    with pytest.raises(ZeroDivisionError), disk.replacing(file) as content:
        content.write(b"%d" % (1 // 0))
    assert file.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x"), "w: cannot be written (No space left on device);"),
        (PermissionError(errno.EACCES, "x", "/a/b"), "/a/b: cannot be written (Permission denied);"),
        (OSError("such\nand such"), "w: cannot be written (such and such);"),
        (sqlite3.OperationalError("database or disk is full"), "w: cannot be written (database or disk is full);"),
    ],
)
def test_what_the_disk_refuses_is_one_sentence(error, said):
    with pytest.raises(InputError) as told, disk.writing("w"):
        raise error
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "x"), TimeoutError(), ValueError("x")])
def test_what_is_not_the_disk_s_is_not_called_so(error):
    assert not disk.refused(error)
