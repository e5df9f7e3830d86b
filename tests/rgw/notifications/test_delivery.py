"""How RGW delivers: what setup and doctor warn of, and why persistent HTTP push is not for us.

What is waited for here comes, where the queue is persistent, within 10 to 40 s: RGW looks for new queues so seldom.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, HTTPClientError

from support.clusters import GATEWAY, Cluster, ended
from support.receivers import Receiver
from support.s3server import Rgw, client
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from types_boto3_s3 import S3Client

    from support.rabbit import Rabbit

SEARCH_SECONDS = 90.0  # until a new persistent queue is found, and more
CREATED, REMOVED = "s3:ObjectCreated:*", "s3:ObjectRemoved:*"
FAILED = "WARNING: push entry"
QUIET_LOOKS = 10  # half a second apart
HOT = 200  # posts of one event


class Gateway:
    """A bucket, and topics that it is announced to."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.bucket = f"delivery-{secrets.token_hex(6)}"
        self._where: dict[str, Any] = {
            "endpoint_url": environ["AWS_ENDPOINT_URL_S3"],
            "region_name": "us-east-1",
            "aws_access_key_id": environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environ["AWS_SECRET_ACCESS_KEY"],
            "verify": environ.get("AWS_CA_BUNDLE"),
        }
        self.s3: S3Client = client(Told(environ))
        self.s3.create_bucket(Bucket=self.bucket)

    def announce(self, url: str, *events: str, **attributes: str) -> str:
        """Announce events to a topic of this bucket's own; returns its name."""
        name = f"topic-{secrets.token_hex(6)}"
        with closing(boto3.client("sns", **self._where)) as sns:
            arn = sns.create_topic(Name=name, Attributes={"push-endpoint": url, **attributes})["TopicArn"]
        wanted: Any = {"TopicConfigurations": [{"Id": name, "TopicArn": arn, "Events": [*(events or (CREATED,))]}]}
        self.s3.put_bucket_notification_configuration(Bucket=self.bucket, NotificationConfiguration=wanted)
        return name

    def put(self, key: str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"data")


class Told:
    """What ``client`` asks for."""

    endpoint = ""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)


@pytest.fixture
def gateway(rgw: Rgw) -> Iterator[Gateway]:
    made = Gateway(rgw.environ)
    yield made
    made.s3.close()


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One that tests may ill-treat."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "rgw", store="memstore", conf="debug_rgw = 5") as made:
        yield made


@pytest.fixture
def own(own_cluster: Cluster) -> Iterator[Gateway]:
    own_cluster.up()
    made = Gateway(own_cluster.environ("publisher"))
    yield made
    made.s3.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_push_is_part_of_the_write_so_that_a_slow_receiver_slows_it(gateway: Gateway) -> None:
    with Receiver() as receiver, ThreadPoolExecutor(1) as pool:
        receiver.answers.clear()
        gateway.announce(receiver.url)
        writing = pool.submit(gateway.put, "a")
        wait_for(lambda: receiver.told_of("a"), "the receiver is told")
        assert not writing.done()
        assert "Contents" in gateway.s3.list_objects_v2(Bucket=gateway.bucket), "though the object is there"
        receiver.answers.set()
        writing.result(timeout=30)


def test_event_that_a_receiver_misses_is_lost(gateway: Gateway) -> None:
    port = free_port()
    gateway.announce(f"http://127.0.0.1:{port}")
    gateway.put("missed")
    with Receiver(port) as receiver:
        gateway.put("later")
        wait_for(lambda: receiver.told_of("later"), "the next one comes")
        assert not receiver.told_of("missed")


def test_persistent_push_to_a_receiver_that_is_overloaded_is_repeated_without_a_pause(own: Gateway) -> None:
    with Receiver() as receiver:
        receiver.status = 503
        own.announce(receiver.url, persistent="true")
        own.put("a")
        wait_for(lambda: receiver.told_of("a"), "first told", seconds=SEARCH_SECONDS)
        wait_for(lambda: receiver.told_of("a") > HOT, f"told {HOT} times")
        receiver.status = 200
        own.put("b")
        wait_for(lambda: receiver.told_of("b"), "it goes on once that is taken", seconds=SEARCH_SECONDS)


