"""The matrix: what goes wrong, at which call, and how the first try of the task ends then.

Whatever it is: once it is over, a retry (or, where the task failed at once, a clear) brings the video whole,
and one generation is paid for in all.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

STATUS = "GET /generations/{id}/status"
MODES = ("sync", "deferred")
SYNC = MODES[:1]
TIMEOUT_SECONDS = 0.15
"""The time-out of the connection, against which an answer is slow; short, because it really passes."""


class Outcome(StrEnum):
    """How the first try ends."""

    PASSES = "passes"
    RETRIED = "retried"
    FAILS = "fails"


PASSES, RETRIED, FAILS = Outcome


@dataclass(frozen=True)
class Call:
    """
    A call of the flow.

    :param name: How the table calls it.
    :param on: Which requests it is.
    :param skip: How many of those pass before this one.
    :param rows: Whether its answer is a list.
    :param also: Other faults, without which this call is not made.
    :param before_the_submit: Whether nothing was paid for yet.
    :param of_the_recording: Whether it is about the second file that is uploaded.
    :param modes: In which it is tried: what is done before the submit is the same code in both.
    """

    name: str
    on: str
    skip: int = 0
    rows: bool = False
    also: tuple[Mapping[str, Any], ...] = ()
    before_the_submit: bool = False
    of_the_recording: bool = False
    modes: tuple[str, ...] = MODES


NO_URL = {"url": None, "download_url": None, "streaming_url": None}
ROW_WITHOUT_FILE = {"on": "GET /generations", "times": None, "patch_items": {"asset": None}}
FILE_POLL = 3
"""Status requests before the one for the file: before the submit, running, complete."""

CALLS: dict[str, Call] = {
    "models": Call("GET /models", "GET /models", rows=True, before_the_submit=True, modes=SYNC),
    "voices": Call("GET /voices", "GET /voices", rows=True, before_the_submit=True, modes=SYNC),
    "find_asset": Call(
        "GET /assets (does it exist?)", "GET /assets", rows=True, before_the_submit=True, modes=SYNC
    ),
    "create_asset": Call(
        "POST /assets", "POST /assets", skip=1, before_the_submit=True, of_the_recording=True, modes=SYNC
    ),
    "upload": Call(
        "POST /assets/{id}/upload",
        "POST /assets/{id}/upload",
        skip=1,
        before_the_submit=True,
        of_the_recording=True,
    ),
    "find": Call("GET status (does it exist?)", STATUS, before_the_submit=True),
    "credits": Call("GET /billing/credits", "GET /billing/credits", before_the_submit=True, modes=SYNC),
    "submit": Call("POST /generations", "POST /generations"),
    "wait": Call("GET status (waiting)", STATUS, skip=1),
    "row": Call("GET /generations?ids=", "GET /generations", rows=True),
    "file_url": Call("GET status (where is the file?)", STATUS, skip=FILE_POLL, also=(ROW_WITHOUT_FILE,)),
    "asset_url": Call(
        "GET /assets (where is the file?)",
        "GET /assets",
        skip=1,
        rows=True,
        also=(ROW_WITHOUT_FILE, {"on": STATUS, "skip": FILE_POLL, "times": None, "patch": NO_URL}),
    ),
    "file": Call("GET /files/{id}", "GET /files/{id}"),
}
WELCOME = dict.fromkeys(("row", "credits"), PASSES)
"""Calls whose failure is only logged: they never fail a task."""


@dataclass(frozen=True)
class Fault:
    """
    A fault of the sandbox.

    :param name: Its name in the table.
    :param json: The fault as the sandbox takes it, without ``on``, ``skip`` and ``times``.
    :param usually: How the first attempt ends.
    :param but: The calls at which it ends otherwise; ``"wait/sync"`` for one mode only.
    :param times: How often it happens, 1 by default; None: until the first attempt has ended.
    :param only: The calls that can meet it; all by default.
    :param json_at: The fault at other calls.
    :param tiny_timeout: Whether the connection has a timeout of ``TIMEOUT_SECONDS``.
    :param refunded: Whether the generation fails and its credits are refunded.
    """

    name: str
    json: Mapping[str, Any]
    usually: Outcome
    but: Mapping[str, Outcome] = field(default_factory=dict)
    times: int | None = 1
    only: tuple[str, ...] = ()
    json_at: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tiny_timeout: bool = False
    refunded: bool = False

    def meets(self, call: str) -> bool:
        return not self.only or call in self.only

    def outcome(self, call: str, mode: str) -> Outcome:
        default = self.but.get(call, self.usually)
        return self.but.get(f"{call}/{mode}", default)

    def sandbox_faults(self, key: str, calls: Mapping[str, Call]) -> list[dict[str, Any]]:
        """Return the faults at a call, as the sandbox takes them."""
        call = calls[key]
        first = {"on": call.on, "skip": call.skip, "times": self.times, **self.json_at.get(key, self.json)}
        return [first, *map(dict, call.also)]


def rejection(name: str, status: int, body: Any, **but: Outcome) -> Fault:
    """
    An error answer that is not retryable. If the storage rejects a URL, fresh ones are tried to the end.

    Before the submit, where 404 is the expected status, it happens once.
    """
    json = {"status": status, "body": body}
    once = {"find": {**json, "times": 1}}
    return Fault(name, json, FAILS, WELCOME | {"file": RETRIED} | but, times=None, json_at=once)


def passing(name: str, json: Mapping[str, Any], **more: Any) -> Fault:
    """A fault that happens once and is gone when the request is repeated."""
    return Fault(name, json, PASSES, **more)


def outage(
    name: str,
    json: Mapping[str, Any],
    *,
    only: tuple[str, ...] = (),
    json_at: Mapping[str, Mapping[str, Any]] | None = None,
    **but: Outcome,
) -> Fault:
    """A fault that lasts until the attempt ends."""
    return Fault(name, json, RETRIED, WELCOME | but, times=None, only=only, json_at=json_at or {})


def unreadable(name: str, json: Mapping[str, Any], **but: Outcome) -> Fault:
    """An unreadable answer, once: the next attempt, or the next poll, sends the request again."""
    again = {"submit": PASSES, "wait": PASSES, "file": PASSES}
    return Fault(name, {"when": "after", **json}, RETRIED, WELCOME | again | but)


def _deep() -> str:
    return '{"id":' * 20_000


ANOTHER = "99999999-9999-4999-8999-999999999999"
STATUS_POLLS = ("wait", "file_url")
OLD = "1970-01-01T00:00:00Z"
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"
HUGE = {"progress": 1e308, "eta_sec": -1e308, "credit_cost": 10**40, "duration_ms": -(10**40), "width": "x"}
EXPIRED = (
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'
)
BAD_BYTES = base64.b64encode(bytes(range(128, 256))).decode()
LISTS = tuple(name for name, call in CALLS.items() if call.rows)
SLOW = {"delay_seconds": 2 * TIMEOUT_SECONDS}
PIECES = {"piece_bytes": 200, "piece_seconds": 0.002}

# A 404 about a generation that was complete is retried.
GONE = {"find": PASSES, "file_url": RETRIED, "asset_url": RETRIED}

FAULTS: dict[str, Fault] = {
    # The API rejects the request.
    "400": rejection("400, detail as text", 400, {"detail": "Bad request"}),
    "401": rejection("401, error object", 401, {"error": {"type": "UNAUTHORIZED", "message": "Who?"}}),
    "402": rejection(
        "402, error_code and credits",
        402,
        {"error_code": "INSUFFICIENT_BALANCE", "credits_needed": 9, "credits_available": 1},
    ),
    "403": rejection("403, messages", 403, {"messages": ["Not yours", {"message": "at all"}]}),
    "404": rejection("404, detail as text", 404, {"detail": "Not found"}, **GONE),
    "410": rejection("410, nested detail", 410, {"detail": {"message": "Gone"}}, **GONE),
    "413": rejection("413, HTML", 413, "<html>Request Entity Too Large</html>"),
    "422": rejection(
        "422, detail as a list",
        422,
        {"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required"}]},
    ),
    "409": Fault(
        "409 once, error object",
        {"status": 409, "body": {"error": {"type": "ALREADY_EXISTS", "message": "It is there"}}},
        RETRIED,
        WELCOME | dict.fromkeys(("create_asset", "submit", "wait", "file"), PASSES),
    ),
    # The API is busy or down.
    "408": passing("408 once, no body", {"status": 408, "body": ""}),
    "429": passing("429 once", {"status": 429, "body": {"detail": "Slow down"}}),
    "429-after": passing(
        "429 once, Retry-After 20",
        {"status": 429, "headers": {"Retry-After": "20"}},
    ),
    "429-date": passing(
        "429 once, Retry-After a date of a clock that is off",
        {"status": 429, "headers": {"Date": EPOCH, "Retry-After": "Thu, 01 Jan 1970 00:00:09 GMT"}},
    ),
    "429-all": outage("429 all the time", {"status": 429, "body": {"messages": ["Too many"]}}),
    "429-hour": outage(
        "429 all the time, Retry-After an hour", {"status": 429, "headers": {"Retry-After": "3600"}}
    ),
    "500": passing("500 once, after the work", {"when": "after", "status": 500}),
    "500-all": outage("500 all the time", {"status": 500, "body": {"error": "sad"}}),
    "502": passing("502 once, HTML", {"status": 502, "body": "<html><h1>Bad Gateway</h1></html>"}),
    "503": passing("503 once, error object", {"status": 503, "body": {"error": {"type": "UNAVAILABLE"}}}),
    "504": passing("504 once, after the work, no body", {"when": "after", "status": 504, "body": ""}),
    # No answer, or a part of it.
    "cut-before": passing("connection cut before the work", {"reset": True}),
    "cut-after": passing("connection cut after the work", {"reset": True, "when": "after"}),
    "cut-all": outage("connection cut all the time", {"reset": True}),
    "cut-all-after": outage(
        "connection cut after the work, all the time", {"reset": True, "when": "after"}, submit=PASSES
    ),
    "slow-before": passing("slow answer, before the work", SLOW, tiny_timeout=True),
    "slow-after": passing(
        "slow answer, after the work",
        {"delay_seconds": 2 * TIMEOUT_SECONDS, "when": "after"},
        tiny_timeout=True,
    ),
    "trickle": passing("slow trickle", PIECES, json_at={"file": {**PIECES, "piece_bytes": 8}}, times=None),
    "cut-body": passing("body cut once", {"cut_at": 10}),
    "cut-body-all": outage(
        "body cut all the time", {"cut_at": 1}, json_at={"file": {"cut_at": 10}}, submit=PASSES, file=PASSES
    ),
    "longer": passing("body longer than announced", {"extra_bytes": 9}, times=None),
    # An unreadable answer.
    "html": unreadable("HTML with 200", {"body": "<html>", "headers": {"Content-Type": "text/html"}}),
    "bytes": unreadable("bytes that are no text, with 200", {"body_base64": BAD_BYTES}),
    "empty": unreadable("nothing, with 200", {"status": 200, "body": ""}),
    "null": unreadable("JSON null", {"body": "null"}),
    "shape": unreadable("JSON of another shape", {"body": {"unexpected": [True]}}, credits=PASSES),
    "deep": unreadable("JSON nested 20,000 deep", {"body": _deep()}),
    "encoding": unreadable("an encoding that it does not have", {"headers": {"Content-Encoding": "gzip"}}),
    "redirect": Fault(
        "redirect to another host",
        {"status": 307, "headers": {"Location": "http://localhost:9/elsewhere"}},
        FAILS,
        WELCOME | {"file": PASSES},
    ),
    # An answer with impossible values.
    "clock": passing(
        "a clock that is off",
        {"headers": {"Date": EPOCH}, "patch": {"created_at": OLD}},
        json_at={call: {"headers": {"Date": EPOCH}, "patch_items": {"created_at": OLD}} for call in LISTS},
        times=None,
    ),
    "numbers": passing(
        "numbers that can't be",
        {"patch": HUGE},
        only=("upload", "submit", "wait", "row", "file_url"),
        json_at={"row": {"patch_items": HUGE}},
        times=None,
    ),
    "404-moment": passing("404 for a moment after the submit", {"status": 404}, only=("wait",), times=3),
    "no-url": passing("complete without any URL", {"patch": NO_URL}, only=STATUS_POLLS, times=None),
    "early": Fault(
        "complete too early",
        {"patch": {"status": "complete", "progress": 1.0}},
        RETRIED,
        only=("wait",),
    ),
    "backwards": passing(
        "progress going back", {"patch": {"progress": 0.01, "eta_sec": 999}}, only=STATUS_POLLS, times=1
    ),
    "unknown": Fault(
        "unknown status", {"patch": {"status": "dreaming"}}, PASSES, {"file_url": RETRIED}, only=STATUS_POLLS
    ),
    "another": Fault(
        "the answer to another's question",
        {"patch": {"id": ANOTHER}},
        PASSES,
        {"file_url": RETRIED},
        only=STATUS_POLLS,
    ),
    "expired": passing("expired URL", {"status": 403, "body": EXPIRED}, only=("file",)),
    "expired-all": outage("every URL expired", {"status": 403, "body": EXPIRED}, only=("file",)),
    # The generation fails.
    "internal": Fault(
        "generation ends in INTERNAL",
        {"generation_error": {"type": "INTERNAL", "message": "no luck"}},
        RETRIED,
        only=("submit",),
        refunded=True,
    ),
    "likeness": Fault(
        "generation ends in MODERATION_LIKENESS",
        {
            "generation_error": {
                "type": "MODERATION_FAILED",
                "reason_code": "MODERATION_LIKENESS",
                "message": "a face",
            }
        },
        FAILS,
        only=("submit",),
        refunded=True,
    ),
}


@dataclass(frozen=True)
class Matrix:
    """
    Every fault at every call that can meet it, in the modes of the call.

    :param api: The version of Hedra's API.
    :param calls: The calls of a run, in their order.
    :param faults: What goes wrong at them.
    """

    api: int
    calls: Mapping[str, Call]
    faults: Mapping[str, Fault]

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """Return fault, call and mode of each cell."""
        for fault, about in self.faults.items():
            for name, call in self.calls.items():
                if about.meets(name):
                    for mode in call.modes:
                        yield fault, name, mode


V2 = Matrix(2, CALLS, FAULTS)
