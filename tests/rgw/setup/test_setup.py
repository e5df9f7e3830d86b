"""``dagctl setup ceph`` on a real RGW: it can be run again, keeps what is others', and takes back what is its own."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from support.s3server import client
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rgw.setup.conftest import Place

ROOT = "some/prefix/analytics/v1/"
NOWHERE = "http://127.0.0.1:9/notify"
ITEMS = {"bucket", "policy", "lifecycle", "topic", "notification"}
USAGE, UNSAFE, DENIED = 2, 10, 9


@contextmanager
def receiver() -> Iterator[tuple[str, list[str]]]:
    """Listen as a relay would; yields its address and the keys that were announced."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Records"]
            came.extend(record["s3"]["object"]["key"] for record in records)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/notify", came
    finally:
        server.shutdown()
        server.server_close()


def sns(place: Place) -> Any:
    """A client for topics, as the owner."""
    import boto3

    environ = place.rgw.environ
    return boto3.client(
        "sns",
        endpoint_url=place.rgw.endpoint,
        region_name="us-east-1",
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        verify=place.rgw.ca or None,
    )


def state(place: Place) -> dict[str, Any]:
    """All that setup may touch, as boto3 sees it."""
    found: dict[str, Any] = {}
    reads = {
        "policy": lambda: json.loads(place.s3.get_bucket_policy(Bucket=place.bucket)["Policy"]),
        "lifecycle": lambda: place.s3.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"],
        "notification": lambda: place.s3.get_bucket_notification_configuration(Bucket=place.bucket).get(
            "TopicConfigurations", []
        ),
    }
    for name, read in reads.items():
        try:
            found[name] = read()
        except ClientError as error:
            found[name] = error.response["Error"]["Code"]
    return found


def topics(place: Place) -> set[str]:
    with closing(sns(place)) as made:
        return {entry["TopicArn"].rpartition(":")[2] for entry in made.list_topics().get("Topics", [])}


def test_a_second_run_changes_nothing_and_the_first_does_what_the_dry_run_said(place: Place) -> None:
    planned = place.setup("--notify-url", NOWHERE, "--dry-run").json
    assert state(place)["policy"] == "NoSuchBucket", "nothing was done"
    done = place.setup("--notify-url", NOWHERE).json
    assert done["steps"] == planned["steps"]
    assert {step["item"]: step["action"] for step in done["steps"]} == dict.fromkeys(ITEMS, "create")
    before = state(place)
    assert place.actions("--notify-url", NOWHERE) == dict.fromkeys(ITEMS, "keep")
    assert state(place) == before


def test_only_pointers_are_announced_and_nothing_but_created(place: Place) -> None:
    with receiver() as (url, came):
        place.setup("--notify-url", url)
        for key in ("releases/a.json", "channels/main/history/1-1.json", "channels/main/pointer.json"):
            place.s3.put_object(Bucket=place.bucket, Key=ROOT + key, Body=b"x")
        place.s3.put_object(Bucket=place.bucket, Key="other/channels/main/pointer.json", Body=b"x")
        place.s3.delete_object(Bucket=place.bucket, Key=f"{ROOT}channels/main/pointer.json")
        wait_for(lambda: came, "an announcement")
        assert came == [f"{ROOT}channels/main/pointer.json"]
    (found,) = state(place)["notification"]
    assert found["Events"] == ["s3:ObjectCreated:*"]


def test_a_changed_address_reaches_the_notification(place: Place) -> None:
    place.setup("--notify-url", NOWHERE)
    with receiver() as (url, came):
        actions = place.actions("--notify-url", url)
        assert actions == dict.fromkeys(ITEMS, "keep") | {"topic": "change", "notification": "change"}
        place.s3.put_object(Bucket=place.bucket, Key=f"{ROOT}channels/main/pointer.json", Body=b"x")
        wait_for(lambda: came, "an announcement to the new address")


