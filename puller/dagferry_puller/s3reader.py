"""The read side of S3 by obstore: about 15 MiB and 20 ms, where boto3 costs 55 MiB and half a second.

obstore (0.12) takes any setting that it is not given from the environment, so all that matter are given. It follows
redirects (without the Authorization header) and reads an error's body whole, and has no option for either.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from datetime import timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store as Client

from dagferry_puller.awsenv import AwsSettingsError, read_settings
from dagferry_shared import __version__, times
from dagferry_shared.errors import StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store import Blob, check_key
from dagferry_shared.store.reading import Interrupted, bounded, resumed
from dagferry_shared.store.s3common import bare_etag, error_for
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from obstore import BytesStream, GetOptions
    from obstore.store import ClientConfig, S3Config, S3Credential

    from dagferry_puller.awsenv import AwsSettings

_SHOWN = 4096  # characters of an error text that are looked at; the text repeats the server's answer
_SMALL_BYTES = 1 << 20  # an object that is read with the time of a small one, by the same client and connection
_LINE = 200  # characters of such a text that are shown
# In texts of errors; compiled when there is one.
_STATUS = r"status code: (\d{3})"
_CODE = r"<Code>([A-Za-z0-9.]{1,64})</Code>"
_ELAPSED = r" in [0-9.]+(?:ns|µs|ms|s)\b"
_STORE_TIME = r"<ServerTime>(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)</ServerTime>"
_HINTS = {  # by words in obstore's debug text
    "CaUsedAsEndEntity": "the server's certificate is itself a CA certificate, which is refused here: "
    "give the server a certificate of its own, signed by that CA",
    "UnknownIssuer": "the server's certificate is signed by an unknown CA: set AWS_CA_BUNDLE",
    "Expired": "the server's certificate has expired, or the clock of this machine is wrong",
    "NotValidYet": "the server's certificate is not valid yet, or the clock of this machine is wrong",
    "NotValidForName": "the server's certificate is for another host name: check the endpoint",
    "InvalidCertificate": "the server's certificate is not valid",
    "CertificateRequired": "the store wants a client certificate, and the puller has none",
    "AlertReceived": "the store speaks https, but not in a way that we can (an old TLS version or cipher?)",
    "InvalidContentType": "the store does not speak https on this port: check the endpoint (http?)",
    "ConnectionRefused": "connection refused: is the endpoint right, and the store up?",
    "dns error": "the endpoint's host name is unknown",
    "TimedOut": "no answer in time",
    "IncompleteMessage": "the connection was closed without an answer: http where the store speaks https?",
    "Parse(": "what answered is not an HTTP server: check the endpoint",
    "SendRequest": "the connection broke before an answer: the network, or http where the store speaks https?",
    "Interrupted": "the connection broke",
}
_STATUS_OF: dict[type[Exception], int] = {
    FileNotFoundError: 404,
    PermissionDeniedError: 403,
    UnauthenticatedError: 401,
    PreconditionError: 412,
}
_TOKENS = ("AWS_SESSION_TOKEN", "AWS_TOKEN")  # what obstore takes for a session token
_FAILURES = (BaseError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one request may take."""

    connect_seconds: float = 5.0
    read_seconds: float = 15.0  # without a byte
    get_seconds: float = 30.0  # a whole small object or, after a break, its rest
    stream_seconds: float = 900.0  # a whole large object, likewise; callers have deadlines below


_TIMEOUTS = Timeouts()


