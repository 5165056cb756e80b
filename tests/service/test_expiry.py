"""Until when a file can be fetched, and a download that comes too late."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from hedra_provider.records import Generation
from hedra_provider.service.expiry import (
    cap_deadline,
    epoch,
    expired_error,
    expires_at,
    in_words,
    is_expired,
    iso,
    short_time_sentence,
    time_left,
)

JOB = "job_0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f"
END = "2026-11-28T10:00:00Z"
NOW = 1_795_860_000.0
HOUR = 3600


def job(**fields: Any) -> Generation:
    return Generation(id=JOB, **fields)


def test_the_moments_of_this_file_agree():
    assert epoch(END) == NOW
    assert iso(NOW) == END


@pytest.mark.parametrize(
    "same", [END, "2026-11-28T10:00:00+00:00", "2026-11-28T11:00:00+01:00", "2026-11-28T10:00"]
)
def test_a_moment_is_read(same: str):
    assert epoch(same) == NOW


@pytest.mark.parametrize("wrong", [None, "", "soon", "2026-13-01", "9" * 400])
def test_what_is_no_moment_has_no_end(wrong: str | None):
    assert epoch(wrong) is None
    assert time_left(wrong, NOW) is None
    assert short_time_sentence(wrong, NOW) is None
    assert cap_deadline(5.0, wrong) == 5.0
    assert not is_expired(job(expires_at=wrong), NOW)


def test_a_job_without_an_end_expires_a_day_after_its_submit():
    running = job(status="processing", created_at="2026-11-27T10:00:00Z")
    assert expires_at(running) == END
    assert expires_at(job(expires_at="2026-11-28T09:00:00Z", created_at=END)) == "2026-11-28T09:00:00Z"
    assert expires_at(job()) is None
    v2 = Generation(id="0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f", created_at="2026-11-27T10:00:00Z")
    assert expires_at(v2) is None


def test_the_time_that_is_left():
    assert time_left(END, NOW - 90) == 90
    assert time_left(END, NOW + 90) == -90


@pytest.mark.parametrize(
    ("deadline", "end", "found"),
    [
        (NOW + 5, END, NOW),
        (NOW - 5, END, NOW - 5),
        (None, END, NOW),
        (NOW, None, NOW),
        (None, None, None),
        (0.0, END, 0.0),
    ],
)
def test_a_wait_never_ends_after_the_file_can_be_fetched(deadline: Any, end: Any, found: Any):
    assert cap_deadline(deadline, end) == found


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        (2 * HOUR, None),
        (
            2 * HOUR - 1,
            "1 h 59 min left to fetch its file: Hedra erases it at 2026-11-28 10:00 UTC.",
        ),
        (40, "40 s left to fetch its file: Hedra erases it at 2026-11-28 10:00 UTC."),
        (-3 * HOUR, "Its file could be fetched until 2026-11-28 10:00 UTC: that was 3 h ago."),
    ],
)
def test_a_short_time_is_worth_a_sentence(left: float, sentence: str | None):
    assert short_time_sentence(END, NOW - left) == sentence


def test_a_download_that_comes_too_late_says_so_and_what_it_cost():
    late = job(expires_at=END, cost=Decimal("0.4"), currency="USD")
    assert is_expired(late, NOW)
    assert not is_expired(late, NOW - 1)
    error = expired_error(late, NOW + 3 * HOUR + 5 * 60)
    assert str(error) == (
        f"The file of generation {JOB} is no longer at Hedra: its download comes too late. "
        "It could be fetched until 2026-11-28 10:00 UTC, 3 h 5 min ago. It cost 0.40 USD. "
        'To pay for a new one, clear the task with on_clear="new", or give another idempotency_key. '
        "To be in time, store results with the task that generates them."
    )
    assert not error.retryable
    assert error.generation_id == JOB


def test_an_unknown_cost_is_no_cost_of_zero():
    assert "Hedra does not say what it cost." in str(expired_error(job(), NOW))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (5700, "1 h 35 min")]
)
def test_a_time_in_words(seconds: float, words: str):
    assert in_words(seconds) == words
