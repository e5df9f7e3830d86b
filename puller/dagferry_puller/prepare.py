"""What is checked before anything starts: a wrong setting ends the process at once and says which one it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_puller.exits import ConfigError
from dagferry_puller.readers import open_reader
from dagferry_puller.recorder import Recorder
from dagferry_puller.session import Session
from dagferry_puller.status import Status
from dagferry_puller.trustfile import TrustSource
from dagferry_shared import __version__, times
from dagferry_shared.errors import DagferryError, Reason, Refused

if TYPE_CHECKING:
    from dagferry_puller.options import Settings
    from dagferry_puller.tell import Teller
    from dagferry_shared.store import BlobReader

MAX_TOKEN = 4096  # bytes


def open_store(settings: Settings) -> BlobReader:
    """Open the store; nothing is requested yet."""
    try:
        return open_reader(settings.store)
    except DagferryError as error:
        raise ConfigError("--store", str(error)) from error


def open_trust(settings: Settings) -> TrustSource:
    """Read the trust file for the first time: unlike later, a bad one is a wrong setting now."""
    source = TrustSource(settings)
    try:
        source.rules()
    except Refused as error:
        setting = {Reason.UNTRUSTED_CHANNEL: "--channel", Reason.WRONG_BUNDLE: "--bundle"}.get(error.reason, "--trust")
        raise ConfigError(setting, error.detail) from error
    return source


def open_session(settings: Settings, reader: BlobReader, trust: TrustSource, recorder: Recorder) -> Session:
    """Open the root and check that it can be ours."""
    session = Session(settings, reader, trust, recorder)
    try:
        volume = session.open()
        occupied = volume.link.is_occupied()
    except OSError as error:
        raise ConfigError("--root", f"{settings.root} cannot be used: {error.strerror or error}") from error
    if not volume.root.is_writable():
        raise ConfigError("--root", f"{settings.root} is not writable for uid {os.geteuid()}, or mounted read-only")
    if occupied and not volume.has_history():
        path = os.path.join(settings.root, settings.link)
        raise ConfigError("--link", f"{path} is there and is not a link; move it away: mv {path} {path}.old")
    owner = session.owner() if session.own() is None else None
    if owner and (owner.bundle, owner.channel) != (settings.bundle, settings.channel):
        raise ConfigError("--root", f"{settings.root} is owned by another puller ({owner})")
    return session


def open_teller(settings: Settings, recorder: Recorder) -> Teller:
    """Check what is needed to tell Airflow of swaps; it is not asked yet, and need not be there."""
    from dagferry_puller.tell import Teller, connect  # noqa: PLC0415 - http costs 4 MiB that most pullers save

    setting = "--airflow-credentials-file" if settings.airflow_credentials_file else "DAGFERRY_AIRFLOW_*"
    try:
        connect(settings)
    except ValueError as error:
        raise ConfigError(
            "--airflow-ca" if settings.airflow_ca and settings.airflow_ca in str(error) else setting, str(error)
        ) from error
    return Teller(settings, recorder)


def new_recorder(settings: Settings) -> Recorder:
    """Return a recorder that says who we are."""
    return Recorder(
        Status(
            program=__version__,
            mode=settings.mode,
            bundle=settings.bundle,
            channel=settings.channel,
            store=settings.store,
            root=os.path.abspath(settings.root),
            link=settings.link,
            started=times.show(times.now()),
            host=os.uname().nodename,
            period=settings.period,
            notified_period=settings.notified_period,
        )
    )


def read_token(file: str, option: str = "notify-token-file") -> bytes | None:
    """Return a token; None if none is set.

    Args:
        file: the option's value: the file that holds it; empty: the environment does, or nothing.
        option: its name; the variable has its name without ``-file``.

    Raises:
        ConfigError: it cannot be read, or would let everybody in, or nobody.
    """
    setting = f"--{option}"
    if file:
        try:
            with open(file, encoding="utf-8") as opened:
                token = opened.read(MAX_TOKEN + 1).strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(setting, f"cannot read it: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    else:
        setting = "DAGFERRY_" + option.removesuffix("-file").upper().replace("-", "_")
        given = os.environ.get(setting)
        if given is None:
            return None
        token = given
    if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigError(setting, "the token is empty, too long or not printable ASCII")
    return token.encode()
