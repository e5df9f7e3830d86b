"""Tars with hostile names: paths, link targets, duplicates, as ``{variant: (tar, what the refusal says)}``."""

from __future__ import annotations

from support.handmade import link, long_link, long_member, member, tar

ESCAPE = b"/tmp/dagferry-escaped"  # what a reader that falls for it would make

Rows = dict[str, tuple[bytes, str]]

_WALKS = "is absolute, or has an empty"
_SIGN = "holds a control, direction or undecodable character"
_FORM = "is not canonical"
_DEEPEST = b"/".join([b"d"] * 64)
_LONGEST = b"/".join([b"p" * 255] * 3 + [b"q" * 253, b"rr"])


def _files(text: str, **names: bytes) -> Rows:
    return {variant: (tar(long_member(n) if len(n) > 100 else member(n)), text) for variant, n in names.items()}


PATHS: Rows = {
    **_files(_WALKS, absolute=ESCAPE, absolute_twice=b"/" + ESCAPE, root=b"/", absolute_in_pax=ESCAPE + b"d" * 100),
    **_files(
        _WALKS, up=b"../x", up_inside=b"a/../../x", up_at_end=b"a/..", up_alone=b"..", up_in_pax=b"../" * 40 + b"x"
    ),
    **_files(_WALKS, empty_component=b"a//b", trailing_slash=b"a/", empty=b"", slash_in_pax=b"d/" * 60),
    **_files(_WALKS, dot=b".", dot_first=b"./a", dot_inside=b"a/./b"),
    **_files("holds a backslash", backslash=b"a\\b", backslash_up=b"..\\x", drive=b"C:\\x"),
    **_files(
        _SIGN, newline=b"a\nb", escape=b"a\x1b[2Jb", delete=b"a\x7f", c1="a\x85b".encode(), separator="\u2028".encode()
    ),
    **_files(_SIGN, bidi="a\u202ecod.yp".encode(), isolate="a\u2066b".encode(), mark="\u200fa".encode()),
    **_files(_SIGN, zero_width=".g\u200cit/config".encode(), tag="a\U000e0041".encode(), bom="\ufeffa".encode()),
    **_files(
        "is not UTF-8", latin=b"\xe9t\xe9", overlong=b"\xc0\xae\xc0\xae/x", surrogate=b"\xed\xa0\x80", cut=b"d/\xc3"
    ),
    **_files(
        "has a .git component", git=b".git/hooks/post-checkout", git_inside=b"a/.git/config", git_case=b".GiT/config"
    ),
    **_files("longer than 255 bytes", component=b"c" * 256, component_inside=b"a/" + b"c" * 256 + b"/b"),
    **_files("longer than 255 bytes", component_in_utf_8="ü".encode() * 128),
    **_files(
        "longer than 1024 bytes or deeper", path=_LONGEST + b"r", deep=_DEEPEST + b"/d", deeper=b"d/" * 500 + b"d"
    ),
    "prefix_field": (tar(member(b"x", prefix=b"/etc")), _FORM),
    "prefix_field_up": (tar(member(b"x", prefix=b"..")), _FORM),
    "after_the_nul": (tar(member(b"a\0/../../x")), _FORM),
    "nul_in_pax": (tar(long_member(b"a\0" + b"b" * 100)), _SIGN),
}


def _links(text: str, **targets: bytes) -> Rows:
    made = {variant: long_link(b"l", t) if len(t) > 100 else link(b"l", t) for variant, t in targets.items()}
    return {variant: (tar(member(b"a", b"x"), member(b"d/f"), raw), text) for variant, raw in made.items()}


def _chain(count: int) -> bytes:
    return b"".join(link(b"l%02d" % number, b"l%02d" % (number + 1)) for number in range(count))


