"""The HTTP port: five paths, answered from the status snapshot.

Written on ``socketserver`` alone: ``http.server`` costs every pod 4.5 MiB and 20 ms (ssl, email, mimetypes), and would
read 6 MiB of headers from anyone. What hostile clients can cost is bounded in ``httpwire``.
"""

from __future__ import annotations

import hmac
import json
import threading
import time
from typing import TYPE_CHECKING

from dagferry_puller.exits import ConfigError
from dagferry_puller.httpwire import Answer, Bad, Server
from dagferry_puller.logs import fields, log
from dagferry_puller.metrics import CONTENT_TYPE, render
from dagferry_shared import times
from dagferry_shared.values import asdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagferry_puller.httpwire import Request
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder

_JSON = "application/json"


class Port:
    """A port of ours: pages by path, and ``/notify``.

    Args:
        pages: what each path answers.
        notified: what a notification does.
        token: what ``/notify`` needs, None for nothing.
    """

    def __init__(
        self, pages: Mapping[str, Callable[[], Answer]], notified: Callable[[], None], token: bytes | None
    ) -> None:
        self._pages = pages
        self._notified = notified
        self._token = token

    def answer(self, request: Request) -> Answer:
        """Answer a request whose body was read."""
        if request.path == "/notify":
            return self._notify(request) if request.method == "POST" else _not_allowed("POST")
        page = self._pages.get(request.path)
        if page is None:
            raise Bad(404)
        return page() if request.method in {"GET", "HEAD"} else _not_allowed("GET, HEAD")

    def _notify(self, request: Request) -> Answer:
        if self._token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            equal = hmac.compare_digest(given.encode("latin-1"), self._token)
            if scheme.lower() != "bearer" or not equal:
                return Answer(401, "a bearer token is needed\n", more="WWW-Authenticate: Bearer")
        self._notified()
        return Answer(202, "looking\n")


class Pages:
    """What a puller's port answers.

    Args:
        recorder: the status.
        notified: asks the worker for a look.
        token: what ``/notify`` needs, None for nothing.
        patience: seconds without a sign of life after which ``/healthz`` fails.
    """

    def __init__(self, recorder: Recorder, notified: Callable[[], None], token: bytes | None, patience: float) -> None:
        self._recorder = recorder
        self._notified = notified
        self._patience = patience
        pages = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status": self._status,
            "/metrics": self._metrics,
        }
        self.answer = Port(pages, self._notify, token).answer

    def _healthz(self) -> Answer:
        silence = self._recorder.silence()
        if silence > self._patience:
            return Answer(503, f"no sign of life for {silence:.0f} s\n")
        return Answer(200, "alive\n")

    def _readyz(self) -> Answer:
        status = self._recorder.snapshot()
        if status.ready and status.live:
            return Answer(200, f"live: {status.live.version}\n")
        why = status.problem.detail if status.problem else "no verified version is live yet"
        return Answer(503, f"not ready: {why}\n")

    def _status(self) -> Answer:
        # The clock's own reading makes ages right on any reader's clock.
        document = {**asdict(self._recorder.snapshot()), "now": times.show(times.now())}
        return Answer(200, json.dumps(document, ensure_ascii=False) + "\n", _JSON)

    def _metrics(self) -> Answer:
        return Answer(200, render(self._recorder.snapshot(), time.time()), CONTENT_TYPE)

    def _notify(self) -> None:
        self._recorder.notified()
        self._notified()


def _not_allowed(methods: str) -> Answer:
    return Answer(405, f"allowed: {methods}\n", more=f"Allow: {methods}")


def listen(setting: str, address: tuple[str, int], answer: Callable[[Request], Answer]) -> Server:
    """Start to serve in a thread of its own.

    Raises:
        ConfigError: the address cannot be had.
    """
    host, port = address
    try:
        server = Server((host, port), answer)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(setting, f"cannot listen on {host}:{port}: {why}") from error
    bound = server.server_address[1]
    shown = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    log.info("listening on %s", shown, extra=fields(address=shown, port=bound))
    # An hour between looks at a flag that nobody sets: the process ends without asking this thread.
    threading.Thread(target=server.serve_forever, args=(3600.0,), name="http", daemon=True).start()
    return server


def serve(settings: Settings, recorder: Recorder, notified: Callable[[], None], token: bytes | None) -> Server | None:
    """Serve a puller's pages; None for ``--http none``."""
    if settings.http is None:
        return None
    longest = max(settings.period, settings.notified_period)
    patience = 3 * longest + settings.download_timeout + settings.check_timeout + 120
    return listen("--http", settings.http, Pages(recorder, notified, token, patience).answer)
