import base64
import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from dagferry_shared.errors import Reason, Refused
from dagferry_shared.keys import MAX_PEM, FileSigner, PublicKey
from support.docs import fixed_key
from support.refusals import refused, short

KEY = fixed_key(1)
PUBLIC = KEY.public.pem.encode()
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def private_pem(key, fmt=PrivateFormat.PKCS8):
    return key.private_bytes(Encoding.PEM, fmt, NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_key_id_is_the_digest_of_the_der_that_openssl_writes():
    der = openssl("pkey", "-pubin", "-outform", "DER", stdin=PUBLIC)
    assert KEY.public.id == hashlib.sha256(der).hexdigest() == PublicKey.from_pem(PUBLIC).id


def test_key_survives_its_pem_with_and_without_passphrase():
    for passphrase in (None, b"secret"):
        again = FileSigner.from_pem(KEY.to_pem(passphrase), passphrase, "key")
        assert again.public == KEY.public
        assert KEY.public.verifies(again.sign(b"x"), b"x")


def test_generated_keys_differ():
    assert FileSigner.generate().public != FileSigner.generate().public


@pytest.mark.parametrize("cipher", [(), ("-aes256", "-pass", "pass:secret")])
def test_key_made_by_openssl_is_read(cipher):
    pem = openssl("genpkey", "-algorithm", "ed25519", *cipher)
    passphrase = b"secret" if cipher else None
    signer = FileSigner.from_pem(pem, passphrase, "key")
    public = openssl("pkey", "-pubout", "-passin", "pass:secret", stdin=pem)
    assert PublicKey.from_pem(public) == signer.public


def test_openssl_reads_our_encrypted_key():
    public = openssl("pkey", "-pubout", "-passin", "pass:secret", stdin=KEY.to_pem(b"secret"))
    assert public == PUBLIC


def test_openssl_verifies_our_signature(tmp_path):
    for name, data in (("pub", PUBLIC), ("message", b"hello"), ("sig", KEY.sign(b"hello"))):
        (tmp_path / name).write_bytes(data)
    assert b"Success" in openssl(
        "pkeyutl",
        "-verify",
        "-rawin",
        "-pubin",
        "-inkey",
        str(tmp_path / "pub"),
        "-in",
        str(tmp_path / "message"),
        "-sigfile",
        str(tmp_path / "sig"),
    )


@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 63, b"\0" * 64, b"\0" * 65, b"\xff" * 64, KEY.sign(b"y")])
def test_signature_that_is_wrong_or_of_wrong_length_does_not_verify(signature):
    assert KEY.public.verifies(KEY.sign(b"x"), b"x")
    assert not KEY.public.verifies(signature, b"x")


def test_signature_with_s_beyond_the_group_order_does_not_verify():
    signature, order = KEY.sign(b"x"), 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    assert not KEY.public.verifies(signature[:32] + s.to_bytes(32, "little"), b"x")


def test_wrong_passphrase_is_refused():
    with refused(Reason.BAD_KEY, "key: wrong passphrase"):
        FileSigner.from_pem(KEY.to_pem(b"secret"), b"guess", "key")


@pytest.mark.parametrize("passphrase", [None, b""])
def test_missing_passphrase_is_refused(passphrase):
    with refused(Reason.BAD_KEY, "key is encrypted, and no passphrase was given"):
        FileSigner.from_pem(KEY.to_pem(b"secret"), passphrase, "key")


def test_passphrase_for_a_key_that_is_not_encrypted_is_refused():
    with refused(Reason.BAD_KEY, "key is not encrypted"):
        FileSigner.from_pem(KEY.to_pem(None), b"secret", "key")


def test_empty_passphrase_is_none():
    assert FileSigner.from_pem(KEY.to_pem(b""), b"", "key").public == KEY.public


@pytest.mark.parametrize("key", [RSA, EC])
def test_key_of_another_kind_is_refused(key):
    with refused(Reason.BAD_KEY, "not an Ed25519 key"):
        FileSigner.from_pem(private_pem(key), None, "key")
    with refused(Reason.BAD_KEY, "not an Ed25519 key"):
        PublicKey.from_pem(public_pem(key))
    with refused(Reason.BAD_KEY):
        FileSigner.from_pem(private_pem(key, PrivateFormat.TraditionalOpenSSL), b"x", "key")


