"""``python -m dagferry_puller``: the same as the command ``dagferry-puller``."""

from __future__ import annotations

from dagferry_puller.entry import main

if __name__ == "__main__":
    main()
