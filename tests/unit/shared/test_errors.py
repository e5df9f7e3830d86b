import pickle

from dagferry_shared.errors import BlobMissing, DagferryError, Reason, Refused, StoreError


def test_refusal_keeps_reason_and_detail_across_a_process_border():
    error = pickle.loads(pickle.dumps(Refused(Reason.ROLLBACK, "older than seen")))
    assert (error.reason, error.detail, str(error)) == (Reason.ROLLBACK, "older than seen", "rollback: older than seen")


def test_refusals_and_store_errors_are_two_families():
    assert not issubclass(Refused, StoreError)
    assert not issubclass(StoreError, Refused)
    assert issubclass(BlobMissing, DagferryError)


def test_reasons_are_fit_for_a_metrics_label_and_distinct():
    assert all(reason.value.replace("-", "").isalpha() and reason.value.islower() for reason in Reason)
    assert len({reason.value for reason in Reason}) == len(Reason)
