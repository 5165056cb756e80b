"""Faults on demand: what a test wants to go wrong, and on which request.

A fault is JSON; :class:`Fault` names its fields. The first one in the list that fits a request and is neither
skipped nor used up applies; one request meets one fault.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Any

JsonObject = dict[str, Any]

_TEMPLATES = {
    "generations": "status",
    "assets": "upload",
}


def template(path: str) -> str:
    """Put ``{id}`` where a path has one: ``/generations/1f../status`` is ``/generations/{id}/status``."""
    parts = path.split("/")
    if len(parts) == 4 and _TEMPLATES.get(parts[1]) == parts[3]:
        return f"/{parts[1]}/{{id}}/{parts[3]}"
    if len(parts) == 3 and parts[1] in ("files", "uploads"):
        return f"/{parts[1]}/{{id}}"
    return path


@dataclass
class Fault:
    """One thing that goes wrong.

    :param on: method and templated (or literal) path, ``POST /generations``; ``*`` stands for any method,
        path or both.
    :param skip: let so many fitting requests pass first.
    :param times: how often; None: always.
    :param when: ``before`` the work, or ``after`` it: done and charged, but the answer is lost.
    :param status: answer with this status.
    :param headers: add these; without a status, to the real answer.
    :param body: JSON, or a string that is sent as it is; None: ``{"detail": ...}``.
    :param body_base64: the same as bytes, which need not be text.
    :param reset: cut the connection instead of answering.
    :param delay_seconds: wait before (or after) the work, in real time.
    :param cut_at: cut the body of the answer after so many bytes, its ``Content-Length`` being the whole.
    :param extra_bytes: send so many more bytes than the ``Content-Length`` of the answer announces.
    :param piece_bytes: send the body of the answer in pieces of so many bytes.
    :param piece_seconds: how long each piece waits before it is sent, in real time.
    :param patch: merge this over the JSON of the real answer; null removes a key.
    :param patch_items: merge this over each object of the list that the real answer is, or holds as ``data``.
    :param generation_error: error object in which the generation will end that this ``POST /generations``
        makes; ``{"error_message": "..."}`` gives the message alone, as older generations have it.
    """

    on: str
    skip: int = 0
    times: int | None = 1
    when: str = "before"
    status: int | None = None
    headers: dict[str, str] | None = None
    body: Any = None
    reset: bool = False
    delay_seconds: float = 0.0
    body_base64: str | None = None
    cut_at: int | None = None
    extra_bytes: int = 0
    piece_bytes: int | None = None
    piece_seconds: float = 0.01
    patch: JsonObject | None = None
    patch_items: JsonObject | None = None
    generation_error: JsonObject | None = None
    seen: int = 0
    applied: int = 0

    def __post_init__(self) -> None:
        if self.when not in ("before", "after"):
            raise ValueError(f"when is {self.when!r}; it must be before or after")
        words = self.on.split()
        if not 1 <= len(words) <= 2 or (len(words) == 1 and words[0] != "*"):
            raise ValueError(f"on is {self.on!r}; write e.g. 'POST /generations', or '*'")
        if self.piece_bytes is not None and self.piece_bytes < 1:
            raise ValueError(f"a fault's piece_bytes is {self.piece_bytes}; it must be at least 1")
        # Found when the fault is set, not when it is due.
        self._bytes = None if self.body_base64 is None else base64.b64decode(self.body_base64, validate=True)

    @classmethod
    def from_json(cls, raw: Any) -> Fault:
        """Read one fault.

        :raises ValueError: for a name that is unknown: a mistyped fault would never happen.
        """
        names = {field.name for field in fields(cls)} - {"seen", "applied"}
        if not isinstance(raw, dict) or "on" not in raw:
            raise ValueError(f"a fault is an object with 'on', not {raw!r}")
        if unknown := raw.keys() - names:
            raise ValueError(
                f"unknown in a fault: {', '.join(sorted(unknown))}; known are {', '.join(sorted(names))}"
            )
        return cls(**raw)

    def fits(self, method: str, path: str) -> bool:
        """Whether it is about such a request."""
        wanted_method, _, wanted_path = self.on.partition(" ")
        wanted_path = wanted_path.strip() or "*"
        return wanted_method in ("*", method) and wanted_path in ("*", path, template(path))

    @property
    def answers(self) -> bool:
        """Whether it replaces the answer."""
        return self.status is not None or self.body not in (None, {}) or self._bytes is not None

    @property
    def changes(self) -> bool:
        """Whether it changes the JSON of the real answer."""
        return self.patch is not None or self.patch_items is not None

    def changed(self, answer: Any) -> Any:
        """The JSON of the real answer, changed."""
        if self.patch_items is not None:
            rows = answer.get("data") if isinstance(answer, dict) else answer
            if isinstance(rows, list):
                rows[:] = [merge(row, self.patch_items) for row in rows]
        return answer if self.patch is None else merge(answer, self.patch)

    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body of the answer it gives."""
        status = self.status or HTTPStatus.OK
        body = self.body
        if body is None:
            phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Fault"
            body = {"detail": phrase}
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if self._bytes is not None:
            content = self._bytes
        headers = {
            "content-type": "application/json",
            **{k.lower(): v for k, v in (self.headers or {}).items()},
        }
        headers["content-length"] = str(len(content))
        return status, [(k.encode("latin-1"), str(v).encode("latin-1")) for k, v in headers.items()], content


class Faults:
    """The list of faults that are set."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def pick(self, method: str, path: str) -> Fault | None:
        """The fault that a request meets, counting it."""
        for fault in self.faults:
            if not fault.fits(method, path):
                continue
            fault.seen += 1
            if fault.seen <= fault.skip:
                continue
            if fault.times is not None and fault.applied >= fault.times:
                continue
            fault.applied += 1
            return fault
        return None


def merge(answer: Any, patch: JsonObject) -> Any:
    """Merge a patch over JSON (RFC 7396): null removes a key."""
    result = dict(answer) if isinstance(answer, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merge(result.get(key), value)
        else:
            result[key] = value
    return result
