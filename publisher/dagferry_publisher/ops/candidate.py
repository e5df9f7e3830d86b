"""What is about to be published: packed, signed, checked as a puller would, and not yet uploaded."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from dagferry_publisher.archive import DEFAULT_LEVEL, pack
from dagferry_publisher.deltas import DEFAULT_DELTAS, Target, make_deltas
from dagferry_publisher.errors import NotFound
from dagferry_publisher.tree import select
from dagferry_publisher.upload import (
    Content,
    archive_content,
    ensure,
    put_again_if_gone,
    release_content,
    stored_digest,
)
from dagferry_shared import envelope, release, times
from dagferry_shared.errors import BlobMissing, Refused, StoreUnreachable
from dagferry_shared.release import ArchiveInfo, Builder, Release, Selection, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from dagferry_publisher.chain import Chain
    from dagferry_publisher.gitrepo import Repo
    from dagferry_publisher.tree import Item
    from dagferry_shared.keys import Signer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed

_EQUAL_SEARCH = 256  # entries of the history looked through for an equal release


@dataclass(frozen=True, slots=True)
class Work:
    """Uncommitted work on top of a commit: it makes a dev release.

    Attributes:
        items: what is packed, instead of what the commit has.
        author: who did it.
        subject: what differs from the commit, in words.
    """

    items: Sequence[Item]
    author: str
    subject: str


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What to publish, with every default already filled in.

    Attributes:
        repo: the clone.
        commit: full id.
        ref: branch or tag, as the trust file's ``refs`` name it.
        repository: normalised address.
        paths: sorted directories.
        selection: include and exclude globs.
        builder: who packs it.
        reason: why, in words.
        force: publish although the commit does not descend from the newest one; overrides nothing else.
        level: of zstd.
        deltas: from so many trees, the newest of the channel, deltas are made.
        work: uncommitted work on top of the commit; None: the commit itself.
        known: what dev releases before this one hold, by digest; deltas from them are made of that.
    """

    repo: Repo
    commit: str
    ref: str
    repository: str
    paths: tuple[str, ...]
    selection: Selection
    builder: Builder
    reason: str = ""
    force: bool = False
    level: int = DEFAULT_LEVEL
    deltas: int = DEFAULT_DELTAS
    work: Work | None = None
    known: Mapping[str, Sequence[Item]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The release as it would be published, and its objects.

    Attributes:
        release: its content.
        envelope: the signed release as an object.
        archive: the archive as an object; None if it is a sound one of the store's, not ours.
        deltas: the delta archives that it names, as objects.
    """

    release: Release
    envelope: Content
    archive: Content | None
    deltas: tuple[Content, ...] = ()

    @property
    def contents(self) -> tuple[Content, ...]:
        """What to upload, in this order: never a release before its archive and deltas."""
        return (*((self.archive,) if self.archive else ()), *self.deltas, self.envelope)


def prepare(
    chain: Chain,
    request: PublishRequest,
    signers: Sequence[Signer],
    files: ExitStack,
    head: Signed[Pointer] | None = None,
) -> Candidate:
    """Pack, sign, and check the release as a puller would.

    Args:
        chain: the channel.
        request: what to publish.
        signers: sign the release.
        files: temporary ones are closed with it.
        head: what is live; deltas are made from there back.
    """
    info = request.repo.commit_info(request.commit)
    mtime = int(info.committed.timestamp())
    work = request.work
    items = work.items if work else select(request.repo, request.commit, request.paths, request.selection)
    file: BinaryIO = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is one
    packed = pack(request.repo, items, mtime, file, level=request.level)
    made_from = Target(request.repo, items, mtime, packed, request.level, request.known)
    deltas = make_deltas(chain, head, made_from, request.deltas, files) if head else []
    source = Source(
        repository=request.repository,
        commit=request.commit,
        ref=request.ref,
        paths=request.paths,
        selection=request.selection,
        committed=times.show(info.committed),
        author=work.author if work else info.author,
        subject=work.subject if work else info.subject,
    )
    archive = ArchiveInfo(
        packed.sha256,
        packed.size,
        packed.manifest.tar_size,
        len(packed.manifest.leaves),
        tuple(delta.info for delta in deltas),
    )
    made = Release(
        bundle=chain.layout.bundle,
        tree=packed.manifest.tree,
        source=source,
        archive=archive,
        builder=request.builder,
        created=times.show(times.now()),
        dev=work is not None,
    )
    raw = envelope.sign(release.PAYLOAD_TYPE, made.payload(), signers).encode()
    chain.rules.release(raw, digest=envelope.digest(raw), commit=request.commit, new=True)
    return Candidate(
        made,
        release_content(chain.layout, raw),
        archive_content(chain.layout, file, packed.sha256, packed.size),
        tuple(archive_content(chain.layout, d.file, d.info.sha256, d.info.size) for d in deltas),
    )


def same(one: Release, other: Release) -> bool:
    """Tell whether two releases deliver the same tree from the same source; who packed it and when is no matter."""
    return (one.bundle, one.tree, one.source, one.dev) == (other.bundle, other.tree, other.source, other.dev)


def is_live(chain: Chain, head: Signed[Pointer] | None, candidate: Release) -> bool:
    """Tell whether exactly this is live already: same commit, tree, source and selection."""
    if head is None or head.content.commit != candidate.source.commit:
        return False
    try:
        return same(chain.release_of(head.content).content, candidate)
    except (Refused, NotFound):  # a release that no longer verifies, or is lost, is not what is wanted live
        return False


def reuse(chain: Chain, head: Signed[Pointer], candidate: Candidate) -> Candidate:
    """Return an equal release of the channel's history with a sound archive in place of the candidate, if any."""
    for entry in itertools.islice(chain.walk(head), _EQUAL_SEARCH):
        if entry.problem or entry.content.commit != candidate.release.source.commit:
            continue
        try:
            found = chain.release_of(entry.content, new=True)
            if not same(found.content, candidate.release):
                continue
            archive = found.content.archive
            own = archive.sha256 == candidate.release.archive.sha256
            key = chain.layout.archive(archive.sha256)
            if own or stored_digest(chain.store, key, archive.size) == archive.sha256:
                mine = candidate.archive if own else None
                named = {delta.sha256 for delta in archive.deltas}
                deltas = tuple(delta for delta in candidate.deltas if delta.sha256 in named)
                return Candidate(found.content, release_content(chain.layout, found.raw), mine, deltas)
        except (Refused, NotFound, BlobMissing):  # not usable: publish the candidate
            continue
    return candidate


def upload(chain: Chain, candidate: Candidate) -> None:
    """Have archive and release in the store, in this order."""
    for content in candidate.contents:
        ensure(chain.store, content, times.now())


def upload_again_if_gone(chain: Chain, candidate: Candidate) -> None:
    """After the commit point: write again what a racing retention run took away."""
    try:
        for content in candidate.contents:
            put_again_if_gone(chain.store, content)
    except StoreUnreachable as error:
        raise StoreUnreachable(
            f"{candidate.release.source.commit[:12]} IS live, but it could not be seen whether the store still has its "
            f"archive and release ({error}); run the command again to look"
        ) from error


def restore_live_archive(chain: Chain, live: Pointer, candidate: Candidate) -> None:
    """Write the live release's archive again if it is gone and the candidate's is the same, to the byte."""
    archive = chain.release_of(live).content.archive
    if candidate.archive and candidate.archive.sha256 == archive.sha256:
        put_again_if_gone(chain.store, candidate.archive)
