"""The page to rate on, in a real browser: two at once, by keyboard alone, through a kill and a damaged file."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from datasets import Dataset
from llm_server import LLMServer
from rating_tables import ranked_rows, run_folder

import caredio
from caredio import features
from caredio.app import annotations, rate, rating_export, rating_tasks, shelf
from caredio.app.annotations import Annotations

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=60_000)

HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'> {{7*7}} ${7*7} **bold** `x`"
OTHERS = [("iran", HOSTILE), ("iran", "saffron rice"), ("mexico", "corn")]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A run and another of the same culture."""
    folder = tmp_path_factory.mktemp("places")
    rows = ranked_rows(
        ("china", 1, HOSTILE, HOSTILE + "!"), ("china", 2, "q2", "rice"), ("china", 3, "q3", "duck"), others=OTHERS
    )
    run_folder(folder / "run", rows)
    run_folder(folder / "other", ranked_rows(("china", 1, "q2", "bread"), ("china", 2, "q3", HOSTILE + "?")))
    return folder


@contextmanager
def serving(*arguments):
    """The address of `caredio rate`, its process, and what it said before it served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with served_at(port, *arguments) as found:
        yield found


@contextmanager
def served_at(port, *arguments):
    command = [sys.executable, "-m", "caredio.cli", "rate", *map(str, arguments), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    said = []
    for line in process.stdout:
        said.append(line)
        if "is the page to rate on" in line:
            break
    try:
        yield said[-1].split()[0], process, said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def served(places):
    """The address of a page on both, and where it keeps what is said."""
    folder = places / "said"
    with serving(places / "run", places / "other", "--out", folder) as (address, _, _):
        yield address, folder


def sign_in(page, name, kind=None):
    page.get_by_label("Your name").fill(name)
    if kind:
        page.get_by_label("What to do").select_option(kind)
    page.get_by_role("button", name="Start").click()
    page.get_by_text(re.compile("task [0-9]+ of")).wait_for()


def answer(page, text):
    """The answer that says `text`."""
    return page.locator("li.item").filter(has=page.get_by_text(text, exact=True))


def saved(page):
    """Wait until all that was clicked is on the disk."""
    expect(page.locator(".rate .status")).to_have_text(re.compile("^Saved"))


def give(item, rating):
    """Click a rating of an answer, and wait until it is kept."""
    item.get_by_label(str(rating), exact=True).click()
    expect(item).to_have_attribute("aria-label", re.compile(f"rated {rating}$"))
    saved(item.page)


SLOW = """delay => {
  const real = window.fetch;
  const wait = () => new Promise((done) => setTimeout(done, delay / 2));
  window.fetch = async (...given) => {
    if (!String(given[0]?.url || given[0]).includes("component_server")) return real(...given);
    await wait();
    const reply = await real(...given);
    await wait();
    return reply;
  };
}"""


@pytest.fixture(params=[200, 400])
def slow(request, places, look, tmp_path):
    """A page on a line that takes so many milliseconds for a reply, and where it keeps what is said."""
    with serving(places / "run", "--out", tmp_path / "said") as (address, _, _):
        page = look(address)
        page.evaluate(SLOW, request.param)
        sign_in(page, "Amina")
        yield page, tmp_path / "said"


def press(page, *keys):
    """Press keys, a fifth of a second apart."""
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(200)


def texts(page):
    """The answers, the best first."""
    return page.locator("li.item .text").all_inner_texts()


def rated(folder, name=None):
    """response -> rating of what an annotator said, or all did, on the disk."""
    who = None
    if name:
        with Annotations(folder) as kept:
            who = kept.annotator(name)
    found, notes = annotations.read(folder)
    assert notes == []
    return {
        (one.task.question_id, item.response): one.said.ratings[item.sample_id]
        for one in found
        if who in (None, one.annotator)
        for item in one.task.items
        if item.sample_id in one.said.ratings
    }


def test_two_annotators_at_once_each_keep_their_own(places, look):
    with serving(places / "run", "--out", places / "two") as (address, _, _):
        pages = {name: look(address) for name in ("Amina", "Bo")}
        for name, page in pages.items():
            sign_in(page, name)
        for rating in (3, 9):  # in turns, on one task
            for at, page in enumerate(pages.values()):
                give(answer(page, HOSTILE + "!"), rating - at)
        for page in pages.values():
            expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()
            assert page.evaluate("window.hacked") is None
            assert page.locator(".rate script, .rate img, .rate b").count() == 0
            shown = page.content() + page.locator(".rate").inner_text()
            assert not re.search("iran|mexico|places|saffron-|runs?/run", shown.split("</head>")[1], re.IGNORECASE)
    assert rated(places / "two", "Amina") == {(HOSTILE, HOSTILE + "!"): 9}
    assert rated(places / "two", "Bo") == {(HOSTILE, HOSTILE + "!"): 8}


def test_the_keyboard_alone_rates_orders_and_goes_on(places, look):
    with serving(places / "run", "--out", places / "keys") as (address, _, _):
        page = look(address)
        keys = page.keyboard
        expect(page.get_by_label("Your name")).to_be_focused()
        keys.type("Amina")
        keys.press("Enter")
        page.get_by_text("task 1 of 3").wait_for()
        first = page.locator("li.item").first
        expect(first).to_be_focused()
        text = first.locator(".text").inner_text()
        keys.press("0")
        expect(answer(page, text).get_by_label("10", exact=True)).to_be_checked()
        keys.press("Shift+ArrowDown")
        expect(page.locator("li.item").nth(1).locator(".text")).to_have_text(text)
        expect(page.locator("li.item").nth(1)).to_be_focused()
        keys.press("x")
        comment = answer(page, text).get_by_label("why it is not true here")
        comment.wait_for()
        for _ in range(12):  # past the buttons, the scale and the box
            keys.press("Tab")
            if comment.evaluate("one => one === document.activeElement"):
                break
        keys.type("not 1 of us")
        expect(page.get_by_role("note")).to_contain_text("is not true here, and is rated 10.")
        saved(page)
        for _ in range(40):
            keys.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "Next":
                break
        keys.press("Enter")
        page.get_by_text("task 2 of 3").wait_for()
        keys.press("p")
        page.get_by_text("task 1 of 3").wait_for()
        expect(answer(page, text).get_by_label("why it is not true here")).to_have_value("not 1 of us")
    ((_, task, said),), _ = annotations.read(places / "keys")
    (moved,) = [item.sample_id for item in task.items if item.response == text]
    assert said.ratings == {moved: 10}
    assert said.untrue == {moved: "not 1 of us"}
    assert said.order.index(moved) == 1


def test_two_datasets_side_by_side(served, look):
    address, folder = served
    page = look(address)
    sign_in(page, "Chen", "compare")
    sides = [one.inner_text() for one in page.locator("li.item .text:not(.asked)").all()]
    assert set(sides) == {"rice", "bread"}
    page.keyboard.press("1")  # the first question is focused
    expect(page.get_by_role("group", name="accurate").get_by_label("Left")).to_be_checked()
    page.get_by_role("group", name="salient").get_by_label("Equal").click()
    page.get_by_text("1 done").wait_for()
    page.keyboard.press("n")
    page.get_by_text("task 2 of 2").wait_for()
    rows = [row for row in rating_export.load(folder).study() if row["annotator"]]
    better = {row["measure"]: row["better"].rpartition("/")[2] for row in rows}
    assert better == {"accuracy": "run" if sides[0] == "rice" else "other", "salience": "same"}
    assert page.evaluate("window.hacked") is None


def test_a_killed_server_and_a_damaged_file_lose_no_click_that_was_answered(places, look):
    folder = places / "killed"
    with serving(places / "run", "--out", folder) as (address, process, _):
        page = look(address)
        sign_in(page, "Amina")
        for at in range(page.locator("li.item").count()):
            give(page.locator("li.item").nth(at), 7)
        expect(page.get_by_text("1 done")).to_be_visible()
        page.get_by_role("button", name="Next").click()
        page.get_by_text("task 2 of 3").wait_for()
        give(answer(page, "rice"), 4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        answer(page, "rice").get_by_label("9", exact=True).click()
        expect(page.locator(".rate .status")).to_have_text(re.compile("^Not saved"))
        expect(answer(page, "rice").get_by_label("4", exact=True)).to_be_checked()  # what is kept
    (file,) = folder.glob("*.jsonl")
    with file.open("ab") as content:
        content.write(b'{"crc32": 12, "line": {"task": {"task_id": "\xff\xfe')
    with served_at(int(address.rstrip("/").rpartition(":")[2]), places / "run", "--out", folder) as (_, _, said):
        assert "a line could not be read and is kept in" in said[0]
        give(answer(page, "rice"), 9)  # the page stayed open
        page.reload()
        page.get_by_text("task 2 of 3, 1 done").wait_for()  # goes on where it was
        expect(answer(page, "rice").get_by_label("9", exact=True)).to_be_checked()
    found = rated(folder, "Amina")
    assert found["q2", "rice"] == 9
    assert sorted(found.values()) == [7, 7, 7, 7, 9]
    assert file.with_suffix(".damaged").read_bytes().endswith(b"\xff\xfe\n")


def test_what_was_rated_stands_after_the_run_is_ranked_anew(tmp_path, look):
    run = tmp_path / "run"
    table = [
        {"question_id": f"q{at}", "question": f"What is eaten at feast {at}?", "response": said, "culture": culture}
        for at in range(3)
        for culture, dishes in {"china": ("duck", "rice", "tea and jam"), "iran": ("saffron cake",)}.items()
        for said in (f"{dish} {at}" for dish in dishes)
    ]

    def rank(server, **given):
        given |= {"embedder": "openai:m", "base_url": server.url, "theta": 0.99}
        caredio.select(Dataset.from_list(table), out=run, store=tmp_path / "store", **given)
        return rating_tasks.rating("china", shelf.open(run))

    def untrue(page):
        iranian = page.locator("li.item").filter(has_text="saffron cake")
        return iranian.get_by_role("checkbox", name="Not true here")

    with LLMServer() as server:
        before = rank(server)
        with serving(run) as (address, _, _):
            page = look(address)
            sign_in(page, "Amina")
            page.get_by_text("task 1 of 3, 0 done").wait_for()
            asked = page.locator(".rate h2").inner_text()
            for at in range(page.locator("li.item").count()):
                give(page.locator("li.item").nth(at), at + 4)
            given = {one.locator(".text").inner_text(): at + 4 for at, one in enumerate(page.locator("li.item").all())}
            untrue(page).click()
            saved(page)
            page.get_by_text("task 1 of 3, 1 done").wait_for()
        after = rank(server, budget=4)
    assert len(given) == 4
    assert not set(before.names) & set(after.names)
    with serving(run) as (address, _, _):
        page = look(address)
        sign_in(page, "Amina")
        page.get_by_text(f"of {len(after)}, 1 done").wait_for()
        number = [task.items[0].question for task in after.own].index(asked)
        key, step = ("n", 1) if number else ("p", -1)
        for at in range(0 if number else 1, number, step):  # from the first that is not done
            page.keyboard.press(key)
            page.get_by_text(f"task {at + step + 1} of").wait_for()
        expect(page.locator(".rate h2")).to_have_text(asked)
        for one in page.locator("li.item").all():
            expect(one.get_by_label(str(given[one.locator(".text").inner_text()]), exact=True)).to_be_checked()
        expect(untrue(page)).to_be_checked()
        untrue(page).click()
        expect(page.get_by_label("why it is not true here")).to_have_count(0)
        saved(page)
        page.reload()
        page.get_by_text(f"of {len(after)}, 1 done").wait_for()
    ratings = rating_export.load(run / "ratings")
    assert {row["response"]: (row["rating"], row["not_true_here"]) for row in ratings.care()} == {
        response: (rating, False) for response, rating in given.items()
    }


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({}, "a name has 1 to 200 characters"),
        ({"name": "A", "culture": "iran", "kind": "rate"}, "choose a culture"),
        ({"name": "A", "culture": "china", "kind": "compare"}, "choose a culture"),
        ({"name": "A", "culture": "china", "kind": "rate", "task": 99}, "task is 99"),
    ],
)
def test_what_a_page_cannot_ask_is_told_it(asked, match, places, tmp_path):
    with Annotations(tmp_path) as kept:
        assert match in rate.Rating(shelf.open(places / "run"), kept).answer(asked)["error"]
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_click_on_an_answer_that_is_not_there_is_refused(places, tmp_path):
    with Annotations(tmp_path) as kept:
        ask = asking(kept, shelf.open(places / "run"))
        found = ask(task=0, seen=ask(task=0)["seen"], click={"item": 9, "rate": 1})
    assert "item is 9" in found["error"]
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_task_is_shown_as_it_was_when_it_was_begun(tmp_path):
    first = run_folder(tmp_path / "a", ranked_rows(("china", 1, "q1", "rice"), others=[("iran", "tea")]))
    again = run_folder(tmp_path / "b", ranked_rows(("china", 1, "q1", "rice"), others=[("iran", "milk")]))
    asked = {"name": "A", "culture": "china", "kind": "rate", "task": 0}
    with Annotations(tmp_path / "said") as kept:
        seen = rate.Rating(first, kept).answer(asked)["seen"]
        rate.Rating(first, kept).answer({**asked, "seen": seen, "click": {"item": 0, "rate": 5}})
        shown = rate.Rating(again, kept).answer(asked)
        assert {item["response"] for item in shown["items"]} == {"rice", "tea"}
        assert rate.Rating(again, kept).answer({**asked, "name": "B"})["items"] != shown["items"]
    assert json.dumps(shown)  # all keys are text
    assert rating_tasks.rating("china", first).names == rating_tasks.rating("china", again).names


def asking(kept, opened, other=None):
    """Asks the page as Amina, who rates China's answers."""
    page = rate.Rating(opened, kept, other)
    return lambda **asked: page.answer({"name": "Amina", "culture": "china", "kind": "rate", **asked})


