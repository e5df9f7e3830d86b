import pytest

from dagferry_shared.layout import Layout, history_position
from support.refusals import short

LAYOUT = Layout("prod")


def test_every_object_has_the_key_that_format_md_says():
    assert LAYOUT.root == "prod/v1/"
    assert LAYOUT.archive("a" * 64) == f"prod/v1/archives/{'a' * 64}.tar.zst"
    assert LAYOUT.release("b" * 64) == f"prod/v1/releases/{'b' * 64}.json"
    assert LAYOUT.channel("main") == "prod/v1/channels/main/"
    assert LAYOUT.pointer("main") == "prod/v1/channels/main/pointer.json"
    assert LAYOUT.history("main") == "prod/v1/channels/main/history/"
    assert LAYOUT.history_entry("main", 2, 17) == "prod/v1/channels/main/history/2-17.json"
    assert LAYOUT.scratch("xyz") == "prod/v1/scratch/xyz"


def test_position_is_read_back_from_a_history_key():
    assert history_position(LAYOUT.history_entry("main", 2, 17)) == (2, 17)
    assert history_position("2-17.json") == (2, 17)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x/",
        "2-17",
        "2-17.json.tmp",
        "2.json",
        "-2-17.json",
        "2-17.jsonx",
        "2-17.json\n",
        "a-b.json",
        "\u0662-17.json",
        "9" * 17 + "-1.json",
        "1-" + "9" * 5000 + ".json",
    ],
    ids=short,
)
def test_planted_object_in_the_history_is_no_entry(key):
    assert history_position(key) is None


@pytest.mark.parametrize("key", ["2-017.json", "02-17.json", "0-1.json", "1-0.json"])
def test_second_spelling_of_a_position_is_no_entry(key):
    assert history_position(key) is None
