"""Options: command line before environment before default, each checked, each error named."""

from __future__ import annotations

from typing import Any

import pytest

from dagferry_puller import options
from dagferry_puller.exits import ConfigError

GIVEN: dict[str, str | None] = {
    "store": "file:///store",
    "bundle": "etl",
    "channel": "main",
    "trust": "trust.json",
    "root": "/root",
}


def resolve(mode: str = "run", environ: dict[str, str] | None = None, **given: str) -> options.Settings:
    return options.resolve(mode, {**GIVEN, **{k.replace("_", "-"): v for k, v in given.items()}}, environ or {})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("period", "0.5", 0.5),
        ("period", "5", 5.0),
        ("period", "2m", 120.0),
        ("http", "0.0.0.0:80", ("0.0.0.0", 80)),
        ("http", "[::1]:0", ("::1", 0)),
        ("http", "none", None),
        ("check_command", "a 'b c' --d", ("a", "b c", "--d")),
        ("check_command", "", ()),
        ("max_bytes", "64K", 65536),
        ("max_bytes", "2GiB", 2 << 30),
        ("max_bytes", "3MB", 3 << 20),
        ("max_files", "10", 10),
        ("keep_hours", "0", 0),
        ("min_rate", "0", 0),
        ("no_fsync", "true", True),
        ("no_fsync", "no", False),
        ("accept_expired_for", "0", 0.0),
        ("accept_expired_for", "7d", 604800.0),
        ("link", "a/b", "a/b"),
    ],
)
def test_value_is_read(name: str, text: str, value: Any) -> None:
    assert getattr(resolve(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("period", "0"),
        ("period", "0.0"),
        ("period", ".000"),
        ("period", "-1"),
        ("period", "1.5"),
        ("http", ":80"),
        ("http", "host:port"),
        ("max_bytes", ""),
        ("max_bytes", "1.5G"),
        ("max_bytes", "0"),
        ("no_fsync", "perhaps"),
        ("bundle", ""),
        ("link", "a//b"),
        ("link", ".git"),
        ("log_level", "loud"),
    ],
)
def test_wrong_value_is_an_error_that_names_option_and_variable(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(**{name: text})
    option = name.replace("_", "-")
    assert str(caught.value).startswith(f"--{option} (or DAGFERRY_{name.upper()}): ")


def test_command_line_wins_over_environment_over_default() -> None:
    assert resolve().period == 5.0
    assert resolve(environ={"DAGFERRY_PERIOD": "7"}).period == 7.0
    assert resolve(environ={"DAGFERRY_PERIOD": "7"}, period="9").period == 9.0


def test_variables_of_the_other_mode_are_left_alone() -> None:
    environ = {"DAGFERRY_PIN": "nonsense", "DAGFERRY_PERIOD": "7"}
    assert (resolve("run", environ).pin, resolve("run", environ).period) == ("", 7.0)
    with pytest.raises(ConfigError, match="--pin"):
        resolve("once", environ)


def test_pin_and_commit_are_checked_and_exclusive() -> None:
    version = f"{'a' * 40}-{'b' * 64}"
    assert resolve("once", pin=version).pin == version
    with pytest.raises(ConfigError):
        resolve("once", commit="abc")
    with pytest.raises(ConfigError, match="--commit"):
        resolve("once", pin=version, commit="a" * 40)


def test_every_option_has_help_and_a_variable_of_its_own() -> None:
    assert all(option.help for option in options.OPTIONS)
    assert len({option.variable for option in options.OPTIONS}) == len(options.OPTIONS)
