"""Rows that are Markdown, HTML, templates, YAML and control characters: they change no card, plan, diff or terminal."""

import contextlib
import io
import json
import random
import re
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from markdown_it import MarkdownIt

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.markdown import code, inert
from caredio.publishing import screening

ROWS, CULTURES = 1_000, 10
FRAGMENTS = (
    *(
        "# Heading",
        "\n# Heading\n",
        "\nHeading\n=======\n",
        "\n---\nlicense: mit\nconfigs: []\n---\n",
        "* * *",
        "- item\n",
    ),
    *("`", "``", "```", "\n```\n", "\n~~~\n", "\n    code", "|", "\n|---|---|\n", "\\", "\\`", "&lt;b&gt;", "$$x$$"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<style>*{}</style>"),
    *("</details>", "<details open>", "</summary>", "<!--", "-->", "<![CDATA[", "\n\n<div>\n", "<b", "'\"><i>"),
    *(
        "[link](javascript:alert(1))",
        "![image](http://a.example/x.png)",
        "<http://a.example>",
        "\n[x]: http://a.example\n",
    ),
    *("{{ 1337 * 7331 }}", "{% for x in range(9) %}{{ x }}{% endfor %}", "{% raw %}", "{#", "#}", "{{", "%}", "${7*7}"),
    *(
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\x9b31m",
        "\x00",
        "\x7f",
        "\x08\x08",
        "\r",
        "\r\n",
        "\t",
        "\x0b",
        "\x85",
    ),
    *(
        "\u202etxet",
        "\u2066",
        "\u2069",
        "\u200f",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\u200b",
        "e" + "\u0301" * 40,
        "\U0001f3f4",
    ),
    *(
        "!!python/object/apply:os.system ['x']",
        "&anchor",
        "*alias",
        "key: value",
        "\n- a: [",
        "? ",
        "%YAML 1.2",
        "%s %d {0}",
    ),
    *(
        "$(id)",
        "`id`",
        "; rm -rf x",
        "../../x",
        "CON",
        "=1+1",
        "A" * 5_000,
        "\n\n\n\n",
        "'",
        '"',
        '"""',
        "\\n",
        "\\u0000",
    ),
)
TEXTS = ("question", "response", "topic_id", "level", "question_type", "universal_question", "generator", "language")


def hostile(draw, least=1):
    """A text of the grammar: fragments, with words between."""
    words = ("rice", "\u8c46\u8150", "\u062e\u0628\u0632", "tea")
    return " ".join(draw.choice((*FRAGMENTS, *words)) for _ in range(draw.randint(least, 6)))


def named(draw, number):
    """A culture's name of the grammar; names with control characters are refused."""
    text = "".join(one for one in hostile(draw, 3) if one.isprintable() or one in "\u202e\u2066\u200b")
    return f"{number} {text[:60]} {number}"


def tables(folder):
    """A hostile table and a harmless one that differs from it in its texts alone."""
    draw, numbers = random.Random(16), np.random.default_rng(16)
    names = [named(draw, number) for number in range(CULTURES)]
    rows = []
    for number in range(ROWS):
        culture, question = number % CULTURES, number // CULTURES
        row = {name: f"{hostile(draw)} {number}" for name in TEXTS}
        row |= {"question_id": f"{question}", "question": f"{row['question']} {question}", "culture": names[culture]}
        row["drop_reason"] = hostile(draw) if draw.random() < 0.05 else None
        for name in ("sample_embedding", "response_embedding"):
            row[name] = numbers.normal(size=4).round(4).tolist()
        rows.append(row)
    harmless = [
        row
        | {name: f"{'abcdefghij'[number % CULTURES] * 5} {name} {number}" for name in TEXTS}
        | {"culture": f"culture {number % CULTURES}", "drop_reason": row["drop_reason"] and "left out"}
        for number, row in enumerate(rows)
    ]
    found = {}
    for kind, made, name in (("hostile", rows, "<b> `x` {{ 1337 * 7331 }} # a"), ("harmless", harmless, "own")):
        found[kind] = folder / f"{name}.jsonl"
        found[kind].write_text("".join(json.dumps(row) + "\n" for row in made))
    return found


def published(table, out):
    """The release of a table."""
    ranking = ["--embedder", "given", "--theta", "0.99", "--budget", "8", "--match-by", "id"]
    cli.main(["select", str(table), "--out", str(out), *ranking])
    cli.main(["publish", "--out", str(out), "--version", "v1.0.0"])
    cli.main(["verify", str(out / "release")])
    return out / "release"


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """kind -> the folder of its release, and what a terminal showed meanwhile."""
    folder = tmp_path_factory.mktemp("rows")
    found = {}
    for kind, table in tables(folder).items():
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            found[kind] = published(table, folder / kind), shown.getvalue
    return {kind: (release, shown()) for kind, (release, shown) in found.items()}


def parts(release):
    """The head of a card, and the tokens of its body as the Hub renders it."""
    head, body = (release / "README.md").read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    flat = [inner for token in tokens for inner in (token, *(token.children or ()))]
    return yaml.safe_load(head), flat


def keys(value):
    """The keys of nested mappings, in order, once."""
    if isinstance(value, dict):
        return {name: keys(one) for name, one in value.items()}
    return keys(value[0]) if isinstance(value, list) and value else type(value).__name__


def of(tokens, *kinds):
    return [(token.tag, token.content, token.attrs.get("href", "")) for token in tokens if token.type in kinds]


def headings(tokens):
    return [(token.tag, after.content) for token, after in pairwise(tokens) if token.type == "heading_open"]


def columns(tokens):
    """The heads of the tables' columns."""
    return [after.content for token, after in pairwise(tokens) if token.type == "th_open"]


def test_rows_change_neither_the_head_nor_the_structure_of_a_card(releases):
    (head, tokens), (calm_head, calm) = (parts(releases[kind][0]) for kind in ("hostile", "harmless"))
    assert keys(head) == keys(calm_head)
    assert {name: head[name] for name in ("license", "tags", "size_categories")} == {
        name: calm_head[name] for name in ("license", "tags", "size_categories")
    }
    assert headings(tokens)[1:] == headings(calm)[1:]  # the first is the dataset's name, its folder
    assert of(tokens, "html_block", "html_inline") == of(calm, "html_block", "html_inline")
    assert of(tokens, "link_open") == of(calm, "link_open")
    assert len(of(tokens, "image", "fence", "code_block", "hr")) == len(of(calm, "image", "fence", "code_block", "hr"))
    assert columns(tokens) == columns(calm)


def test_no_text_of_a_row_is_run_or_acts_on_a_terminal(releases):
    release, shown = releases["hostile"]
    page = (release / "README.md").read_text(encoding="utf-8")
    assert str(1337 * 7331) not in page
    for text in (page, shown):
        assert inert(text) == text
        assert "\r" not in text
    assert "no fault" in shown
    for file in sorted(release.rglob("*")):
        if file.suffix in (".json", ".cff"):
            content = file.read_text(encoding="utf-8")
            assert inert(content) == content
            (json.loads if file.suffix == ".json" else yaml.safe_load)(content)
    assert not (release.parent / "x").exists()


def test_every_text_stands_in_the_release_as_it_was_written(releases):
    release = releases["hostile"][0]
    table = next(release.parent.parent.glob("*{*.jsonl"))
    wanted = {
        row["response"].strip()
        for line in table.read_text().split("\n")[:-1]
        if not (row := json.loads(line))["drop_reason"]
    }
    files = release.glob("*-pool/train.parquet")
    assert {text for file in files for text in pq.read_table(file)["response"].to_pylist()} == wanted


def test_the_grammar_holds_nothing_that_is_refused_and_much_that_acts():
    draw = random.Random(16)
    made = [hostile(draw) for _ in range(ROWS)]
    assert not any(map(screening.reason, made))
    assert {fragment for fragment in FRAGMENTS if any(fragment in text for text in made)} == set(FRAGMENTS)
    assert sum(inert(text) != text for text in made) > ROWS / 5


@pytest.mark.parametrize("column", ["question", "response", "culture"])
def test_half_a_character_is_refused_with_its_row_and_column(tmp_path, column):
    rows = [
        {"question": f"What of {number}?", "response": f"{culture} {number}", "culture": culture}
        for number in range(3)
        for culture in ("china", "uk")
    ]
    rows[3][column] += "\ud800"
    table = tmp_path / "own.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"own\.jsonl, line 4: column {column} holds half a character"):
        caredio.select(table, out=tmp_path / "run")


@pytest.mark.parametrize("text", ["\x1b[31m", "a\x00b", "\u202eabc", "\x9b1m", "\ud800", "a\rb"])
def test_what_acts_is_shown_as_an_escape(text):
    assert re.fullmatch(r"[ -~]+", inert(text))
    assert re.fullmatch(r"`[ -~]+`", code(text))
    assert inert("\u0645\u06cc\u200c\u062e\u0648\u0631\u0645\n\tx") == "\u0645\u06cc\u200c\u062e\u0648\u0631\u0645\n\tx"
