"""JSON that takes a careless reader's memory, stack or time, or that two readers take for two documents."""

from __future__ import annotations


def _deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


VALUES: dict[str, bytes] = {
    "17 deep": _deep(17),
    "20,000 deep": _deep(20_000),
    "objects 17 deep": b'{"a":' * 17 + b"1" + b"}" * 17,
    "deep behind a string of brackets": b'["]]]]\\"]]]]",' + _deep(17) + b"]",
    "2^53": b"9007199254740992",
    "-2^53": b"-9007199254740992",
    "an integer of 40,000 digits": b"9" * 40_000,
    "a number with a fraction": b"1.0",
    "1e400": b"1e400",
    "1E2": b"1E2",
    "-0.0": b"-0.0",
    "a fraction of 40,000 digits": b"0." + b"9" * 40_000,
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "a leading zero": b"01",
    "a plus sign": b"+1",
    "hexadecimal": b"0x1",
    "digits of another script": b"\xd9\xa1",
    "a duplicate name": b'{"a":1,"a":2}',
    "a duplicate name, escaped": b'{"a":1,"\\u0061":2}',
    "2,000 duplicate names": b"{" + b",".join([b'"a":1'] * 2000) + b"}",
    "a lone surrogate": b'"\\ud800"',
    "a reversed pair of surrogates": b'"\\udc00\\ud800"',
    "a surrogate as a name": b'{"\\udfff":1}',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "an overlong slash": b'"\xc0\xaf"',
    "a byte that is no UTF-8": b'"\xff"',
    "a raw NUL": b'"\x00"',
    "a raw line end": b'"a\nb"',
    "an unknown escape": b'"\\x41"',
    "half an escape": b'"\\u00"',
    "an open string": b'"',
    "single quotes": b"'a'",
    "a comment": b"1/* */",
    "two values": b"1 2",
    "a comma too many": b"[1,]",
    "nothing": b"",
    "an open array": b"[",
    "a closed one": b"]",
}


def inside(document: bytes) -> dict[str, bytes]:
    """Return a JSON object with each bomb in a field that nobody knows."""
    opened = document.rstrip()[:-1]
    return {name: opened + b',"zzz":' + value + b"}" for name, value in VALUES.items()}


def around(document: bytes) -> dict[str, bytes]:
    """Return bombs that are the whole document."""
    return {
        "nothing": b"",
        "null": b"null",
        "an array": b"[" + document + b"]",
        "a string": b'"' + document.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"',
        "twice": document + document,
        "a byte order mark": b"\xef\xbb\xbf" + document,
        "UTF-16": document.decode().encode("utf-16"),
        "UTF-32": document.decode().encode("utf-32-le"),
        "a NUL at the end": document + b"\0",
        "an open object": document.rstrip()[:-1],
        "a separator of records": b"\x1e" + document,
    }


OVERSIZE: dict[str, tuple[bytes, bytes, bytes]] = {  # what is refused by its size alone: beginning, middle, end
    "a string of 10 MB": (b'{"a":"', b"x", b'"}'),
    "10 MB of spaces": (b"", b" ", b"{}"),
    "10,000,000 deep": (b"", b"[", b""),
    "objects 2,000,000 deep": (b"", b'{"a":', b""),
    "an integer of 10 MB": (b'{"a":', b"9", b"}"),
    "10 MB of quotes": (b"", b'"', b""),
    "10 MB of backslashes": (b'"', b"\\", b""),
}


def oversize(name: str) -> bytes:
    """Make a bomb of 10 MB."""
    beginning, middle, end = OVERSIZE[name]
    return beginning + middle * (10_000_000 // len(middle)) + end