def say(ask, number, response, **click):
    """What the page shows after a click on the answer that says `response`."""
    shown = ask(task=number)
    place = [item["response"] for item in shown["items"]].index(response)
    return ask(task=number, seen=shown["seen"], click={"item": place, **click})


def shown_ratings(shown):
    return {shown["items"][int(place)]["response"]: rating for place, rating in shown["ratings"].items()}


def test_what_was_rated_stands_in_the_tasks_of_another_ranking_and_of_a_second_run(tmp_path):
    rows = [("china", 1, "q1", "rice"), ("china", 2, "q1", "bread"), ("china", 3, "q2", "duck")]
    first = run_folder(tmp_path / "a", ranked_rows(*rows, others=[("iran", "tea")]))
    anew = [("china", 2, "q1", "rice"), ("china", 1, "q1", "bread"), ("china", 3, "q2", "duck")]
    again = run_folder(tmp_path / "b", ranked_rows(*anew, others=[("iran", "tea")]))
    other = run_folder(tmp_path / "c", ranked_rows(("china", 1, "q1", "soup")))
    assert rating_tasks.rating("china", first).names[0] not in rating_tasks.rating("china", again).names
    with Annotations(tmp_path / "said") as kept:
        ask = asking(kept, first)
        for response, rating in {"rice": 3, "bread": 8, "tea": 1}.items():
            say(ask, 0, response, rate=rating)
        (file,) = (tmp_path / "said").glob("*.jsonl")
        before = file.read_bytes()
    with Annotations(tmp_path / "said") as kept:
        ask = asking(kept, again)
        assert (ask()["number"], ask()["done"]) == (1, 1)
        assert shown_ratings(ask(task=0)) == {"rice": 3, "bread": 8, "tea": 1}
        assert ask(task=0)["finished"]
        both = asking(kept, first, other)(task=0)
        assert shown_ratings(both) == {"rice": 3, "bread": 8, "tea": 1}
        assert (both["done"], both["next"]) == (0, 0)  # soup is new
        assert asking(kept, again)(name="Bo", task=0)["ratings"] == {}
        assert file.read_bytes() == before  # to look is no click
        assert shown_ratings(say(ask, 0, "rice", rate=9)) == {"rice": 9, "bread": 8, "tea": 1}
        assert shown_ratings(asking(kept, first)(task=0))["rice"] == 9


