"""The state of a generation as a log shows it: when it is an update, and its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hedra_provider.api.redaction import clean
from hedra_provider.records import RUNNING_STATUSES

if TYPE_CHECKING:
    from hedra_provider.records import Generation


class State(NamedTuple):
    """
    The state of a generation for updates: another status, or a tenth more of progress, is an update.

    :param status: Hedra's status; None without one.
    :param tenths: Progress in tenths, 0 to 10.
    """

    status: str | None
    tenths: int

    @property
    def is_known(self) -> bool:
        """Whether the status is a documented running one."""
        return self.status in RUNNING_STATUSES


def state_of(generation: Generation) -> State:
    """Return the state of a generation. A poll with an equal state is no update."""
    return State(generation.status, int(progress_of(generation) * 10))


def progress_of(generation: Generation) -> float:
    """Return the progress, limited to 0 to 1; 0 without one."""
    return min(max(generation.progress or 0.0, 0.0), 1.0)


def describe_state(state: State) -> str:
    """Return the status of a state for a message."""
    return clean(state.status) if state.status else "no status"


def progress_line(
    generation: Generation, elapsed_seconds: float, next_poll_seconds: float | None = None
) -> str:
    """
    Return the line for a log about an update.

    :param generation: The generation, as the poll showed it.
    :param elapsed_seconds: Seconds since the wait began.
    :param next_poll_seconds: Seconds until the next poll; None by default: the line does not have them.
    """
    parts = [f"Generation {generation.id}: {describe_state(state_of(generation))}"]
    if not generation.is_finished:
        parts.append(f"{progress_of(generation):.0%}")
        if generation.eta_sec is not None:
            parts.append(f"about {generation.eta_sec:.0f} s to go")
    parts.append(f"after {max(elapsed_seconds, 0.0):.0f} s")
    if next_poll_seconds is not None:
        parts.append(f"next poll in {next_poll_seconds:.0f} s")
    return ", ".join(parts) + "."
