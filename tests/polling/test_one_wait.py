"""The wait is one: whatever Hedra answers, a worker and a trigger do and log the same, on v2 and on v3."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.api.errors import HedraAuthenticationError
from tests.polling.drivers import DRIVERS, ID, WORDS, Outcome, in_v2

if TYPE_CHECKING:
    from collections.abc import Callable


def status(name: str | None, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"id": ID, "status": name} | fields)


def limited(retry_after: int | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return httpx.Response(429, headers=headers, json={"error": {"type": "RESOURCE_EXHAUSTED"}})


def unknown() -> httpx.Response:
    return httpx.Response(404)


def down() -> httpx.Response:
    return httpx.Response(503)


def ends(at: float, before: Callable[[float], httpx.Response] = lambda now: status("processing")) -> Any:
    return lambda now: status("complete") if now >= at else before(now)


def during(begin: float, end: float, answer: Callable[[], httpx.Response], otherwise: Any) -> Any:
    return lambda now: answer() if begin < now < end else otherwise(now)


SCRIPTS: dict[str, tuple[Any, str]] = {
    "runs, then complete": (ends(100), "Generation"),
    "an estimate": (ends(40, lambda now: status("processing", eta_sec=40 - now)), "Generation"),
    "progress": (ends(40, lambda now: status("processing", progress=now / 40)), "Generation"),
    "ends in an error": (
        lambda now: status("error", error={"type": "INTERNAL"}) if now > 50 else status("queued"),
        "Generation",
    ),
    "never ends": (lambda now: status("processing"), "HedraWaitTimeoutError"),
    "429 all the time": (lambda now: limited(5), "HedraWaitTimeoutError"),
    "429 all the time, without Retry-After": (lambda now: limited(), "HedraWaitTimeoutError"),
    "429 for half an hour": (during(-1, 1800, lambda: limited(5), ends(0)), "Generation"),
    "429 that asks for more than is left": (lambda now: limited(100_000), "HedraWaitTimeoutError"),
    "429 at the deadline alone": (during(3590, 3620, limited, ends(3600)), "Generation"),
    "404 right after the submit": (during(-1, 30, unknown, ends(60)), "Generation"),
    "404 for ever": (lambda now: unknown(), "HedraNotFoundError"),
    "404 in the middle": (during(200, 260, unknown, ends(500)), "Generation"),
    "404 after it was seen": (during(500, 9e9, unknown, ends(9e9)), "HedraNotFoundError"),
    "an outage of three minutes": (during(20, 200, down, ends(400)), "Generation"),
    "an endless outage": (lambda now: down(), "HedraServerError"),
    "an outage at the deadline": (during(3500, 9e9, down, ends(9e9)), "HedraWaitTimeoutError"),
    "nonsense for ever": (lambda now: httpx.Response(200, text="<html>"), "HedraProtocolError"),
    "a rejected key": (lambda now: httpx.Response(401), "HedraAuthenticationError"),
    "failures and 429s alternate": (
        lambda now: limited() if int(now / 30) % 2 else down(),
        "HedraServerError",
    ),
    "an unknown status": (ends(100, lambda now: status("moderated")), "Generation"),
    "an unknown status for ever": (lambda now: status("moderated"), "HedraWaitTimeoutError"),
    "an unknown status with an error": (
        lambda now: status("failed", error={"type": "MODERATION_FAILED"}) if now > 20 else status("queued"),
        "Generation",
    ),
}
"""What Hedra answers, by seconds since the wait began; and what the wait ends in."""


def play(script: Any, driver: str, timeout: float = 3600.0, poll_interval: float = 15.0) -> Outcome:
    return DRIVERS[driver](script, timeout=timeout, poll_interval=poll_interval)


LATER = 2.5
"""Seconds by which the request for a result, which only v3 needs, may delay the end of a wait."""


def text_of(result: Any) -> str:
    if isinstance(result, HedraAuthenticationError):
        # The remedy says where a key of that version comes from.
        return in_v2(result.message)
    return in_v2(str(result)) if isinstance(result, BaseException) else f"{result.id} {result.status}"


def without_duration(lines: list[str]) -> list[str]:
    """Return the lines without the seconds after which the wait ended."""
    return [*lines[:-1], lines[-1].partition(", after ")[0]] if lines else []


@pytest.mark.parametrize("driver", list(DRIVERS)[1:])
@pytest.mark.parametrize("name", list(SCRIPTS))
def test_all_drivers_poll_log_and_end_the_same(name: str, driver: str):
    script, expected = SCRIPTS[name]
    on_worker, other = play(script, "worker"), play(script, driver)
    assert type(on_worker.result).__name__ == expected
    assert type(other.result).__name__ == expected
    assert text_of(on_worker.result) == text_of(other.result)
    assert on_worker.polls == pytest.approx(other.polls, abs=0.1)
    assert on_worker.ended == pytest.approx(other.ended, abs=LATER if driver == "triggerer on v3" else 1e-6)
    assert without_duration(on_worker.lines) == without_duration(other.lines)


@pytest.mark.parametrize("retry_after", [None, 5, 60])
@pytest.mark.parametrize("driver", list(DRIVERS))
def test_a_rate_limited_poll_counts_as_no_failure(driver: str, retry_after: int | None):
    """Eight failures in a row end a wait; eight hundred 429s do not."""
    outcome = play(during(-1, 3000, lambda: limited(retry_after), ends(0)), driver)
    assert outcome.result.is_complete
    assert len(outcome.polls) > 20
    # And no wait polls faster than usual because of them.
    gaps = [later - earlier for earlier, later in itertools.pairwise(outcome.polls)]
    assert min(gaps[1:]) >= max(retry_after or 0, 15)


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_no_poll_is_sent_before_retry_after_not_even_at_the_deadline(driver: str):
    outcome = play(lambda now: limited(100_000), driver)
    assert outcome.polls == [0]
    assert outcome.ended == 3660
    assert "rate-limited" in str(outcome.result)


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_failures_are_counted_in_a_row_whatever_429s_come_in_between(driver: str):
    """Ten 429s and seven failures end no wait."""
    answers = iter([*[limited] * 10, *[down] * 7])
    outcome = play(lambda now: next(answers, lambda: status("complete"))(), driver)
    assert outcome.result.is_complete
    assert [line.partition("failure ")[2][:6] for line in outcome.lines if "failure " in line][-1] == "7 of 8"


# Nothing is silent

TROUBLES = {
    "404": (during(-1, 110, unknown, ends(9e9)), "404", 110),
    "429": (during(100, 1500, limited, ends(9e9)), "429", 1500),
    "429 that asks for a minute": (during(100, 1500, lambda: limited(60), ends(9e9)), "429", 1500),
    "503": (during(100, 400, down, ends(9e9)), "503", 400),
}


@pytest.mark.parametrize("name", list(TROUBLES))
@pytest.mark.parametrize("driver", list(DRIVERS))
def test_what_goes_wrong_is_logged_at_its_first_occurrence_with_what_happens_next(driver: str, name: str):
    script, word, ends_at = TROUBLES[name]
    outcome = play(script, driver, timeout=2000)
    lines = [line for line in outcome.lines if word in line]
    assert lines
    assert all("next poll in" in line.lower() or "polled again in" in line for line in lines), lines
    # And when it is over: the state is logged though it is the same as before.
    assert outcome.lines[-1] not in lines
    assert "processing" in outcome.lines[-1]
    # No line for every poll either: a few a minute.
    assert len(lines) <= ends_at / 60 + 2


def when(outcome: Outcome, word: str) -> list[float]:
    return [at for at, line in zip(outcome.logged, outcome.lines, strict=True) if word in line]


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_a_rate_limit_that_lasts_is_logged_again_each_minute_or_two(driver: str):
    outcome = play(lambda now: limited(), driver, timeout=1800)
    at = [0.0, *when(outcome, "429"), outcome.ended]
    assert max(later - earlier for earlier, later in itertools.pairwise(at)) <= 130


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_a_404_says_how_long_it_is_tolerated(driver: str):
    outcome = play(lambda now: unknown(), driver)
    assert outcome.lines[0] == (
        f"Hedra answers 404 for generation {ID}, as it may for a moment after a submit. Next poll in 5 s; "
        "the wait fails if Hedra does not know the generation for 120 s more."
    )
    # "does not know" and "is paid for" never stand in one message.
    assert "does not know" in str(outcome.result)
    assert "paid for" not in str(outcome.result)


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_a_time_out_in_the_middle_of_404s_does_not_say_that_it_is_paid_for(driver: str):
    outcome = play(during(50, 9e9, unknown, ends(9e9)), driver, timeout=100)
    assert type(outcome.result).__name__ == "HedraWaitTimeoutError"
    assert "did not know it at the last poll" in str(outcome.result)
    assert "If it was submitted, it runs on" in str(outcome.result)
    assert "is paid for" not in str(outcome.result)


# Statuses that nobody documented


@pytest.mark.parametrize("name", ["failed", "canceled", "moderated", "FAILED", "", None, "pending"])
@pytest.mark.parametrize("driver", list(DRIVERS))
def test_an_unknown_status_is_warned_of_at_once_and_named_by_the_time_out(driver: str, name: str | None):
    if "v3" in driver and name in WORDS.values():
        pytest.skip("a word of v3")
    outcome = play(lambda now: status(name), driver, timeout=100)
    warnings = [line for line in outcome.lines if "does not know" in line]
    assert len(warnings) == 1
    assert outcome.logged[outcome.lines.index(warnings[0])] < 0.1
    for text in (warnings[0], str(outcome.result)):
        assert (name or "no status") in text
    assert outcome.result.retryable


@pytest.mark.parametrize(
    "facts",
    [
        {"error": {"type": "MODERATION_FAILED", "message": "no"}},
        {"error": "moderation"},
        {"error_message": "moderation"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["failed", "moderated", None])
@pytest.mark.parametrize("driver", list(DRIVERS))
def test_an_unknown_status_with_an_error_is_final(driver: str, name: str | None, facts: dict[str, Any]):
    outcome = play(lambda now: status(name, **facts), driver)
    assert outcome.polls == [0]
    assert outcome.result.is_failed


@pytest.mark.parametrize("nothing", [None, {}, "", {"type": None, "message": None}], ids=str)
@pytest.mark.parametrize("driver", list(DRIVERS))
def test_an_error_that_says_nothing_ends_no_wait(driver: str, nothing: Any):
    script = ends(30, lambda now: status("moderated", error=nothing, error_message=None))
    assert play(script, driver).result.is_complete


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_an_error_beside_a_running_or_complete_status_ends_no_wait(driver: str):
    script = ends(30, lambda now: status("processing", error={"type": "INTERNAL"}))
    assert play(script, driver).result.is_complete
    done = play(lambda now: status("complete", error={"type": "INTERNAL"}), driver)
    assert done.result.is_complete
    assert not done.result.is_failed
