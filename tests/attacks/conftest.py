"""Prints how many attacks were tried."""

from support.tally import summary

pytest_terminal_summary = summary("attacks")
