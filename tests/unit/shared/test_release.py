import json
from dataclasses import replace

import pytest

from dagferry_shared import release
from dagferry_shared.archive.reader import Manifest
from dagferry_shared.envelope import Envelope
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Leaf, Mode, blob_id
from dagferry_shared.release import ArchiveInfo, Selection
from support.docs import a_release, changed, places, wrong_types
from support.refusals import refused

RELEASE = a_release()
DOCUMENT = json.loads(RELEASE.payload())
NULLABLE = {("predicate", "builder", "pipeline")}
PLACES = list(places(DOCUMENT))
SUBJECT = ("subject", 0)


def parse(document, kind=release.PAYLOAD_TYPE):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return release.parse(Envelope(kind, raw, ()))


@pytest.mark.parametrize("dev", [False, True])
def test_release_round_trips(dev):
    content = replace(RELEASE, dev=dev)
    assert parse(content.payload()) == content


def test_release_is_an_in_toto_statement():
    assert DOCUMENT["_type"] == "https://in-toto.io/Statement/v1"
    assert DOCUMENT["predicateType"] == "urn:dagferry:release:v1"
    assert [s["digest"] for s in DOCUMENT["subject"]] == [{"sha256": "a" * 64}, {"gitTree": "7" * 64}]
    assert json.loads(a_release(dev=True).payload())["predicateType"] == "urn:dagferry:dev-release:v1"


@pytest.mark.parametrize("place", [place for place, _ in PLACES if isinstance(place[-1], str)], ids=str)
def test_release_without_a_field_is_refused(place):
    with refused(Reason.MALFORMED, "lacks"):
        parse(changed(DOCUMENT, place))


@pytest.mark.parametrize(("place", "value"), PLACES, ids=str)
def test_release_with_a_field_of_wrong_type_is_refused(place, value):
    for wrong in wrong_types(value, nullable=place in NULLABLE):
        with pytest.raises(Refused) as caught:
            parse(changed(DOCUMENT, place, wrong))
        assert caught.value.reason in {Reason.MALFORMED, Reason.UNKNOWN_TYPE}, (wrong, caught.value)


@pytest.mark.parametrize("place", [(), *(place for place, value in PLACES if isinstance(value, dict))], ids=str)
def test_unknown_field_is_ignored(place):
    assert parse(changed(DOCUMENT, (*place, "later"), [{"from": 1}])) == RELEASE


def test_unknown_subject_is_ignored():
    document = changed(DOCUMENT, ("subject",), [{"name": "sbom", "digest": {"x": "y"}}, *DOCUMENT["subject"]])
    assert parse(document) == RELEASE


def test_two_subjects_of_one_name_are_refused():
    for row in DOCUMENT["subject"]:
        with refused(Reason.MALFORMED, "two subjects"):
            parse(changed(DOCUMENT, ("subject",), [*DOCUMENT["subject"], row]))


@pytest.mark.parametrize("index", [0, 1])
def test_release_without_a_subject_is_refused(index):
    with refused(Reason.MALFORMED, "lacks the subject"):
        parse(changed(DOCUMENT, ("subject", index)))


def test_too_many_subjects_are_refused():
    extra = [{"name": f"x{i}", "digest": {}} for i in range(15)]
    with refused(Reason.MALFORMED, "at most 16"):
        parse(changed(DOCUMENT, ("subject",), [*DOCUMENT["subject"], *extra]))
    assert parse(changed(DOCUMENT, ("subject",), [*DOCUMENT["subject"], *extra[1:]])) == RELEASE


