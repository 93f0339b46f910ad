"""A table of one's own: from a file or the Hub, with its columns found or named, and chats read as TRL writes them."""

import json
import subprocess
import sys
import textwrap
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hub_server import HubServer

import caredio
from caredio import features, runs, tablefile
from caredio.errors import InputError
from caredio.selection import source
from caredio.selection.settings import Settings


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def renamed(columns, **settings):
    return source.renamed(tablefile.of(Dataset.from_dict(columns), "t.csv"), Settings(**settings))[0]


def listed(columns, **settings):
    """As `renamed`, of cells that Arrow need not be able to hold, as JSON has them."""
    table = tablefile.Table("t.json", list(columns), columns.__getitem__)
    return source.renamed(table, Settings(**settings))


PLAIN = {"question": ["Why?"], "response": ["So."], "culture": ["japan"]}


def test_columns_that_bear_our_names_stay():
    rows = renamed({**PLAIN, "question_id": ["q1"], "language": ["ja"], "note": ["x"]})
    assert rows.to_list() == [
        {"question": "Why?", "response": "So.", "culture": "japan", "question_id": "q1", "language": "ja"}
    ]


@pytest.mark.parametrize("cells", [["3", " 0.5 ", ""], [3, 0.5, None], [Decimal(3), np.float32(0.5), float("nan")]])
@pytest.mark.parametrize("name", ["weight", "annotators"])
def test_weights_are_numbers_of_whatever_kind_and_an_empty_cell_is_null(cells, name):
    table = {column: values * 3 for column, values in PLAIN.items()} | {name: cells}
    settings = {} if name == "weight" else {"weight_column": name}
    rows, left = listed(table, **settings)
    assert rows["weight"][:] == [3.0, 0.5, None]
    assert not left


def test_a_table_whose_weights_are_not_named_has_none():
    assert "weight" not in renamed({**PLAIN, "annotators": [3]}).column_names
    with pytest.raises(InputError, match=r"t\.csv: no column people; found"):
        renamed(PLAIN, weight_column="people")
    with pytest.raises(InputError, match=r"t\.csv, row 1: column weight holds heavy, where a number from 0"):
        renamed({**PLAIN, "weight": ["heavy"]})


def test_the_weights_of_a_frame_are_read_by_the_column_s_name():
    frame = pd.DataFrame({**PLAIN, "people": [3]})
    assert source.run(frame, Settings(weight_column="people"))[0]["weight"][:] == [3.0]


def test_a_column_that_selection_does_not_read_stops_nothing_and_is_counted():
    odd = {"note": [["x", 1], "y"], "two\nlines": [2**70, "z"], "history": ["in 1990", 7], "traits": [{}, None]}
    taken = {"language": [["ja"], "ja"], "topic_id": [7, "t"], "sample_embedding": [["x"], 1]}
    plain = {name: cells * 2 for name, cells in PLAIN.items()}
    rows, left = listed({**plain, **odd, **taken})
    assert rows.to_list() == [
        {**{name: cells[0] for name, cells in PLAIN.items()}, "topic_id": id} for id in ("7", "t")
    ]
    assert {name: left[name] for name in ("note", "'two\\nlines'", "history", "traits")} == dict.fromkeys(
        ("note", "'two\\nlines'", "history", "traits"), "is not read"
    )
    assert left["language"] == "is left out (t.json, row 1: column language holds a list, where text was wanted)"
    assert left["sample_embedding"].startswith("is left out (t.json: column sample_embedding cannot be read (")
    assert len(left) == 6


