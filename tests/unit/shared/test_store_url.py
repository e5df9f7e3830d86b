from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagferry_shared.store.url import BadStoreUrl, StoreUrl, parse_store_url


@pytest.mark.parametrize(
    ("url", "scheme", "place", "prefix"),
    [
        ("file:///srv/store", "file", "/srv/store", ""),
        ("file:///srv/store/", "file", "/srv/store", ""),
        ("file:///srv/my%20store", "file", "/srv/my store", ""),
        ("file:///srv/%C3%A4", "file", "/srv/ä", ""),
        ("file:///srv/100%25", "file", "/srv/100%", ""),
        ("s3://bucket", "s3", "bucket", ""),
        ("s3://bucket/", "s3", "bucket", ""),
        ("s3://bucket/pre", "s3", "bucket", "pre"),
        ("s3://bucket/pre/fix/", "s3", "bucket", "pre/fix"),
        ("s3://my.bucket-1/a_b.c-d", "s3", "my.bucket-1", "a_b.c-d"),
        ("s3://abc", "s3", "abc", ""),
        ("s3://a--b", "s3", "a--b", ""),
        ("s3://" + "b" * 63, "s3", "b" * 63, ""),
        ("s3://1.2.3", "s3", "1.2.3", ""),
    ],
)
def test_a_store_url_is_taken_apart(url: str, scheme: str, place: str, prefix: str) -> None:
    parsed = parse_store_url(url)
    assert (parsed.scheme, parsed.bucket_or_path, parsed.prefix) == (scheme, place, prefix)
    assert parse_store_url(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no scheme"),
        ("/srv/store", "no scheme"),
        ("s3:bucket", "no scheme"),
        ("file:/srv", "no scheme"),
        ("ftp://host/path", "scheme is unknown"),
        ("S3://bucket", "scheme is unknown"),
        ("http://bucket", "scheme is unknown"),
        ("://bucket", "scheme is unknown"),
        ("s3://" + "b" * 2000, "more than 1024 characters"),
        ("file://srv/store", "three slashes"),
        ("file://./store", "three slashes"),
        ("file://localhost/srv", "three slashes"),
        ("file://", "three slashes"),
        ("file:///", "root directory"),
        ("file:////", "root directory"),
        ("file:///srv/../etc", "components"),
        ("file:///srv/%2e%2e/etc", "components"),
        ("file:///srv/./x", "components"),
        ("file:///srv//x", "components"),
        ("file:////srv", "components"),
        ("file:///srv/%00", "control characters"),
        ("file:///srv/%0a", "control characters"),
        ("file:///srv/%7f", "control characters"),
        ("file:///srv/%ff", "not UTF-8"),
        ("file:///srv store", "white space"),
        ("file:///srv\n", "white space"),
        ("file:///srv\x9b", "white space"),
        ("file:///srv?x=1", "no query"),
        ("file:///srv#x", "no fragment"),
        ("s3://bucket?versionId=1", "no query"),
        ("s3://bucket/pre#x", "no fragment"),
        ("s3://", "no bucket"),
        ("s3:///pre", "no bucket"),
        ("s3://ab", "bucket name"),
        ("s3://" + "b" * 64, "bucket name"),
        ("s3://Bucket", "bucket name"),
        ("s3://buc_ket", "bucket name"),
        ("s3://-bucket", "bucket name"),
        ("s3://bucket-", "bucket name"),
        ("s3://bucket.", "bucket name"),
        ("s3://buc..ket", "bucket name"),
        ("s3://buc.-ket", "bucket name"),
        ("s3://buc-.ket", "bucket name"),
        ("s3://tenant:bucket", "bucket name"),
        ("s3://10.0.0.1", "bucket name"),
        ("s3://bücket", "bucket name"),
        ("s3://bucket//pre", "prefix"),
        ("s3://bucket/pre//", "prefix"),
        ("s3://bucket//", "prefix"),
        ("s3://bucket/../pre", "prefix"),
        ("s3://bucket/.pre", "prefix"),
        ("s3://bucket/pr%65", "prefix"),
        ("s3://bucket/prä", "prefix"),
    ],
)
def test_a_url_that_is_not_one_is_refused_with_what_is_allowed(url: str, why: str) -> None:
    with pytest.raises(BadStoreUrl, match=why) as got:
        parse_store_url(url)
    assert "allowed are file:///absolute/directory and s3://bucket or s3://bucket/prefix" in str(got.value)
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/pre", "file://key:hunter2@/srv", "ftp://a:hunter2@b"])
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadStoreUrl, match="no user or password") as got:
        parse_store_url(url)
    assert "hunter2" not in str(got.value)


@given(st.text(max_size=40).map("s3://".__add__) | st.text(max_size=40).map("file:///".__add__) | st.text())
def test_any_text_is_a_store_url_or_refused(url: str) -> None:
    try:
        parsed = parse_store_url(url)
    except BadStoreUrl:
        return
    assert isinstance(parsed, StoreUrl)
    assert parse_store_url(str(parsed)) == parsed
    assert ".." not in parsed.bucket_or_path.split("/") + parsed.prefix.split("/")