def test_what_others_made_stays_through_setup_and_removal(place: Place) -> None:
    place.s3.create_bucket(Bucket=place.bucket)
    foreign = {
        "Sid": "Others",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{place.bucket}/public/*",
    }
    place.s3.put_bucket_policy(
        Bucket=place.bucket, Policy=json.dumps({"Version": "2012-10-17", "Id": "theirs", "Statement": [foreign]})
    )
    tags: Any = [{"Key": "a", "Value": "<b>"}, {"Key": "c", "Value": "d"}]
    rules: Any = [
        {
            "ID": "tagged",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "x/", "Tags": tags}},
            "Expiration": {"Days": 3},
        },
        {"ID": "old", "Status": "Disabled", "Prefix": "y/", "NoncurrentVersionExpiration": {"NoncurrentDays": 2}},
    ]
    place.s3.put_bucket_lifecycle_configuration(Bucket=place.bucket, LifecycleConfiguration={"Rules": rules})
    theirs = f"theirs-{secrets.token_hex(4)}"
    with closing(sns(place)) as made:
        arn = made.create_topic(Name=theirs, Attributes={"push-endpoint": NOWHERE})["TopicArn"]
    entry: Any = {"Id": "theirs", "TopicArn": arn, "Events": ["s3:ObjectCreated:Put"]}
    place.s3.put_bucket_notification_configuration(
        Bucket=place.bucket, NotificationConfiguration={"TopicConfigurations": [entry]}
    )
    before = state(place)

    place.setup("--notify-url", NOWHERE)
    between = state(place)
    assert foreign in between["policy"]["Statement"]
    assert between["policy"]["Id"] == "theirs"
    assert all(rule in between["lifecycle"] for rule in before["lifecycle"])
    assert all(entry in between["notification"] for entry in before["notification"])

    actions = place.actions("--remove")
    assert actions == dict.fromkeys(ITEMS - {"bucket"}, "remove") | {"bucket": "keep"}
    assert state(place) == before
    assert theirs in topics(place)
    assert place.actions("--remove") == {"bucket": "keep"}, "nothing of ours is left"


def test_a_rule_with_tags_is_not_widened_to_the_whole_bucket(place: Place) -> None:
    """RGW writes ``<Prefix>`` beside ``<And>`` and ignores it there when it is sent back."""
    place.s3.create_bucket(Bucket=place.bucket)
    tags: Any = [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]
    rule: Any = {"ID": "tagged", "Status": "Enabled", "Filter": {"And": {"Prefix": "x/", "Tags": tags}}}
    place.s3.put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [rule | {"Expiration": {"Days": 3}}]}
    )
    place.setup()
    kept = next(rule for rule in state(place)["lifecycle"] if rule["ID"] == "tagged")
    assert kept["Filter"]["Prefix"] == "x/"


def test_two_bundles_share_a_bucket_and_one_is_removed(place: Place) -> None:
    place.setup("--notify-url", NOWHERE)
    alone = state(place)
    place.setup("--bundle", "reports", "--notify-url", NOWHERE, user="tenant$other")
    statements = state(place)["policy"]["Statement"]
    assert statements[1]["Principal"] == {"AWS": ["arn:aws:iam::tenant:user/other"]}
    assert statements[1]["Resource"] == [f"arn:aws:s3:::{place.bucket}/some/prefix/reports/v1/*"]
    place.setup("--bundle", "reports", "--remove")
    assert state(place) == alone


def test_the_users_of_a_run_replace_those_of_the_one_before(place: Place) -> None:
    place.setup(user="puller")
    actions = place.actions("--puller-user", "second", user="third")
    assert actions == {"bucket": "keep", "policy": "change", "lifecycle": "keep"}
    (statement,) = state(place)["policy"]["Statement"]
    assert statement["Principal"]["AWS"] == ["arn:aws:iam:::user/second", "arn:aws:iam:::user/third"]
    assert statement["Action"] == ["s3:GetObject"]


def test_a_pod_can_read_its_bundle_and_nothing_else(place: Place) -> None:
    place.setup()
    place.s3.put_object(Bucket=place.bucket, Key=f"{ROOT}x", Body=b"mine")
    place.s3.put_object(Bucket=place.bucket, Key="some/prefix/other/v1/x", Body=b"not mine")
    environ = place.rgw.environ_of("puller")
    import boto3

    with closing(
        boto3.client(
            "s3",
            endpoint_url=place.rgw.endpoint,
            region_name="us-east-1",
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
            verify=place.rgw.ca or None,
        )
    ) as puller:
        assert puller.get_object(Bucket=place.bucket, Key=f"{ROOT}x")["Body"].read() == b"mine"
        for attempt in (
            lambda: puller.get_object(Bucket=place.bucket, Key="some/prefix/other/v1/x"),
            lambda: puller.list_objects_v2(Bucket=place.bucket, Prefix=ROOT),
            lambda: puller.delete_object(Bucket=place.bucket, Key=f"{ROOT}x"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                attempt()


@pytest.mark.parametrize("kind", ["versioned", "locked"])
def test_a_bucket_that_loses_updates_is_refused_before_anything_is_done(place: Place, kind: str) -> None:
    if kind == "locked":
        place.s3.create_bucket(Bucket=place.bucket, ObjectLockEnabledForBucket=True)
    else:
        place.s3.create_bucket(Bucket=place.bucket)
        place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"})
    before = state(place)
    assert "concurrent publishers would lose updates" in place.setup(code=UNSAFE).error["message"]
    assert state(place) == before


def test_an_address_with_a_password_is_never_shown(place: Place) -> None:
    url = "amqp://dagferry:SECRETSHOWNNOWHERE@127.0.0.1:9"
    result = place.setup("--dry-run", DAGFERRY_AMQP=url)
    assert "amqp://***@127.0.0.1:9, exchange dagferry, acknowledged by none" in result.out
    done = place.setup(DAGFERRY_AMQP=url)
    again = place.setup(DAGFERRY_AMQP=url)
    assert all("SECRET" not in shown.out + shown.err for shown in (result, done, again))
    assert "DAGFERRY_AMQP" in place.setup("--amqp", url, code=USAGE).error["message"]


def test_json_has_the_fields_of_the_page(place: Place) -> None:
    page = (Path(__file__).parents[3] / "publisher/JSON.md").read_text(encoding="utf-8")
    section = page.partition("## setup ceph")[2].partition("\n## ")[0]
    printed = place.setup("--dry-run").json
    assert set(re.findall("`([a-z_]+)`", section)) == {*printed, *printed["steps"][0]}


def test_persistent_http_push_is_warned_of(place: Place) -> None:
    warnings = place.setup("--notify-url", NOWHERE, "--persistent", "--dry-run").json["warnings"]
    assert any("wedges" in line for line in warnings)


def test_the_administrators_commands_run_as_they_are_printed(place: Place) -> None:
    user = f"pod-{secrets.token_hex(4)}"
    place.setup(user=user)
    for line in place.setup(user=user).json["admin"]:
        words = shlex.split(line)
        assert words[0] == "radosgw-admin"
        place.admin(*words[1:])
    assert '"enabled": true' in place.admin("bucket", "stats", f"--bucket={place.bucket}").partition("bucket_quota")[2]
    assert json.loads(place.admin("user", "info", f"--uid={user}"))["max_buckets"] == -1


def test_a_bucket_of_somebody_else_is_denied(place: Place) -> None:
    place.setup()
    result = place.setup(code=DENIED, **place.rgw.environ_of("puller"))
    assert "no permission" in result.error["message"]
    with closing(client(place.rgw)) as owner:
        assert owner.head_bucket(Bucket=place.bucket)