def test_the_last_word_on_an_answer_counts_in_whichever_task_it_was_said(tmp_path):
    first = run_folder(tmp_path / "a", ranked_rows(("china", 1, "q1", "rice"), ("china", 2, "q1", "bread")))
    again = run_folder(tmp_path / "b", ranked_rows(("china", 2, "q1", "rice"), ("china", 1, "q1", "bread")))
    with Annotations(tmp_path / "said") as kept:
        old, new = asking(kept, first), asking(kept, again)
        say(old, 0, "rice", rate=3)
        say(old, 0, "rice", untrue="no")
        say(new, 0, "rice", rate=8)
        say(new, 0, "rice", untrue=None)
        say(old, 0, "bread", rate=5)
        say(new, 0, "bread", rate=None)
    ratings = rating_export.load(tmp_path / "said")
    assert [(row["response"], row["rating"], row["not_true_here"]) for row in ratings.care()] == [("rice", 8, False)]
    assert ratings.rejected == []
    assert str(ratings) == "china: 1 annotator, 0 tasks done, 1 rating"
    with Annotations(tmp_path / "said") as kept:
        assert [shown_ratings(asking(kept, one)(task=0)) for one in (first, again)] == [{"rice": 8}, {"rice": 8}]


def remove(run, question_id, response):
    """Leave an answer out of releases, as `caredio publish --remove` does."""
    gone = features.sample_id("china", f"What of {question_id}?", response)
    (run / "removed.txt").write_text(f"{gone}\n")


