"""Hostile delta archives, as ``{name: (bytes, what the refusal says)}``: from BASE, released as if they led to TWO."""

from __future__ import annotations

from typing import Any

from support import deltas, handmade
from support.bundles import COMMIT_TIME, Symlink, compress, small_tree, tar_bytes

BASE: dict[str, Any] = {**small_tree("one"), "big.py": "x = 1\n" * 200, "d/e/f.py": "y\n", "to": Symlink("d/e")}


def without(*paths: str, **changes: Any) -> dict[str, Any]:
    return {path: value for path, value in BASE.items() if path not in paths} | changes


TWO = without(**{"etl.py": "VERSION = 'two'\n"})
OTHER = {"etl.py": "VERSION = 'two'\n"}
TIMES = handmade.tar(handmade.member(b"a"), handmade.member(b"b", mtime=b"%011o\0" % (COMMIT_TIME + 1)))
LONG = without(**{"big.py": "x = 1\n" * 200 + "y = 2\n"})
FRAME_BIG = len(compress(deltas.head(["big.py"], [])))
BAD: dict[str, tuple[bytes, str]] = {
    "removes what is not there": (deltas.make(BASE, TWO, removed=["nothing"]), "does not have"),
    "removes a directory": (deltas.make(BASE, TWO, removed=["lib"]), "does not have"),
    "removes the root": (deltas.make(BASE, TWO, removed=["."]), "does not have"),
    "removes out of the tree": (deltas.make(BASE, TWO, removed=["../x"]), "does not have"),
    "removes what it holds": (deltas.make(BASE, TWO, removed=["etl.py"]), "removes a path that it holds"),
    "removes twice": (deltas.make(BASE, TWO, removed=["big.py", "big.py"]), "twice"),
    "removes out of order": (deltas.make(BASE, TWO, removed=["run.sh", "big.py"]), "out of order"),
    "removes all": (deltas.make(BASE, BASE, removed=sorted(BASE, key=str.encode)), "leaves nothing"),
    "removes a target": (deltas.make(BASE, without("lib/tables.py")), "leads to nothing"),
    "holds what the base has": (deltas.make(BASE, BASE, entries={"etl.py": BASE["etl.py"]}), "just so"),
    "file below a file": (deltas.make(BASE, TWO, entries={"etl.py/x": "x"}), "parent of another"),
    "file in place of a directory": (deltas.make(BASE, TWO, entries={"lib": "x"}), "parent of another"),
    "link in place of a directory": (deltas.make(BASE, TWO, entries={"lib": Symlink("etl.py")}), "parent of another"),
    "file below a link": (deltas.make(BASE, TWO, entries={"to/x": "x"}), "parent of another"),
    "link that leaves the tree": (deltas.make(BASE, TWO, entries={"l": Symlink("../x")}), "leaves the tree"),
    "link that dangles": (deltas.make(BASE, TWO, entries={"l": Symlink("no")}), "leads to nothing"),
    "links that cycle with the base's": (
        deltas.make(BASE, TWO, entries={"lib/tables.py": Symlink("../same.py")}),
        "goes round",
    ),
    "link above itself": (deltas.make(BASE, TWO, entries={"d/up": Symlink("..")}), "contain itself"),
    "path twice": (deltas.make(BASE, TWO, tar=tar_bytes(OTHER)[:1024] + tar_bytes(OTHER)), "twice or out of order"),
    "two times": (deltas.make(BASE, TWO, tar=TIMES), "another mtime"),
    "hostile path": (deltas.make(BASE, TWO, entries={"../x": "x"}), "'..' component"),
    "device": (deltas.make(BASE, TWO, tar=handmade.tar(handmade.member(b"a", kind=b"3"))), "tar entry of type"),
    "prefix of what is not there": (deltas.make(BASE, TWO, prefix=["nothing"]), "does not have"),
    "prefix of a link": (deltas.make(BASE, TWO, prefix=["to"]), "is a symlink"),
    "prefix twice": (deltas.make(BASE, TWO, prefix=["etl.py", "etl.py"]), "twice"),
    "prefix out of order": (deltas.make(BASE, TWO, prefix=["etl.py", "big.py"]), "out of order"),
    "prefix that is not told": (compress(deltas.head([], [])) + deltas.make(BASE, LONG)[FRAME_BIG:], "damaged"),
    "body alone": (compress(tar_bytes(OTHER)), "delta"),
    "head alone": (compress(deltas.head([], [])), "zstd frame"),
    "third frame": (deltas.make(BASE, TWO) + compress(b"x"), "something follows it"),
    "byte after": (deltas.make(BASE, TWO) + b"\0", "something follows it"),
    "cut": (deltas.make(BASE, TWO)[:-1], "ends early"),
    "empty": (b"", "zstd frame"),
    "whole archive": (compress(tar_bytes(BASE)), "delta"),
    "head with spaces": (deltas.make(BASE, TWO, head=b'{"prefix":["etl.py"], "removed":[]}'), "one encoding"),
    "head with more fields": (deltas.make(BASE, TWO, head=b'{"a":[],"prefix":["etl.py"],"removed":[]}'), "one enc"),
    "head with fewer fields": (deltas.make(BASE, TWO, head=b'{"prefix":["etl.py"]}'), "lacks 'removed'"),
    "head with a field twice": (deltas.make(BASE, TWO, head=b'{"prefix":[],"prefix":[],"removed":[]}'), ""),
    "head of other types": (deltas.make(BASE, TWO, head=b'{"prefix":[7],"removed":[]}'), "not a list"),
    "head that is no object": (deltas.make(BASE, TWO, head=b"[]"), "not a JSON object"),
    "head that is not JSON": (deltas.make(BASE, TWO, head=b"removed"), "not JSON"),
    "empty head": (deltas.make(BASE, TWO, head=b""), "delta"),
    "deep head": (deltas.make(BASE, TWO, head=b"[" * 600), "delta"),
    "huge head": (compress(b" " * 10**7) + compress(tar_bytes(OTHER)), "a head larger than its base"),
}  # fmt: skip
