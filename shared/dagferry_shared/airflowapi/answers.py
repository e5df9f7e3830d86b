"""What Airflow answers, read strictly: hostile bytes in, values or an AirflowError out.

Unknown fields are ignored, as each version of Airflow adds some. Texts that are shown to people are cleaned and cut.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from dagferry_shared import names, strictjson
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.airflowapi.wire import MAX_ANSWER
from dagferry_shared.errors import Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.strictjson import Fields

MAX_PAGE = 1000  # entries of one answer
_TOKEN = re.compile(r"[A-Za-z0-9._=-]{1,4096}", re.ASCII)  # itsdangerous: base64 and dots
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_JWT = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}", re.ASCII)
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.[0-9A-Za-z.+-]{1,40}", re.ASCII)
_VERSION_ID = re.compile(r"\b(?:[0-9a-f]{40}|[0-9a-f]{64})-[0-9a-f]{64}\b", re.ASCII)
_NAME_LENGTH = 1024  # characters of a DAG's id or a file's path

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Dag:
    """A DAG that Airflow holds to be there.

    Attributes:
        dag_id: its id.
        bundle: name of its bundle; empty on 2.11.
        file: path in the bundle; on 2.11 the absolute one.
        version: of the bundle, as of its last parse; None for a bundle without versions, and on 2.11.
        source: the version id in the absolute path that it was really parsed from; None if there is none in it.
        parsed: when its last parse was stored.
        seconds: that this parse took; None where Airflow does not say (2.11).
        token: names its file in ``Airflow.reparse``.
    """

    dag_id: str
    bundle: str
    file: str
    version: str | None
    source: str | None
    parsed: datetime | None
    seconds: float | None
    token: str


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A file that Airflow could not import.

    Attributes:
        bundle: name of its bundle; empty on 2.11.
        file: as in ``Dag``.
        at: when it was stored.
        error: last line of the traceback.
        source: the version id in its last path that has one; None if none has.
    """

    bundle: str
    file: str
    at: datetime
    error: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    entries: tuple[Fields, ...]
    total: int


def document(body: bytes, what: str) -> Fields:
    """Read an answer's object."""
    return strictjson.Fields(strictjson.parse_object(body, what, limit=MAX_ANSWER, floats=True), what)


def checked(read: Callable[[], Value]) -> Value:
    """Read something, with a refusal turned into the one error of this package."""
    try:
        return read()
    except Refused as refusal:
        raise AirflowError(Trouble.BAD_ANSWER, f"an answer that it does not give: {refusal.detail[:200]}") from refusal


def page(body: bytes, name: str) -> Page:
    """Read a page of the list ``name``."""
    fields = document(body, name)
    return Page(fields.objects(name, most=MAX_PAGE), fields.integer("total_entries"))


def version(body: bytes) -> tuple[int, str]:
    """Return an Airflow's major version and its whole version."""
    text = document(body, "version").text("version", _matching(_VERSION, "a version of Airflow"))
    return int(text.partition(".")[0]), text


def access_token(body: bytes) -> str:
    """Return the token that a login gave; a refusal does not repeat it."""
    fields = document(body, "login")
    value = fields.value.get("access_token")
    return fields.text("access_token", _secret) if isinstance(value, str) else fields.text("access_token", _line)


def dag(fields: Fields) -> Dag:
    """Read a DAG of either version."""
    place = "fileloc" if fields.value.get("relative_fileloc") is None else "relative_fileloc"
    return Dag(
        dag_id=fields.text("dag_id", _line),
        bundle=_optional(fields, "bundle_name") or "",
        file=fields.text(place, _line),
        version=_optional(fields, "bundle_version"),
        source=_version_in(fields.text("fileloc", _line)),
        parsed=_moment(fields, "last_parsed_time") if fields.raw("last_parsed_time") is not None else None,
        seconds=_seconds(fields.value.get("last_parse_duration")),
        token=fields.text("file_token", _matching(_TOKEN, "a file token")),
    )


def failure(fields: Fields) -> ImportFailure:
    """Read an import error of either version."""
    trace = fields.value.get("stack_trace")
    lines = trace[-16384:].split("\n") if isinstance(trace, str) else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return ImportFailure(
        bundle=_optional(fields, "bundle_name") or "",
        file=fields.text("filename", _line),
        at=_moment(fields, "timestamp"),
        error=names.clean_text(last)[:300],
        source=_version_in("\n".join(lines)),
    )


def _matching(pattern: re.Pattern[str], words: str) -> Callable[[str, str], str]:
    def check(value: str, where: str) -> str:
        if not pattern.fullmatch(value):
            strictjson.refuse(f"{where} is not {words}")
        return value

    return check


_secret = _matching(_JWT, "a token")


def _line(value: str, where: str) -> str:
    if not 0 < len(value) <= _NAME_LENGTH or not names.is_safe_text(value):
        strictjson.refuse(f"{where} is empty, too long, or holds control characters")
    return value


def _version_in(text: str) -> str | None:
    found = _VERSION_ID.findall(text)
    return found[-1] if found else None


def _optional(fields: Fields, name: str) -> str | None:
    return None if fields.value.get(name) is None else fields.text(name, _line)


def _moment(fields: Fields, name: str) -> datetime:
    text = fields.text(name, _matching(_MOMENT, "an instant"))
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        strictjson.refuse(f"{fields.where}.{name} is not a date")


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, float | int) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        strictjson.refuse("last_parse_duration is not a number of seconds")
    return float(value)
