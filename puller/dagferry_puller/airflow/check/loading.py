"""Inside the sandbox: load a DAGs folder as Airflow's DAG processor does, each file in a process of its own.

A file that ends, kills or fills its process is a finding about that file, and the next one is loaded. What the code of
a file can lie about is that file alone: its process has no way to the pipe that leads outside, only to a file
in memory that is read once it is dead.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagferry_puller.airflow.check import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_puller.airflow.check.inside import Report

MAX_RESULT = 1 << 20  # bytes about one file
_TEXT = 8000  # characters of a traceback
_IMPORT = re.compile(rb"^[ \t]{0,40}(?:from|import) (airflow(?:\.[a-zA-Z0-9_]{1,80}){1,10})", re.MULTILINE)


def load_tree(orders: dict[str, Any], report: Report) -> None:
    """Load every file that Airflow would.

    Args:
        orders: ``directory`` (the DAGs folder), ``first`` (directories of the tree that go first in PYTHONPATH),
            ``home``, ``network``, ``file_seconds`` (the time of one file).
        report: gets ``airflow`` (its version), ``at`` before each file, ``file``, ``ended`` and ``result`` after it;
            ``tree`` if the folder cannot be walked; ``failed`` if Airflow itself cannot be used.
    """
    try:
        kind, version = _dagbag()
    except BaseException as error:  # noqa: BLE001 - a plugin or setting of the image may raise anything
        report.send({"failed": f"Airflow cannot be loaded: {_last(error)}"})
        return
    report.send({"airflow": version})
    try:
        paths = _files(kind, orders["directory"])
    except Exception as error:  # noqa: BLE001 - a link that leads in circles is a RuntimeError
        report.send({"tree": _last(error)})
        return
    _warm(paths)
    gc.collect()
    gc.freeze()  # the children leave these pages shared
    for path in paths:
        report.send({"at": path})
        ended, result = _apart(kind, path, orders, report)
        report.send({"file": path, "ended": ended, "result": result})


def _dagbag() -> tuple[Any, str]:
    from airflow import __version__  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    try:
        from airflow.dag_processing.dagbag import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
            DagBag,
        )
    except ImportError:  # before 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    return DagBag, str(__version__)


def _warm(paths: list[str]) -> None:
    """Import what the files take from Airflow once, as its DAG processor does; on 2.11 it is a second for each file.

    The tree is not in this process's ``sys.path``: none of its code can be meant.
    """
    names = {"airflow.serialization.serialized_objects"}
    for path in paths:
        with suppress(OSError), open(path, "rb") as file:
            names |= {name.decode() for name in _IMPORT.findall(file.read(MAX_RESULT))}
    for name in sorted(names):
        with suppress(BaseException):  # the file that asks for it will say so
            importlib.import_module(name)


def _last(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_TEXT]


def _files(kind: Any, directory: str) -> list[str]:
    """Return what Airflow's own walk finds: ``.airflowignore``, safe mode, archives."""
    found: list[str] = []

    class Lister(kind):  # type: ignore[misc,unused-ignore]
        def process_file(self, filepath: str, *_: object, **__: object) -> list[object]:
            found.append(str(filepath))
            return []

    Lister(directory)
    return sorted(found)


def _apart(kind: Any, path: str, orders: dict[str, Any], report: Report) -> tuple[str | None, str]:
    """Load one file in a child; returns how it ended too early, or None, and what it wrote."""
    result = os.memfd_create("result")
    try:
        child = os.fork()
        if not child:
            os.close(report.descriptor)
            _child(kind, path, orders, result)
        ended = _wait(child, orders["file_seconds"])
        _end_all()
        return ended, os.pread(result, MAX_RESULT + 1, 0).decode("utf-8", "replace")
    finally:
        os.close(result)


def _child(kind: Any, path: str, orders: dict[str, Any], result: int) -> None:
    try:
        os.setsid()
        kernel.die_with_parent()
        kernel.landlock((orders["home"], "/dev/shm"), network=orders["network"])  # noqa: S108
        kernel.hide_memory(hidden=False)  # its own /proc/self
        _enter(orders)
        found = json.dumps(load_file(kind, path)).encode("utf-8")
        while found:
            found = found[os.write(result, found) :]
        os._exit(0)
    finally:
        os._exit(70)


def _enter(orders: dict[str, Any]) -> None:
    """Make the tree importable, as it is in Airflow: the DAGs folder at the end, PYTHONPATH at the beginning."""
    from airflow import settings  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    folder, first = orders["directory"], orders["first"]
    settings.DAGS_FOLDER = os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = folder
    os.environ["PYTHONPATH"] = os.pathsep.join([*first, *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.path[:0] = first
    sys.path.append(folder)


def load_file(kind: Any, path: str) -> dict[str, Any]:
    """Load and serialize one file's DAGs in this process.

    Returns:
        ``dags``: their ids; ``errors``: objects of ``file`` and ``text``.
    """
    errors: dict[str, str] = {}
    ids: list[str] = []
    try:
        bag = kind(path, collect_dags=False)
        bag.process_file(path, only_if_updated=False, safe_mode=_safe_mode())
        errors |= {str(file): str(text) for file, text in bag.import_errors.items()}
        ids = [str(name) for name in bag.dags]
        errors |= dict(_unserializable(bag))
    except BaseException:  # noqa: BLE001 - SystemExit, too: it ends the DAG processor's child, and the DAGs are gone
        errors.setdefault(path, traceback.format_exc())
    return {"dags": ids, "errors": [{"file": file, "text": text[-_TEXT:]} for file, text in errors.items()]}


def _safe_mode() -> bool:
    from airflow.configuration import conf  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    return bool(conf.getboolean("core", "dag_discovery_safe_mode"))  # it counts inside of archives


def _unserializable(bag: Any) -> Iterator[tuple[str, str]]:
    """Yield file and error of each DAG that Airflow could not store; it shows those as import errors, too."""
    from airflow.serialization import serialized_objects  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    serializer = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    for dag in bag.dags.values():
        try:
            serializer.to_dict(dag)
        except Exception:  # noqa: BLE001 - whatever a DAG's own objects raise
            yield str(dag.fileloc), traceback.format_exc()


def _wait(child: int, seconds: float) -> str | None:
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                return f"signal {-code}" if code < 0 else f"exit {code}" if code else None
        return "timeout"
    finally:
        os.close(ended)


def _end_all() -> None:
    """Kill what a file left running, and wait for it."""
    if os.getpid() != 1:
        while kernel.kill_children():
            time.sleep(0.001)
        return
    with suppress(ProcessLookupError):  # all of this process namespace, at one blow
        os.kill(-1, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
