"""Waiting until a commit is live on every pod, or on enough of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.cli import fleet
from dagferry_publisher.cli.output import SHORT
from dagferry_publisher.cli.progress import Progress
from dagferry_publisher.errors import PartOfFleet, TimedOut, UsageError
from dagferry_publisher.fleet import quorum as quorums
from dagferry_publisher.fleet.quorum import Count, Quorum, Reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.fleet.survey import Survey

_POLL_SECONDS = 0.5  # between two rounds
_MOST_NAMED = 5  # pods that are named when time is over
MIN_PREFIX = 7


def commit_prefix(text: str) -> str:
    """Accept the first digits of a commit."""
    wanted = text.lower()
    if not MIN_PREFIX <= len(wanted) <= 64 or set(wanted) - set("0123456789abcdef"):
        raise UsageError(f"--commit takes {MIN_PREFIX} hex digits of a commit or more")
    return wanted


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is waited for.

    Attributes:
        commit: its first digits, or a version id.
        channel: pods of other channels do not count; None: all do.
        quorum: how many are enough.
    """

    commit: str
    channel: str | None
    quorum: Quorum


def wait_live(
    cli: Cli, survey: Survey, wanted: Wanted, seconds: float, still: Callable[[], None] = lambda: None
) -> tuple[Count, Reached]:
    """Ask again and again until a commit is live on all pods, or on a quorum, or time is over.

    A pod that cannot be reached counts as one that has it not.

    Args:
        cli: the command's surroundings.
        survey: whom to ask.
        wanted: what for.
        seconds: in all.
        still: called between two rounds; raises where there is no sense in waiting any longer.
    """
    commit, quorum = wanted.commit, wanted.quorum
    end = time.monotonic() + seconds
    with Progress(f"live: {commit[:SHORT]}", quiet=cli.out.as_json) as progress:
        while True:
            view = fleet.look(cli, survey, None, with_store=False)
            counted = quorums.count(view.rows, commit, channel=wanted.channel)
            reached = counted.reached(quorum)
            progress.show(counted.live, counted.total)
            if reached is not Reached.NONE or time.monotonic() >= end:
                return counted, reached
            still()
            time.sleep(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))


def missing_words(counted: Count) -> str:
    """Name the pods that have it not, a few of them."""
    named = "; ".join(f"{pod} {why}" for pod, why in counted.missing[:_MOST_NAMED])
    more = len(counted.missing) - _MOST_NAMED
    return named + (f"; and {more} more" if more > 0 else "")


def wait_for_pods(cli: Cli, survey: Survey, commit: str, quorum: Quorum, timeout: str) -> Count:
    """Wait for the pods of the channel that is set.

    Raises:
        TimedOut: fewer than the quorum have it in time.
    """
    channel = cli.settings.find("channel", cli.given("channel"))
    wanted = Wanted(commit, channel.value[0] if channel else None, quorum)
    counted, reached = wait_live(cli, survey, wanted, fleet.seconds_of(timeout, "--timeout"))
    if reached is Reached.NONE:
        show(cli, commit, counted, reached)
        where = missing_words(counted) or "no pod of this channel answered"
        raise TimedOut(f"{_text(commit, counted)} after {timeout}: {where}")
    return counted


def require_all(counted: Count) -> None:
    """Raise PartOfFleet if some pods have it not."""
    if counted.missing:
        raise PartOfFleet(f"the quorum is live, and {len(counted.missing)} pods are not: {missing_words(counted)}")


def show(cli: Cli, commit: str, counted: Count, reached: Reached | None = None) -> None:
    """Say on how many pods a commit is live, or a version."""
    reached = reached or (Reached.QUORUM if counted.missing else Reached.ALL)
    missing = [{"pod": pod, "why": why} for pod, why in counted.missing]
    document = {
        "commit": commit.partition("-")[0],
        "reached": str(reached),
        "live": counted.live,
        "pods": counted.total,
    }
    style = "yellow" if missing else "green"
    cli.out.emit({**document, "missing": missing}, lambda: cli.out.line(_text(commit, counted), style))


def _text(commit: str, counted: Count) -> str:
    return f"{commit[:SHORT]} is live on {counted.live} of {counted.total} pods"