@contextmanager
def open_while_restarted(look, run, removed):
    """A page that shows task 2 of 3, rice, while the server is started again without an answer."""
    rows = ranked_rows(("china", 1, "q1", "jam"), ("china", 2, "q2", "rice"), ("china", 3, "q3", "duck"), others=OTHERS)
    run_folder(run, rows)
    with serving(run) as (address, _, _):
        page = look(address)
        sign_in(page, "Amina")
        page.keyboard.press("n")
        page.get_by_text("task 2 of 3").wait_for()
    remove(run, *removed)
    with served_at(int(address.rstrip("/").rpartition(":")[2]), run):
        yield page


def test_a_rating_of_an_answer_that_is_gone_is_refused_and_the_task_that_is_there_is_shown(look, tmp_path):
    with open_while_restarted(look, tmp_path, ("q2", "rice")) as page:
        answer(page, "rice").focus()
        press(page, "9")
        expect(page.locator(".rate .status")).to_have_text(rate.REFUSED)
        page.get_by_text("task 2 of 2, 0 done").wait_for()
        assert "duck" in texts(page)
        assert page.locator("input:checked").count() == 0
        assert rated(tmp_path / "ratings") == {}
        give(answer(page, "duck"), 4)
    assert rated(tmp_path / "ratings", "Amina") == {("q3", "duck"): 4}


