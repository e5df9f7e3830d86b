"""The steps of setup and of the notification probe, on a bucket in memory; the real ones run on a real RGW."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dagferry_publisher.ceph import plan
from dagferry_publisher.ceph.plan import Notification, Target, Topic
from dagferry_publisher.ceph.setup import CephSetup
from dagferry_publisher.doctor import bucket as bucket_checks
from dagferry_publisher.doctor.probe import address, probe
from dagferry_publisher.errors import Conflict, UnsafeStore, UsageError
from dagferry_shared.errors import StoreDenied

TARGET = Target("dags", "prod/analytics/v1/")
TOPIC = Topic(TARGET.topic_name, "http://relay:9475/notify")
POINTER = f"{TARGET.root}channels/main/pointer.json"


@dataclass
class Bucket:
    """What S3Admin shows of an RGW; it announces writes as RGW does, in the order of the notifications' ids."""

    there: bool = False
    ceph: bool = True
    status: str = ""
    lock: bool = False
    rules: str = ""
    document: dict[str, Any] | None = None
    noted: dict[str, Notification] = field(default_factory=dict)
    topics: dict[str, Topic] = field(default_factory=dict)
    deaf: bool = False
    read_only: bool = False
    endpoint: str = "http://rgw"

    def is_ceph(self) -> bool:
        return self.ceph

    def exists(self) -> bool:
        return self.there

    def create(self) -> None:
        self.there = True

    def user(self) -> str:
        return "ci"

    def versioning(self) -> str:
        return self.status

    def locked(self) -> bool:
        return self.lock

    def policy(self) -> dict[str, Any] | None:
        return self.document

    def put_policy(self, document: dict[str, Any] | None) -> None:
        self.document = document

    def lifecycle(self) -> str:
        return self.rules

    def put_lifecycle(self, text: str) -> None:
        self.rules = text

    def notifications(self) -> list[Notification]:
        return [*self.noted.values()]

    def put_notification(self, wanted: Notification, arn: str) -> None:
        self.noted[wanted.id] = wanted

    def delete_notification(self, name: str) -> None:
        del self.noted[name]

    def topic(self, name: str) -> tuple[str, Topic] | None:
        return (name, self.topics[name]) if name in self.topics else None

    def create_topic(self, topic: Topic) -> str:
        if self.read_only:
            raise StoreDenied("no permission")
        self.topics[topic.name] = topic
        return topic.name

    def delete_topic(self, arn: str) -> None:
        del self.topics[arn]

    def read(self, key: str) -> bytes:
        return b""

    def write(self, key: str, body: bytes) -> None:
        if self.read_only:
            raise StoreDenied("no permission")
        for name in sorted(self.noted):
            entry = self.noted[name]
            if not entry.matches(key):
                continue
            url = self.topics[entry.topic].endpoint
            if self.deaf or not url.startswith("http://127.0.0.1"):
                return  # a receiver that fails keeps the event from those that follow
            event = {"Records": [{"s3": {"object": {"key": key}}}]}
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode())) as answer:
                assert answer.status == 200

    def remove(self, key: str) -> None:
        if self.read_only:
            raise StoreDenied("no permission")


def run(bucket: Bucket, topic: Topic | None = TOPIC, *users: str, remove: bool = False) -> list[str]:
    setup = CephSetup(bucket, TARGET)  # type: ignore[arg-type]
    steps = setup.removal() if remove else setup.plan(users or ("puller",), topic)
    for step in steps:
        if step.run and step.action != "keep":
            step.run()
    return [f"{step.action} {step.item}" for step in steps]


def test_made_then_kept_then_changed_then_taken_back() -> None:
    bucket = Bucket()
    items = ("bucket", "policy", "lifecycle", "topic", "notification")
    assert run(bucket) == [f"create {item}" for item in items]
    assert run(bucket) == [f"keep {item}" for item in items]
    assert run(bucket, None, "other") == ["keep bucket", "change policy", "keep lifecycle"]
    changed = replace(TOPIC, endpoint="http://elsewhere/notify")
    assert run(bucket, changed, "other")[3:] == ["change topic", "change notification"]
    assert run(bucket, remove=True) == [
        *(f"remove {item}" for item in ("notification", "topic", "policy", "lifecycle")),
        "keep bucket",
    ]
    assert bucket == Bucket(there=True)
    assert run(bucket, remove=True) == ["keep bucket"]


