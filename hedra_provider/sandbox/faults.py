"""Faults on demand: what goes wrong, and at which request.

A fault is a JSON object; :class:`Fault` names its fields. The first fault of the list that matches a request,
and that is neither skipped nor used up, applies. At most one fault applies to a request.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

JsonObject = dict[str, Any]

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MAX_DELAY_SECONDS = 86_400

_TEMPLATES = {
    "generations": "status",
    "assets": "upload",
}


def template(path: str) -> str:
    """Replace the id in a path: ``/generations/1f../status`` becomes ``/generations/{id}/status``.

    :param path: a path without ``/web-app/public``, or with ``/v3``: ``/v3/jobs/job_1f../status`` becomes
        ``/v3/jobs/{id}/status``, and ``/v3/models/hedra-avatar`` becomes ``/v3/models/{model}``.
    """
    parts = path.split("/")
    if parts[1:2] == ["v3"]:
        return _template_v3(parts)
    if len(parts) == 4 and _TEMPLATES.get(parts[1]) == parts[3]:
        return f"/{parts[1]}/{{id}}/{parts[3]}"
    if len(parts) == 3 and parts[1] in ("files", "uploads"):
        return f"/{parts[1]}/{{id}}"
    return path


def _template_v3(parts: list[str]) -> str:
    if len(parts) >= 4 and parts[2] in ("jobs", "models"):
        parts = [*parts[:3], "{id}" if parts[2] == "jobs" else "{model}", *parts[4:]]
    elif len(parts) == 6 and parts[2:4] == ["webhooks", "deliveries"]:
        parts = [*parts[:4], "{id}", parts[5]]
    return "/".join(parts)


@dataclass
class Fault:
    """One thing that goes wrong.

    :param on: method and path, ``POST /generations`` or ``GET /generations/{id}/status``; paths of API v3
        have its prefix, ``POST /v3/models/{model}`` or ``GET /v3/jobs/{id}``; the path may also be literal,
        and ``*`` stands for any method, path or both.
    :param skip: number of matching requests that pass first; default 0.
    :param times: number of requests that it applies to; default 1; None: all.
    :param when: ``before`` the work (default), or ``after`` it: the work is done and charged, but the answer
        is lost.
    :param status: HTTP status of the answer, 200 to 599; default None: the real answer.
    :param headers: headers to add; without a status, to the real answer; default None.
    :param body: body of the answer: JSON, or a string that is sent as it is; default None: with a status,
        ``{"detail": ...}``.
    :param body_base64: the same as bytes, which need not be text; default None.
    :param reset: reset the connection instead of answering; default False.
    :param delay_seconds: delay before (or after) the work, in seconds of real time; default 0. The work is
        done also if the client is gone by then, unless the sandbox was reset.
    :param cut_at: close the connection after so many bytes of the body, while ``Content-Length`` announces
        all of it; default None.
    :param extra_bytes: number of bytes to send beyond the ``Content-Length`` of the answer; default 0.
    :param piece_bytes: send the body in pieces of so many bytes; default None: at once.
    :param piece_seconds: delay before each piece, in seconds of real time; default 0.01.
    :param patch: merged over the JSON of the real answer; null removes a key; default None.
    :param patch_items: merged over each object of the list that the real answer is, or has as ``data``;
        default None.
    :param generation_error: for ``POST /generations`` and ``POST /v3/models/{model}``: the error object that
        its generations or its job end with; ``{"error_message": "..."}`` gives only a message, as older
        generations have it; default None.
    :param generation_status: for the same requests: the status that its generations or its job end with, such
        as ``failed`` or ``CANCELLED``, in every answer about them; default None: ``error`` or ``FAILED``
        with a ``generation_error``, else ``complete`` or ``COMPLETED``. Without a ``generation_error``
        nothing is refunded.
    """

    # Strict: a mistyped fault is rejected when it is set, not in the middle of a test.
    __pydantic_config__ = ConfigDict(strict=True)

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
    generation_status: str | None = None
    seen: int = 0
    applied: int = 0

    def __post_init__(self) -> None:
        if self.when not in ("before", "after"):
            raise ValueError(f"when is {self.when!r}; it must be before or after")
        words = self.on.split()
        if not 1 <= len(words) <= 2 or (len(words) == 1 and words[0] != "*"):
            raise ValueError(f"on is {self.on!r}; write e.g. 'POST /generations', or '*'")
        for name, least, most in (
            ("skip", 0, None), ("times", 0, None), ("status", 200, 599), ("cut_at", 0, None),
            ("extra_bytes", 0, 2**30), ("piece_bytes", 1, None),
            ("delay_seconds", 0, _MAX_DELAY_SECONDS), ("piece_seconds", 0, _MAX_DELAY_SECONDS),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not least <= value <= (value if most is None else most):
                limit = f"at least {least}" if most is None else f"{least} to {most}"
                raise ValueError(f"a fault's {name} is {value}; it must be {limit}")
        for header, text in (self.headers or {}).items():
            if not _HEADER_NAME.fullmatch(header) or not text.isprintable() or not _is_latin_1(text):
                raise ValueError(f"a fault's header {header!r}: {text!r} cannot be sent over HTTP")
        if self.generation_status == "":
            raise ValueError("a fault's generation_status is empty; name a status")
        # Checked when the fault is set, not when it applies.
        self._bytes = None if self.body_base64 is None else base64.b64decode(self.body_base64, validate=True)

    @classmethod
    def from_json(cls, raw: Any) -> Fault:
        """Read one fault.

        :param raw: the JSON object.
        :raises ValueError: for an unknown field or a wrong value: such a fault would never apply.
        """
        names = {field.name for field in fields(cls)} - {"seen", "applied"}
        if not isinstance(raw, dict) or "on" not in raw:
            raise ValueError(f"a fault is an object with 'on', not {raw!r}")
        if unknown := raw.keys() - names:
            raise ValueError(
                f"unknown in a fault: {', '.join(sorted(unknown))}; known are {', '.join(sorted(names))}"
            )
        try:
            return _FAULT.validate_json(json.dumps(raw))
        except ValidationError as error:
            first = error.errors()[0]
            if isinstance(cause := first.get("ctx", {}).get("error"), ValueError):
                raise cause from None
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"a fault's {where} is {first['input']!r}: {first['msg']}") from None

    def matches(self, method: str, path: str) -> bool:
        """Return whether it is about a request.

        :param method: of the request.
        :param path: of the request.
        """
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
        """Return the JSON of the real answer, patched.

        :param answer: the real answer; it may be changed in place.
        """
        if self.patch_items is not None:
            rows = answer.get("data") if isinstance(answer, dict) else answer
            if isinstance(rows, list):
                rows[:] = [merge(row, self.patch_items) for row in rows]
        return answer if self.patch is None else merge(answer, self.patch)

    def answer(self, default: JsonObject | None = None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of the answer that replaces the real one.

        :param default: body of a fault that names none; default None: ``{"detail": ...}``.
        """
        status = self.status or HTTPStatus.OK
        body = self.body
        if body is None:
            phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Fault"
            body = default or {"detail": phrase}
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if self._bytes is not None:
            content = self._bytes
        headers = {
            "content-type": "application/json",
            **{k.lower(): v for k, v in (self.headers or {}).items()},
        }
        headers["content-length"] = str(len(content))
        return status, [(k.encode("latin-1"), str(v).encode("latin-1")) for k, v in headers.items()], content


_FAULT = TypeAdapter(Fault)


def _is_latin_1(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


class Faults:
    """The faults that are set."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def pick(self, method: str, path: str) -> Fault | None:
        """Return the fault that applies to a request, and count it.

        :param method: of the request.
        :param path: of the request.
        """
        for fault in self.faults:
            if not fault.matches(method, path):
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
    """Merge a patch over JSON (RFC 7396): null removes a key.

    :param answer: the JSON.
    :param patch: the patch.
    """
    result = dict(answer) if isinstance(answer, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merge(result.get(key), value)
        else:
            result[key] = value
    return result
