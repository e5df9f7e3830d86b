"""The one error of everything that asks Airflow something."""

from __future__ import annotations

from enum import StrEnum

from dagferry_shared.errors import DagferryError


class Trouble(StrEnum):
    """What kind of trouble it is."""

    UNREACHABLE = "unreachable"  # no connection, no answer in time, or an error of the server's own
    DENIED = "denied"  # 401 or 403
    NOT_FOUND = "not-found"  # 404
    BAD_ANSWER = "bad-answer"  # anything that the API does not answer: too much, not JSON, wrong fields, a redirect


class AirflowError(DagferryError):
    """Airflow did not answer, or not as it should.

    Attributes:
        trouble: of which kind.
        detail: one line for a person; never holds secrets.
    """

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(f"Airflow: {detail}")
        self.trouble = trouble
        self.detail = detail
