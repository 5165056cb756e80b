"""The decision by itself: merged records and facts in, the next action out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hedra_provider.records import Generation
from hedra_provider.submission.plan import Rule
from hedra_provider.submission.v3.decide import (
    Adopt,
    AskStatus,
    Begin,
    Facts,
    NeedRequest,
    SearchJobs,
    SendRequest,
    decide,
)
from hedra_provider.submission.v3.merge import merge
from hedra_provider.submission.v3.record import Intent, Send, TryRecord

NOW = 1_000_000.0
MINUTE = 60.0


def intent(n: int = 0, *, ago: float = MINUTE, group: str = "group", **fields) -> Intent:
    known = {
        "step": "job",
        "idempotency_key": f"key-{n}",
        "place": "header",
        "model": "hedra-avatar",
        "fingerprint": "request",
        "owner": "owner",
        "digest": "digest",
        "body": "encrypted",
    }
    return Intent(n=n, attempt_group=group, began_at=NOW - ago, **{**known, **fields})


def sent(*outcomes: str | None, ago: float = MINUTE) -> tuple[Send, ...]:
    return tuple(Send(began_at=NOW - ago, outcome=outcome) for outcome in outcomes)


def record(*intents: Intent, try_id: str = "1", group: str = "group") -> TryRecord:
    return TryRecord(key="key", try_id=try_id, attempt_group=group, intents=intents)


def facts(**fields) -> Facts:
    known = {"attempt_group": "group", "fingerprint": "request", "now": NOW, "can_read": lambda request: True}
    return Facts(**{**known, **fields})


def action(*records: TryRecord, jobs: dict | None = None, **fields):
    return decide(merge(records, "job"), facts(**fields), jobs or {})


def job(job_id: str = "job_1", status: str = "complete") -> Generation:
    return Generation(id=job_id, status=status)


def test_without_records_a_submit_begins():
    assert action() == Begin(0, Rule.NEW, ())


def test_without_records_and_request_a_request_is_needed():
    assert action(fingerprint=None) == NeedRequest()


@pytest.mark.parametrize("outcome", [None, "unknown", "conflict", "a word of a later version"])
def test_an_unknown_outcome_is_sent_again_in_the_window(outcome):
    found = action(record(intent(sends=sent(outcome))))
    assert isinstance(found, SendRequest)
    assert found.request.intent.idempotency_key == "key-0"


def test_a_retry_sends_the_recorded_bytes_although_its_request_differs_now():
    assert isinstance(action(record(intent(sends=sent(None))), fingerprint="another"), SendRequest)
    assert isinstance(action(record(intent(sends=sent(None))), fingerprint=None), SendRequest)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"ago": 30 * MINUTE}, "the window is over"),
        ({"ago": MINUTE, "handles_expire_at": NOW}, "a handle has lapsed"),
    ],
)
def test_an_unknown_outcome_is_searched_when_nothing_may_be_sent(fields, what):
    assert isinstance(action(record(intent(sends=sent("unknown"), **fields))), SearchJobs), what


def test_an_unknown_outcome_is_searched_when_the_body_cant_be_decrypted():
    assert isinstance(action(record(intent(sends=sent(None))), can_read=lambda request: False), SearchJobs)


def test_bytes_that_got_a_409_too_often_are_searched():
    found = action(record(intent(sends=sent("conflict"))), exhausted=frozenset({(0, "digest")}))
    assert isinstance(found, SearchJobs)


def test_the_window_of_a_second_attempt_begins_with_the_first_intent():
    first = record(intent(ago=29 * MINUTE, digest="a", sends=sent(None)), try_id="1")
    second = record(intent(ago=MINUTE, digest="b", sends=sent(None)), try_id="2")
    assert isinstance(action(first, second), SendRequest)
    late = record(intent(ago=31 * MINUTE, digest="a", sends=sent(None)), try_id="1")
    assert isinstance(action(late, second), SearchJobs)


def test_all_attempts_send_the_oldest_bytes():
    first = record(intent(ago=2 * MINUTE, digest="old"), try_id="2")
    second = record(intent(ago=MINUTE, digest="young"), try_id="1")
    for records in ((first, second), (second, first)):
        assert action(*records).request.intent.digest == "old"


def test_a_rejected_submit_is_followed_by_the_next_key():
    assert action(record(intent(sends=sent("rejected")))) == Begin(1, Rule.NEW, ())


@pytest.mark.parametrize("earlier", [None, "unknown", "conflict"])
def test_a_rejection_after_an_unknown_outcome_closes_nothing(earlier):
    assert isinstance(action(record(intent(sends=sent(earlier, "rejected")))), SendRequest)
    other = record(intent(sends=sent(earlier), digest="b"), try_id="2")
    assert isinstance(action(record(intent(sends=sent("rejected"))), other), SendRequest)


def test_a_submit_that_was_only_rate_limited_keeps_its_key_in_the_window():
    limited = sent("rate_limited", "not_sent")
    assert isinstance(action(record(intent(sends=limited))), SendRequest)
    assert action(record(intent(sends=limited, ago=30 * MINUTE))) == Begin(1, Rule.NEW, ())


def test_a_search_that_found_none_is_followed_by_the_next_key():
    closed = intent(sends=sent(None, ago=20 * MINUTE), ago=20 * MINUTE, closed="none_found")
    assert action(record(replace(closed, closed_at=NOW))) == Begin(1, Rule.NEW, ())


def test_a_send_within_ten_minutes_before_a_search_makes_it_worthless():
    closed = intent(sends=sent(None, ago=20 * MINUTE), ago=20 * MINUTE, closed="none_found", closed_at=NOW)
    other = record(intent(sends=sent(None, ago=5 * MINUTE), ago=20 * MINUTE), try_id="2")
    assert isinstance(action(record(closed), other), SendRequest)
    not_sent = record(intent(sends=sent("not_sent", ago=5 * MINUTE), ago=20 * MINUTE), try_id="2")
    assert action(record(closed), not_sent) == Begin(1, Rule.NEW, ())


def test_a_job_of_the_attempt_group_is_adopted_whatever_the_request_is():
    records = record(intent(job_id="job_1", sends=sent("accepted")))
    assert action(records, fingerprint=None) == AskStatus("job_1")
    found = action(records, fingerprint="another", jobs={"job_1": job()})
    assert isinstance(found, Adopt)
    assert found.rule is Rule.PAID_BY_US


def test_a_clear_adopts_the_same_request_and_pays_for_another():
    records = record(intent(job_id="job_1", sends=sent("accepted"), group="before"), group="before")
    jobs = {"job_1": job(status="processing")}
    assert action(records, fingerprint=None, jobs=jobs) == NeedRequest()
    assert action(records, jobs=jobs).rule is Rule.SAME
    assert action(records, jobs=jobs, fingerprint="another") == Begin(1, Rule.CHANGED, ())


def test_a_failed_job_is_followed_by_the_next_key():
    records = record(intent(job_id="job_1", sends=sent("accepted")))
    assert action(records, jobs={"job_1": job(status="error")}) == Begin(1, Rule.FAILED_BEFORE, ())
    recorded = record(intent(job_id="job_1", sends=sent("accepted"), job_status="error"))
    assert action(recorded) == Begin(1, Rule.FAILED_BEFORE, ())


def test_a_job_that_hedra_does_not_know_is_not_replaced():
    records = record(intent(job_id="job_1", sends=sent("accepted")))
    found = action(records, jobs={"job_1": None})
    assert isinstance(found, Adopt)
    assert found.job is None


def test_a_clear_with_the_same_request_never_passes_an_unknown_outcome():
    before = intent(sends=sent(None), group="before")
    assert isinstance(action(record(before, group="before")), SendRequest)
    late = intent(sends=sent(None), group="before", ago=40 * MINUTE)
    assert isinstance(action(record(late, group="before")), SearchJobs)


def test_a_clear_with_another_request_names_the_submit_that_may_be_paid_for():
    before = record(intent(sends=sent(None), group="before"), group="before")
    found = action(before, fingerprint="another")
    assert isinstance(found, Begin)
    assert (found.n, found.rule, [one.n for one in found.maybe_paid]) == (1, Rule.CHANGED, [0])
    assert action(before, fingerprint=None) == NeedRequest()


def test_a_retry_after_such_a_clear_resolves_its_own_submit():
    before = record(intent(sends=sent(None), group="before"), group="before")
    own = record(intent(1, sends=sent(None), fingerprint="another", digest="b"), try_id="2")
    found = action(before, own, fingerprint=None)
    assert isinstance(found, SendRequest)
    assert found.submit.n == 1


def test_the_key_of_a_deleted_record_is_not_used_again():
    assert action(record(intent(3, sends=sent("rejected")))) == Begin(4, Rule.NEW, ())


def test_a_user_named_job_wins_for_its_attempt_group():
    before = record(intent(job_id="job_1", sends=sent("accepted"), group="before"), group="before")
    named = record(
        intent(1, job_id="job_2", digest="", body=None, is_adopted=True, fingerprint=""), try_id="2"
    )
    jobs = {"job_1": job(), "job_2": job("job_2")}
    assert action(before, named, jobs=jobs).submit.job_id == "job_2"


def test_the_job_belongs_to_the_send_that_was_accepted_first():
    first = record(intent(job_id="job_1", fingerprint="a", sends=sent("accepted", ago=90.0)), try_id="9")
    second = record(intent(job_id="job_1", fingerprint="b", digest="b", sends=sent("accepted", ago=30.0)))
    (merged,) = merge([second, first], "job")
    assert merged.job_request.fingerprint == "a"


def test_each_step_has_its_own_submits():
    records = [record(intent(step="speech", job_id="job_1"), intent(sends=sent(None)))]
    assert [one.job_id for one in merge(records, "speech")] == ["job_1"]
    assert [one.job_id for one in merge(records, "job")] == [None]
