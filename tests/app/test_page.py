"""The page in a real browser: searched, filtered, read, by mouse and by keyboard, whatever the rows hold."""

from contextlib import contextmanager

import pytest
import report_run
from app.conftest import HOSTILE
from rating_tables import ranked_rows, run_folder

pytest.importorskip("gradio")

from caredio.app import browse, page, shelf
from caredio.app.browse import Asked

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


@pytest.fixture
def address(serve, ranked):
    return serve(page.build(shelf.open(ranked)))


def listed(seen):
    """The questions in the list, once it is what `count` says."""
    return seen.locator("#rows .row-link").all_inner_texts()


def waits(seen, text):
    seen.get_by_role("status").filter(has_text=text).first.wait_for()


def test_a_known_row_is_searched_filtered_opened_and_read(address, look):
    seen = look(address)
    waits(seen, "27 rows")
    seen.get_by_label("Search questions and answers").fill("honey rice")
    waits(seen, "1 of 27 rows")
    seen.get_by_label("Search questions and answers").fill("rice")
    waits(seen, "9 of 27 rows")
    seen.get_by_label("Topic").click()
    seen.get_by_role("option", name="feasts").click()
    waits(seen, "4 of 27 rows")
    seen.get_by_role("button", name="What is eaten at feast 9?").click()
    whole = seen.locator("#opened")
    whole.get_by_text("rice with honey", exact=True).wait_for()
    said = whole.inner_text()
    for text in (
        "china",
        "rank",
        "feasts",
        "customs",
        "Other cultures answer",
        "tortilla and honey",
        "potato, then honey",
    ):
        assert text in said
    again = look(seen.url)  # a link to the row, with what was looked for
    again.locator("#opened").get_by_text("rice with honey", exact=True).wait_for()
    waits(again, "4 of 27 rows")
    expect(again.get_by_label("Search questions and answers")).to_have_value("rice")
    assert listed(again) == listed(seen)


@contextmanager
def held(seen):
    """Holds what the page asks the server until the block ends; the last is answered first."""
    held = []
    seen.route("**/queue/join*", lambda asked: held.append(asked))
    yield
    seen.route("**/queue/join*", lambda asked: asked.continue_())  # the last that is given is used
    for asked in reversed(held):
        asked.continue_()
        seen.wait_for_timeout(500)


@contextmanager
def before_it_loads(seen):
    """Loads the page again, and holds what it asks the server until the block ends."""
    with held(seen):
        seen.reload()
        yield


def test_a_late_answer_to_one_box_does_not_undo_another(address, look):
    seen = look(address)
    waits(seen, "27 rows")
    with held(seen):
        seen.get_by_label("Search questions and answers").fill("rice")
        seen.wait_for_timeout(500)
        seen.get_by_label("Topic").click()
        seen.get_by_role("option", name="feasts").click()
        seen.wait_for_timeout(500)
    waits(seen, "4 of 27 rows")
    seen.wait_for_url("**/?q=rice&topic=feasts")
    seen.wait_for_timeout(1000)
    waits(seen, "4 of 27 rows")


def test_what_is_typed_before_the_page_has_loaded_is_looked_for(address, look):
    seen = look(f"{address}?q=rice&topic=feasts&order=score")
    waits(seen, "4 of 27 rows")
    search = seen.get_by_label("Search questions and answers")
    with before_it_loads(seen):
        search.fill("honey")
    waits(seen, "3 of 27 rows")
    expect(search).to_have_value("honey")
    seen.wait_for_url("**/?q=honey&topic=feasts&order=score")
    expect(seen.get_by_label("Order")).to_have_value("score")


def test_what_is_typed_before_a_comparison_has_loaded_is_looked_for(serve, look, ranked, released):
    seen = look(serve(page.build(shelf.open(released), shelf.open(ranked))) + "?tab=compare&compare_culture=peru")
    waits(seen, "6 of 18 pairs")
    search = seen.get_by_label("Search questions and answers of both")
    with before_it_loads(seen):
        seen.get_by_role("tab", name="Compare").click()
        search.fill("honey")
    waits(seen, "1 of 18 pairs")
    expect(search).to_have_value("honey")


