"""A relay for tests: the real command as a process, perhaps with names of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.pods import COMMAND, Running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def command(**settings: str) -> list[str]:
    """Return the relay's command line."""
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    return [*COMMAND, "relay", *words]


@contextmanager
def relay(
    directory: Path, *, etc: Mapping[str, Path] | None = None, environ: Mapping[str, str] | None = None, **settings: str
) -> Iterator[Running]:
    """Run a relay, with JSON logs.

    Args:
        directory: for its log.
        etc: files that it has in ``/etc`` by name, in a mount namespace of its own; needs root.
        environ: more of it.
        settings: options.
    """
    words = command(**{"listen": "127.0.0.1:0", "log_format": "json", "log_level": "debug", **settings})
    for name, file in (etc or {}).items():
        words = ["sh", "-c", f'mount --bind "$0" /etc/{name} && exec "$@"', os.fspath(file), *words]
    if etc:
        words = ["unshare", "--mount", *words]
    log = directory / "relay.log"
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, env={**os.environ, **(environ or {})})
    try:
        yield Running(process, log, http=True)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
