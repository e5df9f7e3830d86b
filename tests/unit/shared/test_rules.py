"""Every trust rule: one document that breaks just this rule is refused for just this reason."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from dagferry_shared import envelope, pointer, times
from dagferry_shared import release as release_format
from dagferry_shared.errors import Reason
from dagferry_shared.pointer import Action
from dagferry_shared.release import Selection
from dagferry_shared.rules import MAX_AHEAD, Rules, Seen
from dagferry_shared.trust import Role
from support.docs import (
    CI,
    CI_2,
    CI_RETIRED,
    COMMIT,
    ISSUED,
    LATER,
    NOW,
    OPERATOR,
    OPERATOR_RETIRED,
    OTHER_COMMIT,
    STRANGER,
    a_pointer,
    a_release,
    a_trust,
    signed_pointer,
    signed_release,
)
from support.refusals import refused

RULES = Rules(a_trust(), "main")


def new_pointer(content=None, *signers, rules=RULES, seen=None, now=NOW):
    return rules.new_pointer(signed_pointer(content, *signers), now=now, seen=seen)


def check_release(content=None, *signers, rules=RULES, new=True, commit=COMMIT, raw=None):
    raw = raw or signed_release(content, *signers)
    return rules.release(raw, digest=envelope.digest(raw), commit=commit, new=new)


def trusting(trust_changes=None, **entry):
    return Rules(a_trust(entry=entry, **(trust_changes or {})), "main")


def at(moment):
    return times.show(moment)


class TestNewPointer:
    def test_good_pointer_is_accepted(self):
        signed = new_pointer()
        assert signed.content == a_pointer()
        assert signed.raw == signed_pointer()
        assert signed.digest == envelope.digest(signed.raw)
        assert signed.payload_digest == envelope.digest(a_pointer().payload())
        assert signed.signers == {OPERATOR.public.id}

    def test_both_keys_of_the_role_may_sign(self):
        assert new_pointer(None, CI, OPERATOR).signers == {CI.public.id, OPERATOR.public.id}

    def test_channel_that_trust_does_not_know_is_refused(self):
        with refused(Reason.UNTRUSTED_CHANNEL):
            Rules(a_trust(), "canary")

    def test_re_spaced_pointer_is_refused(self):
        with refused(Reason.MALFORMED, "one encoding"):
            RULES.new_pointer(signed_pointer() + b"\n", now=NOW)

    def test_stranger_is_refused(self):
        with refused(Reason.UNKNOWN_KEY):
            new_pointer(None, STRANGER)

    def test_stranger_beside_a_trusted_key_is_refused(self):
        with refused(Reason.UNKNOWN_KEY):
            new_pointer(None, OPERATOR, STRANGER)

    def test_release_key_that_has_no_pointer_role_is_refused(self):
        with refused(Reason.UNKNOWN_KEY):
            new_pointer(None, CI_2)

    def test_signature_over_other_bytes_is_refused(self):
        document = json.loads(signed_pointer())
        document["signatures"] = json.loads(signed_pointer(a_pointer(sequence=6)))["signatures"]
        with refused(Reason.BAD_SIGNATURE):
            RULES.new_pointer(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), now=NOW)

    def test_too_few_signatures_are_refused(self):
        rules = trusting(pointer=Role(2, (CI.public.id, OPERATOR.public.id)))
        new_pointer(None, CI, OPERATOR, rules=rules)
        with refused(Reason.THRESHOLD):
            new_pointer(rules=rules)

    def test_pointer_by_a_retired_key_is_refused(self):
        with refused(Reason.RETIRED_KEY):
            new_pointer(None, OPERATOR_RETIRED)

    def test_pointer_co_signed_by_a_retired_key_is_refused(self):
        with refused(Reason.RETIRED_KEY):
            new_pointer(None, OPERATOR, OPERATOR_RETIRED)

    def test_signatures_are_checked_before_the_content(self):
        with refused(Reason.UNKNOWN_KEY):
            new_pointer(a_pointer(bundle="other"), STRANGER)
        raw = envelope.sign(pointer.PAYLOAD_TYPE, b"not json", [STRANGER]).encode()
        with refused(Reason.UNKNOWN_KEY):
            RULES.new_pointer(raw, now=NOW)

    def test_malformed_content_is_refused_though_signed(self):
        raw = envelope.sign(pointer.PAYLOAD_TYPE, b"not json", [OPERATOR]).encode()
        with refused():
            RULES.new_pointer(raw, now=NOW)

    def test_release_passed_off_as_a_pointer_is_refused(self):
        with refused(Reason.UNKNOWN_TYPE):
            RULES.new_pointer(signed_release(None, CI), now=NOW)

    def test_pointer_of_another_bundle_is_refused(self):
        with refused(Reason.WRONG_BUNDLE):
            new_pointer(a_pointer(bundle="staging"))

    def test_pointer_of_another_channel_is_refused(self):
        with refused(Reason.WRONG_CHANNEL):
            new_pointer(a_pointer(channel="canary"))

    @pytest.mark.parametrize("epoch", [1, 3])
    def test_pointer_of_another_epoch_is_refused(self, epoch):
        rules = trusting({"epoch": 2})
        new_pointer(a_pointer(epoch=2), rules=rules)
        with refused(Reason.WRONG_EPOCH):
            new_pointer(a_pointer(epoch=epoch), rules=rules)

    def test_pointer_issued_too_far_in_the_future_is_refused(self):
        new_pointer(a_pointer(issued=at(NOW + MAX_AHEAD)))
        with refused(Reason.FUTURE_DATED):
            new_pointer(a_pointer(issued=at(NOW + MAX_AHEAD + timedelta(milliseconds=1))))

    def test_clock_may_be_off_by_five_minutes(self):
        assert timedelta(seconds=300) == MAX_AHEAD

    @pytest.mark.parametrize("seen", [(1, 6), (1, 2**53 - 1)])
    def test_pointer_with_lower_sequence_is_refused(self, seen):
        with refused(Reason.ROLLBACK):
            new_pointer(seen=Seen(*seen, "f" * 64))

    def test_pointer_with_lower_epoch_is_refused_even_if_trust_went_back(self):
        with refused(Reason.ROLLBACK):
            new_pointer(a_pointer(sequence=100), seen=Seen(2, 1, "f" * 64))

    def test_higher_epoch_starts_over_with_any_sequence(self):
        assert new_pointer(a_pointer(epoch=2, sequence=1), rules=trusting({"epoch": 2}), seen=Seen(1, 900, "f" * 64))

    def test_same_pointer_again_is_accepted(self):
        seen = new_pointer()
        new_pointer(seen=Seen(1, 5, seen.payload_digest))
        resigned = new_pointer(None, CI, seen=Seen(1, 5, seen.payload_digest))  # the same payload by another key
        assert resigned.payload_digest == seen.payload_digest

    def test_other_pointer_of_the_same_sequence_is_equivocation(self):
        with refused(Reason.EQUIVOCATION):
            new_pointer(a_pointer(reason="another"), seen=Seen(1, 5, new_pointer().payload_digest))

    def test_newer_pointer_is_accepted(self):
        assert new_pointer(seen=Seen(1, 4, "f" * 64)).content.sequence == 5

    def test_pointer_below_the_floor_is_refused(self):
        new_pointer(rules=trusting(floor=5))
        with refused(Reason.BELOW_FLOOR):
            new_pointer(rules=trusting(floor=6))

    def test_pointer_without_expiry_is_refused_where_max_ttl_is_set(self):
        rules = trusting({"max_ttl": 3600})
        new_pointer(a_pointer(expires=LATER), rules=rules)
        with refused(Reason.NO_EXPIRY):
            new_pointer(rules=rules)

    @pytest.mark.parametrize("revoked", ["e" * 64, COMMIT])
    def test_pointer_to_a_revoked_release_or_commit_is_refused(self, revoked):
        with refused(Reason.REVOKED, revoked[:16]):
            new_pointer(rules=trusting({"revoked": frozenset({revoked, "9" * 64})}))

    def test_revoked_tip_does_not_matter(self):
        rules = trusting({"revoked": frozenset({OTHER_COMMIT})})
        assert new_pointer(a_pointer(tip=OTHER_COMMIT), rules=rules)

    def test_expired_pointer_is_still_a_valid_pointer(self):
        assert new_pointer(a_pointer(expires="2020-01-01T00:00:00.000Z"))

    def test_rules_are_checked_in_the_order_that_the_class_says(self):
        rules = Rules(a_trust(entry={"floor": 4}, max_ttl=60, revoked=frozenset({COMMIT})), "main")
        tomorrow = at(NOW + timedelta(days=1))
        changes = {"bundle": "other", "channel": "canary", "epoch": 2, "issued": tomorrow, "sequence": 1}
        seen = Seen(1, 3, "f" * 64)
        for reason, repair in [
            (Reason.WRONG_BUNDLE, {"bundle": "prod"}),
            (Reason.WRONG_CHANNEL, {"channel": "main"}),
            (Reason.WRONG_EPOCH, {"epoch": 1}),
            (Reason.FUTURE_DATED, {"issued": ISSUED}),
            (Reason.ROLLBACK, {"sequence": 3}),
            (Reason.EQUIVOCATION, {}),
        ]:
            with refused(reason):
                new_pointer(a_pointer(**changes), rules=rules, seen=seen)
            changes |= repair
        for reason, repair in [
            (Reason.BELOW_FLOOR, {"sequence": 4}),
            (Reason.NO_EXPIRY, {"expires": LATER}),
            (Reason.REVOKED, {}),
        ]:
            with refused(reason):
                new_pointer(a_pointer(**changes), rules=rules, seen=None)
            changes |= repair


class TestOldPointer:
    def old(self, content=None, *signers, rules=RULES):
        return rules.old_pointer(signed_pointer(content, *signers))

    def test_retired_key_is_valid_for_history(self):
        assert self.old(None, OPERATOR_RETIRED).signers == {OPERATOR_RETIRED.public.id}

    def test_retired_and_active_key_together_reach_a_threshold(self):
        rules = trusting(pointer=Role(2, (CI.public.id, OPERATOR.public.id), (OPERATOR_RETIRED.public.id,)))
        assert len(self.old(None, CI, OPERATOR_RETIRED, rules=rules).signers) == 2
        with refused(Reason.THRESHOLD):
            self.old(None, OPERATOR_RETIRED, rules=rules)

    def test_key_that_is_not_even_retired_is_refused(self):
        with refused(Reason.UNKNOWN_KEY):
            self.old(None, CI_RETIRED)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [({"bundle": "x"}, Reason.WRONG_BUNDLE), ({"channel": "x"}, Reason.WRONG_CHANNEL)],
    )
    def test_pointer_of_another_bundle_or_channel_is_no_history(self, changes, reason):
        with refused(reason):
            self.old(a_pointer(**changes))

    def test_malformed_history_is_refused(self):
        with refused():
            RULES.old_pointer(b"{}")

    def test_epoch_floor_and_revocation_do_not_matter_for_history(self):
        rules = trusting({"epoch": 7, "revoked": frozenset({COMMIT}), "max_ttl": 1}, floor=100)
        assert self.old(a_pointer(epoch=3, issued="2099-01-01T00:00:00.000Z"), rules=rules).content.epoch == 3


class TestRelease:
    def test_good_release_is_accepted(self):
        signed = check_release()
        assert signed.content == a_release()
        assert signed.digest == envelope.digest(signed_release())
        assert signed.payload_digest == envelope.digest(a_release().payload())
        assert signed.signers == {CI.public.id}

    def test_release_whose_bytes_are_others_than_named_is_refused(self):
        with refused(Reason.WRONG_DIGEST):
            RULES.release(signed_release(), digest="e" * 64, commit=COMMIT, new=True)

    def test_digest_is_checked_before_the_bytes_are_parsed(self):
        with refused(Reason.WRONG_DIGEST):
            RULES.release(b"{", digest="e" * 64, commit=COMMIT, new=True)

    def test_malformed_release_is_refused_though_its_digest_is_right(self):
        with refused():
            check_release(raw=b"{}")

    def test_stranger_is_refused(self):
        with refused(Reason.UNKNOWN_KEY):
            check_release(None, STRANGER)

    def test_operators_key_introduces_no_code(self):
        with refused(Reason.UNKNOWN_KEY):
            check_release(None, OPERATOR)

    def test_release_co_signed_by_an_operator_is_refused(self):
        with refused(Reason.UNKNOWN_KEY):
            check_release(None, CI, OPERATOR)

    def test_too_few_signatures_are_refused(self):
        rules = trusting(release=Role(2, (CI.public.id, CI_2.public.id)))
        assert len(check_release(None, CI, CI_2, rules=rules).signers) == 2
        with refused(Reason.THRESHOLD):
            check_release(rules=rules)

    def test_signature_of_another_release_is_refused(self):
        document = json.loads(signed_release())
        document["signatures"] = json.loads(signed_release(a_release(tree="8" * 64)))["signatures"]
        with refused(Reason.BAD_SIGNATURE):
            check_release(raw=json.dumps(document, sort_keys=True, separators=(",", ":")).encode())

    def test_new_release_by_a_retired_key_is_refused(self):
        with refused(Reason.RETIRED_KEY):
            check_release(None, CI_RETIRED)

    def test_old_release_by_a_retired_key_is_accepted(self):
        assert check_release(None, CI_RETIRED, new=False)

    def test_pointer_passed_off_as_a_release_is_refused(self):
        with refused(Reason.UNKNOWN_TYPE):
            check_release(raw=signed_pointer(None, CI))

    def test_statement_of_another_predicate_is_refused(self):
        document = json.loads(a_release().payload()) | {"predicateType": "urn:dagferry:release:v2"}
        raw = envelope.sign(release_format.PAYLOAD_TYPE, json.dumps(document).encode(), [CI]).encode()
        with refused(Reason.UNKNOWN_TYPE):
            check_release(raw=raw)

    def test_dev_release_is_refused_unless_the_channel_allows_it(self):
        check_release(a_release(dev=True), rules=trusting(allow_dev=True))
        with refused(Reason.DEV_RELEASE):
            check_release(a_release(dev=True))

    def test_release_of_another_bundle_is_refused(self):
        with refused(Reason.WRONG_BUNDLE):
            check_release(a_release(bundle="staging"))

    @pytest.mark.parametrize("url", ["https://gitlab.example.org/data/dags2", "https://gitlab.example.org/data/DAGS"])
    def test_release_of_another_repository_is_refused(self, url):
        with refused(Reason.WRONG_REPOSITORY):
            check_release(a_release(source={"repository": url}))

    @pytest.mark.parametrize("paths", [(), (".",), ("dags", "lib"), ("dags/sub",)])
    def test_release_of_other_paths_is_refused(self, paths):
        with refused(Reason.WRONG_PATH):
            check_release(a_release(source={"paths": paths}))

    def test_order_of_the_paths_in_the_trust_file_does_not_matter(self):
        check_release(a_release(source={"paths": ("a", "b")}), rules=trusting(paths=("b", "a")))

    @pytest.mark.parametrize("ref", ["feature/main", "main2", "release", "release/1/2", "refs/heads/main"])
    def test_release_of_another_ref_is_refused(self, ref):
        check_release(a_release(source={"ref": "release/7"}))
        with refused(Reason.WRONG_REF):
            check_release(a_release(source={"ref": ref}))

    @pytest.mark.parametrize("selection", [Selection(), Selection(("a",), ("tests/**",)), Selection((), ("tests/*",))])
    def test_release_of_another_selection_is_refused(self, selection):
        with refused(Reason.WRONG_SELECTION):
            check_release(a_release(source={"selection": selection}))

    def test_revoked_release_is_refused(self):
        raw = signed_release()
        with refused(Reason.REVOKED):
            check_release(rules=trusting({"revoked": frozenset({envelope.digest(raw)})}))

    def test_release_of_a_revoked_commit_is_refused(self):
        with refused(Reason.REVOKED):
            check_release(rules=trusting({"revoked": frozenset({COMMIT})}))

    def test_release_of_another_commit_than_the_pointer_names_is_refused(self):
        with refused(Reason.WRONG_COMMIT):
            check_release(commit=OTHER_COMMIT)


class TestReleaseOf:
    def pointing(self, action, *signers, commit=COMMIT):
        raw = signed_release(None, *signers)
        content = a_pointer(action=action, release=envelope.digest(raw), commit=commit)
        return RULES.new_pointer(signed_pointer(content), now=NOW), raw

    def test_release_that_the_pointer_names_is_accepted(self):
        signed, raw = self.pointing(Action.PUBLISH)
        assert RULES.release_of(signed, raw).digest == signed.content.release

    def test_other_release_than_the_pointer_names_is_refused(self):
        signed, _ = self.pointing(Action.PUBLISH)
        with refused(Reason.WRONG_DIGEST):
            RULES.release_of(signed, signed_release(a_release(tree="8" * 64)))

    def test_pointer_that_lies_about_the_commit_is_refused(self):
        signed, raw = self.pointing(Action.PUBLISH, commit=OTHER_COMMIT)
        with refused(Reason.WRONG_COMMIT):
            RULES.release_of(signed, raw)

    def test_published_release_by_a_retired_key_is_refused(self):
        with refused(Reason.RETIRED_KEY):
            RULES.release_of(*self.pointing(Action.PUBLISH, CI_RETIRED))

    @pytest.mark.parametrize("action", [a for a in Action if a is not Action.PUBLISH])
    def test_any_other_action_may_name_a_release_by_a_retired_key(self, action):
        assert RULES.release_of(*self.pointing(action, CI_RETIRED))


class TestStandingAndExpiry:
    def test_live_pointer_that_falls_below_a_raised_floor_is_refused(self):
        trusting(floor=5).check_standing(a_pointer())
        with refused(Reason.BELOW_FLOOR):
            trusting(floor=6).check_standing(a_pointer())

    def test_floor_counts_within_the_epoch_of_the_trust_file_only(self):
        trusting({"epoch": 2}, floor=6).check_standing(a_pointer())

    @pytest.mark.parametrize("revoked", ["e" * 64, COMMIT])
    def test_live_pointer_whose_release_was_revoked_is_refused(self, revoked):
        RULES.check_standing(a_pointer())
        with refused(Reason.REVOKED):
            trusting({"revoked": frozenset({revoked})}).check_standing(a_pointer())

    def test_pointer_without_expiry_never_expires(self):
        assert RULES.expiry(a_pointer()) is None
        RULES.check_expiry(a_pointer(), now=times.LAST)

    def test_pointer_expires_after_its_expiry(self):
        content = a_pointer(expires=at(NOW))
        RULES.check_expiry(content, now=NOW)
        with refused(Reason.EXPIRED):
            RULES.check_expiry(content, now=NOW + timedelta(milliseconds=1))

    def test_grace_is_granted_and_no_more(self):
        content, grace = a_pointer(expires=at(NOW)), timedelta(hours=1)
        RULES.check_expiry(content, now=NOW + grace, grace=grace)
        with refused(Reason.EXPIRED):
            RULES.check_expiry(content, now=NOW + grace + timedelta(milliseconds=1), grace=grace)

    def test_max_ttl_cuts_a_longer_expiry_off(self):
        rules = trusting({"max_ttl": 60})
        issued = times.parse(ISSUED)
        assert rules.expiry(a_pointer(expires=LATER)) == issued + timedelta(seconds=60)
        assert rules.expiry(a_pointer(expires=at(issued + timedelta(seconds=59)))) == issued + timedelta(seconds=59)
        with refused(Reason.EXPIRED):
            rules.check_expiry(a_pointer(expires=LATER), now=NOW)

    def test_expiry_at_the_end_of_the_calendar_with_a_grace_is_no_overflow(self):
        last = a_pointer(expires=at(times.LAST))
        RULES.check_expiry(last, now=NOW, grace=timedelta(days=36600))

    def test_max_ttl_after_an_issue_at_the_end_of_the_calendar_is_no_overflow(self):
        rules = trusting({"max_ttl": times.MAX_DURATION})
        assert rules.expiry(a_pointer(issued=at(times.LAST))) == times.LAST


def test_seen_has_a_position():
    assert Seen(2, 7, "f" * 64).position == (2, 7)
    assert replace(Seen(1, 9, ""), epoch=2).position > (1, 10)
