"""The tab Compare: two runs or releases side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from caredio.app import compare
from caredio.app.browse import CLICKS, PRIVATE, shown
from caredio.app.markup import badge, text
from caredio.app.opened import opened
from caredio.app.shelf import Shelf

_HINT = '<p class="note">Select a side of a pair to read its row whole.</p>'


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
        self.number = gr.State(0)

    def listen(self, page: gr.Blocks) -> None:
        """Answer the page's events."""
        inputs: list[Any] = [self.words, self.kind, self.culture]
        outputs = [self.rows, self.count, self.number, self.back, self.forth]
        for changed in (self.words.change, *(one.input for one in inputs[1:])):  # text that is pasted is no input
            changed(self._first, inputs, outputs, trigger_mode="always_last", **PRIVATE)
        for button, turned in ((self.back, self._back), (self.forth, self._forth)):
            button.click(turned, [*inputs, self.number], outputs, **PRIVATE)
        for place in (self.rows, self.whole):
            place.click(self._opened, None, self.whole, **PRIVATE)
        page.load(self._first, inputs, outputs, **PRIVATE)

    def _first(self, words: str, kind: str, culture: str) -> list[Any]:
        return self._shown(words, kind, culture, 0)

    def _back(self, words: str, kind: str, culture: str, number: int) -> list[Any]:
        return self._shown(words, kind, culture, number - 1)

    def _forth(self, words: str, kind: str, culture: str, number: int) -> list[Any]:
        return self._shown(words, kind, culture, number + 1)

    def _shown(self, words: str, kind: str, culture: str, number: int) -> list[Any]:
        found = compare.matching(self.pairs, self.before, self.after, kind or None, culture or None, words or "")
        last = max(0, (len(found) - 1) // compare.ROWS)
        number = min(max(number, 0), last)
        part = found[number * compare.ROWS : (number + 1) * compare.ROWS]
        said = f"page {number + 1} of {last + 1}; {len(found):,} of {len(self.pairs):,} pairs"
        listed = compare.listed(part, self.before, self.after) or '<p class="note">No pair is like this.</p>'
        turning = [gr.Button(interactive=number > 0), gr.Button(interactive=number < last)]
        return [listed, f'<p class="count" role="status">{said}</p>', number, *turning]

    def _opened(self, event: gr.EventData) -> str:
        side = self.before if event.side == "before" else self.after
        place = side.place(str(event.row))
        return (
            _HINT
            if place is None
            else f'<div data-side="{text(event.side)}"><p>{badge(side.name)}</p>{opened(side, place)}</div>'
        )
