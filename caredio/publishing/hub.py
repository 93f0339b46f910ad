"""A release folder onto the Hub: one commit, then its tag, and nothing half-done in between.

Each attempt looks at what the repository holds and does the next missing step, so a lost answer, a stale parent or a
crash between commit and tag is mended by doing the same again.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from caredio import disk, packages
from caredio.errors import EndpointError, InputError
from caredio.publishing import metadata, record
from caredio.publishing.record import RECORD, Release, same

log = logging.getLogger("caredio")
T = TypeVar("T")

ATTEMPTS = 6
_PAUSE = 0.5  # seconds before the second attempt; doubled each time
_AGAIN = (408, 412, 425, 429)  # of the client errors: a timeout, a stale parent, too early, a rate limit
_MOVED = re.compile("parent|has happened|already exists|in progress|concurrent|try again", re.IGNORECASE)  # of 409
_XET = re.compile(r"HTTP status \w+ error \((\d{3}[\w ]*)\)")  # in a ConnectionError of Xet, by which tables are sent
_PATIENCE = 10.0  # seconds that a question asked ahead of the work, or of a file, may take
_SILENCE = 120.0  # seconds without a byte after which a request counts as lost; the Hub's client would wait for ever
_REQUESTS = 10  # pull requests, the latest, among which one's own is looked for


class Moved(Exception):  # noqa: N818 (a plan is made again; no mistake of the user's)
    """The repository is no longer what a release was planned on."""


@dataclass(frozen=True)
class Seen:
    """What a repository held when it was looked at.

    Attributes:
        head: its last commit; None where there is no repository.
        tags: name -> commit.
    """

    head: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def look(repo_id: str, repo_type: str, attempts: int = ATTEMPTS) -> Seen:
    """What is in a repository.

    Raises:
        InputError: the name is no repository's.
        EndpointError: as `push` does.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    def step(api: Any) -> Seen:
        try:
            tags = api.list_repo_refs(repo_id, repo_type=repo_type).tags
            head = api.repo_info(repo_id, repo_type=repo_type, timeout=_SILENCE).sha
        except RepositoryNotFoundError:
            return Seen()
        return Seen(head, {tag.name: tag.target_commit for tag in tags})

    return _tried(repo_id, step, attempts)


def fetched(repo_id: str, repo_type: str, tag: str, whole: bool = False) -> Release | None:
    """The release at a tag, in the Hub's cache: its record and ranked rows, or all of it; None where none is there.

    Raises:
        InputError, EndpointError: as `push` does.
    """

    from huggingface_hub.errors import RemoteEntryNotFoundError

    def step(api: Any) -> Release | None:
        found = _released(api, repo_id, repo_type, tag)
        if found is None:
            return None
        folder = _file(api, repo_id, repo_type, tag, RECORD).parent  # named by its commit
        rows = found.get("rows", {})
        ranked = [f"{config}/{split}.parquet" for config in record.ranked_configs(found) for split in rows[config]]
        missing = [RemoteEntryNotFoundError] if whole else []  # which who looks at all of it sees
        for path in found.get("files", ranked) if whole else ranked:
            with suppress(*missing):
                _file(api, repo_id, repo_type, folder.name, path)
        return Release(f"{repo_id}@{tag}", folder, found)

    return _tried(repo_id, step)


def _file(api: Any, repo_id: str, repo_type: str, revision: str, path: str) -> Path:
    """A file of a repository, in the Hub's cache."""
    kept = api.hf_hub_download(repo_id, path, repo_type=repo_type, revision=revision, etag_timeout=_PATIENCE)
    return Path(kept)


def named(place: str, whole: bool = False) -> Release:
    """The release of a dataset, or else of a model, that `owner/name@tag` names; without a tag the newest one.

    A name without a tag whose owner is a folder here is most likely a folder's: the Hub is asked once, for a dataset.

    Raises:
        InputError: there is none.
        EndpointError: as `push` does.
    """
    repo_id, _, tag = place.partition("@")
    metadata.check_repo(repo_id)
    mistyped = not tag and Path(repo_id).parent.is_dir()
    for repo_type in ("dataset",) if mistyped else ("dataset", "model"):
        try:
            seen = look(repo_id, repo_type, 1 if mistyped else ATTEMPTS)
        except EndpointError as error:
            said = str(error).removeprefix(f"{repo_id}: ")
            raise EndpointError(f"{place}: there is no such folder here, and {said}") from None
        chosen = tag or record.newest(seen.tags)
        if seen.head is None or chosen is None:
            continue
        if chosen in seen.tags and (found := fetched(repo_id, repo_type, chosen, whole)):
            return found
        there = ", ".join(sorted(seen.tags, key=record.numbers)) or "none"
        raise InputError(f"{place}: no release of this package's is tagged so; the tags there are {there}.")
    kinds, do = ("dataset", ", or add a tag") if mistyped else ("dataset or model", "")
    raise InputError(
        f"{place}: there is no such folder here, and no release of such a {kinds} on the Hub; check the name{do}."
    )


