import fnmatch

from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_shared import globs
from property import strategies as some

values = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=6).map("/".join)


def reference(segments, parts):
    """The definition, word by word; exponential, so for short patterns alone."""
    if not segments:
        return not parts
    if segments[0] == "**":
        return reference(segments[1:], parts) or (bool(parts) and reference(segments, parts[1:]))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], segments[0]) and reference(segments[1:], parts[1:])


@given(some.valid_globs, values)
@settings(max_examples=500)
def test_matching_agrees_with_the_definition(glob, value):
    assert globs.matches(glob, value) is reference(glob.split("/"), value.split("/"))


simple = st.lists(st.sampled_from(["**", "a", "b", "*"]), min_size=1, max_size=6).map("/".join)


@given(simple, st.lists(st.sampled_from("ab"), min_size=1, max_size=6).map("/".join))
@settings(max_examples=500)
def test_matching_of_many_double_stars_agrees_with_the_definition(glob, value):
    assert globs.matches(glob, value) is reference(glob.split("/"), value.split("/"))


@given(simple, values, values)
def test_selection_pattern_that_takes_a_path_takes_all_below_it(glob, path, below):
    if globs.covers(glob, path):
        assert globs.covers(glob, f"{path}/{below}")


@given(some.globs_tuples, some.globs_tuples, values)
def test_excluding_more_never_selects_more(include, exclude, path):
    assert globs.selects(include, (), path) or not globs.selects(include, exclude, path)
    assert globs.selects((), (), path)


@given(values)
def test_value_without_wildcards_matches_itself_alone(value):
    assert globs.matches(value, value)
    assert not globs.matches(value, value + "x")
    assert not globs.matches(value, "x/" + value)
