"""Doing something to a module right after it was imported, without importing it now. Standard library alone.

``airflow_local_settings`` is imported in the middle of ``import airflow``: most of Airflow cannot be imported there.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Patch = Callable[[ModuleType], None]


def after_import(patches: dict[str, Patch]) -> None:
    """Call each patch with its module: now, if that is imported already, else once it is.

    Args:
        patches: by full module name; they must not raise.
    """
    pending = {name: patch for name, patch in patches.items() if name not in sys.modules}
    for name in patches.keys() - pending.keys():
        patches[name](sys.modules[name])
    sys.meta_path.insert(0, _Finder(pending))


class _Finder(MetaPathFinder):
    """Finds the modules to be patched where Python would, and wraps their loaders."""

    def __init__(self, patches: dict[str, Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        patch = self._patches.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if patch else None
        if patch and spec and spec.loader:
            spec.loader = _Patching(spec.loader, patch)
        return spec


class _Patching(Loader):
    """A module's own loader, and the patch after it."""

    def __init__(self, loader: Loader, patch: Patch) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__:  # for inspect, linecache and reload it is as if we had not been there
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._patch(module)
