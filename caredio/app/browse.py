"""The tab Browse: rows found by words and filters, as a list and on the map, and one of them whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import numpy as np
import pyarrow.compute as pc

from caredio import reasons
from caredio.app import map as maps
from caredio.app.markup import badge, number, spoken, table, text
from caredio.app.opened import opened, standing
from caredio.app.shelf import Shelf

ROWS = 50  # of a page
VIEWS = ("list", "map")
ORDERS = {
    "best first": "",
    "score": "score",
    "representativeness": "representativeness",
    "distinctiveness": "distinctiveness",
}  # label -> column, highest first
_FILTERS = {"culture": "culture", "topic": "topic_id", "level": "level", "stage": "stage", "reason": "drop_reason"}
_LABELS = {"culture": "Culture", "topic": "Topic", "level": "Level", "stage": "Stage", "reason": "Drop reason"}
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # of events: no endpoints of an API
# of all boxes, which are one event: its answers come one after the other, and the last is to how the boxes stand
LAST: dict[str, Any] = {**PRIVATE, "trigger_mode": "always_last"}
_HINT = (
    '<p class="note">Select a row to read it whole: beside other cultures\' answers, with its scores and history.</p>'
)
# a click on anything that names a row; up and down go from row to row
CLICKS = """
element.addEventListener('click', event => {
  if (event.target.closest('.to-list')) element.closest('.panes').scrollIntoView();
  const found = event.target.closest('[data-row]');
  if (found) {
    const side = found.closest('[data-side]');
    document.querySelectorAll('#rows [aria-current]').forEach(one => one.removeAttribute('aria-current'));
    document.querySelectorAll('#rows .row-link').forEach(one => {
      if (one.dataset.row === found.dataset.row) one.setAttribute('aria-current', 'true');
    });
    trigger('click', {row: found.dataset.row, side: side ? side.dataset.side : ''});
  }
});
element.addEventListener('keydown', event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const links = [...element.querySelectorAll('.row-link')];
  const next = links[links.indexOf(document.activeElement) + step];
  if (step && links.includes(document.activeElement) && next) { event.preventDefault(); next.focus(); }
});
"""
LOADING = "loading"  # in place of a query, which is empty or has a sign of equality
_TO_ADDRESS = """query => {
  if (query === 'LOADING') return;
  const of = name => name === 'tab' ? 'tab' : name.startsWith('compare_') ? 'compare' : 'browse';
  const others = [...new URLSearchParams(location.search)].filter(([name]) => of(name) !== 'PART');
  const all = new URLSearchParams([...new URLSearchParams(query), ...others]).toString();
  history.replaceState(null, '', location.pathname + (all ? '?' + all : ''));
}"""
_FROM_ADDRESS = """(opened, query, ...now) => {
  const asked = new URLSearchParams(opened);
  const filled = (name, at) => ['', null, 'PLAIN'].includes(now[at]) && asked.has(name) ? asked.get(name) : now[at];
  return [...NAMES.map(filled), query === 'LOADING' ? opened : query];
}"""
_TO_ROW = "() => { if (innerWidth < 900) document.querySelector('#opened').scrollIntoView({behavior: 'smooth'}); }"


def to_address(part: str) -> str:
    """The script that writes a query into its part of the address: `browse`, `compare` or `tab`; the others stay."""
    return _TO_ADDRESS.replace("PART", part).replace("LOADING", LOADING)


def from_address(names: Iterable[str]) -> str:
    """The script that ends loading: boxes get what the opened query has under these names, unless something is in them.

    The address comes last of what it fills: it ends `LOADING`, and a box can say that it changed before the others have
    their values.
    """
    script = _FROM_ADDRESS.replace("NAMES", json.dumps(list(names)))
    return script.replace("PLAIN", Asked.order).replace("LOADING", LOADING)


def shown(value: str | None = None, **arguments: Any) -> gr.HTML:
    """A component that shows HTML of ours as it is, without Gradio's styles for tables and paragraphs."""
    return gr.HTML(value, apply_default_css=False, **{"js_on_load": None, **arguments})


@dataclass(frozen=True)
class Asked:
    """What is looked for, as the address of the page has it; empty asks for nothing."""

    q: str = ""
    culture: str = ""
    topic: str = ""
    level: str = ""
    stage: str = ""
    reason: str = ""
    order: str = "best first"
    at: int = 0  # number of the page of rows; Gradio reads `page` of an address itself
    row: str = ""
    view: str = "list"

    @classmethod
    def of(cls, query: dict[str, str]) -> Asked:
        """Out of an address; what it cannot mean is left out."""
        known = {field.name for field in fields(cls)} - {"at"}
        texts: dict[str, Any] = {name: value for name, value in query.items() if name in known}
        asked = cls(**texts)
        order = asked.order if asked.order in ORDERS else cls.order
        view = asked.view if asked.view in VIEWS else cls.view
        return replace(asked, at=page_number(query.get("at", "")), order=order, view=view)

    def address(self) -> str:
        """The query of the address that asks for this."""
        plain = asdict(Asked())
        return urlencode({name: value for name, value in asdict(self).items() if value != plain[name]})


