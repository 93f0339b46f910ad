"""`caredio quickstart --train`: what is held out, what is learned, and the numbers on its screen."""

import importlib.util
import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from caredio import blend, quickstart, quickstart_table
from caredio.errors import InputError
from caredio.evaluation.benchmarks import blend_answers
from caredio.publishing.split import is_test
from caredio.quickstart_training import HELD_OUT, OURS, RANDOM, RAW, People, Size, Trial

pytest.importorskip("trl")

BLEND = Path(__file__).parent / "data" / "blend"  # 24 of the 500 questions, in all 16 regions, as the source has them
_SHARED = Path(__file__).parent / "recipes" / "conftest.py"
_spec = importlib.util.spec_from_file_location("recipe_fixtures_of_quickstart", _SHARED)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
tiny, _own_cache = _shared.tiny, _shared._own_cache


def people():
    return People(Dataset(blend.sample(BLEND)), Dataset(blend.own(BLEND)))


# --- the questions


def test_the_own_answers_are_what_the_script_makes_of_the_source():
    made = blend.own(BLEND).to_pylist()
    questions = set(json.loads((BLEND / "China_data.json").read_text(encoding="utf-8")))
    assert made == [row for row in pq.read_table(quickstart.OWN).to_pylist() if row["question_id"] in questions]
    assert len({row["culture"] for row in made}) == 16
    source = {file.stem.removesuffix("_data").lower(): json.loads(file.read_text()) for file in BLEND.glob("*.json")}
    for row in made:
        answers = source[row["culture"]][row["question_id"]]["annotations"]
        first, *rest = sorted(answers, key=lambda answer: -answer["count"])
        assert first["en_answers"][0].strip() == row["response"]
        assert first["count"] >= 3
        assert not rest or rest[0]["count"] < first["count"]


def test_held_out_questions_have_an_own_answer_and_a_rival_one():
    for region in blend.SAMPLED:
        asked = quickstart_people().asked(region)
        assert len(asked) > 90
        assert len({document["id"] for document in asked}) == len(asked)
        for document in asked:
            assert is_test(document["id"], HELD_OUT)
            assert document["own"] in [answer["text"] for answer in document["answers"]]
            assert max(answer["weight"] for answer in document["answers"]) >= 3
            assert document["rivals"]
            assert region not in {rival["culture"] for rival in document["rivals"]}
            assert {rival["text"] for rival in document["rivals"]}.isdisjoint({document["own"]})


def test_held_out_questions_are_documents_of_the_benchmark():
    made = {(one["id"], one["culture"]): one for one in blend_answers.english(BLEND)}
    for region, name in blend.SAMPLED.items():
        asked = people().asked(region)
        assert asked
        for document in asked:
            wanted = made[document["id"], name]
            assert {key: ordered(wanted[key]) for key in document if key != "culture"} == {
                key: ordered(value) for key, value in document.items() if key != "culture"
            }


def ordered(value):
    return (
        sorted(map(str, ({**one, "culture": one.get("culture", "").lower()} for one in value)))
        if isinstance(value, list)
        else value
    )


def quickstart_people():
    return People(Dataset.from_parquet(str(quickstart.SAMPLE)), Dataset.from_parquet(str(quickstart.OWN)))


# --- a small model


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture
def trial(home, tiny, embedded_home):
    size = Size(rows=8, steps=2, written=2)
    return Trial(people(), home / "training", "china", quickstart.RANKING, str(tiny), size)


def test_a_small_trial_from_its_rows_to_its_screen(trial, home, caplog):
    caplog.set_level("INFO", "caredio")
    shown = quickstart.trained(trial)
    numbers_are_those_of_the_files(shown, trial.documents, home / "training", "china")
    for arm in (OURS, RANDOM):
        (rows,) = (home / "training" / "rows" / f"china-{arm}").glob("*.parquet")
        assert len(pq.read_table(rows)) == len(trial.learned[OURS]) > 0
    held_out_questions_are_nowhere(home / "training")
    assert "no row of theirs is learned" in re.sub(r"\s+", " ", shown)
    written = {file: file.stat().st_mtime_ns for file in home.rglob("*") if file.suffix in (".json", ".safetensors")}
    caplog.clear()
    assert quickstart.trained(again(trial)) == shown
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert [message for message in caplog.messages if "asked" in message or "steps" in message] == []
    assert sum(message.endswith("rows  unchanged") for message in caplog.messages) == 2
    assert sum(message.endswith("rows, unchanged") for message in caplog.messages) == 6  # of the ranking
    measured = home / "training" / "measured" / "raw-of-mexico.json"
    kept = json.loads(measured.read_text())
    measured.write_text(json.dumps({**kept, "made_from": {}}))  # of another model, or of other questions
    assert quickstart.trained(again(trial)) == shown
    assert json.loads(measured.read_text()) == kept


