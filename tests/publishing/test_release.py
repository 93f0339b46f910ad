"""Releases: what lies in the folder, that it loads, and that its card is true."""

import hashlib
import json
import re
import shutil

import pytest
import yaml
from datasets import load_dataset
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

import caredio
from caredio import checkpoints, cli, cultures, features, runs
from caredio.errors import InputError
from caredio.publishing import cards, head, provenance, release
from caredio.publishing.settings import Settings
from caredio.publishing.split import is_test
from caredio.runs import Run

CULTURES = ("china", "united_kingdom", "narnia")


def table(folder, answers=("rice", "toast", "roast turnips")):
    rows = [
        {
            "question_id": f"q{number:02d}",
            "question": f"What is eaten at feast number {number * number}?",
            "response": f"{answer} with {side}, {number} times",
            "culture": culture,
        }
        for number, side in enumerate(["jam", "tea", "fish", "honey", "leeks", "beans", "plums", "ham"] * 3)
        for culture, answer in zip(CULTURES, answers, strict=True)
    ]
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    caredio.select(table(folder), out=folder, theta=0.99)
    return folder


@pytest.fixture(scope="module")
def released(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "cardset"
    return caredio.publish(run, to=folder, version="v1.0.0", test_share=0.2)


def load(folder, name, split, tmp_path):
    return load_dataset(str(folder), name, split=split, cache_dir=str(tmp_path))


def test_a_culture_loads_best_first_with_its_questions_held_out(run, released, tmp_path):
    train, test = (load(released, "china", split, tmp_path) for split in ("train", "test"))
    assert train.features == test.features == features.RANKED
    ranked = runs.read([run / "ranked" / "china.parquet"])
    assert len(train) + len(test) == len(ranked)
    assert train["rank"][:] == list(range(1, len(train) + 1))
    assert train["score"][:] == sorted(train["score"], reverse=True)
    held_out = {name for name in ranked["question_id"] if is_test(name, 0.2)}
    assert set(test["question_id"]) == held_out
    assert held_out
    assert not held_out & set(train["question_id"])


def test_a_card_gives_the_best_rows_by_the_split_and_the_rank_that_they_have_in_the_release(released, tmp_path):
    card = (released / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| China \| (train|test) \| (\d+) \| `(.*?)` \| `(.*?)` \|", card, re.MULTILINE)
    there = {
        (split, str(row["rank"]), row["question"], row["response"])
        for split in ("train", "test")
        for row in load(released, "china", split, tmp_path)
    }
    assert len(shown) == 3
    assert set(shown) <= there


def test_all_interleaves_the_cultures_and_names_them(released, tmp_path):
    rows = load_dataset(str(released), split="train", cache_dir=str(tmp_path))
    assert rows["rank"][:] == sorted(rows["rank"])
    assert set(rows["culture"][:3]) == set(CULTURES)
    for row in rows:
        (turn,) = row["prompt"]  # some chat templates refuse a system message
        line, asked = turn["content"].split("\n\n")
        name = {"china": "China", "united_kingdom": "United Kingdom", "narnia": "narnia"}[row["culture"]]
        assert (turn["role"], line, asked) == (
            "user",
            f"You answer as someone who lives in {name} would.",
            row["question"],
        )


def test_preference_pool_and_vectors_load_and_belong_together(run, released, tmp_path):
    pairs = load(released, "china-preference", "train", tmp_path)
    assert pairs.features == features.PREFERENCE
    assert set(pairs["culture"]) == {"china"}
    assert set(pairs["rejected_culture"]) <= {"united_kingdom", "narnia"}
    ranks = dict(
        zip(*(load(released, "china", "train", tmp_path)[name][:] for name in ("sample_id", "rank")), strict=True)
    )
    assert {row["sample_id"]: row["rank"] for row in pairs}.items() <= ranks.items()
    assert not set(pairs["question_id"]) & set(load(released, "china-preference", "test", tmp_path)["question_id"])
    for split in ("train", "test"):
        pairs = load(released, "china-preference", split, tmp_path)
        sides = load(released, "china-unpaired", split, tmp_path)
        assert sides.features == features.UNPAIRED
        for label, side in ((True, "chosen"), (False, "rejected")):
            wanted = {(row["sample_id"], row["rank"], row[side][0]["content"]) for row in pairs}
            found = [
                (row["sample_id"], row["rank"], row["completion"][0]["content"])
                for row in sides
                if row["label"] == label
            ]
            assert len(found) == len(set(found))
            assert set(found) == wanted
    pool = load(released, "china-pool", "train", tmp_path)
    assert pool.features == features.SCORED
    assert len(pool) == 24
    vectors = load(released, "china-vectors", "train", tmp_path)
    assert vectors.features == features.vectors(384)
    assert set(pool["sample_id"]) <= set(vectors["sample_id"])


def test_release_json_lists_every_file_and_its_hash(released):
    record = json.loads((released / "release.json").read_text())
    files = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    assert set(record["files"]) == files - {"release.json"}
    assert (record["kind"], record["version"]) == ("dataset", "v1.0.0")
    assert record["rows"]["china-pool"] == {"train": 24}


def test_release_json_lists_nothing_that_a_desktop_wrote(tmp_path):
    for name in (".DS_Store", "README.md"):
        (tmp_path / name).write_text("")
    assert list(release._sign(tmp_path, {})["files"]) == ["README.md"]


def test_the_same_release_twice_is_the_same_bytes(run, released, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = (caredio.publish(run, to="again", version="v1.0.0", test_share=0.2) for _ in range(2))
    assert one == two
    first = json.loads((released / "release.json").read_text())["files"]
    again = json.loads((tmp_path / "again" / "release.json").read_text())["files"]
    assert {name for name in first if first[name] != again[name]} == {"README.md"}  # says what the folder is called
    assert set(first) == set(again)


def test_the_dataset_card_says_what_was_built(run, released, tmp_path):
    page = (released / "README.md").read_text()
    head, body = page.split("---\n")[1:3]
    metadata = yaml.safe_load(head)
    assert {config["config_name"] for config in metadata["configs"]} == {
        "all",
        *CULTURES,
        *(f"{culture}-{view}" for culture in CULTURES for view in ("preference", "unpaired", "pool", "vectors")),
    }
    assert metadata["license"] == "unknown"
    assert "`unknown`: the publisher of this release did not state the source's licence." in body
    train, test = (len(load(released, "united_kingdom", split, tmp_path)) for split in ("train", "test"))
    scores = load(released, "united_kingdom-pool", "train", tmp_path).filter(lambda row: row["drop_reason"] is None)
    line = next(line for line in body.splitlines() if line.startswith("| United Kingdom (`united_kingdom`)"))
    assert line.split(" | ")[1:5] == [str(train), str(test), "24", f"{max(scores['score']):.3f}"]
    sha256 = hashlib.sha256(table(tmp_path).read_bytes()).hexdigest()
    assert f"Text: selected from `own.jsonl` (sha256 `{sha256}`); this build wrote none of it.\n" in body
    assert "written by" not in body
    assert "Reviewed by native speakers: no." in body
    assert "similarity of 0.99" in body
    assert "{{" not in page
    assert "None" not in page


HEADINGS = [
    *("What is in it", "Figures", "How it was made", "Limits", "Licence", "Citation"),
]


def cells(line):
    """The cells of a table's row: bars in code, or escaped, divide none."""
    return len(re.sub(r"`[^`]*`|\\\|", "", line).strip().strip("|").split("|"))


def test_the_whole_page_is_well_formed(released):
    """Headings in their order, tables of even rows, code and folds that end, pictures that are there."""
    page = (released / "README.md").read_text()
    _, body = page.split("---\n", 2)[1:]
    fences = re.findall(r"^```(\w*)$", body, re.MULTILINE)
    assert fences == ["python", "", "json", "", "bibtex", ""]
    text = re.sub(r"^```\w+$.*?^```$", "", body, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^# (.*)$", text, re.MULTILINE) == ["Ranked answers of China, United Kingdom and narnia"]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 7
    for found in tables:
        lines = found.splitlines()
        assert re.fullmatch(r"\|(---\|)+", lines[1])
        assert len(lines) > 2
        assert len({cells(line) for line in lines}) == 1, found
    assert text.count("<details>") == text.count("</details>") == 2
    assert set(re.findall(r"<(\w+)", text)) == {"details", "summary", "culture"}  # the last one in code
    pictures = re.findall(r"!\[[^\]]+\]\((.*?)\)", text)
    assert pictures == [f"figures/{name}.png" for name in ("counts", "scores", "map", "phrases")]
    assert all((released / one).read_bytes().startswith(b"\x89PNG") for one in pictures)
    assert body.index("```json") < body.index("| column |") < body.index("figures/counts.png") < body.index("## What")
    assert "\n\n\n" not in page


def test_the_example_is_the_first_row_of_the_default_config(released, tmp_path):
    body = (released / "README.md").read_text()
    shown = json.loads(re.search(r"```json\n(.*?)```", body, re.DOTALL)[1])
    row = load(released, "all", "train", tmp_path)[0]
    assert shown == {name: row[name] for name in shown}
    assert list(shown)[:3] == ["prompt", "completion", "culture"]
    assert list(shown)[-2:] == ["question_id", "sample_id"]


def test_every_column_is_described_as_it_is_written(released, tmp_path):
    body = (released / "README.md").read_text().split("Every column, and where it stands")[1]
    lines = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \| (.*) \|$", body.split("</details>")[0], re.MULTILINE)
    unused = set(re.findall(r"`(\w+)`", re.search(r"^Not used here .*", body, re.MULTILINE)[0]))
    assert {"isolated_response", "history", "truth", "generator"} <= unused
    assert not unused & {"sample_id", "rank", "others", "prompt"}
    listed = {name: kinds.split(", ") for name, _, _, kinds in lines}
    configs = {"ranked": "all", **{view: f"china-{view}" for view in ("preference", "unpaired", "pool", "vectors")}}
    for kind, config in configs.items():
        columns = load(released, config, "train", tmp_path).to_dict()
        nothing = {name for name, cells in columns.items() if all(cell in (None, []) for cell in cells)}
        assert columns.keys() - unused == {name for name, kinds in listed.items() if kind in kinds}
        assert unused & columns.keys() <= nothing
    said = {name: meaning for name, _, meaning, _ in lines}
    assert {name for name in said if said[name] != features.COLUMNS[name].meaning} == {
        *("culture", "response", "others", "weight")
    }
    assert "contrastive" not in body


def test_the_hub_s_library_reads_the_head(released, tmp_path):
    card = DatasetCard.load(released / "README.md")
    infos = DatasetInfosDict.from_dataset_card_data(card.data)
    assert list(infos) == [one["config_name"] for one in card.data.configs]
    assert list(infos)[:4] == ["all", "china", "narnia", "united_kingdom"]
    for name, info in infos.items():
        for split, size in info.splits.items():
            table = load(released, name, split, tmp_path)
            assert (size.num_examples, info.features) == (len(table), table.features)
            assert list(info.features) == table.column_names
        files = (released / name).glob("*.parquet")
        assert info.download_size == sum(file.stat().st_size for file in files)
    assert card.data.annotations_creators is None  # whoever wrote the table did not say
    assert card.data.language_creators == ["found"]
    assert card.data.pretty_name == "Ranked answers of China, United Kingdom and narnia"
    assert card.data.tags == ["culture", "alignment", "sft", "dpo", "kto", "caredio"]


def test_a_release_without_that_head_still_loads(released, tmp_path):
    """As earlier versions wrote it: no dataset_info, ids first."""
    old = tmp_path / "old"
    shutil.copytree(released / "china", old / "china")
    table = runs.read([old / "china" / "train.parquet"])
    table.select_columns(list(features.RANKED)).to_parquet(str(old / "china" / "train.parquet"))
    (old / "china" / "test.parquet").unlink()
    config = {"config_name": "china", "data_files": [{"split": "train", "path": "china/train.parquet"}]}
    (old / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': [config]})}---\n")
    rows = load(old, "china", "train", tmp_path / "cache")
    assert rows.column_names[0] == "sample_id"
    assert rows.select_columns(["sample_id"]).to_list() == table.select_columns(["sample_id"]).to_list()


def test_the_card_lists_what_changed(run, released):
    with Run(run) as opened:
        splits = json.loads((released / "release.json").read_text())["rows"]
        slugs = {culture: culture for culture in CULTURES}
        made = provenance.of_run(opened)
        arguments = (opened, Settings(), released, splits, slugs, {}, "name", made)
        assert "## Changes" not in cards.dataset_card(*arguments)
        page = cards.dataset_card(*arguments, changes=["china: 3 rows added", "a `b`\n# c"])
    assert page.endswith("## Changes\n\nOver the release before:\n\n- `china: 3 rows added`\n- `a 'b' # c`\n")


def test_the_card_of_short_answers_says_that_wordings_of_one_count_as_different(run):
    """The table's own have 22 characters and more; half of these have at most 14."""
    said = (
        "Answers are short (half of them have at most 14 characters): two wordings of one answer, such as synonyms or"
        " spellings, count as two different answers."
    )
    with Run(run) as opened:
        tables = {stage: opened.table(stage) for stage in release.TABLES}
        assert "count as two" not in " ".join(provenance.of_run(opened, tables=tables).limits)
        lengths = [3, 14, 200] * len(tables["ranked"])
        short = tables["ranked"].map(lambda row, number: {"response": "x" * lengths[number]}, with_indices=True)
        assert provenance.of_run(opened, tables={**tables, "ranked": short}).limits[-1] == said


def test_a_version_that_is_taken_again_by_other_data_tells_no_changes_of_what_was_there(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", version="v1.0.0", test_share=0)
    caredio.publish(run, to=folder, version="v1.1.0", test_share=0.3)
    told = json.loads((folder / "release.json").read_text())["changes"]
    assert told == [
        "since v1.0.0: the ranked rows are the same",
        "rows of train: 72 before, 54 now",
        "rows of test: none before, 18 now",
        "test share: 0.0 before, 0.3 now",
    ]
    caredio.publish(run, to=folder, version="v1.1.0", test_share=0.3, license="mit")
    assert json.loads((folder / "release.json").read_text())["changes"] == told
    caredio.publish(run, to=folder, version="v1.1.0", test_share=0.5)
    assert json.loads((folder / "release.json").read_text())["changes"] == []


def test_a_folder_s_versions_rise_and_the_plan_says_what_is_replaced(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", version="v1.10.0", test_share=0)
    before = (folder / "release.json").read_bytes()
    for verb in (caredio.publish, lambda *args, **given: caredio.plan(caredio.publish, *args, **given)):
        with pytest.raises(InputError) as told:
            verb(run, to=folder, version="v1.9.0")
        assert str(told.value).startswith(f"{folder}: v1.9.0 is below v1.10.0, which stands there; choose a higher")
    assert (folder / "release.json").read_bytes() == before
    said = "v1.10.0 stands there with other content, which this replaces"
    assert said in str(caredio.plan(caredio.publish, run, to=folder, version="v1.10.0", license="mit")).splitlines()
    for given in ({"version": "v1.10.0"}, {"version": "v1.11.0", "license": "mit"}):
        assert "stands there" not in str(caredio.plan(caredio.publish, run, to=folder, **given))
    # what another folder holds is another line
    assert caredio.publish(run, to=tmp_path / "other", version="v0.0.1").is_dir()


def test_a_push_without_a_token_is_refused_before_anything_is_made(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "nobody"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody is asked there
    with pytest.raises(SystemExit) as end:
        cli.main(["publish", "--out", str(run), "--to", str(tmp_path / "r"), "--push", "me/x", "--yes"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "caredio: a push to me/x needs a token of the Hub that may write there: export HF_TOKEN, or run `hf auth"
        " login`."
    )
    assert not (tmp_path / "r").exists()


def test_the_card_tells_licence_terms_and_reviewers(run, tmp_path):
    folder = caredio.publish(
        run,
        to=tmp_path / "r",
        license="cc-by-4.0",
        attribution="A | survey\n# by B",
        terms="Ask | first",
        reviewed_by="two people\n# from `Narnia`",
    )
    page = (folder / "README.md").read_text()
    assert "license: cc-by-4.0" in page
    assert "[`cc-by-4.0`](https://creativecommons.org/licenses/by/4.0/): the publisher of this release states" in page
    assert "states that the source is under this licence. The generator's terms" in page
    assert "The generator's terms: `Ask ¦ first`. Attribution: `A ¦ survey # by B`.\n" in page
    assert "Reviewed by native speakers: `two people # from 'Narnia'`." in page


@pytest.mark.parametrize(
    ("slugs", "title"),
    [
        (["china"], "Ranked answers of China"),
        (["narnia", "china"], "Ranked answers of China and narnia"),
        (["mexico", "south_korea", "china"], "Ranked answers of China, Mexico and South Korea"),
        (["mexico", "south_korea", "china", "iran", "spain"], "Ranked answers of 5 cultures"),
    ],
)
def test_a_release_in_its_run_is_called_by_whose_answers_it_holds(slugs, title):
    named = {slug: slug for slug in slugs}
    assert head.title(None, named, cultures.load()) == title
    assert head.title("caredio/cardset", named, cultures.load()) == "cardset"


def test_cultures_that_the_package_does_not_know_are_named_as_the_table_writes_them():
    named = ["Egypt", "C\u00f4te d'Ivoire", "<b>**x"]
    assert head.listed(named, {}) == f"C\u00f4te d'Ivoire, Egypt and {cultures.slug('<b>**x')}"


def test_a_line_of_ones_own_names_the_culture_and_is_kept_and_told(tmp_path, capsys):
    out, mine = tmp_path / "run", tmp_path / "mine"
    caredio.select(table(tmp_path), out=out, theta=0.99)
    shipped = (caredio.publish(out) / "README.md").read_text()
    assert "Prompts:" not in shipped
    mine.mkdir()
    (mine / "views.txt").write_text("[system]\nYou are from here.\n")
    with pytest.raises(InputError, match=r"views\.txt: slot \$name is missing"):
        caredio.publish(out, prompts=str(mine))
    assert (out / "release" / "README.md").read_text() == shipped
    (mine / "views.txt").write_text("[system]\nYou are from $name.\n")
    cli.main(["publish", "--out", str(out), "--prompts", str(mine)])
    for _ in range(2):
        rows = load_dataset(str(out / "release"), split="train", cache_dir=str(tmp_path / "cache"))
        lines = {row["prompt"][0]["content"].partition("\n\n")[0] for row in rows}
        assert "You are from United Kingdom." in lines
        page = (out / "release" / "README.md").read_text()
        assert "- Prompts: `views.txt` was changed by who built this.\n" in page
        assert (out / "prompts" / "views.txt").read_text() == (mine / "views.txt").read_text()
        assert json.loads((out / "run.json").read_text())["used"]["prompts"]["views"].endswith("from $name.\n")
        caredio.publish(out)  # with the run's own prompts


def test_prompts_of_a_model_s_release_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="prompts are given beside model"):
        caredio.publish(run, model=tmp_path, prompts=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "`plain`"), ("a`b|c\n# d", "`a'b¦c # d`"), ("", "` `"), ("<script>", "`<script>`")],
)
def test_foreign_text_cannot_leave_its_cell(text, shown):
    assert cards.code(text) == shown


def test_a_folder_with_other_things_is_not_overwritten(run, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match=r"is not empty and holds no release\.json"):
        caredio.publish(run, to=tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("version", [None, "v1.0.0"])
@pytest.mark.parametrize("content", ["{half", "[]"])
def test_a_release_whose_record_is_damaged_is_not_replaced(tmp_path, run, version, content):
    """Its version and what it leaves out stand there alone."""
    (tmp_path / "r").mkdir()
    record = tmp_path / "r" / "release.json"
    record.write_text(content)
    with pytest.raises(InputError) as told:
        caredio.publish(run, to=tmp_path / "r", version=version)
    assert str(told.value) == f"{record}: is damaged; restore it, or name another folder."
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["release.json"]
    assert record.read_text() == content


def test_a_release_that_was_cut_off_does_not_stand_in_the_way(run, tmp_path):
    (tmp_path / ".r.making").mkdir()
    (tmp_path / ".r.making" / "half.parquet").write_bytes(b"PAR1")
    folder = caredio.publish(run, to=tmp_path / "r", version="v1.0.0")
    assert not list(folder.rglob("half.parquet"))
    assert {path.name for path in tmp_path.iterdir()} == {"r"}


def test_no_question_held_out_leaves_no_test_split(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", test_share=0.0)
    assert not list(folder.rglob("test.parquet"))
    ranked = runs.read([run / "ranked" / "china.parquet"])
    assert len(load(folder, "china", "train", tmp_path / "cache")) == len(ranked)


@pytest.mark.parametrize(
    "name", ["all", "ALL", "default", "mexico-pool", "mexico-vectors", "MEXICO ", "con", "a/b", "figures"]
)
def test_no_name_of_a_culture_loses_rows(tmp_path, name):
    rows = [
        {"question_id": f"q{number}", "question": f"Question {number}?", "response": f"{one} {number}", "culture": one}
        for number in range(4)
        for one in ("mexico", "egypt", name)
    ]
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    caredio.select(own, out=tmp_path / "run", theta=0.99, length_ratio=1)
    folder = caredio.publish(tmp_path / "run", test_share=0)
    cultures = {"mexico", "egypt", name} - {"MEXICO "}  # the same as mexico
    ranked = runs.read(sorted((tmp_path / "run" / "ranked").glob("*.parquet")))
    whole = load(folder, "all", "train", tmp_path / "cache")
    assert set(ranked["culture"]) == set(whole["culture"]) == cultures
    assert len(ranked) == len(whole)
    names = [path.name for path in folder.iterdir() if path.is_dir() and path.name != "figures"]
    assert len({one.casefold() for one in names}) == 1 + 5 * len(cultures)
    for view, columns in (
        ("", features.RANKED),
        ("pool", features.SCORED),
        ("preference", features.PREFERENCE),
        ("unpaired", features.UNPAIRED),
    ):
        configs = [one for one in names if one.partition("-")[2] == view and one != "all"]
        tables = [load(folder, one, "train", tmp_path / "cache") for one in configs]
        assert sorted(table["culture"][0] for table in tables) == sorted(cultures)
        assert all(table.features == columns and len(set(table["culture"])) == 1 for table in tables)
    assert sum(len(load(folder, one, "train", tmp_path / "cache")) for one in names if one.endswith("-pool")) == 12


def test_a_release_of_an_earlier_version_is_replaced(run, tmp_path):
    """It named folders by the culture as it was spelled, and its record knew fewer fields."""
    old = tmp_path / "r"
    (old / "South Korea-pool").mkdir(parents=True)
    (old / "South Korea-pool" / "train.parquet").write_bytes(b"PAR1")
    (old / "release.json").write_text(json.dumps({"kind": "dataset", "version": "v0.0.1"}))
    caredio.publish(run, to=old, version="v1.0.0")
    assert json.loads((old / "release.json").read_text())["version"] == "v1.0.0"
    assert not (old / "South Korea-pool").exists()


def test_an_unfinished_run_is_told(tmp_path):
    with pytest.raises(InputError, match="no finished ranked table"):
        caredio.publish(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"version": "1.0"}, "version"), ({"test_share": 1.0}, "test_share"), ({"license": "CC BY 4.0"}, "cc-by-4.0")],
)
def test_settings_that_cannot_be_are_told(settings, match):
    with pytest.raises(InputError, match=match):
        Settings(**settings)


def trained(folder, method="lora"):
    folder.mkdir()
    weights = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    (folder / weights).write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "model.safetensors").write_bytes(b"old")
    record = {
        "recipe": "sft",
        "base_model": "SmolLM2-135M-Instruct",
        "method": method,
        "dataset_name": "caredio/cardset",
        "dataset_config": "china",
        "rows": 6,
        "hyperparameters": {"learning_rate": 2e-4, "seed": 42},
    }
    (folder / "training.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("to", [".", "/", "..", "a/.."])
def test_the_folder_that_a_command_runs_in_is_no_place_for_a_release(run, tmp_path, monkeypatch, capsys, to):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["publish", "--out", str(run), "--to", to])
    assert stopped.value.code == 2
    assert f"to is '{to}', which is or holds the folder that this runs in" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"name another one, such as \./release"):
        caredio.publish(run, to=to)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_no_folder_is_one_sentence():
    with pytest.raises(InputError, match=r"^data is 5; give a run folder"):
        caredio.plot(5)


def test_a_model_release_holds_weights_card_and_no_pickle(run, tmp_path):
    folder = caredio.publish(run, model=trained(tmp_path / "china-sft"), to=tmp_path / "r", version="v0.2.0")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {"README.md", "adapter_model.safetensors", "config.json", "release.json", "training.json"}
    page = (folder / "README.md").read_text()
    metadata = yaml.safe_load(page.split("---\n")[1])
    assert metadata["base_model"] == "SmolLM2-135M-Instruct"
    assert metadata["library_name"] == "peft"
    assert "| hyperparameters.learning_rate | `0.0002` |" in page
    assert "AutoPeftModelForCausalLM" in page
    assert "This release was not evaluated." in page


def test_a_model_card_shows_a_few_settings_and_folds_the_rest(run, tmp_path):
    record = json.loads((trained(tmp_path / "m") / "training.json").read_text())
    record["result"] = {"first_loss": 3.5, "last_loss": 2.5, "steps": 75}
    page = cards.model_card(record, Settings(), [], "caredio/model")
    short, rest = page.split("<details>")
    assert (
        "| learning_rate | `0.0002` |\n\nThe loss went from 3.500 in the first step to 2.500 in the last ones." in short
    )
    assert "steps" not in short
    assert "| result.steps | `75` |" in rest.split("</details>")[0]
    assert "The recipe `sft` learns the culture's own answers, word by word." in short


@pytest.mark.parametrize(("culture", "shown"), [("osterreich", True), ("china", False)])
def test_a_model_card_shows_the_results_of_a_culture_whose_slug_is_not_its_name(tmp_path, culture, shown):
    record = json.loads((trained(tmp_path / "m") / "training.json").read_text())
    record |= {"cultures": ["Österreich"], "dataset_config": None}
    row = {"system": "trained", "benchmark": "held_out", "metric": "margin", "culture": culture, "n": 9, "value": 0.5}
    row |= {"low": 0.25, "high": 0.75, "benchmark_sha256": "ab" * 32}
    page = cards.model_card(record, Settings(), [row], "caredio/model")
    assert ("| 9 | 0.500 | 0.250 to 0.750 |" in page) is shown
    assert ("This release was not evaluated." in page) is not shown


def test_the_card_of_a_merged_adapter_loads_a_whole_model(tmp_path):
    record = json.loads((trained(tmp_path / "sft") / "training.json").read_text())
    page = cards.model_card({**record, "merged": {"base": "m"}}, Settings(), [], "caredio/model")
    head = yaml.safe_load(page.split("---")[1])
    assert (head["library_name"], head.get("base_model_relation", "finetune")) == ("transformers", "finetune")
    assert "PeftModel" not in page


def test_a_model_card_shows_no_more_than_five_hyper_parameters(tmp_path):
    record = json.loads((trained(tmp_path / "m") / "training.json").read_text())
    record["hyperparameters"] = {
        **{"learning_rate": 1e-5, "rows_per_step": 8, "num_train_epochs": 3, "beta": 0.1, "optim": "adamw"},
        "max_length": 1024,
    }
    record["lora"] = {"r": 16, "lora_alpha": 32}
    page = cards.model_card(record, Settings(), [], "caredio/model")
    short = page.split("## Training")[1].split("<details>")[0]
    rows = [line for line in short.splitlines() if line.startswith("| ") and line != "| | |"]
    assert rows == [
        "| learning_rate | `1e-05` |", "| rows_per_step | `8` |", "| num_train_epochs | `3` |", "| beta | `0.1` |",
        "| lora.r | `16` |",
    ]  # fmt: skip
    assert "| hyperparameters.optim | `adamw` |" in page.split("<details>")[1]


def test_the_loss_is_drawn_where_training_json_keeps_it(tmp_path):
    source = trained(tmp_path / "m")
    release.model(source, tmp_path / "none", Settings(), None, "m")
    assert not (tmp_path / "none" / "figures").exists()
    record = json.loads((source / "training.json").read_text())
    record["result"] = {"first_loss": 3.5, "last_loss": 2.5, "losses": [[1, 3.5], [5, 3.0], [10, 2.5]]}
    (source / "training.json").write_text(json.dumps(record))
    made = [release.model(source, tmp_path / name, Settings(), None, "m") for name in ("one", "two")]
    assert made[0]["files"] == made[1]["files"]
    assert "![Loss at each logged step](figures/loss.png)" in (tmp_path / "one" / "README.md").read_text()
    assert (tmp_path / "one" / "figures" / "loss.png").read_bytes().startswith(b"\x89PNG")
    head = yaml.safe_load((tmp_path / "one" / "README.md").read_text().split("---\n")[1])
    assert (head["base_model_relation"], head["datasets"]) == ("adapter", ["caredio/cardset"])


def test_the_card_of_a_preference_model_shows_how_to_score(run, tmp_path):
    record = json.loads((trained(tmp_path / "m") / "training.json").read_text()) | {"recipe": "reward"}
    page = cards.model_card(record, Settings(), [], "caredio/model")
    assert "AutoPeftModelForSequenceClassification.from_pretrained(" in page
    assert "num_labels=1)" in page
    assert yaml.safe_load(page.split("---\n")[1])["pipeline_tag"] == "text-classification"
    assert "It scores answers and writes none" in page


def test_a_model_card_tells_its_results(run, tmp_path):
    record = json.loads((trained(tmp_path / "m", "full") / "training.json").read_text())
    row = {"system": "trained", "culture": "china", "benchmark": "hard", "metric": "acc", "n": 8}
    results = [{**row, "value": 0.25, "low": 0.0714, "high": 0.5907, "benchmark_sha256": "0123456789abcdef"}]
    page = cards.model_card(record, Settings(), results, "caredio/model")
    assert "| `trained` | `hard` | `acc` | 8 | 0.250 | 0.071 to 0.591 | `china` | `0123456789ab` |" in page
    assert 'AutoModelForCausalLM.from_pretrained("caredio/model", revision="v0.1.0")' in page


def test_a_model_card_tells_numbers_that_are_no_shares(run, tmp_path):
    record = json.loads((trained(tmp_path / "m", "full") / "training.json").read_text())
    row = {"system": "trained", "culture": "china", "metric": "margin", "benchmark_sha256": "0123456789abcdef"}
    several = {**row, "benchmark": "blend_answers", "n": 8, "value": 12.5, "low": -1.25, "high": 26.0}
    one = {**row, "benchmark": "held_out", "n": 1, "value": -2.0, "low": None, "high": None}
    page = cards.model_card(record, Settings(), [several, one], "caredio/model")
    assert "| `blend_answers` | `margin` | 8 | 12.500 | -1.250 to 26.000 | `china` |" in page
    assert "| `held_out` | `margin` | 1 | -2.000 | none | `china` |" in page
    assert "with 95 % intervals over n questions: Wilson's of shares, else the bootstrap's of the mean." in page
    assert page.count("is in-distribution") == 1
    assert "in-distribution" not in cards.model_card(record, Settings(), [several], "caredio/model")


def test_a_folder_that_no_recipe_wrote_is_told(run, tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(InputError, match="is no trained model"):
        caredio.publish(run, model=tmp_path / "m")


def test_another_training_does_not_take_the_place_of_a_release(tmp_path):
    folder, chosen = tmp_path / "release", Settings(version="v1.0.0")
    source = trained(tmp_path / "m")
    release.model(source, folder, chosen, None, "m")
    release.model(source, folder, chosen, None, "m")  # the same once more
    page = (folder / "README.md").read_bytes()
    record = json.loads((source / "training.json").read_text()) | {"recipe": "kto"}
    (source / "training.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"holds v1\.0\.0 of another training \(sft\); name another folder"):
        release.model(source, folder, chosen, None, "m")
    assert (folder / "README.md").read_bytes() == page
    release.model(source, folder, Settings(version="v1.1.0"), None, "m")
    assert json.loads((folder / "release.json").read_text())["training"]["recipe"] == "kto"


def test_a_model_release_ships_its_results_for_the_hub(tmp_path):
    source = trained(tmp_path / "m")
    own = {"weights_sha256": checkpoints.sha256(source), "base_sha256": None, "benchmark_sha256": "ab" * 32}
    row = dict.fromkeys(features.RESULTS) | own | {"settings_sha256": "cd" * 32, "low": 0.2, "high": 0.6}
    row |= {"system": "trained", "culture": "china", "benchmark": "culturalbench_easy", "metric": "acc"}
    results = features.table([{**row, "n": 59, "value": 0.5}], features.RESULTS)
    made = release.model(source, tmp_path / "release", Settings(), results, "m")
    (entry,) = yaml.safe_load((tmp_path / "release/.eval_results/kellycyy__CulturalBench.yaml").read_text())
    assert entry["dataset"] == {"id": "kellycyy/CulturalBench", "task_id": "caredio_culturalbench_easy_china"}
    assert entry["value"] == 50.0
    assert ".eval_results/kellycyy__CulturalBench.yaml" in made["files"]
