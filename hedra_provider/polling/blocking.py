"""Wait without a poller: a task on its worker, or a trigger that waits for credits.

The loop drives a :class:`hedra_provider.polling.wait.Wait`. It is a call without I/O
(:mod:`hedra_provider.api.calls`): a client runs it.
"""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

from hedra_provider.api import calls
from hedra_provider.api.calls import Ask, Call, Pause
from hedra_provider.api.errors import HedraError
from hedra_provider.polling.balance import BalanceWait
from hedra_provider.polling.progress import progress_line
from hedra_provider.polling.rate_limit import REQUESTS_PER_SECOND, RequestRate
from hedra_provider.polling.wait import (
    Decision,
    Failed,
    Finished,
    GenerationWait,
    PollAgain,
    Wait,
    is_rate_limit,
)
from hedra_provider.records import CREDITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from hedra_provider.records import Balance, Generation

T = TypeVar("T")


def wait_until_finished(
    generation_id: str,
    *,
    deadline: float,
    poll_interval: float,
    log: Callable[[str], None],
    warn: Callable[[str], None],
    first_poll_after: float = 0.0,
    time_limit: str | None = None,
    poll: Callable[[str], Call[Generation | None]] = calls.get_status,
    clock: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
) -> Call[Generation]:
    """
    Poll a generation until it is complete or failed.

    :param generation_id: The generation.
    :param deadline: Epoch seconds at which the wait ends.
    :param poll_interval: Seconds between two polls at most.
    :param log: Receives a line for each change of the state.
    :param warn: Receives a line for each failure after which the wait goes on.
    :param first_poll_after: Seconds until the first poll, 0 by default.
    :param time_limit: What set the deadline, for messages: ``"timeout"`` by default.
    :param poll: Makes the call of one poll; None from it means that Hedra does not know the generation. The
        status endpoint of v2 by default; :func:`poll_job` for v3.
    :param clock: Returns epoch seconds.
    :param jitter: Returns random numbers in [0, 1).
    :return: The finished generation: its status is ``complete`` or ``error``.
    :raises HedraWaitTimeoutError: At the deadline; the generation runs on.
    :raises HedraNotFoundError: If Hedra has not known the id for two minutes.
    :raises HedraError: An error that is not retryable, or the last of eight failures in a row.
    """
    began = clock()
    wait = GenerationWait(
        generation_id, began=began, deadline=deadline, poll_interval=poll_interval, time_limit=time_limit
    )
    if first_poll_after > 0 and deadline > began:
        yield Pause(min(first_poll_after, deadline - began))

    def on_answer(generation: Generation | None, polled_at: float, now: float) -> Decision:
        if generation is None:
            return wait.on_unknown(polled_at=polled_at, now=now)
        decision = wait.on_status(generation, polled_at=polled_at, now=now, jitter=jitter())
        if isinstance(decision, Finished):
            log(progress_line(generation, now - began))
        elif isinstance(decision, PollAgain) and decision.is_update:
            log(progress_line(generation, now - began, decision.after_seconds))
        return decision

    finished: Generation = yield from _drive(
        wait, lambda: poll(generation_id), on_answer, warn=warn, clock=clock, jitter=jitter
    )
    return finished


def poll_job(job_id: str) -> Call[Generation | None]:
    """
    Poll a job of the v3 API: by its status, and once it has ended by its result.

    The result is also requested if this version does not know the status: only the result shows an error.

    :param job_id: The job.
    :return: The generation; None if Hedra does not know the job.
    """
    from hedra_provider.polling.job_poll import JobPoll, JobPollKind

    rows: list[Generation] = []
    for kind in (JobPollKind.STATUS, JobPollKind.RESULT):
        rows = (yield from JobPoll(kind, (job_id,), 0.0).call()).rows
        if not rows or rows[0].is_running:
            break
    return rows[0] if rows else None


