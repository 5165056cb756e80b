"""The one shape that every error of API v3 has.

Source: Hedra's published schema (``ErrorResponse``).
"""

from __future__ import annotations

from typing import Any

from hedra_provider.sandbox.rejections import Rejection

JsonObject = dict[str, Any]

FUNDING_URL = "https://www.hedra.com/develop/billing?add_funds=true"

_CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHORIZED", 402: "INSUFFICIENT_BALANCE", 403: "PERMISSION_DENIED",
    404: "NOT_FOUND", 405: "INVALID_ARGUMENT", 409: "ALREADY_EXISTS", 410: "GONE", 413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT", 422: "MODERATION_FAILED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip

CODES = frozenset(_CODES.values()) | {"UNKNOWN", "ALREADY_IN_PROGRESS", "FAILED_PRECONDITION", "CANCELLED"}
"""Hedra's error codes."""

_RETRYABLE = frozenset(("RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ALREADY_IN_PROGRESS"))


def error(code: str, message: str, **more: Any) -> JsonObject:
    """Make the ``error`` object.

    :param code: one of :data:`CODES`.
    :param message: the reason.
    :param more: further fields: ``retry_after, param, details, replaced_by, billing, retryable``.
    """
    return {"code": code, "message": message, "retryable": code in _RETRYABLE, **more}


def rejection(
    status: int, message: str, *, code: str | None = None, headers: dict[str, str] | None = None, **more: Any
) -> Rejection:
    """Make an error answer; its ``trace_id`` is added when it is sent.

    :param status: HTTP status.
    :param message: the reason.
    :param code: default None: the code that belongs to the status.
    :param headers: additional headers; default none.
    :param more: as for :func:`error`.
    """
    return Rejection(status, {"error": error(code or code_of(status), message, **more)}, headers)


def invalid(field: str, message: str, reason: str, allowed: list[str] | None = None) -> Rejection:
    """Make a 400 for one field.

    :param field: dotted path, e.g. ``input.audio``.
    :param message: what is wrong with it.
    :param reason: Hedra's word for the constraint, e.g. ``required``.
    :param allowed: the accepted values; default None: not an enum.
    """
    return all_invalid([detail(field, message, reason, allowed)])


def detail(field: str, message: str, reason: str, allowed: list[str] | None = None) -> JsonObject:
    """Make one entry of ``details``; the parameters are those of :func:`invalid`."""
    row: JsonObject = {"field": field, "message": f"{field}: {message}", "reason": reason}
    return row if allowed is None else row | {"allowed": allowed}


def all_invalid(details: list[JsonObject]) -> Rejection:
    """Make a 400 for several fields at once.

    :param details: at least one entry of :func:`detail`.
    """
    message = details[0]["message"]
    if len(details) > 1:
        message = f"{len(details)} input fields are invalid; see details."
    return rejection(400, message, param=details[0]["field"], details=details)


def not_found(what: str) -> Rejection:
    """Make a 404.

    :param what: what was not found, e.g. ``Job``.
    """
    return rejection(404, f"{what} not found.")


def code_of(status: int) -> str:
    """Return the code that belongs to an HTTP status.

    :param status: an error status.
    """
    return _CODES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")


def enclosed(rejected: Rejection, trace_id: str) -> JsonObject:
    """Return the body of an error answer.

    :param rejected: also one in a shape of API v2, as reading an upload gives it.
    :param trace_id: id of the request.
    """
    body = rejected.body
    if "code" not in (body.get("error") or {}):
        words = body.get("messages") or body.get("detail")
        first = words[0] if isinstance(words, list) and words else words
        message = first.get("msg") if isinstance(first, dict) else first
        body = {"error": error(code_of(rejected.status), str(message or rejected))}
    return {**body, "trace_id": trace_id}
