"""The signed documents of a bundle in one file, and that file as a store: an audit needs neither S3 nor network.

A line is a JSON object: first ``{"format": "dagferry-export:1", "bundle": …, "exported": …}``, then an object of the
store each: ``{"key": …, "text": …}``, or ``"base64"`` for one that is not UTF-8. Archives are not in it: releases name
them by digest. Nothing of the file is believed; what makes it worth something are the signatures inside, and the
position of each channel's head, which whoever keeps the file should write down elsewhere (an older export also
verifies).
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import IO, TYPE_CHECKING

from dagferry_shared import names, times
from dagferry_shared.envelope import MAX_ENVELOPE
from dagferry_shared.errors import BlobMissing, Reason, Refused, StoreConflict
from dagferry_shared.layout import Layout
from dagferry_shared.store.memory import MemoryStore
from dagferry_shared.strictjson import Fields, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_shared.store import Store

FORMAT = "dagferry-export:1"
MAX_LINE = 16 * MAX_ENVELOPE  # bytes; what JSON may make of one envelope
MAX_OBJECTS = 2_000_000
_CHANNELS, _RELEASES = "channels/", "releases/"


def write(store: Store, bundle: str, into: IO[bytes], progress: Callable[[int], None] = lambda _: None) -> int:
    """Write every pointer, history copy and release of a bundle; returns how many.

    History is listed before the pointers are read: a publish meanwhile leaves no copy without its pointer.

    Args:
        store: where from; it is read as it is, and nothing is verified.
        bundle: name.
        into: the file.
        progress: told the number of objects written so far.
    """
    root = Layout(bundle).root
    keys = sorted(store.keys(root + _CHANNELS)) + sorted(store.keys(root + _RELEASES))
    keys.sort(key=lambda key: key.endswith("/pointer.json"))
    _line(into, {"format": FORMAT, "bundle": bundle, "exported": times.show(times.now())})
    count = 0
    for key in keys:
        try:
            blob = store.get(key, limit=MAX_ENVELOPE)
            data = blob.data if blob else b""
        except BlobMissing:  # removed since it was listed
            continue
        except Refused:  # too large for a document: an audit sees that something is there
            data = b""
        _line(into, {"key": key, **_content(data)})
        count += 1
        progress(count)
    return count


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _line(into: IO[bytes], document: dict[str, str]) -> None:
    into.write(json.dumps(document, ensure_ascii=True).encode() + b"\n")


def read(file: IO[bytes], bundle: str) -> tuple[MemoryStore, str]:
    """Read an export into a store; returns it, and when the file says that it was made.

    Args:
        file: hostile bytes.
        bundle: the trust file's.

    Raises:
        Refused: it is not an export of this bundle.
    """
    lines = _lines(file)
    head = Fields(next(lines, {}), "export")
    if head.text("format", lambda value, _: value) != FORMAT:
        raise Refused(Reason.UNKNOWN_TYPE, "it is not an export that this version knows")
    if head.text("bundle", names.name) != bundle:
        raise Refused(Reason.WRONG_BUNDLE, f"it is an export of {head.text('bundle', names.name)}, not of {bundle}")
    store, root = MemoryStore(), Layout(bundle).root
    for number, document in enumerate(lines):
        if number >= MAX_OBJECTS:
            raise Refused(Reason.OVERSIZE, f"the export has more than {MAX_OBJECTS} objects")
        fields = Fields(document, f"export, line {number + 2}")
        key = fields.text("key", names.text)
        if not key.startswith((root + _CHANNELS, root + _RELEASES)):
            raise Refused(Reason.MALFORMED, f"{fields.where} has the key {key[:80]!r}, which is no document's")
        try:
            store.create(key, _data(fields))
        except ValueError as error:
            raise Refused(Reason.MALFORMED, f"{fields.where} has the key {key[:80]!r}, which is none") from error
        except StoreConflict as error:
            raise Refused(Reason.MALFORMED, f"{fields.where} has a key that was there before") from error
    return store, head.text("exported", times.instant)


def _data(fields: Fields) -> bytes:
    if "base64" not in fields.value:
        return fields.text("text", lambda value, _: value).encode()
    try:
        return base64.b64decode(fields.text("base64", lambda value, _: value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(Reason.MALFORMED, f"{fields.where} is not base64") from error


def _lines(file: IO[bytes]) -> Iterator[dict[str, object]]:
    while line := file.readline(MAX_LINE + 1):
        if not line.endswith(b"\n"):
            raise Refused(Reason.MALFORMED, "the export ends in the middle of a line, or has one that is too long")
        yield parse_object(line, "export", limit=MAX_LINE)
