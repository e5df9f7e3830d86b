"""Files that a store may hold since years: their bytes are read, and made again, for ever."""

import hashlib
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagferry_shared import cut, envelope, gittree, pointer, release, trust
from dagferry_shared.archive.delta import read_delta
from dagferry_shared.archive.extract import extract_archive
from dagferry_shared.archive.frame import check_frame
from dagferry_shared.archive.reader import Limits, read_archive
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.rules import Rules
from golden import content
from support import deltas
from support.docs import CI, COMMIT, OPERATOR
from support.gitid import git, tree_of
from support.refusals import refused

DIGESTS = {
    "archive.tar": "6949a2606b49caf9830ad6e1d26991982047e765d45739c9b3b243ad360da718",
    "archive.tar.zst": "ffe2ce866c5dc44acb499a9e10c7c4091b604f23a1cfb26a71dc70e64721dd7b",
    "cut.json": "3325ec3c93b91b86f036198ceb0d7b4c981b6a989ff098b6047368e7c03dbc1f",
    "delta.release.json": "c2393545d7addfa33b0b01bb0317ef98111a3fc94ef111d7ecae5d61daff2f71",
    "delta.tar": "d54395091c4158e0661b99e246290638bcabef943794edfe13674ce9f0e79da7",
    "delta.tar.zst": "8f1c65be74e87ec1e3b7ac739af9bc76290695d4ea984635bf44d7bc64a2b22c",
    "pointer.json": "4002cb6e7b8dcf354371d8326df1fb3cdf56810aeb3be672247b6a0fd0bc166b",
    "release.json": "435eb311f81d608e57552c3a2ad6adaa22c3ce74a6f962b25f77efd20418de70",
    "trust.json": "748805eb24b3c9bf49e448c6a57820ca1d784c16bcdd0ddfb2b26f61ddb9f485",
}
TREE = "508b2636661014970127991b3b7c3d460d492afb40cc59985eafaaf29b26462d"
NOW = datetime(2023, 11, 20, tzinfo=UTC)


def golden(name):
    return Path(__file__).with_name(name).read_bytes()


@pytest.mark.parametrize("name", DIGESTS)
def test_golden_file_never_changes(name):
    assert hashlib.sha256(golden(name)).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize("name", [name for name in DIGESTS if not name.endswith(".zst")])
def test_encoding_again_gives_the_same_bytes(name):
    assert content.make_all(golden("archive.tar.zst"), golden("delta.tar.zst"))[name] == golden(name)


def test_stored_archive_is_accepted_whatever_zstd_would_write_today():
    manifest = read_archive(io.BytesIO(golden("archive.tar.zst")), Limits())
    assert manifest.tree == TREE
    assert (manifest.tar_sha256, manifest.tar_size) == (DIGESTS["archive.tar"], len(golden("archive.tar")))
    assert check_frame(io.BytesIO(golden("archive.tar.zst"))).content_size == len(golden("archive.tar"))


def test_stored_archive_unpacks_to_its_tree_and_git_agrees(tmp_path):
    (tmp_path / "new").mkdir()
    fd = os.open(tmp_path / "new", os.O_RDONLY | os.O_DIRECTORY)
    try:
        extract_archive(io.BytesIO(golden("archive.tar.zst")), fd, Limits(), writable=True)
    finally:
        os.close(fd)
    assert tree_of(tmp_path / "new") == TREE
    git(tmp_path / "new", "init", "-q", "--object-format=sha256")
    git(tmp_path / "new", "add", "-f", ".")
    assert git(tmp_path / "new", "write-tree").strip() == TREE


def test_stored_delta_leads_from_its_base_to_the_tree():
    base = deltas.MemoryBase(content.entries(content.BASE))
    patched = read_delta(io.BytesIO(golden("delta.tar.zst")), Limits(), base)
    assert patched.tree == TREE
    assert (patched.tar_sha256, patched.tar_size) == (DIGESTS["delta.tar"], len(golden("delta.tar")))
    made = release.parse(envelope.parse(golden("delta.release.json"), "release"))
    info = made.archive.delta_from(gittree.tree_id(base.leaves))
    assert (info.sha256, info.size) == (DIGESTS["delta.tar.zst"], len(golden("delta.tar.zst")))
    made.check_delta(patched, info)
    assert made == content.make_delta_release(golden("archive.tar.zst"), golden("delta.tar.zst"))


def test_documents_are_read_as_they_were_meant():
    archive = golden("archive.tar.zst")
    made = content.make_release(archive)
    assert release.parse(envelope.parse(golden("release.json"), "release")) == made
    assert made.archive.sha256 == DIGESTS["archive.tar.zst"]
    assert pointer.parse(envelope.parse(golden("pointer.json"), "pointer")) == content.make_pointer(
        DIGESTS["release.json"]
    )
    assert trust.parse(golden("trust.json")) == content.make_trust()
    entry = envelope.parse(golden("pointer.json"), "pointer").payload_digest
    assert cut.parse(envelope.parse(golden("cut.json"), "cut")) == content.make_cut(entry)


def test_documents_are_accepted_by_the_rules():
    rules = Rules(trust.parse(golden("trust.json")), "main")
    signed = rules.new_pointer(golden("pointer.json"), now=NOW)
    rules.check_expiry(signed.content, now=NOW)
    assert signed.signers == {CI.public.id, OPERATOR.public.id}
    assert rules.release_of(signed, golden("release.json")).content.tree == TREE
    assert rules.cut(golden("cut.json")).content.entry == signed.payload_digest
    assert signed.content.version == f"{COMMIT}-{DIGESTS['release.json']}"


@pytest.mark.parametrize("name", ["release.json", "pointer.json", "cut.json"])
def test_no_bit_of_a_signed_golden_file_may_flip(name):
    rules = Rules(trust.parse(golden("trust.json")), "main")
    raw = golden(name)
    for at in range(len(raw)):
        broken = bytearray(raw)
        broken[at] ^= 1
        try:
            if name == "pointer.json":
                rules.new_pointer(bytes(broken), now=NOW)
            elif name == "cut.json":
                rules.cut(bytes(broken))
            else:
                digest = envelope.digest(bytes(broken))
                rules.release(bytes(broken), digest=digest, commit=COMMIT, new=True)
        except Refused:
            continue
        raise AssertionError(f"accepted with another bit at {at}")


class TestLaterVersions:
    """What a publisher of a later version may write, as this version must read it."""

    def signed(self, name, kind, **more):
        document = json.loads(envelope.parse(golden(name), name).payload) | more
        return envelope.sign(kind, json.dumps(document).encode(), [CI]).encode()

    def test_pointer_with_fields_that_came_later_is_accepted(self):
        rules = Rules(trust.parse(golden("trust.json")), "main")
        raw = self.signed("pointer.json", pointer.PAYLOAD_TYPE, waves=[{"percent": 10}])
        assert rules.new_pointer(raw, now=NOW).content == content.make_pointer(DIGESTS["release.json"])

    def test_release_of_a_type_that_came_later_is_refused(self):
        rules = Rules(trust.parse(golden("trust.json")), "main")
        raw = self.signed("release.json", release.PAYLOAD_TYPE, predicateType="urn:dagferry:release:v2")
        with refused(Reason.UNKNOWN_TYPE):
            rules.release(raw, digest=envelope.digest(raw), commit=COMMIT, new=True)
