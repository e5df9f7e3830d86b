"""What the pin changes in Airflow 2.10 and 2.11: real paths go in, paths through the link come out.

A pinned process parses a file under its version's path, so that everything next to it is of that version. Its
identity is the path through the link: ``fileloc``, keys of errors, the module's name. In a process that is not pinned
each of these does what Airflow does.
"""

from __future__ import annotations

import functools
import importlib
import os
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagferry_puller.airflow import process

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.airflow.place import Place

# All that a DAG's identity depends on; what cannot be changed there ends the pin (``pin.py``).
NEEDED = ("airflow.utils.file", "airflow.models.dag", "airflow.models.dagbag", "airflow.models.dagcode")

_OPERATOR, _METHOD = "_BasePythonVirtualenvOperator", "_execute_python_callable_in_subprocess"


def _take() -> Place | None:
    """Return the process's version, once all that is needed is in place; a child is pinned by it."""
    if process.this.folder:
        for name in NEEDED:
            importlib.import_module(name)
    return process.take()


def _to_real(path: Any) -> Any:
    return process.this.pin.to_real(str(path)) if process.this.pin and path else path


def _to_link(path: Any) -> Any:
    return process.this.pin.to_link(path) if process.this.pin and isinstance(path, str) else path


def _unpinned(path: Any) -> Any:
    """Return a path through the link if it was made before this process gave its pin up."""
    left = process.this.left
    return left.to_link(str(path)) if left and path else path


def patch_file(module: Any) -> None:
    """A DAG's module has the same name in each version (pickles name it)."""
    original = module.get_unique_dag_module_name
    module.get_unique_dag_module_name = functools.wraps(original)(lambda path: original(_to_link(path)))


def patch_dag(module: Any) -> None:
    """``fileloc`` is the path through the link, whatever it is set to; ``folder``, of templates, is the real one."""
    dag = module.DAG
    relative = dag.relative_fileloc.fget

    def get(self: Any) -> Any:
        try:
            return vars(self)["fileloc"]
        except KeyError:
            raise AttributeError("fileloc") from None

    def put(self: Any, value: Any) -> None:
        vars(self)["fileloc"] = _to_link(value)

    def relative_fileloc(self: Any) -> Any:
        if process.this.pin and not self._processor_dags_folder:  # it goes before settings.DAGS_FOLDER
            self._processor_dags_folder = process.this.folder
        return relative(self)

    dag.fileloc = property(get, put, doc="Path through the link.")
    dag.folder = property(lambda self: os.path.dirname(_to_real(self.fileloc)), doc=dag.folder.__doc__)
    dag.relative_fileloc = property(relative_fileloc, doc=dag.relative_fileloc.__doc__)


def patch_dagbag(module: Any) -> None:
    """Parse from the version: the first parse of a child pins it."""
    module.list_py_file_paths = _listing(module.list_py_file_paths, _take)
    timeout = module.settings.get_dagbag_import_timeout  # a hook of the user's, who knows the path through the link
    module.settings.get_dagbag_import_timeout = functools.wraps(timeout)(lambda path: timeout(_to_link(path)))
    original = module.DagBag.process_file

    @functools.wraps(original)
    def process_file(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        pin = _take()
        if pin is None or not isinstance(filepath, str):
            return original(self, _unpinned(filepath), *args, **kwargs)
        link, real = pin.to_link(filepath), pin.to_real(filepath)
        if link in self.file_last_changed:  # what it compares before it parses a file again
            self.file_last_changed[real] = self.file_last_changed.pop(link)
        try:
            return original(self, real, *args, **kwargs)
        finally:
            for table in (self.file_last_changed, self.import_errors, self.captured_warnings):
                _name_by_link(table, pin)

    module.DagBag.process_file = process_file


def _name_by_link(table: dict[str, Any], pin: Place) -> None:
    """Name a DagBag's entries, and the files in their texts, by the path through the link."""

    def text(value: Any) -> Any:
        return value.replace(pin.real + os.sep, pin.link + os.sep) if isinstance(value, str) else value

    for key in [key for key in table if key != pin.to_link(key)]:
        value = table.pop(key)
        table[pin.to_link(key)] = tuple(map(text, value)) if isinstance(value, tuple) else text(value)


def patch_manager(module: Any) -> None:
    """List the DAGs folder inside one leased version, and at once when the link has moved; it lives long, so no pin.

    By itself it lists every ``dag_dir_list_interval`` (300 s by default), and new and deleted DAGs wait for that. 2.10
    records the folder with its link resolved, and so never removes a DAG that the next version lacks: it is given
    2.11's way.
    """
    module.list_py_file_paths = _listing(module.list_py_file_paths, lambda: None)
    manager = module.DagFileProcessorManager
    manager.get_dag_directory = lambda self: str(self._dag_directory)
    original = manager._refresh_dag_dir  # noqa: SLF001

    @functools.wraps(original)
    def _refresh_dag_dir(self: Any) -> Any:
        version = process.live()
        if version is not None and version != vars(self).get("_dagferry_listed"):
            self._dagferry_listed = version
            self.last_dag_dir_refresh_time = datetime.fromtimestamp(0, UTC)  # as before its first listing
        return original(self)

    manager._refresh_dag_dir = _refresh_dag_dir  # noqa: SLF001


def _listing(original: Callable[..., list[str]], take: Callable[[], Place | None]) -> Callable[..., list[str]]:
    @functools.wraps(original)
    def list_py_file_paths(directory: Any, *args: Any, **kwargs: Any) -> list[str]:
        with ExitStack() as stack:
            pin = take() or process.glance(stack)
            if pin is None or directory is None:
                return original(_unpinned(directory), *args, **kwargs)
            return [pin.to_link(path) for path in original(pin.to_real(str(directory)), *args, **kwargs)]

    return list_py_file_paths


def patch_dagcode(module: Any) -> None:
    """The Code tab shows the version that was parsed, and compares its time."""
    correct, open_file = module.correct_maybe_zipped, module.open_maybe_zipped
    module.correct_maybe_zipped = functools.wraps(correct)(lambda path: correct(_to_real(path)))
    module.open_maybe_zipped = functools.wraps(open_file)(lambda path, mode="r": open_file(_to_real(path), mode))


def patch_serialized_objects(module: Any) -> None:
    """Serialized DAGs name the DAGs folder through the link."""
    module.DAGS_FOLDER = process.this.folder


def patch_python(module: Any) -> None:
    """Operators with an interpreter of their own tell by ``fileloc`` whether a function is the DAG file's."""
    operator = getattr(module, _OPERATOR, None)
    original = getattr(operator, _METHOD, None)
    if original is None:  # another provider's layout; no identity depends on it
        return

    @functools.wraps(original)
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = vars(self.dag)
        own["fileloc"] = _to_real(own["fileloc"])
        try:
            return original(self, *args, **kwargs)
        finally:
            own["fileloc"] = _to_link(own["fileloc"])

    setattr(operator, _METHOD, execute)


PATCHES: dict[str, Callable[[Any], None]] = {
    "airflow.utils.file": patch_file,
    "airflow.models.dag": patch_dag,
    "airflow.models.dagbag": patch_dagbag,
    "airflow.models.dagcode": patch_dagcode,
    "airflow.dag_processing.manager": patch_manager,
    "airflow.serialization.serialized_objects": patch_serialized_objects,
    "airflow.operators.python": patch_python,
    "airflow.providers.standard.operators.python": patch_python,
}
