"""The version of a release: what it is over the last one, by what differs."""

from __future__ import annotations

from caredio.publishing.diff import Diff
from caredio.publishing.record import numbers

FIRST = "v0.1.0"


def proposed(last: str, found: Diff) -> tuple[str, str]:
    """The next version, and why: other columns or a config that is gone are major, other data minor, the rest a patch.

    Args:
        last: version of the release before.
        found: how the new one differs from it.
    """
    major, minor, patch = numbers(last)
    if found.columns or found.configs_gone:
        return f"v{major + 1}.0.0", "columns differ" if found.columns else "a culture or a config is gone"
    if found.data_differs:
        return f"v{major}.{minor + 1}.0", "the data differs"
    return f"v{major}.{minor}.{patch + 1}", "what describes the data differs"
