"""What every request passes before the work: the ledger, faults, and the door with rate limit and key.

It is plain ASGI, because faults work below the framework: on the bytes of an answer and on the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from hedra_provider.sandbox import envelope
from hedra_provider.sandbox.doors import PREFIX_V3
from hedra_provider.sandbox.faults import Fault, Faults
from hedra_provider.sandbox.records import Ending
from hedra_provider.sandbox.rejections import Rejection

if TYPE_CHECKING:
    from hedra_provider.sandbox.clock import Clock
    from hedra_provider.sandbox.doors import Door

BACK_DOOR = "/_sandbox"

ENDING = "sandbox.ending"
"""Key of the ASGI scope under which a fault passes on how the generation will end."""

_LEDGER_LENGTH = 200_000
_LEDGER_BYTES = 128 * 1024**2
# Memory that a row takes besides its texts, roughly.
_ROW_BYTES = 300
_DRAIN_BYTES = 64 * 1024**2

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Ledger:
    """The last 200,000 requests, oldest first; fewer if their texts take more than 128 MiB."""

    _FIELDS = ("method", "path", "status", "at", "user_agent", "connection", "origin", "query", "has_key")

    def __init__(self) -> None:
        self.total = 0
        self.resets = 0
        self._bytes = 0
        self._rows: deque[list[Any]] = deque()

    def add(self, *values: Any) -> list[Any]:
        """Enter a request and return its row. The third value, the status, is set when it is known."""
        self.total += 1
        row = list(values)
        if len(self._rows) == _LEDGER_LENGTH:
            self._drop_oldest()
        self._rows.append(row)
        self._bytes += _size(row)
        while self._bytes > _LEDGER_BYTES and len(self._rows) > 1:
            self._drop_oldest()
        return row

    def _drop_oldest(self) -> None:
        self._bytes -= _size(self._rows.popleft())

    def clear(self) -> None:
        """Forget all requests."""
        self.total = self._bytes = 0
        self.resets += 1
        self._rows.clear()

    def rows(self) -> list[dict[str, Any]]:
        """Return the requests as JSON objects."""
        return [dict(zip(self._FIELDS, row, strict=True)) for row in self._rows]


def _size(row: list[Any]) -> int:
    # The status is set later; it is no text, so it does not count.
    return _ROW_BYTES + sum(len(value) for value in row if isinstance(value, str))


class Connections:
    """The open connections by the client's address, so that faults can reach them."""

    def __init__(self) -> None:
        self.transports: dict[tuple[str, int], asyncio.Transport] = {}

    def write(self, client: tuple[str, int], data: bytes) -> None:
        """Write to a connection below HTTP.

        :param client: address of the client.
        :param data: the bytes.
        """
        transport = self.transports.get(tuple(client))  # type: ignore[arg-type]
        if transport is not None:
            transport.write(data)

    def cut(self, client: tuple[str, int], *, reset: bool) -> None:
        """Close a connection.

        :param client: address of the client.
        :param reset: True sends a RST at once; False sends what was written, then FIN.
        """
        transport = self.transports.get(tuple(client))  # type: ignore[arg-type]
        if transport is None:
            return
        if not reset:
            transport.close()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # With a linger time of 0, the kernel sends RST instead of FIN.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


@dataclass(frozen=True)
class Watch:
    """What both origins share: the ledger, the faults, the clock."""

    ledger: Ledger
    faults: Faults
    clock: Clock


