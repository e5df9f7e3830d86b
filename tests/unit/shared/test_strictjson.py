import json

import pytest

from dagferry_shared import names, strictjson
from dagferry_shared.errors import Reason
from dagferry_shared.strictjson import Fields
from support.refusals import refused, short

MIB = 1024 * 1024


def parse(raw, limit=20 * MIB):
    return strictjson.parse_object(raw, "document", limit=limit)


def test_document_is_read_and_written_in_one_form():
    raw = b'{"a":[1,-2,null,true],"b":{"x":"\xc3\xbc"}}'
    assert parse(raw) == {"a": [1, -2, None, True], "b": {"x": "ü"}}
    assert strictjson.encode(parse(b' { "b" : {"x":"\\u00fc"} , "a":[1,-2,null,true] } ')) == raw


@pytest.mark.parametrize("raw", [b"", b" ", b"[]", b"1", b'"x"', b"null", b"true", b"{", b"{}x", b"{}{}", b"{'a':1}"])
def test_anything_but_one_object_is_refused(raw):
    with refused():
        parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,}',
        b'{"a":[1,]}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":0x1}',
        b"{a:1}",
        b'{"a":"\t"}',
        b'{"a":"\\x"}',
        b'{"a":"\\u12"}',
        b"{/**/}",
        b'{"a":tru}',
    ],
)
def test_json_of_a_lax_dialect_is_refused(raw):
    with refused():
        parse(raw)


@pytest.mark.parametrize("number", ["1.0", "1e3", "-0.0", "1e999", "NaN", "Infinity", "-Infinity", "1E5"])
def test_number_that_is_no_integer_is_refused(number):
    with refused(Reason.MALFORMED, "not an integer"):
        parse(b'{"a":%s}' % number.encode())


@pytest.mark.parametrize("number", [strictjson.MAX_INTEGER, -strictjson.MAX_INTEGER, 0])
def test_integer_at_the_border_is_accepted(number):
    assert parse(b'{"a":%d}' % number) == {"a": number}


@pytest.mark.parametrize(
    "digits", ["9007199254740992", "-9007199254740992", "1" + "0" * 17, "9" * 5000, "-" + "9" * 5000], ids=short
)
def test_integer_that_other_readers_would_round_is_refused(digits):
    with refused(Reason.MALFORMED, "integer outside"):
        parse(b'{"a":%s}' % digits.encode())


def test_integer_of_a_million_digits_is_refused_without_converting_it():
    with refused(Reason.MALFORMED, "integer outside"):
        parse(b'{"a":%s}' % (b"9" * MIB))


@pytest.mark.parametrize("raw", [b'{"a":1,"a":1}', b'{"x":{"a":1,"b":2,"a":3}}', b'{"a":1,"\\u0061":2}'])
def test_duplicate_name_is_refused(raw):
    with refused(Reason.MALFORMED, "duplicate"):
        parse(raw)


@pytest.mark.parametrize(
    "raw", [b'{"a":"\\ud800"}', b'{"\\udfff":1}', b'{"a":["\\udc00\\ud800"]}', b'{"a":"\\uD800x"}']
)
def test_lone_surrogate_by_escape_is_refused(raw):
    with refused(Reason.MALFORMED, "not UTF-8"):
        parse(raw)


def test_surrogate_pair_by_escape_is_one_character():
    assert parse(b'{"a":"\\ud83d\\ude80"}') == {"a": "🚀"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\xaf"}',
        b"\xff\xfe{\0}\0",
        b'{"a":"\xf4\x90\x80\x80"}',
        b'{"a":"\xc3',
    ],
)
def test_bytes_that_are_not_utf_8_are_refused(raw):
    with refused(Reason.MALFORMED, "not UTF-8"):
        parse(raw)


def test_byte_order_mark_is_refused():
    with refused():
        parse(b"\xef\xbb\xbf{}")


def test_document_of_exactly_the_limit_is_accepted_and_one_byte_more_is_oversize():
    raw = b'{"a":"bcd"}'
    assert parse(raw, len(raw))
    with refused(Reason.OVERSIZE):
        parse(raw, len(raw) - 1)


def nested(depth, opening=b"[", closing=b"]"):
    return b'{"a":' + opening * (depth - 1) + closing * (depth - 1) + b"}"


def test_document_of_the_greatest_depth_is_accepted_and_one_more_is_refused():
    assert parse(nested(strictjson.MAX_DEPTH).replace(b"[]", b"[1]"))
    with refused(Reason.MALFORMED, "nested"):
        parse(nested(strictjson.MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MIB,
        b'{"a":' * 100_000,
        b'{"a":[' * 100_000,
        b"]" * MIB + b"[" * MIB,
        b'"' + b"[" * MIB,
        b'{"\\"":' + b"[" * MIB,
    ],
    ids=short,
)
def test_deep_nesting_never_reaches_the_recursive_parser(raw):
    with refused():
        parse(raw)


def test_brackets_within_strings_do_not_count():
    text = '[{"\\' * 50
    assert parse(json.dumps({text: text}).encode()) == {text: text}


def test_depth_is_counted_after_a_string_with_an_escaped_quote():
    with refused(Reason.MALFORMED, "nested"):
        parse(b'{"a\\"":"\\\\",' + b'"b":' + b"[" * 20)


