"""The sandbox from outside: a process with few rights, little environment and a deadline, whose words are hostile."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dagferry_puller.airflow.check import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LINE = 8 << 20  # bytes of one message: a result, escaped
MAX_WORDS = 64 << 20  # bytes of all messages
MAX_MESSAGES = 300_000  # the puller takes at most 200,000 files by default
_GOODBYE = 5.0  # seconds to end by itself, once all is said
_ORPHANS = 10.0  # seconds to end what got away from its parent

# What code at parse time may need and what is no secret; everything else needs --env.
_KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "PYTHONUTF8")
_KEPT_CORE = (
    "ALLOWED_DESERIALIZATION_CLASSES",
    "DAGBAG_IMPORT_TIMEOUT",
    "DAG_DISCOVERY_SAFE_MODE",
    "DAG_IGNORE_FILE_SYNTAX",
    "DEFAULT_TIMEZONE",
    "EXECUTOR",
    "MIGHT_CONTAIN_DAG_CALLABLE",
    "PLUGINS_FOLDER",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the sandbox gives to the code in it.

    Attributes:
        memory: bytes of address space of each process.
        file_seconds: the time of one file that is loaded.
        network: whether the network stays.
        first: directories that the code finds first in PYTHONPATH; the code alone, not what builds the sandbox.
    """

    memory: int = 4 << 30
    file_seconds: float = 50.0
    network: bool = False
    first: tuple[str, ...] = ()


@dataclass(slots=True)
class Words:
    """What came out of the sandbox.

    Attributes:
        messages: objects, in order, nothing else about them checked.
        at: the file that was last begun.
        problem: why it did not come to its end: ``timeout``, or how it died; None: it did.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    at: str | None = None
    problem: str | None = None


def reduced(given: Mapping[str, str], environ: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the environment for code that nobody trusts yet.

    Args:
        given: what ``--env`` adds.
        environ: this process's.
        directory: the tree. PYTHONPATH and the plugins lose what lies in it: that would run before the sandbox is up.
    """
    core = tuple(f"AIRFLOW__CORE__{name}" for name in _KEPT_CORE)
    kept = {name: value for name, value in environ.items() if name in _KEPT + core or name.startswith("LC_")}
    home = environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow")
    plugins = kept.pop("AIRFLOW__CORE__PLUGINS_FOLDER", f"{home}/plugins")  # code of the image; DAGs may import it
    if os.path.isdir(plugins) and not _inside(plugins, directory):
        kept["AIRFLOW__CORE__PLUGINS_FOLDER"] = plugins
    paths = [*environ.get("PYTHONPATH", "").split(os.pathsep), f"{home}/config"]  # there are cluster policies
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path and not _inside(path, directory)),
        "PYTHONUSERBASE": site.getuserbase(),  # as HOME is another one
        "PYTHONDONTWRITEBYTECODE": "1",
        **given,
    }


def _inside(path: str, directory: str) -> bool:
    return f"{os.path.realpath(path)}/".startswith(f"{directory}/")


def _for_airflow(home: str) -> dict[str, str]:
    return {
        "HOME": home,
        "TMPDIR": f"{home}/tmp",  # noqa: S108 - ours alone
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": f"{home}/none",  # until the process of a file
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "True",
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "20",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/none.db",
        "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
    }


def run(mode: str, directory: str, environ: Mapping[str, str], terms: Terms, deadline: float) -> Words:
    """Compile or load a directory in the sandbox.

    Args:
        mode: ``compile`` or ``load``.
        directory: absolute, without links.
        environ: see ``reduced``.
        terms: see there.
        deadline: on the monotonic clock; everything inside is killed then.

    Returns:
        All that it said; it never raises for what happens inside.
    """
    with _empty_home() as home:
        kernel.adopt_orphans()
        spared = kernel.children()
        orders = {"mode": mode, "directory": directory, "home": home, "parent": os.getpid(), **asdict(terms)}
        process, reader = _start({**orders, "seconds": max(0.1, deadline - time.monotonic())}, environ, home)
        with open(reader, "rb", buffering=0):
            try:
                words = _listen(process, reader, deadline)
                if not words.problem:
                    with suppress(subprocess.TimeoutExpired):  # Airflow tidies up at its exit
                        process.wait(_GOODBYE)
                return words
            finally:
                _end(process, spared)


def _start(orders: dict[str, Any], environ: Mapping[str, str], home: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the process inside; returns it and the pipe that it reports on."""
    reader, writer = os.pipe()
    module, words = "dagferry_puller.airflow.check.inside", json.dumps({**orders, "pipe": writer})
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**environ, **_for_airflow(home)},
            cwd=home,
            pass_fds=(writer,),
            start_new_session=True,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, reader


@contextmanager
def _empty_home() -> Iterator[str]:
    home = os.path.realpath(tempfile.mkdtemp(prefix="dagferry-check-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _listen(process: subprocess.Popen[bytes], reader: int, deadline: float) -> Words:
    words, rest, total = Words(), b"", 0
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        piece = os.read(reader, 65536) if left > 0 and poll.poll(left * 1000) else None
        total += len(piece or b"")
        *lines, rest = (rest + (piece or b"")).split(b"\n")
        if total > MAX_WORDS or len(rest) > MAX_LINE or not all(_take(line, words) for line in lines):
            words.problem = "it said too much, or nonsense"
        elif words.messages and "end" in words.messages[-1]:
            return words
        elif piece is None:
            words.problem = "timeout"
        elif not piece:
            words.problem = _how(process)
        if words.problem:
            return words


def _take(line: bytes, words: Words) -> bool:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(message, dict):
        return False
    if isinstance(message.get("at"), str):
        words.at = message["at"]
    else:
        words.messages.append(message)
    return len(words.messages) < MAX_MESSAGES


def _how(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "it closed its report"
    return f"killed by signal {-code}" if code < 0 else f"ended with {code}"


def _end(process: subprocess.Popen[bytes], spared: frozenset[int]) -> None:
    """Kill all that is inside: the group, and with it a process namespace; else every descendant, one by one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _ORPHANS
    while kernel.kill_children(spared=spared) and time.monotonic() < deadline:
        time.sleep(0.001)
