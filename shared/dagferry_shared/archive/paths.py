"""Which paths and link targets an archive may hold."""

from __future__ import annotations

from dagferry_shared.errors import Reason, Refused
from dagferry_shared.names import is_safe_text

MAX_COMPONENT = 255  # bytes
MAX_PATH = 1024  # bytes
MAX_DEPTH = 64  # components


def _refuse(where: str, value: str, words: str) -> Refused:
    return Refused(Reason.BAD_ARCHIVE, f"{where} {value[:120]!r} {words}")


def _check_component(component: str, value: str, where: str) -> None:
    if component in {"", ".", ".."}:
        raise _refuse(where, value, "is absolute, or has an empty, '.' or '..' component")
    if component.lower() == ".git":
        raise _refuse(where, value, "has a .git component")
    if len(component.encode()) > MAX_COMPONENT:
        raise _refuse(where, value, f"has a component longer than {MAX_COMPONENT} bytes")


def check_path(value: str, where: str = "path") -> str:
    r"""Return a relative path that is safe to create below a new directory; Refused(BAD_ARCHIVE) if not.

    Refused: absolute, empty, ``.``, ``..``, ``//``, a trailing ``/``, ``\``, control and direction characters, any
    ``.git`` component, a component of more than 255 bytes, 1024 bytes in all, 64 components.
    """
    if not is_safe_text(value):  # first: a lone surrogate cannot be encoded
        raise _refuse(where, value, "holds a control, direction or undecodable character")
    if "\\" in value:
        raise _refuse(where, value, "holds a backslash")
    components = value.split("/")
    for component in components:
        _check_component(component, value, where)
    if len(value.encode()) > MAX_PATH or len(components) > MAX_DEPTH:
        raise _refuse(where, value, f"is longer than {MAX_PATH} bytes or deeper than {MAX_DEPTH}")
    return value


def decode_path(raw: bytes, where: str = "path") -> str:
    """Decode and check a path as it stands in git or in an archive."""
    try:
        return check_path(raw.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise Refused(Reason.BAD_ARCHIVE, f"{where} {raw[:120]!r} is not UTF-8") from error


def split_target(target: str, where: str) -> tuple[int, tuple[str, ...]]:
    """Split a link target into the number of leading ``..`` and the names after them.

    Raises Refused(BAD_ARCHIVE) unless it is relative, with ``..`` only in front, and of names that a path may have.
    """
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    rest = parts[ups:]
    if rest:
        check_path("/".join(rest), where)
    if not target or len(target.encode()) > MAX_PATH or ups > MAX_DEPTH:
        raise _refuse(where, target, f"is empty, longer than {MAX_PATH} bytes or deeper than {MAX_DEPTH}")
    return ups, tuple(rest)
