"""From a commit on a real RGW to every pod: RGW pushes to the relay, or to a real RabbitMQ that the relay consumes.

Pods poll once an hour here, where not said otherwise: what comes live comes by a notification.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import botocore.exceptions
import pytest

from support.relays import relay
from support.s3server import client
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.pods import Running
    from support.rabbit import Rabbit

    from .conftest import Place


def address(running: Running) -> str:
    return f"http://127.0.0.1:{running.port}/notify"


def names() -> dict[str, str]:
    """An exchange and a queue of this test's own."""
    word = secrets.token_hex(4)
    return {"amqp_exchange": f"exchange-{word}", "amqp_queue": f"queue-{word}"}


def queue() -> dict[str, str]:
    """A queue of this test's own, at the one exchange that RGW knows: it takes no second one of the same broker."""
    return {**names(), "amqp_exchange": "dagferry"}


def waiting(rabbit: Rabbit, queue: str) -> int:
    """Return how many messages wait in a queue."""
    with closing(rabbit.connect()) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def test_push_through_the_relay_brings_each_publish_live_on_every_pod(place: Place, line: list[str]) -> None:
    place.start_pods(line[0])
    with place.relay() as running:
        place.setup("--notify-url", address(running))
        for commit in line[1:4]:
            place.site.publish(commit)
            place.wait(commit)
        place.site.dagctl("rollback")
        place.wait(line[2])
        status = running.status()
        assert status["failed"] == 0
        assert status["notifications"] == 1 + 4, "one for each pointer, none for any other object"
    assert all(pod.status()["proven"] for pod in place.pods)


def test_write_that_was_refused_is_announced_too_and_harmless(place: Place, line: list[str]) -> None:
    place.start_pods(line[0])
    with place.relay() as running, closing(client(place.rgw)) as s3:
        place.setup("--notify-url", address(running))
        bucket, _, prefix = place.site.dagctl.environ["DAGFERRY_STORE"].removeprefix("s3://").partition("/")
        before = [pod.status()["syncs"] for pod in place.pods]
        with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
            s3.put_object(
                Bucket=bucket, Key=f"{prefix}/analytics/v1/channels/main/pointer.json", Body=b"x", IfNoneMatch="*"
            )
        running.wait("announced", lambda s: s["notifications"] == 2)
        for pod, syncs in zip(place.pods, before, strict=True):
            status = pod.wait("a look", lambda s, syncs=syncs: s["syncs"]["unchanged"] > syncs["unchanged"])
            assert status["live"]["commit"] == line[0]
            assert not status["proven"], "it announced nothing new"


def test_event_that_is_lost_costs_one_slower_poll(place: Place, line: list[str]) -> None:
    place.start_pods(line[0], period="0.5", notified_period="3s")
    with place.relay() as running:
        place.setup("--notify-url", address(running))
        place.site.publish(line[1])
        place.wait(line[1])
        for pod in place.pods:
            pod.wait("notifications are proven", lambda s: s["proven"])
    place.site.publish(line[2])
    place.wait(line[2])
    for pod in place.pods:
        pod.wait("they are not relied on any more", lambda s: not s["proven"])


def test_notifications_by_amqp_survive_the_brokers_death(place: Place, rabbit: Rabbit, line: list[str]) -> None:
    place.start_pods(line[0])
    own = queue()
    with place.relay(amqp=rabbit.url, **own) as running:
        running.wait("the queue is consumed", lambda s: s["connected"])
        place.setup("--amqp", rabbit.url)
        place.site.publish(line[1])
        place.wait(line[1])
        rabbit.kill()
        running.wait("the relay sees it", lambda s: s["connected"] is False)
        assert not running.ready()
        place.site.publish(line[2])
        rabbit.start()
        running.wait("consumed again", lambda s: s["connected"])
        place.wait(line[2])  # what was lost meanwhile: pods are told at each connection
        assert running.ready()
        place.site.publish(line[3])
        place.wait(line[3])
        assert running.status()["connections"] >= 2


def test_what_comes_while_no_relay_runs_waits_in_the_queue(place: Place, rabbit: Rabbit, line: list[str]) -> None:
    place.start_pods(line[0])
    own = queue()
    with place.relay(amqp=rabbit.url, **own) as running:
        running.wait("the queue is consumed", lambda s: s["connected"])
        place.setup("--amqp", rabbit.url)
    place.site.publish(line[1])
    wait_for(lambda: waiting(rabbit, own["amqp_queue"]) == 1, "the event waits")
    with place.relay(amqp=rabbit.url, **own):
        place.wait(line[1])
        wait_for(lambda: waiting(rabbit, own["amqp_queue"]) == 0, "and was taken")


def publish_message(rabbit: Rabbit, exchange: str) -> None:
    with closing(rabbit.connect()) as connection:
        connection.channel().basic_publish(exchange, "a.topic", b'{"Records":[]}')


@pytest.mark.parametrize("kind", ["fanout", "topic", ""])
def test_exchange_and_queue_that_exist_are_taken_as_they_are(rabbit: Rabbit, tmp_path: Path, kind: str) -> None:
    own = names()
    if kind:
        with closing(rabbit.connect()) as connection:
            channel = connection.channel()
            channel.exchange_declare(own["amqp_exchange"], kind, durable=True)
            channel.queue_declare(own["amqp_queue"], durable=False)
    with relay(tmp_path, targets="http://127.0.0.1:1", amqp=rabbit.url, **own) as running:
        running.wait("consumed", lambda s: s["connected"])
        before = running.status()["notifications"]
        publish_message(rabbit, own["amqp_exchange"])
        running.wait("taken", lambda s: s["notifications"] == before + 1)


def test_queue_that_is_deleted_under_the_relay_is_made_again(rabbit: Rabbit, tmp_path: Path) -> None:
    own = names()
    with relay(tmp_path, targets="http://127.0.0.1:1", amqp=rabbit.url, **own) as running:
        running.wait("consumed", lambda s: s["connected"])
        with closing(rabbit.connect()) as connection:
            connection.channel().queue_delete(own["amqp_queue"])
        running.wait("consumed again", lambda s: s["connected"] and s["connections"] == 2)
        before = running.status()["notifications"]
        publish_message(rabbit, own["amqp_exchange"])
        running.wait("taken", lambda s: s["notifications"] == before + 1)


@pytest.mark.parametrize(
    ("place_", "words"), [("/no-such-vhost", "vhost"), ("//", "vhost")], ids=["missing vhost", "odd vhost"]
)
def test_broker_that_refuses_is_quoted_without_the_password(
    rabbit: Rabbit, tmp_path: Path, place_: str, words: str
) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{rabbit.port}{place_}"
    with relay(tmp_path, targets="http://127.0.0.1:1", environ={"DAGFERRY_AMQP": url}) as running:
        problem = running.wait("refused", lambda s: s["problem"])["problem"]
        assert words in problem
        assert "guest:guest" not in running.text()


def test_wrong_password_is_said_and_not_shown(rabbit: Rabbit, tmp_path: Path) -> None:
    url = f"amqp://guest:PASSWORDSHOWNNOWHERE@127.0.0.1:{rabbit.port}"
    with relay(tmp_path, targets="http://127.0.0.1:1", environ={"DAGFERRY_AMQP": url}) as running:
        assert "ACCESS_REFUSED" in running.wait("refused", lambda s: s["problem"])["problem"]
        assert "PASSWORDSHOWNNOWHERE" not in running.text() + running.request("/status").body
