"""The relay's options, read and checked like the puller's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dagferry_puller import options, optionvalues
from dagferry_puller.exits import ConfigError
from dagferry_puller.options import Option
from dagferry_shared.targets import Target, parse
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_AMQP = 4096  # bytes of the file that holds the broker's URL


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """All options of the relay, checked. ``amqp`` may hold a password: it is not for logs."""

    listen: tuple[str, int]
    targets: tuple[Target, ...]
    deadline: float
    rate: int
    notify_token_file: str
    target_token_file: str
    amqp: str
    amqp_file: str
    amqp_ca: str
    amqp_exchange: str
    amqp_queue: str
    log_format: str
    log_level: str

    @property
    def broker(self) -> str | None:
        """What of the broker's URL may be shown."""
        parts = urlsplit(self.amqp)
        return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}" if self.amqp else None


def _targets(value: str) -> tuple[Target, ...]:
    found = tuple(parse(word) for word in value.replace(",", " ").split())
    if not found:
        raise ValueError("names no target")
    return found


def _listen(value: str) -> tuple[str, int]:
    address = optionvalues.address(value)
    if address is None:
        raise ValueError("must be HOST:PORT: probes need it, also with --amqp")
    return address


_LOGS = tuple(option for option in options.OPTIONS if option.name in {"log-format", "log-level"})
OPTIONS: tuple[Option, ...] = (
    Option("targets", _targets, None, "whom to tell, separated by commas: dns://NAME:PORT is every address that the "
           "name has then (a headless Service), http://HOST:PORT is one", "URLS"),
    Option("listen", _listen, "127.0.0.1:9475", "where POST /notify, /healthz /readyz /status /metrics are served; "
           "port 0 takes any and logs it", "HOST:PORT"),
    Option("deadline", optionvalues.seconds, "2s", "the time that one pod has to answer; tried once more after it",
           "TIME"),
    Option("rate", optionvalues.positive, "500", "pods told a second, after the first hundred: each asks the store "
           "three times when there is a new version", "PODS"),
    Option("notify-token-file", str, "", "POST /notify here needs 'Authorization: Bearer' and this file's content (or "
           "set DAGFERRY_NOTIFY_TOKEN); RGW sends none", "FILE"),
    Option("target-token-file", str, "", "the token that the pods' /notify needs (or set "
           "DAGFERRY_TARGET_TOKEN)", "FILE"),
    Option("amqp", str, "", "consume from this broker, too: amqp[s]://HOST[:PORT]/VHOST; with a password only from the "
           "variable or --amqp-file", "URL"),
    Option("amqp-file", str, "", "the file that holds the broker's URL", "FILE"),
    Option("amqp-ca", str, "", "for amqps: the file of the CA that signed the broker's certificate, read again at each "
           "connection; without it the CAs that this machine knows count", "FILE"),
    Option("amqp-exchange", str, "dagferry", "the exchange that RGW publishes to; declared, durable, as topic exchange "
           "if it is not there", "NAME"),
    Option("amqp-queue", str, "dagferry-relay", "the durable queue; several relays share it, and each message is told "
           "by one of them to all pods", "NAME"),
    *_LOGS,
)  # fmt: skip


def _broker(url: str, setting: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"amqp", "amqps"} and bool(parts.hostname) and parts.port != 0
        good = good and (parts.username is None) == (parts.password is None)
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable():
        raise ConfigError(setting, "is not amqp[s]://[USER:PASSWORD@]HOST[:PORT][/VHOST]")
    return parts.scheme + url[len(parts.scheme) :]  # in lower case


def resolve(given: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> RelaySettings:
    """Check all options; like ``options.resolve``.

    Raises:
        ConfigError: the first setting that is wrong.
    """
    values = options.values(OPTIONS, given, environ)
    if given.get("amqp") and "@" in str(given["amqp"]):
        raise ConfigError(
            "--amqp", "holds credentials, which every process sees: set DAGFERRY_AMQP, or use --amqp-file"
        )
    if values["amqp_file"]:
        values["amqp"] = _read(str(values["amqp_file"]))
    if values["amqp"]:
        values["amqp"] = _broker(str(values["amqp"]), "--amqp-file" if values["amqp_file"] else "--amqp")
    _check_ca(str(values["amqp_ca"]), str(values["amqp"]))
    return RelaySettings(**values)


def _check_ca(ca: str, url: str) -> None:
    if ca and url and not url.startswith("amqps:"):
        raise ConfigError("--amqp-ca", "is for amqps://, and the broker's URL is amqp://: nothing would be encrypted")
    if ca and "ssl_options=" in url:
        raise ConfigError("--amqp-ca", "cannot go together with ssl_options in the broker's URL; give one of them")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(MAX_AMQP).strip()
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            "--amqp-file", f"cannot read it: {getattr(error, 'strerror', None) or 'not ASCII'}"
        ) from error
