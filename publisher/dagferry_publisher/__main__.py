"""``python -m dagferry_publisher`` is ``dagctl``."""

from dagferry_publisher.cli.main import main

main()
