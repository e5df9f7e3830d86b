from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagferry_puller.awsenv import AwsSettings, AwsSettingsError, read_settings

SECRET = "SECRETSHOWNNOWHERE"
PAIR = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    return tmp_path


def credentials(home: Path, text: str) -> None:
    (home / ".aws/credentials").write_text(text)


def config(home: Path, text: str) -> None:
    (home / ".aws/config").write_text(text)


def keys(settings: AwsSettings) -> tuple[str, str, str]:
    return settings.access_key_id, settings.secret_access_key, settings.session_token


def test_nothing_set_is_anonymous_in_the_default_region(tmp_path: Path) -> None:
    settings = read_settings({}, tmp_path)
    assert settings.anonymous
    assert keys(settings) == ("", "", "")
    assert (settings.region, settings.endpoint, settings.ca_bundle) == ("us-east-1", None, None)


def test_everything_is_taken_from_the_environment(tmp_path: Path) -> None:
    environ = {
        **PAIR,
        "AWS_SESSION_TOKEN": "token",
        "AWS_REGION": "here",
        "AWS_ENDPOINT_URL": "http://localhost:7480/",
        "AWS_CA_BUNDLE": "~/ca.pem",
    }
    settings = read_settings(environ, tmp_path)
    assert keys(settings) == ("key", SECRET, "token")
    assert not settings.anonymous
    assert settings.region == "here"
    assert settings.endpoint == "http://localhost:7480"
    assert settings.ca_bundle == str(tmp_path / "ca.pem")


def test_secrets_do_not_show_in_a_repr(tmp_path: Path) -> None:
    shown = repr(read_settings({**PAIR, "AWS_SESSION_TOKEN": "TOKENSHOWNNOWHERE"}, tmp_path))
    assert SECRET not in shown
    assert "TOKENSHOWNNOWHERE" not in shown
    assert "'key'" not in shown


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "https://one"}, "https://one"),
        ({"AWS_ENDPOINT_URL_S3": "https://two"}, "https://two"),
        ({"AWS_ENDPOINT_URL": "https://one", "AWS_ENDPOINT_URL_S3": "https://two"}, "https://two"),
        ({"AWS_ENDPOINT_URL": "https://one", "AWS_ENDPOINT_URL_S3": ""}, "https://one"),
        ({"AWS_ENDPOINT_URL": ""}, None),
    ],
)
def test_the_endpoint_of_s3_comes_before_the_general_one(
    tmp_path: Path, environ: dict[str, str], endpoint: str | None
) -> None:
    assert read_settings(environ, tmp_path).endpoint == endpoint


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_DEFAULT_REGION": "two"}, "two"),
        ({"AWS_REGION": "one", "AWS_DEFAULT_REGION": "two"}, "one"),
        ({"AWS_REGION": ""}, "from-config"),
    ],
)
def test_the_region_of_the_environment_comes_before_the_configured_one(
    home: Path, environ: dict[str, str], region: str
) -> None:
    config(home, "[default]\nregion = from-config\n")
    assert read_settings(environ, home).region == region


def test_the_environment_comes_before_the_credentials_file_before_the_config_file(home: Path) -> None:
    config(home, "[default]\naws_access_key_id = c\naws_secret_access_key = cs\naws_session_token = ct\n")
    assert keys(read_settings({}, home)) == ("c", "cs", "ct")
    credentials(home, "[default]\naws_access_key_id = f\naws_secret_access_key = fs\n")
    assert keys(read_settings({"AWS_SESSION_TOKEN": "of another key"}, home)) == ("f", "fs", "")
    assert keys(read_settings(PAIR, home)) == ("key", SECRET, "")


def test_a_secret_may_contain_any_printable_character(home: Path) -> None:
    credentials(home, "[default]\naws_access_key_id = f\naws_secret_access_key = a%b%(c)s/+=#;:$\n")
    assert read_settings({}, home).secret_access_key == "a%b%(c)s/+=#;:$"


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_selects_its_sections(home: Path, variable: str) -> None:
    credentials(
        home,
        "[default]\naws_access_key_id = d\naws_secret_access_key = ds\n"
        "[puller]\naws_access_key_id = p\naws_secret_access_key = ps\n",
    )
    config(
        home,
        "[default]\nregion = d\n[puller]\nregion = wrong\n"
        "[profile puller]\nregion = p\nendpoint_url = https://p\nca_bundle = /p/ca.pem\n",
    )
    settings = read_settings({variable: "puller"}, home)
    assert keys(settings) == ("p", "ps", "")
    assert (settings.region, settings.endpoint, settings.ca_bundle) == ("p", "https://p", "/p/ca.pem")
    default = read_settings({}, home)
    assert keys(default) == ("d", "ds", "")
    assert (default.region, default.endpoint) == ("d", None)


def test_a_profile_in_one_file_only_is_enough(home: Path) -> None:
    credentials(home, "[one]\naws_access_key_id = p\naws_secret_access_key = ps\n")
    config(home, "[profile two]\nregion = two\n")
    assert keys(read_settings({"AWS_PROFILE": "one"}, home)) == ("p", "ps", "")
    assert read_settings({"AWS_PROFILE": "two"}, home).region == "two"


def test_a_profile_that_is_nowhere_is_an_error(home: Path) -> None:
    with pytest.raises(AwsSettingsError, match=r"AWS_PROFILE: .*no such profile"):
        read_settings({"AWS_PROFILE": "nobody"}, home)


def test_the_endpoint_of_a_services_section_comes_before_the_profiles(home: Path) -> None:
    config(
        home,
        "[default]\nservices = ours\nendpoint_url = https://general\n"
        "[services ours]\nsns =\n  endpoint_url = https://sns\ns3 =\n  max = 1\n  endpoint_url = https://s3\n",
    )
    assert read_settings({}, home).endpoint == "https://s3"
    assert read_settings({"AWS_ENDPOINT_URL": "https://env"}, home).endpoint == "https://env"


