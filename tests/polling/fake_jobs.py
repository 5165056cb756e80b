"""A server on loopback that answers the four requests of a v3 wait; its clock is moved by the test."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass
class FakeJobs:
    """
    Jobs that end at a time of its own clock.

    :param ends_at: Job id -> seconds after the start; the newest job is the last.
    :param limit: Requests in a window of 60 s.
    """

    ends_at: dict[str, float] = field(default_factory=dict)
    limit: int = 60
    key: str = "id:secret"
    now: float = 0.0
    requests: list[tuple[float, str, int]] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)
    """Window -> requests of workers in it."""

    def __enter__(self) -> Self:
        self._lock, self._epoch, fake = threading.Lock(), time.time(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with fake._lock:
                    status, headers, body = fake._answer(self.path, self.headers.get("Authorization"))
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v3"

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def kinds(self) -> list[str]:
        """Return the kind of each request: ``page``, ``status`` or ``result``."""
        return [
            "page" if path == "/v3/jobs" else "status" if path.endswith("/status") else "result"
            for _, path, _ in self.requests
        ]

    def _answer(self, target: str, authorization: str | None) -> tuple[int, dict[str, str], dict[str, Any]]:
        url = urlsplit(target)
        window = int(self.now // 60)
        used = self.others.get(window, 0) + sum(int(at // 60) == window for at, _, _ in self.requests) + 1
        headers = {
            "Content-Type": "application/json",
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - used, 0)),
            "X-RateLimit-Reset": str(int(self._epoch + 60 * (window + 1))),
        }
        status, body = self._body(url.path, parse_qs(url.query))
        if authorization != f"Key {self.key}":
            status, body = 401, {"error": {"code": "UNAUTHORIZED", "message": "Invalid API key."}}
        elif used > self.limit:
            status, body = 429, {"error": {"code": "RESOURCE_EXHAUSTED", "message": "slow down"}}
        self.requests.append((self.now, url.path, status))
        return status, headers, body

    def _body(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if path == "/v3/jobs":
            newest, begin = list(reversed(self.ends_at)), int(query.get("cursor", ["0"])[0])
            end = begin + int(query["limit"][0])
            rows = [
                self._row(one) | {"created_at": self._moment(number)} for number, one in enumerate(newest)
            ]
            return 200, {"data": rows[begin:end], "next_cursor": str(end) if end < len(rows) else None}
        job = path.removeprefix("/v3/jobs/").removesuffix("/status")
        if job not in self.ends_at:
            return 404, {"error": {"code": "NOT_FOUND", "message": "Job not found."}}
        row = self._row(job)
        if path.endswith("/status"):
            return 200, row | {"progress": 0.5, "estimated_completion_at": None}
        return self._result(row)

    def _result(self, row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        outputs = [{"asset_id": f"asset_{row['job_id']}", "url": "https://files.example/x"}]
        return 200, row | {"outputs": outputs, "cost": 0.25, "currency": "USD"}

    def _row(self, job: str) -> dict[str, Any]:
        is_done = self.now >= self.ends_at[job]
        return {"job_id": job, "model": "hedra-avatar", "status": "COMPLETED" if is_done else "IN_PROGRESS"}

    def _moment(self, number: int) -> str:
        return datetime.fromtimestamp(self._epoch - number, UTC).isoformat()
