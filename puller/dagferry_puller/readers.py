"""Which reader serves a store URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.store.url import parse_store_url

if TYPE_CHECKING:
    from dagferry_shared.store import BlobReader


def open_reader(url: str) -> BlobReader:
    """Open a store for reading; nothing is requested yet.

    Raises:
        BadStoreUrl: the URL is not one.
        AwsSettingsError: a setting in the environment or the AWS files cannot be used.
    """
    parsed = parse_store_url(url)
    if parsed.scheme == "file":
        from dagferry_shared.store.directory import DirectoryReader  # noqa: PLC0415 - each puller loads one of the two

        return DirectoryReader(parsed.bucket_or_path)
    from dagferry_puller.s3reader import S3Reader  # noqa: PLC0415

    return S3Reader(parsed.bucket_or_path, parsed.prefix)
