"""JSON bombs in every document that a puller reads, signed ones included: a stolen key can sign a bomb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import options, prepare
from dagferry_puller.exits import ConfigError
from dagferry_shared import envelope, pointer, release
from dagferry_shared.errors import Reason
from support import bombs
from support.attacker import Target, up_to_release
from support.bundles import Published, small_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = b'{"a":1}'
INSIDE, AROUND = tuple(bombs.inside(EXAMPLE)), tuple(bombs.around(EXAMPLE))
ALL = (*INSIDE, *(f"whole: {name}" for name in AROUND))


def bomb(name: str, document: bytes) -> bytes:
    """Make a bomb of a document by its name."""
    whole = name.removeprefix("whole: ")
    return bombs.inside(document)[name] if whole == name else bombs.around(document)[whole]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path)
    yield made
    made.close()


def signed_pointer(target: Target, payload: bytes) -> bytes:
    return envelope.sign(pointer.PAYLOAD_TYPE, payload, [target.simulator.keys.pointer]).encode()


def signed_release(target: Target, payload: bytes) -> bytes:
    return envelope.sign(release.PAYLOAD_TYPE, payload, [target.simulator.keys.release]).encode()


def put_pointer(target: Target, raw: bytes) -> None:
    target.simulator.put(target.simulator.layout.pointer("main"), raw)


def next_pointer(target: Target, published: Published) -> pointer.Pointer:
    return target.simulator.make_pointer(published.release, envelope.digest(published.release_raw))


@pytest.mark.parametrize("name", ALL)
def test_bomb_signed_as_a_pointer_is_refused(target: Target, name: str) -> None:
    first = target.warm()
    put_pointer(target, signed_pointer(target, bomb(name, next_pointer(target, first).payload())))
    target.refuses(Reason.MALFORMED)


@pytest.mark.parametrize("name", ALL)
def test_bomb_signed_as_a_release_is_refused(target: Target, name: str) -> None:
    target.warm()
    made, _ = target.simulator.make_release(small_tree("two"), "two")
    raw = signed_release(target, bomb(name, made.payload()))
    target.simulator.put(target.simulator.layout.release(envelope.digest(raw)), raw)
    entry = target.simulator.make_pointer(made, envelope.digest(raw))
    fake = target.simulator.point(made, raw, entry)
    target.refuses(Reason.MALFORMED, fetched=up_to_release(fake))


@pytest.mark.parametrize("name", ALL)
def test_bomb_as_an_envelope_is_refused(target: Target, name: str) -> None:
    first = target.warm()
    put_pointer(target, bomb(name, first.raw))
    target.refuses(Reason.MALFORMED)


@pytest.mark.parametrize("name", bombs.OVERSIZE)
def test_oversize_bomb_is_refused_unread(target: Target, name: str) -> None:
    target.warm()
    put_pointer(target, bombs.oversize(name))
    target.refuses(Reason.OVERSIZE)


def test_harmless_field_that_nobody_knows_is_ignored(target: Target) -> None:
    """The control: what the bombs are put into goes through with anything harmless in it."""
    first = target.warm()
    payload = next_pointer(target, first).payload()[:-1] + b',"zzz":{"a":["x",null,true,-1]}}'
    put_pointer(target, signed_pointer(target, payload))
    target.puller.sync()
    seen = target.seen()
    assert seen is not None
    assert seen.sequence == 2


FIELDS = ("sequence", "epoch", "release", "commit", "channel", "expires", "zzz")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
def test_field_that_is_told_twice_is_refused(target: Target, field: str, place: str, escaped: bool) -> None:
    """One reader would take the first value, another the last."""
    first = target.warm()
    document = json.loads(next_pointer(target, first).payload()) | {"zzz": 1}
    name = f"\\u{ord(field[0]):04x}{field[1:]}" if escaped else field
    again = f'"{name}":{json.dumps(document[field])}'
    text = json.dumps(document)
    doubled = f"{{{again},{text[1:]}" if place == "before" else f"{text[:-1]},{again}}}"
    put_pointer(target, signed_pointer(target, doubled.encode()))
    target.refuses(Reason.MALFORMED, text="duplicate name")


@pytest.mark.parametrize("field", FIELDS[:-1])
def test_field_in_another_spelling_does_not_count(target: Target, field: str) -> None:
    """A name in capitals is a field that nobody knows: it neither replaces the real one nor stands in for it."""
    first = target.warm()
    document = json.loads(next_pointer(target, first).payload())
    document[field.upper()] = document.pop(field)
    put_pointer(target, signed_pointer(target, json.dumps(document).encode()))
    target.refuses(Reason.MALFORMED, text=f"lacks {field!r}")


# The trust file: whoever writes it is trusted, but a write can go wrong


DEEP = "400,000 deep"
TRUST = (*ALL, DEEP, "a string of 10 MB")


def write_trust_bomb(target: Target, name: str) -> Reason:
    """Write it; returns why it is refused."""
    if name in bombs.OVERSIZE:
        target.trust.write_bytes(bombs.oversize(name))
        return Reason.OVERSIZE
    deep = b"[" * 400_000 + b"]" * 400_000
    target.trust.write_bytes(deep if name == DEEP else bomb(name, target.simulator.trust().encode()))
    return Reason.MALFORMED


@pytest.mark.parametrize("name", TRUST)
def test_bomb_as_a_trust_file_is_refused_while_running(target: Target, name: str) -> None:
    target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    target.refuses(write_trust_bomb(target, name), fetched=[])
    target.write_trust()
    target.accepts(second)


@pytest.mark.parametrize("name", TRUST)
def test_bomb_as_a_trust_file_is_a_wrong_setting_at_a_start(target: Target, name: str) -> None:
    write_trust_bomb(target, name)
    given = {"store": "file:///x", "bundle": "etl", "channel": "main", "trust": str(target.trust), "root": "/x"}
    with pytest.raises(ConfigError) as caught:
        prepare.open_trust(options.resolve("run", given, {}))
    text = str(caught.value)
    assert "--trust" in text
    assert "\n" not in text
    assert len(text) < 400


# The volume: whoever writes there can do worse, and still must not crash a puller or make it forget


VOLUME = (*ALL[::4], "a string of 10 MB", "10 MB of quotes")


def everywhere(name: str, document: bytes) -> bytes:
    return bombs.oversize(name) if name in bombs.OVERSIZE else bomb(name, document)


@pytest.mark.parametrize("name", VOLUME)
def test_bomb_as_the_state_file_forgets_nothing(target: Target, name: str) -> None:
    first = target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    target.accepts(second)
    state = target.path / ".dagferry/state.json"
    state.write_bytes(everywhere(name, state.read_bytes()))
    target.start()
    target.keeps(second)
    target.simulator.show(first)
    target.refuses(Reason.ROLLBACK)


@pytest.mark.parametrize("name", VOLUME)
def test_bomb_as_the_state_file_and_the_kept_pointer_lets_no_pointer_in(target: Target, name: str) -> None:
    """With all memory gone, a pod does not guess: what is live stays, and nothing new is followed."""
    first = target.warm()
    target.simulator.publish(small_tree("two"), "two")
    meta = target.path / ".dagferry"
    for file in (meta / "state.json", meta / "envelopes/pointer+etl+main.json"):
        file.write_bytes(everywhere(name, file.read_bytes()))
    target.start()
    target.reader.take()
    before = target.look()
    reasons = {Reason.MALFORMED, Reason.OVERSIZE}
    for _ in range(2):
        with pytest.raises(Exception, match=r"state\.json") as caught:
            target.puller.sync()
        assert getattr(caught.value, "reason", None) in reasons
    assert target.requests() == []
    assert target.look() == before
    assert before.link == f"versions/{first.version}"


@pytest.mark.parametrize("name", VOLUME)
def test_bomb_as_a_kept_release_is_fetched_again(target: Target, name: str) -> None:
    first = target.warm()
    kept = target.path / ".dagferry/envelopes" / f"{first.pointer.release}.json"
    kept.write_bytes(everywhere(name, first.release_raw))
    target.start()
    target.puller.sync()
    sight = target.look()
    assert (sight.link, sight.tree) == (f"versions/{first.version}", first.release.tree)
    assert kept.read_bytes() == first.release_raw
    assert target.recorder.snapshot().ready


# Memory and stack

_SMALL = """
import resource, sys, threading
sys.path.insert(0, "tests")
from dagferry_puller import state
from dagferry_shared import envelope, pointer, release, trust
from dagferry_shared.errors import Refused
from support import bombs