def page_number(said: str) -> int:
    """The number of a page of rows in an address; 0 where it is none."""
    return int(said[:9]) if said.isascii() and said.isdigit() else 0


def found(shelf: Shelf, asked: Asked) -> np.ndarray:
    """The numbers of the rows that are looked for, in order."""
    wanted = {column: getattr(asked, name) or None for name, column in _FILTERS.items()}
    places = shelf.search(asked.q or "", **wanted)
    if column := ORDERS[asked.order]:
        values = pc.fill_null(shelf.rows[column], float("-inf")).to_numpy()[places]
        places = places[np.argsort(-values, kind="stable")]
    return places


def listed(shelf: Shelf, places: np.ndarray, asked: Asked) -> str:
    """The HTML of a page of rows."""
    shown = places[asked.at * ROWS : (asked.at + 1) * ROWS]
    names = ("key", "stage", "split", "rank", "drop_reason", "culture", "language", "question", "response", "score")
    rows = []
    for row in shelf.cells(shown, *names):
        current = ' aria-current="true"' if row["key"] == asked.row else ""
        of = spoken(row["language"])
        button = f'<button type="button" class="row-link" data-row="{text(row["key"])}" {of}{current}>'
        said = f"{button}{text(row['question'] or row['response'])}</button>"
        answer = f'<p class="short" {of}>{text(row["response"])}</p>' if row["question"] else ""
        rows.append([standing(row), text(row["culture"]), said + answer, number(row["score"])])
    made = table(["", "culture", "question and answer", "score"], rows, "rows")
    return made or '<p class="note">No row is like this; take a filter away, or look for other words.</p>'


def counted(places: np.ndarray, shelf: Shelf, asked: Asked) -> str:
    """How many rows were found, and which of them are listed."""
    first = asked.at * ROWS + 1
    last = min(first + ROWS - 1, len(places))
    pages = f", {first:,} to {last:,} of them listed" if len(places) > ROWS else ""
    some = f" of {len(shelf):,}" if len(places) < len(shelf) else ""
    why = f". {asked.reason}: {meaning}" if (meaning := reasons.meaning(asked.reason)) else ""
    return f'<p class="count" role="status">{text(f"{len(places):,}{some} rows{pages}{why}")}</p>'


def read(shelf: Shelf, key: str) -> str:
    """The HTML of the row with a key."""
    place = shelf.place(key)
    if place is None:
        return f'<p class="note">{badge(key)} is no row here.</p>' if key else _HINT
    return opened(shelf, place)


def _choices(shelf: Shelf, column: str) -> list[tuple[str, str]]:
    counts = sorted(
        (one["values"], one["counts"]) for one in pc.value_counts(shelf.rows[column]).to_pylist() if one["values"]
    )
    return [("all", ""), *((f"{name} ({count:,})", name) for name, count in counts)]


def tab(page: gr.Blocks, shelf: Shelf) -> None:
    """Put the tab into the page that is being built."""
    _Tab(shelf).listen(page)


