"""What a bundle needs of its bucket on Ceph RGW, and how it joins what others have put there. Pure.

Everything of ours carries an id made of the bundle's prefix, so that several bundles share a bucket, and ``--remove``
takes back exactly what ``dagctl setup ceph`` made.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from dagferry_publisher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CREATED = "s3:ObjectCreated:*"  # never ObjectRemoved: a DeleteObjects then aborts radosgw
POINTER = "/pointer.json"
_DIGITS = 12
_USER = re.compile(r"(?:(?P<tenant>[A-Za-z0-9_]{1,64})\$)?(?P<user>[A-Za-z0-9._@-]{1,64})")
_RULE = re.compile(r"<Rule>.*?</Rule>", re.DOTALL)
_OUTER_PREFIX = re.compile(r"<Filter>(<Prefix>[^<]*</Prefix>)<And>(?!<Prefix>)")
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class Topic:
    """Where RGW sends events; the address is empty where RGW does not show it, as it has a password in it."""

    name: str
    endpoint: str
    exchange: str = ""
    ack: str = ""
    persistent: bool = False

    def attributes(self) -> dict[str, str]:
        """Return what RGW is told."""
        told = {"push-endpoint": self.endpoint, "persistent": str(self.persistent).lower(), "OpaqueData": "dagferry"}
        amqp = {"amqp-exchange": self.exchange, "amqp-ack-level": self.ack}
        return told | (amqp if self.exchange else {})

    def shown(self) -> str:
        """Say it without a password."""
        address = re.sub(r"://[^/]*@", "://***@", self.endpoint) or "an address that RGW hides"
        words = f"{address}, exchange {self.exchange}, acknowledged by {self.ack}" if self.exchange else address
        return words + (", persistent" if self.persistent else "")


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification of a bucket."""

    id: str
    topic: str  # its name
    events: tuple[str, ...]
    prefix: str
    suffix: str

    def shown(self) -> str:
        """Say it in a line."""
        return f"{', '.join(self.events)} on {self.prefix}*{self.suffix} to topic {self.topic}"

    def matches(self, key: str) -> bool:
        """Whether a PUT of this key is announced."""
        created = any(event.startswith("s3:ObjectCreated:") for event in self.events) or not self.events
        return created and key.startswith(self.prefix) and key.endswith(self.suffix)


@dataclass(frozen=True, slots=True)
class Target:
    """A bundle in a bucket.

    Attributes:
        bucket: its name.
        root: prefix of all keys of the bundle, with a slash at its end.
    """

    bucket: str
    root: str

    @property
    def tag(self) -> str:
        """Hex digits that stand for this bundle's place."""
        return hashlib.sha256(f"{self.bucket}/{self.root}".encode()).hexdigest()[:_DIGITS]

    @property
    def sid(self) -> str:
        """Of our policy statement."""
        return f"DagferryPull{self.tag}"

    @property
    def topic_name(self) -> str:
        """Of our topic: topics of all buckets are in one list."""
        return f"dagferry-{self.tag}"

    def notification(self) -> Notification:
        """Return the notification that pullers want: pointers written, nothing else."""
        return Notification(f"dagferry-{self.tag}", self.topic_name, (CREATED,), self.root, POINTER)

    def statement(self, users: Sequence[str]) -> dict[str, object]:
        """Return the policy statement for pullers: GetObject on the bundle, and nothing else."""
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Principal": {"AWS": sorted({_principal(user) for user in users})},
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{self.bucket}/{self.root}*"],
        }

    def prune_statements(self, users: Sequence[str], owner: str) -> list[dict[str, object]]:
        """Return the policy statements for ``dagctl prune``: read, cut, and remove all but pointers and cuts.

        Args:
            users: who prunes.
            owner: the bucket's owner, who may else not read a cut: an object belongs to who wrote it.
        """
        place = f"arn:aws:s3:::{self.bucket}/{self.root}"
        listing = {"StringLike": {"s3:prefix": [f"{self.root}*"]}}
        removed = ("archives/*", "releases/*", "scratch/*", "channels/*/history/*")
        return [
            self._prune("Read", users, "s3:GetObject", f"{place}*"),
            self._prune("List", users, "s3:ListBucket", f"arn:aws:s3:::{self.bucket}") | {"Condition": listing},
            self._prune("Cut", users, "s3:PutObject", f"{place}channels/*/cut.json", f"{place}scratch/*"),
            self._prune("Remove", users, "s3:DeleteObject", *(place + name for name in removed)),
            self._prune("Owner", [owner], "s3:GetObject", f"{place}channels/*/cut.json"),
        ]

    def _prune(self, what: str, users: Sequence[str], action: str, *resources: str) -> dict[str, object]:
        return {
            "Sid": f"DagferryPrune{what}{self.tag}",
            "Effect": "Allow",
            "Principal": {"AWS": sorted({_principal(user) for user in users})},
            "Action": [action],
            "Resource": list(resources),
        }

    @property
    def sids(self) -> list[str]:
        """Of all our policy statements."""
        return [self.sid, *(f"DagferryPrune{what}{self.tag}" for what in ("Read", "List", "Cut", "Remove", "Owner"))]

    def rules(self) -> dict[str, str]:
        """Return our lifecycle rules by id, as RGW writes them."""
        days = "<DaysAfterInitiation>1</DaysAfterInitiation>"
        abort = f"<AbortIncompleteMultipartUpload>{days}</AbortIncompleteMultipartUpload>"
        expire = "<Expiration><Days>1</Days></Expiration>"
        return {
            f"dagferry-multipart-{self.tag}": self._rule("multipart", self.root, "", abort),
            f"dagferry-scratch-{self.tag}": self._rule("scratch", f"{self.root}scratch/", expire, ""),
        }

    def _rule(self, name: str, prefix: str, before: str, after: str) -> str:
        filtered = f"<Filter><Prefix>{escape(prefix)}</Prefix></Filter><Status>Enabled</Status>"
        return f"<Rule><ID>dagferry-{name}-{self.tag}</ID>{filtered}{before}{after}</Rule>"