def test_the_rights_of_a_prune_user_are_made_kept_and_taken_back_beside_those_of_pullers() -> None:
    bucket = Bucket()

    def plan(*pruners: str) -> list[str]:
        steps = CephSetup(bucket, TARGET).plan(["puller"], None, pruners)  # type: ignore[arg-type]
        for step in steps:
            if step.run and step.action != "keep":
                step.run()
        return [step.action for step in steps if step.item == "policy"]

    assert plan("pruner") == ["create", "create"]
    assert plan("pruner") == ["keep", "keep"]
    assert plan() == ["keep"]  # what was not asked for stays
    assert plan("another") == ["keep", "change"]
    assert bucket.document is not None
    rights = {statement["Action"][0]: statement["Resource"] for statement in bucket.document["Statement"]}
    assert set(rights) == {"s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"}
    assert not [name for name in rights["s3:DeleteObject"] if name.endswith(("pointer.json", "cut.json", "channels/*"))]
    assert [step.action for step in CephSetup(bucket, TARGET).removal() if step.item == "policy"] == ["remove"]  # type: ignore[arg-type]
    assert run(bucket, remove=True)
    assert bucket.document is None


@pytest.mark.parametrize("wrong", [{"status": "Enabled"}, {"lock": True}])
def test_a_bucket_that_loses_updates_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnsafeStore, match="lose updates"):
        run(Bucket(there=True, **wrong))


def test_another_store_is_refused() -> None:
    with pytest.raises(UsageError, match="not a Ceph RGW"):
        run(Bucket(ceph=False))


def test_a_foreign_rule_that_rgw_changed_is_an_error() -> None:
    foreign = "<Rule><ID>f</ID><Prefix>x/</Prefix><Status>Enabled</Status></Rule>"

    class Changing(Bucket):
        def put_lifecycle(self, text: str) -> None:
            self.rules = text.replace("<Prefix>x/</Prefix>", "<Prefix></Prefix>")

    with pytest.raises(Conflict, match="did not keep the lifecycle rule f"):
        run(Changing(there=True, rules=f"<LifecycleConfiguration>{foreign}</LifecycleConfiguration>"))


def result(bucket: Bucket) -> tuple[str, str]:
    found = probe(bucket, TARGET, address("127.0.0.1:0"))  # type: ignore[arg-type]
    assert [name for name in (*bucket.topics, *bucket.noted) if "probe" in name] == [], "all of it was removed"
    return found.state, found.seen


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagferry_publisher.doctor.probe._WAIT_SECONDS", 0.05)


def test_the_probe_hears_of_a_scratch_pointer() -> None:
    assert result(Bucket(there=True))[0] == "ok"


def test_the_probe_tells_a_closed_way_from_a_receiver_that_is_down(impatient: None) -> None:
    state, seen = result(Bucket(there=True, deaf=True))
    assert (state, "announced nothing" in seen) == ("failure", True)
    bucket = Bucket(there=True)
    run(bucket)
    state, seen = result(bucket)
    assert (state, "but another receiver" in seen) == ("failure", True)


def test_the_probe_says_what_it_may_not_do_and_where_it_cannot_be() -> None:
    assert result(Bucket(read_only=True)) == ("failure", "no permission")
    assert result(Bucket(ceph=False))[0] == "not checked"
    with pytest.raises(UsageError, match="HOST:PORT"):
        address("relay")
    with pytest.raises(UsageError, match="cannot listen there"):
        probe(Bucket(), TARGET, ("192.0.2.1", 80))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("puller", "state"), [(Bucket(read_only=True), "ok"), (Bucket(), "failure")], ids=["reads", "writes"]
)
def test_a_puller_must_only_read(puller: Bucket, state: str) -> None:
    assert bucket_checks.check_puller(Bucket(), puller, TARGET).state == state  # type: ignore[arg-type]


def test_a_publisher_that_cannot_write_says_nothing_of_the_puller() -> None:
    found = bucket_checks.check_puller(Bucket(read_only=True), Bucket(), TARGET)  # type: ignore[arg-type]
    assert found.state == "not checked"


@pytest.mark.parametrize(
    ("topic", "events", "state", "words"),
    [
        (TOPIC, (plan.CREATED,), "ok", "http://relay:9475/notify"),
        (None, (plan.CREATED,), "failure", "is gone"),
        (replace(TOPIC, persistent=True), (plan.CREATED,), "warning", "persistent"),
        (replace(TOPIC, exchange="x", persistent=True), (plan.CREATED,), "ok", "exchange x"),
        (replace(TOPIC, endpoint="kafka://k"), (plan.CREATED,), "warning", "kafka://k"),
        (TOPIC, ("s3:ObjectRemoved:*",), "failure", "ends radosgw"),
        (TOPIC, ("s3:ObjectLifecycle:*",), "not checked", "none for pointers"),
    ],
)
def test_how_pointers_are_announced(topic: Topic | None, events: tuple[str, ...], state: str, words: str) -> None:
    bucket = Bucket(noted={"n": replace(TARGET.notification(), events=events)})
    bucket.topics = {topic.name: topic} if topic else {}
    found = bucket_checks.check_notifications(bucket, POINTER)  # type: ignore[arg-type]
    assert found.state == state
    assert words in found.seen
