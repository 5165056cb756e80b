"""Calls for a generation that exists: here a 404 is an error, or comes a moment after the submit."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hedra_provider.api import calls
from hedra_provider.api.calls import Call, Pause
from hedra_provider.api.errors import HedraNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.records import Generation

T = TypeVar("T")

RETRY_UNKNOWN_AFTER_SECONDS = (2.0, 4.0, 6.0)
"""The pauses of :func:`retry_unknown`: 12 s in all."""


def get_known_status(generation_id: str) -> Call[Generation]:
    """
    Return the status of a generation that exists.

    :param generation_id: The generation.
    :return: The generation.
    :raises HedraNotFoundError: If Hedra does not know it.
    """
    found = yield from calls.get_status(generation_id)
    if found is None:
        raise unknown_generation(generation_id)
    return found


def retry_unknown(make_call: Callable[[], Call[T]]) -> Call[T]:
    """
    Repeat a call for 12 seconds while Hedra answers 404.

    Hedra answers 404 for a moment after a submit (observed), and always for a wrong id. A wait allows two
    minutes; 12 seconds report a wrong id sooner.

    :param make_call: Makes a new call for each attempt.
    :return: What the call returns.
    :raises HedraNotFoundError: If the last answer is a 404 too.
    """
    for pause in RETRY_UNKNOWN_AFTER_SECONDS:
        try:
            return (yield from make_call())
        except HedraNotFoundError:
            yield Pause(pause)
    return (yield from make_call())


def unknown_generation(generation_id: str, for_seconds: float | None = None) -> HedraNotFoundError:
    """
    Build the error of a generation that Hedra does not know.

    :param generation_id: The generation.
    :param for_seconds: How long Hedra has answered 404; None by default: one answer.
    """
    since = "" if for_seconds is None else f" It has answered 404 for {for_seconds:.0f} s."
    return HedraNotFoundError(
        f"Hedra does not know generation {generation_id}.{since}",
        status_code=404,
        generation_id=generation_id,
        remedy="Check the id, and that the connection's key and workspace are those that submitted it.",
    )