class S3Reader:
    """A BlobReader on ``s3://bucket/prefix``; it reads its settings again when one of their files has changed.

    Args:
        bucket: its name.
        prefix: of every key; without slashes at its ends.
        environ: where the AWS settings come from; None: the environment.
        home: where ``.aws`` is looked for; None: the user's home.
        timeouts: of each request.

    Raises:
        AwsSettingsError: a setting cannot be used.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        timeouts: Timeouts = _TIMEOUTS,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._environ = os.environ if environ is None else environ
        self._home = os.path.expanduser("~") if home is None else home
        self._timeouts = timeouts
        self._lock = Lock()
        self._clients: dict[float, Client] = {}
        self._settings = read_settings(self._environ, self._home)
        self._client(timeouts.get_seconds)  # a wrong setting shows at once

    def __repr__(self) -> str:
        return f"S3Reader({self._url('')!r}, endpoint={self._settings.endpoint!r})"

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        check_key(key)
        options: GetOptions = {"if_none_match": f'"{if_none_match}"'} if if_none_match else {}
        try:
            etag, chunks = self._open(key, options, self._timeouts.get_seconds)
        except _NotModified:
            if if_none_match:
                return None
            raise
        with closing(chunks):
            return Blob(b"".join(bounded(chunks, key, limit)), etag)

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        times = self._timeouts
        seconds = times.get_seconds if limit <= _SMALL_BYTES else times.stream_seconds
        return resumed(partial(self._open_at, check_key(key), seconds), key, limit)

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _open_at(self, key: str, seconds: float, offset: int, etag: str | None) -> tuple[str, Generator[bytes]]:
        options: GetOptions = {}
        if etag is not None:
            options = {"if_match": f'"{etag}"', "range": {"offset": offset}}
        return self._open(key, options, seconds)

    def _open(self, key: str, options: GetOptions, seconds: float) -> tuple[str, Generator[bytes]]:
        client = self._current_client(seconds)
        what = f"read {self._url(key)}"
        if self._settings.anonymous:
            what += " without credentials (none are set)"
        try:
            result = obstore.get(client, self._prefix + key, options=options)
            etag = bare_etag(result.meta["e_tag"], what)
            return etag, _chunks(result.stream(min_chunk_size=1), what)
        except _FAILURES as error:
            raise _error_for(error, what, conditional="if_match" in options) from error

    def _current_client(self, seconds: float) -> Client:
        with self._lock:
            try:
                if self._settings.changed():
                    self._settings = read_settings(self._environ, self._home)
                    self._clients = {}
                return self._client(seconds)
            except AwsSettingsError as error:  # written at this moment, or wrong: either way look again next time
                raise StoreDenied(f"cannot read {self._url('')}: {error}") from error

    def _client(self, seconds: float) -> Client:
        if seconds not in self._clients:
            self._clients[seconds] = self._new_client(seconds)
        return self._clients[seconds]

    def _new_client(self, seconds: float) -> Client:
        settings = self._settings
        config: S3Config = {
            "region": settings.region,
            "skip_signature": settings.anonymous,
            "virtual_hosted_style_request": False,
        }
        if settings.endpoint:
            # Both, or a variable of that name in the environment would win.
            config |= {"endpoint": settings.endpoint, "aws_endpoint_url_s3": settings.endpoint}
        provider = None
        if not settings.anonymous:
            if settings.session_token or os.environ.keys().isdisjoint(_TOKENS):
                config |= _keys(settings)
            else:  # as settings they would get a session token from the environment added
                provider = partial(_credential, settings)
        try:
            return Client(
                self._bucket,
                config=config,
                client_options=_client_options(settings, self._timeouts, seconds),
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=seconds)},
                credential_provider=provider,
            )
        except _FAILURES as error:
            raise AwsSettingsError(f"the S3 client does not accept its settings: {_first_line(error)}") from error


class _NotModified(StoreUnreachable):
    """304; an error only where it was not asked for."""


def _client_options(settings: AwsSettings, timeouts: Timeouts, seconds: float) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": (settings.endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=timeouts.connect_seconds),
        "read_timeout": timedelta(seconds=timeouts.read_seconds),
        "timeout": timedelta(seconds=seconds),
        "user_agent": f"dagferry-puller/{__version__}",
    }
    if settings.ca_bundle:
        try:
            with open(settings.ca_bundle, "rb") as file:
                options["root_certificate"] = file.read()
        except OSError as error:
            raise AwsSettingsError(f"AWS_CA_BUNDLE: cannot read {settings.ca_bundle}: {error.strerror}") from error
    return options


def _keys(settings: AwsSettings) -> S3Config:
    """Return credentials as settings: a provider would load inspect, 4 ms of a start, and be asked at each request."""
    keys: S3Config = {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key}
    if settings.session_token:
        keys["session_token"] = settings.session_token
    return keys


def _credential(settings: AwsSettings) -> S3Credential:
    return {
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key,
        "token": settings.session_token or None,
        "expires_at": None,
    }


def _chunks(stream: BytesStream, what: str) -> Generator[bytes]:
    """Pass on what the network brings, as it comes; forgetting the stream closes its connection."""
    try:
        yield from stream
    except _FAILURES as error:
        raise Interrupted(f"cannot {what} to its end: {_hint(error)}") from error


def _error_for(error: Exception, what: str, *, conditional: bool) -> StoreError:
    if isinstance(error, NotModifiedError):
        return _NotModified(f"cannot {what}: 304 without being asked for")
    text = str(error)[:_SHOWN]
    status = _status(error, text)
    if status is None:
        return StoreUnreachable(f"cannot {what}: {_hint(error)}")
    found = re.search(_CODE, text)
    code = found[1] if found else ""
    meant = error_for(status, code, what, conditional=conditional)
    return StoreDenied(f"{meant}{_clocks(text)}") if code == "RequestTimeTooSkewed" else meant


def _clocks(text: str) -> str:
    """Return both clocks, as far as the store tells its own (RGW does not); logs leave out what follows ", it is "."""
    there = re.search(_STORE_TIME, text, re.ASCII)
    return f", it is {times.show(times.now())} here" + (f" and {there[1]} at the store" if there else "")


def _status(error: Exception, text: str) -> int | None:
    for kind, status in _STATUS_OF.items():
        if isinstance(error, kind):
            return status
    answered = re.search(_STATUS, text)
    return int(answered[1]) if answered else None


def _hint(error: Exception) -> str:
    text = str(error)[:_SHOWN]
    return next((hint for word, hint in _HINTS.items() if word in text), _first_line(error))


def _first_line(error: Exception) -> str:
    """Return what of obstore's long debug text is for people; the same each time, as a repeated line is logged once."""
    line = re.sub(_ELAPSED, "", str(error)[:_SHOWN].partition("\n")[0])
    return "".join(char if char.isprintable() else "?" for char in line)[:_LINE]
