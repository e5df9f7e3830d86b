"""Whether a version in our own storage is what was signed. Reads only; its caller holds the version's lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller import options, prepare
from dagferry_puller.root import Root
from dagferry_puller.volume import Volume
from dagferry_shared import names

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_good(environ: Mapping[str, str], version: str) -> bool:
    """Check a version's release by all rules of ``--pin``, and its tree by the release.

    Args:
        environ: the puller's settings.
        version: id.

    Returns:
        False if its tree or its release is not there, or not as it was signed: then it is to be pulled again.

    Raises:
        Refused: the trust file does not accept the release (any more).
        ConfigError: a setting is wrong.
        OSError: the volume's fault.
    """
    settings = options.resolve("once", {}, environ)
    rules = prepare.open_trust(settings).rules()
    commit, digest = names.split_version_id(version)
    with Root(settings.root, durable=not settings.no_fsync) as root:
        volume = Volume(root, settings)
        raw = volume.envelopes.release(digest)
        if raw is None:
            return False
        release = rules.release(raw, digest=digest, commit=commit, new=False).content
        found = volume.scan(version, release)
        return found is not None and found.is_tree(release.tree)