def wait_for_credits(
    minimum: Decimal | int,
    read_balance: Callable[[], Call[Balance]],
    *,
    currency: str = CREDITS,
    deadline: float,
    poll_interval: float,
    log: Callable[[str], None],
    warn: Callable[[str], None],
    time_limit: str | None = None,
    clock: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
) -> Call[Decimal | int]:
    """
    Poll the balance until it is high enough.

    :param minimum: The amount to wait for.
    :param read_balance: Returns the call that reads the balance.
    :param currency: Of the amount: ``credits`` by default, or ``USD``.
    :param deadline: Epoch seconds at which the wait ends.
    :param poll_interval: Seconds between two polls at most.
    :param log: Receives a line for each balance that differs from the one before.
    :param warn: Receives a line for each failure after which the wait goes on.
    :param time_limit: What set the deadline, for messages: ``"timeout"`` by default.
    :param clock: Returns epoch seconds.
    :param jitter: Returns random numbers in [0, 1).
    :return: The amount that is available.
    :raises HedraWaitTimeoutError: At the deadline.
    :raises HedraError: An error that is not retryable, or the last of eight failures in a row.
    """
    wait = BalanceWait(
        minimum,
        currency=currency,
        began=clock(),
        deadline=deadline,
        poll_interval=poll_interval,
        time_limit=time_limit,
    )

    def on_answer(balance: Balance, polled_at: float, now: float) -> Decision:
        available = balance.available
        decision = wait.on_balance(available, polled_at=polled_at, now=now, jitter=jitter())
        if isinstance(decision, PollAgain) and decision.is_update:
            log(wait.describe(available))
        return decision

    enough: int = yield from _drive(wait, read_balance, on_answer, warn=warn, clock=clock, jitter=jitter)
    return enough


def _drive(
    wait: Wait,
    poll: Callable[[], Call[T]],
    on_answer: Callable[[T, float, float], Decision],
    *,
    warn: Callable[[str], None],
    clock: Callable[[], float],
    jitter: Callable[[], float],
) -> Call[Any]:
    """
    Poll until the wait ends.

    :param poll: Makes the call of one poll.
    :param on_answer: Decides after an answer, given that answer, when the poll was sent, and the time.
    :return: What the wait waited for.
    :raises HedraError: What the wait failed with.
    """
    rate = RequestRate(REQUESTS_PER_SECOND)
    while True:
        polled_at = clock()
        rate.sent(polled_at)
        try:
            answer = yield from _sent_once(poll())
        except HedraError as error:
            decision = _on_error(wait, error, rate, polled_at=polled_at, now=clock(), jitter=jitter())
        else:
            decision = on_answer(answer, polled_at, clock())
        if isinstance(decision, Finished):
            return decision.result
        if isinstance(decision, Failed):
            raise decision.error
        if decision.warning:
            warn(decision.warning)
        now = clock()
        # The last poll falls on the deadline: a generation that is done by then is not missed.
        poll_at = max(min(now + decision.after_seconds, wait.deadline), rate.free_at)
        if poll_at > wait.gives_up_at:
            yield Pause(max(wait.gives_up_at - now, 0.0))
            raise wait.timed_out(clock())
        yield Pause(max(poll_at - now, 0.0))


def _on_error(
    wait: Wait, error: HedraError, rate: RequestRate, *, polled_at: float, now: float, jitter: float
) -> Decision:
    if not is_rate_limit(error):
        return wait.on_error(error, polled_at=polled_at, now=now, jitter=jitter)
    pause = rate.limited(
        now, sent_at=polled_at, recent_rate=rate.recent(now), retry_after=error.retry_after, jitter=jitter
    )
    return wait.on_rate_limit(error, pause_seconds=pause, now=now)


def _sent_once(call: Call[T]) -> Call[T]:
    """Make the client send each request of a call once: its own repeats would hide errors from the wait."""
    step = next(call)
    try:
        while True:
            if isinstance(step, Ask):
                step = dataclasses.replace(step, repeatable=False)
            try:
                answer = yield step
            except Exception as error:  # noqa: BLE001  handed to the call, which raises it again
                step = call.throw(error)
            else:
                step = call.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
