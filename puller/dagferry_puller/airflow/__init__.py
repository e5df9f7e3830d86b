"""What runs inside Airflow's own processes. Importing this costs nothing beyond the standard library.

Everything here needs Airflow only where it is used, and none of it runs in the sidecar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagferry_puller.airflow.bundle import DagferryBundle

__all__ = ["DagferryBundle"]


def __getattr__(name: str) -> object:
    """Load what is asked for (PEP 562): ``dagferry_puller.airflow.DagferryBundle`` loads Airflow, and not before."""
    if name in __all__:
        from dagferry_puller.airflow.bundle import DagferryBundle  # noqa: PLC0415 - see above

        return DagferryBundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
