"""What is known of the Airflow that is told of swaps: a part of the status."""

from __future__ import annotations

from enum import StrEnum

from dagferry_shared.values import dataclass


class Parse(StrEnum):
    """How far Airflow is with the live version."""

    TELLING = "telling"  # it was not reached since this version is live
    WAITING = "waiting"
    PARSED = "parsed"
    LATE = "late"  # not all was parsed within --airflow-timeout of its first answer; still looked for


@dataclass(frozen=True, slots=True)
class AirflowInfo:
    """An Airflow, as last heard of.

    Attributes:
        url: of its API.
        program: its version, empty before it answered.
        up: whether the last question was answered.
        problem: why not; None if it was.
        failures: questions in a row without an answer.
        version: the version id that the rest is about; None before one is live.
        state: how far Airflow is with it.
        told_at: when it was first told to parse; None if it needed no telling.
        parsed_at: when all was first seen parsed.
        swap_to_parsed_seconds: from the swap to that.
        files_told: requests to parse a file that it took.
        dags: that it has.
        pending: of these, not parsed from this version yet.
        import_errors: files that it cannot import.
        detail: one line for a person: the first of these files, or what is waited for.
    """

    url: str
    program: str = ""
    up: bool = False
    problem: str | None = None
    failures: int = 0
    version: str | None = None
    state: Parse = Parse.TELLING
    told_at: str | None = None
    parsed_at: str | None = None
    swap_to_parsed_seconds: float | None = None
    files_told: int = 0
    dags: int = 0
    pending: int = 0
    import_errors: int = 0
    detail: str = ""
