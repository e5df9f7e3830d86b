"""Airflow 3's bundle interface as far as it is used here. The only module that imports Airflow for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    class BundleVersion:
        """A version as Airflow takes it."""

        version: str

        def __init__(self, version: str) -> None: ...

    class BaseDagBundle:
        """What Airflow's class has; see its ``airflow/dag_processing/bundles/base.py``."""

        name: str
        version: str | None
        refresh_interval: float
        base_dir: Path
        versions_dir: Path

        def __init__(self, **kwargs: object) -> None: ...

        def initialize(self) -> None:
            """Mark the bundle as initialised."""

        def view_url_template(self) -> str | None:
            """Return what the setting of that name says."""

    def get_bundle_tracking_file(bundle_name: str, version: str) -> Path:
        """Return where Airflow notes when a version was last used, and locks it while it is."""
        ...
else:
    from airflow.dag_processing.bundles import base

    BaseDagBundle = base.BaseDagBundle
    BundleVersion = getattr(base, "BundleVersion", str)  # before 3.3 a version is a plain string
    get_bundle_tracking_file = base.get_bundle_tracking_file

__all__ = ["BaseDagBundle", "BundleVersion", "get_bundle_tracking_file"]