class Gate:
    """ASGI middleware; see the module.

    :param app: does the work.
    :param origin: ``api`` or ``files``.
    :param watch: what both origins share.
    :param connections: the connections of this origin.
    :param door: the entrance of API v2; default None: none (the file origin checks signatures).
    :param door_v3: the entrance of API v3; default None.
    """

    def __init__(
        self,
        app: AsgiApp,
        origin: str,
        watch: Watch,
        connections: Connections,
        *,
        door: Door | None = None,
        door_v3: Door | None = None,
    ) -> None:
        self._app = app
        self._origin = origin
        self._watch = watch
        self._connections = connections
        self._door = door
        self._door_v3 = door_v3

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or not."""
        if scope["type"] != "http" or (self._origin == "api" and scope["path"].startswith(BACK_DOOR + "/")):
            await self._app(scope, receive, send)
            return
        door = self._door_v3 if _is_v3(scope["path"]) else self._door
        path = door.path(scope["path"]) if door else scope["path"]
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        key = door.key(scope) if door else b""
        host, port = scope["client"]
        # Signatures in the query of a file URL stay out of the ledger.
        query = scope["query_string"].decode("latin-1") if self._origin == "api" else ""
        row = self._watch.ledger.add(
            scope["method"], path, None, self._watch.clock.now(), agent.decode("latin-1"), f"{host}:{port}",
            self._origin, query, bool(key),
        )  # fmt: skip

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                row[2] = message["status"]
                headers = list(message["headers"])
                if not any(name.lower() == b"date" for name, _ in headers):
                    # The sandbox's clock, not the machine's: a server has one time.
                    headers.append((b"date", formatdate(self._watch.clock.now(), usegmt=True).encode()))
                if door is not None:
                    # A fault may have set one of them.
                    own = {name.lower().decode("latin-1") for name, _ in headers}
                    more = {k: v for k, v in door.headers(scope).items() if k.lower() not in own}
                    headers = _merged(headers, more)
                message = {**message, "headers": headers}
            await send(message)

        fault = self._watch.faults.pick(scope["method"], path)
        if fault is not None:
            await self._break(fault, door, scope, receive, noted)
        else:
            await self._work(door, scope, receive, noted)

    async def _work(self, door: Door | None, scope: Scope, receive: Receive, send: Send) -> None:
        if door is None:
            await self._app(scope, receive, send)
            return
        try:
            door.admit(scope)
        except Rejection as rejection:
            await _drain(receive)
            content = json.dumps(door.rejected(scope, rejection)).encode()
            headers = {
                "content-type": "application/json",
                "content-length": str(len(content)),
                **rejection.headers,
            }
            await _answer(
                send, rejection.status, [(k.encode(), v.encode()) for k, v in headers.items()], content
            )
            return
        await self._app(scope, receive, send)

    async def _break(
        self, fault: Fault, door: Door | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if fault.when == "before" and fault.delay_seconds:
            # A request that has arrived is worked on, also if its client is gone by then.
            resets = self._watch.ledger.resets
            receive = await _arrived(receive)
            await asyncio.sleep(fault.delay_seconds)
            if self._watch.ledger.resets != resets:
                self._connections.cut(scope["client"], reset=True)
                await _disconnected(receive)
                return
        if fault.generation_error is not None or fault.generation_status is not None:
            scope[ENDING] = Ending(fault.generation_error, fault.generation_status or "error")
        if fault.when == "before" and (fault.reset or fault.answers):
            await self._instead(fault, scope, receive, send)
            return
        answer = _Recorder()
        if fault.reset or fault.answers or fault.changes or fault.when == "after":
            await self._work(door, scope, receive, answer)
            if fault.when == "after":
                await asyncio.sleep(fault.delay_seconds)
            if fault.reset or fault.answers:
                await self._instead(fault, scope, receive, send)
                return
            answer.change(fault)
            await answer.replay(self._sender(fault, scope, receive, send))
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and fault.headers:
                message = {**message, "headers": _merged(message["headers"], fault.headers)}
            await sent(message)

        sent = self._sender(fault, scope, receive, send)
        await self._work(door, scope, receive, with_headers)

    async def _instead(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.reset:
            self._connections.cut(scope["client"], reset=True)
            await _disconnected(receive)
            return
        if fault.when == "before":
            await _drain(receive)
        status = fault.status or 200
        default: dict[str, Any] | None = None
        if self._door_v3 is not None and _is_v3(scope["path"]) and status >= 400:
            default = self._door_v3.rejected(scope, envelope.rejection(status, "A fault of the sandbox."))
        await _answer(self._sender(fault, scope, receive, send), *fault.answer(default))

    def _sender(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> Send:
        """Return the function that sends an answer: longer, cut, or in pieces."""

        async def longer(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            # Before the server knows of the end: it may close the connection then.
            await send({**message, "more_body": True})
            self._connections.write(scope["client"], b"x" * fault.extra_bytes)
            await send({"type": "http.response.body", "body": b""})

        return _in_pieces(fault, self._cutter(fault, scope, receive, longer if fault.extra_bytes else send))

    def _cutter(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> Send:
        if fault.cut_at is None:
            return send
        left = fault.cut_at
        over = False

        async def cut(message: Message) -> None:
            nonlocal left, over
            if over:
                return
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) < left:
                left -= len(body)
                await send(message)
                return
            over = True
            await send({"type": "http.response.body", "body": body[:left], "more_body": True})
            self._connections.cut(scope["client"], reset=False)
            await _disconnected(receive)

        return cut


def _is_v3(path: str) -> bool:
    return path == PREFIX_V3 or path.startswith(PREFIX_V3 + "/")


class _Recorder:
    """Receives an answer in place of the client."""

    def __init__(self) -> None:
        self._start: Message = {}
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    def change(self, fault: Fault) -> None:
        """Apply headers and patch."""
        if fault.changes:
            # Only JSON can be patched.
            with contextlib.suppress(ValueError):
                self._body = bytearray(json.dumps(fault.changed(json.loads(self._body))).encode())
        headers = {"content-length": str(len(self._body)), **(fault.headers or {})}
        self._start = {**self._start, "headers": _merged(self._start["headers"], headers)}

    async def replay(self, send: Send) -> None:
        """Send the recorded answer to the client."""
        await send(self._start)
        await send({"type": "http.response.body", "body": bytes(self._body)})


def _in_pieces(fault: Fault, send: Send) -> Send:
    size = fault.piece_bytes
    if size is None:
        return send

    async def pieces(message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or not body:
            await send(message)
            return
        for start in range(0, len(body), size):
            await asyncio.sleep(fault.piece_seconds)
            last = start + size >= len(body)
            more = message.get("more_body", False) if last else True
            await send({**message, "body": body[start : start + size], "more_body": more})

    return pieces


def _merged(headers: list[tuple[bytes, bytes]], more: dict[str, str]) -> list[tuple[bytes, bytes]]:
    added = {k.lower().encode("latin-1"): str(v).encode("latin-1") for k, v in more.items()}
    return [(k, v) for k, v in headers if k.lower() not in added] + list(added.items())


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _arrived(receive: Receive) -> Receive:
    """Read a body, at most 64 MiB of it; return what gives it out."""
    messages: deque[Message] = deque()
    read, more = 0, True
    while more and read < _DRAIN_BYTES:
        message = await receive()
        messages.append(message)
        read += len(message.get("body", b""))
        more = bool(message.get("more_body"))

    async def again() -> Message:
        return messages.popleft() if messages else await receive()

    return again


async def _drain(receive: Receive) -> None:
    """Read and discard the rest of a body: a client reads the answer only after it has sent everything."""
    read = 0
    while read < _DRAIN_BYTES:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        read += len(message.get("body", b""))


async def _disconnected(receive: Receive) -> None:
    """Wait until the server knows that the connection is closed; it would answer 500 otherwise."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if (await receive())["type"] == "http.disconnect":
            return
