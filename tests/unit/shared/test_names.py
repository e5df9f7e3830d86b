import pytest

from dagferry_shared import names
from dagferry_shared.errors import Reason
from support.refusals import refused

BIDI = "\u202e"
LONE = "\ud800"


@pytest.mark.parametrize("value", ["a", "0", "main", "dev-ann", "a.b_c-d", "a" * 63, "a..b"])
def test_name_is_accepted(value):
    assert names.name(value, "bundle") == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "A",
        "-a",
        ".a",
        "_a",
        "a" * 64,
        "a/b",
        "a b",
        "a\n",
        "\na",
        "ä",
        "a\0",
        "..",
        "a*",
        "\uff11",
        "a" + BIDI,
        LONE,
    ],
)
def test_name_that_could_be_another_key_or_path_is_refused(value):
    with refused(Reason.MALFORMED, "bundle"):
        names.name(value, "bundle")


@pytest.mark.parametrize("check", [names.sha256, names.commit, names.digest_or_commit])
@pytest.mark.parametrize(
    "value", ["", "a" * 39, "a" * 41, "a" * 63, "a" * 65, "A" * 64, "A" * 40, "g" * 64, "a" * 64 + "\n", "\u0661" * 64]
)
def test_digest_of_another_length_case_or_alphabet_is_refused(check, value):
    with refused():
        check(value, "x")


def test_digests_and_commits_are_accepted():
    assert names.sha256("0" * 64, "x") == "0" * 64
    for value in ("a" * 40, "b" * 64):
        assert names.commit(value, "x") == names.digest_or_commit(value, "x") == value


def test_short_commit_is_no_digest():
    with refused():
        names.sha256("a" * 40, "x")


@pytest.mark.parametrize("value", ["main", "*", "dev-*", "*-x", "a*b*c"])
def test_channel_pattern_is_accepted(value):
    assert names.channel_pattern(value, "x") == value


@pytest.mark.parametrize("value", ["", "[a]", "a?", "A*", "-*", "!a", "a" * 64, "a/b", "*\n"])
def test_channel_pattern_with_anything_but_a_star_is_refused(value):
    with refused():
        names.channel_pattern(value, "x")


@pytest.mark.parametrize(
    "char", ["\0", "\n", "\x1b", "\x7f", "\x85", BIDI, "\u200b", "\ufeff", LONE, "\u2028", "\u2029"]
)
def test_text_that_could_forge_a_line_or_hide_is_refused(char):
    assert not names.is_safe_text(f"a{char}b")
    with refused(Reason.MALFORMED, "control or direction"):
        names.text(f"a{char}b", "reason")


def test_text_may_be_empty_and_have_spaces_and_any_script():
    for value in ("", " a ", "ü 日本 🚀"):
        assert names.text(value, "x") == value


def test_text_of_the_greatest_length_is_accepted_and_one_more_is_oversize():
    assert names.text("ü" * names.MAX_TEXT, "x")
    with refused(Reason.OVERSIZE):
        names.text("ü" * (names.MAX_TEXT + 1), "x")


@pytest.mark.parametrize("value", ["", " ", " a", "a ", "\u00a0a", "a\u3000"])
def test_word_that_is_empty_or_has_space_around_it_is_refused(value):
    with refused(Reason.MALFORMED, "empty or has space"):
        names.word(value, "actor")


@pytest.mark.parametrize("value", ["", "x\ny", LONE, BIDI + "a", "  a  ", "z" * 5000, "a" * 999 + " b", "\n" * 2000])
def test_cleaned_text_is_always_valid(value):
    cleaned = names.clean_text(value)
    assert names.text(cleaned, "x") == cleaned == cleaned.strip()


def test_cleaned_text_keeps_what_may_stay():
    assert names.clean_text(f"fix{BIDI}the\nü load ") == "fix the ü load"


@pytest.mark.parametrize("commit", ["a" * 40, "b" * 64])
def test_version_id_splits_into_what_it_was_made_of(commit):
    assert names.split_version_id(names.version_id(commit, "c" * 64)) == (commit, "c" * 64)


@pytest.mark.parametrize(
    "value", ["", "a" * 40, f"{'a' * 40}-{'c' * 63}", f"{'a' * 40}-{'c' * 64}\n", f"../{'c' * 64}"]
)
def test_version_id_that_is_none_is_refused(value):
    with refused(Reason.MALFORMED, "version id"):
        names.split_version_id(value)
