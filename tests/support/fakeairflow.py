"""As much of Airflow 3's bundle interface as ``DagferryBundle`` needs; the real one is in tests/airflow."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

_OURS = "dagferry_puller.airflow"


@dataclass(frozen=True)
class BundleVersion:
    """As Airflow's."""

    version: str
    data: dict[str, Any] | None = None


def install(monkeypatch: pytest.MonkeyPatch, storage: Path, *, with_versions: bool = True) -> None:
    """Let ``airflow.dag_processing.bundles.base`` be a fake for a test.

    Args:
        monkeypatch: takes it away again.
        storage: the bundle storage.
        with_versions: whether there is a ``BundleVersion``, as since 3.3.
    """

    class BaseDagBundle:
        """As Airflow's, without its locks and warnings."""

        supports_versioning = False

        def __init__(
            self,
            *,
            name: str,
            refresh_interval: float = 300,
            version: str | None = None,
            view_url_template: str | None = None,
        ) -> None:
            self.name, self.version, self.refresh_interval = name, version, refresh_interval
            self.is_initialized = False
            self.base_dir = storage / name
            self.versions_dir = self.base_dir / "versions"
            self._template = view_url_template

        def initialize(self) -> None:
            self.is_initialized = True

        def view_url_template(self) -> str | None:
            return self._template

    def tracking_file(bundle_name: str, version: str) -> Path:
        return storage / "_tracking" / bundle_name / version

    base = ModuleType("airflow.dag_processing.bundles.base")
    vars(base).update(BaseDagBundle=BaseDagBundle, get_bundle_tracking_file=tracking_file)
    if with_versions:
        vars(base)["BundleVersion"] = BundleVersion
    bundles = ModuleType("airflow.dag_processing.bundles")
    vars(bundles)["base"] = base
    for module in (ModuleType("airflow"), ModuleType("airflow.dag_processing"), bundles, base):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in [name for name in sys.modules if name in {f"{_OURS}.base", f"{_OURS}.bundle"}]:
        monkeypatch.delitem(sys.modules, name)
    for name in (f"{_OURS}.base", f"{_OURS}.bundle"):  # what a test loads is forgotten with it
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.delitem(sys.modules, name)
