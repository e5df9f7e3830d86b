"""What a suite tried, counted over all its tests and workers, and printed at the end.

A test says how much it tried with pytest's own ``record_property("kill points", 37)``; one that says nothing counts as
one of its suite's unit. Several values of one name in one test add up. Of names that begin with "peak" the highest is
shown.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def summary(unit: str) -> Callable[[Any], None]:
    """Return the hook ``pytest_terminal_summary`` of a suite whose tests count in ``unit`` ("attacks")."""

    def pytest_terminal_summary(terminalreporter: Any) -> None:
        tried: Counter[str] = Counter()
        for report in terminalreporter.stats.get("passed", []):
            if report.when == "call":
                told = [(name, count) for name, count in report.user_properties if isinstance(count, int)]
                for name, count in told or [(unit, 1)]:
                    tried[name] = max(tried[name], count) if name.startswith("peak") else tried[name] + count
        broken = sum(len(terminalreporter.stats.get(kind, [])) for kind in ("failed", "error"))
        if tried or broken:
            amounts = ", ".join(f"{count} {name}" for name, count in sorted(tried.items()))
            terminalreporter.write_sep("=", "what was tried")
            terminalreporter.write_line(f"{amounts}: {f'{broken} TESTS FAILED' if broken else 'all held'}")

    return pytest_terminal_summary