def test_what_is_left_stands_in_run_json_and_makes_no_other_candidates(tmp_path, caplog):
    rows = [
        {
            "question": f"Question {number}?",
            "response": f"{culture} {number}",
            "culture": culture,
            "note": [number, "x"],
        }
        | {"sample_embedding": [number, 1.0], "response_embedding": [1.0, number]}
        for culture in ("japan", "china")
        for number in (1, 2, 3)
    ]
    records = []
    for keys in (set(rows[0]), set(rows[0]) - {"note"}):
        path = tmp_path / "own.jsonl"
        path.write_text("".join(json.dumps({k: row[k] for k in row if k in keys}) + "\n" for row in rows))
        caredio.select(path, out=tmp_path / f"run{len(keys)}", embedder="given", theta=0.99)
        run = tmp_path / f"run{len(keys)}"
        records.append(json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]["candidates"])
    assert records[0]["columns_left"] == {"note": "is not read"}
    assert "columns_left" not in records[1]
    assert "columns_left" not in records[0]["made_from"]["source"]
    assert records[0]["sha256"] == records[1]["sha256"]


def test_rows_that_the_table_drops_are_counted_in_run_json(tmp_path):
    path = tmp_path / "own.csv"
    lines = [f"Question {n}?,{c} {n},{c},{'spam' if n == 1 else ''}" for c in ("japan", "china") for n in (1, 2, 3)]
    path.write_text("\n".join(["question,response,culture,drop_reason", *lines]), encoding="utf-8")
    made = caredio.select(path, out=tmp_path / "run", theta=0.99, ranking="longest")
    assert len(made.ranked) == 4
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["stages"]["candidates"]["dropped"] == {"spam": 2}


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


def from_(speaker, text):
    return {"from": speaker, "value": text}


PART = {"type": "text", "text": "So"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "text": "Hm."}


@pytest.mark.parametrize(
    "chat",
    [
        [{"role": "human", "content": "Why?"}, {"role": "gpt", "content": "So."}],
        [{"role": "user", "content": "Why?"}, {"role": "model", "content": "So."}],
        [{"role": "User", "content": "Why?"}, {"role": "Bot", "content": "So."}],
        [from_("system", "Be brief."), from_("human", "Why?"), from_("gpt", "So.")],  # ShareGPT
        [from_("human", "Hi"), from_("gpt", "Hello"), from_("human", "Why?"), from_("gpt", "So.")],
        [{"role": "prompter", "content": "Why?"}, assistant("So.")],
        [user("Why?"), {"role": "assistant", "content": [PART, THOUGHT, {"type": "text", "text": "."}]}],
        [user([IMAGE, {"type": "text", "text": "Why?"}]), assistant(["So", "."])],
        [user("Why?"), assistant(None), {"role": "tool", "content": [{"x": 1}]}, assistant("So.")],
        [user("Why?"), assistant("So."), assistant(None)],
        {"role": ["user", "assistant"], "content": ["Why?", "So."]},  # datasets before 4
    ],
)
def test_chats_as_other_datasets_have_them(chat):
    rows, _ = listed({"conversations": [chat], "culture": ["japan"]})
    assert (rows["question"][0], rows["response"][0]) == ("Why?", "So.")


def test_chats_in_every_kind_of_list_that_arrow_has(tmp_path):
    message = pa.struct([("role", pa.string()), ("content", pa.large_string())])
    for kind in (pa.list_(message), pa.large_list(message), pa.list_(message, 2)):
        chats = pa.array([[user("Why?"), assistant("So.")]], kind)
        pq.write_table(pa.table({"messages": chats, "culture": ["japan"]}), tmp_path / "rows.parquet")
        rows, _ = source.run(str(tmp_path / "rows.parquet"), Settings())
        assert rows.to_list() == [{"question": "Why?", "response": "So.", "culture": "japan"}]


def test_a_chat_without_the_role_is_empty_and_a_column_without_it_is_told():
    chats = [[user("Why?"), assistant("So.")], [user("Who?")], [{"role": "narrator", "content": "x"}], None, []]
    rows, _ = listed({"messages": chats, "culture": ["japan"] * 5})
    empty, _ = listed({"messages": [[user("Why?"), assistant("")]], "culture": ["japan"]})
    assert empty["response"][:] == [None]
    assert rows["response"][:] == ["So.", None, None, None, None]
    with pytest.raises(InputError) as error:
        listed({"messages": chats[1:], "culture": ["japan"] * 4})
    assert str(error.value) == ("t.json: no turn of the assistant in column messages; roles found are narrator, user.")


