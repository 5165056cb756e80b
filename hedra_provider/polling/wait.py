"""The one wait: decide, without I/O, what each answer to a poll means.

A driver polls, hands the answer to a wait, and executes its decision. The drivers are
:mod:`hedra_provider.polling.blocking` for a task on its worker, and for all triggers of a triggerer the
planners of v2 and v3 (:mod:`hedra_provider.polling.planners`). Times are seconds on the clock of the driver.

========================  ==================================================================================
Answer to the poll        Decision of the wait
========================  ==================================================================================
``complete``, ``error``   ends with the generation; so does an unknown status with an error object
a running status          polls again: after ``poll_interval`` at most, sooner near the estimated end
an unknown status         the same, and logs one warning
404                       polls again after 5 s at most; fails once Hedra has not known the id for 120 s
429                       polls again when the request rate allows; never counts as a failure
a retryable error         backs off; fails at the eighth failure in a row
any other error           fails at once
========================  ==================================================================================

A poll that is sent at the deadline or later is the last one: if the generation is still running, the wait
fails with :class:`~hedra_provider.api.errors.HedraWaitTimeoutError`. A 429 does not show the state of the
generation, so the last poll may be repeated for :data:`LAST_POLL_SECONDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hedra_provider.api.errors import HedraError, HedraRateLimitError, HedraWaitTimeoutError
from hedra_provider.api.lookups import unknown_generation
from hedra_provider.api.redaction import clean
from hedra_provider.polling import pacing
from hedra_provider.polling.progress import State, describe_state, state_of

if TYPE_CHECKING:
    from hedra_provider.records import Generation

MAX_FAILURES = 8
"""After so many failed polls in a row, the wait fails with the error of the last."""

UNKNOWN_GRACE_SECONDS = 120.0
"""How long a 404 may mean "not yet known". It was seen for a moment right after a submit."""

UNKNOWN_PAUSE_SECONDS = 5.0
"""The longest pause after a 404."""

LAST_POLL_SECONDS = 60.0
"""How long after the deadline the last poll may still end, if Hedra is slow or answers 429."""

REMIND_SECONDS = 60.0
"""How often a lasting problem is logged again."""


class PollAgain(NamedTuple):
    """
    Poll again.

    :param after_seconds: Seconds until the next poll.
    :param warning: A line for the log of the task; None by default: no warning.
    :param is_update: Whether the state differs from the last one that was logged. False by default.
    """

    after_seconds: float
    warning: str | None = None
    is_update: bool = False


class Finished(NamedTuple):
    """The wait is over; ``result`` is the finished generation, or the credits."""

    result: Any


class Failed(NamedTuple):
    """The wait is over; ``error`` is to be raised."""

    error: HedraError


Decision = PollAgain | Finished | Failed


class _Trouble(NamedTuple):
    """
    A current problem.

    :param kind: ``failure``, ``rate limit`` or ``unknown``.
    :param sentence: The problem, for the message of a timeout.
    :param reported_at: When it was last logged.
    """

    kind: str
    sentence: str
    reported_at: float


def is_rate_limit(error: HedraError) -> bool:
    """Return whether an error is a retryable 429, to be handled by :meth:`Wait.on_rate_limit`."""
    return isinstance(error, HedraRateLimitError) and error.retryable


class Wait:
    """
    The reactions of any wait to errors and rate limits.

    :param began: When the wait began.
    :param deadline: When it ends.
    :param poll_interval: Seconds between two polls at most.
    :param time_limit: What set the deadline, for messages, e.g. ``"execution_timeout (600 s)"``;
        ``"timeout"`` by default.
    """

    __slots__ = ("_failures", "_trouble", "began", "deadline", "poll_interval", "time_limit")

    def __init__(
        self, *, began: float, deadline: float, poll_interval: float, time_limit: str | None = None
    ) -> None:
        self.began = began
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.time_limit = time_limit or "timeout"
        self._failures = 0
        self._trouble: _Trouble | None = None

    @property
    def subject(self) -> str:
        """The subject of messages, e.g. ``generation <id>``."""
        raise NotImplementedError

    @property
    def gives_up_at(self) -> float:
        """When the wait fails even without an answer to its last poll."""
        return max(self.deadline, self.began) + LAST_POLL_SECONDS

    def timed_out(self, now: float) -> HedraWaitTimeoutError:
        """Build the error of a wait that reached its deadline."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> Finished | Failed:
        """Decide when no other poll may follow: the wait is over."""
        return Failed(self.timed_out(now))

    def on_error(self, error: HedraError, *, polled_at: float, now: float, jitter: float) -> Decision:
        """
        Decide after a poll that failed.

        :param error: The error; a retryable 429 goes to :meth:`on_rate_limit` instead.
        :param polled_at: When the poll was sent.
        :param now: The time.
        :param jitter: A random number in [0, 1).
        """
        if not error.retryable:
            return Failed(error)
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            error.message = (
                f"{self._failures} polls in a row of {self.subject} failed. The last: {error.message}"
            )
            return Failed(error)
        pause = pacing.back_off_seconds(
            poll_interval=self.poll_interval,
            failures=self._failures,
            retry_after=error.retry_after,
            jitter=jitter,
        )
        self._trouble = _Trouble("failure", _sentence(f"The last poll failed: {error.message}"), now)
        if polled_at >= self.deadline:
            return self.on_deadline(now)
        return PollAgain(
            pause,
            f"Poll of {self.subject} failed (failure {self._failures} of {MAX_FAILURES} in a row), next poll "
            f"in {min(pause, max(self.deadline - now, 0.0)):.0f} s: {error}",
        )

    def on_rate_limit(self, error: HedraError, *, pause_seconds: float, now: float) -> Decision:
        """
        Decide after a 429. It does not count as a failure; the deadline still ends the wait.

        :param error: The 429.
        :param pause_seconds: Seconds until the request rate allows another poll. After a first 429, the next
            poll follows then. After further ones, polls are at least ``poll_interval`` apart, so that a wait
            does not poll faster than usual.
        :param now: The time.
        """
        is_first = self._trouble is None or self._trouble.kind != "rate limit"
        after = pause_seconds if is_first else max(pause_seconds, self.poll_interval)
        sentence = _sentence(f"The last poll was rate-limited: {error.message}")
        warning = self._report(
            "rate limit",
            sentence,
            f"Hedra limits the rate of requests (429), so {self.subject} is polled again in "
            f"{after:.0f} s. This does not count as a failure; the deadline is in "
            f"{max(self.deadline - now, 0.0):.0f} s.",
            now,
        )
        if now >= self.gives_up_at:
            return self.on_deadline(now)
        return PollAgain(after, warning)

    def _report(self, kind: str, sentence: str, warning: str, now: float) -> str | None:
        """Note a problem; return its warning if it was not logged in the last :data:`REMIND_SECONDS`."""
        last = self._trouble
        is_due = last is None or last.kind != kind or now - last.reported_at >= REMIND_SECONDS
        self._trouble = _Trouble(kind, sentence, now if is_due or last is None else last.reported_at)
        return warning if is_due else None

    def _recovered(self) -> bool:
        """Note a good answer: no problem is left. Return whether there was one."""
        was_wrong, self._trouble, self._failures = self._trouble is not None, None, 0
        return was_wrong