def test_text_stands_in_its_own_direction_and_language(serve, look, tmp_path):
    rows = ranked_rows(("مصر", 1, "q1", "نشرب الشاي"), ("한국", 2, "q2", "설날에는 떡국을 먹습니다"))
    for row, question, language in zip(rows, ("ماذا تشربون؟", "설날에는 무엇을 먹나요?"), ("ar", "ko"), strict=True):
        row |= {"question": question, "language": language}
    opened = run_folder(tmp_path / "run", rows)
    seen = look(serve(page.build(opened, opened)) + "?q=%D8%A7%D9%84%D8%B4%D8%A7%D9%8A")
    waits(seen, "1 of 2 rows")
    # all that is Arabic ends where it begins to be read, on the right
    right = """one => {
      const all = document.createRange();
      all.selectNodeContents(one);
      return all.getBoundingClientRect().right;
    }"""
    question, answer = (seen.locator(f"#rows {one}").evaluate(right) for one in (".row-link", ".short"))
    assert question == pytest.approx(answer, abs=2)
    search = seen.get_by_label("Search questions and answers", exact=True)
    assert search.evaluate("one => getComputedStyle(one).unicodeBidi") == "plaintext"
    search.fill("")
    seen.locator("#rows [lang=ko]").first.wait_for()
    assert {one.get_attribute("lang") for one in seen.locator("#rows [dir=auto]").all()} == {"ar", "ko"}
    assert seen.locator("#rows [lang=ko]").first.evaluate("one => getComputedStyle(one).wordBreak") == "keep-all"
    seen.get_by_role("tab", name="Compare").click()
    seen.locator("#pairs [lang=ko]").first.wait_for()
    assert {one.get_attribute("lang") for one in seen.locator("#pairs [dir=auto]").all()} == {"ar", "ko"}


def test_a_drop_reason_and_a_stage_filter(address, look, ranked):
    seen = look(f"{address}?stage=scored&reason=over_budget")
    left = len(shelf.open(ranked).of(drop_reason="over_budget"))
    waits(seen, f"{left} of 27 rows")
    badges = seen.locator("#rows .badge")
    assert set(badges.all_inner_texts()) == {"over_budget"}
    meaning = "it ranks below the rows that the budget takes"
    assert badges.first.get_attribute("title") == meaning
    waits(seen, f"over_budget: {meaning}")


def test_hostile_text_is_shown_and_nothing_of_it_is_done(address, look):
    seen = look(f"{address}?q=%22window.hacked+%3D+1%22")
    waits(seen, "1 of 27 rows")
    seen.locator("#rows .row-link").click()
    shown = HOSTILE.replace("\x1b", "␛").replace("\u202e", "[RIGHT-TO-LEFT OVERRIDE]")
    seen.locator("#opened").get_by_text(shown, exact=True).first.wait_for()
    seen.get_by_role("tab", name="Map").click()
    seen.locator("#map path").first.wait_for()
    assert seen.evaluate("window.hacked") is None
    assert seen.locator("#opened script, #rows script, #opened img, #rows img, #map script, #map img").count() == 0
    again = look(f"{address}?row=%3Cscript%3Ewindow.hacked=1%3C/script%3E&q=%3Cimg%20src=x%3E&at=99999999999&order=x")
    again.get_by_text("<script>window.hacked=1</script> is no row here.").wait_for()
    assert again.evaluate("window.hacked") is None


def test_the_keyboard_alone_is_enough(address, look):
    seen = look(address)
    waits(seen, "27 rows")
    for _ in range(12):  # tabs, then the words
        seen.keyboard.press("Tab")
        if seen.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
    seen.keyboard.type("potato")
    waits(seen, "8 of 27 rows")
    for _ in range(20):
        seen.keyboard.press("Tab")
        if seen.evaluate("document.activeElement.className").startswith("row-link"):
            break
    seen.keyboard.press("ArrowDown")
    second = seen.evaluate("document.activeElement.innerText")
    assert second == listed(seen)[1]
    seen.keyboard.press("Enter")
    seen.locator("#opened").get_by_text(second, exact=True).first.wait_for()
    assert seen.locator("#rows [aria-current]").inner_text() == second