@pytest.mark.parametrize(
    "cell", ['[{"role": "user", "content": "Why?"}]', 7, [["a"]], [{"role": 1, "content": "a"}], [user({"a": 1})], True]
)
def test_what_is_no_chat_where_both_come_from_one_column_is_told_by_its_row(cell):
    with pytest.raises(InputError, match=r"t.json, row 2: column messages holds .*, where chat messages were wanted"):
        listed({"messages": [[user("Why?"), assistant("So.")], cell], "culture": ["japan"] * 2})


def test_half_a_character_is_told_where_it_is_read():
    rows, left = listed({**PLAIN, "language": ["\ud83d"], "note": ["\ud83d"]})
    assert len(rows) == 1
    assert "half a character" in left["language"]
    with pytest.raises(InputError, match=r"t.json, row 1: column question holds half a character"):
        listed({**PLAIN, "question": ["\ud83d"]})


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (["seven", 7, 7.5, 2**70], ["seven", "7", "7.5", str(2**70)]),
        ([float("nan"), None, Decimal("1.50"), Decimal("nan")], [None, None, "1.50", None]),
        (["None", "NA", "nan", "007"], ["None", "NA", "nan", "007"]),
    ],
)
def test_numbers_become_text_and_nan_is_nothing(cells, text):
    plain = {name: value * len(cells) for name, value in PLAIN.items()}
    assert listed({**plain, "response": cells})[0]["response"][:] == text


def test_labels_are_their_names():
    """A culture is often a ClassLabel; its number would be a culture called 0."""
    kinds = Features({"culture": ClassLabel(names=["china", "japan"]), "n": Value("int64")})
    rows = Dataset.from_dict({"culture": [1, 0, None], "n": [1, 2, 3]}, features=kinds)
    rows = rows.add_column("question", ["a", "b", "c"]).add_column("response", [1.5, 2.0, 3.0])
    made, _ = source.renamed(tablefile.of(rows, "t"), Settings(id_column="n"))
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
        (
            {"answer": ["x"]},
            {},
            "t.csv: no column question or prompt or messages or conversations; found answer; name yours with",
        ),
        (PLAIN, {"question_column": "q"}, "t.csv: no column q; found question, response, culture."),
        (PLAIN, {"match_by": "id"}, "t.csv: no column question_id; found question, response, culture; name yours"),
        (PLAIN, {"id_column": "qid"}, "t.csv: no column qid; found question, response, culture."),
        ({**PLAIN, "response": [["a", "b"]]}, {}, "t.csv, row 1: column response holds a list, where text or chat"),
        ({**PLAIN, "response": [True]}, {}, "t.csv, row 1: column response holds true or false, where text or chat"),
        ({**PLAIN, "response": [date(2020, 1, 1)]}, {}, "t.csv, row 1: column response holds date, where text or"),
        ({**PLAIN, "culture": [[user("x")]]}, {}, "t.csv, row 1: column culture holds a list, where text was wanted."),
        ({**PLAIN, "response": [[{"role": "assistant", "content": {"a": "b"}}]]}, {}, "t.csv, row 1: column response"),
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
        Settings(**settings)


def test_a_file_is_known_by_its_name_and_hash(tmp_path):
    (tmp_path / "own.jsonl").write_text(json.dumps({name: value[0] for name, value in PLAIN.items()}) + "\n")
    _, record = source.run(str(tmp_path / "own.jsonl"), Settings(match_by="text"))
    assert set(record) == {"table", "place", "sha256", "match_by"}
    assert record["table"] == "own.jsonl"
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize("name", ["rows.xlsx", "a/b/c", "rows", "none/rows.csv"])
def test_what_can_be_no_hub_dataset_is_looked_for_among_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"unknown kind of table|cannot be read"):
        source.run(name, Settings())


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
chats = [[{"from": "human", "value": f"What is eaten at feast {n}?"}, {"from": "gpt", "value": f"{a} with dish {n}"}]
         for n in range(3) for a in ("rice", "ugali")]
