"""One profile for all properties: the same examples on every machine, no deadline."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "dagferry", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dagferry")
