"""Prints how many faults were tried; a simulator and a pod for the tests that want them."""

from support.podfixtures import pod, simulator
from support.s3fixtures import moto, s3_pod, s3_site
from support.tally import summary
from support.wreckfixtures import yard, zygote

__all__ = ["moto", "pod", "pytest_terminal_summary", "s3_pod", "s3_site", "simulator", "yard", "zygote"]

pytest_terminal_summary = summary("faults")
