"""A fast fake of the API's GET requests, in its own process. It answers after 200 ms and counts requests.

    python -m benchmarks.fake_api

Prints its port. `GET /_begin?count=N&first=S&last=S` lets N generations exist that end between so many
seconds from now; `GET /_ledger` returns the requests since then. Times are those of the system's monotonic
clock, which all processes of a machine share. The sandbox does more per request than a benchmark of ten
thousand waits allows.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

LATENCY_SECONDS = 0.2
PREFIX = "/web-app/public"
_GOLDEN = 0.6180339887498949

Begun = tuple[float, float, float]


def generation_id(number: int) -> str:
    """Return the id of the n-th generation."""
    return str(UUID(int=(0x4ED4 << 112) | number))


def ends_at(number: int, begun: Begun) -> float:
    """
    Return the end of the n-th generation. The ends are evenly spread, and in no order.

    :param begun: When the clock started, and the seconds until the first and the last end.
    """
    start, first, last = begun
    return start + first + (last - first) * (number * _GOLDEN % 1.0)


class Api:
    """The generations, the answers, and the requests so far."""

    def __init__(self) -> None:
        self.begun: Begun = (time.monotonic(), 0.0, 0.0)
        self.count = 0
        self.requests: list[float] = []
        self.opened = self.open = self.most_open = 0

    def answer(self, target: str) -> tuple[int, bytes, float]:
        """Return status, body and latency in seconds."""
        url = urlsplit(target)
        path = url.path.removeprefix(PREFIX)
        if path.startswith("/_"):
            return 200, json.dumps(self._back_door(path, parse_qs(url.query))).encode(), 0.0
        now = time.monotonic()
        self.requests.append(now)
        if path == "/generations":
            ids = unquote(url.query.partition("ids=")[2].partition("&")[0]).split(",")
            rows = ",".join(self._row(UUID(one).int & 0xFFFFFFFF, now, listed=True) for one in ids)
            body = f'{{"page_info":{{"limit":{len(ids)},"offset":0}},"data":[{rows}]}}'
            return 200, body.encode(), LATENCY_SECONDS
        number = UUID(path.split("/")[2]).int & 0xFFFFFFFF
        if path.startswith("/sensor/"):
            return (200 if now >= ends_at(number, self.begun) else 404), b"{}", LATENCY_SECONDS
        return 200, self._row(number, now, listed=False).encode(), LATENCY_SECONDS

    def _back_door(self, path: str, query: dict[str, list[str]]) -> object:
        if path == "/_begin":
            self.count = int(query["count"][0])
            self.begun = (time.monotonic(), float(query["first"][0]), float(query["last"][0]))
            self.requests.clear()
            self.opened = self.most_open = self.open
            return self.begun
        return {
            "requests": [round(at, 4) for at in self.requests],
            "opened": self.opened,
            "most": self.most_open,
        }

    def _row(self, number: int, now: float, *, listed: bool) -> str:
        done = now >= ends_at(number, self.begun)
        id_ = generation_id(number)
        asset = f'{{"id":"{id_}","type":"video","asset":{{"type":"video","url":"https://x/{"y" * 300}"}}}}'
        asked = f'"input":{{"type":"video","generated_video_inputs":{{"text_prompt":"{"word " * 40}"}}}},'
        return (
            f'{{"id":"{id_}","type":"video","status":"{"complete" if done else "processing"}",'
            f'"progress":{1.0 if done else 0.5},"created_at":"2026-01-01T00:00:00Z","eta_sec":null,'
            f'{asked if listed else ""}"asset_id":"{id_}","error":null,'
            f'"asset":{asset if done and listed else "null"}}}'
        )


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, for clients that send one GET after the other."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._api.opened += 1
        self._api.open += 1
        self._api.most_open = max(self._api.most_open, self._api.open)

    def connection_lost(self, error: Exception | None) -> None:
        """Count it."""
        self._api.open -= 1

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            status, body, latency = self._api.answer(head.split(b" ", 2)[1].decode())
            reason = "OK" if status == 200 else "Not Found"
            lines = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
            answer = f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
            asyncio.get_running_loop().call_later(latency, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve() -> None:
    """Serve until stdin closes, which means that the parent process has ended."""
    api, loop = Api(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(api), "127.0.0.1", 0, backlog=10_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
