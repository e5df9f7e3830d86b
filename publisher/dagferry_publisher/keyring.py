"""Keys from files and environment variables; never from the command line itself."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UsageError
from dagferry_publisher.settings import variable
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.keys import MAX_PEM, FileSigner, PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagferry_publisher.settings import Setting
    from dagferry_shared.keys import Signer
    from dagferry_shared.trust import Role

_PEM = "-----BEGIN"


def read_bounded(path: str, option: str, limit: int) -> bytes:
    """Read a small file; UsageError says which option names a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"--{option} {path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(f"--{option} {path} is larger than {limit} bytes")
    return data


def public_key(path: str, option: str) -> PublicKey:
    """Read a public key file."""
    return PublicKey.from_pem(read_bounded(path, option, MAX_PEM), path)


def _passphrase(option: str, environ: Mapping[str, str]) -> bytes | None:
    text = environ.get(f"{variable(option)}_PASSPHRASE")
    return text.encode() if text else None


def signers(
    option: str, setting: Setting, environ: Mapping[str, str], ask: Callable[[str], str] | None = None
) -> list[FileSigner]:
    """Load the private keys that a setting names.

    Args:
        option: ``release-key`` or ``pointer-key``; the passphrase is in ``DAGFERRY_<OPTION>_PASSPHRASE``.
        setting: file names, or from the environment the PEM text itself.
        environ: the environment.
        ask: asks a person for the passphrase of an encrypted key; None where nobody is there.

    Raises:
        UsageError: a file cannot be read, or a key stands on the command line.
        Refused: BAD_KEY.
    """
    loaded = []
    for word in setting.value:
        if _PEM in word:
            if setting.origin != variable(option):
                raise UsageError(f"--{option} takes a file name: a key on the command line is seen by every process")
            pem, where = word.encode(), variable(option)
        else:
            pem, where = read_bounded(os.path.expanduser(word), option, MAX_PEM), word
        passphrase = _passphrase(option, environ)
        if passphrase is None and ask and b"ENCRYPTED" in pem:
            passphrase = ask(where).encode()
        loaded.append(FileSigner.from_pem(pem, passphrase, where))
    return loaded


def check_role(role: Role, found: Sequence[Signer], option: str, channel: str) -> None:
    """Refuse keys that the trust file does not give a role, before anything is uploaded."""
    for signer in found:
        keyid = signer.public.id
        if keyid in role.retired:
            raise Refused(
                Reason.RETIRED_KEY, f"--{option} {keyid[:16]}… is retired on channel {channel}: use its successor"
            )
        if keyid not in role.keys:
            raise Refused(
                Reason.UNKNOWN_KEY,
                f"--{option} {keyid[:16]}… may not sign for channel {channel}; it may with dagctl trust add-key",
            )
    if len({signer.public.id for signer in found}) < role.threshold:
        raise Refused(Reason.THRESHOLD, f"channel {channel} needs {role.threshold} keys: give --{option} for each")


def write_pair(out: Path, signer: FileSigner, passphrase: bytes | None) -> tuple[Path, Path]:
    """Write ``out.key`` (0600) and ``out.pub``, durably and never in part; UsageError if either is there already."""
    private, public = Path(f"{out}.key"), Path(f"{out}.pub")
    written: list[Path] = []
    try:
        for path, content, mode in (
            (private, signer.to_pem(passphrase), 0o600),
            (public, signer.public.pem.encode(), 0o644),
        ):
            _write_new(path, content, mode)
            written.append(path)
        _sync_directory(path.parent)
    except OSError as error:
        for done in written:  # no half pair
            done.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise UsageError(f"{path} is there already: a key is never overwritten") from error
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return private, public


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file under another name and link it, which fails if there is one of that name."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.link(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
