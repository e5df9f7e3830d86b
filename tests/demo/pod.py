"""A pod for demos and measurements: a real ``dagferry-puller run`` beside a directory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMMAND = [sys.executable, "-m", "dagferry_puller"]
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+|127\.0\.0\.1:\d+")


class Pod:
    """A context manager around one puller process; its log is kept in ``log``."""

    def __init__(self, root: Path, environ: Mapping[str, str], *options: str) -> None:
        self.root = root
        self.log: list[str] = []
        self._environ = dict(environ)
        self._options = options
        self._address = ""

    def __enter__(self) -> Self:
        command = [*COMMAND, "run", "--root", os.fspath(self.root), "--http", "127.0.0.1:0", *self._options]
        self.process = subprocess.Popen(command, env=self._environ, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.until("its address", lambda: bool(self._address))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            if not self._address and (match := _ADDRESS.search(line)):
                self._address = match[0] if match[0].startswith("http") else f"http://{match[0]}"

    @property
    def live(self) -> str | None:
        """Id of the version that the link names, None if there is none."""
        try:
            return Path(os.readlink(self.root / "current")).name
        except FileNotFoundError:
            return None

    def until(self, what: str, condition: Callable[[], bool], seconds: float = 20) -> float:
        """Wait for a condition; returns the seconds it took. RuntimeError with the log if it takes too long."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > seconds or self.process.poll() is not None:
                raise RuntimeError(f"the puller did not reach {what}:\n" + "\n".join(self.log))
            time.sleep(0.005)
        return time.monotonic() - start

    def get(self, path: str) -> str:
        """Return what an endpoint answers."""
        with urllib.request.urlopen(self._address + path, timeout=5) as response:
            return response.read().decode()

    def status(self) -> dict[str, object]:
        """Return the status document."""
        return json.loads(self.get("/status"))
