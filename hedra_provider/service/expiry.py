"""Until when the file of a generation can be fetched.

Hedra keeps the file of a v3 job for 24 hours from its *submit* (its documents, October 2026): a long queue is
part of them. v2 documents no such end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraExpiredError
from hedra_provider.records import version_of_id
from hedra_provider.submission.pricing import amount_text

if TYPE_CHECKING:
    from hedra_provider.records import Generation

RESULT_SECONDS = 24 * 3600
"""How long after its submit the file of a v3 job can be fetched."""

SHORT_SECONDS = 2 * 3600
"""Below this, the time that is left is worth a line in the log."""


def epoch(moment: str | None) -> float | None:
    """
    Read a moment of Hedra's.

    :param moment: ISO 8601; without a time zone it is UTC.
    :return: Epoch seconds; None if it is no moment.
    """
    try:
        read = datetime.fromisoformat((moment or "").strip())
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def iso(moment: float) -> str:
    """
    Write a moment as Hedra does, e.g. ``2026-11-28T10:00:00Z``.

    :param moment: Epoch seconds.
    """
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expires_at(generation: Generation) -> str | None:
    """
    Return until when the file of a generation can be fetched, for XCom.

    A job has no ``expires_at`` before it is complete. Until then it is computed from its submit.

    :param generation: The generation.
    :return: ISO 8601; None if no end is known, as on v2.
    """
    if epoch(generation.expires_at) is not None:
        return generation.expires_at
    submitted = epoch(generation.created_at) if version_of_id(generation.id) == 3 else None
    return None if submitted is None else iso(submitted + RESULT_SECONDS)


def time_left(expires_at: str | None, now: float) -> float | None:
    """
    Return the seconds until a file can't be fetched any more; below 0 if that is past.

    :param expires_at: ISO 8601; None if no end is known.
    :param now: Epoch seconds.
    :return: None if no end is known.
    """
    end = epoch(expires_at)
    return None if end is None else end - now


def cap_deadline(deadline: float | None, expires_at: str | None) -> float | None:
    """
    Return the deadline of a wait: a wait never ends after the file can be fetched.

    :param deadline: Epoch seconds; None without one.
    :param expires_at: ISO 8601; None if no end is known.
    :return: The earlier one, in epoch seconds; None if there is neither.
    """
    return min((one for one in (deadline, epoch(expires_at)) if one is not None), default=None)


def short_time_sentence(expires_at: str | None, now: float) -> str | None:
    """
    Return a sentence for the log when the time to fetch a file gets short.

    :param expires_at: ISO 8601; None if no end is known.
    :param now: Epoch seconds.
    :return: None unless less than two hours are left.
    """
    left = time_left(expires_at, now)
    if left is None or left >= SHORT_SECONDS:
        return None
    if left <= 0:
        return f"Its file could be fetched until {_minute(expires_at)}: that was {in_words(-left)} ago."
    return f"{in_words(left)} left to fetch its file: Hedra erases it at {_minute(expires_at)}."


def expired_error(generation: Generation, now: float) -> HedraExpiredError:
    """
    Return the error of a download that comes too late. It is not retryable, because the file is lost.

    :param generation: The generation.
    :param now: Epoch seconds.
    """
    end = expires_at(generation)
    left = time_left(end, now)
    when = "" if left is None else f" It could be fetched until {_minute(end)}."
    if left is not None and left < 0:
        when = f" It could be fetched until {_minute(end)}, {in_words(-left)} ago."
    if generation.cost is None or not generation.currency:
        cost = "Hedra does not say what it cost."
    else:
        cost = f"It cost {amount_text(generation.cost, generation.currency)}."
    return HedraExpiredError(
        f"The file of generation {generation.id} is no longer at Hedra: its download comes too late."
        f"{when} {cost}",
        generation_id=generation.id,
        remedy='To pay for a new one, clear the task with on_clear="new", or give another idempotency_key. '
        "To be in time, store results with the task that generates them.",
    )


def is_expired(generation: Generation, now: float) -> bool:
    """
    Return whether the file of a generation can't be fetched any more.

    :param generation: The generation.
    :param now: Epoch seconds.
    """
    left = time_left(expires_at(generation), now)
    return left is not None and left <= 0


def in_words(seconds: float) -> str:
    """
    Return a time for a message, rounded down: ``1 h 35 min``, ``12 min``, ``40 s``.

    :param seconds: At least 0.
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{rest} s"


def _minute(moment: str | None) -> str:
    end = epoch(moment)
    return "an unknown time" if end is None else f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC"