def push(
    folder: Path,
    repo_id: str,
    repo_type: str,
    private: bool = False,
    *,
    gated: str | None = None,
    create_pr: bool = False,
    seen: Seen | None = None,
) -> str:
    """Publish a release folder as one commit and a tag, or as a pull request.

    The commit replaces the repository's files: what the release does not have is deleted in it, and stays
    loadable by the tags of earlier releases. A release that is there already makes neither commit nor tag.

    Args:
        folder: written by `release.dataset` or `release.model`; holds release.json.
        repo_id: `owner/name`.
        repo_type: dataset or model.
        private: visibility of a repository that this creates.
        gated: `auto` or `manual`: who wants to read asks first, and is let in at once or by hand.
        create_pr: open a pull request, which bears no tag; one that is there already is not opened again.
        seen: what the release was planned on.

    Returns:
        The commit that bears the tag; of a pull request, its address.

    Raises:
        Moved: the repository holds something else than what was seen.
        InputError: the version is released with other content, or the name is no repository's.
        EndpointError: the Hub's client is in offline mode, or the Hub refuses the name, the card or the token, or stays
            unreachable after a few attempts. A card is refused before anything is created.
    """
    made = record.read(folder).record

    def step(api: Any) -> str:
        _check_card(api, folder, repo_id, repo_type)
        if create_pr:
            return _pull_request(api, folder, made, repo_id, repo_type)
        _create(api, repo_id, repo_type, private)
        return _step(api, folder, made, repo_id, repo_type, gated, seen)

    return _tried(repo_id, step, failed="did not take the release", after="Nothing is half-published; run")


def _tried(
    repo_id: str, step: Callable[[Any], T], attempts: int = ATTEMPTS, failed: str = "gave no answer", after: str = "Run"
) -> T:
    """What `step` gives, which is done again where another attempt may go well.

    Args:
        failed, after: what the Hub did where none did, and how the next sentence begins.

    Raises:
        As `push`.
    """
    from huggingface_hub import HfApi

    metadata.check_repo(repo_id)
    check_online(repo_id)
    api = HfApi()
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        try:
            with _impatient():
                return step(api)
        except json.JSONDecodeError:
            trouble = "an answer that is no JSON"
        except (OSError, RuntimeError) as error:  # an upload's error is the cause of a RuntimeError
            trouble = _retryable(api, repo_id, error)
        except packages.unreachable() as error:
            trouble = type(error).__name__
        log.info("%s: %s, attempt %d of %d", repo_id, trouble, attempt + 1, attempts)
    times = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    raise EndpointError(
        f"{repo_id}: {api.endpoint} {failed} in {times} (last: {trouble}). {after} the same command again."
    )


@contextmanager
def _impatient() -> Iterator[None]:
    """Requests of the Hub's client end when nothing comes any more."""
    from huggingface_hub.utils import get_session

    before = get_session().timeout
    get_session().timeout = _SILENCE
    try:
        yield
    finally:
        get_session().timeout = before


def foresee(repo_id: str, repo_type: str, version: str | None, folder: Path) -> None:
    """Ask the Hub, before a release is made, whether it would take it; one that cannot be reached is no error here.

    Args:
        version: tag of the release to come; None is one that will be proposed.
        folder: where it will be written; an earlier release there may be the one that bears the tag.

    Raises:
        EndpointError: the Hub's client is in offline mode, the Hub does not know the token, or the token may only read.
        InputError: the version is released already, and not from the folder, whose record may be damaged.
    """
    from huggingface_hub import HfApi

    check_online(repo_id)
    api = HfApi()
    role = _asked(api, "whoami-v2").get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise EndpointError(f"{repo_id}: the token of the Hub may only read; export HF_TOKEN with one that may write.")
    if version is None:
        return
    tags = [tag["name"] for tag in _asked(api, f"{repo_type}s/{repo_id}/refs").get("tags", [])]
    if version not in tags:
        return
    try:
        released = _released(api, repo_id, repo_type, version)
    except OSError:
        return
    there = record.found(folder)
    if there is None or released is None or not same(there.record, released):
        raise InputError(f"{repo_id}: {version} is released already, and {folder} is not it; choose another version.")


