"""A table of one's own: from a file or the Hub, with its columns found or named, and chats read as TRL writes them."""

import json
import subprocess
import sys
import textwrap

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hub_server import HubServer

from caredio import features, runs
from caredio.errors import InputError
from caredio.selection import source
from caredio.selection.source import Config


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def renamed(columns, **settings):
    return source.renamed(Dataset.from_dict(columns), Config(**settings), "t.csv")


PLAIN = {"question": ["Why?"], "response": ["So."], "culture": ["japan"]}


def test_columns_that_bear_our_names_stay():
    rows = renamed({**PLAIN, "question_id": ["q1"], "note": ["x"]})
    assert rows.to_list() == [
        {"note": "x", "question": "Why?", "response": "So.", "culture": "japan", "question_id": "q1"}
    ]


def test_named_columns_go_before_those_that_bear_our_names():
    columns = {**PLAIN, "prompt": ["Who?"], "said": ["Me."], "country": ["china"], "qid": [7]}
    names = {"question_column": "prompt", "response_column": "said", "culture_column": "country", "id_column": "qid"}
    (row,) = renamed(columns, **names)
    assert {name: row[name] for name in features.OWN} == {
        "question_id": "7",
        "question": "Who?",
        "response": "Me.",
        "culture": "china",
    }


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        ({"messages": [[user("Why?"), assistant("So.")]]}, {}),
        ({"messages": [[{"role": "system", "content": "Be brief."}, user("Why?"), assistant("So.")]]}, {}),
        ({"messages": [[user("Hi"), assistant("Hello"), user("Why?"), assistant("So.")]]}, {}),
        ({"prompt": [[user("Why?")]], "completion": [[assistant("So.")]]}, {}),
        ({"prompt": ["Why?"], "completion": ["So."]}, {}),
        ({"chat": [[user("Why?"), assistant("So.")]]}, {"question_column": "chat", "response_column": "chat"}),
        ({"prompt": [[user("Why?")]], "chosen": [[user("Why?"), assistant("So.")]]}, {"response_column": "chosen"}),
    ],
)
def test_chats_as_trl_s_datasets_have_them(columns, settings):
    (row,) = renamed({**columns, "culture": ["japan"]}, **settings)
    assert (row["question"], row["response"]) == ("Why?", "So.")


@pytest.mark.parametrize(
    ("messages", "asked", "answered"),
    [
        ([user("a"), assistant("b"), user("c")], "c", None),  # its answer is missing; b answers another question
        ([assistant("b")], None, "b"),
        ([user("a"), assistant("calls a tool"), {"role": "tool", "content": "7"}, assistant("b")], "a", "b"),
        ([], None, None),
        (None, None, None),
    ],
)
def test_a_turn_of_a_chat(messages, asked, answered):
    assert (source.turn(messages, "user"), source.turn(messages, "assistant")) == (asked, answered)


def test_labels_are_their_names():
    """A culture is often a ClassLabel; its number would be a culture called 0."""
    kinds = Features({"culture": ClassLabel(names=["china", "japan"]), "n": Value("int64")})
    rows = Dataset.from_dict({"culture": [1, 0, None], "n": [1, 2, 3]}, features=kinds)
    rows = rows.add_column("question", ["a", "b", "c"]).add_column("response", [1.5, 2.0, 3.0])
    made = source.renamed(rows, Config(id_column="n"), "t")
    assert made["culture"][:] == ["japan", "china", None]
    assert made["question_id"][:] == ["1", "2", "3"]
    assert made["response"][0] == "1.5"


@pytest.mark.parametrize(
    ("ids", "settings", "kept"),
    [
        (True, {}, True),
        (True, {"match_by": "id"}, True),
        (True, {"match_by": "text"}, False),
        (False, {}, False),
        (False, {"match_by": "text"}, False),
    ],
)
def test_questions_match_by_id_or_by_text(ids, settings, kept):
    made = renamed({**PLAIN, **({"question_id": ["q1"]} if ids else {})}, **settings)
    assert ("question_id" in made.column_names) == kept


@pytest.mark.parametrize(
    ("columns", "settings", "said"),
    [
        ({"answer": ["x"]}, {}, "t.csv: no column question or prompt or messages; found answer; name yours with"),
        (PLAIN, {"question_column": "q"}, "t.csv: no column q; found question, response, culture."),
        (PLAIN, {"match_by": "id"}, "t.csv: no column question_id; found question, response, culture; name yours"),
        (PLAIN, {"id_column": "qid"}, "t.csv: no column qid; found question, response, culture."),
        ({**PLAIN, "response": [["a", "b"]]}, {}, "t.csv: column response holds List(Value('string')), where text or"),
        ({**PLAIN, "response": [True]}, {}, "t.csv: column response holds Value('bool'), where text or chat messages"),
        ({**PLAIN, "culture": [[user("x")]]}, {}, "t.csv: column culture holds List("),
        (
            {**PLAIN, "response": [[{"role": "assistant", "content": ["a", "b"]}]]},
            {},
            "t.csv: column response holds List(",
        ),
    ],
)
def test_a_column_that_is_missing_or_holds_no_text_is_told(columns, settings, said):
    with pytest.raises(InputError) as error:
        renamed(columns, **settings)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"match_by": "guess"}, {"match_by": "text", "id_column": "qid"}])
