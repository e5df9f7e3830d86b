"""The memory: one encoding, and a refusal for anything that is not it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import state
from dagferry_puller.root import Root
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.rules import Seen

if TYPE_CHECKING:
    from pathlib import Path

VERSION = f"{'a' * 40}-{'b' * 64}"
OLDER = f"{'c' * 40}-{'d' * 64}"
FULL = state.State(
    seen={"etl/main": Seen(2, 7, "e" * 64), "etl/canary": Seen(1, 1, "f" * 64)},
    stamp=1_800_000_000,
    live=state.Live(VERSION, OLDER, "2026-01-01T00:00:00.000Z"),
    left={OLDER: 1_700_000_000},
)


@pytest.mark.parametrize("value", [state.State(), FULL])
def test_state_survives_its_encoding(value: state.State) -> None:
    assert state.parse(value.encode()) == value


def changed(**changes: Any) -> bytes:
    document = json.loads(FULL.encode())
    document.update(changes)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        FULL.encode()[:-1],
        changed(format="1"),
        changed(more=1),
        changed(stamp=-1),
        changed(stamp=None),
        changed(seen={"etl": {"epoch": 1, "sequence": 1, "payload": "0" * 64}}),
        changed(seen={"etl/main": {"epoch": 0, "sequence": 1, "payload": "0" * 64}}),
        changed(seen={"etl/main": {"epoch": 1, "sequence": 1, "payload": "0" * 63}}),
        changed(seen={"etl/main": {"epoch": 1, "sequence": 1, "payload": "0" * 64, "x": 1}}),
        changed(seen={"../main": {"epoch": 1, "sequence": 1, "payload": "0" * 64}}),
        changed(live={"version": "x", "previous": None, "since": "2026-01-01T00:00:00.000Z"}),
        changed(live={"version": VERSION, "previous": None, "since": "now"}),
        changed(left={"x": 1}),
        changed(left={VERSION: "1"}),
    ],
)
def test_damaged_state_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        state.parse(raw)
    assert caught.value.reason is Reason.MALFORMED


def test_state_of_a_newer_puller_is_not_guessed_at() -> None:
    with pytest.raises(Refused) as caught:
        state.parse(changed(format=2))
    assert caught.value.reason is Reason.UNKNOWN_TYPE


def test_endless_state_is_refused(tmp_path: Path) -> None:
    with Root(str(tmp_path)) as root:
        (tmp_path / ".dagferry/state.json").write_bytes(b" " * (2 << 20))
        with pytest.raises(Refused) as caught:
            state.load(root)
    assert caught.value.reason is Reason.OVERSIZE


def test_missing_state_is_an_empty_one(tmp_path: Path) -> None:
    with Root(str(tmp_path)) as root:
        assert state.load(root) == state.State()
        state.save(root, FULL)
        assert state.load(root) == FULL


def test_newest_memory_wins() -> None:
    low, high = Seen(1, 9, "0" * 64), Seen(2, 1, "1" * 64)
    assert state.newest(low, None, high) == high
    assert state.newest(None) is None
