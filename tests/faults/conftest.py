"""Prints how many faults were tried; a simulator and a pod for the tests that want them."""

from support.podfixtures import pod, simulator
from support.tally import summary

__all__ = ["pod", "pytest_terminal_summary", "simulator"]

pytest_terminal_summary = summary("faults")
