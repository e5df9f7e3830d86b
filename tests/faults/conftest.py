"""Prints how many faults were tried."""

from support.tally import summary

pytest_terminal_summary = summary("faults")
