"""What a fleet's answers mean: each pod against what its channel is at. Pure: answers and an instant in, rows out."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_shared import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from dagferry_publisher.fleet.podstatus import PodStatus
    from dagferry_publisher.fleet.survey import Answer

    Line = tuple[str, str]  # bundle and channel
    Position = tuple[int, int]

QUIET_PERIODS, QUIET_SECONDS = 3, 60.0  # without a look, before a pod counts as hanging
_EFFECTS = ("has ", "no verified version")  # how the troubles begin that another one may be the cause of
_DEFAULT_PERIOD = 60.0  # seconds; what a puller that does not say it polls at, at most


class State(StrEnum):
    """What a pod is, in one word; the worst that applies, in this order."""

    UNREACHABLE = "unreachable"
    STRANGER = "stranger"
    DIVERGED = "diverged"
    REVOKED = "revoked"
    DAMAGED = "damaged"
    NOT_READY = "not-ready"
    AHEAD = "ahead"
    BEHIND = "behind"
    FAILING = "failing"
    QUIET = "quiet"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a channel is at.

    Attributes:
        position: epoch and sequence.
        pointer: payload digest.
        release: digest; None where no pod that knows the pointer has it live.
        commit: of the release.
        issued: when the pointer was signed.
        held: whether the channel is held.
        of_store: whether the store's verified pointer says so, else the newest that a pod has accepted.
        dev: whether the release is uncommitted work.
    """

    position: Position
    pointer: str
    release: str | None
    commit: str | None
    issued: str | None
    held: bool
    of_store: bool
    dev: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A pod and what is wrong with it.

    Attributes:
        answer: what it said.
        state: in one word.
        troubles: a sentence each, worst first; none if all is well.
        entries_behind: how many entries of the chain it has not live yet, None if it is not behind or nobody can say.
        lag_seconds: since what its channel is at was signed; None if it is not behind.
    """

    answer: Answer
    state: State
    troubles: tuple[str, ...] = ()
    entries_behind: int | None = None
    lag_seconds: float | None = None

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return self.state is State.LIVE

    @property
    def cause(self) -> str:
        """The worst trouble, or what says why: a pod that lags may do so as its syncs fail. Empty if all is well."""
        return next((one for one in self.troubles if not one.startswith(_EFFECTS)), "".join(self.troubles[:1]))


def line_of(status: PodStatus) -> Line:
    """Return the bundle and channel that a pod follows."""
    return status.bundle, status.channel


def reference_of(statuses: Iterable[PodStatus]) -> Reference | None:
    """Return what the pods of one channel have accepted as newest; where they disagree, what most of them have."""
    known = [status for status in statuses if status.seen]
    if not known:
        return None
    newest = max(status.seen[0] for status in known if status.seen)
    counts = Counter(status.seen[1] for status in known if status.seen and status.seen[0] == newest)
    pointer = max(sorted(counts), key=lambda digest: counts[digest])
    at_it = (status.live for status in known if status.live and status.live.pointer == pointer)
    live = next((one for one in at_it if one.position == newest), None)
    if live is None:
        return Reference(newest, pointer, None, None, None, held=False, of_store=False)
    return Reference(newest, pointer, live.release, live.commit, live.issued, live.held, of_store=False, dev=live.dev)


def _digests(statuses: Sequence[PodStatus], reference: Reference | None) -> dict[Position, set[str]]:
    """Return the pointers that are not the right one of their position, by position.

    The right one is what the reference says, else what most pods have; where as many have one as another, all are
    suspect.
    """
    found: dict[Position, Counter[str]] = defaultdict(Counter)
    for status in statuses:
        said = {status.seen} if status.seen else set()
        if status.live and status.live.position and status.live.pointer:
            said.add((status.live.position, status.live.pointer))
        for position, digest in said:
            found[position][digest] += 1
    wrong: dict[Position, set[str]] = {}
    for position, counts in found.items():
        best = max(counts.values())
        right = {digest for digest, count in counts.items() if count == best}
        if reference and reference.of_store and reference.position == position:
            right = {reference.pointer}
        wrong[position] = set(counts) - right if len(right) == 1 else set(counts)
    return wrong


def judge(answers: Sequence[Answer], references: Mapping[Line, Reference], now: datetime) -> list[Row]:
    """Judge every answer.

    A pod is **live** if it answers as a puller does; nobody has another pointer of the same position (else it has
    **diverged**: a key or a publisher is broken, or somebody shows it another store); its release is trusted
    (**revoked**) and whole (**damaged**); it is ready; it knows no pointer that the store lost (**ahead**); it has
    live what its channel is at (**behind**); its last sync ended well (**failing**); and it still looks (**quiet**).

    Args:
        answers: one for each pod.
        references: what the store says; channels that are missing are judged by what their pods say.
        now: by this machine's clock.
    """
    groups: dict[Line, list[PodStatus]] = defaultdict(list)
    for answer in answers:
        if answer.status:
            groups[line_of(answer.status)].append(answer.status)
    known = {line: references.get(line) or reference_of(statuses) for line, statuses in groups.items()}
    wrong = {line: _digests(statuses, known[line]) for line, statuses in groups.items()}
    rows = []
    for answer in answers:
        if answer.status is None:
            rows.append(Row(answer, State.UNREACHABLE if answer.silent else State.STRANGER, (answer.why,)))
        else:
            line = line_of(answer.status)
            rows.append(_judge_one(answer, answer.status, known[line], wrong[line], now))
    return rows


def _judge_one(
    answer: Answer,
    status: PodStatus,
    reference: Reference | None,
    wrong: Mapping[Position, set[str]],
    now: datetime,
) -> Row:
    troubles = [*_divergence(status, wrong), *_own(status), *_place(status, reference), *_work(status, now)]
    troubles.sort(key=lambda trouble: list(State).index(trouble[0]))
    behind = any(state is State.BEHIND for state, _ in troubles)
    entries, seconds = _lag(status, reference, now) if behind and reference else (None, None)
    state = troubles[0][0] if troubles else State.LIVE
    return Row(answer, state, tuple(words for _, words in troubles), entries, seconds)


def _divergence(status: PodStatus, wrong: Mapping[Position, set[str]]) -> Iterable[tuple[State, str]]:
    said = [status.seen] if status.seen else []
    if status.live and status.live.position and status.live.pointer:
        said.append((status.live.position, status.live.pointer))
    for position, digest in dict.fromkeys(said):
        if digest in wrong.get(position, ()):
            where = f"{position[0]}-{position[1]}"
            yield State.DIVERGED, f"split view: has pointer {digest[:12]} as {where}, and others have another one"
    if status.alarms:
        yield State.DIVERGED, f"was shown two different pointers of one sequence, {status.alarms} times"


def _own(status: PodStatus) -> Iterable[tuple[State, str]]:
    """Yield what the pod itself says is wrong with what it has live."""
    if status.revoked:
        yield State.REVOKED, f"its live release no longer verifies: {status.revoked}"
    if status.damaged:
        yield State.DAMAGED, "its live tree is not as it was signed"
    if not status.ready or status.live is None:
        yield State.NOT_READY, "no verified version is live"


def _place(status: PodStatus, reference: Reference | None) -> Iterable[tuple[State, str]]:
    """Yield how what it has relates to what its channel is at."""
    if reference is None:
        return
    if reference.of_store and status.seen and status.seen[0] > reference.position:
        yield State.AHEAD, "knows a newer pointer than the store has: was the bucket restored?"
    elif reference.release and status.live and status.live.release != reference.release:
        yield State.BEHIND, f"has {status.live.commit[:12]} live, its channel is at {(reference.commit or '')[:12]}"


def _work(status: PodStatus, now: datetime) -> Iterable[tuple[State, str]]:
    """Yield what is wrong with its syncs."""
    if status.problem:
        problem = status.problem
        reason = f" ({problem.reason})" if problem.reason else ""
        yield State.FAILING, f"{problem.outcome}{reason} since {problem.since}: {problem.detail}"
    silence = age(status.last_attempt, status, now)
    limit = QUIET_PERIODS * (status.period or _DEFAULT_PERIOD) + QUIET_SECONDS
    if silence is not None and silence > limit:
        yield State.QUIET, f"began no look for {silence:.0f} s"


def _lag(status: PodStatus, reference: Reference, now: datetime) -> tuple[int | None, float | None]:
    live = status.live.position if status.live else None
    entries = reference.position[1] - live[1] if live and live[0] == reference.position[0] else None
    if reference.issued is None:
        return entries, None
    return entries, max(0.0, (now - times.parse(reference.issued)).total_seconds())


def age(moment: str | None, status: PodStatus, now: datetime) -> float | None:
    """Return how many seconds ago a pod says that something was, by its own clock where it shows it."""
    if moment is None:
        return None
    clock = times.parse(status.now) if status.now else now
    return max(0.0, (clock - times.parse(moment)).total_seconds())
