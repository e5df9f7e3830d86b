"""Where people see a version: its commit in GitLab, by the repository that its signed release names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_shared import envelope, names, release
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Airflow fills in the version id. Its first 40 characters are the commit (of a SHA-256 repository: enough of it for
# GitLab). "!s" because Airflow renders the template for DAGs without a version, too, and None takes no width.
_COMMIT = "/-/commit/{version!s:.40}"


def template(versions: Iterable[str]) -> str | None:
    """Return the URL template of the first version whose kept release can be read.

    Args:
        versions: directories ``<root>/versions/<id>``.
    """
    for directory in versions:
        repository = _repository(directory)
        if repository:
            return _template(repository)
    return None


def _template(repository: str) -> str | None:
    if not repository.startswith(("https://", "http://")):
        return None
    return repository.replace("{", "{{").replace("}", "}}") + _COMMIT


def _repository(directory: str) -> str | None:
    """Read which repository a version is from: its release has the digest in its name, and was verified there."""
    root, version = os.path.dirname(os.path.dirname(directory)), os.path.basename(directory)
    try:
        _, digest = names.split_version_id(version)
        with open(os.path.join(root, ".dagferry", "envelopes", f"{digest}.json"), "rb") as file:
            raw = file.read(envelope.MAX_ENVELOPE + 1)
        if envelope.digest(raw) != digest:
            return None
        return release.parse(envelope.parse(raw, "kept release")).source.repository
    except (OSError, Refused):
        return None


def of_trust(environ: Mapping[str, str]) -> str | None:
    """Return the URL template of the repository that the trust file names: all releases of a channel are from it.

    Args:
        environ: the puller's settings.

    Raises:
        ConfigError: a setting is wrong, or the trust file cannot be used.
    """
    from dagferry_puller import options, prepare  # noqa: PLC0415 - loads cryptography

    rules = prepare.open_trust(options.resolve("once", {}, environ)).rules()
    return _template(rules.entry.repository)
