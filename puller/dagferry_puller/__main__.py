"""``python -m dagferry_puller``: the same as the command ``dagferry-puller``."""

from __future__ import annotations

import sys

from dagferry_puller.cli import main

if __name__ == "__main__":
    sys.exit(main())
