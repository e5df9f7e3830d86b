"""What a puller remembers over a restart: ``.dagferry/state.json``, strict, with a format number of its own.

``seen`` is what makes a replay fail, so it is never reset in silence. It is there twice: in this file, and as the
signed pointer that was stored before it (``envelopes.py``). A damaged state file is rebuilt from the stored pointers;
if there is none for this channel either, pointers are refused until a person removes the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_shared import names, strictjson, times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.rules import Seen
from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_puller.root import Root

STATE = "state.json"
FORMAT = 1
_LIMIT = 1024 * 1024  # bytes; a version takes about 150


@dataclass(frozen=True, slots=True)
class Live:
    """The version that the link was last pointed at.

    Attributes:
        version: id.
        previous: the version that was live before, None for the first.
        since: when the link was swapped.
    """

    version: str
    previous: str | None
    since: str


@dataclass(frozen=True, slots=True)
class State:
    """The whole file.

    Attributes:
        seen: newest pointer ever accepted, by ``<bundle>/<channel>``: leaving a channel forgets nothing.
        stamp: the last modification time given out, seconds since 1970.
        live: None before the first swap.
        left: when each version stopped being live, seconds since 1970.
    """

    seen: Mapping[str, Seen] = field(default_factory=dict)
    stamp: int = 0
    live: Live | None = None
    left: Mapping[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Write the file's one encoding."""
        live = self.live
        return strictjson.encode(
            {
                "format": FORMAT,
                "seen": {
                    channel: {"epoch": s.epoch, "sequence": s.sequence, "payload": s.payload_digest}
                    for channel, s in self.seen.items()
                },
                "stamp": self.stamp,
                "live": live and {"version": live.version, "previous": live.previous, "since": live.since},
                "left": dict(self.left),
            }
        )


def _version(value: str, _: str = "") -> str:
    names.split_version_id(value)
    return value


def _channel(value: str) -> str:
    bundle, _, channel = value.partition("/")
    names.name(bundle, "state.seen")
    names.name(channel, "state.seen")
    return value


def _read_seen(fields: strictjson.Fields) -> Seen:
    fields.only("epoch", "sequence", "payload")
    return Seen(fields.integer("epoch", low=1), fields.integer("sequence", low=1), fields.text("payload", names.sha256))


def _read_live(fields: strictjson.Fields) -> Live:
    fields.only("version", "previous", "since")
    return Live(
        fields.text("version", _version),
        fields.optional_text("previous", _version),
        fields.text("since", times.instant),
    )


def parse(raw: bytes) -> State:
    """Read a state file; Refused(MALFORMED, OVERSIZE) if it is damaged, UNKNOWN_TYPE if a newer puller wrote it."""
    fields = strictjson.Fields(strictjson.parse_object(raw, "state.json", limit=_LIMIT), "state")
    if fields.integer("format") != FORMAT:
        raise Refused(Reason.UNKNOWN_TYPE, f"state.json has format {fields.integer('format')}, known is {FORMAT}")
    fields.only("format", "seen", "stamp", "live", "left")
    seen, left = fields.object("seen"), fields.object("left")
    return State(
        seen={_channel(channel): _read_seen(seen.object(channel)) for channel in seen.value},
        stamp=fields.integer("stamp"),
        live=None if fields.raw("live") is None else _read_live(fields.object("live")),
        left={_version(version): left.integer(version) for version in left.value},
    )


def load(root: Root) -> State:
    """Read the state of a root; an empty one if there is none yet."""
    raw = fsio.read_file(STATE, root.meta, limit=_LIMIT)
    return State() if raw is None else parse(raw)


def save(root: Root, state: State) -> None:
    """Write the state of a root, durably."""
    fsio.save(STATE, state.encode(), root.meta, durable=root.durable)


def newest(*candidates: Seen | None) -> Seen | None:
    """Return the highest of several memories of one channel."""
    return max((seen for seen in candidates if seen), key=lambda seen: seen.position, default=None)
