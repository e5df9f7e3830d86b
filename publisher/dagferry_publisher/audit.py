"""Checking what lies in the store: every signature, digest and link of the chain, and on demand every object."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagferry_publisher.archive import pack
from dagferry_publisher.chain import Chain
from dagferry_publisher.errors import NotFound
from dagferry_publisher.stored import fetched, read_checked
from dagferry_publisher.transaction import is_copy
from dagferry_publisher.tree import select
from dagferry_publisher.upload import stored_digest
from dagferry_shared import times
from dagferry_shared.errors import BlobMissing, DagferryError, Reason, Refused, StoreDenied, StoreUnreachable
from dagferry_shared.pointer import Action
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_publisher.chain import Entry, Position
    from dagferry_publisher.gitrepo import Repo
    from dagferry_shared.release import Release
    from dagferry_shared.strictjson import Json

MAX_ARCHIVE = 2**40  # bytes; only bounds an endless object


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the store that is not as it must be."""

    key: str
    problem: str


@dataclass(slots=True)
class Report:
    """What was checked, by kind, and what was found."""

    checked: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, key: str, problem: DagferryError | str) -> None:
        """Record a finding, once."""
        finding = Finding(key, str(problem))
        if finding not in self.findings:
            self.findings.append(finding)

    def note(self, key: str, words: str) -> None:
        """Record something that is worth knowing, and as it must be."""
        note = f"{key} {words}"
        if note not in self.notes:
            self.notes.append(note)

    def as_json(self) -> dict[str, Json]:
        """Return the document that ``--json`` prints."""
        return {
            "checked": dict(self.checked),
            "findings": [{"key": finding.key, "problem": finding.problem} for finding in self.findings],
            "notes": list(self.notes),
        }