def check_token(repo_id: str) -> None:
    """See that there is a token of the Hub, be it one that is refused later. Raises InputError."""
    from huggingface_hub import get_token

    if not get_token():
        raise InputError(
            f"a push to {repo_id} needs a token of the Hub that may write there: export HF_TOKEN, or run `hf auth"
            " login`."
        )


def check_online(repo_id: str) -> None:
    """See that the Hub's client may ask it. Raises EndpointError."""
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
        refused = _XET.search(str(cause))
        return f"status {refused[1]} where files are sent" if refused else type(cause).__name__
    status, words = http.response.status_code, _reason(http)
    conflict = status == 409 and _MOVED.search(words)
    if 400 <= status < 500 and status not in _AGAIN and not conflict:
        raise EndpointError(_refusal(api, repo_id, status, words)) from None
    return f"status {status}{words and f': {words}'}"


def _step(
    api: Any, folder: Path, made: dict[str, Any], repo_id: str, repo_type: str, gated: str | None, seen: Seen | None
) -> str:
    """Bring the repository to the released state from whatever state it is in."""
    version = made["version"]
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    if version in tags:
        released = _released(api, repo_id, repo_type, version)
        if released and same(released, made):
            log.info("%s: %s is released already", repo_id, version)
            return str(tags[version])
        if seen is not None and version not in seen.tags:
            raise Moved(f"{version} was released meanwhile")
        raise taken(repo_id, version, released)
    head = api.repo_info(repo_id, repo_type=repo_type, timeout=_SILENCE)
    if gated and head.gated != gated:
        api.update_repo_settings(repo_id, repo_type=repo_type, gated=gated)
    commit, there = head.sha, _released(api, repo_id, repo_type, head.sha)
    if there is None or not same(there, made):
        if seen is not None and head.sha != seen.head and (seen.head or there):
            raise Moved("the repository was changed meanwhile")
        commit = _commit(api, folder, made, repo_id, repo_type, head).oid
    api.create_tag(repo_id, tag=version, revision=commit, repo_type=repo_type)
    return str(commit)


def taken(repo_id: str, version: str, released: dict[str, Any] | None) -> InputError:
    """What is raised where a tag is there with something else."""
    what = "is released with other content" if released else f"is a tag there without a readable {RECORD}"
    return InputError(f"{repo_id}: {version} {what}; choose another version.")


def _commit(
    api: Any, folder: Path, made: dict[str, Any], repo_id: str, repo_type: str, head: Any, **options: Any
) -> Any:
    there = {file.rfilename for file in head.siblings or []}
    title, lines = f"Release {made['version']}", made.get("changes", ())
    return api.create_commit(
        repo_id,
        _operations(folder, there),
        commit_message=title,
        commit_description="\n".join(lines),
        repo_type=repo_type,
        parent_commit=head.sha,
        **options,
    )


def _pull_request(api: Any, folder: Path, made: dict[str, Any], repo_id: str, repo_type: str) -> str:
    """The address of a pull request that holds the release: one of the latest, or a new one."""
    refs = api.list_repo_refs(repo_id, repo_type=repo_type, include_pull_requests=True).pull_requests
    for ref in sorted(refs or (), key=lambda one: int(one.name), reverse=True)[:_REQUESTS]:
        released = _released(api, repo_id, repo_type, ref.ref)
        if released and same(released, made):
            log.info("%s: pull request %s holds the release already", repo_id, ref.name)
            kind = "" if repo_type == "model" else f"{repo_type}s/"
            return f"{api.endpoint}/{kind}{repo_id}/discussions/{ref.name}"
    head = api.repo_info(repo_id, repo_type=repo_type, timeout=_SILENCE)
    return str(_commit(api, folder, made, repo_id, repo_type, head, create_pr=True).pr_url)


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
    """Add every file of the release, delete what the repository has beside them."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    found = {disk.name(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    files = {path: file for path, file in found.items() if not record.foreign(path)}
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
        found = json.loads(_file(api, repo_id, repo_type, revision, RECORD).read_text(encoding="utf-8"))
    except (RemoteEntryNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _reason(error: Any) -> str:
    """Why the Hub refused, in its own words."""
    return " ".join(str(error.server_message or error.response.reason_phrase or "").split())[:300]


def _refusal(api: Any, repo_id: str, status: int, words: str) -> str:
    hint = {401: "check HF_TOKEN and that it may write there", 404: "check the name"}
    hint |= {400: hint[404], 403: hint[401]}
    what = hint.get(status, "the same command goes on from there once that is settled")
    return f"{repo_id}: {api.endpoint} refused (status {status}{': ' + words if words else ''}); {what}."