def test_private_key_where_a_public_one_belongs_is_refused_and_not_shown():
    pem = KEY.to_pem(None)
    with refused(Reason.BAD_KEY, "holds a private key"):
        PublicKey.from_pem(pem, "trust.keys")


def test_public_key_where_a_private_one_belongs_is_refused():
    with refused(Reason.BAD_KEY, "not a PEM private key"):
        FileSigner.from_pem(PUBLIC, None, "key")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"x",
        PUBLIC + PUBLIC,
        PUBLIC[:-30],
        b"-----BEGIN PUBLIC KEY-----\n",
        PUBLIC.replace(b"MCow", b"!!!!"),
        b" " * (MAX_PEM + 1 - len(PUBLIC)) + PUBLIC,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        PUBLIC.replace(b"PUBLIC", b"RSA PUBLIC"),
        b"\xff" * 100,
    ],
    ids=short,
)
def test_public_key_that_is_none_or_two_is_refused(pem):
    with refused(Reason.BAD_KEY):
        PublicKey.from_pem(pem)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"PRIVATE KEY",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        KEY.to_pem(None)[:-40],
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        KEY.to_pem(None) + b" " * MAX_PEM,
    ],
    ids=short,
)
def test_private_key_that_is_none_is_refused(pem):
    for passphrase in (None, b"secret"):
        with refused(Reason.BAD_KEY):
            FileSigner.from_pem(pem, passphrase, "key")


def test_openssh_key_is_refused():
    pem = KEY._key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with refused(Reason.BAD_KEY, "not a readable PEM private key"):
        FileSigner.from_pem(pem, None, "key")


def test_pem_with_carriage_returns_and_text_around_it_gives_the_same_key():
    key = PublicKey.from_pem(b"my key\r\n" + PUBLIC.replace(b"\n", b"\r\n"))
    assert key == KEY.public
    assert key.pem.encode() == PUBLIC


def test_no_secret_is_shown():
    pem = KEY.to_pem(None)
    secrets = [pem.split(b"\n")[1].decode(), (bytes([1]) * 32).hex(), "secret", repr(bytes([1]) * 32)]
    with pytest.raises(Refused) as caught:
        FileSigner.from_pem(KEY.to_pem(b"secret"), b"guess secret", "key")
    for shown in (repr(KEY), str(KEY), repr(KEY.public), str(caught.value)):
        assert not any(secret in shown for secret in secrets)
    assert KEY.public.id in repr(KEY)


def test_pem_of_exactly_the_limit_is_read():
    assert PublicKey.from_pem(PUBLIC.rjust(MAX_PEM, b"\n")) == KEY.public
    private = KEY.to_pem(None).rjust(MAX_PEM, b"\n")
    assert FileSigner.from_pem(private, None, "key").public == KEY.public
    with refused(Reason.BAD_KEY):
        FileSigner.from_pem(b"\n" + private, None, "key")


def test_key_in_another_form_than_ours_is_the_same_key() -> None:
    usual = FileSigner.generate().public
    lines = usual.pem.splitlines()
    for other in (usual.pem.strip(), usual.pem.replace("\n", "\r\n"), "words\n" + usual.pem):
        assert PublicKey.from_pem(other.encode()) == usual
    assert lines[0] == "-----BEGIN PUBLIC KEY-----"


def test_our_own_pem_is_what_the_library_writes() -> None:
    public = FileSigner.generate().public
    written = public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert (public.pem.encode(), PublicKey.from_pem(written)) == (written, public)


def test_usual_form_with_other_bytes_inside_is_refused() -> None:
    """The quick way must not take what the library would not."""
    der = base64.b64decode("".join(FileSigner.generate().public.pem.splitlines()[1:-1]))
    for wrong in (der[:-1], der + b"x", b"\x31" + der[1:], der[:11] + b"\x01" + der[12:], b"", der[:12]):
        body = base64.b64encode(wrong).decode()
        with refused(Reason.BAD_KEY):
            PublicKey.from_pem(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode())
