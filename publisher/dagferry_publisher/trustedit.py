"""Edits of a trust file, each a pure function from one to the next, and its meaning in words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from dagferry_publisher.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dagferry_shared.keys import PublicKey
    from dagferry_shared.trust import ChannelTrust, Role, TrustFile

RoleName = Literal["release", "pointer"]


def _entry(trust: TrustFile, channel: str) -> ChannelTrust:
    try:
        return trust.channels[channel]
    except KeyError:
        known = ", ".join(sorted(trust.channels))
        raise NotFound(f"the trust file has no entry {channel!r}; it has: {known}") from None


def _with_entry(trust: TrustFile, channel: str, entry: ChannelTrust) -> TrustFile:
    return replace(trust, channels={**trust.channels, channel: entry})


def _with_role(trust: TrustFile, channel: str, role: RoleName, change: Callable[[Role], Role]) -> TrustFile:
    entry = _entry(trust, channel)
    if role == "release":
        return _with_entry(trust, channel, replace(entry, release=change(entry.release)))
    return _with_entry(trust, channel, replace(entry, pointer=change(entry.pointer)))


def add_channel(trust: TrustFile, channel: str, entry: ChannelTrust, keys: Sequence[PublicKey]) -> TrustFile:
    """Add an entry with its keys; UsageError if there is one of that name."""
    if channel in trust.channels:
        raise UsageError(f"the trust file has an entry {channel!r} already")
    added = replace(trust, keys={**trust.keys, **{key.id: key for key in keys}})
    return _with_entry(added, channel, entry)


def add_key(trust: TrustFile, channel: str, role: RoleName, key: PublicKey) -> TrustFile:
    """Let a key sign new documents of a role; a retired one becomes active again."""

    def change(old: Role) -> Role:
        keys = old.keys if key.id in old.keys else (*old.keys, key.id)
        return replace(old, keys=keys, retired=tuple(keyid for keyid in old.retired if keyid != key.id))

    return _with_role(replace(trust, keys={**trust.keys, key.id: key}), channel, role, change)


def find_key(trust: TrustFile, prefix: str) -> str:
    """Return the id of the only key of the file that begins with ``prefix``; NotFound or UsageError if not one."""
    found = [keyid for keyid in trust.keys if keyid.startswith(prefix.lower())]
    if not found:
        raise NotFound(f"the trust file has no key {prefix!r}; it has: {', '.join(k[:16] for k in trust.keys)}")
    if len(found) > 1 or len(prefix) < 7:
        raise UsageError(f"{prefix!r} fits several keys, or has fewer than 7 digits")
    return found[0]


def retire_key(trust: TrustFile, channel: str, role: RoleName, keyid: str) -> TrustFile:
    """Keep what a key signed so far valid, and let it sign nothing new. UsageError if too few keys are left."""

    def change(old: Role) -> Role:
        if keyid not in old.keys:
            raise NotFound(f"key {keyid[:16]} is not an active {role} key of {channel!r}")
        keys = tuple(other for other in old.keys if other != keyid)
        if len(keys) < old.threshold:
            raise UsageError(f"{role} of {channel!r} needs {old.threshold} keys: add the new one first (trust add-key)")
        return replace(old, keys=keys, retired=(*old.retired, keyid))

    return _with_role(trust, channel, role, change)


def remove_key(trust: TrustFile, keyid: str) -> TrustFile:
    """Take a (compromised) key out of every role: nothing it signed is valid any more."""

    def drop(role: Role, where: str) -> Role:
        keys = tuple(other for other in role.keys if other != keyid)
        if len(keys) < role.threshold:
            raise UsageError(f"{where} needs {role.threshold} keys: add the new one first (trust add-key)")
        return replace(role, keys=keys, retired=tuple(other for other in role.retired if other != keyid))

    channels = {
        name: replace(
            entry,
            release=drop(entry.release, f"release of {name!r}"),
            pointer=drop(entry.pointer, f"pointer of {name!r}"),
        )
        for name, entry in trust.channels.items()
    }
    keys = {other: key for other, key in trust.keys.items() if other != keyid}
    return replace(trust, keys=keys, channels=channels)


def revoke(trust: TrustFile, what: str) -> TrustFile:
    """Forbid a release (by digest) or everything of a commit."""
    return replace(trust, revoked=trust.revoked | {what})


def set_floor(trust: TrustFile, channel: str, sequence: int) -> TrustFile:
    """Forbid pointers below a sequence: a bound on what a pod without memory can be made to run."""
    entry = _entry(trust, channel)
    if sequence < entry.floor:
        raise UsageError(f"the floor of {channel!r} is {entry.floor}; it only rises (a new epoch begins at 0)")
    return _with_entry(trust, channel, replace(entry, floor=sequence))


def next_epoch(trust: TrustFile) -> TrustFile:
    """Begin a new epoch: every pointer of the old one is refused until ``dagctl repair --new-epoch``; floors are 0."""
    channels = {name: replace(entry, floor=0) for name, entry in trust.channels.items()}
    return replace(trust, epoch=trust.epoch + 1, channels=channels)


def _role_words(role: Role) -> str:
    names = ", ".join(keyid[:16] for keyid in role.keys)
    words = f"{role.threshold} of {len(role.keys)} keys ({names})"
    return words + (f"; retired: {', '.join(keyid[:16] for keyid in role.retired)}" if role.retired else "")


def _entry_words(name: str, entry: ChannelTrust) -> Iterator[str]:
    yield f"channel {name}:"
    yield f"  takes releases of {entry.repository}, directory {', '.join(entry.paths)}, ref {', '.join(entry.refs)}"
    if entry.selection.include or entry.selection.exclude:
        include, exclude = ", ".join(entry.selection.include) or "everything", ", ".join(entry.selection.exclude)
        yield f"  packed as: {include}" + (f", without {exclude}" if exclude else "")
    yield f"  a release must be signed by {_role_words(entry.release)}"
    yield f"  a pointer must be signed by {_role_words(entry.pointer)}"
    yield f"  sequence at least {entry.floor}" if entry.floor else "  no floor: a new pod takes any signed pointer"
    if entry.allow_dev:
        yield "  takes dev releases: uncommitted work of whoever has a release key"
    both = set(entry.release.keys) & set(entry.pointer.keys)
    if both:
        shown = ", ".join(sorted(keyid[:16] for keyid in both))
        yield f"  warning: {shown} signs both: whoever has it brings in new code and makes it live"


def _dev_warnings(name: str, trust: TrustFile) -> Iterator[str]:
    """Say where a key that signs uncommitted work also signs what protected channels take."""
    entry = trust.channels[name]
    for other, protected in sorted(trust.channels.items()):
        shared = sorted(set(entry.release.keys) & set(protected.release.keys))
        if entry.allow_dev and not protected.allow_dev and shared:
            keys = ", ".join(keyid[:16] for keyid in shared)
            yield f"  warning: {keys} signs releases of channel {other}, too: give developers a key of their own"


def explain(trust: TrustFile) -> list[str]:
    """Say in words what a trust file allows, a line each."""
    lines = [f"bundle {trust.bundle}, epoch {trust.epoch}"]
    if trust.max_ttl is None:
        lines.append("pointers need no expiry: whoever controls the bucket can withhold updates unnoticed by a new pod")
    else:
        lines.append(f"a pointer may be used for {trust.max_ttl} s after it was issued, and must have an expiry")
    for name in sorted(trust.channels):
        lines.extend(_entry_words(name, trust.channels[name]))
        lines.extend(_dev_warnings(name, trust))
    lines.extend(f"revoked: {what}" for what in sorted(trust.revoked))
    return lines
