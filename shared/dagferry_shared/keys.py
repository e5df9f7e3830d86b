"""Ed25519 keys in PEM (PKCS#8, SPKI), as ``openssl`` makes and reads them, and the signer protocol.

A key's id is the SHA-256 of the DER of its public key (SubjectPublicKeyInfo), in hex.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass, field

MAX_PEM = 4096  # bytes
_BEGIN = b"-----BEGIN "
_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: the DER before the 32 bytes of each Ed25519 public key
_HEAD, _TAIL = b"-----BEGIN PUBLIC KEY-----\n", b"\n-----END PUBLIC KEY-----\n"


class Signer(Protocol):
    """Something that signs: a key file here; a KMS or Vault key is one more implementation."""

    @property
    def public(self) -> PublicKey:
        """The public key that verifies what this signs."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over ``message``."""
        ...


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and its id."""

    id: str
    pem: str
    key: Ed25519PublicKey = field(repr=False, compare=False)

    @staticmethod
    def of(key: Ed25519PublicKey) -> PublicKey:
        """Give a key its id and its one PEM form."""
        der = _SPKI + key.public_bytes_raw()
        return PublicKey(hashlib.sha256(der).hexdigest(), _pem(der).decode(), key)

    @staticmethod
    def from_pem(pem: bytes, where: str = "public key") -> PublicKey:
        """Read a PEM public key; Refused(BAD_KEY) for anything but one Ed25519 SPKI key."""
        if len(pem) > MAX_PEM or pem.count(_BEGIN) != 1:
            raise Refused(Reason.BAD_KEY, f"{where} is not one PEM block of at most {MAX_PEM} bytes")
        if b"PRIVATE KEY" in pem:
            raise Refused(Reason.BAD_KEY, f"{where} holds a private key; give the .pub file")
        return PublicKey.of(_usual_key(pem) or _any_key(pem, where))

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``message``."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _pem(der: bytes) -> bytes:
    return _HEAD + binascii.b2a_base64(der, newline=False) + _TAIL


def _usual_key(pem: bytes) -> Ed25519PublicKey | None:
    """Read a key in the very form that ``PublicKey.of`` and openssl write; None for all else.

    The library's reader of any PEM costs a start 13 ms, as it brings SSH keys and every cipher along.
    """
    try:
        der = binascii.a2b_base64(pem[len(_HEAD) : -len(_TAIL)])
        usual = der.startswith(_SPKI) and _pem(der) == pem
        return Ed25519PublicKey.from_public_bytes(der[len(_SPKI) :]) if usual else None
    except ValueError:
        return None


def _any_key(pem: bytes, where: str) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - see _usual_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(Reason.BAD_KEY, f"{where} is not a PEM public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Refused(Reason.BAD_KEY, f"{where} is not an Ed25519 key")
    return key


class FileSigner:
    """A private key read from a file or an environment variable, kept in memory."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public = PublicKey.of(key.public_key())

    @classmethod
    def generate(cls) -> FileSigner:
        """Make a new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None, where: str) -> FileSigner:
        """Read a PKCS#8 PEM private key; Refused(BAD_KEY) says what is wrong, without the key."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - see _usual_key

        if len(pem) > MAX_PEM or b"PRIVATE KEY" not in pem:
            raise Refused(Reason.BAD_KEY, f"{where} is not a PEM private key")
        try:
            key = load_pem_private_key(pem, passphrase or None)  # empty is none, as in to_pem
        except TypeError as error:
            state = "is not encrypted" if passphrase else "is encrypted, and no passphrase was given"
            raise Refused(Reason.BAD_KEY, f"{where} {state}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            cure = "wrong passphrase, or a damaged key" if passphrase else "not a readable PEM private key"
            raise Refused(Reason.BAD_KEY, f"{where}: {cure}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise Refused(Reason.BAD_KEY, f"{where} is not an Ed25519 key")
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """The public key that verifies what this signs."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over ``message``."""
        return self._key.sign(message)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """Write the private key as PKCS#8 PEM, encrypted if there is a passphrase."""
        from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415 - see _usual_key

        cipher = forms.BestAvailableEncryption(passphrase) if passphrase else forms.NoEncryption()
        return self._key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, cipher)

    def __repr__(self) -> str:
        return f"FileSigner({self._public.id})"
