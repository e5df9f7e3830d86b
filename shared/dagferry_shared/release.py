"""The release: the signed, immutable statement that an archive is the tree of a commit of a repository.

Its payload is an in-toto Statement v1. Unknown fields are ignored (signed payloads may grow); a breaking change gets
a new predicate type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared import globs, names, strictjson, times
from dagferry_shared.archive.paths import check_path
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from dagferry_shared.archive.delta import Patched
    from dagferry_shared.archive.reader import Manifest
    from dagferry_shared.envelope import Envelope

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:dagferry:release:v1"
DEV_PREDICATE_TYPE = "urn:dagferry:dev-release:v1"
MAX_PATHS = 64
MAX_GLOBS = 64
MAX_DELTAS = 16


def repository(value: str, where: str) -> str:
    """Accept a normalised repository URL: a scheme, and never a user or password in it."""
    scheme, separator, rest = value.partition("://")
    if not separator or not scheme.isalnum() or not rest.strip("/") or "@" in rest.split("/", 1)[0]:
        raise Refused(Reason.MALFORMED, f"{where} is not a URL without user and password")
    return names.word(value, where)


def source_path(value: str, where: str) -> str:
    """Accept a directory of the repository: ``.`` for all of it, else a path that an archive may hold."""
    try:
        return value if value == "." else check_path(value, where)
    except Refused as error:  # it is the document that is wrong, not an archive
        raise Refused(Reason.MALFORMED, error.detail) from error


@dataclass(frozen=True, slots=True)
class Selection:
    """Which paths of the directories are packed; see ``globs``."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @staticmethod
    def read(fields: strictjson.Fields) -> Selection:
        """Read a selection; Refused if a pattern is malformed."""
        return Selection(
            fields.texts("include", globs.pattern, most=MAX_GLOBS),
            fields.texts("exclude", globs.pattern, most=MAX_GLOBS),
        )

    def as_json(self) -> dict[str, strictjson.Json]:
        """Return the selection as documents hold it."""
        return {"include": list(self.include), "exclude": list(self.exclude)}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tree comes from.

    Attributes:
        repository: normalised URL, no userinfo.
        commit: full id.
        ref: branch or tag name as CI knows it, e.g. ``main``.
        paths: directories packed; with one, its content is the archive's root, with several their names are kept.
        selection: the include and exclude globs.
        committed: commit time.
        author: name and mail address as in the commit.
        subject: first line of the commit message.
    """

    repository: str
    commit: str
    ref: str
    paths: tuple[str, ...]
    selection: Selection
    committed: str
    author: str
    subject: str


@dataclass(frozen=True, slots=True)
class DeltaInfo:
    """What the release promises of a delta archive.

    Attributes:
        base: git tree id of what it is applied to.
        sha256: of the delta archive.
        size: bytes of it.
        unpacked_size: bytes of the tar inside.
    """

    base: str
    sha256: str
    size: int
    unpacked_size: int

    @staticmethod
    def read(fields: strictjson.Fields) -> DeltaInfo:
        """Read an item of ``archive.deltas``."""
        return DeltaInfo(
            fields.text("from", names.sha256),
            fields.text("sha256", names.sha256),
            fields.integer("size", low=1),
            fields.integer("unpacked_size", low=1),
        )

    def as_json(self) -> dict[str, strictjson.Json]:
        """Return the item as a release holds it."""
        return {"from": self.base, "sha256": self.sha256, "size": self.size, "unpacked_size": self.unpacked_size}


@dataclass(frozen=True, slots=True)
class ArchiveInfo:
    """What the release promises of its archive."""

    sha256: str
    size: int  # bytes of the .tar.zst
    unpacked_size: int  # bytes of the tar inside
    files: int  # regular files and symlinks
    deltas: tuple[DeltaInfo, ...] = ()

    @staticmethod
    def read(fields: strictjson.Fields, sha256: str) -> ArchiveInfo:
        """Read ``predicate.archive``; a release without deltas says nothing of them."""
        items = fields.objects("deltas", most=MAX_DELTAS) if "deltas" in fields.value else ()
        deltas = tuple(DeltaInfo.read(item) for item in items)
        if len({delta.base for delta in deltas}) != len(deltas):
            raise Refused(Reason.MALFORMED, "release has two deltas from one tree")
        return ArchiveInfo(
            sha256,
            size=fields.integer("size", low=1),
            unpacked_size=fields.integer("unpacked_size", low=1),
            files=fields.integer("files", low=1),
            deltas=deltas,
        )

    def as_json(self) -> dict[str, strictjson.Json]:
        """Return ``predicate.archive``."""
        fields: dict[str, strictjson.Json] = {
            "size": self.size,
            "unpacked_size": self.unpacked_size,
            "files": self.files,
        }
        return fields | ({"deltas": [delta.as_json() for delta in self.deltas]} if self.deltas else {})

    def delta_from(self, tree: str) -> DeltaInfo | None:
        """Return the delta from a tree; None if there is none."""
        return next((delta for delta in self.deltas if delta.base == tree), None)


@dataclass(frozen=True, slots=True)
class Builder:
    """Who packed it: for people, not checked by any rule."""

    id: str
    version: str
    pipeline: str | None


@dataclass(frozen=True, slots=True)
class Release:
    """A release's content. ``tree`` is the SHA-256 git tree id of what the archive unpacks to."""

    bundle: str
    tree: str
    source: Source
    archive: ArchiveInfo
    builder: Builder
    created: str
    dev: bool = False

    def check_archive(self, manifest: Manifest) -> None:
        """Demand that an archive that was read holds what was signed.

        Raises:
            Refused: BAD_ARCHIVE for another number of bytes or files, WRONG_TREE for another tree.
        """
        if (manifest.tar_size, len(manifest.leaves)) != (self.archive.unpacked_size, self.archive.files):
            raise Refused(Reason.BAD_ARCHIVE, "archive has another number of bytes or files than was signed")
        if manifest.tree != self.tree:
            raise Refused(Reason.WRONG_TREE, f"archive is tree {manifest.tree[:16]}…, signed is {self.tree[:16]}…")

    def check_delta(self, patched: Patched, info: DeltaInfo) -> None:
        """Demand that a base and a delta made what was signed; Refused as ``check_archive``."""
        if (patched.tar_size, len(patched.leaves)) != (info.unpacked_size, self.archive.files):
            raise Refused(Reason.BAD_ARCHIVE, "delta has another number of bytes, or its result of files, than signed")
        if patched.tree != self.tree:
            raise Refused(Reason.WRONG_TREE, f"delta makes tree {patched.tree[:16]}…, signed is {self.tree[:16]}…")

    def payload(self) -> bytes:
        """Encode the in-toto statement that is signed."""
        source, archive = self.source, self.archive
        return strictjson.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"name": "dags.tar.zst", "digest": {"sha256": archive.sha256}},
                    {"name": "tree", "digest": {"gitTree": self.tree}},
                ],
                "predicateType": DEV_PREDICATE_TYPE if self.dev else PREDICATE_TYPE,
                "predicate": {
                    "bundle": self.bundle,
                    "source": {
                        "repository": source.repository,
                        "commit": source.commit,
                        "ref": source.ref,
                        "path": list(source.paths),
                        "selection": source.selection.as_json(),
                        "committed": source.committed,
                        "author": source.author,
                        "subject": source.subject,
                    },
                    "archive": archive.as_json(),
                    "builder": {
                        "id": self.builder.id,
                        "version": self.builder.version,
                        "pipeline": self.builder.pipeline,
                    },
                    "created": self.created,
                },
            }
        )


