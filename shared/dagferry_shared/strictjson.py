"""Strict JSON: one way to read a document, one way to write it, one refusal for everything else.

A document is an object in UTF-8 whose numbers are integers within ±(2**53 - 1), without duplicate names, lone
surrogates, NaN or a byte order mark, nested at most 16 deep. The depth is checked before Python's recursive parser
sees the bytes. Fractions are read only where others make the document.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from dagferry_shared.errors import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 16
MAX_INTEGER = 2**53 - 1

# Possessive, and an open string runs to the end, a lone backslash there included: linear in the length of any input.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[{\]}]")

Json = None | bool | int | str | list[Any] | dict[str, Any]


def refuse(detail: str, reason: Reason = Reason.MALFORMED) -> NoReturn:
    """Refuse a document."""
    raise Refused(reason, detail)


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            refuse(f"{what} is nested more than {MAX_DEPTH} deep")


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        refuse("integer outside ±(2^53 - 1)")
    return int(digits)


def _no_float(text: str) -> NoReturn:
    refuse(f"number {text[:20]} is not an integer")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        refuse("duplicate name in an object")
    return result


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)
_WITH_FLOATS = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_int=_integer, parse_float=float, parse_constant=_no_float
)


def parse_object(raw: bytes, what: str, *, limit: int, floats: bool = False) -> dict[str, Any]:
    """Parse one JSON object of at most ``limit`` bytes.

    Args:
        raw: hostile bytes.
        what: what the document is, for the message.
        limit: size limit in bytes.
        floats: whether numbers may have fractions; one that is too large reads as infinite.

    Raises:
        Refused: MALFORMED, or OVERSIZE.
    """
    if len(raw) > limit:
        refuse(f"{what} is larger than {limit} bytes", Reason.OVERSIZE)
    try:
        text = raw.decode("utf-8")
        _check_depth(text, what)
        value = (_WITH_FLOATS if floats else _DECODER).decode(text)
        if "\\u" in text:  # the only way to smuggle a lone surrogate past the UTF-8 decoder
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise Refused(Reason.MALFORMED, f"{what} is not UTF-8") from error
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"{what} is not JSON: {str(error)[:80]}") from error
    if not isinstance(value, dict):
        refuse(f"{what} is not a JSON object")
    return value


def encode(value: Json) -> bytes:
    """Write the one encoding that dagferry makes: UTF-8, sorted names, no spaces, no final newline."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("utf-8")


class Fields:
    """Typed access to one object of a parsed document; every miss is a Refused that names the field.

    Attributes:
        value: the object itself.
        where: its place in the document, for messages.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            refuse(f"{where} is not an object")
        self.value: dict[str, Any] = value
        self.where = where

    def only(self, *names: str) -> None:
        """Refuse any field that is not named: in a trust file, a typo must not switch a rule off."""
        extra = sorted(set(self.value) - set(names))
        if extra:
            refuse(f"{self.where} has an unknown field {extra[0][:60]!r}; known: {', '.join(sorted(names))}")

    def raw(self, name: str) -> object:
        """Return the field's value; Refused if it is missing."""
        if name not in self.value:
            refuse(f"{self.where} lacks {name!r}")
        result: object = self.value[name]
        return result

    def text(self, name: str, check: Callable[[str, str], str]) -> str:
        """Return a string that ``check(value, place)`` accepts."""
        value = self.raw(name)
        if not isinstance(value, str):
            refuse(f"{self.where}.{name} is not a string")
        return check(value, f"{self.where}.{name}")

    def optional_text(self, name: str, check: Callable[[str, str], str]) -> str | None:
        """Return a string, or None where the field is null; it must be there."""
        return None if self.raw(name) is None else self.text(name, check)

    def integer(self, name: str, *, low: int = 0) -> int:
        """Return an integer of at least ``low``."""
        value = self.raw(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            refuse(f"{self.where}.{name} is not an integer of at least {low}")
        return value

    def optional_integer(self, name: str, *, low: int = 0) -> int | None:
        """Return an integer, or None where the field is null; it must be there."""
        return None if self.raw(name) is None else self.integer(name, low=low)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.raw(name)
        if not isinstance(value, bool):
            refuse(f"{self.where}.{name} is not true or false")
        return value

    def texts(self, name: str, check: Callable[[str, str], str], *, most: int = 1000) -> tuple[str, ...]:
        """Return a list of at most ``most`` distinct strings."""
        value = self.raw(name)
        if not isinstance(value, list) or len(value) > most or not all(isinstance(v, str) for v in value):
            refuse(f"{self.where}.{name} is not a list of at most {most} strings")
        if len(set(value)) != len(value):
            refuse(f"{self.where}.{name} holds a value twice")
        return tuple(check(v, f"{self.where}.{name}") for v in value)

    def object(self, name: str) -> Fields:
        """Return the object in that field."""
        return Fields(self.raw(name), f"{self.where}.{name}")

    def objects(self, name: str, *, most: int) -> tuple[Fields, ...]:
        """Return a list of at most ``most`` objects."""
        value = self.raw(name)
        if not isinstance(value, list) or len(value) > most:
            refuse(f"{self.where}.{name} is not a list of at most {most} objects")
        return tuple(Fields(v, f"{self.where}.{name}[{i}]") for i, v in enumerate(value))