def test_persistent_push_to_a_receiver_that_was_down_is_wedged(own: Gateway, own_cluster: Cluster) -> None:
    """Until radosgw restarts, by ``rgw-facts``; after a kill and a start, nothing had come within 90 s either."""
    port = free_port()
    with Receiver() as well:
        other = Gateway(own_cluster.environ("publisher"))
        own.announce(f"http://127.0.0.1:{port}", persistent="true")
        own.put("a")
        other.announce(well.url, persistent="true")
        other.put("a")
        wait_for(lambda: well.told_of("a"), "the other queue was found", seconds=SEARCH_SECONDS)
        wait_for(given_up(own_cluster), "thousands of attempts, and then none", seconds=SEARCH_SECONDS)
        with Receiver(port) as receiver:
            for key in ("b", "c"):
                own.put(key)
                other.put(key)
                wait_for(lambda key=key: well.told_of(key), "the other queue works", seconds=SEARCH_SECONDS)
            assert receiver.bodies == [], "it is up again, and told of nothing"
        other.s3.close()


def given_up(cluster: Cluster) -> Callable[[], bool]:
    """Tell whether the gateway tried to push, and has not tried again for some seconds."""
    counts: deque[int] = deque(maxlen=QUIET_LOOKS)

    def quiet() -> bool:
        time.sleep(0.5)
        counts.append(cluster.log().count(FAILED))
        return len(counts) == QUIET_LOOKS and counts[0] == counts[-1] > 0

    return quiet


def test_deleting_several_objects_with_removals_announced_ends_the_gateway(own: Gateway, own_cluster: Cluster) -> None:
    with Receiver() as receiver:
        own.announce(receiver.url, REMOVED)
        for key in ("a", "b"):
            own.put(key)
        pid = own_cluster.pid(GATEWAY)
        with pytest.raises((EndpointConnectionError, HTTPClientError)):
            own.s3.delete_objects(Bucket=own.bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
        wait_for(lambda: ended(pid), "radosgw aborted")


def test_second_exchange_of_the_same_broker_gets_nothing(gateway: Gateway, rabbit: Rabbit) -> None:
    """So all bundles of a broker share one exchange; RGW says nothing of it."""
    with closing(rabbit.connect()) as connection:
        channel = connection.channel()
        taken = {
            exchange: queue_at(channel, exchange, rabbit, gateway)
            for exchange in ("dagferry", f"second-{secrets.token_hex(4)}")
        }
    assert list(taken.values()) == [1, 0]


def queue_at(channel: Any, exchange: str, rabbit: Rabbit, gateway: Gateway) -> int:
    """Announce a bucket to an exchange and write an object; returns how many messages came of that."""
    channel.exchange_declare(exchange, "topic", durable=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "#")
    gateway = Gateway(gateway.environ)
    gateway.announce(rabbit.url, **{"amqp-exchange": exchange, "amqp-ack-level": "broker"})
    gateway.put("a")  # with this level, the broker has it when the write is answered
    gateway.s3.close()
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def test_persistent_event_outlives_a_broker_that_is_killed(gateway: Gateway, rabbit: Rabbit) -> None:
    name = f"lasting-{secrets.token_hex(4)}"
    with closing(rabbit.connect()) as connection:
        channel = connection.channel()
        channel.exchange_declare("dagferry", "topic", durable=True)
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "dagferry", "#")
    lasting = {"persistent": "true", "amqp-exchange": "dagferry", "amqp-ack-level": "broker"}
    gateway.announce(rabbit.url, **lasting)
    rabbit.kill()
    gateway.put("while it is dead")
    rabbit.start()
    wait_for(lambda: waiting(rabbit, name) == 1, "the event comes", seconds=SEARCH_SECONDS)


def waiting(rabbit: Rabbit, queue: str) -> int:
    """Return how many messages wait in a queue."""
    with closing(rabbit.connect()) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
