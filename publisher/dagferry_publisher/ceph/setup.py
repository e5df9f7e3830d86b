"""Bringing a bucket on Ceph RGW to what a bundle needs, or taking that back: first a plan, then its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from dagferry_publisher.ceph.plan import ours_in_policy, split_rules, with_rules, with_statement
from dagferry_publisher.errors import Conflict, UnsafeStore, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_publisher.ceph.admin import S3Admin
    from dagferry_publisher.ceph.plan import Target, Topic

Action = Literal["create", "change", "keep", "remove"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing of the bucket, what happens to it, and what it is then; ``run`` does it."""

    item: str
    action: Action
    detail: str
    run: Callable[[], object] | None = field(default=None, repr=False, compare=False)


class CephSetup:
    """The plan for one bundle.

    Args:
        admin: the bucket, by its owner's keys.
        target: the bundle in it.
    """

    def __init__(self, admin: S3Admin, target: Target) -> None:
        self._admin = admin
        self._target = target
        self._arn = ""
        if not admin.is_ceph():
            raise UsageError(f"{admin.endpoint} is not a Ceph RGW: dagctl setup ceph knows no other store")

    def plan(self, users: Sequence[str], topic: Topic | None, pruners: Sequence[str] = ()) -> list[Step]:
        """Say what is missing.

        Args:
            users: RGW user ids of pullers; they replace those of an earlier run.
            pruners: RGW user ids for ``dagctl prune``, likewise; none leaves those of an earlier run as they are.
            topic: where pointers are announced; None leaves notifications as they are.

        Raises:
            UnsafeStore: the bucket is there, and versioned or locked.
        """
        steps = [self._bucket(), *self._policies(users, pruners), *self._lifecycle(keep=True)]
        return [*steps, *self._notifications(topic)] if topic else steps

    def removal(self) -> list[Step]:
        """Say what of ours is there; the bucket and its objects stay."""
        steps = [self._no_notification(), self._no_topic(), self._no_policy(), *self._lifecycle(keep=False)]
        bucket = Step("bucket", "keep", f"s3://{self._target.bucket} and its objects are not touched")
        return [*(step for step in steps if step), bucket]

    def _bucket(self) -> Step:
        name = self._target.bucket
        if not self._admin.exists():
            return Step("bucket", "create", f"s3://{name}, unversioned", self._admin.create)
        if self._admin.versioning() == "Enabled" or self._admin.locked():
            raise UnsafeStore(
                f"s3://{name} is versioned or has object lock, and RGW ignores conditional writes there, so concurrent "
                "publishers would lose updates: suspend versioning, or use another bucket"
            )
        return Step("bucket", "keep", f"s3://{name}, unversioned")

    def _policies(self, users: Sequence[str], pruners: Sequence[str]) -> list[Step]:
        root, policy = self._target.root, self._admin.policy()
        detail = f"{', '.join(sorted(set(users)))} may GetObject on {root}*, and nothing else"
        step, policy = self._policy(policy, [self._target.statement(users)], detail)
        if not pruners:
            return [step]
        detail = (
            f"{', '.join(sorted(set(pruners)))} may read and list {root}*, cut, and delete all but pointers and cuts"
        )
        wanted = self._target.prune_statements(pruners, self._admin.user())
        return [step, self._policy(policy, wanted, detail)[0]]

    def _policy(
        self, old: dict[str, Any] | None, wanted: Sequence[dict[str, object]], detail: str
    ) -> tuple[Step, dict[str, Any] | None]:
        """Return what puts statements into a policy, and the policy as it is then."""
        there = [ours_in_policy(old, str(statement["Sid"])) for statement in wanted]
        if there == list(wanted):
            return Step("policy", "keep", detail), old
        new = old
        for statement in wanted:
            new = with_statement(new, str(statement["Sid"]), statement)
        step = Step("policy", "change" if any(there) else "create", detail, partial(self._admin.put_policy, new))
        return step, new

    def _no_policy(self) -> Step | None:
        new = self._admin.policy()
        ours = [sid for sid in self._target.sids if ours_in_policy(new, sid)]
        if not ours:
            return None
        for sid in ours:
            new = with_statement(new, sid, None)
        put = partial(self._admin.put_policy, new if new and new["Statement"] else None)
        return Step("policy", "remove", f"statement {', '.join(ours)}", put)

    def _lifecycle(self, *, keep: bool) -> list[Step]:
        old, ours = self._admin.lifecycle(), self._target.rules()
        there = {name: rule for name, rule in split_rules(old).items() if name in ours}
        detail = f"uploads that were not finished and scratch keys below {self._target.root} go after 1 day"
        put = partial(self._put_lifecycle, old, with_rules(old, ours, keep=keep))
        if not keep:
            return [Step("lifecycle", "remove", ", ".join(sorted(there)), put)] if there else []
        if there == ours:
            return [Step("lifecycle", "keep", detail)]
        return [Step("lifecycle", "change" if there else "create", detail, put)]

    def _put_lifecycle(self, old: str, new: str) -> None:
        self._admin.put_lifecycle(new)
        before, after = split_rules(old), split_rules(self._admin.lifecycle())
        ours = self._target.rules()
        lost = [name for name, rule in before.items() if name not in ours and after.get(name) != rule]
        if lost:
            raise Conflict(f"RGW did not keep the lifecycle rule {', '.join(lost)} as it was: look at it now")

    def _notifications(self, topic: Topic) -> list[Step]:
        found = self._admin.topic(topic.name)
        if found and found[1] == topic:  # never where RGW hides the address: so a new password reaches it
            self._arn = found[0]
            first = Step("topic", "keep", f"{topic.name}: {topic.shown()}")
        else:
            was = f" (was: {found[1].shown()})" if found else ""
            make = partial(self._make_topic, topic)
            first = Step("topic", "change" if found else "create", f"{topic.name}: {topic.shown()}{was}", make)
        wanted = self._target.notification()
        there = next((entry for entry in self._admin.notifications() if entry.id == wanted.id), None)
        if there == wanted and first.action == "keep":
            return [first, Step("notification", "keep", wanted.shown())]
        # A notification has a copy of its topic: it is made again when the topic has changed.
        make = partial(self._make_notification, replace=there is not None)
        return [first, Step("notification", "change" if there else "create", wanted.shown(), make)]

    def _make_topic(self, topic: Topic) -> None:
        self._arn = self._admin.create_topic(topic)

    def _make_notification(self, *, replace: bool) -> None:
        wanted = self._target.notification()
        if replace:
            self._admin.delete_notification(wanted.id)
        self._admin.put_notification(wanted, self._arn)

    def _no_notification(self) -> Step | None:
        wanted = self._target.notification()
        if all(entry.id != wanted.id for entry in self._admin.notifications()):
            return None
        return Step("notification", "remove", wanted.id, partial(self._admin.delete_notification, wanted.id))

    def _no_topic(self) -> Step | None:
        found = self._admin.topic(self._target.topic_name)
        if not found:
            return None
        return Step("topic", "remove", found[1].name, partial(self._admin.delete_topic, found[0]))
