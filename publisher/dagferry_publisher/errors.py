"""What a publishing command can end with besides a refusal or a store error; each has its own exit code."""

from __future__ import annotations

from dagferry_shared.errors import DagferryError


class UsageError(DagferryError):
    """A setting is missing or wrong; the text says which and how to give it."""


class NotFound(DagferryError):
    """What was named (a commit, a path, a release, a channel) is not there."""


class Conflict(DagferryError):
    """The channel is, or moved, where this change does not fit: lost race, not a descendant, pointer behind."""


class ChannelHeld(DagferryError):
    """The channel is held: the release is uploaded, and nothing was moved."""


class AncestryUnknown(DagferryError):
    """The clone is too shallow to tell whether the commit descends from what was published."""


class UnsafeStore(DagferryError):
    """The store ignores conditional writes: publishing there loses updates."""


class ImportErrors(DagferryError):
    """Airflow cannot import files that it could import before."""


class TimedOut(DagferryError):
    """What was waited for did not happen in the time given by ``--timeout``."""


class PartOfFleet(DagferryError):
    """Some pods are as they should be, and some are not."""


class StageFailed(DagferryError):
    """A stage of a rollout did not come out well, or somebody said no; the text says where everything is now."""


class FoundProblems(DagferryError):
    """A check of the store ended with findings."""
