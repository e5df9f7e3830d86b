"""The C extension of ``zstandard`` alone: its package loads the module ``platform`` besides, 1.3 ms of each start.

Anything unusual (PyPy, a build without the extension) gets the package as it is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__all__ = ["zstd"]


def _load() -> Any:
    """Return the extension, or the package; whoever imports the package later gets the same extension."""
    from importlib.machinery import PathFinder  # noqa: PLC0415 - is of no use to anybody else here

    name = "zstandard.backend_c"
    package = None if "zstandard" in sys.modules else PathFinder.find_spec("zstandard")
    places = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec(name, places) if places else None
    if spec is None or spec.loader is None:
        import zstandard  # noqa: PLC0415 - see above

        return zstandard
    module = spec.loader.create_module(spec)
    assert module is not None  # noqa: S101 - for the type checker: loaders of extensions make their modules
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import zstandard as zstd
else:
    zstd = _load()