def test_a_point_of_the_map_opens_its_row(address, look, ranked):
    seen = look(f"{address}?view=map&culture=peru")
    seen.locator("#map path").first.wait_for()
    assert seen.locator("#map path[data-row]").count() == 27
    assert seen.locator("#map path[data-row]:not(.pale)").count() == 8
    point = seen.locator("#map path[data-row]:not(.pale)").first
    key = point.get_attribute("data-row")
    point.dispatch_event("click")
    opened = shelf.open(ranked)
    response = opened.row(opened.place(key))["response"]
    seen.locator("#opened").get_by_text(response, exact=True).first.wait_for()
    seen.locator("#map .ring").wait_for()


def test_on_a_phone_nothing_is_wider_than_the_screen(address, look):
    seen = look(address, width=390, height=844)
    waits(seen, "27 rows")
    seen.locator("#rows .row-link").first.click()
    seen.locator("#opened h3").first.wait_for()
    assert seen.evaluate("document.documentElement.scrollWidth") <= 390
    seen.get_by_role("button", name="Back to the list").click()


def test_two_shelves_are_compared_on_a_phone(serve, look, ranked, released):
    seen = look(serve(page.build(shelf.open(released), shelf.open(ranked))), width=400, height=800)
    seen.get_by_role("tab", name="Compare").click()
    waits(seen, "18 of 18 pairs")
    for kind in ("counts", "pairs"):
        cut = seen.locator(f".wide:has(> table.{kind})").evaluate("one => one.scrollWidth - one.clientWidth")
        assert cut <= 0, kind
    sides = [seen.locator("#pairs tbody td").nth(place).bounding_box()["width"] for place in (1, 2)]
    assert min(sides) > 140, sides


def test_two_shelves_are_compared(serve, look, ranked, released):
    seen = look(serve(page.build(shelf.open(released), shelf.open(ranked))))
    seen.get_by_role("tab", name="Compare").click()
    waits(seen, "18 of 18 pairs")
    seen.get_by_label("Search questions and answers of both").fill("honey china")
    waits(seen, "0 of 18 pairs")
    seen.get_by_label("Search questions and answers of both").fill("rice with honey")
    waits(seen, "1 of 18 pairs")
    sides = seen.locator("#pairs tbody td")
    assert sides.nth(0).inner_text().split() == ["same", "china"]
    for place in (1, 2):
        assert "rice with honey" in sides.nth(place).inner_text()
    seen.locator("#pairs [data-side=before] .row-link").click()
    seen.locator("#opened-side").get_by_text("rice with honey", exact=True).wait_for()
    assert seen.locator("#opened-side .badge").first.inner_text() == str(released)


def test_an_address_opens_a_comparison_as_it_stood(serve, look, ranked, released):
    seen = look(serve(page.build(shelf.open(released), shelf.open(ranked))) + "?q=leeks")
    waits(seen, "3 of 27 rows")
    seen.get_by_role("tab", name="Compare").click()
    waits(seen, "18 of 18 pairs")
    seen.get_by_label("Search questions and answers of both").fill("honey")
    waits(seen, "3 of 18 pairs")
    seen.locator("#pairs [data-side=before] .row-link").first.click()
    seen.locator("#opened-side h3").first.wait_for()
    seen.wait_for_url("**compare_row=*")
    whole = seen.locator("#opened-side").inner_text()
    again = look(seen.url)
    again.locator("#opened-side h3").first.wait_for()
    assert again.get_by_role("tab", name="Compare").get_attribute("aria-selected") == "true"
    waits(again, "3 of 18 pairs")
    expect(again.get_by_label("Search questions and answers of both")).to_have_value("honey")
    assert again.locator("#opened-side").inner_text() == whole
    again.get_by_role("tab", name="Browse").click()
    waits(again, "3 of 27 rows")
    again.wait_for_function("!location.search.includes('tab=')")
    expect(again.get_by_label("Search questions and answers", exact=True)).to_have_value("leeks")
    assert "compare_q=honey" in again.url


