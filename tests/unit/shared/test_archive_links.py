import pytest

from dagferry_shared.archive import links as links_module
from dagferry_shared.archive.links import check_links
from dagferry_shared.archive.paths import split_target
from dagferry_shared.errors import Reason
from support.refusals import refused

FILES = ["f", "a/f", "a/b/f", "c/f"]


def check(links, files=FILES):
    check_links(files, links)


@pytest.mark.parametrize(
    "links",
    [
        {},
        {"l": "f"},
        {"l": "a"},
        {"l": "a/b"},
        {"a/l": "../f"},
        {"a/b/l": "../../c"},
        {"a/b/l": "../f"},
        {"l": "a/b/f", "m": "l"},
        {"l": "a", "m": "l/b/f"},  # through a link to a directory
        {"d/l": "../f"},  # a directory that only a link makes
        {"a/l": "../c", "m": "a/l/f"},
        {"c/l": "../a/b", "m": "c/l"},
        {"l": "d/x", "d/x": "../f"},
        {"c/l": "../a", "m": "c/l/b"},
        {"c/l": "../a/b", "a/m": "../c/f"},
        {"l": "a", "m": "a"},
    ],
    ids=str,
)
def test_link_to_a_file_or_directory_of_the_tree_is_accepted(links):
    check(links)


@pytest.mark.parametrize("target", ["/etc/passwd", "/", "//f", "a/../f", "./f", ".", "a/", "a//f", "", ".git", "a\\f"])
def test_link_that_is_absolute_or_not_normal_is_refused(target):
    with refused(Reason.BAD_ARCHIVE):
        check({"l": target})


@pytest.mark.parametrize(
    ("link", "target"),
    [("l", "nothing"), ("l", "a/nothing"), ("a/l", "f2"), ("a/l", "../nothing"), ("l", "ff"), ("l", "F")],
)
def test_dangling_link_is_refused(link, target):
    with refused(Reason.BAD_ARCHIVE, "leads to nothing in the tree"):
        check({link: target})


@pytest.mark.parametrize("target", ["f/x", "a/f/x", "m/x"])
def test_link_through_a_file_is_refused(target):
    with refused(Reason.BAD_ARCHIVE, "leads to nothing in the tree"):
        check({"l": target, "m": "f"})


@pytest.mark.parametrize(
    ("link", "target"),
    [("l", ".."), ("l", "../f"), ("a/l", "../../f"), ("a/b/l", "../../../etc/passwd"), ("a/l", "../../a/f")],
)
def test_link_that_leaves_the_tree_is_refused(link, target):
    with refused(Reason.BAD_ARCHIVE, "leaves the tree"):
        check({link: target})


def test_link_that_leaves_the_tree_by_way_of_another_is_refused():
    # textually l/.. would be fine: "..", after following, counts from where a link leads to
    with refused(Reason.BAD_ARCHIVE):
        check({"c/d/l": "../../a", "m": "c/d/l/../../../x"})
    with refused(Reason.BAD_ARCHIVE, "leaves the tree"):
        check({"a/b/up": "../../../x", "m": "a/b/up"})


@pytest.mark.parametrize(
    "links",
    [
        {"l": "l"},
        {"l": "m", "m": "l"},
        {"a/l": "../m", "m": "a/l"},
        {"l": "m/x", "m": "l"},
        {"l": "l/x"},
        {"a/l": "../a/l"},
        {"l": "m", "m": "n", "n": "m"},
    ],
    ids=str,
)
def test_cycle_of_links_is_refused(links):
    with refused(Reason.BAD_ARCHIVE, "goes round"):
        check(links)


@pytest.mark.parametrize(
    ("link", "target"), [("a/l", ".."), ("a/l", "../a"), ("a/b/l", ".."), ("a/b/l", "../../a"), ("a/b/l", "../..")]
)
def test_link_to_its_own_ancestor_is_refused(link, target):
    with refused(Reason.BAD_ARCHIVE, "contain itself"):
        check({link: target})


@pytest.mark.parametrize(
    "links",
    [
        {"a/l": "../c", "c/l": "../a"},
        {"a/l": "../c", "c/l": "../a/b"} | {"a/b/l": "../../c"},
        {"a/l": "../c", "c/l": "../d", "d/l": "../a"},
        {"a/b/l": "../../c", "c/m": "../n", "n": "a"},
    ],
    ids=str,
)
def test_directories_that_contain_each_other_by_links_are_refused(links):
    with refused(Reason.BAD_ARCHIVE, "contain itself"):
        check(links, [*FILES, "d/f"])


def test_two_ways_into_one_directory_are_no_cycle():
    check({"a/l": "../c", "a/b/m": "../../c", "n": "c"})


def chain(length):
    return {f"l{i}": f"l{i + 1}" for i in range(length - 1)} | {f"l{length - 1}": "f"}


def test_chain_of_links_that_linux_follows_is_accepted_and_a_longer_one_refused():
    check(chain(40))
    check(chain(41))  # the first is the one asked for, 40 are followed
    for length in (42, 50, 5000):
        with refused(Reason.BAD_ARCHIVE, "over 40 links"):
            check(chain(length))


def test_links_that_double_their_hops_are_refused_quickly():
    # l0 -> d/d, each d -> two more: 2^n hops if nobody counted
    links = {f"{'x' * i or 'y'}": f"{'x' * (i + 1)}/{'x' * (i + 1)}" for i in range(30)}
    with refused(Reason.BAD_ARCHIVE):
        check(links)


def test_many_links_and_deep_trees_take_no_recursion():
    deep = "/".join(["d"] * 64)
    check({f"l{i}": deep for i in range(2000)}, [deep + "/f", *(f"{i}/f" for i in range(2000))])
    check({f"d{i}/l": f"../d{i + 1}" for i in range(3000)}, [f"d{i}/f" for i in range(3001)])  # 3000 directories deep
    with refused(Reason.BAD_ARCHIVE, "contain itself"):
        check({f"d{i}/l": f"../d{(i + 1) % 3000}" for i in range(3000)}, [f"d{i}/f" for i in range(3000)])


def test_each_link_is_resolved_once_however_many_lead_to_it(monkeypatch):
    """Resolving each anew took 63 s for 20,000 links to the head of a chain of 39 in deep directories."""
    split = []
    monkeypatch.setattr(links_module, "split_target", lambda *row: split.append(row) or split_target(*row))
    deep = "/".join(["d"] * 60)
    ladder = {f"{deep}/c{i}": "../" * 60 + f"{deep}/c{i + 1}" for i in range(38)} | {f"{deep}/c38": "f"}
    check(ladder | {f"l{i}": f"{deep}/c0" for i in range(3000)}, [f"{deep}/f"])
    assert len(split) == 3039


@pytest.mark.parametrize("step", [1, -1])
def test_hops_of_links_that_were_resolved_before_count_too(step):
    def ladder(second):
        first = {f"p{i}": f"p{i + 1}" for i in range(19)} | {"p19": "a"}
        rest = {f"q{i}": f"q{i + 1}" for i in range(second - 1)} | {f"q{second - 1}": "f"}
        return dict(list((first | rest | {"a/y": "../q0", "l": "p0/y"}).items())[::step])

    check(ladder(19))  # 20 to a, a/y, and 19 to f
    with refused(Reason.BAD_ARCHIVE, "over 40 links"):
        check(ladder(20))


def test_message_shows_control_characters_escaped():
    with refused(Reason.BAD_ARCHIVE, "\\n"):
        check({"l": "a\nb"})
