"""A release folder onto the Hub: one commit, then its tag, and nothing half-done in between.

Each attempt looks at what the repository holds and does the next missing step, so a lost answer, a stale parent or a
crash between commit and tag is mended by doing the same again.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from caredio import disk
from caredio.errors import EndpointError, InputError
from caredio.publishing import metadata
from caredio.publishing.release import RECORD

log = logging.getLogger("caredio")

ATTEMPTS = 6
_PAUSE = 0.5  # seconds before the second attempt; doubled each time
_FINAL = (400, 401, 403, 404)  # trying again would not help


def push(folder: Path, repo_id: str, repo_type: str, private: bool = False) -> str:
    """Publish a release folder as one commit and a tag.

    The commit replaces the repository's files: what the release does not have is deleted in it, and stays
    loadable by the tags of earlier releases. A release that is there already makes neither commit nor tag.

    Args:
        folder: written by `release.dataset` or `release.model`; holds release.json.
        repo_id: `owner/name`.
        repo_type: dataset or model.
        private: visibility of a repository that this creates.

    Returns:
        The commit that bears the tag.

    Raises:
        InputError: the version is released with other content, or the name is no repository's.
        EndpointError: the Hub refuses the name, the card or the token, or stays unreachable after a few attempts. A
            card is refused before anything is created.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    metadata.check_repo(repo_id)
    api, record = HfApi(), _record(folder)
    for attempt in range(ATTEMPTS):
        try:
            return _step(api, folder, record, repo_id, repo_type, private)
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status in _FINAL:
                raise EndpointError(_refusal(api, repo_id, status, error)) from None
            trouble = f"status {status}"
        except (httpx2.TransportError, OSError) as error:
            cause = error.__cause__ or error
            trouble = (
                f"status {cause.response.status_code}" if isinstance(cause, HfHubHTTPError) else type(cause).__name__
            )
        except json.JSONDecodeError:
            trouble = "an answer that is no JSON"
        log.info("%s: %s, attempt %d of %d", repo_id, trouble, attempt + 1, ATTEMPTS)
        time.sleep(_PAUSE * 2**attempt)
    raise EndpointError(
        f"{repo_id}: {api.endpoint} did not take the release in {ATTEMPTS} attempts (last: {trouble}). Nothing is"
        " half-published; run the same command again."
    )


def _step(api: Any, folder: Path, record: dict[str, Any], repo_id: str, repo_type: str, private: bool) -> str:
    """Bring the repository to the released state from whatever state it is in."""
    _check_card(api, folder, repo_id, repo_type)
    api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
    version = record["version"]
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    if version in tags:
        released = _released(api, repo_id, repo_type, version)
        if released == record:
            log.info("%s: %s is released already", repo_id, version)
            return tags[version]
        what = "is released with other content" if released else f"is a tag there without a readable {RECORD}"
        raise InputError(f"{repo_id}: {version} {what}; choose another --version.")
    head = api.repo_info(repo_id, repo_type=repo_type)
    commit = head.sha
    if _released(api, repo_id, repo_type, head.sha) != record:
        there = {file.rfilename for file in head.siblings or []}
        commit = api.create_commit(
            repo_id,
            _operations(folder, there),
            commit_message=f"Release {version}",
            repo_type=repo_type,
            parent_commit=head.sha,
        ).oid
    api.create_tag(repo_id, tag=version, revision=commit, repo_type=repo_type)
    return commit


def _operations(folder: Path, there: set[str]) -> list[Any]:
    """Add every file of the folder, delete what the repository has beside them."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files = {disk.name(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    stale = sorted(there - set(files) - {".gitattributes"})
    return [
        *(CommitOperationAdd(path, file) for path, file in files.items()),
        *(CommitOperationDelete(path) for path in stale),
    ]


def _check_card(api: Any, folder: Path, repo_id: str, repo_type: str) -> None:
    """Let the Hub look at the card's YAML head, which it does for everybody and without a repository.

    Raises:
        EndpointError: it would refuse the card.
    """
    from huggingface_hub import RepoCard

    card = RepoCard((folder / "README.md").read_text(encoding="utf-8"), ignore_metadata_errors=True)
    try:
        card.validate(repo_type)
    except ValueError as error:
        raise EndpointError(
            f"{repo_id}: {api.endpoint} refuses the card ({_words(str(error))}); nothing was sent."
        ) from None


def _words(answer: str) -> str:
    """What the Hub says of a card, without its JSON."""
    try:
        errors = json.loads(answer)["errors"]
        text = "; ".join(error["message"] for error in errors)
    except (ValueError, KeyError, TypeError):
        text = answer
    return " ".join(text.split())[:300]


def _released(api: Any, repo_id: str, repo_type: str, revision: str) -> dict[str, Any] | None:
    """The release.json at a revision; None where the Hub says there is none, or it is damaged.

    Raises:
        OSError: the Hub did not answer; what is released there is unknown.
    """
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        path = api.hf_hub_download(repo_id, RECORD, repo_type=repo_type, revision=revision)
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (RemoteEntryNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _record(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder}: holds no release ({RECORD} is missing or damaged).") from None


def _refusal(api: Any, repo_id: str, status: int, error: Exception) -> str:
    hint = "check HF_TOKEN and that it may write there" if status in (401, 403) else "check the name"
    said = " ".join(str(getattr(error, "server_message", "") or "").split())[:300]
    return f"{repo_id}: {api.endpoint} refused (status {status}{': ' + said if said else ''}); {hint}."