def test_a_rating_is_kept_where_its_task_has_another_number_by_now(look, tmp_path):
    with open_while_restarted(look, tmp_path, ("q1", "jam")) as page:
        give(answer(page, "rice"), 9)
        page.get_by_text("task 1 of 2, 0 done").wait_for()
    assert rated(tmp_path / "ratings", "Amina") == {("q2", "rice"): 9}


def test_a_click_on_a_task_with_other_answers_is_refused(tmp_path):
    first = run_folder(tmp_path / "a", ranked_rows(("china", 1, "q1", "rice"), others=[("iran", "tea")]))
    again = run_folder(tmp_path / "b", ranked_rows(("china", 1, "q1", "rice"), others=[("iran", "milk")]))
    assert rating_tasks.rating("china", first).names == rating_tasks.rating("china", again).names
    with Annotations(tmp_path / "said") as kept:
        seen = asking(kept, first)(task=0)["seen"]
        found = asking(kept, again)(task=0, seen=seen, click={"item": 0, "rate": 9})
        assert (found["refused"], found["ratings"]) == (rate.REFUSED, {})
        assert "load it again" in asking(kept, again)(task=0, click={"item": 0, "rate": 9})["error"]
    assert annotations.read(tmp_path / "said") == ([], [])


def test_keys_act_on_the_task_that_those_before_them_opened(slow):
    page, folder = slow
    first = texts(page)[0]
    press(page, "7", "n", "3", "Tab", "Tab", "Shift+Tab", "n", "p", "Shift+ArrowDown")
    page.get_by_text("task 2 of 3, 0 done").wait_for()
    saved(page)
    opened = texts(page)
    assert rated(folder) == {(HOSTILE, first): 7, ("q2", opened[1]): 3}
    expect(page.locator("li.item").nth(1)).to_be_focused()