def test_string_of_ten_megabytes_is_read():
    for char in ("x", '\\"', "\\\\", "ü"):
        text = char * (10 * MIB // len(char.encode()))
        assert len(parse(b'{"a":"%s"}' % text.encode())["a"]) == len(json.loads(f'"{text}"'))


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * (MIB // 2) + b"\\",  # an open string that ends in a lone backslash: was quadratic, 50 minutes
        b'{"a":"' + b'\\"' * (MIB // 2) + b"\\",
        b'"\\"' * (MIB // 3),
        b'""\\' * (MIB // 3),
        b'"\\"\\' * (MIB // 4),
        b"\\" * MIB,
        b'"' * MIB,
        b'"' + b"\\" * MIB,
        b'"' + b"\\" * (MIB + 1),
    ],
    ids=short,
)
def test_quotes_and_backslashes_take_linear_time(raw):
    with refused():  # that it ends at all is the test: the quadratic way would take many minutes
        parse(raw)


def test_many_duplicate_names_and_many_members_end():
    with refused():
        parse(b'{"a":1' + b',"a":1' * 100_000 + b"}")
    assert len(parse(json.dumps({str(i): i for i in range(50_000)}).encode())) == 50_000


def test_message_does_not_repeat_a_hostile_document():
    with refused(Reason.MALFORMED, "number 1.") as _:
        parse(b'{"a":1.%s}' % (b"1" * 10_000))


def test_encoding_refuses_what_is_no_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        strictjson.encode({"a": float("nan")})


class TestFields:
    def fields(self, **values):
        return Fields(values, "doc")

    @pytest.mark.parametrize("value", [[], "x", 1, None, True])
    def test_value_that_is_no_object_is_refused(self, value):
        with refused(Reason.MALFORMED, "doc is not an object"):
            Fields(value, "doc")

    def test_unknown_field_is_named_and_cut(self):
        self.fields(a=1).only("a", "b")
        with refused(Reason.MALFORMED, "unknown field 'c'"):
            self.fields(a=1, c=2).only("a", "b")
        with refused(Reason.MALFORMED, "'" + "x" * 60 + "'"):
            self.fields(**{"x" * 1000: 1}).only("a")

    def test_missing_field_is_named(self):
        for method in ("raw", "integer", "optional_integer", "flag", "object"):
            with refused(Reason.MALFORMED, "lacks 'b'"):
                getattr(self.fields(a=1), method)("b")
        for method in ("text", "optional_text", "texts"):
            with refused(Reason.MALFORMED, "lacks 'b'"):
                getattr(self.fields(a=1), method)("b", names.text)
        with refused(Reason.MALFORMED, "lacks 'b'"):
            self.fields(a=1).objects("b", most=1)

    def test_text_is_checked_and_its_place_is_named(self):
        assert self.fields(a="x").text("a", names.word) == "x"
        with refused(Reason.MALFORMED, "doc.a is not a string"):
            self.fields(a=1).text("a", names.word)
        with refused(Reason.MALFORMED, "doc.a is empty"):
            self.fields(a="").text("a", names.word)

    def test_null_is_none_only_where_it_may_be(self):
        assert self.fields(a=None).optional_text("a", names.word) is None
        assert self.fields(a="x").optional_text("a", names.word) == "x"
        assert self.fields(a=None).optional_integer("a") is None
        assert self.fields(a=3).optional_integer("a", low=3) == 3
        with refused():
            self.fields(a=None).text("a", names.word)
        with refused():
            self.fields(a=2).optional_integer("a", low=3)

    @pytest.mark.parametrize("value", [True, False, "1", None, -1, [], {}])
    def test_integer_that_is_none_or_too_low_is_refused(self, value):
        with refused(Reason.MALFORMED, "doc.a is not an integer of at least 0"):
            self.fields(a=value).integer("a")

    @pytest.mark.parametrize("value", [0, 1, "true", None])
    def test_flag_that_is_no_boolean_is_refused(self, value):
        assert self.fields(a=True).flag("a") is True
        with refused(Reason.MALFORMED, "not true or false"):
            self.fields(a=value).flag("a")

    def test_texts_are_distinct_strings_and_not_too_many(self):
        assert self.fields(a=["x", "y"]).texts("a", names.word, most=2) == ("x", "y")
        for value in ("x", None, {"x": 1}, ["x", 1], [["x"]], ["x", "y", "z"]):
            with refused(Reason.MALFORMED, "not a list of at most 2 strings"):
                self.fields(a=value).texts("a", names.word, most=2)
        with refused(Reason.MALFORMED, "twice"):
            self.fields(a=["x", "x"]).texts("a", names.word)
        with refused(Reason.MALFORMED, "doc.a is empty"):
            self.fields(a=["x", ""]).texts("a", names.word)

    def test_objects_are_objects_and_not_too_many(self):
        rows = self.fields(a=[{"b": 1}, {"b": 2}]).objects("a", most=2)
        assert [row.integer("b") for row in rows] == [1, 2]
        assert rows[1].where == "doc.a[1]"
        for value in ({}, None, [{}, {}, {}]):
            with refused(Reason.MALFORMED, "not a list of at most 2 objects"):
                self.fields(a=value).objects("a", most=2)
        with refused(Reason.MALFORMED, "doc.a[0] is not an object"):
            self.fields(a=[1]).objects("a", most=2)
        assert self.fields(a={"b": 1}).object("a").integer("b") == 1
