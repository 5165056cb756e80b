"""Pages of lists, newest first, with cursors that stay valid when rows come and go."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hedra_provider.sandbox import envelope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100


class Numbered(Protocol):
    """A row with the number of its creation."""

    number: int


Row = TypeVar("Row", bound=Numbered)


def page(rows: Iterable[Row], query: Mapping[str, str]) -> tuple[list[Row], str | None]:
    """Return one page and the cursor of the next one.

    :param rows: all rows, newest first.
    :param query: of the request: ``limit`` (1 to 100, default 20) and ``cursor``.
    :raises Rejection: 400 for a wrong limit or cursor.
    """
    limit = _limit(query.get("limit"))
    cursor = query.get("cursor")
    before = None if cursor is None else _number(cursor)
    found = [row for row in rows if before is None or row.number < before]
    more = len(found) > limit
    return found[:limit], _cursor(found[limit - 1].number) if more else None


def listed(rows: list[Any], next_cursor: str | None = None) -> dict[str, Any]:
    """Return the answer of a list.

    :param rows: the page.
    :param next_cursor: of the next page; default None: there is none.
    """
    return {"data": rows, "next_cursor": next_cursor}


def _limit(value: str | None) -> int:
    if value is None:
        return _DEFAULT_LIMIT
    if value.isascii() and value.isdecimal() and len(value) < 4 and 1 <= int(value) <= _MAX_LIMIT:
        return int(value)
    raise envelope.invalid("limit", f"Input should be a number from 1 to {_MAX_LIMIT}", "range")


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(f"before:{number}".encode()).decode()


def _number(cursor: str) -> int:
    try:
        word, _, number = base64.b64decode(cursor.encode(), b"-_", validate=True).decode().partition(":")
        if word == "before" and number.isascii() and number.isdecimal() and len(number) < 19:
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise envelope.invalid("cursor", "The cursor is not one of this list", "cursor")