def _principal(user: str) -> str:
    match = _USER.fullmatch(user)
    if not match:
        raise UsageError(
            f"--puller-user or --prune-user {user!r} is not a user id of RGW: letters, digits, . _ @ -, or TENANT$USER"
        )
    return f"arn:aws:iam::{match['tenant'] or ''}:user/{match['user']}"


def ours_in_policy(policy: Mapping[str, Any] | None, sid: str) -> dict[str, Any] | None:
    """Return the statement with this Sid."""
    return next((entry for entry in _statements(policy) if entry.get("Sid") == sid), None)


def with_statement(policy: Mapping[str, Any] | None, sid: str, statement: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a policy with one statement put in by its Sid, or taken out; others stay as they are."""
    kept = [entry for entry in _statements(policy) if entry.get("Sid") != sid]
    added = [dict(statement)] if statement else []
    return {"Version": "2012-10-17", **(policy or {}), "Statement": kept + added}


def _statements(policy: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    found = (policy or {}).get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def split_rules(text: str) -> dict[str, str]:
    """Return the rules of a lifecycle document by their id; RGW gives each rule one."""
    rules = _RULE.findall(text)
    return {rule.partition("<ID>")[2].partition("</ID>")[0]: rule for rule in rules}


def with_rules(text: str, ours: Mapping[str, str], *, keep: bool = True) -> str:
    """Return a lifecycle document with our rules put in by id (taken out unless ``keep``); nothing without any rule.

    RGW writes the prefix of a rule with tags where it does not read it again, and the rule would then be about the
    whole bucket: it is moved to where it is read.
    """
    others = [rule for name, rule in split_rules(text).items() if name not in ours]
    readable = [_OUTER_PREFIX.sub(r"<Filter><And>\1", rule) for rule in others]
    rules = readable + ([*ours.values()] if keep else [])
    return f'<LifecycleConfiguration xmlns="{_NAMESPACE}">{"".join(rules)}</LifecycleConfiguration>' if rules else ""


def admin_commands(target: Target, users: Sequence[str], pruners: Sequence[str] = ()) -> list[str]:
    """Return what an administrator of the cluster runs, once; dagctl has no rights for it."""
    named = [(user, "puller") for user in users] + [(user, "prune") for user in pruners]
    made = [
        f"radosgw-admin user create --uid='{user}' --display-name='dagferry {what}' --max-buckets=-1"
        for user, what in named
    ]
    return [
        *made,
        f"radosgw-admin quota set --quota-scope=bucket --bucket={target.bucket} --max-size=50G",
        f"radosgw-admin quota enable --quota-scope=bucket --bucket={target.bucket}",
    ]