def test_each_of_many_keys_moves_an_answer_by_a_place(slow):
    page, folder = slow
    before = texts(page)
    press(page, *["Shift+ArrowDown"] * 3)
    assert texts(page) == [*before[1:], before[0]]  # at once
    saved(page)
    ((_, task, said),), _ = annotations.read(folder)
    response = {item.sample_id: item.response for item in task.items}
    assert [response[name] for name in said.order] == [*before[1:], before[0]]


def test_what_is_typed_after_a_click_is_kept_whole(slow):
    page, folder = slow
    press(page, "x")
    page.locator("li.item").nth(1).get_by_label("8", exact=True).click()
    comment = page.get_by_label("why it is not true here")
    comment.focus()
    page.keyboard.type("nobody eats this here", delay=60)
    expect(comment).to_be_focused()
    page.keyboard.press("Home")
    page.wait_for_timeout(500)  # while it is saved
    page.keyboard.type("no, ", delay=60)
    saved(page)
    expect(comment).to_have_value("no, nobody eats this here")
    page.get_by_role("button", name="Next").click()  # while the last words are not sent
    page.get_by_text("task 2 of 3").wait_for()
    ((_, _, said),), _ = annotations.read(folder)
    assert list(said.untrue.values()) == ["no, nobody eats this here"]
    assert list(said.ratings.values()) == [8]


def test_nothing_of_the_one_before_is_shown_or_saved_after_the_name_was_changed(slow):
    page, folder = slow
    page.keyboard.press("5")
    page.keyboard.press("n")
    page.get_by_role("button", name="Change name").click()
    name = page.get_by_label("Your name")
    name.fill("")
    name.press_sequentially("Bo", delay=300)  # while late replies come
    expect(name).to_have_value("Bo")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("task 1 of 3, 0 done").wait_for()
    assert page.locator("input:checked").count() == 0
    assert list(rated(folder).values()) == [5]  # not Bo's, who sees none


def test_text_that_was_typed_while_the_server_was_away_is_sent_with_the_next_click(places, look):
    folder = places / "away"
    with serving(places / "run", "--out", folder) as (address, _, _):
        page = look(address)
        sign_in(page, "Amina")
        press(page, "x")
        saved(page)
    comment = page.get_by_label("why it is not true here")
    comment.press_sequentially("nobody eats this")
    expect(page.locator(".rate .status")).to_have_text(re.compile("^Not saved"))
    page.locator("li.item").nth(1).get_by_label("8", exact=True).click()
    expect(page.locator("li.item").nth(1)).to_have_attribute("aria-label", re.compile("not rated$"))
    expect(comment).to_have_value("nobody eats this")
    with served_at(int(address.rstrip("/").rpartition(":")[2]), places / "run", "--out", folder):
        give(page.locator("li.item").nth(1), 8)
    ((_, _, said),), _ = annotations.read(folder)
    assert (list(said.untrue.values()), list(said.ratings.values())) == (["nobody eats this"], [8])