class GenerationWait(Wait):
    """
    The wait for one generation.

    :param generation_id: The generation.
    :param facts: ``began``, ``deadline``, ``poll_interval`` and ``time_limit`` of :class:`Wait`.
    """

    __slots__ = ("_ended", "_estimate", "_known_at", "_state", "generation_id")

    def __init__(self, generation_id: str, **facts: Any) -> None:
        super().__init__(**facts)
        self.generation_id = generation_id
        self._known_at = self.began
        self._estimate: pacing.Estimate | None = None
        self._state: State | None = None
        self._ended: Generation | None = None

    @property
    def subject(self) -> str:
        """The subject of messages."""
        return f"generation {self.generation_id}"

    def on_error(self, error: HedraError, *, polled_at: float, now: float, jitter: float) -> Decision:
        """Decide after a poll that failed, as :meth:`Wait.on_error`; the error gets the generation's id."""
        error.generation_id = self.generation_id
        return super().on_error(error, polled_at=polled_at, now=now, jitter=jitter)

    def on_status(self, generation: Generation, *, polled_at: float, now: float, jitter: float) -> Decision:
        """
        Decide after an answer with the generation.

        :param generation: The generation.
        :param polled_at: When the poll was sent.
        :param now: The time.
        :param jitter: A random number in [0, 1): waits that began together must not poll together.
        """
        self._known_at, self._ended = now, None
        state, last, was_wrong = state_of(generation), self._state, self._recovered()
        self._state = state
        if generation.is_finished:
            return Finished(generation)
        if polled_at >= self.deadline:
            return self.on_deadline(now)
        if self._estimate is None:
            self._estimate = pacing.Estimate()
        pause = self._estimate.pause_seconds(
            poll_interval=self.poll_interval,
            now=now,
            began=self.began,
            eta=generation.eta_sec,
            progress=generation.progress,
            jitter=jitter,
        )
        warning = None
        if not generation.is_running and (last is None or last.status != state.status):
            warning = (
                f"Generation {self.generation_id} has a status that this version of the provider does not "
                f"know: {describe_state(state)}. It counts as running and is polled again in {pause:.0f} s, "
                f"until {self.time_limit} is over. If it does not end, check it in Hedra's web app."
            )
        return PollAgain(pause, warning, is_update=was_wrong or state != last)

    def on_end(self, generation: Generation, *, now: float) -> None:
        """
        Note that a poll showed the end, but not the result, which is requested next (v3).

        :param generation: The generation, as that poll showed it.
        :param now: The time.
        """
        self._ended, self._known_at = generation, now
        self._recovered()

    def on_deadline(self, now: float) -> Finished | Failed:
        """Decide when no other poll may follow. A generation that has ended does not time out."""
        return super().on_deadline(now) if self._ended is None else Finished(self._ended)

    def on_unknown(self, *, polled_at: float, now: float, is_certain: bool = True) -> Decision:
        """
        Decide after an answer without the generation.

        :param polled_at: When the poll was sent.
        :param now: The time.
        :param is_certain: Whether the status endpoint answered; True by default. The list may be outdated, so
            it never fails a wait.
        """
        self._failures = 0
        unknown_seconds = now - self._known_at
        if is_certain and unknown_seconds > UNKNOWN_GRACE_SECONDS:
            return Failed(unknown_generation(self.generation_id, unknown_seconds))
        pause = min(self.poll_interval, UNKNOWN_PAUSE_SECONDS)
        says = "answers 404 for" if is_certain else "does not list"
        left = max(UNKNOWN_GRACE_SECONDS - unknown_seconds, 0.0)
        warning = self._report(
            "unknown",
            "Hedra did not know it at the last poll.",
            f"Hedra {says} generation {self.generation_id}, as it may for a moment after a submit. Next poll "
            f"in {pause:.0f} s; the wait fails if Hedra does not know the generation for {left:.0f} s more.",
            now,
        )
        if is_certain and polled_at >= self.deadline:
            return self.on_deadline(now)
        return PollAgain(pause, warning)

    def timed_out(self, now: float) -> HedraWaitTimeoutError:
        """Build the error of a wait that reached its deadline."""
        waited, state = max(now - self.began, 0.0), self._state
        trouble = self._trouble
        if state is None:
            what = f"No poll has shown {self.subject} in a wait of {waited:.0f} s"
        elif state.is_known:
            what = (
                f"Generation {self.generation_id} was still running ({describe_state(state)}) after a wait "
                f"of {waited:.0f} s"
            )
        else:
            what = (
                f"Generation {self.generation_id} had not ended after a wait of {waited:.0f} s: this "
                f"version of the provider does not know its status ({describe_state(state)})"
            )
        sentences = [f"{what}. The task's {clean(self.time_limit)} ended the wait."]
        if trouble is not None:
            sentences.append(trouble.sentence)
        if state is None or (trouble is not None and trouble.kind == "unknown"):
            sentences.append("If it was submitted, it runs on and costs credits: Hedra has no cancel.")
        else:
            sentences.append("It runs on and is paid for: Hedra has no cancel.")
        return HedraWaitTimeoutError(
            " ".join(sentences),
            generation_id=self.generation_id,
            remedy="A retry of the task that submitted it adopts it without paying again, and so does a "
            f'clear unless on_clear is "new"; raise {clean(self.time_limit)} to wait longer.',
        )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