LINKS: Rows = {
    **_links(
        _WALKS, absolute=b"/etc/passwd", absolute_inside=b"/a", root=b"/", absolute_long=b"/" + b"tmp/" * 60 + b"x"
    ),
    **_links("leads to nothing", dangling=b"gone", dangling_deep=b"d/gone/x", through_a_file=b"a/x", case=b"A"),
    **_links(
        "leaves the tree",
        up=b"..",
        up_and_back=b"../a",
        up_far=b"../../../etc/passwd",
        up_long=b"../" * 64 + b"tmp/" * 20 + b"x",
    ),
    **_links(
        _WALKS, up_inside=b"d/../a", up_at_end=b"d/..", dot=b".", dot_first=b"./a", slash_at_end=b"d/", double=b"d//f"
    ),
    **_links("goes round", itself=b"l", below_itself=b"l/x"),
    **_links("holds a backslash", backslash=b"d\\f"),
    **_links(_SIGN, newline=b"a\n", bidi="\u202ea".encode()),
    **_links("is not UTF-8", not_utf_8=b"\xff", overlong=b"\xc0\xae\xc0\xae/etc"),
    **_links("has a .git component", git=b".git/config", git_up=b"../.Git/x"),
    **_links("longer than 255 bytes", component=b"c" * 256),
    **_links(
        "longer than 1024 bytes or deeper", target=_LONGEST + b"r", deep=_DEEPEST + b"/d", ups=b"/".join([b".."] * 65)
    ),
    "empty_target": (tar(member(b"a"), link(b"l", b"")), _FORM),
    "content": (tar(member(b"a"), member(b"l", b"x", kind=b"2", link=b"a")), "symlink with content"),
    "executable": (tar(member(b"a"), link(b"l", b"a", mode=b"0000755\0")), _FORM),
    "mode_777": (tar(member(b"a"), link(b"l", b"a", mode=b"0000777\0")), _FORM),
    "after_the_nul": (tar(member(b"a"), link(b"l", b"a\0/etc/passwd")), _FORM),
    "cycle_of_two": (tar(link(b"l", b"m"), link(b"m", b"l")), "goes round"),
    "cycle_of_three": (tar(link(b"d/l", b"../m"), link(b"m", b"n/x"), link(b"n", b"d/l")), "goes round"),
    "chain_of_42": (tar(member(b"a"), _chain(41), link(b"l41", b"a")), "over 40 links"),
    "leaves_by_another": (
        tar(member(b"d/e/f"), link(b"d/e/up", b"../../.."), link(b"m", b"d/e/up/etc")),
        "leaves the tree",
    ),
    "own_parent": (tar(member(b"d/f"), link(b"d/l", b"../d")), "contain itself"),
    "own_root": (tar(member(b"d/f"), link(b"d/l", b"..")), "contain itself"),
    "each_other": (tar(link(b"c/l", b"../d"), link(b"d/l", b"../c")), "contain itself"),
    "ancestor_by_another": (tar(member(b"c/f"), link(b"d/e/l", b"../../n"), link(b"n", b"d")), "contain itself"),
}


_BELOW = "is not a directory"
_ORDER = "is there twice or out of order"
DUPLICATES: Rows = {
    "file_twice": (tar(member(b"a", b"1"), member(b"a", b"2")), _ORDER),
    "same_file_twice": (tar(member(b"a", b"1") * 2), _ORDER),
    "link_and_file": (tar(link(b"a", b"b"), member(b"a", b"1"), member(b"b")), _ORDER),
    "file_and_link": (tar(member(b"a", b"1"), link(b"a", b"b"), member(b"b")), _ORDER),
    "twice_apart": (tar(member(b"a"), member(b"b"), member(b"a")), _ORDER),
    "twice_in_pax": (tar(long_member(b"n" * 101, b"1"), long_member(b"n" * 101, b"2")), _ORDER),
    "not_sorted": (tar(member(b"b"), member(b"a")), _ORDER),
    "sorted_as_git_does": (tar(member(b"a.b"), member(b"a0"), member(b"a/b")), _ORDER),
    "file_as_parent": (tar(member(b"a"), member(b"a/b")), _BELOW),
    "executable_as_parent": (tar(member(b"a", b"x", mode=b"0000755\0"), member(b"a/b/c")), _BELOW),
    "link_as_parent": (tar(link(b"a", b"d"), member(b"a/b"), member(b"d/f")), _BELOW),
    "link_out_as_parent": (tar(link(b"a", b"/tmp"), member(b"a/dagferry-escaped")), _BELOW),
    "link_up_as_parent": (tar(link(b"a", b"../.."), member(b"a/x")), _BELOW),
    "link_below_a_link": (tar(link(b"a", b"d"), link(b"a/b", b"../d/f"), member(b"d/f")), _BELOW),
    "parent_apart": (tar(member(b"a"), member(b"a-b"), member(b"a.b"), member(b"a/b")), _BELOW),
}

AT_THE_BOUND: dict[str, bytes] = {
    "component": tar(long_member(b"c" * 255)),
    "component_in_utf_8": tar(long_member("ü".encode() * 127 + b"x")),
    "path": tar(long_member(_LONGEST)),
    "depth": tar(long_member(_DEEPEST)),
    "header_path": tar(member(b"n" * 100)),
    "target": tar(long_member(_LONGEST), long_link(b"z", _LONGEST)),
    "target_up": tar(member(b"a"), long_link(b"d/" * 49 + b"l", b"../" * 49 + b"a")),
    "chain_of_41": tar(member(b"a"), _chain(40), link(b"l40", b"a")),
    "time_zero": tar(member(b"a", mtime=b"00000000000\0")),
    "time_last": tar(member(b"a", mtime=b"77777777777\0")),
    "dots": tar(member(b"..."), member(b"..a"), member(b".gitignore"), member(b"a..")),
}