@pytest.mark.parametrize("kind", ["application/vnd.dagferry.pointer+json", "application/json", "x"])
def test_document_of_another_payload_type_is_refused(kind):
    with refused(Reason.UNKNOWN_TYPE, "payload type"):
        parse(RELEASE.payload(), kind)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:dagferry:release:v2"),
        ("predicateType", "https://slsa.dev/provenance/v1"),
        ("predicateType", "x" * 900),
    ],
)
def test_statement_of_another_type_is_refused(field, value):
    with refused(Reason.UNKNOWN_TYPE, "predicate type"):
        parse(changed(DOCUMENT, (field,), value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*SUBJECT, "digest", "sha256"), "A" * 64),
        (("subject", 1, "digest", "gitTree"), "7" * 40),
        (("predicate", "bundle"), "Prod"),
        (("predicate", "source", "commit"), "c0ffee"),
        (("predicate", "source", "ref"), ""),
        (("predicate", "source", "ref"), "ma\u202ein"),
        (("predicate", "source", "committed"), "yesterday"),
        (("predicate", "source", "author"), "a\nb"),
        (("predicate", "source", "subject"), "a\x1b[31m"),
        (("predicate", "source", "path"), [".."]),
        (("predicate", "source", "path"), ["/etc"]),
        (("predicate", "source", "path"), ["dags/"]),
        (("predicate", "source", "path"), ["a//b"]),
        (("predicate", "source", "path"), ["dags", "dags"]),
        (("predicate", "source", "path"), [str(i) for i in range(release.MAX_PATHS + 1)]),
        (("predicate", "source", "selection", "include"), ["/x"]),
        (("predicate", "source", "selection", "exclude"), ["x", "x"]),
        (("predicate", "source", "selection", "include"), [str(i) for i in range(release.MAX_GLOBS + 1)]),
        (("predicate", "archive", "size"), 0),
        (("predicate", "archive", "unpacked_size"), -1),
        (("predicate", "archive", "files"), 0),
        (("predicate", "archive", "files"), 2**53),
        (("predicate", "builder", "id"), ""),
        (("predicate", "builder", "version"), " "),
        (("predicate", "builder", "pipeline"), "\0"),
        (("predicate", "created"), "2026-03-01"),
    ],
    ids=str,
)
def test_value_out_of_its_range_is_refused(place, value):
    with refused():
        parse(changed(DOCUMENT, place, value))


@pytest.mark.parametrize("place", [("predicate", "source", "author"), ("predicate", "source", "subject")])
def test_text_too_long_is_oversize(place):
    with refused(Reason.OVERSIZE):
        parse(changed(DOCUMENT, place, "x" * 1001))


def test_pattern_too_long_is_oversize():
    with refused(Reason.OVERSIZE):
        parse(changed(DOCUMENT, ("predicate", "source", "selection", "include"), ["x" * 201]))


@pytest.mark.parametrize("path", ["..", "a/../b", "/a", "a/", "", "a\\b", ".git", "a/.GIT/b", "a" * 256])
def test_source_path_that_no_archive_may_hold_is_a_fault_of_the_document(path):
    with refused(Reason.MALFORMED, "source.path"):
        release.source_path(path, "source.path")


def test_whole_repository_is_a_dot():
    assert release.source_path(".", "x") == "."
    assert release.source_path("a/b", "x") == "a/b"


@pytest.mark.parametrize(
    "url", ["https://gitlab.example.org/a/b", "ssh://host:22/x", "file:///srv/x", "https://h/~u@x"]
)
def test_repository_is_accepted(url):
    assert release.repository(url, "x") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gitlab.example.org/a",
        "git@host:a/b",
        "https://user:pw@host/a",
        "https://token@host/a",
        "://host",
        "https://",
        "https:///",
        "a b://h",
        "https://h/a ",
        "https://h/a\n",
    ],
)
def test_repository_with_userinfo_or_no_scheme_is_refused_and_not_shown(url):
    with pytest.raises(Refused) as caught:
        release.repository(url, "repository")
    assert caught.value.reason is Reason.MALFORMED
    assert "pw" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_selection_keeps_the_order_of_its_globs():
    assert Selection(("b", "a"), ("c",)).as_json() == {"include": ["b", "a"], "exclude": ["c"]}
    assert Selection(("b", "a")) != Selection(("a", "b"))


def test_payload_that_is_no_json_is_refused():
    with refused():
        parse(b"not json")


class TestCheckArchive:
    """What was unpacked is what was signed."""

    MANIFEST = Manifest({"a": Leaf(Mode.FILE, blob_id(b""))}, "7" * 64, "0" * 64, 2048, 0)
    SIGNED = a_release(archive=ArchiveInfo("a" * 64, 100, 2048, 1))

    def test_archive_as_signed_is_accepted(self):
        self.SIGNED.check_archive(self.MANIFEST)

    @pytest.mark.parametrize(("size", "files"), [(2047, 1), (2049, 1), (2048, 2)])
    def test_archive_of_another_size_or_number_of_files_is_refused(self, size, files):
        signed = a_release(archive=ArchiveInfo("a" * 64, 100, size, files))
        with refused(Reason.BAD_ARCHIVE, "another number"):
            signed.check_archive(self.MANIFEST)

    def test_archive_of_another_tree_is_refused(self):
        with refused(Reason.WRONG_TREE):
            replace(self.SIGNED, tree="8" * 64).check_archive(self.MANIFEST)
