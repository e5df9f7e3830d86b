"""The pointer: the signed, only mutable object. It says which release a channel is at."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_shared import names, strictjson, times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import asdict, dataclass

if TYPE_CHECKING:
    from dagferry_shared.envelope import Envelope

PAYLOAD_TYPE = "application/vnd.dagferry.pointer+json"


class Action(StrEnum):
    """What an entry of the chain did."""

    PUBLISH = "publish"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    REFRESH = "refresh"
    HOLD = "hold"
    RESUME = "resume"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Held:
    """A channel that publish and promote may not move, until ``resume``."""

    actor: str
    reason: str
    since: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer's content; its identity is the SHA-256 of the payload that it came in.

    Attributes:
        bundle: name.
        channel: name.
        epoch: the trust file's epoch it was made for.
        sequence: 1, 2, 3, … within the epoch.
        issued: when it was signed.
        expires: after this instant it is not activated any more; None: never.
        release: digest of the release's envelope.
        commit: the release's commit.
        tip: the newest commit ever published here; a publish must descend from it.
        previous: payload digest of the entry before, None for the first.
        action: what this entry did.
        held: set while the channel is held.
        actor: who did it.
        reason: why, in words (may be empty).
    """

    bundle: str
    channel: str
    epoch: int
    sequence: int
    issued: str
    expires: str | None
    release: str
    commit: str
    tip: str
    previous: str | None
    action: Action
    held: Held | None
    actor: str
    reason: str

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, sequence): what pullers compare."""
        return self.epoch, self.sequence

    @property
    def version(self) -> str:
        """Id of the version that this pointer makes live."""
        return names.version_id(self.commit, self.release)

    def payload(self) -> bytes:
        """Encode the document that is signed."""
        return strictjson.encode(asdict(self))


def _action(value: str, where: str) -> str:
    if value not in set(Action):
        raise Refused(Reason.UNKNOWN_TYPE, f"{where} {value[:40]!r} is not one this version knows")
    return value


def parse(envelope: Envelope) -> Pointer:
    """Read a pointer out of an envelope. The caller verifies the signatures first.

    Raises:
        Refused: UNKNOWN_TYPE or MALFORMED.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Refused(Reason.UNKNOWN_TYPE, f"pointer has payload type {envelope.payload_type[:80]!r}")
    fields = strictjson.Fields(
        strictjson.parse_object(envelope.payload, "pointer", limit=len(envelope.payload)), "pointer"
    )
    held = None
    if fields.raw("held") is not None:
        hold = fields.object("held")
        held = Held(hold.text("actor", names.word), hold.text("reason", names.text), hold.text("since", times.instant))
    return Pointer(
        bundle=fields.text("bundle", names.name),
        channel=fields.text("channel", names.name),
        epoch=fields.integer("epoch", low=1),
        sequence=fields.integer("sequence", low=1),
        issued=fields.text("issued", times.instant),
        expires=fields.optional_text("expires", times.instant),
        release=fields.text("release", names.sha256),
        commit=fields.text("commit", names.commit),
        tip=fields.text("tip", names.commit),
        previous=fields.optional_text("previous", names.sha256),
        action=Action(fields.text("action", _action)),
        held=held,
        actor=fields.text("actor", names.word),
        reason=fields.text("reason", names.text),
    )
