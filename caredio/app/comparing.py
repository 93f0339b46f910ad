"""The tab Compare: two runs or releases side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from caredio.app import compare
from caredio.app.browse import CLICKS, LAST, LOADING, PRIVATE, from_address, page_number, shown, to_address
from caredio.app.compare import Pair
from caredio.app.markup import badge, text
from caredio.app.opened import opened
from caredio.app.shelf import Shelf

_HINT = '<p class="note">Select a side of a pair to read its row whole.</p>'


_PART = "compare_"  # how its names begin in the address


@dataclass(frozen=True)
class Asked:
    """What is compared, as the address of the page has it; empty asks for nothing."""

    q: str = ""
    kind: str = ""
    culture: str = ""
    at: int = 0  # number of the page of pairs
    row: str = ""
    side: str = "after"  # of the row

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """Out of an address; what it cannot mean is left out."""
        said = {name: query.get(f"{_PART}{name}", "") for name in ("q", "kind", "culture", "row")}
        side = "before" if query.get(f"{_PART}side") == "before" else "after"
        return cls(**said, at=page_number(query.get(f"{_PART}at", "")), side=side)

    def address(self) -> str:
        """The part of the query of an address that asks for this."""
        plain = asdict(Asked())
        return urlencode({f"{_PART}{name}": value for name, value in asdict(self).items() if value != plain[name]})


def tab(page: gr.Blocks, before: Shelf, after: Shelf) -> None:
    """Put the tab into the page that is being built."""
    _Tab(before, after).listen(page)


class _Tab:
    """The tab's components, and what each event answers."""

    def __init__(self, before: Shelf, after: Shelf) -> None:
        self.before, self.after = before, after
        self.pairs = compare.pairs(before, after)
        cultures = sorted({pair.culture for pair in self.pairs})
        with gr.Accordion("Rows by culture", open=len(cultures) <= 8):
            shown(compare.counts(self.pairs))
        with gr.Row(elem_classes="filters"):
            self.words = gr.Textbox(label="Search questions and answers of both", scale=3, min_width=260)
            kinds = [("all", ""), *((kind, kind) for kind in compare.KINDS)]
            self.kind = gr.Dropdown(kinds, value="", label="What happened", min_width=130)
            choices = [("all", ""), *((culture, culture) for culture in cultures)]
            self.culture = gr.Dropdown(choices, value="", label="Culture", min_width=130)
        with gr.Row(elem_classes="pager"):
            self.count = shown(elem_classes="grow")
            self.back = gr.Button("Previous", size="sm", min_width=90, scale=0)
            self.forth = gr.Button("Next", size="sm", min_width=90, scale=0)
        with gr.Row(elem_classes="panes"):
            with gr.Column(scale=5, min_width=320):
                self.rows = shown(js_on_load=CLICKS, elem_id="pairs")
            with gr.Column(scale=4, min_width=320, elem_classes="reading"):
                self.whole = shown(_HINT, js_on_load=CLICKS, elem_id="opened-side")
        self.state = gr.State(Asked())
        self.opened = gr.Textbox(visible="hidden")  # the query that the page was opened with
        self.address = gr.Textbox(LOADING, visible="hidden", elem_id="compare-address")
        self.inputs: list[Any] = [self.words, self.kind, self.culture]
        self.kinds, self.cultures = ("", *compare.KINDS), ("", *cultures)

    def listen(self, page: gr.Blocks) -> None:
        """Answer the page's events; the address of the page follows what is shown."""
        shown = [self.state, self.rows, self.count, self.back, self.forth]
        listing = [*shown, self.address]
        asked = [self.state, self.address, *self.inputs]
        changes = [self.words.change, self.kind.input, self.culture.input]  # text that is pasted is no input
        events = [gr.on(changes, self._filtered, asked, [*listing, self.whole], **LAST)]
        for button, turned in ((self.back, self._back), (self.forth, self._forth)):
            events.append(button.click(turned, self.state, listing, **PRIVATE))
        events += [
            place.click(self._opened, self.state, [self.state, self.whole, self.address], **PRIVATE)
            for place in (self.rows, self.whole)
        ]
        loaded = page.load(self._loaded, None, [*shown, self.opened, self.whole], **PRIVATE)
        names = [f"{_PART}{name}" for name in ("q", "kind", "culture")]
        boxes = [self.opened, self.address, *self.inputs]
        filled = loaded.then(None, boxes, [*self.inputs, self.address], js=from_address(names))
        events.append(filled.then(self._filtered, asked, [*listing, self.whole], **PRIVATE))
        for event in events:
            event.then(None, self.address, None, js=to_address("compare"))

    def _filtered(self, asked: Asked, address: str, words: str, kind: str, culture: str) -> list[Any]:
        """What is looked for in the boxes; nothing new where it is looked for, or before the page has loaded."""
        now = replace(asked, q=words or "", kind=kind or "", culture=culture or "")
        if address == LOADING or now == asked:
            return [gr.skip()] * 7
        place = self._side(now.side).place(now.row)
        stale = now.row and not any(place == getattr(pair, now.side) for pair in self._found(now))
        now = replace(now, at=0, **({"row": "", "side": "after"} if stale else {}))
        return [*self._shown(now), _HINT if stale else gr.skip()]

    def _back(self, asked: Asked) -> list[Any]:
        return self._shown(replace(asked, at=asked.at - 1))

    def _forth(self, asked: Asked) -> list[Any]:
        return self._shown(replace(asked, at=asked.at + 1))

    def _found(self, asked: Asked) -> list[Pair]:
        return compare.matching(self.pairs, self.before, self.after, asked.kind or None, asked.culture or None, asked.q)

    def _side(self, side: str) -> Shelf:
        return self.before if side == "before" else self.after

    def _shown(self, asked: Asked) -> list[Any]:
        found = self._found(asked)
        last = max(0, (len(found) - 1) // compare.ROWS)
        asked = replace(asked, at=min(max(asked.at, 0), last))
        part = found[asked.at * compare.ROWS : (asked.at + 1) * compare.ROWS]
        said = f"page {asked.at + 1} of {last + 1}; {len(found):,} of {len(self.pairs):,} pairs"
        listed = compare.listed(part, self.before, self.after) or '<p class="note">No pair is like this.</p>'
        turning = [gr.Button(interactive=asked.at > 0), gr.Button(interactive=asked.at < last)]
        return [asked, listed, f'<p class="count" role="status">{said}</p>', *turning, asked.address()]

    def _opened(self, asked: Asked, event: gr.EventData) -> list[Any]:
        asked = replace(asked, row=str(event.row), side="before" if event.side == "before" else "after")
        return [asked, self._read(asked), asked.address()]

    def _read(self, asked: Asked) -> str:
        """The HTML of the side that is open."""
        side = self._side(asked.side)
        place = side.place(asked.row)
        if place is None:
            return f'<p class="note">{badge(asked.row)} is no row here.</p>' if asked.row else _HINT
        return f'<div data-side="{text(asked.side)}"><p>{badge(side.name)}</p>{opened(side, place)}</div>'

    def _loaded(self, request: gr.Request) -> list[Any]:
        """What an address asks for; a value that no pair has is no filter."""
        asked = Asked.of(dict(request.query_params))
        kind = asked.kind if asked.kind in self.kinds else ""
        culture = asked.culture if asked.culture in self.cultures else ""
        asked = replace(asked, kind=kind, culture=culture)
        return [*self._shown(asked), self._read(asked)]