class _Tab:
    """The tab's components, and what each event answers."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.map: maps.Map | None = None
        self.state = gr.State(Asked())
        with gr.Row(elem_classes="filters"):
            self._filters()
        with gr.Row(elem_classes="panes"):
            with gr.Column(scale=5, min_width=320):
                self._list()
            with gr.Column(scale=4, min_width=320, elem_classes="reading"):
                self.whole = shown(_HINT, js_on_load=CLICKS, elem_id="opened")
        self.opened = gr.Textbox(visible="hidden")  # the query that the page was opened with
        self.address = gr.Textbox(LOADING, visible="hidden", elem_id="address")
        self.inputs: list[Any] = [self.words, *self.filters.values(), self.order]
        self.asked = [self.state, self.address, *self.inputs]
        self.listing = [self.state, self.rows, self.picture, self.count, self.back, self.forth, self.address]

    def _filters(self) -> None:
        self.words = gr.Textbox(
            label="Search questions and answers", placeholder='words, or "words in this order"', scale=3, min_width=260
        )
        self.choices = {name: _choices(self.shelf, column) for name, column in _FILTERS.items()}
        self.filters = {
            name: gr.Dropdown(choices, value="", label=_LABELS[name], visible=len(choices) > 2, min_width=130)
            for name, choices in self.choices.items()
        }
        self.order = gr.Dropdown(list(ORDERS), value="best first", label="Order", min_width=130)

    def _list(self) -> None:
        with gr.Row(elem_classes="pager"):
            self.count = shown(elem_classes="grow")
            self.back = gr.Button("Previous", size="sm", min_width=90, scale=0)
            self.forth = gr.Button("Next", size="sm", min_width=90, scale=0)
        with gr.Tabs() as self.views:
            with gr.Tab("List", id="list") as self.as_list:
                self.rows = shown(js_on_load=CLICKS, elem_id="rows")
            with gr.Tab("Map", id="map") as self.as_map:
                self.picture = shown(js_on_load=CLICKS, elem_id="map")

    def listen(self, page: gr.Blocks) -> None:
        """Answer the page's events; the address of the page follows what is shown."""
        changes = [self.words.change, *(one.input for one in self.inputs[1:])]  # text that is pasted is no input
        events = [gr.on(changes, self._filtered, self.asked, [*self.listing, self.whole], **LAST)]
        for button, turned in ((self.back, self._back), (self.forth, self._forth)):
            events.append(button.click(turned, self.state, self.listing, **PRIVATE))
        for view, as_seen in ((self.as_list, self._as_list), (self.as_map, self._as_map)):
            events.append(view.select(as_seen, [self.state, self.address], self.listing, **PRIVATE))
        for place in (self.rows, self.picture, self.whole):
            clicked = place.click(
                self._opened, self.state, [self.state, self.picture, self.whole, self.address], **PRIVATE
            )
            clicked.then(None, None, None, js=_TO_ROW)
            events.append(clicked)
        *listing, address = self.listing
        loaded = page.load(self._loaded, None, [*listing, self.opened, self.whole, self.views], **PRIVATE)
        boxes = [self.opened, address, *self.inputs]
        filled = loaded.then(None, boxes, [*self.inputs, address], js=from_address(["q", *self.filters, "order"]))
        events.append(filled.then(self._filtered, self.asked, [*self.listing, self.whole], **PRIVATE))
        for event in events:
            event.then(None, self.address, None, js=to_address("browse"))

    def _shown(self, asked: Asked) -> list[Any]:
        places = found(self.shelf, asked)
        last = max(0, (len(places) - 1) // ROWS)
        asked = replace(asked, at=min(max(asked.at, 0), last))
        return [
            asked,
            listed(self.shelf, places, asked),
            self._drawn(asked, places),
            counted(places, self.shelf, asked),
            gr.Button(interactive=asked.at > 0),
            gr.Button(interactive=asked.at < last),
            asked.address(),
        ]

    def _drawn(self, asked: Asked, places: np.ndarray) -> str:
        """The map; nothing while the list is looked at."""
        if asked.view != "map":
            return ""
        self.map = self.map or maps.drawn(self.shelf)
        if self.map is None:
            return '<p class="note">There is no map: fewer than three rows have embeddings here.</p>'
        return maps.svg(self.shelf, self.map, places, asked.row)

    def _filtered(self, asked: Asked, address: str, words: str, *values: str) -> list[Any]:
        """What is looked for in the boxes; nothing new where it is looked for, or before the page has loaded."""
        *chosen, order = values
        given: dict[str, Any] = dict(zip(self.filters, (value or "" for value in chosen), strict=True))
        now = replace(asked, q=words or "", **given, order=order)
        if address == LOADING or now == asked:
            return [gr.skip()] * (len(self.listing) + 1)
        place = self.shelf.place(now.row)
        if now.row and (place is None or place not in found(self.shelf, now)):
            return [*self._shown(replace(now, at=0, row="")), _HINT]  # what is open is among what is listed
        return [*self._shown(replace(now, at=0)), gr.skip()]

    def _back(self, asked: Asked) -> list[Any]:
        return self._shown(replace(asked, at=asked.at - 1))

    def _forth(self, asked: Asked) -> list[Any]:
        return self._shown(replace(asked, at=asked.at + 1))

    def _as_list(self, asked: Asked, address: str) -> list[Any]:
        return self._seen(asked, "list", address)

    def _as_map(self, asked: Asked, address: str) -> list[Any]:
        return self._seen(asked, "map", address)

    def _seen(self, asked: Asked, view: str, address: str) -> list[Any]:
        """What a view shows; nothing new where it is the one, or where the page selects it as it loads."""
        if address == LOADING or asked.view == view:
            return [gr.skip()] * len(self.listing)
        return self._shown(replace(asked, view=view))

    def _opened(self, asked: Asked, event: gr.EventData) -> list[Any]:
        asked = replace(asked, row=str(event.row))
        picture = self._drawn(asked, found(self.shelf, asked)) if asked.view == "map" else gr.skip()
        return [asked, picture, read(self.shelf, asked.row), asked.address()]

    def _loaded(self, request: gr.Request) -> list[Any]:
        """What an address asks for; a value that no row has is no filter."""
        asked = Asked.of(dict(request.query_params))
        for name, choices in self.choices.items():
            if getattr(asked, name) not in {value for _, value in choices}:
                asked = replace(asked, **dict[str, Any]({name: ""}))
        return [*self._shown(asked), read(self.shelf, asked.row), gr.Tabs(selected=asked.view)]
