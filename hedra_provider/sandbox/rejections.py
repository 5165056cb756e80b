"""Hedra's error answers.

Their bodies have several shapes. Users of Hedra reported all of them; the sandbox uses each where it is most
likely.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class Rejection(Exception):
    """An answer that is an error.

    :param status: HTTP status.
    :param body: JSON body.
    :param headers: additional headers; default none.
    """

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def bad_request(message: str) -> Rejection:
    """Make a 400 with ``messages``: the request is well-formed, and cannot be fulfilled.

    :param message: the reason.
    """
    return Rejection(HTTPStatus.BAD_REQUEST, {"messages": [message]})


def unauthorized() -> Rejection:
    """Make a 401 for a missing or wrong key."""
    return _typed(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "Invalid or missing API key.")


def account_moved() -> Rejection:
    """Make a 403 for a key of API v3: its account is no longer served here."""
    message = "This account has moved to API v3. Use https://api.hedra.com/v3 with this key."
    return _typed(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", message)


def insufficient_balance(needed: int, available: int) -> Rejection:
    """Make a 402.

    :param needed: credits that the request costs.
    :param available: credits of the pool.
    """
    return Rejection(
        HTTPStatus.PAYMENT_REQUIRED,
        {
            "error_code": "INSUFFICIENT_BALANCE",
            "credits_needed": needed,
            "credits_available": available,
            "messages": ["Insufficient credits for this generation."],
        },
    )


def unknown_workspace(workspace_id: str) -> Rejection:
    """Make a 403 for a workspace of another account.

    :param workspace_id: its id.
    """
    return Rejection(HTTPStatus.FORBIDDEN, {"detail": f"You are not a member of workspace {workspace_id}."})


def not_found(what: str) -> Rejection:
    """Make a 404 with a ``detail`` string.

    :param what: what was not found.
    """
    return Rejection(HTTPStatus.NOT_FOUND, {"detail": f"{what} not found"})


def already(kind: str, message: str, status: int = HTTPStatus.CONFLICT) -> Rejection:
    """Make an answer for a client's id that is taken.

    :param kind: ALREADY_EXISTS or ALREADY_IN_PROGRESS.
    :param message: the reason.
    :param status: HTTP status; default 409.
    """
    return _typed(status, kind, message)


def too_large(message: str) -> Rejection:
    """Make a 413.

    :param message: the reason.
    """
    return Rejection(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"messages": [message]})


def too_many(message: str, retry_after: int | None = None) -> Rejection:
    """Make a 429.

    :param message: the reason.
    :param retry_after: header ``Retry-After`` in seconds; default None, for no header.
    """
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return _typed(HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", message, headers)


def unprocessable(
    location: list[str | int], message: str, kind: str = "value_error", given: Any = None
) -> Rejection:
    """Make a 422 in FastAPI's shape, for one field.

    :param location: the field, e.g. ``["body", "name"]``.
    :param message: the reason.
    :param kind: pydantic's type of the error; default ``value_error``.
    :param given: the value; default None.
    """
    return Rejection(422, {"detail": [{"type": kind, "loc": location, "msg": message, "input": given}]})


def _typed(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Rejection:
    return Rejection(status, {"error": {"type": kind, "message": message}}, headers)
