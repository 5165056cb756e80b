"""Reads request bodies: JSON that every answer can repeat, and the rest of a body that is not wanted."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request


class TooLong(Exception):
    """The body is longer than the limit."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a body into memory.

    :param request: the request.
    :param max_bytes: limit in bytes.
    :raises TooLong: beyond the limit; the rest is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLong
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """Parse JSON as RFC 8259 has it, so that accepted values can be stored and sent again.

    Python's own parser also takes NaN, infinities (``1e999``), halves of surrogate pairs, numbers of any
    length, and nesting until the interpreter gives up; each of them fails later, when it is written.

    :param body: UTF-8.
    :raises ValueError: with the reason and the position in the body.
    """
    value = from_json(body, allow_inf_nan=False)
    try:
        # The parser lets 1e999 through as infinity.
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("number out of range") from None
    return value


async def finish_reading(request: Request) -> None:
    """Read and discard the rest of a body: a client reads the answer only after it has sent everything."""
    # RuntimeError: everything was read already.
    with contextlib.suppress(RuntimeError, ClientDisconnect):
        async for _ in request.stream():
            pass
