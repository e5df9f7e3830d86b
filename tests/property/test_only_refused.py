"""Whatever bytes come in, a parser answers or raises Refused: nothing else escapes it."""

import contextlib
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_shared import cut, envelope, globs, layout, names, pointer, release, strictjson, times, trust
from dagferry_shared.archive import header
from dagferry_shared.archive.frame import check_frame, decompress
from dagferry_shared.archive.links import check_links
from dagferry_shared.archive.paths import check_path, decode_path, split_target
from dagferry_shared.archive.reader import Limits, read_archive, read_tar
from dagferry_shared.envelope import Envelope
from dagferry_shared.errors import Refused
from dagferry_shared.keys import FileSigner, PublicKey
from support.docs import CI, ISSUED, a_pointer, a_release, a_trust, changed, places, signed_pointer, signed_release
from support.tars import entry, link, tar, tree, zst

LIMITS = Limits(max_files=1000, max_bytes=10**6)
TAR = tree({"a.py": b"x = 1\n", "d" * 101: b"", "l": "a.py"})
ARCHIVE = zst(TAR)
PEM = CI.public.pem.encode()


def only_refused(call, *arguments, **options):
    with contextlib.suppress(Refused):
        call(*arguments, **options)


def frame(raw):
    source = io.BytesIO(raw)
    found = check_frame(source)
    if found.content_size < 10**6:
        list(decompress(source, found))


def tar_bytes(raw):
    read_tar(iter([raw] if raw else []), LIMITS)


def headers(raw):
    block = raw.ljust(512, b"\0")[:512]
    only_refused(header.pax_size, block)
    header.decode(block, {}, block)


BYTES = {
    "json": lambda raw: strictjson.parse_object(raw, "x", limit=10**6),
    "envelope": lambda raw: envelope.parse(raw, "x"),
    "release": lambda raw: release.parse(Envelope(release.PAYLOAD_TYPE, raw, ())),
    "pointer": lambda raw: pointer.parse(Envelope(pointer.PAYLOAD_TYPE, raw, ())),
    "cut": lambda raw: cut.parse(Envelope(cut.PAYLOAD_TYPE, raw, ())),
    "trust": trust.parse,
    "public key": PublicKey.from_pem,
    "private key": lambda raw: FileSigner.from_pem(b"-----BEGIN PRIVATE KEY-----\n" + raw, None, "x"),
    "frame": frame,
    "frame after magic": lambda raw: frame(b"\x28\xb5\x2f\xfd" + raw),
    "archive": lambda raw: read_archive(io.BytesIO(raw), LIMITS),
    "tar": tar_bytes,
    "header": headers,
    "pax": header.pax_values,
    "path": decode_path,
}


@pytest.mark.parametrize("parse", BYTES.values(), ids=BYTES)
@given(raw=st.binary(max_size=600))
@settings(max_examples=60)
def test_any_bytes(parse, raw):
    only_refused(parse, raw)


SAMPLES = {
    "json": signed_release(),
    "envelope": signed_pointer(),
    "release": a_release().payload(),
    "pointer": a_pointer().payload(),
    "cut": cut.Cut("prod", "main", 1, 5, "e" * 64, ISSUED, "ann", "prune --keep 50").payload(),
    "trust": a_trust().encode(),
    "public key": PEM,
    "private key": CI.to_pem(None)[28:],
    "frame": ARCHIVE,
    "frame after magic": ARCHIVE[4:],
    "archive": ARCHIVE,
    "tar": TAR,
    "header": entry("a", b"x")[:512],
    "pax": header.pax_record(b"path", b"x" * 101),
    "path": "dags/ü.py".encode(),
}


@st.composite
def edited(draw, raw):
    """Cut, repeat or overwrite parts of good bytes."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        upto = draw(st.integers(at, min(len(data), at + 20)))
        data[at:upto] = draw(st.binary(max_size=20) | st.just(bytes(data[at:upto]) * 2))
    return bytes(data)


@pytest.mark.parametrize("what", BYTES)
@given(data=st.data())
@settings(max_examples=60)
def test_good_bytes_edited(what, data):
    only_refused(BYTES[what], data.draw(edited(SAMPLES[what])))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("what", ["release", "pointer", "cut", "trust", "envelope"])
@given(data=st.data())
@settings(max_examples=100)
def test_good_document_with_any_value_anywhere(what, data):
    document = json.loads(SAMPLES[what])
    place = data.draw(st.sampled_from([at for at, _ in places(document)]))
    raw = json.dumps(
        changed(document, place, data.draw(values))
    )  # lone surrogates as escapes, NaN, floats, big integers
    only_refused(BYTES[what], raw.encode())


TEXT = {
    "name": names.name,
    "sha256": names.sha256,
    "commit": names.commit,
    "pattern of channels": names.channel_pattern,
    "text": names.text,
    "word": names.word,
    "instant": times.parse,
    "duration": times.duration,
    "glob": globs.pattern,
    "repository": release.repository,
    "source path": release.source_path,
    "path": check_path,
    "target": split_target,
}
any_text = st.text(st.characters() | st.characters(categories=("Cs",)), max_size=80)


@pytest.mark.parametrize("check", TEXT.values(), ids=TEXT)
@given(value=any_text | st.text("0123456789-:.TZsmhdw /\\*[]!@", max_size=30))
@settings(max_examples=60)
def test_any_text(check, value):
    only_refused(check, value, "x")


@given(any_text)
def test_any_text_as_a_history_key_or_version(value):
    layout.history_position(value)
    only_refused(names.split_version_id, value)


@given(
    st.dictionaries(st.text("ab/", max_size=6), st.text("ab./", max_size=8), max_size=6),
    st.lists(st.text("ab/", max_size=5)),
)
def test_any_links(links, files):
    only_refused(check_links, files, links)


@given(
    st.lists(st.tuples(st.text("ab/.", max_size=5), st.binary(max_size=3) | st.text("ab/.", max_size=8)), max_size=6)
)
def test_any_entries(rows):
    entries = (link(path, value) if isinstance(value, str) else entry(path, value) for path, value in rows)
    only_refused(read_tar, iter([tar(*entries)]), LIMITS)
