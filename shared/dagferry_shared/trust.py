"""The trust file: which keys may sign what for which channel. It reaches pods out of band (a ConfigMap).

Every field is required and unknown fields are refused: a typo must not switch a rule off.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagferry_shared import globs, names, strictjson, times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.keys import PublicKey
from dagferry_shared.release import MAX_GLOBS, MAX_PATHS, Selection, repository, source_path
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TRUST_FILE = 1024 * 1024  # bytes: a ConfigMap's own limit
MAX_KEYS = 256
MAX_CHANNELS = 256
MAX_REVOKED = 4096


@dataclass(frozen=True, slots=True)
class Role:
    """Who may sign one kind of document.

    Attributes:
        threshold: how many distinct keys must sign.
        keys: ids of keys that may sign new documents.
        retired: ids of keys whose earlier documents stay valid, and that sign nothing new.
    """

    threshold: int
    keys: tuple[str, ...]
    retired: tuple[str, ...] = ()

    def as_json(self) -> dict[str, strictjson.Json]:
        """Return the role as the file holds it."""
        return {"threshold": self.threshold, "keys": list(self.keys), "retired": list(self.retired)}


@dataclass(frozen=True, slots=True)
class ChannelTrust:
    """What a channel, or all channels that a pattern matches, may run.

    Attributes:
        repository: the one repository, normalised.
        paths: exactly these directories of it.
        refs: globs of the refs that may be published.
        selection: exactly this selection.
        release: who signs releases.
        pointer: who signs pointers.
        floor: the lowest sequence accepted in the file's epoch.
        allow_dev: whether uncommitted work of a developer is accepted.
    """

    repository: str
    paths: tuple[str, ...]
    refs: tuple[str, ...]
    selection: Selection
    release: Role
    pointer: Role
    floor: int = 0
    allow_dev: bool = False

    def as_json(self) -> dict[str, strictjson.Json]:
        """Return the entry as the file holds it."""
        return {
            "repository": self.repository,
            "paths": list(self.paths),
            "refs": list(self.refs),
            "selection": self.selection.as_json(),
            "release": self.release.as_json(),
            "pointer": self.pointer.as_json(),
            "floor": self.floor,
            "allow_dev": self.allow_dev,
        }


@dataclass(frozen=True, slots=True)
class TrustFile:
    """The whole file. Treat it as one snapshot: a sync never looks at two.

    Attributes:
        bundle: the one bundle it speaks of.
        epoch: pointers of any other epoch are refused.
        keys: public keys by id.
        channels: entries by exact name or pattern.
        revoked: release digests and commits that must not run.
        max_ttl: seconds a pointer may be used after it was issued, None for no limit.
    """

    bundle: str
    epoch: int
    keys: Mapping[str, PublicKey]
    channels: Mapping[str, ChannelTrust]
    revoked: frozenset[str] = frozenset()
    max_ttl: int | None = None

    def channel(self, channel: str) -> ChannelTrust:
        """Return a channel's entry: its exact name's, else the one of the only pattern that matches.

        Raises:
            Refused: UNTRUSTED_CHANNEL if none or several match.
        """
        if channel in self.channels:
            return self.channels[channel]
        found = [pattern for pattern in self.channels if "*" in pattern and globs.matches(pattern, channel)]
        if len(found) == 1:
            return self.channels[found[0]]
        if found:
            detail = f"channel {channel!r} matches several entries of the trust file: {', '.join(sorted(found))}"
        else:
            known = ", ".join(sorted(self.channels)) or "none"
            detail = f"channel {channel!r} is not in the trust file (known: {known})"
        raise Refused(Reason.UNTRUSTED_CHANNEL, detail)

    def encode(self) -> bytes:
        """Write the file as people read it in a diff: two spaces, sorted names, a final newline."""
        document = {
            "bundle": self.bundle,
            "epoch": self.epoch,
            "keys": {key.id: key.pem for key in self.keys.values()},
            "channels": {pattern: entry.as_json() for pattern, entry in self.channels.items()},
            "revoked": sorted(self.revoked),
            "max_ttl": self.max_ttl,
        }
        return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _read_role(fields: strictjson.Fields, keys: Mapping[str, PublicKey]) -> Role:
    fields.only("threshold", "keys", "retired")
    role = Role(
        fields.integer("threshold", low=1),
        fields.texts("keys", names.sha256, most=MAX_KEYS),
        fields.texts("retired", names.sha256, most=MAX_KEYS),
    )
    for keyid in (*role.keys, *role.retired):
        if keyid not in keys:
            raise Refused(Reason.MALFORMED, f"{fields.where} names key {keyid[:16]}…, which is not in keys")
    if set(role.keys) & set(role.retired):
        raise Refused(Reason.MALFORMED, f"{fields.where} has a key that is both active and retired")
    if role.threshold > len(role.keys):
        raise Refused(Reason.MALFORMED, f"{fields.where} needs {role.threshold} of {len(role.keys)} keys")
    return role


def _read_channel(fields: strictjson.Fields, keys: Mapping[str, PublicKey]) -> ChannelTrust:
    fields.only("repository", "paths", "refs", "selection", "release", "pointer", "floor", "allow_dev")
    selection = fields.object("selection")
    selection.only("include", "exclude")
    entry = ChannelTrust(
        repository=fields.text("repository", repository),
        paths=fields.texts("paths", source_path, most=MAX_PATHS),
        refs=fields.texts("refs", globs.pattern, most=MAX_GLOBS),
        selection=Selection.read(selection),
        release=_read_role(fields.object("release"), keys),
        pointer=_read_role(fields.object("pointer"), keys),
        floor=fields.integer("floor"),
        allow_dev=fields.flag("allow_dev"),
    )
    if not entry.paths or not entry.refs:
        raise Refused(Reason.MALFORMED, f"{fields.where} allows no path or no ref at all")
    return entry


def _read_keys(fields: strictjson.Fields) -> dict[str, PublicKey]:
    keys = {}
    for keyid in fields.value:
        key = PublicKey.from_pem(fields.text(keyid, lambda value, _: value).encode(), f"key {keyid[:16]}…")
        if key.id != keyid:
            raise Refused(Reason.BAD_KEY, f"key {keyid[:16]}… of the trust file has the id {key.id[:16]}…")
        keys[keyid] = key
    return keys


def parse(raw: bytes) -> TrustFile:
    """Read a trust file; Refused (MALFORMED, OVERSIZE, BAD_KEY) says which field is wrong."""
    fields = strictjson.Fields(strictjson.parse_object(raw, "trust file", limit=MAX_TRUST_FILE), "trust")
    fields.only("bundle", "epoch", "keys", "channels", "revoked", "max_ttl")
    key_fields, channel_fields = fields.object("keys"), fields.object("channels")
    if len(key_fields.value) > MAX_KEYS or len(channel_fields.value) > MAX_CHANNELS:
        raise Refused(Reason.OVERSIZE, f"trust file has over {MAX_KEYS} keys or {MAX_CHANNELS} channels")
    keys = _read_keys(key_fields)
    channels = {
        names.channel_pattern(pattern, "trust.channels"): _read_channel(channel_fields.object(pattern), keys)
        for pattern in channel_fields.value
    }
    max_ttl = fields.optional_integer("max_ttl", low=1)
    if max_ttl is not None and max_ttl > times.MAX_DURATION:
        raise Refused(Reason.MALFORMED, f"trust.max_ttl is over {times.MAX_DURATION} seconds; null means no limit")
    return TrustFile(
        bundle=fields.text("bundle", names.name),
        epoch=fields.integer("epoch", low=1),
        keys=keys,
        channels=channels,
        revoked=frozenset(fields.texts("revoked", names.digest_or_commit, most=MAX_REVOKED)),
        max_ttl=max_ttl,
    )
