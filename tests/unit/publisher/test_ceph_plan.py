"""What setup wants of a bucket, and how it joins what others have put there."""

from __future__ import annotations

import pytest

from dagferry_publisher.ceph import plan
from dagferry_publisher.ceph.plan import Notification, Target, Topic
from dagferry_publisher.errors import UsageError

TARGET = Target("dags", "prod/analytics/v1/")
OTHERS = {
    "Sid": "Others",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::x/*",
}
TAGGED = (
    "<Rule><ID>t</ID><Filter><Prefix>x/</Prefix><And><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>"
    "<Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule>"
)


def document(*rules: str) -> str:
    return f'<?xml version="1.0"?><LifecycleConfiguration>{"".join(rules)}</LifecycleConfiguration>'


def test_pods_may_read_the_bundle_and_nothing_else() -> None:
    statement = TARGET.statement(["b", "t$a", "b"])
    assert statement["Action"] == ["s3:GetObject"]
    assert statement["Resource"] == ["arn:aws:s3:::dags/prod/analytics/v1/*"]
    assert statement["Principal"] == {"AWS": ["arn:aws:iam:::user/b", "arn:aws:iam::t:user/a"]}


@pytest.mark.parametrize("user", ["", "*", "a b", "a/b", "t$u$v", 'a"', "$a"])
def test_a_user_that_would_widen_the_policy_is_refused(user: str) -> None:
    with pytest.raises(UsageError, match="not a user id"):
        TARGET.statement([user])


@pytest.mark.parametrize("policy", [None, {"Statement": OTHERS}, {"Id": "p", "Statement": [OTHERS]}])
def test_a_statement_goes_in_and_out_and_others_stay(policy: dict[str, object] | None) -> None:
    ours = TARGET.statement(["a"])
    there = plan.with_statement(policy, TARGET.sid, ours)
    assert plan.ours_in_policy(there, TARGET.sid) == ours
    assert plan.with_statement(there, TARGET.sid, ours) == there
    gone = plan.with_statement(there, TARGET.sid, None)
    assert gone["Statement"] == ([OTHERS] if policy else [])
    assert gone.get("Id") == (policy or {}).get("Id")


def test_places_do_not_share_ids() -> None:
    places = [Target(bucket, root) for bucket in ("a", "b") for root in ("x/v1/", "y/v1/")]
    assert len({place.sid for place in places}) == len({place.topic_name for place in places}) == 4


def test_our_rules_go_in_and_out_and_others_stay() -> None:
    other = "<Rule><ID>o</ID><Prefix>y/</Prefix><Status>Enabled</Status></Rule>"
    there = plan.with_rules(document(other), TARGET.rules())
    assert plan.split_rules(there) == {"o": other} | TARGET.rules()
    assert plan.with_rules(there, TARGET.rules()) == there
    assert plan.split_rules(plan.with_rules(there, TARGET.rules(), keep=False)) == {"o": other}
    assert plan.with_rules(plan.with_rules("", TARGET.rules()), TARGET.rules(), keep=False) == ""


def test_the_prefix_of_a_rule_with_tags_is_put_where_rgw_reads_it() -> None:
    there = plan.with_rules(document(TAGGED), TARGET.rules())
    assert "<Filter><And><Prefix>x/</Prefix><Tag>" in there
    assert plan.with_rules(there, TARGET.rules()) == there, "once"


@pytest.mark.parametrize(
    ("events", "key", "matches"),
    [
        (("s3:ObjectCreated:*",), "prod/analytics/v1/channels/main/pointer.json", True),
        (("s3:ObjectCreated:Put",), "prod/analytics/v1/channels/main/pointer.json", True),
        ((), "prod/analytics/v1/channels/main/pointer.json", True),
        (("s3:ObjectRemoved:*",), "prod/analytics/v1/channels/main/pointer.json", False),
        (("s3:ObjectCreated:*",), "prod/analytics/v1/channels/main/history/1-1.json", False),
        (("s3:ObjectCreated:*",), "prod/other/v1/channels/main/pointer.json", False),
    ],
)
def test_which_writes_are_announced(events: tuple[str, ...], key: str, matches: bool) -> None:
    assert Notification("n", "t", events, TARGET.root, "/pointer.json").matches(key) is matches


def test_a_topic_hides_its_password() -> None:
    topic = Topic("t", "amqp://user:SECRET@broker:5672", "dagferry", "broker", persistent=True)
    assert topic.shown() == "amqp://***@broker:5672, exchange dagferry, acknowledged by broker, persistent"
    assert topic.attributes()["push-endpoint"] == topic.endpoint
    assert "an address that RGW hides" in Topic("t", "").shown()
