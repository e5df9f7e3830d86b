"""Publish: pack a commit, upload it, and make it live by one compare-and-swap (design: "one commit point")."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from dagferry_publisher.devmarks import is_dev
from dagferry_publisher.errors import AncestryUnknown, Conflict
from dagferry_publisher.gitrepo import Ancestry
from dagferry_publisher.ops import candidate as candidates
from dagferry_publisher.ops.operation import apply
from dagferry_publisher.ops.promote import refuse_if_held
from dagferry_publisher.transaction import Move
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.pointer import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_publisher.chain import Chain
    from dagferry_publisher.gitrepo import Repo
    from dagferry_publisher.ops.candidate import Candidate, PublishRequest
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.keys import Signer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Rules, Signed

_NOTHING_CHANGED = "it is live already; nothing changed"


def check_descends(repo: Repo, tip: str, commit: str) -> None:
    """Demand that ``commit`` descends strictly from ``tip``.

    Raises:
        Conflict: it does not: an old pipeline run again, or a branch that was force-pushed.
        AncestryUnknown: the clone is too shallow to tell, also after fetching more.
    """
    if tip == commit:
        raise Conflict(
            f"commit {commit[:12]} was published here before and something else is live now (rolled back?): publish a "
            "commit on top of it (to bring it back all the same: --force)"
        )
    answer = repo.ancestry_deepening(tip, commit)
    if answer is Ancestry.NO:
        raise Conflict(
            f"commit {commit[:12]} does not descend from {tip[:12]}, the newest one published here: an older pipeline "
            "must not overtake it (to publish it all the same: --force)"
        )
    if answer is Ancestry.UNKNOWN:
        raise AncestryUnknown(
            f"the clone is too shallow to tell whether {commit[:12]} descends from {tip[:12]}: set GIT_DEPTH: 0 in the "
            "CI job, or git fetch --unshallow"
        )


def refuse_unless_allowed(rules: Rules) -> None:
    """Refuse (DEV_RELEASE) to make a dev release for a channel whose trust entry takes none."""
    if not rules.entry.allow_dev:
        raise Refused(
            Reason.DEV_RELEASE,
            f"channel {rules.channel} takes no uncommitted work: use one whose trust entry says allow_dev (dagctl "
            "trust init --allow-dev), or commit, and publish the commit",
        )


def publish(
    chain: Chain,
    request: PublishRequest,
    writer: Writer,
    signers: Sequence[Signer],
    *,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Make a commit live on a channel, or uncommitted work on top of it.

    Uncommitted work need not descend from anything: it is newer than what was published, whatever it is based on. It
    leaves ``tip`` where it was, as no commit was published. On a held channel it is not even uploaded.

    Args:
        chain: the channel.
        request: what to publish.
        writer: signs the pointer.
        signers: sign the release.
        dry_run: pack and check, write nothing.
        progress: told what is being done, a line each.

    Raises:
        Conflict: not a descendant, or the race was lost.
        AncestryUnknown: the clone is too shallow.
        ChannelHeld: uploaded, and nothing moved.
        Refused: the trust rules, or the archive's, forbid it.
    """
    head, _ = chain.verified_head()
    if request.work:
        refuse_unless_allowed(chain.rules)
        refuse_if_held(head.content if head else None, chain.channel)
    elif head and not request.force and head.content.commit != request.commit:
        check_descends(request.repo, head.content.tip, request.commit)
    with ExitStack() as files:
        progress(f"packing {', '.join(request.paths)} at {request.commit[:12]}")
        candidate = candidates.prepare(chain, request, signers, files, head)
        if head and request.force:
            candidate = candidates.reuse(chain, head, candidate)
        decide = _decision(chain, request, candidate)
        if dry_run:
            outcome = apply(chain, writer, Action.PUBLISH, decide, dry_run=True)
        elif head and candidates.is_live(chain, head, candidate.release):
            candidates.restore_live_archive(chain, head.content, candidate)
            outcome = apply(chain, writer, Action.PUBLISH, decide, dry_run=False)
        else:
            progress(f"uploading {candidate.release.archive.files} files, {candidate.release.archive.size} bytes")
            candidates.upload(chain, candidate)
            outcome = apply(chain, writer, Action.PUBLISH, decide, dry_run=False)
            candidates.upload_again_if_gone(chain, candidate)
    if request.work:
        outcome = replace(outcome, dev=True, note=outcome.note or request.work.subject)
    return outcome if outcome.changed else replace(outcome, note=_NOTHING_CHANGED)


def _replaces_work(chain: Chain, head: Signed[Pointer], commit: str) -> bool:
    """Tell whether what is live is uncommitted work on top of the newest commit: that itself may replace it."""
    return head.content.commit == head.content.tip == commit and is_dev(chain, head.content)


def _decision(
    chain: Chain, request: PublishRequest, candidate: Candidate
) -> Callable[[Signed[Pointer] | None], Move | None]:
    def decide(head: Signed[Pointer] | None) -> Move | None:
        if candidates.is_live(chain, head, candidate.release):
            return None
        free = request.force or request.work
        if head and not free and not _replaces_work(chain, head, request.commit):
            check_descends(request.repo, head.content.tip, request.commit)
        refuse_if_held(head.content if head else None, chain.channel)
        tip = head.content.tip if head and request.work else request.commit
        return Move(Action.PUBLISH, candidate.envelope.sha256, request.commit, tip, None, request.reason)

    return decide
