import json

import pytest

from dagferry_shared import times, trust
from dagferry_shared.errors import Reason, Refused
from support.docs import CI, CI_RETIRED, OPERATOR, STRANGER, a_trust, changed, fixed_key, places, wrong_types
from support.refusals import refused

TRUST = a_trust(revoked=frozenset({"a" * 40, "b" * 64}), max_ttl=86400)
DOCUMENT = json.loads(TRUST.encode())
PLACES = list(places(DOCUMENT))
MAIN = ("channels", "main")
MAPS = {("keys",), ("channels",)}


def parse(document):
    return trust.parse(document if isinstance(document, bytes) else json.dumps(document).encode())


def test_trust_file_round_trips():
    assert parse(TRUST.encode()) == TRUST
    assert parse(TRUST.encode()).encode() == TRUST.encode()
    assert TRUST.encode().endswith(b"\n}\n")


def test_trust_file_without_channels_or_keys_is_read():
    parsed = parse({"bundle": "prod", "epoch": 1, "keys": {}, "channels": {}, "revoked": [], "max_ttl": None})
    assert parsed.max_ttl is None
    with refused(Reason.UNTRUSTED_CHANNEL, "known: none"):
        parsed.channel("main")


@pytest.mark.parametrize(
    "place", [place for place, _ in PLACES if isinstance(place[-1], str) and place[:-1] not in MAPS], ids=str
)
def test_trust_file_without_a_field_is_refused(place):
    with refused(Reason.MALFORMED, "lacks"):
        parse(changed(DOCUMENT, place))


@pytest.mark.parametrize(("place", "value"), PLACES, ids=str)
def test_trust_file_with_a_field_of_wrong_type_is_refused(place, value):
    wrong = wrong_types(value, nullable=place == ("max_ttl",))
    if place == ("keys",):
        wrong.remove([])
    for sample in wrong:
        with pytest.raises(Refused) as caught:
            parse(changed(DOCUMENT, place, sample))
        assert caught.value.reason in {Reason.MALFORMED, Reason.BAD_KEY}, (sample, caught.value)


@pytest.mark.parametrize(
    "place", [(), *(place for place, value in PLACES if isinstance(value, dict) and place not in MAPS)], ids=str
)
def test_typo_that_would_switch_a_rule_off_is_refused(place):
    with refused(Reason.MALFORMED, "unknown field 'revokd'"):
        parse(changed(DOCUMENT, (*place, "revokd"), []))


def test_key_that_is_filed_under_another_id_is_refused():
    document = changed(DOCUMENT, ("keys", CI.public.id), OPERATOR.public.pem)
    with refused(Reason.BAD_KEY, "has the id"):
        parse(document)


def test_private_key_in_the_trust_file_is_refused():
    with refused(Reason.BAD_KEY, "holds a private key"):
        parse(changed(DOCUMENT, ("keys", CI.public.id), CI.to_pem(None).decode()))


def test_key_that_is_no_key_is_refused():
    with refused(Reason.BAD_KEY):
        parse(changed(DOCUMENT, ("keys", "x"), "ü"))


@pytest.mark.parametrize("role", ["release", "pointer"])
@pytest.mark.parametrize("field", ["keys", "retired"])
def test_role_that_names_a_key_that_is_not_there_is_refused(role, field):
    with refused(Reason.MALFORMED, "not in keys"):
        parse(changed(DOCUMENT, (*MAIN, role, field), [STRANGER.public.id]))


@pytest.mark.parametrize("role", ["release", "pointer"])
def test_key_that_is_active_and_retired_is_refused(role):
    document = changed(DOCUMENT, (*MAIN, role, "retired"), DOCUMENT["channels"]["main"][role]["keys"])
    with refused(Reason.MALFORMED, "both active and retired"):
        parse(document)


@pytest.mark.parametrize("role", ["release", "pointer"])
@pytest.mark.parametrize("threshold", [3, 256])
def test_threshold_above_the_number_of_active_keys_is_refused(role, threshold):
    with refused(Reason.MALFORMED, f"needs {threshold} of 2 keys"):
        parse(changed(DOCUMENT, (*MAIN, role, "threshold"), threshold))
    with refused(Reason.MALFORMED, "needs 1 of 0 keys"):
        parse(changed(DOCUMENT, (*MAIN, role, "keys"), []))


@pytest.mark.parametrize("threshold", [0, -1])
def test_threshold_that_asks_for_no_signature_is_refused(threshold):
    with refused(Reason.MALFORMED, "at least 1"):
        parse(changed(DOCUMENT, (*MAIN, "release", "threshold"), threshold))