def test_settings_that_cannot_be_are_told(settings):
    with pytest.raises(InputError, match="match_by"):
        Config(**settings)


def test_a_file_is_known_by_its_name_and_hash(tmp_path):
    (tmp_path / "own.jsonl").write_text(json.dumps({name: value[0] for name, value in PLAIN.items()}) + "\n")
    _, record = source.run(str(tmp_path / "own.jsonl"), Config(match_by="text"))
    assert set(record) == {"table", "sha256", "match_by"}
    assert record["table"] == "own.jsonl"


@pytest.mark.parametrize("name", ["rows.xlsx", "a/b/c", "rows", "none/rows.csv"])
def test_what_can_be_no_hub_dataset_is_looked_for_among_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"unknown kind of table|cannot be read"):
        source.run(name, Config())


ROWS = """
from datasets import ClassLabel, Dataset, Features, Value
from huggingface_hub import HfApi

def rows(answers):
    asked = [[{"role": "user", "content": f"What is eaten at feast {n}?"}] for n in range(6) for _ in answers]
    said = [[{"role": "assistant", "content": f"{a} with dish {n}"}] for n in range(6) for a in answers]
    table = Dataset.from_dict({"prompt": asked, "completion": said, "country": [0, 1] * 6, "number": [
        n for n in range(6) for _ in answers]})
    return table.cast_column("country", ClassLabel(names=["china", "kenya"]))

rows(["rice", "ugali"]).push_to_hub("people/said", "feasts", split="asked")
HfApi().create_tag("people/said", tag="v1", repo_type="dataset")
rows(["noodles", "chapati"]).push_to_hub("people/said", "feasts", split="asked")
rows(["soup", "stew"]).push_to_hub("people/said", "other", split="asked")
"""
NAMED = ("--culture-column", "country", "--id-column", "number", "--theta", "0.99")


def process(hub, home, *command):
    return subprocess.run(
        [sys.executable, *map(str, command)], env=hub.environment(home), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A Hub that holds people/said, twice."""
    folder = tmp_path_factory.mktemp("hub")
    with HubServer(folder / "store") as hub:
        done = process(hub, folder / "home", "-c", textwrap.dedent(ROWS))
        assert done.returncode == 0, done.stderr
        yield hub


def select(hub, folder, *arguments):
    return process(hub, folder / "home", "-m", "caredio.cli", "select", *arguments, "--out", folder / "run")


def test_a_hub_dataset_is_ranked_at_the_commit_that_its_revision_names(hub, tmp_path):
    asked = ("people/said", "--config", "feasts", "--split", "asked", *NAMED)
    for revision, first in ((("--revision", "v1"), "rice with dish"), ((), "noodles with dish")):
        done = select(hub, tmp_path, *asked, *revision)
        assert done.returncode == 0, done.stderr
        assert "ranked: china 6, kenya 6" in done.stdout
        stages = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]
        record = stages["candidates"]["made_from"]["source"]
        assert (record["table"], record["config"], record["split"]) == ("people/said", "feasts", "asked")
        assert record["commit"] in {path.stem for path in hub.store.repos.rglob("people/said/commits/*.json")}
        china = runs.read([tmp_path / "run" / "ranked" / "china.parquet"])
        assert all(response.startswith(first) for response in china["response"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody/said",), "nobody/said: neither a file nor a split that the Hub gives ("),
        (("people/said", "--split", "asked"), "Config name is missing"),
        (("people/said", "--config", "feasts"), 'Unknown split "train"'),
        (("people/said", "--config", "feasts", "--split", "asked", "--revision", "v9"), "Invalid rev id"),
        (("people/said", "--config", "feasts", "--split", "asked"), "no column culture; found prompt, completion"),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(hub, tmp_path, arguments, said):
    done = select(hub, tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert hub.token not in done.stderr
    assert said in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_hub_that_is_not_there_is_told(tmp_path):
    with HubServer(tmp_path / "store") as gone:
        pass
    done = select(gone, tmp_path, "people/said")
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("caredio: people/said: neither a file nor a split")