def test_a_row_that_is_not_among_what_was_found_is_closed(address, look):
    seen = look(address)
    waits(seen, "27 rows")
    search = seen.get_by_label("Search questions and answers")
    search.fill("honey")
    waits(seen, "3 of 27 rows")
    seen.get_by_role("button", name="What is eaten at feast 9?").first.click()
    seen.locator("#opened h3").first.wait_for()
    search.fill("feast 9")
    seen.wait_for_url("**q=feast+9*")
    assert "row=" in seen.url
    search.fill("nowhere")
    waits(seen, "0 of 27 rows")
    seen.locator("#opened").get_by_text("Select a row to read it whole").wait_for()
    seen.wait_for_url("**q=nowhere")
    assert seen.locator("#opened h3").count() == 0


def test_what_a_model_wrote_is_shown_with_its_history_review_and_drops(serve, look, written):
    opened = shelf.open(written)
    rows = (opened.row(int(place)) for place in opened.of(stage="ranked"))
    row = max(rows, key=lambda row: len(row["history"]))
    seen = look(f"{serve(page.build(opened))}?row={row['key']}").locator("#opened")
    seen.get_by_text("Review", exact=True).wait_for()
    said = seen.inner_text()
    for step in row["history"]:
        assert step["response"] in said
    for reason in row["review"]:
        assert reason["reason"] in said
    assert "caredio answers --out" in seen.inner_html()


def test_an_address_says_what_is_looked_for_and_nothing_else():
    asked = Asked(q="a b", culture="peru", at=2, row="x&y")
    assert asked.address() == "q=a+b&culture=peru&at=2&row=x%26y"
    assert Asked.of({"q": "a b", "culture": "peru", "at": "2", "row": "x&y", "other": "z"}) == asked
    assert Asked.of({"at": "-1", "order": "by magic", "view": "from above"}) == Asked()
    assert Asked().address() == ""


def test_pages_are_of_fifty_rows(ranked, monkeypatch):
    opened = shelf.open(ranked)
    monkeypatch.setattr(browse, "ROWS", 10)
    places = browse.found(opened, Asked())
    pages = [browse.listed(opened, places, Asked(at=number)).count("<tr>") - 1 for number in range(3)]
    assert pages == [10, 10, 7]
    assert "11 to 20 of them listed" in browse.counted(places, opened, Asked(at=1))


def test_an_order_puts_the_highest_first_and_what_has_none_last(ranked):
    opened = shelf.open(ranked)
    places = browse.found(opened, Asked(order="distinctiveness"))
    values = [row["distinctiveness"] for row in opened.cells(places, "distinctiveness")]
    there = [value for value in values if value is not None]
    assert values[: len(there)] == sorted(there, reverse=True)
    assert len(places) == 27


def test_the_page_names_no_other_machine(ranked):
    built = page.build(shelf.open(ranked))
    assert not built.analytics_enabled
    options = page.options()
    assert "http" not in options["css"]
    assert [one for one in options["theme"]._stylesheets if one] == []


def test_an_answer_that_is_read_from_the_right_stands_beside_its_label_in_the_report(look, tmp_path):
    seen = look((report_run.select(tmp_path / "run") / "report.html").as_uri(), width=1280)
    answer = seen.locator(".answers p:visible", has_text="نشرب").first
    label = answer.locator("xpath=../preceding-sibling::div[1]")
    text = "one => { const r = new Range(); r.selectNodeContents(one); return r.getBoundingClientRect().x; }"
    before = label.bounding_box()
    assert 0 <= answer.evaluate(text) - before["x"] - before["width"] < 30
    assert answer.evaluate("one => getComputedStyle(one).direction") == "rtl"
