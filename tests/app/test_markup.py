"""Text of rows in a page: whatever it holds is shown, and nothing of it is done."""

from html.parser import HTMLParser

import pytest

from caredio.app import markup


class Seen(HTMLParser):
    """What a browser makes of HTML: its elements, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    "value",
    ["<script>a()</script>", "<b onclick='x'>", "a & b &lt;", "\"quoted\" 'twice'", "${1 + 1} {{value}} `x`", "两\n行"],
)
def test_text_is_what_a_browser_shows(value):
    seen = Seen(markup.text(value))
    assert seen.text == value
    assert seen.elements == []


def test_templates_of_the_page_find_nothing_to_read():
    assert not set(markup.text("${a} {{b}} `c`")) & set("{}$`")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b", "a␀b"),
        ("\u202eabc", "[RIGHT-TO-LEFT OVERRIDE]abc"),
        ("a\x85b", "a[U+0085]b"),
        ("\ud800", "[U+D800]"),
        ("a\tb\nc", "a\tb\nc"),
        (None, ""),
        (3, "3"),
    ],
)
def test_what_is_not_seen_is_shown_by_a_sign(value, shown):
    assert Seen(markup.text(value)).text == shown


def test_a_link_s_key_cannot_leave_its_attribute():
    ((tag, attributes),) = Seen(markup.link('"><script>', "open")).elements
    assert (tag, attributes["data-row"]) == ("button", '"><script>')


def test_a_paragraph_has_its_own_direction_and_language():
    ((tag, attributes),) = Seen(markup.prose("السلام", "ar")).elements
    assert (tag, attributes["dir"], attributes["lang"]) == ("p", "auto", "ar")


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (1234, "1,234"), (0.12345, "0.123"), (1234.0, "1,234"), (2.0, "2")]
)
def test_numbers(value, shown):
    assert markup.number(value) == shown
