"""For every suite: Ctrl-C means what it means on a terminal, also where the tests run in the background.

A shell starts background commands with SIGINT ignored, and what they start would inherit that.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
