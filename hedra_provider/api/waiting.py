"""Wait for a generation: one flow, driven by a trigger on its loop or by a task on its worker."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from hedra_provider.api import calls, pacing
from hedra_provider.api.calls import Call, Pause
from hedra_provider.api.cleaning import clean
from hedra_provider.api.errors import HedraError, HedraNotFoundError, HedraWaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.api.answers import Generation

T = TypeVar("T")

UNKNOWN_GRACE_SECONDS = 120.0
"""How long a 404 is taken for "not there yet": seen for a moment right after a submit."""

UNKNOWN_PAUSE_SECONDS = 5.0
"""How long to wait after a 404, at the most."""

ASKED_AGAIN_AFTER_SECONDS = (2.0, 4.0, 6.0)
"""When what Hedra does not know is asked for again by one who can't wait for it longer."""

MAX_FAILURES = 8
"""Failed looks in a row before the wait ends in their error."""


State = tuple[str | None, int]


def state_of(generation: Generation) -> State:
    """Return what makes a look news: another status, or a tenth more of progress."""
    return generation.status, int(progress_of(generation) * 10)


def progress_of(generation: Generation) -> float:
    """Return its progress, 0 to 1 whatever Hedra says."""
    return min(max(generation.progress or 0.0, 0.0), 1.0)


