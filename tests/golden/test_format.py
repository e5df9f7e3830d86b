"""FORMAT.md is true: its tables, numbers and examples are those of the code and of the golden files."""

import base64
import hashlib
import importlib
import io
import json
import re
from pathlib import Path

import pytest

from dagferry_shared import envelope, pointer
from dagferry_shared.archive.frame import decompress, walk_frame
from dagferry_shared.archive.header import BLOCK
from dagferry_shared.layout import Layout
from golden import content
from support.docs import CI, payload_of, places

TEXT = Path(__file__).parents[2].joinpath("shared/FORMAT.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## \d+\. (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def golden(name):
    return Path(__file__).with_name(name).read_bytes()


def table(section):
    rows = [line.strip("|").split(" | ") for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def code(language):
    return re.search(rf"```{language}\n(.*?)\n```", TEXT, re.DOTALL)[1]


def fields(section):
    return {row[0].strip("`") for row in table(section)}


def leaves(document):
    """The names of all fields, objects that only hold others left out."""
    return {".".join(map(str, at)) for at, value in places(document) if isinstance(at[-1], str)}


def test_every_field_of_a_pointer_is_described_and_no_other():
    assert fields("Pointer") == leaves(payload_of(golden("pointer.json")))


def test_every_field_of_a_cut_is_described_and_no_other():
    assert fields("Cuts") == leaves(payload_of(golden("cut.json")))


def test_every_field_of_a_release_is_described_and_no_other():
    found = leaves(payload_of(golden("release.json"))) | leaves(payload_of(golden("delta.release.json")))
    found = {re.sub(r"deltas\.\d+", "deltas[]", name) for name in found}
    found = {name for name in found if not name.startswith("subject.")}
    found |= {"subject[dags.tar.zst].digest.sha256", "subject[tree].digest.gitTree"}
    containers = {
        "predicate",
        "predicate.source",
        "predicate.source.selection",
        "predicate.archive",
        "predicate.builder",
    }
    assert fields("Release") == found - containers


def test_every_field_of_the_trust_file_is_described_and_no_other():
    found = leaves(json.loads(golden("trust.json")))
    found = {re.sub(r"^channels\.(main|dev-\*)", "channels.*", name) for name in found if not name.startswith("keys.")}
    assert fields("Trust file") == found - {"channels.*"}


@pytest.mark.parametrize("row", table("Limits"), ids=lambda row: row[0])
def test_limit_is_that_of_the_code(row):
    module, _, name = row[2].strip("`").rpartition(".")
    assert getattr(importlib.import_module(f"dagferry_shared.{module}"), name) == int(row[1])


@pytest.mark.parametrize("row", table("Limits"), ids=lambda row: row[0])
def test_limit_stands_in_the_text_too(row):
    assert re.search(rf"(?<!\d){row[1]}(?!\d)", TEXT[: TEXT.index("## 14. Limits")])


def test_actions_and_keys_are_those_of_the_code():
    action = next(row[1] for row in table("Pointer") if row[0] == "`action`")
    assert re.findall(r"`(\w+)`", action) == [a.value for a in pointer.Action]
    layout = Layout("<bundle>")
    for key in (
        layout.archive("<sha256 of the object>"),
        layout.release("<sha256 of the object>"),
        layout.pointer("<channel>"),
        layout.cut("<channel>"),
        layout.history("<channel>") + "<epoch>-<sequence>.json",
        layout.scratch("<random>"),
    ):
        assert f"    {key} " in SECTIONS["Objects"]


ROWS = [(int(at), int(length), text) for at, length, text in table("Archive: the tar")]


def test_header_table_covers_every_byte_once():
    end = 0
    for at, length, _ in ROWS:
        assert at == end
        end += length
    assert end == BLOCK


def header_by_the_table(path, mode, size, kind, target):
    """A second implementation: fill a block in the order of the table, by what it says."""
    variable = {
        0: path.ljust(100, b"\0"),
        100: mode,
        124: b"%011o\0" % size,
        136: b"%011o\0" % 1_700_000_000,
        148: b" " * 8,
        156: kind,
        157: target.ljust(100, b"\0"),
    }
    block = b""
    for at, length, text in ROWS:
        literal = re.fullmatch(r"`([^`]+)`", text)
        if literal:
            assert at not in variable
            value = literal[1].encode().replace(b"\\0", b"\0").ljust(length, b"\0")
        else:
            value = variable[at]
        assert len(value) == length
        block += value
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def test_tar_written_by_the_table_alone_is_the_golden_one():
    long = b"@LongNameInPaxHeader"
    raw = b""
    for name, value in sorted((name.encode(), value) for name, value in content.FILES.items()):
        body, target = (b"", value.encode()) if isinstance(value, str) else (value, b"")
        records = b""
        for key, text in ((b"linkpath", target), (b"path", name)):
            if len(text) > 100:
                record = b" %s=%s\n" % (key, text)
                records += b"%d%s" % (len(record) + 3, record)  # three digits here
        if records:
            raw += header_by_the_table(b"@PaxHeader", b"0000644\0", len(records), b"x", b"") + records.ljust(512, b"\0")
        mode = b"0000755\0" if name == b"run.sh" else b"0000644\0"
        kind = b"2" if target else b"0"
        shown, shown_target = (long if len(text) > 100 else text for text in (name, target))
        raw += header_by_the_table(shown, mode, len(body), kind, shown_target)
        raw += body + b"\0" * (-len(body) % 512)
    assert raw + b"\0" * 1024 == golden("archive.tar")


def test_hex_dump_is_the_first_header():
    block = bytearray(BLOCK)
    for line in code("hex").splitlines():
        at, data = line.split("  ")
        block[int(at, 16) : int(at, 16) + 16] = bytes.fromhex(data)
    assert bytes(block) == golden("archive.tar")[:BLOCK]


def test_pax_record_is_that_of_the_golden_tar():
    record = code("pax").encode() + b"\n"
    assert golden("archive.tar")[4 * BLOCK : 5 * BLOCK] == record.ljust(BLOCK, b"\0")
    assert len(record) == 124


def test_digests_are_those_of_the_golden_files():
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE))
    assert rows == {name: hashlib.sha256(golden(name)).hexdigest() for name in rows}
    assert {*rows} == {
        path.name for path in Path(__file__).parent.iterdir() if path.suffix in {".tar", ".zst", ".json"}
    }