odd = [{"weights": [n, n + 1]} for n in range(6)]
shared = {"conversations": chats, "culture": ["china", "kenya"] * 3, "meta": odd}
Dataset.from_dict(shared).push_to_hub("people/shared")
roles = [[{"role": "narrator", "content": "x"}, {"role": "user", "content": f"What {n}?"}] for n in range(6)]
Dataset.from_dict({"messages": roles, "culture": ["china", "kenya"] * 3}).push_to_hub("people/narrated")
"""
FEASTS = ("people/said", "--dataset-config", "feasts")
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
    asked = (*FEASTS, "--split", "asked", *NAMED)
    for revision, first in ((("--revision", "v1"), "rice with dish"), ((), "noodles with dish")):
        done = select(hub, tmp_path, *asked, *revision)
        assert done.returncode == 0, done.stderr
        assert "ranked: china 6, kenya 6" in done.stdout
        stages = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]
        record = stages["candidates"]["made_from"]["source"]
        assert (record["table"], record["dataset_config"], record["split"]) == ("people/said", "feasts", "asked")
        assert record["commit"] in {path.stem for path in hub.store.repos.rglob("people/said/commits/*.json")}
        china = runs.read([tmp_path / "run" / "ranked" / "china.parquet"])
        assert all(response.startswith(first) for response in china["response"])


def test_chats_of_a_hub_dataset_are_understood(hub, tmp_path):
    done = select(hub, tmp_path, "people/shared", "--theta", "0.99")
    assert done.returncode == 0, done.stderr
    assert "ranked: china 3, kenya 3" in done.stdout
    assert "people/shared: column meta is not read" in done.stderr
    china = runs.read([tmp_path / "run" / "ranked" / "china.parquet"])
    assert all(response.startswith("rice with dish") for response in china["response"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("people/narrated",), "no turn of the assistant in column messages; roles found are narrator, user."),
        (("nobody/said",), "nobody/said: neither a file nor a split that the Hub gives ("),
        (("people/said", "--split", "asked"), "Config name is missing"),
        (("people/said", "--dataset-config", "feasts"), 'Unknown split "train"'),
        (("people/said", "--dataset-config", "feasts", "--split", "asked", "--revision", "v9"), "Invalid rev id"),
        (
            ("people/said", "--dataset-config", "feasts", "--split", "asked"),
            "no column culture; found prompt, completion",
        ),
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


def frame(**columns):
    base = {"question": ["a?"] * 4, "response": ["w", "x", "y", "z"], "culture": ["c", "d"] * 2}
    return pd.DataFrame({**base, **columns})


def test_a_frame_s_columns_that_are_not_read_stop_nothing():
    rows, record = source.run(frame(junk=[object()] * 4, mixed=[1, "a", None, b"b"]), Settings())
    assert rows["response"][:] == ["w", "x", "y", "z"]
    assert record["table"] == "a table in memory"


def test_scalars_of_several_kinds_are_text():
    rows, _ = source.run(frame(response=[1, "a", 2.0, None]), Settings())
    assert rows["response"][:] == ["1", "a", "2.0", None]


def test_a_frame_that_cannot_be_read_is_one_sentence():
    twice = frame()
    twice.insert(0, "response", "q", allow_duplicates=True)
    surrogate = frame()
    surrogate["response"] = pd.Series(["a\ud800", "b", "c", "d"], dtype=object)
    for table, match in (
        (twice, "two columns are called response"),
        (surrogate, "column response holds what no table can"),
        (pd.DataFrame({"x": [1]}), "no column that is read; found x"),
        (frame(question=[["x"]] * 4), "column question holds a list|no turn of the user|holds"),
    ):
        with pytest.raises(InputError, match=match):
            source.run(table, Settings())
