"""``make fuzz SECONDS=120``: coverage-guided fuzzing (atheris) of every parser of hostile bytes.

Each parser runs in a process of its own, for the given time, from seeds that are valid documents. A finding is any
exception but the refusal type, over 512 MiB of memory, or an input that takes over 10 s. Findings are written to
``.cache/fuzz/<parser>/`` and end the run with exit 1; each becomes a regression test.

    python tests/fuzz/fuzz.py --seconds 120 [--parser NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
sys.path.insert(0, os.fspath(ROOT / "tests"))
CACHE = ROOT / ".cache" / "fuzz"
GOLDEN = ROOT / "tests" / "golden"
MEMORY_MIB = 512
INPUT_SECONDS = 10
MAX_INPUT = 64 * 1024  # bytes

NAMES = ("envelope", "release", "pointer", "trust", "state", "archive", "tar", "notification")


def parsers() -> dict[str, Callable[[bytes], object]]:
    """Return what is fuzzed; imported under atheris' instrumentation."""
    from dagferry_puller import httpwire, state
    from dagferry_shared import envelope, pointer, release, trust
    from dagferry_shared.archive.reader import Limits, read_archive, read_tar
    from dagferry_shared.errors import Refused

    limits = Limits(max_files=10_000, max_bytes=64 * 1024**2)

    def refusing(parse: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def run(data: bytes) -> None:
            with contextlib.suppress(Refused):
                parse(data)

        return run

    def http(data: bytes) -> None:
        with contextlib.suppress(httpwire.Bad):
            _ = httpwire.parse_head(data).length

    return {
        "envelope": refusing(lambda data: envelope.parse(data, "x")),
        "release": refusing(lambda data: release.parse(envelope.Envelope(release.PAYLOAD_TYPE, data, ()))),
        "pointer": refusing(lambda data: pointer.parse(envelope.Envelope(pointer.PAYLOAD_TYPE, data, ()))),
        "trust": refusing(trust.parse),
        "state": refusing(state.parse),
        "archive": refusing(lambda data: read_archive(io.BytesIO(data), limits)),
        "tar": refusing(lambda data: read_tar([data] if data else [], limits)),
        "notification": http,
    }


def seeds() -> dict[str, list[bytes]]:
    """Return valid inputs of each parser, from the golden files."""
    from dagferry_shared import envelope

    release, pointer = (GOLDEN / "release.json").read_bytes(), (GOLDEN / "pointer.json").read_bytes()
    version = b"a" * 40 + b"-" + b"b" * 64
    state = (
        b'{"format":1,"left":{"%s":1700000000},"live":{"previous":null,"since":"2026-01-01T00:00:00.000Z",' % version
    )
    state += b'"version":"%s"},"seen":{"b/main":{"epoch":1,"payload":"%s","sequence":7}},"stamp":1}' % (
        version,
        b"c" * 64,
    )
    notify = b"POST /notify HTTP/1.1\r\nHost: pod\r\nContent-Length: 14\r\nAuthorization: Bearer t"
    return {
        "envelope": [release, pointer],
        "release": [envelope.parse(release, "seed").payload],
        "pointer": [envelope.parse(pointer, "seed").payload],
        "trust": [(GOLDEN / "trust.json").read_bytes()],
        "state": [state],
        "archive": [(GOLDEN / "archive.tar.zst").read_bytes()],
        "tar": [(GOLDEN / "archive.tar").read_bytes()],
        "notification": [notify, b"GET /metrics HTTP/1.1\r\nHost: pod"],
    }


def fuzz_one(name: str, arguments: list[str]) -> None:
    """Fuzz one parser in this process until libFuzzer's limits end it."""
    import atheris

    with atheris.instrument_imports(include=["dagferry_shared", "dagferry_puller"]):
        parse = parsers()[name]
    atheris.Setup([sys.argv[0], *arguments], parse)
    atheris.Fuzz()


def run(name: str, seconds: int) -> bool:
    """Fuzz one parser in a process of its own; prints its figures and returns whether nothing was found."""
    corpus = CACHE / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={INPUT_SECONDS}"]
    places = [f"-artifact_prefix={CACHE / name}/finding-", f"-max_len={MAX_INPUT}", "-print_final_stats=1"]
    command = [sys.executable, __file__, "--child", name, "--", *limits, *places, os.fspath(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    log = done.stderr + done.stdout
    (CACHE / name / "log").write_text(log)
    figures = {key: found[-1] for key in ("cov", "ft") if (found := re.findall(rf"\b{key}: (\d+)", log))}
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", log))
    first = (re.findall(r"\bcov: (\d+)", log) or ["?"])[0]
    runs, peak = stats.get("number_of_executed_units", "?"), stats.get("peak_rss_mb", "?")
    verdict = "no finding" if done.returncode == 0 else f"FINDING (exit {done.returncode}), see {CACHE / name}"
    print(
        f"{name:<13} {runs:>9} executions, coverage {first} -> {figures.get('cov', '?')}, {peak} MiB, {verdict}",
        flush=True,
    )
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--parser", choices=NAMES)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        fuzz_one(asked.child, asked.arguments)
        return
    names = [asked.parser] if asked.parser else list(NAMES)
    good = [run(name, asked.seconds) for name in names]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