def _read_source(fields: strictjson.Fields) -> Source:
    return Source(
        repository=fields.text("repository", repository),
        commit=fields.text("commit", names.commit),
        ref=fields.text("ref", names.word),
        paths=fields.texts("path", source_path, most=MAX_PATHS),
        selection=Selection.read(fields.object("selection")),
        committed=fields.text("committed", times.instant),
        author=fields.text("author", names.text),
        subject=fields.text("subject", names.text),
    )


def _read_subjects(statement: strictjson.Fields) -> tuple[str, str]:
    rows = [(s.text("name", names.word), s.object("digest")) for s in statement.objects("subject", most=16)]
    subjects = dict(rows)
    if len(subjects) != len(rows):
        raise Refused(Reason.MALFORMED, "release has two subjects of one name")
    if not {"dags.tar.zst", "tree"} <= subjects.keys():
        raise Refused(Reason.MALFORMED, "release lacks the subject dags.tar.zst or tree")
    return subjects["dags.tar.zst"].text("sha256", names.sha256), subjects["tree"].text("gitTree", names.sha256)


def parse(envelope: Envelope) -> Release:
    """Read a release out of an envelope. The caller verifies the signatures first.

    Raises:
        Refused: UNKNOWN_TYPE or MALFORMED.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Refused(Reason.UNKNOWN_TYPE, f"release has payload type {envelope.payload_type[:80]!r}")
    statement = strictjson.Fields(
        strictjson.parse_object(envelope.payload, "release", limit=len(envelope.payload)), "release"
    )
    kind = statement.text("predicateType", names.word)
    if statement.raw("_type") != STATEMENT_TYPE or kind not in {PREDICATE_TYPE, DEV_PREDICATE_TYPE}:
        raise Refused(Reason.UNKNOWN_TYPE, f"release has predicate type {kind[:80]!r}")
    archive_digest, tree = _read_subjects(statement)
    predicate = statement.object("predicate")
    builder = predicate.object("builder")
    return Release(
        bundle=predicate.text("bundle", names.name),
        tree=tree,
        source=_read_source(predicate.object("source")),
        archive=ArchiveInfo.read(predicate.object("archive"), archive_digest),
        builder=Builder(
            builder.text("id", names.word),
            builder.text("version", names.word),
            builder.optional_text("pipeline", names.text),
        ),
        created=predicate.text("created", times.instant),
        dev=kind == DEV_PREDICATE_TYPE,
    )
