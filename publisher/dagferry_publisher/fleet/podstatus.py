"""What a puller's ``/status`` says, read strictly: whoever answers on that port may be anybody.

Fields that this version does not know are ignored, and those that an older puller lacks are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from dagferry_shared import names, strictjson, times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.strictjson import Fields

MAX_STATUS = 64 * 1024  # bytes; a real one has about 5 KiB
_MAX_REASONS = 64  # kinds of refusal


@dataclass(frozen=True, slots=True)
class Live:
    """What a pod has live.

    Attributes:
        version: id.
        commit: of the source.
        release: digest.
        since: when the link was swapped.
        position: (epoch, sequence) of the pointer that made it live; None where the pod does not know.
        pointer: payload digest of that pointer.
        issued: when it was signed.
        held: whether the channel is held there.
        dev: whether it is uncommitted work; older pullers do not say.
    """

    version: str
    commit: str
    release: str
    since: str | None
    position: tuple[int, int] | None
    pointer: str | None
    issued: str | None
    held: bool
    dev: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod's last sync did not end well."""

    outcome: str
    reason: str | None
    detail: str
    since: str


@dataclass(frozen=True, slots=True)
class PodStatus:
    """A puller's status, checked.

    Attributes:
        host: its own name, None from an older one.
        program: its version.
        role: owner, standby or starting.
        bundle: it pulls.
        channel: it follows.
        ready: whether a verified version is live.
        live: what is live.
        revoked: why that no longer verifies.
        damaged: whether it is not as it was signed.
        seen: (epoch, sequence) of the newest pointer accepted, and its payload digest.
        last_attempt: when a sync last began.
        last_success: when one last ended well.
        problem: of the last sync.
        refusals: by reason, since its start.
        alarms: different pointers of one sequence, seen since its start.
        now: its clock when it answered.
        period: longest time between two of its polls, in seconds.
    """

    host: str | None
    program: str
    role: str
    bundle: str
    channel: str
    ready: bool
    live: Live | None
    revoked: str | None
    damaged: bool
    seen: tuple[tuple[int, int], str] | None
    last_attempt: str | None
    last_success: str | None
    problem: Trouble | None
    refusals: dict[str, int]
    alarms: int
    now: str | None
    period: float | None


def _said(value: str, where: str) -> str:  # noqa: ARG001 - a check for Fields.text
    """Accept a text of any content, cut and made fit to be shown."""
    return names.clean_text(value)


def _optional(fields: Fields, name: str, default: None = None) -> object:
    return fields.value.get(name, default)


def _live(fields: Fields) -> Live:
    epoch, sequence = fields.optional_integer("epoch", low=1), fields.optional_integer("sequence", low=1)
    version = fields.text("version", lambda value, _: "-".join(names.split_version_id(value)))
    commit, release = names.split_version_id(version)
    if (fields.text("commit", names.commit), fields.text("release", names.sha256)) != (commit, release):
        raise Refused(Reason.MALFORMED, "status.live names another commit or release than its version")
    return Live(
        version=version,
        commit=commit,
        release=release,
        since=fields.optional_text("since", times.instant),
        position=None if epoch is None or sequence is None else (epoch, sequence),
        pointer=fields.optional_text("pointer", names.sha256),
        issued=fields.optional_text("issued", times.instant),
        held=fields.flag("held"),
        dev="dev" in fields.value and fields.flag("dev"),
    )


def _seen(fields: Fields) -> tuple[tuple[int, int], str]:
    position = fields.integer("epoch", low=1), fields.integer("sequence", low=1)
    return position, fields.text("payload_digest", names.sha256)


def _problem(fields: Fields) -> Trouble:
    return Trouble(
        fields.text("outcome", _said),
        fields.optional_text("reason", _said),
        fields.text("detail", _said),
        fields.text("since", times.instant),
    )


def _refusals(fields: Fields) -> dict[str, int]:
    if len(fields.value) > _MAX_REASONS:
        raise Refused(Reason.OVERSIZE, f"status.refusals has more than {_MAX_REASONS} reasons")
    known = {reason: fields.integer(reason) for reason in fields.value}
    return {names.clean_text(reason)[:60]: count for reason, count in known.items()}


def _period(fields: Fields) -> float | None:
    found = [_optional(fields, name) for name in ("period", "notified_period")]
    numbers = [float(value) for value in found if isinstance(value, int | float)]
    return max((number for number in numbers if 0 < number < times.MAX_DURATION), default=None)


def parse(raw: bytes) -> PodStatus:
    """Read a ``/status`` document.

    Args:
        raw: hostile bytes.

    Raises:
        Refused: it is not what a puller says.
    """
    fields = Fields(strictjson.parse_object(raw, "status", limit=MAX_STATUS, floats=True), "status")
    if fields.integer("format", low=1) != 1:
        raise Refused(Reason.UNKNOWN_TYPE, "status is of a format that this version does not know")

    def inner(name: str) -> Fields | None:
        return None if fields.raw(name) is None else fields.object(name)

    live, seen, problem = inner("live"), inner("seen"), inner("problem")
    since_now = partial(fields.optional_text, check=times.instant)
    return PodStatus(
        host=(fields.optional_text("host", _said) or None) if "host" in fields.value else None,
        program=fields.text("program", _said),
        role=fields.text("role", _said),
        bundle=fields.text("bundle", names.name),
        channel=fields.text("channel", names.name),
        ready=fields.flag("ready"),
        live=_live(live) if live else None,
        revoked=fields.optional_text("revoked", _said),
        damaged=fields.flag("damaged"),
        seen=_seen(seen) if seen else None,
        last_attempt=since_now("last_attempt"),
        last_success=since_now("last_success"),
        problem=_problem(problem) if problem else None,
        refusals=_refusals(fields.object("refusals")),
        alarms=fields.integer("alarms"),
        now=since_now("now") if "now" in fields.value else None,
        period=_period(fields),
    )
