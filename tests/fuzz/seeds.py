"""Where fuzzing starts: ``python -m fuzz.seeds`` writes what is missing in ``tests/fuzz/seeds/`` and changes nothing.

Valid inputs are the golden files; hostile ones are made by hand. What fuzzing found is added as ``finding-…``.
"""

from __future__ import annotations

import json
from pathlib import Path

from dagferry_shared import envelope
from golden import content
from support import deltas, hostile_frames, hostile_names, hostile_tars
from support.handmade import frame, link, member, tar

HERE = Path(__file__).parent / "seeds"
GOLDEN = Path(__file__).parents[1] / "golden"
_VERSION = "a" * 40 + "-" + "b" * 64
_STATE = {
    "format": 1,
    "left": {_VERSION: 1_700_000_000},
    "live": {"previous": None, "since": "2026-01-01T00:00:00.000Z", "version": _VERSION},
    "seen": {"b/main": {"epoch": 1, "payload": "c" * 64, "sequence": 7}},
    "stamp": 1,
}
_HEADS = {
    "notify": b"POST /notify HTTP/1.1\r\nHost: pod\r\nContent-Length: 14\r\nAuthorization: Bearer t",
    "metrics": b"GET /metrics HTTP/1.1\r\nHost: pod",
    "query": b"GET /status?a=b#c HTTP/1.0",
    "chunked": b"POST /notify HTTP/1.1\r\nTransfer-Encoding: chunked",
    "two-lengths": b"POST /notify HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
    "negative-length": b"POST /notify HTTP/1.1\r\nContent-Length: -1",
    "unicode-digit": b"POST /notify HTTP/1.1\r\nContent-Length: \xb2",
    "folded": b"GET / HTTP/1.1\r\nA: b\r\n c: d",
    "space-before-colon": b"GET / HTTP/1.1\r\nHost : pod",
    "bare-newline": b"GET / HTTP/1.1\nHost: pod",
    "absolute": b"GET http://pod/ HTTP/1.1",
    "up": b"GET /../../etc/passwd HTTP/1.1",
    "tls": b"\x16\x03\x01\x02\x00\x01",
    "http-2": b"PRI * HTTP/2.0",
    "nothing": b"",
}
_JSON = {
    "deep": b"[" * 5000,
    "deep-object": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "huge-integer": b'{"epoch":' + b"9" * 5000 + b"}",
    "nan": b'{"epoch":NaN}',
    "float": b'{"epoch":1e999}',
    "surrogate": b'{"bundle":"\\ud800"}',
    "not-utf-8": b'{"bundle":"\xff"}',
    "bom": b"\xef\xbb\xbf{}",
    "duplicate": b'{"epoch":1,"epoch":2}',
    "null": b"null",
    "nul": b'{"bundle":"\\u0000"}',
    "empty": b"",
}


def _hostile(document: bytes) -> dict[str, bytes]:
    """Return a valid document with one thing wrong each."""
    whole = json.loads(document)
    first = next(iter(whole))
    return {
        "unknown-field": json.dumps({**whole, "x": 1}).encode(),
        "missing-field": json.dumps({key: value for key, value in whole.items() if key != first}).encode(),
        "twice": document[:-1] + b"," + document[1:],
        "re-spaced": json.dumps(whole, indent=1).encode(),
        "cut": document[: len(document) // 2],
    }


_LINKS = ("cycle_of_two", "cycle_of_three", "each_other", "leaves_by_another", "ancestor_by_another")


def _tars() -> dict[str, bytes]:
    through = tar(link(b"l", b"m"), link(b"m", b"n/f"), link(b"n", b"o"), member(b"o/f"))
    links = {f"link-{name}": hostile_names.LINKS[name][0] for name in _LINKS}
    return {"links-through-links": through, **links} | {
        f"{row}-{variant}": data
        for row, rows in hostile_tars.ROWS.items()
        for variant, (data, _) in list(rows.items())[:: max(1, len(rows) // 5)]
        if len(data) <= 6000
    }


def _frames() -> dict[str, bytes]:
    return {
        f"{row}-{variant}": data
        for row, rows in hostile_frames.ROWS.items()
        for variant, (data, _) in list(rows.items())[::3]
        if len(data) <= 4500
    }


def _deltas() -> dict[str, bytes]:
    """Return deltas from the golden base."""
    base, tree = content.entries(content.BASE), content.entries(content.FILES)
    return {
        "nothing-changes": deltas.make(base, base),
        "removes-nothing": deltas.make(base, tree, removed=[]),
        "removes-what-is-not-there": deltas.make(base, tree, removed=["z"]),
        "holds-what-is-there": deltas.make(base, tree, entries=base),
        "no-prefix": deltas.make(base, tree, prefix=[]),
        "head-with-spaces": deltas.make(base, tree, head=b'{"prefix": [], "removed": []}'),
        "body-alone": frame((GOLDEN / "delta.tar").read_bytes()),
    }


def make() -> dict[str, dict[str, bytes]]:
    """Return all seeds by parser and name, those that were found aside."""
    documents = {
        "release": envelope.parse((GOLDEN / "release.json").read_bytes(), "seed").payload,
        "pointer": envelope.parse((GOLDEN / "pointer.json").read_bytes(), "seed").payload,
        "trust": (GOLDEN / "trust.json").read_bytes(),
        "state": json.dumps(_STATE, separators=(",", ":"), sort_keys=True).encode(),
    }
    made = {name: {"valid": raw, **_hostile(raw)} for name, raw in documents.items()}
    signed = {name: (GOLDEN / f"{name}.json").read_bytes() for name in ("release", "pointer")}
    made["envelope"] = {**signed, **_hostile(signed["pointer"]), **_JSON}
    made["tar"] = {"valid": (GOLDEN / "archive.tar").read_bytes(), **_tars()}
    made["archive"] = {"valid": (GOLDEN / "archive.tar.zst").read_bytes()}
    made["archive"] |= {name: frame(data) for name, data in list(_tars().items())[::4]}
    made["delta"] = {"valid": (GOLDEN / "delta.tar.zst").read_bytes(), **_deltas()}
    made["frame"] = {"valid": frame(b"hello"), **_frames()}
    made["notification"] = _HEADS
    return made


def stored() -> dict[str, dict[str, bytes]]:
    """Read all committed seeds by parser and name."""
    return {
        directory.name: {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
        for directory in sorted(HERE.iterdir())
    }


def main() -> None:
    """Write what is missing."""
    for parser, seeds in make().items():
        (HERE / parser).mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            path = HERE / parser / name
            if not path.exists():
                path.write_bytes(data)


if __name__ == "__main__":
    main()
