"""A Space: the page of a release on the Hub, served there, by a copy of this package."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import caredio
from caredio import packages
from caredio.app.shelf import ON_HUB
from caredio.errors import EndpointError, InputError
from caredio.publishing.metadata import check_repo

_COPIED = (".py", ".yaml", ".txt", ".css")  # of the package; the tables in its data are for other commands
_EXTRA = re.compile(r"""(?P<requirement>[^;]+);\s*extra == ["'](?P<extra>\w+)["']""")

APP = """from caredio.app import page, shelf

page.launch(page.build({shelves}))
page.wait()
"""
CARD = """---
title: {title}
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
datasets:
{datasets}
---
What {names} hold{s}, row by row. Made by `caredio browse {names} --space {repo}`; this copy of CAReDiO is version
{version}.
"""


def push(places: Sequence[str], repo: str, private: bool = False) -> str:
    """The address of the Space, once it holds the page of these releases.

    Args:
        places: one or two `owner/name@tag` of releases on the Hub.
        repo: `owner/name` of the Space.
        private: visibility of a Space that this creates.

    Raises:
        InputError: a place is no release on the Hub, or the name is no repository's.
        EndpointError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    for place in places:
        if Path(place).exists() or not ON_HUB.fullmatch(place):
            raise InputError(
                f"{place}: a Space shows what is on the Hub; publish it with --push, then name owner/name@tag."
            )
    check_repo(repo)
    made, api = files(places, repo), HfApi()
    try:
        api.create_repo(repo, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
        there = {file.rfilename for file in api.space_info(repo).siblings or []}
        stale = sorted(there - made.keys() - {".gitattributes"})
        changes: list[Any] = [CommitOperationAdd(path, content) for path, content in made.items()]
        changes += [CommitOperationDelete(path) for path in stale]
        api.create_commit(repo, changes, commit_message=f"Show {' and '.join(places)}", repo_type="space")
    except HfHubHTTPError as error:
        reason = " ".join(str(error.server_message or error).split())[:200]
        raise EndpointError(f"{repo}: the Hub refused ({reason}); check the name and HF_TOKEN.") from None
    except packages.unreachable(OSError, RuntimeError) as error:
        raise EndpointError(
            f"{repo}: {api.endpoint} cannot be reached ({type(error).__name__}); run the same command again."
        ) from None
    return f"{api.endpoint}/spaces/{repo}"


def files(places: Sequence[str], repo: str) -> dict[str, bytes]:
    """Path -> content of all that a Space of these releases holds."""
    package = Path(caredio.__file__).parent
    copied = {
        f"caredio/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.suffix in _COPIED and file.is_file() and "data" not in file.relative_to(package).parts
    }
    names = [ON_HUB.fullmatch(place)["name"] for place in places]  # type: ignore[index]
    card = CARD.format(
        title=json.dumps(f"Browse {names[0].partition('/')[2]}"),
        gradio=metadata.version("gradio"),
        datasets="\n".join(f"- {name}" for name in dict.fromkeys(names)),
        names=" ".join(places),
        s="s" if len(places) == 1 else "",
        repo=repo,
        version=metadata.version("caredio"),
    )
    app = APP.format(shelves=", ".join(f"shelf.open({json.dumps(place)})" for place in places))
    written = {"README.md": card, "app.py": app, "requirements.txt": "\n".join(_requirements()) + "\n"}
    return {**{path: content.encode() for path, content in written.items()}, **copied}


def _requirements() -> list[str]:
    """What this package and its extra `app` require."""
    found = []
    for line in metadata.requires("caredio") or ():
        extra = _EXTRA.fullmatch(line)
        if extra is None or extra["extra"] == "app":
            found.append((extra["requirement"] if extra else line).strip())
    return found
