"""``dagctl doctor`` on a real RGW: what it sees of a healthy place, and each thing that is wrong with another."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.clusters import another_gateway
from support.tls import Authority

if TYPE_CHECKING:
    from rgw.setup.conftest import Place

NOWHERE = "http://127.0.0.1:9/notify"
REFUSED, UNSAFE, USAGE = 3, 10, 2
PROBE = ("--notify-probe", "127.0.0.1:0")


def states(checks: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["state"] for name, check in checks.items()}


def keys_left(place: Place) -> list[str]:
    return [entry["Key"] for entry in place.s3.list_objects_v2(Bucket=place.bucket).get("Contents", [])]


def test_a_place_that_setup_made_is_healthy_and_nothing_is_left_behind(place: Place) -> None:
    place.setup()
    checks = place.doctor(*PROBE, **place.as_puller())
    assert checks.pop("latency")["seen"].endswith(" ms for a small GET (median of 10)")
    expected = dict.fromkeys(checks, "ok") | {"trust file": "warning", "notifications": "not checked"}
    assert states(checks) == expected
    assert set(checks) >= {"store", "conditional writes", "TLS", "puller's rights", "notification probe"}
    assert f"signed by the CA in {place.rgw.ca}" in checks["TLS"]["seen"]
    assert "signs both" in checks["trust file"]["seen"]
    assert keys_left(place) == []
    assert not place.s3.get_bucket_notification_configuration(Bucket=place.bucket).get("TopicConfigurations")


def test_every_failure_and_warning_has_one_line_of_cure(place: Place) -> None:
    place.s3.create_bucket(Bucket=place.bucket, ObjectLockEnabledForBucket=True)
    for check in place.doctor(code=UNSAFE).values():
        if check["state"] in {"failure", "warning"}:
            assert check["cure"], check
        assert "\n" not in check["seen"] + check["cure"]


@pytest.mark.parametrize(
    ("kind", "words"), [("versioned", "it is versioned"), ("locked", "it has object lock")], ids=["versioned", "locked"]
)
def test_a_bucket_that_ignores_conditions_is_unsafe(place: Place, kind: str, words: str) -> None:
    place.s3.create_bucket(Bucket=place.bucket, ObjectLockEnabledForBucket=kind == "locked")
    if kind == "versioned":
        place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"})
    checks = place.doctor(code=UNSAFE)
    assert checks["bucket"]["state"] == checks["conditional writes"]["state"] == "failure"
    assert words in checks["bucket"]["seen"]
    assert "ignores If-None-Match" in checks["conditional writes"]["seen"]


def test_suspended_versioning_is_fine(place: Place) -> None:
    place.s3.create_bucket(Bucket=place.bucket)
    for status in ("Enabled", "Suspended"):
        place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": status})
    checks = place.doctor()
    assert checks["bucket"] == {"check": "bucket", "state": "ok", "seen": "versioning is suspended", "cure": ""}
    assert checks["conditional writes"]["state"] == "ok"


def test_no_bucket(place: Place) -> None:
    checks = place.doctor(code=REFUSED)
    assert checks["bucket"]["cure"] == "dagctl setup ceph"
    assert "the bucket does not exist" in checks["publisher's rights"]["seen"]


def test_a_pullers_keys_that_may_too_much_or_nothing(place: Place) -> None:
    place.setup(user="somebody-else")
    nothing = place.doctor(code=REFUSED, **place.as_puller())["puller's rights"]
    assert nothing["state"] == "failure"
    assert "dagctl setup ceph --puller-user" in nothing["cure"]
    everything = place.doctor(code=REFUSED, **place.as_puller("publisher"))["puller's rights"]
    assert everything["seen"] == "they may read, but also write and delete"


def test_a_pullers_keys_by_file_and_profile_are_never_shown(place: Place, tmp_path: Path) -> None:
    place.setup()
    keys = place.rgw.environ_of("puller")
    file = tmp_path / "credentials"
    lines = [
        f"aws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}",
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}",
    ]
    file.write_text("\n".join(["[pod]", *lines, "[wrong]", lines[0], "aws_secret_access_key = SECRETSHOWNNOWHERE"]))
    by_file = ("--puller-credentials", file, "--puller-profile")
    assert place.doctor(*by_file, "pod")["puller's rights"]["state"] == "ok"
    wrong = place.doctor(*by_file, "wrong", code=REFUSED)["puller's rights"]
    assert "the secret key does not fit the access key" in wrong["seen"]
    assert "SECRETSHOWN" not in str(wrong)
    missing = place.doctor(*by_file, "gone", code=REFUSED)["puller's rights"]
    assert "gone" in missing["seen"]


def test_half_of_a_pullers_keys_is_a_usage_error(place: Place) -> None:
    result = place.site.dagctl("doctor", "--json", code=USAGE, DAGFERRY_PULLER_ACCESS_KEY_ID="x")
    assert "go together" in result.error["message"]


def test_a_publisher_that_may_only_read_is_told_what_it_lacks(place: Place) -> None:
    place.setup()
    checks = place.doctor(code=REFUSED, **place.rgw.environ_of("puller"))
    assert checks["publisher's rights"]["seen"].startswith("cannot create: ")
    assert checks["conditional writes"]["state"] == "not checked"
    assert checks["bucket"]["state"] == "not checked"


def test_a_publisher_needs_no_delete_and_need_not_own_the_bucket(place: Place) -> None:
    place.s3.create_bucket(Bucket=place.bucket)
    user = f"ci-{secrets.token_hex(4)}"
    keys = json.loads(place.admin("user", "create", f"--uid={user}", "--display-name=ci", "--max-buckets=-1"))["keys"][
        0
    ]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{user}"]},
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{place.bucket}", f"arn:aws:s3:::{place.bucket}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    place.s3.put_bucket_policy(Bucket=place.bucket, Policy=json.dumps(policy))
    checks = place.doctor(AWS_ACCESS_KEY_ID=keys["access_key"], AWS_SECRET_ACCESS_KEY=keys["secret_key"])
    assert checks["publisher's rights"]["seen"] == "may create, read, HEAD, list; may not delete: good"
    assert checks["conditional writes"]["state"] == "ok"
    assert states(checks)["bucket"] == states(checks)["lifecycle"] == states(checks)["notifications"] == "not checked"


def test_a_receiver_that_is_down_shows_in_the_probe(place: Place) -> None:
    place.setup("--notify-url", NOWHERE)
    checks = place.doctor(*PROBE, code=REFUSED)
    assert checks["notifications"]["state"] == "ok", "its settings are right"
    assert NOWHERE in checks["notifications"]["seen"]
    assert "RGW reaches this machine, but another receiver" in checks["notification probe"]["seen"]


def test_an_address_that_rgw_cannot_reach_shows_in_the_probe(place: Place) -> None:
    place.setup()
    assert "HOST:PORT" in place.site.dagctl("doctor", "--json", "--notify-probe", "x", code=USAGE).error["message"]
    taken = place.site.dagctl("doctor", "--json", "--notify-probe", "192.0.2.1:80", code=USAGE).error["message"]
    assert "cannot listen there" in taken


def test_object_removed_is_a_failure_and_persistent_http_a_warning(place: Place) -> None:
    place.setup("--notify-url", NOWHERE, "--persistent")
    assert "wedges" in place.doctor()["notifications"]["cure"]
    place.setup("--notify-url", NOWHERE)
    (entry,) = place.s3.get_bucket_notification_configuration(Bucket=place.bucket)["TopicConfigurations"]
    place.s3.put_bucket_notification_configuration(
        Bucket=place.bucket,
        NotificationConfiguration={
            "TopicConfigurations": [{"Id": "removed", "TopicArn": entry["TopicArn"], "Events": ["s3:ObjectRemoved:*"]}]
        },
    )
    check = place.doctor(code=REFUSED)["notifications"]
    assert (check["state"], "ends radosgw" in check["seen"]) == ("failure", True)


def test_a_topic_that_is_gone_is_a_failure(place: Place) -> None:
    place.setup("--notify-url", NOWHERE)
    (entry,) = place.s3.get_bucket_notification_configuration(Bucket=place.bucket)["TopicConfigurations"]
    place.admin("topic", "rm", f"--topic={entry['TopicArn'].rpartition(':')[2]}")
    assert "is gone" in place.doctor(code=REFUSED)["notifications"]["seen"]


def test_a_store_certificate_that_nobody_vouches_for_is_a_failure(place: Place, tmp_path: Path) -> None:
    checks = place.doctor(code=REFUSED, AWS_CA_BUNDLE=str(Authority(tmp_path).path))
    assert checks["TLS"]["state"] == "failure"
    assert checks["TLS"]["cure"] == "set AWS_CA_BUNDLE to the CA's file"
    assert checks["publisher's rights"]["state"] == "not checked"


def test_the_table_says_all_that_json_says(place: Place) -> None:
    place.setup()
    checks = place.doctor()
    shown = place.site.dagctl("doctor").out
    for name, check in checks.items():
        assert name in shown
        assert name == "latency" or check["cure"] in shown


def test_a_gateway_that_holds_small_answers_back_is_told_of_its_setting(place: Place) -> None:
    """RGW's default: each small GET waits for the delayed acknowledgement of its header, about 40 ms."""
    place.setup()
    with another_gateway(Path(place.rgw.directory), nodelay=False) as plain:
        latency = place.doctor(AWS_ENDPOINT_URL_S3=plain)["latency"]
    assert latency["state"] == "warning", latency
    assert "put tcp_nodelay=1 on the beast line" in latency["cure"]