class ProgressLog:
    """
    Tell the state changes of one generation, and only those.

    :param tell: Receives a line per change.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._last: State | None = None

    def saw(
        self, generation: Generation, elapsed_seconds: float, next_look_seconds: float | None = None
    ) -> None:
        """Tell what a look saw, if it is news: another status, or a tenth more of progress."""
        state = state_of(generation)
        if state == self._last:
            return
        self._last, progress = state, progress_of(generation)
        parts = [f"Generation {generation.id}: {clean(generation.status or 'unknown status')}"]
        if not generation.is_finished:
            parts.append(f"{progress:.0%}")
            if generation.eta_sec is not None:
                parts.append(f"about {generation.eta_sec:.0f} s to go")
        parts.append(f"after {max(elapsed_seconds, 0.0):.0f} s")
        if next_look_seconds is not None:
            parts.append(f"next look in {next_look_seconds:.0f} s")
        self._tell(", ".join(parts) + ".")


def wait_until_finished(
    generation_id: str,
    *,
    deadline: float,
    poll_interval: float,
    log: ProgressLog,
    warn: Callable[[str], None],
    first_look_after: float = 0.0,
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
) -> Call[Generation]:
    """
    Look at a generation until it is complete or failed.

    :param generation_id: The generation.
    :param deadline: Epoch seconds after which the wait is given up.
    :param poll_interval: Seconds between two looks at the most.
    :param log: Is shown every look.
    :param warn: Receives a line for each failed look.
    :param first_look_after: Seconds until the first look.
    :param clock: Tells epoch seconds.
    :param chance: Random numbers in [0, 1) for the jitter.
    :return: The finished generation: its status is ``complete`` or ``error``.
    :raises HedraWaitTimeoutError: At the deadline; the generation runs on.
    :raises HedraNotFoundError: If Hedra has not known the id for two minutes.
    :raises HedraError: An error that can't get better, or the last of too many failures in a row.
    """
    started, estimate = clock(), pacing.Estimate()
    known_at = started
    failures = Failures(f"generation {generation_id}", poll_interval, warn, chance)
    if first_look_after > 0 and deadline > started:
        yield Pause(min(first_look_after, deadline - started))
    while True:
        try:
            generation = yield from calls.get_status(generation_id)
        except HedraError as error:
            error.generation_id = generation_id
            pause = failures.one_more(error)
        else:
            failures.over()
            age = clock() - started
            if generation is None:
                if clock() - known_at > UNKNOWN_GRACE_SECONDS:
                    raise unknown_generation(generation_id)
                pause = min(poll_interval, UNKNOWN_PAUSE_SECONDS)
            else:
                known_at = clock()
                if generation.is_finished:
                    log.saw(generation, age)
                    return generation
                pause = estimate.pause_seconds(
                    poll_interval=poll_interval,
                    now=clock(),
                    began=started,
                    eta=generation.eta_sec,
                    progress=generation.progress,
                    chance=chance(),
                )
                log.saw(generation, age, pause)
        left = deadline - clock()
        if left <= 0:
            raise timed_out(generation_id, clock() - started)
        # The last look falls on the deadline: a generation that is done by then is not missed.
        yield Pause(min(pause, left))


def known_status(generation_id: str) -> Call[Generation]:
    """
    Return the status of a generation.

    :raises HedraNotFoundError: If Hedra does not know it.
    """
    found = yield from calls.get_status(generation_id)
    if found is None:
        raise unknown_generation(generation_id)
    return found


def asked_again(look: Callable[[], Call[T]]) -> Call[T]:
    """
    Ask again, for 12 seconds, for what Hedra does not know.

    It answers 404 for a moment (observed right after a submit), as it does for ever to an id that is wrong:
    who gave such a one shall not wait for the news as long as one who waits for a video.

    :param look: Makes the call that asks once.
    :raises HedraNotFoundError: If Hedra still does not know it.
    """
    for pause in ASKED_AGAIN_AFTER_SECONDS:
        try:
            return (yield from look())
        except HedraNotFoundError:
            yield Pause(pause)
    return (yield from look())


def wait_for_credits(
    minimum: int,
    workspace_id: str | None,
    *,
    deadline: float,
    poll_interval: float,
    told: Callable[[str], None],
    warn: Callable[[str], None],
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
) -> Call[int]:
    """
    Look at the balance until it is enough.

    :param minimum: Credits that shall be there.
    :param workspace_id: Whose; None: the key's default pool.
    :param told: Receives a line for each balance that differs from the one before.
    :return: The credits that are there.
    :raises HedraWaitTimeoutError: At the deadline.
    :raises HedraError: An error that can't get better, or the last of too many failures in a row.
    """
    failures, last = Failures("the balance", poll_interval, warn, chance), None
    while True:
        try:
            available = (yield from calls.get_credits()).available(workspace_id)
        except HedraError as error:
            pause = failures.one_more(error)
        else:
            failures.over()
            if available is not None and available >= minimum:
                return available
            if available != last:
                told(f"{available} credits are there, {minimum} are waited for.")
            last, pause = available, poll_interval * (1.0 - pacing.JITTER * chance())
        left = deadline - clock()
        if left <= 0:
            raise HedraWaitTimeoutError(f"Only {last} credits were there at the deadline, not {minimum}.")
        yield Pause(min(pause, left))


class Failures:
    """
    Looks that failed in a row.

    :param what: What is looked at, for messages.
    :param poll_interval: Seconds between two looks.
    :param warn: Receives a line for each failed look.
    :param chance: Random numbers in [0, 1) for the jitter.
    """

    def __init__(
        self, what: str, poll_interval: float, warn: Callable[[str], None], chance: Callable[[], float]
    ) -> None:
        self._what = what
        self._poll_interval = poll_interval
        self._warn = warn
        self._chance = chance
        self._count = 0

    def one_more(self, error: HedraError) -> float:
        """
        Count a failure.

        :return: Seconds until the next look.
        :raises HedraError: The error, if it can't get better or was one too many.
        """
        self._count += 1
        if not error.retryable:
            raise error
        if self._count >= MAX_FAILURES:
            error.message = f"{self._count} looks in a row at {self._what} failed. The last: {error.message}"
            raise error
        self._warn(f"Look {self._count} of {MAX_FAILURES} at {self._what} failed: {error}")
        return pacing.back_off_seconds(
            poll_interval=self._poll_interval,
            failures=self._count,
            retry_after=error.retry_after,
            chance=self._chance(),
        )

    def over(self) -> None:
        """Begin anew after a look that worked."""
        self._count = 0


def unknown_generation(generation_id: str) -> HedraNotFoundError:
    """Build the error of a generation that Hedra does not know."""
    return HedraNotFoundError(
        f"Hedra does not know generation {generation_id}.",
        status_code=404,
        generation_id=generation_id,
        remedy="Check the id, and that the connection's key and workspace are those that submitted it.",
    )


def timed_out(generation_id: str, waited_seconds: float) -> HedraWaitTimeoutError:
    """Build the error of a wait that reached its deadline."""
    return HedraWaitTimeoutError(
        f"Generation {generation_id} was still running after a wait of {waited_seconds:.0f} s. "
        "It runs on and is paid for: Hedra has no cancel.",
        generation_id=generation_id,
        remedy="A retry of the task that submitted it adopts it without paying again, and so does a clear "
        'unless on_clear is "new"; raise timeout to wait longer.',
    )
