"""Where the command starts, and how it ends: a process that every pod starts pays for nothing that it does not need."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"  # Debian, Alpine: what the directory beside it has, in one file


def main() -> NoReturn:
    """Run the command and end the process; its exit codes are those of ``cli.main``.

    The garbage collector waits until all modules are there (``cli`` lets it go on then), and the interpreter is not
    taken apart at the end: what was to be durable is so already. Together 12 ms of CPU for each start.
    """
    gc.disable()
    # One thread for the network is enough: obstore would start one for each CPU of the node, with a heap of its own.
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")
    # obstore would read Debian's CA certificates twice, the second time file by file: 3 ms. Not in os.environ: what we
    # start does not get it.
    if os.environ.keys().isdisjoint({"SSL_CERT_FILE", "SSL_CERT_DIR"}) and os.path.exists(_CERTIFICATES):
        os.putenv("SSL_CERT_FILE", _CERTIFICATES)
    from dagferry_puller import cli  # noqa: PLC0415 - after the line before

    code = cli.main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
