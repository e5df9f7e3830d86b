"""What the properties draw from: valid words, documents and trees."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from dagferry_shared import names, times
from dagferry_shared.pointer import Action, Held, Pointer
from dagferry_shared.release import ArchiveInfo, Builder, Release, Selection, Source
from dagferry_shared.strictjson import MAX_INTEGER
from dagferry_shared.trust import ChannelTrust, Role, TrustFile
from support.docs import CI, CI_2, CI_RETIRED, OPERATOR

SIGNERS = [CI, CI_2, CI_RETIRED, OPERATOR]

safe_chars = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))
texts = st.text(safe_chars, max_size=40)
words = texts.map(str.strip).filter(bool)
name_words = st.from_regex(names._NAME, fullmatch=True)
sha256s = st.binary(min_size=32, max_size=32).map(bytes.hex)
commits = st.binary(min_size=20, max_size=20).map(bytes.hex) | sha256s
counts = st.integers(1, MAX_INTEGER)
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(times.show)  # noqa: DTZ001

components = st.text(safe_chars.filter(lambda c: c not in "/\\"), min_size=1, max_size=12).filter(
    lambda c: c not in {".", ".."} and c.lower() != ".git"
)
paths = st.lists(components, min_size=1, max_size=4).map("/".join)
globs = st.lists(st.text("ab*?[]!-.", min_size=1, max_size=4) | st.just("**"), min_size=1, max_size=5).map("/".join)
valid_globs = globs.filter(lambda g: g.count("*") <= 16 and not {".", ".."} & set(g.split("/")))
globs_tuples = st.lists(valid_globs, max_size=3, unique=True).map(tuple)
selections = st.builds(Selection, globs_tuples, globs_tuples)
repositories = st.builds("https://{}/{}".format, name_words, name_words)
source_paths = st.lists(paths | st.just("."), max_size=3, unique=True).map(tuple)

releases = st.builds(
    Release,
    bundle=name_words,
    tree=sha256s,
    source=st.builds(
        Source,
        repository=repositories,
        commit=commits,
        ref=words,
        paths=source_paths,
        selection=selections,
        committed=instants,
        author=texts,
        subject=texts,
    ),
    archive=st.builds(ArchiveInfo, sha256s, counts, counts, counts),
    builder=st.builds(Builder, words, words, st.none() | texts),
    created=instants,
    dev=st.booleans(),
)

pointers = st.builds(
    Pointer,
    bundle=name_words,
    channel=name_words,
    epoch=counts,
    sequence=counts,
    issued=instants,
    expires=st.none() | instants,
    release=sha256s,
    commit=commits,
    tip=commits,
    previous=st.none() | sha256s,
    action=st.sampled_from(Action),
    held=st.none() | st.builds(Held, words, texts, instants),
    actor=words,
    reason=texts,
)


@st.composite
def roles(draw: Any) -> Role:
    """Draw a role over some of the fixed keys."""
    order = draw(st.permutations([s.public.id for s in SIGNERS]))
    active = draw(st.integers(1, len(order)))
    retired = draw(st.integers(active, len(order)))
    return Role(draw(st.integers(1, active)), tuple(order[:active]), tuple(order[active:retired]))


channels = st.builds(
    ChannelTrust,
    repository=repositories,
    paths=source_paths.filter(bool),
    refs=globs_tuples.filter(bool),
    selection=selections,
    release=roles(),
    pointer=roles(),
    floor=st.integers(0, MAX_INTEGER),
    allow_dev=st.booleans(),
)
trust_files = st.builds(
    TrustFile,
    bundle=name_words,
    epoch=counts,
    keys=st.just({s.public.id: s.public for s in SIGNERS}),
    channels=st.dictionaries(st.from_regex(r"[a-z0-9*][a-z0-9._*-]{0,9}", fullmatch=True), channels, max_size=3),
    revoked=st.frozensets(commits, max_size=4),
    max_ttl=st.none() | st.integers(1, times.MAX_DURATION),
)


@st.composite
def trees(draw: Any, *, names: Any = components, max_files: int = 8) -> dict[str, bytes | str]:
    """Draw a tree: {path: bytes, or str for a link to some file of it}."""
    drawn = draw(
        st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), min_size=1, max_size=max_files, unique=True)
    )
    kept: dict[str, bytes | str] = {}
    for path in drawn:
        if any(path.startswith(other + "/") or other.startswith(path + "/") for other in kept):
            continue
        files = [p for p, value in kept.items() if isinstance(value, bytes)]
        if files and draw(st.booleans()):
            kept[path] = "../" * path.count("/") + draw(st.sampled_from(files))
        else:
            kept[path] = draw(st.binary(max_size=700))
    return kept
