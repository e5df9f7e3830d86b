"""The client against a server that answers well, and credentials that must not be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_shared.airflowapi import address, credentials
from dagferry_shared.airflowapi.client import Airflow
from dagferry_shared.airflowapi.credentials import Credentials
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from support.fakeairflowapi import JWT, PASSWORD, USER, FakeAirflow
from support.tls import Authority, context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME = Credentials(USER, PASSWORD)


def client(fake: FakeAirflow, who: Credentials = ME, **more: str) -> Airflow:
    return Airflow(address.parse(fake.url), who, **more)


@pytest.fixture(params=[3, 2])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeAirflow]:
    with FakeAirflow(request.param) as server:
        yield server


def test_dags_and_import_errors_are_read_from_either_version(fake: FakeAirflow) -> None:
    fake.dag("a", parsed="2026-11-25T14:00:00.5+00:00")
    fake.error("bad", at="2026-11-25T14:00:01Z")
    airflow = client(fake)
    (dag,) = airflow.dags()
    assert (dag.dag_id, dag.file, dag.token) == ("a", fake.place("a"), "tok.a.py")
    assert dag.parsed is not None
    assert dag.parsed.isoformat() == "2026-11-25T14:00:00.500000+00:00"
    assert (dag.bundle, dag.seconds) == (("dags-folder", 0.0) if fake.major == 3 else ("", None))
    (failure,) = airflow.import_failures()
    assert (failure.file, failure.error) == (fake.place("bad"), "RuntimeError: no")
    assert airflow.version.startswith(f"{fake.major}.")


def test_a_list_of_many_pages_is_read_whole_and_nothing_twice(fake: FakeAirflow) -> None:
    fake.page = 7  # less than was asked for: [api] maximum_page_limit
    for number in range(23):
        fake.dag(f"d{number}")
    assert len(client(fake).dags()) == 23
    assert sum("/dags?" in asked for asked in fake.asked) == 4


def test_a_dag_that_was_never_parsed_and_an_error_without_trace_are_read(fake: FakeAirflow) -> None:
    fake.dag("a")
    fake.dags["a"]["last_parsed_time"] = None
    fake.error("bad")
    fake.errors["bad"]["stack_trace"] = None
    assert client(fake).dags()[0].parsed is None
    assert client(fake).import_failures()[0].error == ""


def test_only_one_bundle_is_read_if_one_is_named() -> None:
    with FakeAirflow() as fake:
        fake.dag("a")
        fake.dag("other")
        fake.dags["other"]["bundle_name"] = "elsewhere"
        fake.error("bad")
        airflow = client(fake)
        assert [dag.dag_id for dag in airflow.dags("elsewhere")] == ["other"]
        assert airflow.import_failures("elsewhere") == ()
        assert len(airflow.dags()) == 2
        fake.instead["/api/v2/dags"] = (200, b'{"dags": [%s], "total_entries": 1}' % _entry(fake, "a"))
        assert airflow.dags("elsewhere") == ()  # an Airflow that does not know the filter, as 3.0


def _entry(fake: FakeAirflow, name: str) -> bytes:
    import json

    return json.dumps(fake.dags[name]).encode()


def test_a_file_is_told_by_its_token(fake: FakeAirflow) -> None:
    fake.dag("a")
    client(fake).reparse("tok.a.py")
    assert fake.tokens == ["tok.a.py"]
    with pytest.raises(AirflowError) as caught:
        client(fake).reparse("tok.gone.py")
    assert caught.value.trouble is Trouble.NOT_FOUND


def test_a_bearer_token_is_used_as_it_is(fake: FakeAirflow) -> None:
    fake.dag("a")
    assert len(client(fake, Credentials(token=JWT)).dags()) == 1
    assert not any("auth/token" in asked for asked in fake.asked)


def test_a_login_that_ran_out_is_renewed_once() -> None:
    with FakeAirflow() as fake:
        fake.dag("a")
        airflow = client(fake)
        airflow.dags()
        airflow._bearer = "of.yesterday"
        assert len(airflow.dags()) == 1
        airflow._bearer = "of.yesterday"
        fake.instead["/auth/token"] = (201, b'{"access_token": "also.bad"}')
        with pytest.raises(AirflowError) as caught:
            airflow.dags()
        assert caught.value.trouble is Trouble.DENIED
        assert sum("auth/token" in asked for asked in fake.asked) == 3


@pytest.mark.parametrize("who", [Credentials(), Credentials(USER, "wrong"), Credentials(token="wrong")])
def test_wrong_or_no_credentials_are_denied(fake: FakeAirflow, who: Credentials) -> None:
    with pytest.raises(AirflowError) as caught:
        client(fake, who).dags()
    assert caught.value.trouble is Trouble.DENIED
    assert "wrong" in caught.value.detail  # "credentials are wrong or missing"
    assert PASSWORD not in str(caught.value)


def test_an_upgrade_under_way_is_found_out() -> None:
    with FakeAirflow(2) as fake:
        fake.dag("a")
        airflow = client(fake)
        airflow.dags()
        fake.major = 3
        fake.dags.clear()
        with pytest.raises(AirflowError):
            airflow.dags()
        assert airflow.dags() == ()
        assert airflow.version == "3.3.2"


def test_https_is_checked_by_the_ca_that_is_given(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with FakeAirflow(tls=context(authority.server())) as fake:
        fake.dag("a")
        assert len(client(fake, ca=str(authority.path)).dags()) == 1
        with pytest.raises(AirflowError, match="certificate") as caught:
            client(fake).dags()
        assert caught.value.trouble is Trouble.UNREACHABLE
    with pytest.raises(ValueError, match="no certificates"):
        Airflow(address.parse("https://airflow"), ME, ca=str(tmp_path / "none.pem"))


def test_credentials_show_nothing_of_themselves(tmp_path: Path) -> None:
    who = Credentials("somebody", "very-secret")
    assert "secret" not in repr(who)
    assert "somebody" not in repr(who)
    file = tmp_path / "file"
    for text in ("password=very-secret\n", "very-secret\n", "token=very-secret\nusername=x\npassword=y\n", "x" * 20000):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"^.") as caught:
            credentials.from_file(str(file))
        assert "secret" not in str(caught.value)


def test_credentials_come_from_a_file_or_variables(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("username = me\n\npassword=a=b c\n")
    assert credentials.from_file(str(file)) == Credentials("me", "a=b c")
    file.write_text("token=abc\n")
    assert credentials.from_file(str(file)) == Credentials(token="abc")
    environ = {"DAGFERRY_AIRFLOW_USERNAME": "me", "DAGFERRY_AIRFLOW_PASSWORD": "pw"}
    assert credentials.from_environ(environ) == Credentials("me", "pw")
    assert credentials.from_environ({}) == Credentials()


@pytest.mark.parametrize("text", ["", "username=\n", "username=a\n", "user=a\npassword=b\n", "token=a\ntoken=b\n"])
def test_other_files_are_no_credentials(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"^(is|holds)"):
        credentials.from_file(str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        credentials.from_file(str(file))
    with pytest.raises(ValueError, match="No such file"):
        credentials.from_file(str(tmp_path / "none"))


@pytest.mark.parametrize("bad", [{"token": "a b"}, {"token": "ä"}, {"username": "a:b", "password": "c"}])
def test_credentials_that_cannot_be_sent_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^(the|holds)"):
        Credentials(**bad)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host", "http://host:80"),
        ("https://host/airflow/", "https://host:443/airflow"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_is_read(text: str, shown: str) -> None:
    assert str(address.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "host", "ftp://host", "http://", "http://host:0", "http://host:x", "http://host/a b", "http://host/?q",
     "http://host/#f", "http://host/../x?y", "http://ho\nst/", "http://[::1", "http://h/%2e"],
)  # fmt: skip
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is"):
        address.parse(text)


def test_an_address_takes_no_credentials_and_does_not_repeat_them() -> None:
    with pytest.raises(ValueError, match="no credentials") as caught:
        address.parse("http://me:secret@host")
    assert "secret" not in str(caught.value)
