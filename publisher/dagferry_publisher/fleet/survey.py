"""Asking a whole fleet: names resolved anew, every address asked at once, each by itself and within its deadline."""

from __future__ import annotations

import time
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UsageError
from dagferry_publisher.fleet import podstatus
from dagferry_publisher.fleet.ask import PATH, NotAnswered, ask
from dagferry_publisher.keyring import read_bounded
from dagferry_shared.errors import Refused
from dagferry_shared.pool import Pool
from dagferry_shared.targets import Target, parse, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.fleet.podstatus import PodStatus

THREADS = 64  # pods asked at a time
MAX_PODS = 5000  # a name that has more addresses is somebody's joke
RESOLVE_SECONDS = 3.0
_MAX_FILE = 1024 * 1024  # bytes of a file of targets


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking one address, or of resolving one name.

    Attributes:
        pod: the address as it is shown, or the target whose name is not known.
        status: what it says, None if it says nothing of use.
        why: then why.
        silent: whether nothing at all came back, so that a dead pod is told from a stranger.
    """

    pod: str
    status: PodStatus | None = None
    why: str = ""
    silent: bool = False


def read_targets(words: Sequence[str]) -> list[Target]:
    """Read targets, separated by commas or spaces; ``@FILE`` is a file of them, with ``#`` before comments.

    Raises:
        UsageError: one of them is none, or there are none.
    """
    found: list[Target] = []
    for word in " ".join(words).replace(",", " ").split():
        texts = _of_file(word[1:]) if word.startswith("@") else [word]
        try:
            found += [parse(text, PATH) for text in texts]
        except ValueError as error:
            raise UsageError(f"--targets: {error}") from error
    if not found:
        raise UsageError("--targets names no target")
    return list(dict.fromkeys(found))


def _of_file(path: str) -> list[str]:
    text = read_bounded(path, "targets", _MAX_FILE).decode("utf-8", "replace")
    return [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]


def ask_one(address: tuple[str, int], seconds: float) -> Answer:
    """Ask one pod, which has so long to answer."""
    pod = show(address)
    try:
        return Answer(pod, podstatus.parse(ask(address, seconds)))
    except NotAnswered as error:
        return Answer(pod, why=str(error), silent=True)
    except Refused as refusal:
        return Answer(pod, why=f"what answers is no puller: {refusal.detail}")


class Survey:
    """A fleet that can be asked again and again.

    Args:
        targets: who belongs to it.
        seconds: that each pod has to answer.
    """

    def __init__(self, targets: Sequence[Target], seconds: float) -> None:
        self._targets = targets
        self._seconds = seconds
        self._resolvers = Pool(min(len(targets), THREADS), "resolve")
        self._pool = Pool(THREADS, "ask")

    def ask(self) -> list[Answer]:
        """Ask everybody, now; returns an answer for each address, and for each name that has none."""
        addresses, unknown = self._resolve()
        seconds = self._seconds
        asked = [self._pool.submit(lambda pod=pod: ask_one(pod, seconds)) for pod in addresses]  # type: ignore[misc]
        return [future.result() for future in asked] + unknown

    def _resolve(self) -> tuple[list[tuple[str, int]], list[Answer]]:
        pending = [(target, self._resolvers.submit(target.addresses)) for target in self._targets]
        end = time.monotonic() + RESOLVE_SECONDS
        addresses: dict[tuple[str, int], None] = {}
        unknown: list[Answer] = []
        for target, future in pending:
            wait([future], max(0.0, end - time.monotonic()))
            try:
                addresses.update(dict.fromkeys(future.result(timeout=0)))
            except (OSError, UnicodeError) as error:  # a time-out of either kind is an OSError
                why = getattr(error, "strerror", None) or f"no answer within {RESOLVE_SECONDS:g} s"
                unknown.append(Answer(str(target), why=f"the name cannot be resolved: {why.lower()}", silent=True))
        return list(addresses)[:MAX_PODS], unknown
