"""``dagctl prune`` with the rights that ``dagctl setup ceph --prune-user`` gives: enough to prune, and no more."""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from dagferry_publisher import cuts, keyring
from dagferry_publisher.retention.history import Policy
from dagferry_publisher.retention.inventory import Reader
from dagferry_publisher.retention.plan import Fate
from dagferry_publisher.retention.prune import Means, Prune
from dagferry_publisher.s3client import config, open_client
from dagferry_publisher.s3remover import S3Remover
from dagferry_publisher.s3store import S3Store
from dagferry_shared import trust
from dagferry_shared.keys import FileSigner
from dagferry_shared.store import Listed
from rgw.setup.conftest import PREFIX, ROOT
from support.s3server import client

if TYPE_CHECKING:
    from rgw.setup.conftest import Place


def test_the_prune_user_prunes_and_can_neither_move_nor_remove_a_pointer(
    place: Place, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is old here, and the store's clock cannot be set: the safety age is none."""
    user = f"pruner-{secrets.token_hex(4)}"
    key = json.loads(place.admin("user", "create", f"--uid={user}", "--display-name=pruner"))["keys"][0]
    steps = place.setup("--prune-user", user).json["steps"]
    assert [step["action"] for step in steps if step["item"] == "policy"] == ["create", "create"]
    again = place.setup("--prune-user", user).json["steps"]
    assert [step["action"] for step in again if step["item"] == "policy"] == ["keep", "keep"]
    for commit in line:
        place.site.publish(commit)
    own = {"AWS_ACCESS_KEY_ID": key["access_key"], "AWS_SECRET_ACCESS_KEY": key["secret_key"]}
    for name, value in (own | place.rgw.place).items():
        monkeypatch.setenv(name, value)
    signer = FileSigner.from_pem(keyring.read_bounded(str(place.site.key("ci")), "key", 4096), None, "ci")
    with ExitStack() as stack:
        store, remover = S3Store(place.bucket, PREFIX), S3Remover(place.bucket, PREFIX)
        stack.callback(store.close)
        stack.callback(remover.close)
        trusted = trust.parse(place.site.trust.read_bytes())
        reader = Reader(store, remover, trusted, lambda _: True)
        policy = Policy(2, timedelta(0), timedelta(0))
        run = Prune(Means(reader, remover, policy, lambda _: cuts.Cutter("pruner", [signer]), timedelta(0)))
        doomed = run.plan.of(Fate.REMOVE)
        assert len(doomed) >= 9
        run.run()
        assert len(run.removed) == len(doomed)
        gone = doomed[0].found
        assert remover.remove(Listed(gone.key, gone.size, gone.modified)) is False
    document = place.site.dagctl("verify", "--all", "--json").json
    assert (document["findings"], document["checked"]["cuts"]) == ([], 1)
    pointer = f"{ROOT}channels/main/pointer.json"
    with closing(client(place.rgw)) as s3:
        raw = s3.get_object(Bucket=place.bucket, Key=pointer)["Body"].read()
    import boto3.session

    settings = config(1, connect_seconds=5, read_seconds=10)
    with closing(open_client(boto3.session.Session(), settings)) as pruner:
        with pytest.raises(ClientError, match="AccessDenied"):
            pruner.put_object(Bucket=place.bucket, Key=pointer, Body=raw)
        for kept in (pointer, f"{ROOT}channels/main/cut.json"):
            with pytest.raises(ClientError, match="AccessDenied"):
                pruner.delete_object(Bucket=place.bucket, Key=kept)
    removed = place.setup("--remove").json["steps"]
    assert "remove" in [step["action"] for step in removed if step["item"] == "policy"]
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        place.s3.get_bucket_policy(Bucket=place.bucket)
