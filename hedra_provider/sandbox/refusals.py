"""The ways Hedra says no.

Its bodies have several shapes; all of them were seen in the wild, and the sandbox uses each where it is most
likely.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class Refusal(Exception):
    """An answer that is an error.

    :param status: HTTP status.
    :param body: JSON body.
    :param headers: additional headers.
    """

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def bad_request(message: str) -> Refusal:
    """400 with ``messages``: what was asked for is well-formed and cannot be done."""
    return Refusal(HTTPStatus.BAD_REQUEST, {"messages": [message]})


def unauthorized() -> Refusal:
    """401 for a missing or wrong key."""
    return _typed(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "Invalid or missing API key.")


def insufficient_balance(needed: int, available: int) -> Refusal:
    """402 with both figures."""
    return Refusal(
        HTTPStatus.PAYMENT_REQUIRED,
        {
            "error_code": "INSUFFICIENT_BALANCE",
            "credits_needed": needed,
            "credits_available": available,
            "messages": ["Insufficient credits for this generation."],
        },
    )


def unknown_workspace(workspace_id: str) -> Refusal:
    """403 for a workspace that is not the account's."""
    return Refusal(HTTPStatus.FORBIDDEN, {"detail": f"You are not a member of workspace {workspace_id}."})


def not_found(what: str) -> Refusal:
    """404 with a ``detail`` string."""
    return Refusal(HTTPStatus.NOT_FOUND, {"detail": f"{what} not found"})


def already(kind: str, message: str, status: int = HTTPStatus.CONFLICT) -> Refusal:
    """A client-made id that is taken: ``kind`` is ALREADY_EXISTS or ALREADY_IN_PROGRESS."""
    return _typed(status, kind, message)


def too_large(message: str) -> Refusal:
    """413."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"messages": [message]})


def too_many(message: str, retry_after: int | None = None) -> Refusal:
    """429; ``retry_after`` in seconds."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return _typed(HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", message, headers)


def unprocessable(
    location: list[str | int], message: str, kind: str = "value_error", given: Any = None
) -> Refusal:
    """422 in FastAPI's shape, for one field.

    :param location: where, e.g. ``["body", "name"]``.
    :param message: what is wrong.
    :param kind: pydantic's type of the error.
    :param given: the value.
    """
    return Refusal(422, {"detail": [{"type": kind, "loc": location, "msg": message, "input": given}]})


def _typed(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(status, {"error": {"type": kind, "message": message}}, headers)
