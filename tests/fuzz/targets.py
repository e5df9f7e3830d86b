"""What is fuzzed: each parser of hostile bytes, what must hold of all it accepts, and how to get past its door.

A target returns quietly for a refusal. Any other exception is a finding, and so is an accepted input with a second
spelling or another meaning when it is read again.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from dagferry_puller import httpwire, state
from dagferry_shared import envelope, gittree, pointer, release, trust
from dagferry_shared.archive import header
from dagferry_shared.archive.delta import read_delta
from dagferry_shared.archive.frame import check_frame, decompress
from dagferry_shared.archive.reader import Limits, read_archive, read_tar
from dagferry_shared.envelope import Envelope
from dagferry_shared.errors import Refused
from fuzz import mutators
from golden import content
from support import deltas
from support.docs import CI, CI_2, CI_RETIRED, OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Target = Callable[[bytes], object]

LIMITS = Limits(max_files=10_000, max_bytes=16 * 1024**2)
KEYS = [signer.public for signer in (CI, CI_2, CI_RETIRED, OPERATOR)]
DELTA_BASE = content.entries(content.BASE)
MAX_FRAME = 16 * 1024**2  # bytes that a frame may claim here


class Copier:
    """A sink that encodes what it gets anew."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[bytes, bool, bytes]] = {}

    def file(self, path: str, chunks: Iterator[bytes], *, executable: bool) -> None:
        """Take a file."""
        self.entries[path.encode()] = (b"".join(chunks), executable, b"")

    def link(self, path: str, target: str) -> None:
        """Take a link."""
        self.entries[path.encode()] = (b"", False, target.encode())

    def tar(self, mtime: int) -> bytes:
        """Return the one canonical tar of all that was taken."""
        rows = []
        for path, (data, executable, target) in sorted(self.entries.items()):
            rows.append(header.encode(header.Header(path, executable, len(data), mtime, target)) + data)
            rows.append(b"\0" * header.padding(len(data)))
        return b"".join(rows) + b"\0" * 1024


def _envelope(data: bytes) -> None:
    parsed = envelope.parse(data, "envelope")
    assert parsed.encode() == data
    envelope.verify(parsed, KEYS, 1, "envelope")
    for read in (pointer.parse, release.parse):
        try:
            read(parsed)
        except Refused:
            continue


def _release(data: bytes) -> None:
    parsed = release.parse(Envelope(release.PAYLOAD_TYPE, data, ()))
    assert release.parse(Envelope(release.PAYLOAD_TYPE, parsed.payload(), ())) == parsed


def _pointer(data: bytes) -> None:
    parsed = pointer.parse(Envelope(pointer.PAYLOAD_TYPE, data, ()))
    assert pointer.parse(Envelope(pointer.PAYLOAD_TYPE, parsed.payload(), ())) == parsed


def _trust(data: bytes) -> None:
    parsed = trust.parse(data)
    again = trust.parse(parsed.encode())
    assert again == parsed
    assert again.encode() == parsed.encode()


def _state(data: bytes) -> None:
    parsed = state.parse(data)
    assert state.parse(parsed.encode()) == parsed


def _tar(data: bytes) -> None:
    copier = Copier()
    manifest = read_tar([data] if data else [], LIMITS, copier)
    assert copier.tar(manifest.mtime) == data


def _archive(data: bytes) -> None:
    copier = Copier()
    manifest = read_archive(io.BytesIO(data), LIMITS, copier)
    assert len(copier.tar(manifest.mtime)) == manifest.tar_size


def _delta(data: bytes) -> None:
    base = deltas.MemoryBase(DELTA_BASE)
    patched = read_delta(io.BytesIO(data), LIMITS, base, Copier())
    assert patched.tree == gittree.tree_id(patched.leaves)
    assert patched.links.keys() == {path for path, leaf in patched.leaves.items() if leaf.mode is gittree.Mode.LINK}
    for path, leaf in patched.leaves.items():
        assert (base.leaves.get(path) != leaf) is (path in patched.changed)
    read_again = read_delta(io.BytesIO(data), LIMITS, base)
    assert read_again == patched


def _frame(data: bytes) -> None:
    source = io.BytesIO(data)
    found = check_frame(source)
    if found.content_size <= MAX_FRAME:
        assert sum(len(piece) for piece in decompress(source, found)) == found.content_size


def _notification(data: bytes) -> None:
    request = httpwire.parse_head(data)
    assert request.path.startswith("/")
    assert 0 <= request.length <= httpwire.MAX_BODY


PARSERS: dict[str, Target] = {
    "envelope": _envelope,
    "release": _release,
    "pointer": _pointer,
    "trust": _trust,
    "state": _state,
    "archive": _archive,
    "tar": _tar,
    "delta": _delta,
    "frame": _frame,
    "notification": _notification,
}


def refusing(parse: Target) -> Target:
    """Return a target that takes a refusal as an answer."""

    def run(data: bytes) -> None:
        try:
            parse(data)
        except (Refused, httpwire.Bad):
            return

    return run


TARGETS: dict[str, Target] = {name: refusing(parse) for name, parse in PARSERS.items()}

MUTATORS: dict[str, mutators.Mutator] = {
    "envelope": mutators.envelope,
    "release": mutators.document,
    "pointer": mutators.document,
    "trust": mutators.document,
    "state": mutators.document,
    "archive": mutators.archive,
    "delta": mutators.delta,
    "tar": mutators.tar,
    "frame": mutators.frame,
}
