"""Notifications out of a durable AMQP queue; the only module that knows an AMQP library (pika).

RGW publishes to an exchange; the relay binds its queue to it, so that what comes while the relay is away waits there.
Exchange and queue are taken as they are if they exist, else declared. The connection is made again for ever.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pika  # type: ignore[import-untyped]
import pika.exceptions  # type: ignore[import-untyped]

from dagferry_puller.backoff import Backoff, uniform
from dagferry_puller.exits import ConfigError
from dagferry_puller.logs import Complaints, log
from dagferry_puller.relay import brokertls
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection  # type: ignore[import-untyped]
    from pika.spec import Basic  # type: ignore[import-untyped]

    from dagferry_puller.relay.options import RelaySettings
    from dagferry_puller.relay.status import RelayRecorder

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0  # between two connections
SETTLED_SECONDS = 30.0  # a connection that held so long was a good one
HEARTBEAT_SECONDS = 20
TIMEOUT_SECONDS = 10
MAX_WAITING = 100  # messages in the queue: each says the same, "look now"
_NOT_FOUND = 404


class BrokerAway(DagferryError):
    """The broker cannot be reached, or closed the connection."""


class Consumer:
    """Consumes in a thread of its own, and reconnects.

    Args:
        settings: the relay's options.
        notified: called for each message, and after each connection, as some may have been lost before it.
        recorder: what happened.

    Raises:
        ValueError: pika cannot read the URL.
        ConfigError: the CA file cannot be used.
    """

    def __init__(self, settings: RelaySettings, notified: Callable[[], None], recorder: RelayRecorder) -> None:
        logging.getLogger("pika").setLevel(logging.CRITICAL + 1)  # its errors are ours to tell, once
        self._parameters = _parameters(settings.amqp)
        self._parameters.heartbeat = HEARTBEAT_SECONDS
        self._parameters.socket_timeout = self._parameters.stack_timeout = TIMEOUT_SECONDS
        self._parameters.blocked_connection_timeout = TIMEOUT_SECONDS
        self._parameters.connection_attempts = 1
        self._parameters.client_properties = {"connection_name": "dagferry-relay"}
        self._ca = settings.amqp_ca
        self._own_tls = settings.amqp.startswith("amqps:") and "ssl_options=" not in settings.amqp
        self._trust()
        self._exchange, self._queue = settings.amqp_exchange, settings.amqp_queue
        self._notified = notified
        self._recorder = recorder
        self._complaints = Complaints()
        self._backoff = Backoff(FIRST_SECONDS, LONGEST_SECONDS)

    def _trust(self) -> None:
        """Read the CA file, before each connection: it may have been renewed."""
        if self._own_tls:
            self._parameters.ssl_options = pika.SSLOptions(brokertls.context(self._ca))

    def start(self) -> None:
        """Begin to consume."""
        threading.Thread(target=self._work, name="amqp", daemon=True).start()

    def _work(self) -> None:
        while True:
            begun = time.monotonic()
            why = self._consume()
            self._recorder.update(connected=False, problem=why)
            self._complaints.failed(BrokerAway(why))
            held = time.monotonic() - begun >= SETTLED_SECONDS
            self._backoff.failures = 0 if held else self._backoff.failures + 1
            time.sleep(self._backoff.delay(uniform()))

    def _consume(self) -> str:
        """Connect and consume until the connection ends; returns why it did."""
        connection = None
        try:
            self._trust()
            connection = pika.BlockingConnection(self._parameters)
            channel = self._bound(connection)
            channel.basic_qos(prefetch_count=MAX_WAITING)
            channel.basic_consume(self._queue, self._message)
            self._recorder.update(connected=True, problem=None)
            self._recorder.count(connections=1)
            self._complaints.well()
            log.info("consuming %s", self._queue)
            self._notified()
            channel.start_consuming()
            return f"the broker ended the consumer of {self._queue}"
        except ConfigError as error:
            return str(error)
        except (pika.exceptions.AMQPError, OSError) as error:
            return self._why(error)
        finally:
            _close(connection)

    def _why(self, error: Exception) -> str:
        """Return one line about an error of pika's, which are often wrapped, and sometimes empty."""
        inner = _innermost(error)
        if isinstance(inner, ssl.SSLError):
            return f"the broker: {brokertls.advice(inner, self._parameters.host, self._ca)}"
        if isinstance(inner, pika.exceptions.IncompatibleProtocolError) and not self._parameters.ssl_options:
            return "the broker: it does not speak AMQP on this port; if this is a port for TLS, write amqps://"
        text = " ".join(str(getattr(inner, "strerror", None) or inner).split())[:200]
        return f"the broker: {type(inner).__name__}{f': {text}' if text else ''}"

    def _message(self, channel: BlockingChannel, method: Basic.Deliver, *_: object) -> None:
        self._notified()  # before the ack: a relay that dies between tells pods twice, never not at all
        channel.basic_ack(method.delivery_tag)

    def _bound(self, connection: BlockingConnection) -> BlockingChannel:
        """Return a channel on which exchange and queue are known to be there, one bound to the other."""
        if not _there(connection, lambda channel: channel.exchange_declare(self._exchange, passive=True)):
            connection.channel().exchange_declare(self._exchange, "topic", durable=True)
        if not _there(connection, lambda channel: channel.queue_declare(self._queue, passive=True)):
            connection.channel().queue_declare(self._queue, durable=True, arguments={"x-max-length": MAX_WAITING})
        channel = connection.channel()
        channel.queue_bind(self._queue, self._exchange, routing_key="#")
        return channel


def _there(
    connection: BlockingConnection,
    ask: Callable[[BlockingChannel], object],
) -> bool:
    """Tell whether something is there; the broker closes the channel to say that it is not."""
    try:
        ask(connection.channel())
    except pika.exceptions.ChannelClosedByBroker as closed:
        if closed.reply_code == _NOT_FOUND:
            return False
        raise
    return True


def _close(connection: BlockingConnection | None) -> None:
    try:
        if connection is not None and connection.is_open:
            connection.close()
    except (pika.exceptions.AMQPError, OSError):
        log.debug("the broker's connection was gone already")


def _innermost(error: Exception) -> Exception:
    """Return what pika wrapped, but for a handshake that was broken off, which says more than its cause."""
    wrapping = pika.exceptions.AMQPConnectionError
    while isinstance(error, wrapping) and error.args and type(error) is not pika.exceptions.IncompatibleProtocolError:
        deeper = getattr(error.args[0], "exception", None) or error.args[0]
        if not isinstance(deeper, Exception):
            break
        error = deeper
    return error


def _parameters(url: str) -> pika.URLParameters:
    """Let pika read the URL; it raises whatever its evaluation of a parameter meets."""
    try:
        return pika.URLParameters(url)
    except (OSError, SyntaxError, TypeError) as error:
        raise ValueError("pika cannot read it") from error
