"""What has to be known of a channel to say why a commit is not live on it."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.devmarks import is_dev
from dagferry_publisher.errors import NotFound
from dagferry_publisher.gitrepo import Ancestry
from dagferry_shared import envelope, release
from dagferry_shared.errors import DagferryError, Refused, StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from dagferry_publisher.chain import Chain
    from dagferry_publisher.gitrepo import Repo
    from dagferry_shared.pointer import Pointer

_ENTRIES = 1000  # of the history looked through
_RELEASES = 500  # in the store, looked through if there are no more
_READERS = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """A channel, and perhaps a commit that is missed on it.

    Attributes:
        channel: name.
        problem: why its pointer cannot be had or is not acceptable.
        entries: of its chain, newest first, as far as needed; none if nothing was ever published.
        standing: why what is live there may not be activated any more: expired, revoked, below the floor.
        commit: that is missed, full id; None: no one.
        is_contained: whether what is live descends from it; None: nobody can say.
        descends: whether it descends from the newest commit published, which a publish must; None: the same.
        is_revoked: whether the trust file revokes it.
        is_uploaded: whether the store has a release of it; None: there are too many to look.
        is_dev: whether what is live is uncommitted work.
    """

    channel: str
    problem: DagferryError | None = None
    entries: tuple[Pointer, ...] = ()
    standing: DagferryError | None = None
    commit: str | None = None
    is_contained: bool | None = None
    descends: bool | None = None
    is_revoked: bool = False
    is_uploaded: bool | None = None
    is_dev: bool = False


def gather(chain: Chain, commit: str | None, repo: Repo | None, now: datetime) -> Facts:
    """Read a channel.

    Args:
        chain: the channel.
        commit: full id, or with no clone its first digits.
        repo: a clone, to tell what descends from what.
        now: the current instant.
    """
    try:
        head, _ = chain.verified_head()
    except DagferryError as error:
        return Facts(chain.channel, problem=error, commit=commit)
    if head is None:
        return Facts(chain.channel, commit=commit)
    entries: list[Pointer] = []
    try:
        for entry in itertools.islice(chain.walk(head), _ENTRIES):
            entries.append(entry.content)
            if commit is None or (len(entries) > 1 and entry.content.commit.startswith(commit)):
                break
    except DagferryError:  # what is whole is enough to answer, and verify is there for the rest
        pass
    live = head.content
    return Facts(
        channel=chain.channel,
        entries=tuple(entries),
        is_dev=is_dev(chain, live),
        standing=_standing(chain, live, now),
        commit=commit,
        is_contained=_reaches(repo, commit, live.commit),
        descends=_reaches(repo, live.tip, commit),
        is_revoked=commit in chain.rules.trust.revoked,
        is_uploaded=_is_uploaded(chain, commit) if commit and not live.commit.startswith(commit) else None,
    )


def _standing(chain: Chain, live: Pointer, now: datetime) -> DagferryError | None:
    try:
        chain.rules.check_standing(live)
        chain.rules.check_expiry(live, now=now)
        chain.release_of(live)
    except (Refused, NotFound, StoreError) as error:
        return error
    return None


def _reaches(repo: Repo | None, old: str | None, new: str | None) -> bool | None:
    if repo is None or not old or not new:
        return None
    answer = repo.ancestry(old, new)
    return None if answer is Ancestry.UNKNOWN else answer is Ancestry.YES


def _is_uploaded(chain: Chain, commit: str) -> bool | None:
    prefix = chain.layout.release("").removesuffix(".json")
    try:
        keys = list(itertools.islice(chain.store.keys(prefix), _RELEASES + 1))
        if len(keys) > _RELEASES:
            return None
        digests = [key.removeprefix(prefix).removesuffix(".json") for key in keys]
        with ThreadPoolExecutor(_READERS) as pool:
            return any(pool.map(lambda digest: _is_of(chain, digest, commit), digests))
    except StoreError:
        return None


def _is_of(chain: Chain, digest: str, commit: str) -> bool:
    try:
        raw = chain.release_bytes(digest)
        content = release.parse(envelope.parse(raw, "release"))
    except (Refused, NotFound):
        return False
    return content.source.commit.startswith(commit)
