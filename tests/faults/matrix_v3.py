"""The matrix with a v3 key: the calls of API v3, and the faults that differ there or decide what is paid.

What both versions share (how a client repeats, how a body is cut or read in pieces) is tried at every call of
v2 in ``matrix.py``; here one fault of each of those kinds is left.
"""

from __future__ import annotations

from typing import Any

from tests.faults.matrix import (
    EPOCH,
    EXPIRED,
    FAILS,
    PASSES,
    RETRIED,
    SLOW,
    SYNC,
    Call,
    Fault,
    Matrix,
    outage,
    passing,
    rejection,
    unreadable,
)

STATUS = "GET /v3/jobs/{id}/status"
JOB = "GET /v3/jobs/{id}"

CALLS: dict[str, Call] = {
    "model": Call("GET /models/{model}", "GET /v3/models/{model}", before_the_submit=True, modes=SYNC),
    "upload": Call("POST /files", "POST /v3/files", skip=1, before_the_submit=True, modes=SYNC),
    "submit": Call("POST /models/{model}", "POST /v3/models/{model}"),
    "wait": Call("GET /jobs/{id}/status", STATUS),
    "result": Call("GET /jobs/{id} (its result)", JOB),
    "file_url": Call("GET /jobs/{id} (where is the file?)", JOB, skip=1),
    "file": Call("GET /files/{id}", "GET /files/{id}"),
}


def envelope(code: str, **more: Any) -> dict[str, Any]:
    """Return the body of an error."""
    return {
        "error": {"code": code, "message": f"It is {code}.", "retryable": False, **more},
        "trace_id": "t1",
    }


BILLING = {"balance": 0.01, "required": 0.05, "currency": "USD", "funding_url": "https://hedra.example/fund"}
AFTER_THE_SUBMIT = ("wait", "result", "file_url", "file")
AGAIN = {"result": PASSES, "file_url": PASSES}
ANOTHER = "job_99999999-9999-4999-8999-999999999999"

FAULTS: dict[str, Fault] = {
    # The API rejects the request.
    "400": rejection("400", 400, envelope("INVALID_ARGUMENT", param="input")),
    "401": rejection("401", 401, envelope("UNAUTHENTICATED")),
    "402": rejection("402 with a funding_url", 402, envelope("INSUFFICIENT_BALANCE", billing=BILLING)),
    "403": rejection("403, HTML", 403, "<html>Forbidden</html>"),
    # About a job that was complete, it is retried.
    "404": rejection("404", 404, envelope("NOT_FOUND"), file_url=RETRIED),
    "410": rejection(
        "410 with replaced_by", 410, envelope("GONE", replaced_by="hedra-avatar-2"), file_url=RETRIED
    ),
    "409": Fault(
        "409 once",
        {"status": 409, "body": envelope("ALREADY_IN_PROGRESS", retry_after=1)},
        RETRIED,
        dict.fromkeys(("submit", *AFTER_THE_SUBMIT), PASSES),
    ),
    # The API is busy or down.
    "408": passing("408 once", {"status": 408, "body": ""}),
    "429": passing("429 once", {"status": 429, "body": envelope("RESOURCE_EXHAUSTED")}),
    "429-after": passing("429 once, Retry-After 20", {"status": 429, "headers": {"Retry-After": "20"}}),
    "429-all": outage("429 all the time", {"status": 429, "body": envelope("RESOURCE_EXHAUSTED")}),
    "500": passing("500 once, after the work", {"when": "after", "status": 500}),
    "500-all": outage("500 all the time", {"status": 500, "body": envelope("INTERNAL")}),
    "503": passing("503 once", {"status": 503, "body": envelope("UNAVAILABLE", retryable=True)}),
    # No answer, or a part of it.
    "cut-before": passing("connection cut before the work", {"reset": True}),
    "cut-after": passing("connection cut after the work", {"reset": True, "when": "after"}),
    "cut-all": outage("connection cut all the time", {"reset": True}),
    "cut-all-after": outage("connection cut after the work, all the time", {"reset": True, "when": "after"}),
    "slow-before": passing("slow answer, before the work", SLOW, tiny_timeout=True),
    "slow-after": passing("slow answer, after the work", {**SLOW, "when": "after"}, tiny_timeout=True),
    "cut-body": passing("body cut once", {"cut_at": 10}),
    # An unreadable answer.
    "html": unreadable(
        "HTML with 200", {"body": "<html>", "headers": {"Content-Type": "text/html"}}, **AGAIN
    ),
    "null": unreadable("JSON null", {"body": "null"}, **AGAIN),
    "shape": unreadable("JSON of another shape", {"body": {"unexpected": [True]}}, **AGAIN),
    "redirect": Fault(
        "redirect to another host",
        {"status": 307, "headers": {"Location": "http://localhost:9/elsewhere"}},
        FAILS,
        dict.fromkeys(("submit", "file_url", "file"), PASSES),
    ),
    # An answer with impossible values.
    "clock": passing(
        "a clock that is off",
        {"headers": {"Date": EPOCH}},
        only=("model", "submit", *AFTER_THE_SUBMIT),
        times=None,
    ),
    "404-moment": passing("404 for a moment after the submit", {"status": 404}, only=("wait",), times=3),
    "no-output": passing("complete without any output", {"patch": {"outputs": []}}, only=("result",)),
    "no-url": passing(
        "complete, its output without a URL",
        {"patch": {"outputs": [{"asset_id": "asset_1", "url": None}]}},
        only=("file_url",),
    ),
    "early": Fault("complete too early", {"patch": {"status": "COMPLETED"}}, PASSES, only=("wait",)),
    "backwards": passing("progress going back", {"patch": {"progress": 0.01}}, only=("wait",)),
    "unknown": passing("unknown status", {"patch": {"status": "DREAMING"}}, only=("wait", "result")),
    "another": passing("the answer to another's question", {"patch": {"job_id": ANOTHER}}, only=("wait",)),
    "expired": passing("expired URL", {"status": 403, "body": EXPIRED}, only=("file",)),
    "expired-all": outage("every URL expired", {"status": 403, "body": EXPIRED}, only=("file",)),
    # The job fails.
    "internal": Fault(
        "job ends in INTERNAL",
        {"generation_error": {"code": "INTERNAL", "message": "no luck"}},
        RETRIED,
        only=("submit",),
        refunded=True,
    ),
    "moderation": Fault(
        "job ends in MODERATION_FAILED",
        {"generation_error": {"code": "MODERATION_FAILED", "message": "a face", "retryable": False}},
        FAILS,
        only=("submit",),
        refunded=True,
    ),
}

V3 = Matrix(3, CALLS, FAULTS)
