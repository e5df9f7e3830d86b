"""What only the puller's S3 adapter does: rotation, anonymous reads, TLS, settings of its own."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagferry_puller.awsenv import AwsSettingsError
from dagferry_puller.readers import open_reader
from dagferry_puller.s3reader import S3Reader, Timeouts, _first_line
from dagferry_shared.errors import StoreDenied, StoreUnreachable
from dagferry_shared.store.directory import DirectoryReader
from dagferry_shared.store.memory import MemoryStore
from dagferry_shared.store.url import BadStoreUrl
from support import tls
from support.raw_server import RawServer, failure, reply

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from dagferry_shared.store import BlobReader

SHORT = Timeouts(2.0, 0.5, 5.0, 5.0)
KEYS = {"AWS_ACCESS_KEY_ID": "envkey", "AWS_SECRET_ACCESS_KEY": "SECRETSHOWNNOWHERE"}


def write_credentials(path: Path, key: str) -> None:
    """As a Kubernetes Secret is updated: another file takes the name."""
    new = path.with_name("new")
    new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")
    new.replace(path)


def test_rotated_credentials_are_used_from_the_next_call_on(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    write_credentials(path, "first")
    with RawServer(reply("200 OK", b"data")) as server:
        environ = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_ENDPOINT_URL": server.endpoint}
        reader = S3Reader("bucket", environ=environ, home=tmp_path, timeouts=SHORT)
        reader.get("key", limit=9)
        write_credentials(path, "second")
        reader.get("key", limit=9)
        list(reader.stream("key", limit=9))
    used = [request.partition("Credential=")[2].partition("/")[0] for request in server.requests]
    assert used == ["first", "second", "second"]


def test_credentials_that_cannot_be_read_for_a_moment_are_denied_until_they_can(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    write_credentials(path, "first")
    with RawServer(reply("200 OK", b"data")) as server:
        environ = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_ENDPOINT_URL": server.endpoint}
        reader = S3Reader("bucket", environ=environ, home=tmp_path, timeouts=SHORT)
        path.write_text("SECRETSHOWNNOWHERE")
        with pytest.raises(StoreDenied) as got:
            reader.get("key", limit=9)
        assert "SECRETSHOWNNOWHERE" not in str(got.value)
        with pytest.raises(StoreDenied):
            list(reader.stream("key", limit=9))
        write_credentials(path, "second")
        assert reader.get("key", limit=9) is not None
    assert len(server.requests) == 1


def test_a_session_token_from_the_environment_is_not_mixed_with_a_key_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_credentials(tmp_path / "credentials", "filekey")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stale")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with RawServer(reply("200 OK", b"data")) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        S3Reader("bucket", timeouts=SHORT).get("key", limit=9)
    assert "x-amz-security-token" not in server.requests[0].lower()


def test_obstore_takes_nothing_from_the_environment_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(reply("200 OK", b"data")) as server, RawServer(reply("200 OK", b"wrong")) as other:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", other.endpoint)
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
        reader = S3Reader(
            "bucket", environ={**KEYS, "AWS_ENDPOINT_URL": server.endpoint}, home=tmp_path, timeouts=SHORT
        )
        reader.get("key", limit=9)
    assert other.requests == []
    assert server.requests[0].startswith("GET /bucket/key ")
    assert "Credential=envkey/" in server.requests[0]


def test_without_credentials_requests_are_anonymous(tmp_path: Path) -> None:
    with RawServer(reply("200 OK", b"data"), failure("403 Forbidden", "AccessDenied")) as server:
        reader = S3Reader("bucket", environ={"AWS_ENDPOINT_URL": server.endpoint}, home=tmp_path, timeouts=SHORT)
        assert reader.get("key", limit=9) is not None
        with pytest.raises(StoreDenied, match="without credentials"):
            reader.get("key", limit=9)
    assert "authorization" not in server.requests[0].lower()


def test_an_object_that_drips_is_given_up_at_its_deadline(tmp_path: Path) -> None:
    def drip(connection: socket.socket) -> None:
        reply("200 OK", length=1 << 40)(connection)
        while not server.release.wait(0.05):  # each byte starts the read time-out anew
            connection.sendall(b"x")

    with RawServer(drip) as server:
        environ = {"AWS_ENDPOINT_URL": server.endpoint}
        reader = S3Reader("bucket", environ=environ, home=tmp_path, timeouts=Timeouts(2.0, 60.0, 0.3, 0.3))
        with pytest.raises(StoreUnreachable, match="no answer in time"):
            reader.get("key", limit=1 << 40)


def test_a_wrong_setting_is_told_at_once(tmp_path: Path) -> None:
    for environ in (
        {"AWS_ENDPOINT_URL": "not a url"},
        {"AWS_CA_BUNDLE": str(tmp_path / "missing")},
        {"AWS_CA_BUNDLE": "/dev/null"},
    ):
        with pytest.raises(AwsSettingsError):
            S3Reader("bucket", environ=environ, home=tmp_path)


def test_a_broken_ca_certificate_is_told_at_once(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(AwsSettingsError, match="does not accept its settings") as got:
        S3Reader("bucket", environ={"AWS_CA_BUNDLE": str(bundle)}, home=tmp_path)
    assert "\n" not in str(got.value)


def test_a_large_object_may_take_longer_than_a_small_one(tmp_path: Path) -> None:
    reader = S3Reader("bucket", environ={}, home=tmp_path)
    options = reader._current_client(Timeouts().stream_seconds).client_options
    assert options is not None
    assert str(options["timeout"]) == "15m"  # obstore's own is 30 seconds


def test_a_debug_text_of_obstore_is_shown_as_one_short_clean_line() -> None:
    assert _first_line(ValueError("a\x1b[31m\nDebug source")) == "a?[31m"
    assert len(_first_line(ValueError("x" * 10_000))) == 200
    assert _first_line(ValueError("Error performing GET http://h/k in 41.9µs - HTTP error")) == (
        "Error performing GET http://h/k - HTTP error"
    )


def test_a_redirect_to_another_host_gets_no_credentials(tmp_path: Path) -> None:
    # obstore follows it and has no option against that; what comes back is verified as anything else.
    with RawServer(reply("200 OK", b"evil")) as other:
        redirect = reply("307 Temporary Redirect", Location=f"{other.endpoint}/x".replace("localhost", "127.0.0.1"))
        with RawServer(redirect) as server:
            environ = {**KEYS, "AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL": server.endpoint}
            S3Reader("bucket", environ=environ, home=tmp_path, timeouts=SHORT).get("key", limit=9)
    assert "authorization" not in other.requests[0].lower()


def test_a_url_opens_the_reader_that_it_names(tmp_path: Path, bucket: str) -> None:
    assert isinstance(open_reader(tmp_path.as_uri()), DirectoryReader)
    assert repr(open_reader(f"s3://{bucket}/pre")).startswith(f"S3Reader('s3://{bucket}/pre/'")
    with pytest.raises(BadStoreUrl):
        open_reader("ftp://host/path")


def test_obstore_is_loaded_only_for_s3() -> None:
    code = "import sys, dagferry_puller.readers as r; r.open_reader('file:///tmp'); print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def ca(tmp_path: Path) -> tls.Authority:
    return tls.Authority(tmp_path)


def reader_on(server: RawServer, home: Path, **environ: str) -> BlobReader:
    return S3Reader("bucket", environ={"AWS_ENDPOINT_URL": server.endpoint, **environ}, home=home, timeouts=SHORT)


def test_the_ca_of_aws_ca_bundle_is_trusted(ca: tls.Authority, tmp_path: Path) -> None:
    with RawServer(reply("200 OK", b"data"), tls=tls.context(ca.server())) as server:
        blob = reader_on(server, tmp_path, AWS_CA_BUNDLE=str(ca.path)).get("key", limit=9)
    assert blob is not None


def test_an_unknown_ca_is_told_with_the_cure(ca: tls.Authority, tmp_path: Path) -> None:
    with (
        RawServer(reply("200 OK", b"data"), tls=tls.context(ca.server())) as server,
        pytest.raises(StoreUnreachable, match="set AWS_CA_BUNDLE"),
    ):
        reader_on(server, tmp_path).get("key", limit=9)
    assert server.requests == []


def test_a_ca_certificate_as_the_servers_own_is_told_with_the_cure(ca: tls.Authority, tmp_path: Path) -> None:
    with (
        RawServer(reply("200 OK", b"data"), tls=tls.context(ca.path)) as server,
        pytest.raises(StoreUnreachable, match="a certificate of its own"),
    ):
        reader_on(server, tmp_path, AWS_CA_BUNDLE=str(ca.path)).get("key", limit=9)


def test_a_store_that_closes_without_an_answer_is_told_with_the_cure(tmp_path: Path) -> None:
    with (
        RawServer(lambda _: None) as server,
        pytest.raises(StoreUnreachable, match="http where the store speaks https"),
    ):
        reader_on(server, tmp_path).get("key", limit=9)


def test_a_replaced_ca_file_is_read_again(ca: tls.Authority, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    (tmp_path / "other").mkdir()
    bundle.write_bytes(tls.Authority(tmp_path / "other").path.read_bytes())
    with RawServer(reply("200 OK", b"data"), tls=tls.context(ca.server())) as server:
        reader = reader_on(server, tmp_path, AWS_CA_BUNDLE=str(bundle))
        with pytest.raises(StoreUnreachable):
            reader.get("key", limit=9)
        os.replace(ca.path, bundle)
        assert reader.get("key", limit=9) is not None


def test_a_memory_store_uses_the_clock_that_it_is_given() -> None:
    now = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    store = MemoryStore(clock=lambda: now)
    store.create("a", b"")
    info = store.head("a")
    assert info is not None
    assert store.now() == info.modified == now