def test_files_are_looked_for_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("[default]\naws_access_key_id = f\naws_secret_access_key = fs\n")
    (tmp_path / "d").write_text("[default]\nregion = there\n")
    settings = read_settings({"AWS_SHARED_CREDENTIALS_FILE": "~/c", "AWS_CONFIG_FILE": str(tmp_path / "d")}, tmp_path)
    assert settings.access_key_id == "f"
    assert settings.region == "there"


@pytest.mark.parametrize("variable", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"])
def test_a_file_that_was_asked_for_and_is_missing_is_not_anonymous(tmp_path: Path, variable: str) -> None:
    with pytest.raises(AwsSettingsError, match="No such file"):
        read_settings({variable: str(tmp_path / "missing")}, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"[default]\n{SECRET}\n",
        f"[default]\naws_secret_access_key = {SECRET}\naws_secret_access_key = {SECRET}\n",
        f"[default]\n[default]\naws_secret_access_key = {SECRET}\n",
    ],
)
def test_a_file_that_cannot_be_parsed_is_an_error_without_its_text(home: Path, text: str) -> None:
    credentials(home, text)
    with pytest.raises(AwsSettingsError, match="not an AWS file") as got:
        read_settings({}, home)
    assert SECRET not in str(got.value)
    assert got.value.__cause__ is None
    assert got.value.__suppress_context__


def test_a_file_that_is_not_text_is_an_error(home: Path) -> None:
    (home / ".aws/credentials").write_bytes(b"[default]\n\xff\xfe")
    with pytest.raises(AwsSettingsError, match="not an AWS file"):
        read_settings({}, home)


def test_a_file_that_cannot_be_read_is_an_error(home: Path) -> None:
    (home / ".aws/credentials").mkdir()
    with pytest.raises(AwsSettingsError, match="Is a directory"):
        read_settings({}, home)


@pytest.mark.parametrize("half", list(PAIR))
def test_half_a_key_pair_is_an_error(home: Path, half: str) -> None:
    with pytest.raises(AwsSettingsError, match="the environment has only one of") as got:
        read_settings({half: SECRET}, home)
    assert SECRET not in str(got.value)
    credentials(home, f"[default]\n{half.lower()} = {SECRET}\n")
    with pytest.raises(AwsSettingsError, match=r"\.aws/credentials has only one of") as got:
        read_settings({}, home)
    assert SECRET not in str(got.value)


@pytest.mark.parametrize(
    "name", ["role_arn", "credential_process", "sso_session", "sso_start_url", "web_identity_token_file"]
)
def test_what_only_an_aws_library_can_do_is_refused_and_not_skipped(home: Path, name: str) -> None:
    config(home, f"[default]\n{name} = x\n")
    with pytest.raises(AwsSettingsError, match=name):
        read_settings({}, home)
    assert not read_settings(PAIR, home).anonymous


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize(
    "value", [SECRET + "\n", " " + SECRET, SECRET + "\r\nX-Evil: 1", SECRET + "ä", SECRET + "\x00"]
)
def test_a_credential_that_no_header_can_hold_is_an_error(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(AwsSettingsError, match="white space") as got:
        read_settings({**PAIR, variable: value}, tmp_path)
    assert SECRET not in str(got.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://rgw.example.com",
        "http://127.0.0.1:7480",
        "http://[::1]:7480",
        "https://rgw:65535",
        "https://rgw/s3/path",
        "https://r",
    ],
)
def test_an_endpoint_is_a_url_of_a_host(tmp_path: Path, endpoint: str) -> None:
    assert read_settings({"AWS_ENDPOINT_URL": endpoint}, tmp_path).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "rgw",
        "rgw:7480",
        "ftp://rgw",
        "https://",
        "https:///x",
        "https://user:hunter2@rgw",
        "https://rgw?key=hunter2",
        "https://rgw#x",
        "https://rgw:65536",
        "https://rgw:port",
        "https://a b",
        "https://rgw\n",
        "https://rgw//x",
        "https://rgw/../x y",
    ],
)
def test_an_endpoint_that_is_not_one_is_an_error(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(AwsSettingsError, match="AWS_ENDPOINT_URL") as got:
        read_settings({"AWS_ENDPOINT_URL": endpoint}, tmp_path)
    assert "hunter2" not in str(got.value)


@pytest.mark.parametrize("region", ["a b", "a/b", "r" * 65, "ä"])
def test_a_region_that_is_not_one_is_an_error(tmp_path: Path, region: str) -> None:
    with pytest.raises(AwsSettingsError, match="AWS_REGION"):
        read_settings({"AWS_REGION": region}, tmp_path)


@pytest.mark.parametrize("file", [".aws/credentials", ".aws/config", "ca.pem"])
def test_a_changed_file_is_noticed(home: Path, file: str) -> None:
    path = home / file
    path.write_text("[default]\n")
    environ = {"AWS_CA_BUNDLE": "~/ca.pem"}
    assert not read_settings(environ, home).changed()

    settings = read_settings(environ, home)
    path.write_text("[default]\n# changed\n")
    assert settings.changed()

    settings = read_settings(environ, home)
    (home / "new").write_bytes(path.read_bytes())
    os.utime(home / "new", ns=(path.stat().st_mtime_ns,) * 2)
    (home / "new").replace(path)  # same content, size and time: another file
    assert settings.changed()

    settings = read_settings(environ, home)
    path.unlink()
    assert settings.changed()

    settings = read_settings(environ, home)
    assert not settings.changed()
    path.write_text("[default]\n")
    assert settings.changed()
