"""The process that is pinned: when, to which version, and what that changes in it. Standard library alone.

It is entered once, before any DAG code is imported. Forked children inherit it; what it executes finds it in its
environment.
"""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagferry_puller import leases
from dagferry_puller.airflow import place
from dagferry_puller.airflow.place import Place
from dagferry_puller.root import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

MARK = "DAGFERRY_PINNED"  # a Place as JSON, for what a pinned process executes
DAGS_FOLDER = "AIRFLOW__CORE__DAGS_FOLDER"
_FOLDERS = (DAGS_FOLDER, "AIRFLOW__CORE__PLUGINS_FOLDER", "PYTHONPATH")
_ATTEMPTS = 100  # a swap and a retirement would have to fall into each of them

log = logging.getLogger("dagferry.pin")


@dataclass
class Process:
    """This process.

    Attributes:
        folder: Airflow's DAGs folder, through the link; empty: the pin is off.
        settings: the module ``airflow.settings``.
        installed: pid of the process that switched the pin on.
        tried: pid of the process that tried to pin itself; it does so once.
        pin: what it is pinned to.
        left: what it was pinned to before it gave up: paths may have been made of that.
        lease: ends with the process.
        forgotten: modules, kept as functions of theirs may still be called.
    """

    folder: str = ""
    settings: Any = None
    installed: int = 0
    tried: int = 0
    pin: Place | None = None
    left: Place | None = None
    lease: ExitStack = field(default_factory=ExitStack)
    forgotten: list[ModuleType] = field(default_factory=list)


this = Process()


def take() -> Place | None:
    """Return this process's version; a child of an Airflow process that has none yet is pinned now. Never raises."""
    is_child = os.getpid() != this.installed or multiprocessing.parent_process() is not None
    if this.pin is None and this.folder and is_child and this.tried != os.getpid():
        pin()
    return this.pin


def give_up() -> None:
    """Go back to the link: from here on paths are what Airflow makes of its setting."""
    if this.pin:
        this.settings.DAGS_FOLDER = os.environ[DAGS_FOLDER] = this.folder
    this.pin, this.left, this.folder = None, this.pin, ""


def pin(wanted: str | None = None) -> None:
    """Pin this process; logs an error and leaves it with the link if that does not work.

    Args:
        wanted: a version id; None, or if it is gone: the live one.
    """
    this.tried = os.getpid()
    try:
        found = hold(this.folder, this.lease, wanted)
        if found is None:
            log.warning("not pinned: %s leads to no version of dagferry's that can be leased", this.folder)
            return
        enter(found)
        this.pin = found
        log.info("pinned to version %s", found.version)
    except Exception:  # a DAG that is read through the link is better than none
        log.exception("not pinned: DAGs are read through the link, a swap can mix two versions")


def hold(folder: str, stack: ExitStack, wanted: str | None = None) -> Place | None:
    """Lease the version that a folder lies in; None if it lies in none of ours.

    Where locks do not work (NFS without them) the puller's grace time alone protects the version; that is logged.

    Args:
        folder: absolute.
        stack: holds the lease.
        wanted: the version to take instead, if it is still there.
    """
    for _ in range(_ATTEMPTS):
        found = place.find(folder)
        if found is None:
            return None
        if wanted is not None:
            found = found._replace(version=wanted)
        try:
            stack.enter_context(leases.lease(found.root, version=found.version))
            return found
        except leases.NoVersion:
            if wanted is not None:
                log.warning("version %s of the parent process is gone, the live one is used", wanted)
            wanted = None
        except OSError as error:
            log.warning("version %s cannot be leased, only the grace time keeps it: %s", found.version, error)
            return found
    return None


def glance(stack: ExitStack) -> Place | None:
    """Lease the live version for a moment; None if there is none, or on any error, which is logged."""
    try:
        return hold(this.folder, stack) if this.folder else None
    except Exception:
        log.exception("the DAGs folder is read through the link")
        return None


def live() -> str | None:
    """Return the version that the DAGs folder leads to now; None if it leads to none of ours, or on any error."""
    try:
        found = place.find(this.folder) if this.folder else None
    except Exception:  # noqa: BLE001 - asked for every second: reading through the link will say what is wrong
        return None
    return found.version if found else None


def enter(pin: Place) -> None:
    """Point the process's search path, modules and settings at the version, and what its children get of them."""
    moves = {entry: real for entry in sys.path if os.path.isabs(entry) and (real := pin.pinned(entry))}
    sys.path[:] = [moves.get(entry, entry) for entry in sys.path]
    old = (pin.link, os.path.join(pin.root, VERSIONS), *(entry for entry, real in moves.items() if entry != real))
    for entry in [entry for entry in sys.path_importer_cache if _is_below(entry, old)]:
        del sys.path_importer_cache[entry]
    importlib.invalidate_caches()
    _forget_modules(old, pin)
    settings = this.settings
    os.environ.setdefault(DAGS_FOLDER, settings.DAGS_FOLDER)  # where Airflow's configuration looks first
    for name in set(_FOLDERS) & os.environ.keys():
        os.environ[name] = os.pathsep.join(pin.pinned(part) or part for part in os.environ[name].split(os.pathsep))
    os.environ[MARK] = json.dumps(pin)
    settings.PLUGINS_FOLDER = pin.pinned(settings.PLUGINS_FOLDER) or settings.PLUGINS_FOLDER
    settings.DAGS_FOLDER = pin.pinned(settings.DAGS_FOLDER) or settings.DAGS_FOLDER


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return any(path == directory or path.startswith(directory + os.sep) for directory in directories)


def _forget_modules(old: tuple[str, ...], pin: Place) -> None:
    """Forget modules that a parent imported through the link (plugins, and what they import): of another version."""
    for name, module in list(sys.modules.items()):
        places = _places(module)
        stale = places and all(_is_below(p, old) and not _is_below(p, (pin.real,)) for p in places)
        if stale and not _is_running(name, module):
            this.forgotten.append(sys.modules.pop(name))


def _places(module: ModuleType) -> list[str]:
    """Return the file or the directories that a module was loaded from."""
    try:
        return [module.__file__] if isinstance(module.__file__, str) else [str(entry) for entry in module.__path__]
    except Exception:  # noqa: BLE001 - anything may stand in sys.modules
        return []


def _is_running(name: str, module: ModuleType) -> bool:
    """Tell whether a module is the program, or one whose import is under way: neither can be forgotten."""
    return name == "__main__" or bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def inherit() -> str | None:
    """Undo what a pinned parent left in the environment; returns the version id to be pinned to, if it is one."""
    mark = os.environ.pop(MARK, None)
    if mark is None:
        return None
    try:
        parent = Place(*json.loads(mark))
    except (ValueError, TypeError):
        log.warning("%s is not from a pinned process", MARK)
        return None
    settings = this.settings
    for name in set(_FOLDERS) & os.environ.keys():
        os.environ[name] = os.pathsep.join(map(parent.to_link, os.environ[name].split(os.pathsep)))
    sys.path[:] = map(parent.to_link, sys.path)
    settings.PLUGINS_FOLDER = parent.to_link(settings.PLUGINS_FOLDER)
    settings.DAGS_FOLDER = parent.to_link(settings.DAGS_FOLDER)
    return parent.version if place.is_id(parent.version) else None
