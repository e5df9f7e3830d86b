"""What a puller's ``/status`` says, as small as it may be."""

from __future__ import annotations

import json
from typing import Any

GOOD: dict[str, Any] = {
    "format": 1,
    "host": "pod-1",
    "program": "0.1",
    "mode": "run",
    "role": "owner",
    "bundle": "etl",
    "channel": "main",
    "ready": True,
    "revoked": None,
    "damaged": False,
    "alarms": 0,
    "refusals": {"expired": 1},
    "seen": {"epoch": 1, "sequence": 2, "payload_digest": "2" * 64},
    "problem": None,
    "period": 5.0,
    "last_attempt": "2026-11-25T12:00:00.000Z",
    "last_success": None,
    "now": "2026-11-25T12:00:01.000Z",
    "live": {
        "version": f"{'a' * 40}-{'b' * 64}",
        "commit": "a" * 40,
        "release": "b" * 64,
        "held": False,
        "since": None,
        "epoch": 1,
        "sequence": 2,
        "pointer": "2" * 64,
        "issued": None,
        "more": [1.5],
    },
}


def a_status(**changes: Any) -> bytes:
    """Return a puller's answer with fields changed."""
    return json.dumps(GOOD | changes).encode()


def a_live(version: str, since: str = "2026-01-01T00:00:00.000Z") -> dict[str, Any]:
    """Return its ``live`` for a version id."""
    commit, _, release = version.partition("-")
    return {**GOOD["live"], "version": version, "commit": commit, "release": release, "since": since}
