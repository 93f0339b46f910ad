"""The page: a tab for each thing to do with a run or a release, served on this machine or as a Space."""

from __future__ import annotations

import threading
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

import gradio as gr

from caredio.app import browse, comparing, talk
from caredio.app.markup import text
from caredio.app.shelf import Shelf
from caredio.errors import InputError

if TYPE_CHECKING:
    from caredio.app.speakers import Speakers

_FONT = ("system-ui", "sans-serif")  # of the reader's machine: nothing is fetched
_MONO = ("ui-monospace", "monospace")


def build(shelf: Shelf, other: Shelf | None = None, speakers: Speakers | None = None) -> gr.Blocks:
    """The page of a shelf; of two, with what changed from the first to the second; of speakers, to put questions to."""
    with gr.Blocks(title=f"{shelf.name} · CAReDiO", analytics_enabled=False, fill_width=True) as page:
        browse.shown(_head(shelf))
        with gr.Tabs() as tabs:
            with gr.Tab("Browse", id="browse") as first:
                browse.tab(page, shelf)
            shown = {"browse": first}
            if other:
                with gr.Tab("Compare", id="compare") as shown["compare"]:
                    comparing.tab(page, shelf, other)
            if speakers:
                with gr.Tab("Talk", id="talk") as shown["talk"]:
                    talk.tab(speakers)
        loaded = gr.Textbox(browse.LOADING, visible="hidden")
        for name, one in shown.items():
            query = "" if name == "browse" else f"tab={name}"
            chosen = f"loaded => ({browse.to_address('tab')})(loaded || '{query}')"  # a page that loads selects one too
            one.select(None, loaded, None, js=chosen)

        def opens(request: gr.Request) -> list[Any]:
            name = request.query_params.get("tab")
            return [gr.Tabs(selected=name) if name in shown else gr.skip(), ""]

        page.load(opens, None, [tabs, loaded], **browse.PRIVATE)
    return page


def _head(shelf: Shelf) -> str:
    stages = Counter(shelf.rows["stage"].to_pylist())
    ranked = stages.pop("ranked", 0)
    kind = "run" if shelf.is_run else f"release {shelf.record.get('version', '')}"
    cultures = len(shelf.values("culture"))
    said = f"{kind}: {ranked:,} ranked rows of {cultures} cultures, {stages.total():,} others"
    return f'<header class="head"><h1>{text(shelf.name)}</h1><p class="note">{text(said)}</p></header>'


def options() -> dict[str, Any]:
    """How the page looks, and what it leaves out: what `launch` of Gradio takes."""
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=_FONT, font_mono=_MONO)
    style = resources.files("caredio.app").joinpath("page.css").read_text(encoding="utf-8")
    return {"theme": theme, "css": style, "footer_links": [], "run_history": False, "ssr_mode": False, "quiet": True}


def launch(page: gr.Blocks, port: int | None = None) -> str:
    """The address at which the page is served from now on, by a thread.

    Args:
        port: by default what the environment or Gradio says, as a Space needs it.

    Raises:
        InputError: the port is taken.
    """
    try:
        _, address, _ = page.launch(
            server_port=port, prevent_thread_lock=True, inbrowser=False, share=False, **options()
        )
    except OSError:
        what = f"port {port} is" if port else "the ports that Gradio looks at are"
        raise InputError(f"{what} taken on this machine; name another with --port.") from None
    return address


def wait() -> None:
    """Nothing, once the process is interrupted."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