def again(trial):
    return Trial(trial.people, trial.out, trial.region, trial.ranking, trial.train.model, trial.size)


def held_out_questions_are_nowhere(folder):
    """No table of the ranking and no arm has a row of a question that is held out."""
    held_out = {row["question"] for row in quickstart_people().answers if is_test(row["question_id"], HELD_OUT)}
    tables = [file for file in folder.rglob("*.parquet") if "vectors" not in file.parts]
    assert len(tables) > 4
    for file in tables:
        for row in pq.read_table(file).to_pylist():
            assert row.get("question") not in held_out
            assert all(turn["content"] not in held_out for turn in row.get("prompt") or [])
            assert "question_id" not in row or not is_test(row["question_id"], HELD_OUT)


def numbers_are_those_of_the_files(shown, documents, folder, region):
    """Each number of the screen, computed anew from what the models answered."""
    blocks = re.split(r"\n(?=\w[\w ]*: \d+ held-out questions)", shown.split("\nmargin ")[0])[1:]
    assert len(blocks) == len(documents) == 2
    for block, (of, asked) in zip(blocks, documents.items(), strict=True):
        found = {}
        for arm in (RAW, RANDOM, OURS):
            file = f"raw-of-{of}.json" if arm == RAW else f"{region}-{arm}-of-{of}.json"
            kept = json.loads((folder / "measured" / file).read_text(encoding="utf-8"))
            found[arm] = [scored(document, kept) for document in asked]
        assert f": {len(asked)} held-out questions" in block.splitlines()[0]
        assert computed(found) == [re.findall(r"(?<=[ \]])-?\d+\.\d+(?= |$)", line) for line in block.splitlines()[1:5]]
        for line in block.splitlines()[1:5]:
            for value, low, high in re.findall(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", line):
                assert float(low) <= float(value) <= float(high)


def scored(document, kept):
    """margin, margin per byte, bits per byte, SEM-B or None, of one question."""
    texts = list(dict.fromkeys([a["text"] for a in document["answers"]] + [r["text"] for r in document["rivals"]]))
    nats = dict(zip(texts, kept["nats"][document["id"]], strict=True))
    size = {text: len(text.encode()) for text in texts}
    own, rivals = document["own"], [rival["text"] for rival in document["rivals"]]
    people = [(answer["text"], answer["weight"]) for answer in document["answers"]]
    bits = -sum(weight * nats[text] for text, weight in people) / math.log(2)
    reply = kept["replies"].get(document["id"])
    said = [text.lower() for answer in document["answers"] for text in (answer["text"], *answer["also"])]
    return (
        nats[own] - mean(nats[rival] for rival in rivals),
        nats[own] / size[own] - mean(nats[rival] / size[rival] for rival in rivals),
        bits / sum(weight * size[text] for text, weight in people),
        None if reply is None else float(holds(reply.lower(), said)),
    )


def holds(reply, said):
    """Whether a reply holds an answer as it stands, or each of its words in a form that Snowball makes alike."""
    import snowballstemmer

    stem = snowballstemmer.stemmer("english").stemWord

    def stems(text):
        return {stem(word.strip("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")) for word in text.split()} - {""}

    reply = reply.strip(".")
    return any(
        text in reply
        or text.replace("-", " ") in reply
        or text.replace(" ", "-") in reply
        or stems(text) <= stems(reply)
        for text in said
        if reply
    )


def computed(found):
    lines = []
    for place, digits in enumerate((2, 3, 2, 1)):
        values = {arm: [row[place] for row in rows if row[place] is not None] for arm, rows in found.items()}
        raw = values.pop(RAW)
        if place < 2:
            gains = {arm: [one - zero for one, zero in zip(row, raw, strict=True)] for arm, row in values.items()}
            shown = [gains[RANDOM], gains[OURS]]
        else:
            shown = [raw, values[RANDOM], values[OURS]]
        shown.append([ours - by_chance for ours, by_chance in zip(values[OURS], values[RANDOM], strict=True)])
        lines.append([f"{(100 if place == 3 else 1) * mean(row):.{digits}f}" for row in shown])
    return lines


# --- the table


def test_gains_are_over_the_raw_model_and_intervals_are_of_questions():
    drawn = random.Random(0)
    questions = [f"q{number}" for number in range(400)]
    raw = {name: drawn.gauss(0, 5) for name in questions}
    gain = {name: drawn.gauss(1, 2) for name in questions}
    by_chance = {name: raw[name] + 0.25 for name in questions}
    ours = {name: raw[name] + gain[name] for name in questions}
    arms = {RAW: {"margin": raw}, RANDOM: {"margin": by_chance}, OURS: {"margin": ours}}
    found = quickstart_table.values(quickstart_table.MEASURES[0], arms)
    assert list(found) == [RANDOM, OURS, quickstart_table.DIFFERENCE]
    assert found[RANDOM] == pytest.approx((0.25, 0.25, 0.25, 400))
    middle = mean(gain.values())
    spread = 1.96 * math.sqrt(mean((one - middle) ** 2 for one in gain.values()) / 400)  # of the normal distribution
    assert found[OURS][:3] == pytest.approx((middle, middle - spread, middle + spread), abs=0.04)
    assert found[quickstart_table.DIFFERENCE].value == pytest.approx(middle - 0.25)


def test_equal_values_are_shown_without_an_interval():
    assert quickstart_table.Value(50.0, 40.0, 60.0, 9).text(1) == "50.0 [40.0, 60.0]"
    assert quickstart_table.Value(0.0, 0.0, 0.0, 9).text(1) == "0.0"


def test_an_unknown_region_is_one_sentence(tmp_path):
    done = caredio("quickstart", "--train", "atlantis", "--out", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown region 'atlantis'; known are china, mexico, south_korea." in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_training_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="give train"):
        quickstart.quickstart(tmp_path / "run", model="my/model")


def test_a_model_that_is_not_there_is_known_before_anything_is_ranked(tmp_path, embedded_home):
    with pytest.raises(InputError, match="cannot be loaded"):
        quickstart.quickstart(tmp_path / "run", train="mexico", model=str(tmp_path / "nothing"))
    assert not (tmp_path / "run").exists()


def caredio(*arguments, **settings):
    command = [sys.executable, "-m", "caredio.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


# --- the embedded model


# the command with fewer rows, steps and written answers, which the whole has the time of ten minutes for
# (its memory is told by itself: what a parent is told of a child counts the parent's own, before the child began)
FEWER = """
import pathlib, re, resource, sys
from caredio import cli, quickstart_training
quickstart_training.Trial.__init__.__defaults__ = (None, quickstart_training.Size(rows=32, steps=8, written=6))
try:
    cli.main()
finally:
    own = int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
    largest = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print(f"{largest} KiB in the largest process", file=sys.stderr)
"""


def fewer(*arguments, **settings):
    command = [sys.executable, "-c", FEWER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_real_screen(tmp_path, embedded_home):
    done = fewer("quickstart", "--train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    training = tmp_path / "runs" / "quickstart" / "training"
    documents = {region: quickstart_people().asked(region) for region in ("china", "mexico")}
    numbers_are_those_of_the_files(done.stdout, documents, training, "china")
    held_out_questions_are_nowhere(training)
    largest = int(re.search(r"(\d+) KiB in the largest process", done.stderr)[1])
    assert 0.5 * 2**20 < largest < 3 * 2**20, f"{largest} KiB"
    print(done.stdout, f"{largest / 2**20:.2f} GiB in the largest process")
    made = {file: file.stat().st_mtime_ns for file in training.rglob("*") if file.suffix in (".json", ".safetensors")}
    again = fewer("quickstart", "--train", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert "%|" not in done.stderr + again.stderr
    assert not re.search(r"asked|steps by one|rows in ", again.stderr)
    assert again.stderr.count("unchanged") == 6 + 6 + 2
    unchanged = {file: file.stat().st_mtime_ns for file in made if file.parent.name != "training"}
    assert unchanged == {file: made[file] for file in unchanged}
    sample, whole = re.findall(r"^  caredio (curve .+)$", done.stdout, re.MULTILINE)
    plan = caredio(*_planned(sample), cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert "left out" not in plan.stderr  # there are rows for each budget
    assert "runs/blend: is no run folder" in caredio(*_planned(whole), cwd=tmp_path).stderr


def _planned(command):
    """The words of a command, whose flags of the recipe stand behind --, with --dry-run."""
    ours, flags = command.split(" -- ")
    return [*ours.split(), "--dry-run", "--", *flags.split()]
