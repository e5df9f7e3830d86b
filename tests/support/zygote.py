"""Many starts of the real command, each a process of its own under strace, without paying for the interpreter.

A helper process loads the puller once; each start is a fork of it that calls the command's ``main``, with its one
worker run in the main thread, so that calls come in one order and strace counts them in one thread. strace is attached
before ``main`` begins. ``python -m support.zygote`` is that helper; ``Zygote`` is its client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support import strace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Traced:
    """A traced start that came to its end.

    Attributes:
        code: exit code; negative: the signal that killed it.
        stderr: all that it wrote.
        calls: what was recorded.
    """

    code: int
    stderr: str
    calls: list[strace.Call]


class Zygote:
    """The helper process, for one directory.

    Args:
        directory: for its files.
    """

    def __init__(self, directory: Path) -> None:
        self._log, self._stderr = directory / "strace.log", directory / "stderr.log"
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environ |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            text=True,
        )

    def start(
        self, arguments: Sequence[str], *, names: Iterable[str] = strace.CHANGING, inject: Sequence[str] = ()
    ) -> Traced:
        """Run the command with these arguments to its end."""
        names = {*names, *(fault.partition(":")[0] for fault in inject)}
        order = {
            "arguments": list(arguments),
            "strace": strace.options(self._log, names, inject),
            "stderr": str(self._stderr),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Traced(code, self._stderr.read_text(), strace.parse(self._log.read_text()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


def _child(order: dict[str, Any], go: int) -> None:
    """Be one start of the command."""
    import threading
    import traceback

    from dagferry_puller.cli import main

    os.read(go, 1)  # from here on calls are counted
    os.close(go)
    threading.Thread.start = threading.Thread.run  # type: ignore[method-assign]
    out = os.open(order["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    code = 1
    try:
        code = main(order["arguments"])
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _one(order: dict[str, Any]) -> int:
    wait, go = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(go)
        _child(order, wait)
    os.close(wait)
    tracer = subprocess.Popen([*order["strace"], "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    with tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            os.kill(pid, 9)
            raise RuntimeError(f"strace: {said}")
        os.close(go)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _serve() -> None:
    # What the command would load on its way is loaded before, so that it opens nothing but its own files.
    from dagferry_puller import cli, daemon, glance, history, once, patch, prepare, reuse  # noqa: F401
    from dagferry_shared.store import directory  # noqa: F401

    for line in sys.stdin:
        print(_one(json.loads(line)), flush=True)


if __name__ == "__main__":
    _serve()
