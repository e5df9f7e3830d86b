"""Asking a puller what it has live: its ``/status``, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_shared import names, times
from dagferry_shared.airflowapi import answers
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.airflowapi.wire import Wire

if TYPE_CHECKING:
    from datetime import datetime

    from dagferry_shared.airflowapi.address import Address

SECONDS = 5.0  # for the question


@dataclass(frozen=True, slots=True)
class PodLive:
    """What is live in a pod.

    Attributes:
        version: id.
        since: when its link was swapped.
    """

    version: str
    since: datetime


def ask(address: Address) -> PodLive | None:
    """Return what a puller has live; None if nothing is.

    Raises:
        AirflowError: it does not answer, or not as a puller does; the text names its address.
    """
    answer = Wire(address, SECONDS).request("GET", "/status", {})
    if answer.status != 200:
        raise AirflowError(Trouble.BAD_ANSWER, f"the puller at {address} answered {answer.status}")
    return answers.checked(lambda: _read(answer.body))


def _read(body: bytes) -> PodLive | None:
    status = answers.document(body, "status")
    if status.raw("live") is None:
        return None
    live = status.object("live")
    if live.raw("since") is None:
        return None
    version = live.text("version", _version)
    return PodLive(version, times.parse(live.text("since", times.instant)))


def _version(value: str, _where: str) -> str:
    names.split_version_id(value)
    return value
