import pytest

from dagferry_shared.archive.paths import MAX_COMPONENT, MAX_DEPTH, MAX_PATH, check_path, decode_path, split_target
from dagferry_shared.errors import Reason
from support.refusals import refused, short

LONGEST = "/".join(["a" * 255] * 4)  # 1023 bytes


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b",
        "a b",
        " ",
        "...",
        "..a",
        "a..",
        ".a",
        ".gitignore",
        ".github/x",
        "git",
        "x.git",
        "ü",
        "日本/🚀.py",
        "~",
        "a:b",
        "-rf",
        "a\u00a0b",
        "@LongNameInPaxHeader",
        "a" * MAX_COMPONENT,
        "ü" * 127,
        "/".join("a" * MAX_DEPTH),
        LONGEST,
    ],
    ids=short,
)
def test_path_is_accepted(path):
    assert check_path(path) == path
    assert decode_path(path.encode()) == path


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "//a", "a//b", "a/", "a/./b", ".", "./a", "a/.", "..", "../a", "a/../b", "a/.."]
)
def test_path_that_is_absolute_or_walks_is_refused(path):
    with refused(Reason.BAD_ARCHIVE, "is absolute, or has"):
        check_path(path)


@pytest.mark.parametrize("path", [".git", ".git/config", "a/.git/hooks/x", ".GIT", "a/.Git"])
def test_path_into_a_git_directory_is_refused(path):
    with refused(Reason.BAD_ARCHIVE, "has a .git component"):
        check_path(path)


@pytest.mark.parametrize("path", ["a\\b", "..\\a", "\\", "C:\\a"])
def test_path_with_a_backslash_is_refused(path):
    with refused(Reason.BAD_ARCHIVE, "backslash"):
        check_path(path)


@pytest.mark.parametrize(
    "char",
    [
        "\0",
        "\n",
        "\r",
        "\t",
        "\x1b",
        "\x7f",
        "\x80",
        "\x9f",
        "\u200b",
        "\u200e",
        "\u202a",
        "\u202e",
        "\u2066",
        "\u2069",
        "\ufeff",
        "\u2028",
        "\ud800",
        "\u00ad",
        "\U000e0001",
    ],
    ids=ascii,
)
def test_path_with_a_control_or_bidi_character_is_refused(char):
    for path in (char, f"a/b{char}c", f".g{char}it"):
        with refused(Reason.BAD_ARCHIVE, "control, direction or undecodable"):
            check_path(path)


@pytest.mark.parametrize("raw", [b"\xff", b"a/\xc3", b"\xed\xa0\x80", b"\xc0\xae\xc0\xae/a", b"\xf8\x88\x80\x80\x80"])
def test_path_that_is_not_utf_8_is_refused(raw):
    with refused(Reason.BAD_ARCHIVE, "is not UTF-8"):
        decode_path(raw)


@pytest.mark.parametrize("path", ["a" * 256, "ü" * 128, "a/" + "b" * 256], ids=short)
def test_component_too_long_for_a_file_system_is_refused(path):
    with refused(Reason.BAD_ARCHIVE, "longer than 255 bytes"):
        check_path(path)


@pytest.mark.parametrize("path", ["/".join("a" * (MAX_DEPTH + 1)), LONGEST + "/b", "a/" * 100_000 + "b"], ids=short)
def test_path_too_long_or_too_deep_is_refused(path):
    with refused(Reason.BAD_ARCHIVE, "longer than 1024 bytes or deeper than 64"):
        check_path(path)


def test_path_of_exactly_the_greatest_length_is_accepted():
    path = "/".join(["a" * 255, "b" * 255, "c" * 255, "d" * 253, "ef"])
    assert len(path) == MAX_PATH
    assert check_path(path)
    with refused(Reason.BAD_ARCHIVE, "longer than 1024 bytes"):
        check_path(path + "g")


@pytest.mark.parametrize(
    ("target", "split"),
    [("a", (0, ("a",))), ("..", (1, ())), ("../..", (2, ())), ("../a/b", (1, ("a", "b"))), ("...", (0, ("...",)))],
)
def test_link_target_is_split(target, split):
    assert split_target(target, "x") == split


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/",
        "/etc/passwd",
        "a/..",
        "a/../b",
        "../a/../b",
        ".",
        "./a",
        "a/.",
        "../",
        "a/",
        "a//b",
        "..//a",
        "a\\b",
        ".git/x",
        "../.git",
        "a\0b",
        "a\n",
        "a\u202e",
        "\ud800",
        "a" * 256,
        "../" * (MAX_DEPTH + 1) + "a",
        "/".join([".."] * (MAX_DEPTH + 1)),
        "../" * 100_000 + "a",
    ],
    ids=short,
)
def test_link_target_that_is_absolute_or_not_normal_is_refused(target):
    with refused(Reason.BAD_ARCHIVE):
        split_target(target, "x")


def test_link_target_of_exactly_the_greatest_depth_and_length_is_accepted():
    assert split_target("/".join([".."] * MAX_DEPTH), "x") == (MAX_DEPTH, ())
    assert split_target("../" + "/".join(["a" * 255] * 3 + ["b" * 253]), "x")[0] == 1
    with refused(Reason.BAD_ARCHIVE):
        split_target("../" + "/".join(["a" * 255] * 3 + ["b" * 254]), "x")
