"""The relay process: a port, perhaps a queue, and the fan-out between them and the pods."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from dagferry_puller import prepare, signals
from dagferry_puller.exits import ConfigError, Exit
from dagferry_puller.httpd import Port, listen
from dagferry_puller.httpwire import Answer
from dagferry_puller.logs import log
from dagferry_puller.metrics import CONTENT_TYPE
from dagferry_puller.relay.fanout import Fanout
from dagferry_puller.relay.status import RelayRecorder, RelayStatus, render
from dagferry_shared import __version__, times
from dagferry_shared.values import asdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.relay.options import RelaySettings

_PATIENCE_SECONDS = 60.0  # without a sign of life from the fan-out


def run(settings: RelaySettings) -> Exit:
    """Work until SIGTERM or SIGINT; SIGHUP tells all pods."""
    signals.while_starting(success=True)
    tokens = [
        prepare.read_token(settings.notify_token_file),
        prepare.read_token(settings.target_token_file, "target-token-file"),
    ]
    recorder = RelayRecorder(_status(settings))
    fanout = Fanout(settings.targets, tokens[1], settings.deadline, settings.rate, recorder)
    start_consumer = _consumer(settings, fanout, recorder)
    listen("--listen", settings.listen, Port(_pages(recorder), fanout.notified, tokens[0]).answer)
    fanout.notified()  # what came while no relay ran was lost
    fanout.start()
    start_consumer()
    inbox = signals.Inbox(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    while (received := inbox.wait()) == signal.SIGHUP:
        log.info("SIGHUP: telling all pods")
        fanout.notified()
    log.info("signal %s: ending", received)
    return Exit.OK


def _consumer(settings: RelaySettings, fanout: Fanout, recorder: RelayRecorder) -> Callable[[], None]:
    if not settings.amqp:
        return lambda: None
    try:
        from dagferry_puller.relay.amqp import Consumer  # noqa: PLC0415 - the one that needs pika
    except ImportError as error:
        raise ConfigError("--amqp", "needs the extra [amqp]: pip install 'dagferry[puller,amqp]'") from error
    try:
        return Consumer(settings, fanout.notified, recorder).start
    except ValueError as error:
        raise ConfigError("--amqp", "the broker's URL has a parameter that cannot be read") from error


def _status(settings: RelaySettings) -> RelayStatus:
    return RelayStatus(
        program=__version__,
        targets=tuple(map(str, settings.targets)),
        broker=settings.broker,
        started=times.show(times.now()),
        connected=False if settings.amqp else None,
    )


def _pages(recorder: RelayRecorder) -> dict[str, Callable[[], Answer]]:
    def healthz() -> Answer:
        silence = recorder.silence()
        if silence > _PATIENCE_SECONDS:
            return Answer(503, f"no sign of life for {silence:.0f} s\n")
        return Answer(200, "alive\n")

    def readyz() -> Answer:
        status = recorder.snapshot()
        if status.connected is False:  # None: no queue is wanted
            return Answer(503, f"not ready: {status.problem or 'connecting to the broker'}\n")
        return Answer(200, "ready\n")

    def status() -> Answer:
        return Answer(200, json.dumps(asdict(recorder.snapshot())) + "\n", "application/json")

    return {
        "/healthz": healthz,
        "/readyz": readyz,
        "/status": status,
        "/metrics": lambda: Answer(200, render(recorder.snapshot()), CONTENT_TYPE),
    }