def test_key_payload_pae_and_signature_are_those_of_the_golden_pointer():
    section = SECTIONS["Worked example"]
    pem = "".join(line.strip() + "\n" for line in re.findall(r"^    .*$", section, re.MULTILINE))
    assert pem == CI.public.pem
    assert f"key id `{CI.public.id}`" in section
    parsed = envelope.parse(golden("pointer.json"), "pointer")
    payload = code("json").encode()
    assert payload == parsed.payload
    assert f"{len(payload)} bytes, digest `{parsed.payload_digest}`" in section
    pae = envelope.pae(parsed.payload_type, payload)
    assert re.search(r"PAE begins `(.+?)`", section)[1].encode() == pae[:61]
    assert f"`{hashlib.sha256(pae).hexdigest()}`" in section
    signature = dict(parsed.signatures)[CI.public.id]
    assert f"`{base64.b64encode(signature).decode()}`" in section


def test_start_of_the_frame_and_the_tree_are_those_of_the_golden_archive():
    section = SECTIONS["Worked example"]
    assert bytes.fromhex(re.search(r"archive begins `(.+?)`", section)[1]) == golden("archive.tar.zst")[:7]
    assert f"`{payload_of(golden('release.json'))['subject'][1]['digest']['gitTree']}`" in section


def test_head_of_the_golden_delta_is_as_said():
    frame, end = walk_frame(io.BytesIO(golden("delta.tar.zst")), 0)
    raw = b"".join(decompress(io.BytesIO(golden("delta.tar.zst")[:end]), frame))
    assert code("delta").encode() == raw
    assert f"its first {end} bytes" in SECTIONS["Worked example"]


def test_der_prefix_of_a_key_is_as_said():
    prefix = re.search(r"44 bytes: `([0-9a-f]+)`", TEXT)[1]
    der = base64.b64decode("".join(CI.public.pem.splitlines()[1:-1]))
    assert der == bytes.fromhex(prefix) + CI.public.key.public_bytes_raw()
    assert len(der) == 44
