"""How the value of an option is read: a text in, a checked value out, or ValueError or Refused with words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagferry_puller.root import META, VERSIONS
from dagferry_shared import names, times
from dagferry_shared.archive.paths import check_path

if TYPE_CHECKING:
    from collections.abc import Callable

_BOOLEANS = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


def text(value: str) -> str:
    """Read a text that is not empty."""
    if not value:
        raise ValueError("is empty")
    return value


def name(value: str) -> str:
    """Read a name."""
    return names.name(value, "the value")


def seconds(value: str) -> float:
    """Read a duration above zero."""
    if re.fullmatch(r"0?\.\d{1,3}", value, re.ASCII):
        return float(value) or times.duration("0").total_seconds()
    return times.duration(value, "the value").total_seconds()


def seconds_or_zero(value: str) -> float:
    """Read a duration, or 0."""
    return 0.0 if value in {"0", "0s"} else seconds(value)


def number(value: str) -> int:
    """Read a whole number, such as 1000, 64K or 2GiB."""
    match = re.fullmatch(r"(\d{1,15})([KMGT]i?B?)?", value, re.ASCII)
    if not match:
        raise ValueError(f"{value[:40]!r} is not a whole number, such as 1000, 64K or 2GiB")
    unit = match[2] or " "
    return int(match[1]) << 10 * " KMGT".index(unit[0])


def positive(value: str) -> int:
    """Read such a number above zero."""
    found = number(value)
    if not found:
        raise ValueError("must be at least 1")
    return found


def choice(*allowed: str) -> Callable[[str], str]:
    """Make a reader of one of some words."""

    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"{value[:40]!r} is not one of: {', '.join(allowed)}")
        return value

    return read


def switch(value: str) -> bool:
    """Read true or false."""
    if value.lower() not in _BOOLEANS:
        raise ValueError(f"{value[:40]!r} is neither true nor false")
    return _BOOLEANS[value.lower()]


def link(value: str) -> str:
    """Read a path below the root that is not ours."""
    check_path(value, "the link")
    top = value.partition("/")[0]
    if top in {META, VERSIONS}:
        raise ValueError(f"{value!r} lies in {top}/, which is not for links")
    return value


def address(value: str) -> tuple[str, int] | None:
    """Read HOST:PORT; None for "none"."""
    if value == "none":
        return None
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value[:80]!r} is not HOST:PORT (such as 0.0.0.0:9474, [::]:9474 or 127.0.0.1:0) or none")
    return host.removeprefix("[").removesuffix("]"), int(port)


def airflow(value: str) -> str:
    """Read an Airflow's address, or nothing."""
    if value:
        from dagferry_shared.airflowapi import address as airflow_address  # noqa: PLC0415 - few pods have one

        airflow_address.parse(value)
    return value


def command(value: str) -> tuple[str, ...]:
    """Read the words of a command, as a shell would split them."""
    if not value:
        return ()
    import shlex  # noqa: PLC0415 - most pods have no command

    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"{value[:80]!r} cannot be split into words: {error}") from error


def commit(value: str) -> str:
    """Read a full commit id, or nothing."""
    return names.commit(value, "the value") if value else ""


def version(value: str) -> str:
    """Read a version id, or nothing."""
    if value:
        names.split_version_id(value)
    return value
