"""The faults of ``support.proxy``: what stores, and the networks before them, were seen to do to one request."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.proxy import Exchange, Fault


def _named(fault: Fault, name: str) -> Fault:
    fault.__name__ = name
    return fault


def reset_before(exchange: Exchange) -> None:
    """The connection breaks before the request reaches the store."""
    exchange.reset()


def reset_after(exchange: Exchange) -> None:
    """The request is done, its answer lost."""
    exchange.forward()
    exchange.reset()


def close_before(exchange: Exchange) -> None:
    """The connection is closed in good order, without an answer."""
    exchange.close()


def close_after(exchange: Exchange) -> None:
    """The request is done; the connection is closed in good order, without an answer."""
    exchange.forward()
    exchange.close()


def twice(exchange: Exchange) -> None:
    """The request is done twice (a proxy's retry); the second answer is given."""
    exchange.forward()
    exchange.send(exchange.forward())


def stall(exchange: Exchange) -> None:
    """No answer until the faults are lifted, and then none either."""
    exchange.stall()


def slow(exchange: Exchange) -> None:
    """The answer comes when the faults are lifted."""
    exchange.stall()
    exchange.send(exchange.forward())


def _parts(exchange: Exchange) -> tuple[bytes, bytes]:
    head, _, body = exchange.forward().partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def _with_length(head: bytes, length: int) -> bytes:
    lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % length]) + b"\r\n\r\n"


def reset_in_body(exchange: Exchange) -> None:
    """The connection breaks in the middle of the body."""
    head, body = _parts(exchange)
    exchange.send(head + body[: len(body) // 2])
    exchange.reset()


def stall_in_body(exchange: Exchange) -> None:
    """Nothing more comes after half of the body."""
    head, body = _parts(exchange)
    exchange.send(head + body[: len(body) // 2])
    exchange.stall()


def cut_short(exchange: Exchange) -> None:
    """Half of the body, under the right Content-Length."""
    head, body = _parts(exchange)
    exchange.send(head + body[: len(body) // 2])
    exchange.close()


def short_with_a_fitting_length(exchange: Exchange) -> None:
    """Half of the body, under a Content-Length that says just that: a damaged object, to all appearance whole."""
    head, body = _parts(exchange)
    half = body[: len(body) // 2]
    exchange.send(_with_length(head, len(half)) + half)


def long_with_a_fitting_length(exchange: Exchange) -> None:
    """More than the object has, under a Content-Length that says so."""
    head, body = _parts(exchange)
    exchange.send(_with_length(head, len(body) + 9) + body + b"and more!")


def length_too_small(exchange: Exchange) -> None:
    """The whole body, under a Content-Length of half of it."""
    head, body = _parts(exchange)
    exchange.send(_with_length(head, len(body) // 2) + body)


def length_too_large(exchange: Exchange) -> None:
    """The whole body, under a Content-Length that promises more."""
    head, body = _parts(exchange)
    exchange.send(_with_length(head, len(body) + 1000) + body)
    exchange.close()


def empty_body(exchange: Exchange) -> None:
    """200, and nothing in it."""
    head, _ = _parts(exchange)
    exchange.send(_with_length(head, 0))


def not_http(exchange: Exchange) -> None:
    """Something else listens there."""
    exchange.send(b"\x00\x01garbage\r\n\r\nmore garbage")


def answer(status: str, body: bytes = b"", **headers: str) -> Fault:
    """An answer of our own; header names are written with underscores."""

    def fault(exchange: Exchange) -> None:
        lines = {
            "Content-Length": str(len(body)),
            "Content-Type": "application/xml",
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        exchange.send(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + (b"" if exchange.method == "HEAD" else body))

    return _named(fault, status)


def error(status: str, code: str, more: str = "", **headers: str) -> Fault:
    """An S3 error; ``more`` is XML beside its code."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>{more}</Error>'
    return _named(answer(status, body.encode(), **headers), code)


def done_then(fault: Fault) -> Fault:
    """The request is done, and answered by a fault all the same."""

    def both(exchange: Exchange) -> None:
        exchange.forward()
        fault(exchange)

    return _named(both, f"done, then {fault.__name__}")


INTERNAL = error("500 Internal Server Error", "InternalError")
BAD_GATEWAY = answer("502 Bad Gateway", b"<html><h1>502 Bad Gateway</h1></html>", Content_Type="text/html")
SLOW_DOWN = error("503 Slow Down", "SlowDown")
RETRY_AFTER = answer("503 Service Unavailable", b"", Retry_After="3600")
DENIED = error("403 Forbidden", "AccessDenied")
UNKNOWN_KEY = error("403 Forbidden", "InvalidAccessKeyId")
WRONG_SECRET = error("403 Forbidden", "SignatureDoesNotMatch")
EXPIRED_TOKEN = error("400 Bad Request", "ExpiredToken")
XML_GARBAGE = answer("500 Internal Server Error", b"<Error><Code>\x00<<<&&&" + b"<a>" * 4000)


def skewed(seconds: float = 1200) -> Fault:
    """The store's clock is ahead of ours by so much."""
    here, there = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (time.time(), time.time() + seconds)
    )
    more = f"<RequestTime>{here}</RequestTime><ServerTime>{there}</ServerTime>"
    return error("403 Forbidden", "RequestTimeTooSkewed", more, Date=formatdate(time.time() + seconds, usegmt=True))
