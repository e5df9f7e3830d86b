"""Who we are to Airflow: from variables or a file, never from a command line, and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILE = 16384  # bytes; a JWT has 1 to 4 KiB
PREFIX = "DAGFERRY_AIRFLOW_"
_NAMES = ("username", "password", "token")
_EXAMPLE = "lines 'username=…' and 'password=…', or one line 'token=…'"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and its password, or a bearer token, or nothing."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse, by ValueError, what cannot be sent."""
        if self.token and (self.username or self.password):
            raise ValueError("holds a token and a user: give one of them")
        if bool(self.username) != bool(self.password):
            raise ValueError("holds a user without a password, or the reverse")
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError("the token is not printable ASCII")
        if ":" in self.username or not (self.username + self.password).isprintable():
            raise ValueError("the user's name holds a colon, or something is not printable")


def from_environ(environ: Mapping[str, str]) -> Credentials:
    """Read ``DAGFERRY_AIRFLOW_USERNAME`` and ``_PASSWORD``, or ``_TOKEN``.

    Raises:
        ValueError: they do not go together.
    """
    return Credentials(**{name: environ.get(PREFIX + name.upper(), "") for name in _NAMES})


def from_file(path: str) -> Credentials:
    """Read a file of ``name=value`` lines.

    Raises:
        ValueError: it cannot be read, or is something else; the text holds nothing of its content.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"cannot read it: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    found: dict[str, str] = {}
    for line in text.splitlines() if len(text) <= MAX_FILE else ["too long"]:
        name, separator, value = line.partition("=")
        if not line.strip():
            continue
        if not separator or name.strip() not in _NAMES or name.strip() in found:
            raise ValueError(f"is not {_EXAMPLE}")
        found[name.strip()] = value.strip()
    if not any(found.values()):
        raise ValueError(f"is empty; it takes {_EXAMPLE}")
    return Credentials(**found)
