"""The standard AWS settings, from the environment and the two AWS files, without an AWS library.

Precedence is boto3's: environment, then credentials file, then config file. What only an AWS library could do
(roles, SSO, credential processes) is refused where it is asked for, never quietly skipped.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TextIO

from dagferry_shared.errors import DagferryError
from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_REGION = "us-east-1"  # RGW accepts any
_NOT_SUPPORTED = ("role_arn", "credential_process", "sso_session", "sso_start_url", "web_identity_token_file")
_MAX_CREDENTIAL = 4096  # characters
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_ENDPOINT = re.compile(
    r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/[A-Za-z0-9._~-]+)*/?"
)
_MAX_PORT = 65535


class AwsSettingsError(DagferryError):
    """A setting that cannot be used; the text names it and never shows a value that may be a secret."""


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """How to reach S3, and as whom."""

    access_key_id: str = field(repr=False)  # empty: anonymous
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)  # empty: none
    region: str
    endpoint: str | None  # None: AWS itself
    ca_bundle: str | None
    seen: tuple[tuple[str, tuple[int, ...]], ...] = field(repr=False)  # each file, and its state before it was read

    @property
    def anonymous(self) -> bool:
        """Whether there are no credentials, so that requests are not signed."""
        return not self.access_key_id

    def changed(self) -> bool:
        """Whether one of the files was changed or replaced since (a Kubernetes Secret swaps a link)."""
        return any(_state(path) != state for path, state in self.seen)


def read_settings(environ: Mapping[str, str], home: Path | str) -> AwsSettings:
    """Read the settings; AwsSettingsError says which one is wrong."""
    files = _Files(environ, home)
    key, secret, token = _credentials(environ, files)
    bundle = environ.get("AWS_CA_BUNDLE") or files.config.get("ca_bundle")
    ca_bundle = _expanded(bundle, home) if bundle else None
    watched = [(ca_bundle, _state(ca_bundle))] if ca_bundle else []
    return AwsSettings(
        access_key_id=_credential("access key", key),
        secret_access_key=_credential("secret key", secret),
        session_token=_credential("session token", token),
        region=_region(environ, files.config),
        endpoint=_endpoint(environ, files),
        ca_bundle=ca_bundle,
        seen=(*files.seen, *watched),
    )


def _state(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class _Files:
    """The profile's section of both files."""

    def __init__(self, environ: Mapping[str, str], home: Path | str) -> None:
        self.profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
        self.paths = (
            _expanded(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials", home),
            _expanded(environ.get("AWS_CONFIG_FILE") or "~/.aws/config", home),
        )
        self.seen = tuple((path, _state(path)) for path in self.paths)  # before they are read
        in_credentials = _parsed(self.paths[0], wanted=environ.get("AWS_SHARED_CREDENTIALS_FILE"))
        in_config = _parsed(self.paths[1], wanted=environ.get("AWS_CONFIG_FILE"))
        section = self.profile if self.profile == "default" else f"profile {self.profile}"
        self.credentials = in_credentials.get(self.profile, {})
        self.config = in_config.get(section, {})
        self.services = in_config.get(f"services {self.config.get('services', '')}", {})
        if self.profile != "default" and not self.credentials and not self.config:
            raise AwsSettingsError(f"AWS_PROFILE: {' and '.join(map(str, self.paths))} have no such profile")


def _expanded(value: str, home: Path | str) -> str:
    return os.path.join(home, value[2:]) if value.startswith("~/") else value


def _parsed(path: str, *, wanted: str | None) -> dict[str, dict[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            return _sections(path, file)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not wanted:
            return {}
        # A Secret that was asked for and is not mounted must not turn into anonymous requests.
        raise AwsSettingsError(f"cannot read {path}: {error.strerror}") from error


def _sections(path: str, file: TextIO) -> dict[str, dict[str, str]]:
    import configparser  # noqa: PLC0415 - where the environment says all, a start is 3 ms shorter

    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(file.read())
    except (configparser.Error, UnicodeDecodeError):
        # Not chained: both errors quote the text that they fail at, which may be a secret.
        raise AwsSettingsError(f"cannot read {path}: it is not an AWS file in INI format") from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _credentials(environ: Mapping[str, str], files: _Files) -> tuple[str, str, str]:
    """Return key id, secret and token of the first source that has a key; all empty if none has."""
    found = _key_pair("the environment", {name.lower(): value for name, value in environ.items()})
    if found:
        return found
    for name in _NOT_SUPPORTED:
        if name in files.credentials or name in files.config:
            raise AwsSettingsError(
                f"the AWS profile uses {name}, which the puller cannot: use aws_access_key_id and aws_secret_access_key"
            )
    in_credentials = _key_pair(str(files.paths[0]), files.credentials)
    return in_credentials or _key_pair(str(files.paths[1]), files.config) or ("", "", "")


def _key_pair(place: str, source: Mapping[str, str]) -> tuple[str, str, str] | None:
    key, secret = source.get("aws_access_key_id"), source.get("aws_secret_access_key")
    if key and secret:
        return key, secret, source.get("aws_session_token", "")
    if key or secret:
        raise AwsSettingsError(f"{place} has only one of aws_access_key_id and aws_secret_access_key")
    return None


def _credential(what: str, value: str) -> str:
    if len(value) > _MAX_CREDENTIAL or " " in value or not (value.isascii() and value.isprintable()):
        raise AwsSettingsError(f"the AWS {what} has white space (a newline at its end?) or non-ASCII characters in it")
    return value


def _region(environ: Mapping[str, str], config: Mapping[str, str]) -> str:
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or config.get("region") or DEFAULT_REGION
    if not _REGION.fullmatch(region):
        raise AwsSettingsError("AWS_REGION is not the name of a region")
    return region


def _endpoint(environ: Mapping[str, str], files: _Files) -> str | None:
    endpoint = (
        environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or _nested(files.services.get("s3", "")).get("endpoint_url")
        or files.config.get("endpoint_url")
    )
    if not endpoint:
        return None
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        raise AwsSettingsError(
            "AWS_ENDPOINT_URL is not a URL like https://host or http://host:port (no user, password or query)"
        )
    return endpoint.rstrip("/")


def _nested(text: str) -> dict[str, str]:
    """Parse the indented lines below a key, which the config file uses for settings of one service."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, separator, value in pairs if separator}
