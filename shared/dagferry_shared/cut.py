"""The cut: the signed statement that a channel's history begins at this entry, as what was before it was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared import names, strictjson, times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import asdict, dataclass

if TYPE_CHECKING:
    from dagferry_shared.envelope import Envelope

PAYLOAD_TYPE = "application/vnd.dagferry.cut+json"


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut's content.

    Attributes:
        bundle: name.
        channel: name.
        epoch: of the entry that the history begins with.
        sequence: of that entry.
        entry: payload digest of that entry.
        issued: when it was signed.
        actor: who did it.
        reason: why, in words (may be empty).
    """

    bundle: str
    channel: str
    epoch: int
    sequence: int
    entry: str
    issued: str
    actor: str
    reason: str

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, sequence) of the entry that the history begins with."""
        return self.epoch, self.sequence

    def payload(self) -> bytes:
        """Encode the document that is signed."""
        return strictjson.encode(asdict(self))


def parse(envelope: Envelope) -> Cut:
    """Read a cut out of an envelope. The caller verifies the signatures first.

    Raises:
        Refused: UNKNOWN_TYPE or MALFORMED.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Refused(Reason.UNKNOWN_TYPE, f"cut has payload type {envelope.payload_type[:80]!r}")
    fields = strictjson.Fields(strictjson.parse_object(envelope.payload, "cut", limit=len(envelope.payload)), "cut")
    return Cut(
        bundle=fields.text("bundle", names.name),
        channel=fields.text("channel", names.name),
        epoch=fields.integer("epoch", low=1),
        sequence=fields.integer("sequence", low=1),
        entry=fields.text("entry", names.sha256),
        issued=fields.text("issued", times.instant),
        actor=fields.text("actor", names.word),
        reason=fields.text("reason", names.text),
    )
