"""Where a path of Airflow's leads: through the link into one version, and back. Standard library alone."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import NamedTuple

from dagferry_puller.root import META, VERSIONS
from dagferry_shared import names
from dagferry_shared.errors import Refused


class Place(NamedTuple):
    """One version, as Airflow reaches it and as it lies on the volume.

    Attributes:
        link: what leads to a version, as Airflow's setting spells it: ``/dags/current`` of ``/dags/current/etl``.
        root: the puller's root, without symlinks.
        version: a version id.
    """

    link: str
    root: str
    version: str

    @property
    def real(self) -> str:
        """The version's directory."""
        return os.path.join(self.root, VERSIONS, self.version)

    def to_real(self, path: str) -> str:
        """Return a path through the link as the one in this version; any other path as it is."""
        return moved(path, self.link, self.real)

    def to_link(self, path: str) -> str:
        """Return a path in this version as the one through the link; any other path as it is."""
        return moved(path, self.real, self.link)

    def pinned(self, path: str) -> str | None:
        """Return where a path leads in this version, whichever symlinks lead there; None: to none of our versions."""
        real = self.to_real(path)
        if real == self.real or real.startswith(self.real + os.sep):
            return real
        versions = os.path.join(self.root, VERSIONS) + os.sep
        found = os.path.realpath(path)
        if not found.startswith(versions):
            return None
        _, _, rest = found.removeprefix(versions).partition(os.sep)
        return os.path.join(self.real, rest) if rest else self.real


def moved(path: str, old: str, new: str) -> str:
    """Return a path with one directory at its beginning replaced by another; as it is if it is not below it."""
    if path == old:
        return new
    return new + path[len(old) :] if path.startswith(old + os.sep) else path


def find(folder: str) -> Place | None:
    """Find the version that a folder lies in now; None if it is in none of ours.

    Args:
        folder: absolute; the link, something below it, or a symlink to either.
    """
    prefix = PurePath(folder)
    for link in (prefix, *prefix.parents):
        versions, version = os.path.split(os.path.realpath(link))
        root, name = os.path.split(versions)
        if name == VERSIONS and is_id(version) and os.path.isdir(os.path.join(root, META)):
            return Place(str(link), root, version)
    return None


def is_id(value: str) -> bool:
    """Tell whether a name is a version id."""
    try:
        names.split_version_id(value)
    except Refused:
        return False
    return True
