"""The pin for Airflow 2.10 and 2.11: each process that parses or runs DAGs sees one version for its whole life.

Two lines in ``airflow_local_settings.py`` (``airflowLocalSettings`` of the official chart) switch it on::

    from dagferry_puller.airflow import pin
    pin.install()

Behind a plain link a swap can fall between two imports. So, once in a process and before any DAG code is imported, the
link is resolved and the version leased; from there on modules, data files, templates and scripts come from the
version's own directory. What Airflow records (``fileloc``, import errors, module names) stays the path through the
link.

- Pinned are the commands ``airflow dags …`` and ``airflow tasks …`` at their start, and each forked or spawned child
  (DAG file processor, task of LocalExecutor or Celery) at its first parse. What a pinned process starts sees the same.
- Never pinned are scheduler, webserver, triggerer, Celery worker and the manager of the DAG file processors themselves:
  they live for weeks. The manager lists the folder inside one leased version.
- It fails safe: on anything unexpected it logs an error and leaves Airflow with the plain link.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from dagferry_puller.airflow import hooks, imports, process

if TYPE_CHECKING:
    from types import ModuleType

KNOWN = ("2.10.", "2.11.")
_SHORT_LIVED = ("dags", "tasks")  # of ``airflow <command>``; all others may be services

log = logging.getLogger("dagferry.pin")


def install() -> None:
    """Switch the pin on in this process and its children. Never raises: Airflow must start without it."""
    try:
        version = importlib.import_module("airflow").__version__
        if not version.startswith(KNOWN):
            log.error("the pin is off: it knows Airflow 2.10 and 2.11, this is %s", version)
            return
        _install(importlib.import_module("airflow.settings"))
    except Exception:
        process.give_up()
        log.exception("the pin is off: DAGs are read through the link, a swap can mix two versions")


def _install(settings: ModuleType) -> None:
    this = process.this
    if this.folder:
        return
    this.settings, this.installed = settings, os.getpid()
    wanted = process.inherit()
    this.folder = settings.DAGS_FOLDER
    imports.after_import({name: functools.partial(_patch, name) for name in hooks.PATCHES})
    if wanted or (sys.argv[1:2] and sys.argv[1] in _SHORT_LIVED):
        process.pin(wanted)


def _patch(name: str, module: ModuleType) -> None:
    try:
        hooks.PATCHES[name](module)
    except Exception:  # Airflow's module is whole without it
        process.give_up()
        log.exception("the pin is off: it cannot change %s as it should", name)