def test_threshold_of_all_keys_is_accepted():
    assert parse(changed(DOCUMENT, (*MAIN, "release", "threshold"), 2)).channel("main").release.threshold == 2


def test_key_named_twice_does_not_reach_a_threshold():
    with refused(Reason.MALFORMED, "twice"):
        parse(changed(DOCUMENT, (*MAIN, "release", "keys"), [CI.public.id, CI.public.id]))


@pytest.mark.parametrize("field", ["paths", "refs"])
def test_channel_that_allows_no_path_or_ref_is_refused(field):
    with refused(Reason.MALFORMED, "no path or no ref"):
        parse(changed(DOCUMENT, (*MAIN, field), []))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("bundle",), "Prod"),
        (("epoch",), 0),
        (("max_ttl",), 0),
        (("max_ttl",), times.MAX_DURATION + 1),
        (("max_ttl",), 2**53 - 1),
        (("revoked",), ["c0ffee"]),
        (("revoked",), ["a" * 40, "a" * 40]),
        (("revoked",), [f"{i:040x}" for i in range(trust.MAX_REVOKED + 1)]),
        ((*MAIN, "floor"), -1),
        ((*MAIN, "repository"), "https://u:p@h/x"),
        ((*MAIN, "paths"), [".."]),
        ((*MAIN, "refs"), ["/x"]),
        ((*MAIN, "selection", "exclude"), ["x/"]),
        (("channels", "Main"), DOCUMENT["channels"]["main"]),
        (("channels", "[a]"), DOCUMENT["channels"]["main"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_value_out_of_its_range_is_refused(place, value):
    with refused():
        parse(changed(DOCUMENT, place, value))


def test_longest_time_to_live_is_accepted():
    assert parse(changed(DOCUMENT, ("max_ttl",), times.MAX_DURATION)).max_ttl == times.MAX_DURATION


def test_too_many_keys_or_channels_or_bytes_are_oversize():
    with refused(Reason.OVERSIZE):
        parse(changed(DOCUMENT, ("keys",), {str(i): "" for i in range(trust.MAX_KEYS + 1)}))
    with refused(Reason.OVERSIZE):
        parse(changed(DOCUMENT, ("channels",), {str(i): {} for i in range(trust.MAX_CHANNELS + 1)}))
    with refused(Reason.OVERSIZE):
        parse(TRUST.encode() + b" " * trust.MAX_TRUST_FILE)
    more = [fixed_key(number).public for number in range(300, 300 + trust.MAX_KEYS - len(DOCUMENT["keys"]))]
    assert (
        len(parse(changed(DOCUMENT, ("keys",), {**DOCUMENT["keys"], **{key.id: key.pem for key in more}})).keys)
        == trust.MAX_KEYS
    )
    many = {f"c{i}": DOCUMENT["channels"]["main"] for i in range(trust.MAX_CHANNELS)}
    assert len(parse(changed(DOCUMENT, ("channels",), many)).channels) == trust.MAX_CHANNELS


def test_duplicate_channel_is_refused():
    raw = TRUST.encode().replace(b'"channels": {', b'"channels": {"main": 1,')
    with refused(Reason.MALFORMED, "duplicate"):
        parse(raw)


class TestChannel:
    def trust(self, *patterns):
        return parse(
            changed(
                DOCUMENT,
                ("channels",),
                {p: changed(DOCUMENT["channels"]["main"], ("floor",), i) for i, p in enumerate(patterns)},
            )
        )

    def test_exact_name_wins_over_patterns(self):
        assert self.trust("*", "dev-*", "dev-ann").channel("dev-ann").floor == 2

    def test_only_pattern_that_matches_is_taken(self):
        assert self.trust("main", "dev-*").channel("dev-bob").floor == 1

    def test_two_patterns_that_match_are_a_refusal(self):
        with refused(Reason.UNTRUSTED_CHANNEL, "several entries of the trust file: *, dev-*"):
            self.trust("dev-*", "*").channel("dev-bob")

    @pytest.mark.parametrize("channel", ["canary", "main2", "dev", "Main", "", "xdev-a"])
    def test_channel_that_nothing_matches_is_a_refusal(self, channel):
        with refused(Reason.UNTRUSTED_CHANNEL, "known: dev-*, main"):
            self.trust("main", "dev-*").channel(channel)

    def test_dot_in_a_name_is_no_wildcard(self):
        with refused(Reason.UNTRUSTED_CHANNEL):
            self.trust("a.b").channel("axb")
        with refused(Reason.UNTRUSTED_CHANNEL):
            self.trust("a.*").channel("axb")


def test_retired_key_is_read():
    assert parse(TRUST.encode()).channel("main").release.retired == (CI_RETIRED.public.id,)
