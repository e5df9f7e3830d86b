"""Wrong settings of the relay end it at once, with a line that names the setting and shows no secret."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.relays import command

SECRET = "PASSWORDSHOWNNOWHERE"


def refused(*, environ: dict[str, str] | None = None, **settings: str) -> str:
    settings = {"listen": "127.0.0.1:0", **settings}
    done = subprocess.run(
        command(**settings), capture_output=True, text=True, timeout=30, env={**os.environ, **(environ or {})}
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr
    return done.stderr


GOOD = {"targets": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "--targets: is missing; give it, or set DAGFERRY_TARGETS"),
        ({"targets": " , "}, "--targets (or DAGFERRY_TARGETS): names no target"),
        ({"targets": "pods:9474"}, "is not dns://NAME:PORT"),
        ({"targets": "https://pods"}, "is not dns://NAME:PORT"),
        ({"targets": "dns://user@pods"}, "is not dns://NAME:PORT"),
        ({"targets": "dns://pods:99999"}, "--targets"),
        ({"targets": "http://pods/elsewhere"}, "has a path"),
        ({**GOOD, "listen": "none"}, "--listen"),
        ({**GOOD, "listen": "203.0.113.1:80"}, "--listen: cannot listen on 203.0.113.1:80"),
        ({**GOOD, "deadline": "0"}, "--deadline"),
        ({**GOOD, "rate": "0"}, "--rate (or DAGFERRY_RATE): must be at least 1"),
        ({**GOOD, "amqp": f"amqp://relay:{SECRET}@127.0.0.1/"}, "--amqp: holds credentials"),
        ({**GOOD, "amqp": "http://127.0.0.1/"}, "--amqp: is not amqp[s]://"),
        ({**GOOD, "amqp": "amqp://"}, "--amqp: is not amqp[s]://"),
        ({**GOOD, "amqp_file": "/does/not/exist"}, "--amqp-file: cannot read it: No such file"),
        ({**GOOD, "amqp": "amqp://127.0.0.1/?heartbeat=often"}, "--amqp: the broker's URL has a parameter"),
        ({**GOOD, "amqp": "amqp://127.0.0.1/?client_properties=("}, "--amqp: the broker's URL has a parameter"),
        ({**GOOD, "amqp": "amqps://127.0.0.1/?ssl_options={'cafile':'/none'}"}, "--amqp: the broker's URL has a"),
        ({**GOOD, "amqp": "amqps://127.0.0.1", "amqp_ca": "/none"}, "--amqp-ca: cannot read /none: No such file"),
        ({**GOOD, "amqp": "amqps://127.0.0.1", "amqp_ca": "/etc/hostname"}, "--amqp-ca: /etc/hostname holds no CA"),
        ({**GOOD, "amqp": "amqp://127.0.0.1", "amqp_ca": "/none"}, "--amqp-ca: is for amqps://"),
        ({**GOOD, "amqp": "amqps://h/?ssl_options={}", "amqp_ca": "/none"}, "--amqp-ca: cannot go together with"),
        ({**GOOD, "target_token_file": "/dev/null"}, "--target-token-file: the token is empty"),
    ],
)
def test_wrong_setting_is_named(settings: dict[str, str], words: str) -> None:
    assert words in refused(**settings)


def test_user_without_a_password_is_refused() -> None:
    message = refused(**GOOD, environ={"DAGFERRY_AMQP": f"amqp://{SECRET}@127.0.0.1/"})
    assert "--amqp: is not amqp[s]://[USER:PASSWORD@]" in message


def test_missing_client_library_is_named() -> None:
    words = command(**GOOD, listen="127.0.0.1:0", amqp="amqp://127.0.0.1/")[3:]
    script = f"import sys; sys.modules['pika'] = None\nfrom dagferry_puller.cli import main\nsys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--amqp: needs the extra [amqp]" in done.stderr


def test_relay_without_a_broker_loads_no_amqp_library_and_a_sidecar_loads_no_relay() -> None:
    for words, absent in (
        (["relay", "--help"], {"pika"}),
        (["run", "--help"], {"pika", "dagferry_puller.relay"}),
    ):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "dagferry_puller", *words], capture_output=True, text=True
        )
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert done.returncode == 0
        assert not loaded & absent
