"""Valid documents and fixed keys to start from: a test changes one thing and looks at the answer."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dagferry_shared import envelope, pointer, release
from dagferry_shared.keys import FileSigner
from dagferry_shared.pointer import Action, Pointer
from dagferry_shared.release import ArchiveInfo, Builder, Release, Selection, Source
from dagferry_shared.trust import ChannelTrust, Role, TrustFile

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT = "c0ffee" * 6 + "c0de"
OTHER_COMMIT = "d" * 40
TREE = "7" * 64
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ISSUED = "2026-03-01T11:00:00.000Z"
LATER = "2026-03-08T11:00:00.000Z"


def fixed_key(number: int) -> FileSigner:
    """Return a test key that is the same everywhere: its seed is one byte, 32 times (four bytes, above 255)."""
    seed = bytes([number]) if number < 256 else number.to_bytes(4)
    return FileSigner(Ed25519PrivateKey.from_private_bytes((seed * 32)[:32]))


CI, CI_RETIRED, OPERATOR, OPERATOR_RETIRED, STRANGER, CI_2 = (fixed_key(n) for n in range(1, 7))


def a_release(**changes: Any) -> Release:
    """Return a release as a publisher makes it; ``source`` may be a dict of changes."""
    source = Source(
        repository="https://gitlab.example.org/data/dags",
        commit=COMMIT,
        ref="main",
        paths=("dags",),
        selection=Selection((), ("tests/**",)),
        committed="2026-03-01T10:00:00.000Z",
        author="Jörg Example <j@example.org>",
        subject="Add the nightly load",
    )
    base = Release(
        bundle="prod",
        tree=TREE,
        source=replace(source, **changes.pop("source", {})),
        archive=ArchiveInfo("a" * 64, 1000, 4096, 3),
        builder=Builder("gitlab-ci", "0.1.0", "https://gitlab.example.org/data/dags/-/pipelines/1"),
        created=ISSUED,
    )
    return replace(base, **changes)


def a_pointer(**changes: Any) -> Pointer:
    """Return a pointer to some release."""
    base = Pointer(
        bundle="prod",
        channel="main",
        epoch=1,
        sequence=5,
        issued=ISSUED,
        expires=None,
        release="e" * 64,
        commit=COMMIT,
        tip=COMMIT,
        previous="b" * 64,
        action=Action.PUBLISH,
        held=None,
        actor="ann",
        reason="",
    )
    return replace(base, **changes)


def a_trust(*, entry: dict[str, Any] | None = None, **changes: Any) -> TrustFile:
    """Return a trust file; ``entry`` changes the only channel's entry."""
    channel = ChannelTrust(
        repository="https://gitlab.example.org/data/dags",
        paths=("dags",),
        refs=("main", "release/*"),
        selection=Selection((), ("tests/**",)),
        release=Role(1, (CI.public.id, CI_2.public.id), (CI_RETIRED.public.id,)),
        pointer=Role(1, (CI.public.id, OPERATOR.public.id), (OPERATOR_RETIRED.public.id,)),
    )
    keys = {signer.public.id: signer.public for signer in (CI, CI_2, CI_RETIRED, OPERATOR, OPERATOR_RETIRED)}
    return replace(TrustFile("prod", 1, keys, {"main": replace(channel, **(entry or {}))}), **changes)


def signed_release(content: Release | None = None, *signers: FileSigner) -> bytes:
    """Sign a release (by CI unless told) and return the envelope's bytes."""
    payload = (content or a_release()).payload()
    return envelope.sign(release.PAYLOAD_TYPE, payload, signers or (CI,)).encode()


def signed_pointer(content: Pointer | None = None, *signers: FileSigner) -> bytes:
    """Sign a pointer (by the operator unless told) and return the envelope's bytes."""
    payload = (content or a_pointer()).payload()
    return envelope.sign(pointer.PAYLOAD_TYPE, payload, signers or (OPERATOR,)).encode()


Place = tuple[str | int, ...]


def places(value: object, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Walk a parsed document: every field and list item with its place, the document itself left out."""
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in rows:
        yield (*at, key), child
        yield from places(child, (*at, key))


def changed(document: Any, place: Place, value: object = ...) -> Any:
    """Return a copy with the value at a place replaced, or removed."""
    result = copy.deepcopy(document)
    *parents, last = place
    node = result
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return result


def wrong_types(value: object, *, nullable: bool = False) -> list[object]:
    """Return values that are of no type that ``value``'s field may have."""
    samples: list[object] = ["x", 7, True, [1], [], {}, {"x": 1}]
    kinds = (bool,) if isinstance(value, bool) else (int,) if isinstance(value, int) else (type(value),)
    wrong = [s for s in samples if type(s) not in kinds]
    return wrong if nullable else [*wrong, None]


def as_json(raw: bytes) -> Any:
    """Parse with the standard library."""
    return json.loads(raw)


def payload_of(raw: bytes) -> Any:
    """Return an envelope's payload, parsed with the standard library."""
    return json.loads(base64.b64decode(json.loads(raw)["payload"]))
