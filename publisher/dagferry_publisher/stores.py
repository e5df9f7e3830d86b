"""Which store serves a store URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.store.url import parse_store_url

if TYPE_CHECKING:
    from dagferry_shared.store import Remover, Store


def open_store(url: str) -> Store:
    """Open a store for reading and writing; nothing is requested yet.

    Raises:
        BadStoreUrl: the URL is not one.
        StoreDenied: the AWS settings in the environment or the AWS files cannot be used.
        StoreUnreachable: the endpoint in the environment is not a URL.
    """
    parsed = parse_store_url(url)
    if parsed.scheme == "file":
        return DirectoryStore(parsed.bucket_or_path)
    from dagferry_publisher.s3store import S3Store  # noqa: PLC0415 - boto3 takes half a second to load

    return S3Store(parsed.bucket_or_path, parsed.prefix)


def open_remover(url: str) -> Remover:
    """Open a store for removing, which a retention run alone does; errors as of ``open_store``."""
    parsed = parse_store_url(url)
    if parsed.scheme == "file":
        from dagferry_shared.store.removal import DirectoryRemover  # noqa: PLC0415 - as below, one command needs it

        return DirectoryRemover(parsed.bucket_or_path)
    from dagferry_publisher.s3remover import S3Remover  # noqa: PLC0415

    return S3Remover(parsed.bucket_or_path, parsed.prefix)
