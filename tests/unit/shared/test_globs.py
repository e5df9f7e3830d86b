import warnings

import pytest

from dagferry_shared import globs
from dagferry_shared.errors import Reason
from support.refusals import refused


@pytest.mark.parametrize(
    ("glob", "value"),
    [
        ("main", "main"),
        ("release/*", "release/1.2"),
        ("release/**", "release/1/2"),
        ("release/**", "release"),
        ("**", "a/b/c"),
        ("**/c", "c"),
        ("**/c", "a/b/c"),
        ("a/**/c", "a/c"),
        ("a/**/c", "a/x/y/c"),
        ("**/b/**", "a/b/c"),
        ("**/**/a", "a"),
        ("a/**/**", "a"),
        ("v?.[0-9]", "v1.2"),
        ("[!a]x", "bx"),
        ("a**b", "axxb"),
        ("**/a/**/b", "a/a/b/x/b"),
        ("**/a/b/**/c", "a/a/b/c"),
        ("[ab", "[ab"),
    ],
)
def test_glob_matches(glob, value):
    assert globs.matches(glob, value)


@pytest.mark.parametrize(
    ("glob", "value"),
    [
        ("main", "main2"),
        ("main", "feature/main"),  # a ref is matched whole: "main" must not let feature/main publish
        ("main", "main/x"),
        ("main", "MAIN"),
        ("*", "a/b"),
        ("release/*", "release/1/2"),
        ("release/*", "release"),
        ("?", "/"),
        ("a[/]b", "a/b"),
        ("a**b", "a/b"),
        ("**/c", "a/cc"),
        ("a/**/c", "b/a/c"),
        ("**/a/b/**/c", "a/x/b/c"),
        ("a/b", "a"),
        ("[!a]x", "ax"),
        ("a.b", "axb"),
    ],
)
def test_glob_does_not_match(glob, value):
    assert not globs.matches(glob, value)


@pytest.mark.parametrize(
    ("glob", "path", "taken"),
    [
        ("tests", "a/tests/b.py", True),  # no slash: a component at any depth
        ("*.md", "docs/x.md", True),
        ("*.md", "docs.md/x.py", True),  # a directory that matches takes what is below it
        ("**", "a/b", True),
        ("tests/**", "tests/a.py", True),
        ("tests/**", "a/tests/b.py", False),  # a slash: anchored at the root
        ("**/tests/**", "a/tests/b.py", True),
        ("a/b", "a/b/c/d", True),
        ("a/b", "a/bb", False),
        ("a/*/c", "a/x/c/d", True),
        ("a/*", "a", False),
        ("test", "tests/a", False),
    ],
)
def test_selection_pattern_takes_a_path_or_not(glob, path, taken):
    assert globs.covers(glob, path) is taken


def test_selection_without_include_takes_all_and_exclude_wins():
    assert globs.selects((), (), "a/b")
    assert globs.selects(("a/**",), (), "a/b")
    assert not globs.selects(("a/**",), (), "b/a")
    assert globs.selects(("x", "b/*"), (), "b/a")
    assert not globs.selects((), ("*.pyc", "b"), "a/b")
    assert not globs.selects(("a/**",), ("b",), "a/b")


@pytest.mark.parametrize("value", ["", " a", "/a", "a/", "a//b", "a\\b", "a\nb", "a\u202eb", "/", "a\0"])
def test_pattern_that_could_never_match_or_hides_something_is_refused(value):
    with refused():
        globs.pattern(value, "refs")


def test_pattern_of_the_greatest_length_and_stars_is_accepted_and_one_more_is_oversize():
    for value in ("a" * globs.MAX_PATTERN, "*" * 16):
        assert globs.pattern(value, "refs") == value
    for value in ("a" * (globs.MAX_PATTERN + 1), "*" * 17):
        with refused(Reason.OVERSIZE):
            globs.pattern(value, "refs")


def steps(monkeypatch, call):
    count = 0
    real = globs._fits

    def counted(name, glob):
        nonlocal count
        count += 1
        return real(name, glob)

    monkeypatch.setattr(globs, "_fits", counted)
    call()
    return count


def test_pattern_of_many_double_stars_takes_no_exponential_time(monkeypatch):
    glob, parts = globs.pattern("/".join(["**/a"] * 8) + "/b", "refs"), 64  # was 4e9 steps: hours for one path
    segments = glob.count("/") + 1
    path = "/".join(["a"] * parts)
    assert steps(monkeypatch, lambda: globs.matches(glob, path)) <= segments * parts
    assert steps(monkeypatch, lambda: globs.covers(glob, path)) <= segments * parts * parts


@pytest.mark.parametrize("glob", ["*a" * 16 + "b", "*?" * 16, "?*" * 16 + "b", "*[a-b]" * 16 + "c", "[!b]*" * 16 + "b"])
def test_pattern_of_many_stars_in_one_component_ends(glob):
    for value in ("a" * 1000, "ab" * 500):
        globs.matches(globs.pattern(glob, "refs"), value)


@pytest.mark.parametrize(
    "glob",
    [
        "[![a]",
        "[[a]",
        "[a--b]",
        "[!!]",
        "[]",
        "[!]",
        "[z-a]",
        "[^a]",
        "[a&&b]",
        "[a||b]",
        "[a~~b]",
        "[--a]",
        "(",
        "a{1",
        "+",
        "$",
        "[\u00e9-z]",
        "[!]-[]",
    ],
)
def test_pattern_never_becomes_a_broken_regular_expression(glob):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        globs.matches(globs.pattern(glob, "refs"), "a")


@pytest.mark.parametrize("glob", ["./tests", "../tests", "a/./b", ".", ".."])
def test_a_glob_that_no_path_can_match_is_refused(glob):
    with refused(Reason.MALFORMED, "component"):
        globs.pattern(glob, "--exclude")
