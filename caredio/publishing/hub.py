"""A release folder onto the Hub: one commit, then its tag, and nothing half-done in between.

Each attempt looks at what the repository holds and does the next missing step, so a lost answer, a stale parent or a
crash between commit and tag is mended by doing the same again.
"""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path
from typing import Any

from caredio import disk, packages
from caredio.errors import EndpointError, InputError
from caredio.publishing import metadata
from caredio.publishing.release import RECORD

log = logging.getLogger("caredio")

ATTEMPTS = 6
_PAUSE = 0.5  # seconds before the second attempt; doubled each time
_AGAIN = (408, 412, 425, 429)  # of the client errors: a timeout, a stale parent, too early, a rate limit
_MOVED = re.compile("parent|has happened|already exists|in progress|concurrent|try again", re.IGNORECASE)  # of 409
_PATIENCE = 10  # seconds that a question asked ahead of the work may take


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
        EndpointError: the Hub's client is in offline mode, or the Hub refuses the name, the card or the token, or stays
            unreachable after a few attempts. A card is refused before anything is created.
    """
    from huggingface_hub import HfApi

    metadata.check_repo(repo_id)
    _check_online(repo_id)
    api, record = HfApi(), _record(folder)
    for attempt in range(ATTEMPTS):
        try:
            return _step(api, folder, record, repo_id, repo_type, private)
        except json.JSONDecodeError:
            trouble = "an answer that is no JSON"
        except (OSError, RuntimeError) as error:  # an upload's error is the cause of a RuntimeError
            trouble = _retryable(api, repo_id, error)
        except packages.unreachable() as error:
            trouble = type(error).__name__
        log.info("%s: %s, attempt %d of %d", repo_id, trouble, attempt + 1, ATTEMPTS)
        time.sleep(_PAUSE * 2**attempt)
    raise EndpointError(
        f"{repo_id}: {api.endpoint} did not take the release in {ATTEMPTS} attempts (last: {trouble}). Nothing is"
        " half-published; run the same command again."
    )


def foresee(repo_id: str, repo_type: str, version: str, folder: Path) -> None:
    """Ask the Hub, before a release is made, whether it would take it; one that cannot be reached is no error here.

    Args:
        version: tag of the release to come.
        folder: where it will be written; an earlier release there may be the one that bears the tag.

    Raises:
        EndpointError: the Hub's client is in offline mode, the Hub does not know the token, or the token may only read.
        InputError: the version is released already, and not from the folder.
    """
    from huggingface_hub import HfApi

    _check_online(repo_id)
    api = HfApi()
    role = _asked(api, "whoami-v2").get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise EndpointError(f"{repo_id}: the token of the Hub may only read; export HF_TOKEN with one that may write.")
    tags = [tag["name"] for tag in _asked(api, f"{repo_type}s/{repo_id}/refs").get("tags", [])]
    if version not in tags:
        return
    try:
        released = _released(api, repo_id, repo_type, version)
    except OSError:
        return
    try:
        same = _record(folder) == released
    except InputError:
        same = False
    if not same:
        raise InputError(f"{repo_id}: {version} is released already, and {folder} is not it; choose another version.")


def _check_online(repo_id: str) -> None:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise EndpointError(
            f"{repo_id}: nothing goes to the Hub while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set; unset it, then"
            " run the same command again."
        )


def _asked(api: Any, path: str) -> dict[str, Any]:
    """What the Hub answers to a GET of its API; nothing where it does not answer, or has nothing there.

    Raises:
        EndpointError: it does not know the token.
    """
    from huggingface_hub.utils import build_hf_headers, get_session

    try:
        answer = get_session().get(f"{api.endpoint}/api/{path}", headers=build_hf_headers(), timeout=_PATIENCE)
        found = answer.json() if answer.status_code == 200 else {}
    except packages.unreachable(OSError, ValueError):
        return {}
    if path == "whoami-v2" and answer.status_code == 401:
        raise EndpointError(f"{api.endpoint} does not know the token of the Hub (status 401); check HF_TOKEN.")
    return found if isinstance(found, dict) else {}


def _retryable(api: Any, repo_id: str, error: Exception) -> str:
    """What went wrong, where another attempt may go well.

    Raises:
        EndpointError: the Hub refuses for good.
    """
    from huggingface_hub.errors import HfHubHTTPError

    http = next((one for one in (error, error.__cause__) if isinstance(one, HfHubHTTPError)), None)
    if http is None:
        cause = error.__cause__ or error
        if isinstance(error, RuntimeError) and not isinstance(cause, packages.unreachable(OSError)):
            raise error
        return type(cause).__name__
    status, words = http.response.status_code, _reason(http)
    conflict = status == 409 and _MOVED.search(words)
    if 400 <= status < 500 and status not in _AGAIN and not conflict:
        raise EndpointError(_refusal(api, repo_id, status, words)) from None
    return f"status {status}{words and f': {words}'}"


def _step(api: Any, folder: Path, record: dict[str, Any], repo_id: str, repo_type: str, private: bool) -> str:
    """Bring the repository to the released state from whatever state it is in."""
    _check_card(api, folder, repo_id, repo_type)
    _create(api, repo_id, repo_type, private)
    version = record["version"]
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    if version in tags:
        released = _released(api, repo_id, repo_type, version)
        if released == record:
            log.info("%s: %s is released already", repo_id, version)
            return tags[version]
        what = "is released with other content" if released else f"is a tag there without a readable {RECORD}"
        raise InputError(f"{repo_id}: {version} {what}; choose another version.")
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


def _create(api: Any, repo_id: str, repo_type: str, private: bool) -> None:
    """Make the repository where there is none."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repo_id, repo_type=repo_type, private=private)
    except HfHubHTTPError as error:  # a token may write to a repository that it could not create
        there = error.response.status_code in (403, 409) and api.repo_exists(repo_id, repo_type=repo_type)
        if not there:
            raise
    except KeyError:  # created, and the answer does not say where; the next request looks there
        log.debug("%s: created, by an answer without an address", repo_id)


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


def _reason(error: Any) -> str:
    """Why the Hub refused, in its own words."""
    return " ".join(str(error.server_message or error.response.reason_phrase or "").split())[:300]


def _refusal(api: Any, repo_id: str, status: int, words: str) -> str:
    hint = {401: "check HF_TOKEN and that it may write there", 404: "check the name"}
    hint |= {400: hint[404], 403: hint[401]}
    what = hint.get(status, "the same command goes on from there once that is settled")
    return f"{repo_id}: {api.endpoint} refused (status {status}{': ' + words if words else ''}); {what}."