class Audit:
    """A check of one channel, or with ``everything`` of all objects of its bundle.

    Only an unreachable or denying store ends it early; everything else is a finding.

    Args:
        chain: where the store and the trust file come from.
        rebuild: packs each commit again from this clone.
        documents_only: the store has no archives (an export), and what expired since is a note.
        progress: told what is being done.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        rebuild: Repo | None = None,
        documents_only: bool = False,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.chain = chain
        self._documents_only = documents_only
        self.report = Report()
        self._rebuild = rebuild
        self._progress = progress
        self._releases: dict[str, Release] = {}  # verified, by digest
        self._archives: set[str] = set()  # digests of archives read in full

    def channel(self, chain: Chain, *, all_archives: bool) -> None:
        """Check a channel's pointer and chain, its releases, and the live archive or all of them."""
        key = chain.layout.pointer(chain.channel)
        self._progress(f"channel {chain.channel}")
        try:
            head, _ = chain.verified_head()
        except (StoreUnreachable, StoreDenied):
            raise
        except DagferryError as problem:
            self.report.add(key, problem)
            return
        if head is None:
            self.report.add(key, f"nothing is published on channel {chain.channel}")
            return
        self.report.checked["pointers"] += 1
        try:
            chain.rules.new_pointer(head.raw, now=times.now())
            chain.rules.check_expiry(head.content, now=times.now())
        except Refused as problem:
            if self._documents_only and problem.reason is Reason.EXPIRED:
                self.report.note(key, f"today: {problem}")
            else:
                self.report.add(key, problem)
        entries = self._entries(chain, chain.walk(head))
        self._check_history(chain, entries)
        for index, entry in enumerate(entries):
            live = entry.content.release == head.content.release
            archive = not self._documents_only and (all_archives or index == 0)
            self._entry(chain, entry, live=live, archive=archive)

    def _entries(self, chain: Chain, walk: Iterator[Entry]) -> list[Entry]:
        entries: list[Entry] = []
        try:
            entries.extend(walk)
        except Refused as problem:
            self.report.add(chain.layout.history(chain.channel), problem)
        return entries

    def _check_history(self, chain: Chain, entries: list[Entry]) -> None:
        positions = set(chain.positions())
        self._check_head_copy(chain, entries[0], positions)
        cut = self._cut(chain, entries)
        for entry in entries:
            if entry.problem:
                self._add_old(chain, entry, self._history_key(chain, entry.content.position), entry.problem)
        self._check_strays(chain, entries, positions - {entry.content.position for entry in entries}, cut)
        for newer, older in itertools.pairwise(entries):
            expected = (older.content.epoch, older.content.sequence + 1)
            if newer.content.position != expected and newer.content.action is not Action.REPAIR:
                key = self._history_key(chain, newer.content.position)
                self.report.add(key, f"follows {older.content.epoch}-{older.content.sequence}: a gap")

    def _check_strays(self, chain: Chain, entries: list[Entry], strays: set[Position], cut: Position | None) -> None:
        """Check the copies that are not of the chain."""
        for position in sorted(strays):
            key = self._history_key(chain, position)
            if cut and position < cut:
                self.report.note(key, f"before {cut[0]}-{cut[1]}, where the history begins: the next prune removes it")
                continue
            for newer, older in itertools.pairwise(entries):
                over = older.content.position < position < newer.content.position
                if over and newer.content.action is Action.REPAIR:
                    self.report.note(key, f"stepped over by the repair {newer.content.epoch}-{newer.content.sequence}")
                    break
            else:
                self._unlinked(key, position, entries)

    def _cut(self, chain: Chain, entries: list[Entry]) -> Position | None:
        """Check where the history is said to begin; return that position, None without a cut that counts."""
        beginning, key, first = chain.beginning(), chain.layout.cut(chain.channel), entries[-1]
        if beginning.signed and beginning.entry == first.payload_digest:
            self.report.checked["cuts"] += 1
            return first.content.position
        past = first.content.previous is None and first.content.epoch > 1
        if beginning.problem and past and beginning.problem.reason is Reason.UNKNOWN_KEY:
            self.report.note(key, f"of before the chain began anew: {beginning.problem}")
        elif beginning.problem:
            self.report.add(key, beginning.problem)
        elif beginning.signed and past and beginning.signed.content.epoch < first.content.epoch:
            self.report.note(key, f"of an epoch before {first.content.epoch}, with which the chain begins anew")
        elif beginning.signed:
            self.report.add(key, "names an entry that the chain does not begin with")
        return None

    def _check_head_copy(self, chain: Chain, head: Entry, positions: set[Position]) -> None:
        """Check the one copy that the walk does not read: that of the live pointer."""
        key = self._history_key(chain, head.content.position)
        if head.content.position not in positions:
            self.report.add(key, "the live pointer has no history copy (the next publish writes it)")
        elif not is_copy(chain, head.content.position, {head.payload_digest}):
            self.report.add(key, "not the copy of the live pointer (dagctl repair replaces what is no entry)")

    @staticmethod
    def _history_key(chain: Chain, position: Position) -> str:
        return chain.layout.history_entry(chain.channel, *position)

    def _add_old(self, chain: Chain, entry: Entry, key: str, problem: Refused) -> None:
        """Record what an entry has against it today: a note where that is the past, which nothing can be done about.

        That is an entry of an earlier epoch whose key was removed since; its hash link vouches for it.
        """
        if entry.content.epoch < chain.rules.trust.epoch and problem.reason is Reason.UNKNOWN_KEY:
            self.report.note(key, f"of {entry.content.epoch}-{entry.content.sequence}: {problem}")
        else:
            self.report.add(key, problem)

    def _unlinked(self, key: str, position: Position, entries: list[Entry]) -> None:
        first = entries[-1].content if entries else None
        if first and first.previous is None and position[0] < first.epoch:
            self.report.note(key, f"of an epoch before {first.epoch}, with which the chain begins anew")
        else:
            self.report.add(key, "not part of the chain")

    def _entry(self, chain: Chain, entry: Entry, *, live: bool, archive: bool) -> None:
        self.report.checked["history entries"] += 1
        key = chain.layout.release(entry.content.release)
        try:
            if entry.content.release not in self._releases:
                self._releases[entry.content.release] = chain.release_of(entry.content).content
                self.report.checked["releases"] += 1
            if archive:
                release = self._releases[entry.content.release]
                key = chain.layout.archive(release.archive.sha256)
                self._archive(chain, release)
        except Refused as problem:
            if problem.reason is Reason.REVOKED and not live:  # as it should be: nothing goes back to it
                self.report.note(key, f"of {entry.content.epoch}-{entry.content.sequence}: {problem}")
            else:
                self._add_old(chain, entry, key, problem)
        except (NotFound, BlobMissing) as problem:
            self.report.add(key, problem)

    def _archive(self, chain: Chain, release: Release) -> None:
        if release.archive.sha256 in self._archives:
            return
        self._progress(f"archive {release.archive.sha256[:16]} of commit {release.source.commit[:12]}")
        with fetched(chain, release) as file:
            manifest = read_checked(file, release)
        self._archives.add(release.archive.sha256)
        self.report.checked["archives"] += 1
        if release.dev and self._rebuild:
            self.report.note(chain.layout.archive(release.archive.sha256), "uncommitted work, which no clone has")
        elif self._rebuild:
            self._compare(chain, release, manifest.tar_sha256)

    def _compare(self, chain: Chain, release: Release, tar_sha256: str) -> None:
        """Pack the release's commit again and compare tree and tar: it is what the repository holds."""
        assert self._rebuild is not None  # noqa: S101 - the caller looked
        repo, source = self._rebuild, release.source
        commit = repo.resolve(source.commit)
        items = select(repo, commit, source.paths, source.selection)
        with tempfile.TemporaryFile() as file:
            packed = pack(repo, items, int(repo.commit_info(commit).committed.timestamp()), file)
        self.report.checked["rebuilds"] += 1
        if (packed.manifest.tree, packed.manifest.tar_sha256) != (release.tree, tar_sha256):
            key = chain.layout.archive(release.archive.sha256)
            self.report.add(key, f"commit {source.commit[:12]} packs to another tree or tar than was signed")

    def everything(self) -> None:
        """Check all channels of the bundle, and that every release and archive is named by its own digest."""
        store, layout, trust = self.chain.store, self.chain.layout, self.chain.rules.trust
        keys = sorted(store.keys(layout.root))
        prefix = layout.channel("")[:-1]
        for name in sorted({key.removeprefix(prefix).split("/")[0] for key in keys if key.startswith(prefix)}):
            try:
                chain = Chain(store, Rules(trust, name))
            except Refused as problem:
                self.report.add(layout.channel(name), problem)
                continue
            self.channel(chain, all_archives=True)
        for key in keys:
            self._object(key)

    def _object(self, key: str) -> None:
        name = key.rsplit("/", 1)[-1]
        digest = name.removesuffix(".tar.zst").removesuffix(".json")
        if "/archives/" in key:
            named = digest in self._archives or stored_digest(self.chain.store, key, MAX_ARCHIVE) == digest
        elif "/releases/" in key:
            named = digest in self._releases or stored_digest(self.chain.store, key, MAX_ARCHIVE) == digest
        else:
            return
        self.report.checked["objects"] += 1
        if not named:
            self.report.add(key, "its content does not have the digest that it is named by")
