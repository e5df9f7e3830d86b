"""A histogram as Prometheus has them, as a value."""

from __future__ import annotations

from dagferry_shared.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in buckets: ``counts[i]`` of at most ``bounds[i]``, the last one of all the rest."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @staticmethod
    def empty(bounds: tuple[float, ...]) -> Histogram:
        """Return one without observations."""
        return Histogram(bounds, (0,) * (len(bounds) + 1), 0.0)

    def observed(self, value: float) -> Histogram:
        """Return it with one more observation."""
        at = sum(bound < value for bound in self.bounds)
        return replace(
            self, counts=(*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :]), total=self.total + value
        )