documents = [*bombs.inside(b'{"a":1}').values(), *bombs.around(b'{"a":1}').values()]
documents += map(bombs.oversize, bombs.OVERSIZE)
documents.append(b"[" * 400_000 + b"]" * 400_000)
documents.append(b'{"a":' * 30_000)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
tried = 0

def parse():
    global tried
    for raw in documents:
        wrapped = envelope.Envelope(pointer.PAYLOAD_TYPE, raw, ())
        in_release = envelope.Envelope(release.PAYLOAD_TYPE, raw, ())
        small = len(raw) < 1 << 20
        parsers = [lambda: envelope.parse(raw, "x"), lambda: trust.parse(raw), lambda: state.parse(raw)]
        parsers += [lambda: pointer.parse(wrapped), lambda: release.parse(in_release)] if small else []
        for parser in parsers:
            try:
                parser()
            except Refused:
                tried += 1

threading.stack_size(256 * 1024)
thread = threading.Thread(target=parse)
thread.start()
thread.join()
print(tried, sum(5 if len(raw) < 1 << 20 else 3 for raw in documents))
"""


def test_no_bomb_takes_more_than_64_mib_or_a_small_stack(pytestconfig: pytest.Config) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SMALL],
        cwd=pytestconfig.rootpath,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # or glibc looks for 128 MiB for a new thread at each turn
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    tried, wanted = done.stdout.split()
    assert tried == wanted
