"""The tab Talk: one question put to a model as it is, asked to play the part, and trained, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from caredio.errors import CaredioError

if TYPE_CHECKING:
    from caredio.app.speakers import Speakers

_LINES = 10  # of an answer, before it scrolls
_WAITING = "..."
_ABOUT = {
    "raw": "The model as it is: it is not told of a culture.",
    "role-play": "The same model, told to speak as a member of the culture.",
    "trained": "What was trained for the culture: it is not told of it.",
}


def tab(speakers: Speakers) -> None:
    """The tab's components and events. Answers come one after another, each as soon as it is whole."""
    cultures = [(culture.name, slug) for slug, culture in speakers.cultures.items()]
    with gr.Row():
        culture = gr.Dropdown(cultures, value=cultures[0][1], label="Culture", scale=1, elem_id="talk-culture")
        question = gr.Textbox(
            label="Question", lines=1, max_lines=4, scale=3, submit_btn="Ask", elem_id="talk-question", autofocus=True
        )
    with gr.Row():
        boxes = [
            gr.Textbox(
                label=name,
                info=_ABOUT.get(name),
                lines=_LINES,
                max_lines=_LINES,
                interactive=False,
                elem_id=f"talk-{name}",
            )
            for name in speakers.names
        ]
    for note in speakers.notes:
        gr.Textbox(note, show_label=False, interactive=False, container=False)

    def answers(slug: str, asked: str) -> Iterator[list[str]]:
        yield from replies(speakers, slug, asked)

    event: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    question.submit(
        answers, [culture, question], boxes, concurrency_limit=1, concurrency_id="talk", trigger_mode="once", **event
    )


def replies(speakers: Speakers, culture: str, question: str) -> Iterator[list[str]]:
    """What stands in the boxes, after each answer that is whole."""
    said = [""] * len(speakers.names)
    if not question.strip():
        yield ["Type a question first.", *said[1:]]
        return
    for place, name in enumerate(speakers.names):
        said[place] = _WAITING
        yield list(said)
        try:
            said[place] = speakers.answer(name, culture, question.strip())
        except CaredioError as error:
            said[place] = f"(no answer: {error})"
    yield list(said)
