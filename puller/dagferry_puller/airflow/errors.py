"""The one error that Airflow gets to see, written for who reads its log at night."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagferry_puller.exits import line_for
from dagferry_puller.leases import NoVersion
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Iterator


class BundleUnavailable(DagferryError):
    """A version of a bundle cannot be had; the text says which, why, what that means now, and what to do."""


class Missing(DagferryError):
    """There is no such version on this host, and nowhere to get it from."""


@contextmanager
def explained(bundle: str, wanted: str, stays: str | None) -> Iterator[None]:
    """Turn what goes wrong into a BundleUnavailable.

    Args:
        bundle: Airflow's name of it.
        wanted: the version, or what else was to be had.
        stays: the version that is used until it can be had, if there is one.
    """
    try:
        yield
    except (DagferryError, NoVersion, OSError) as error:
        reason = str(error) if isinstance(error, NoVersion) else line_for(error)
        if stays:
            meaning = f"Airflow goes on with {stays[:12]}; this is tried again by itself"
        else:
            meaning = "there is nothing to parse or to run until this is cured"
        raise BundleUnavailable(f"dagferry bundle {bundle!r}: no {wanted}: {reason}. {meaning}") from error
