"""Answers as Hedra sends them, to be changed."""

from __future__ import annotations

from typing import Any

from tests.fuzz.flows import ID, JOB, KEY

SIGNED = "https://files.example/a.mp4?X-Amz-Signature=s&X-Amz-Expires=3600"

GENERATION = {
    "id": ID,
    "asset_id": ID,
    "type": "video",
    "status": "complete",
    "progress": 1.0,
    "eta_sec": 3,
    "created_at": "2026-08-01T00:00:00Z",
    "error": {"type": "INTERNAL", "message": "no luck", "violations": [{"field": "a", "message": "b"}]},
    "error_message": "no luck",
    "url": SIGNED,
    "download_url": SIGNED,
    "workspace_id": None,
    "credit_cost": 7,
    "input": {"type": "video", "model_slug": "together/hedra-avatar", "generated_video_inputs": {"seed": 1}},
    "asset": {"id": ID, "type": "video", "name": "a", "asset": {"url": SIGNED, "duration_ms": 1000}},
}
ASSET = {
    "id": ID,
    "type": "audio",
    "name": "a",
    "asset": {"type": "uploaded_audio", "url": SIGNED, "width": 3},
}
VOICE = {
    "id": ID,
    "type": "voice",
    "name": "a",
    "asset": {"labels": [{"name": "language", "value": "English"}]},
}
MODEL = {
    "id": ID,
    "slug": "together/hedra-avatar",
    "type": "video",
    "aspect_ratios": ["9:16"],
    "max_duration_ms": 600_000,
    "inputs": [{"mode": "a", "slots": [{"type": "audio", "max_file_size_bytes": 10}]}],
    "pricing": {"base_cost": 1, "credits_per_second": 3.0, "modifiers": {"resolution": {"540p": 0.5}}},
}
SPEECH = MODEL | {"type": "text_to_speech", "slug": "speech"}
POOL = {"used": 1, "allocated": 2, "available": 1}
OUTPUT = {"status": "COMPLETED", "asset_id": "a", "url": SIGNED, "content_type": "video/mp4", "width": 3,
          "duration_ms": 1000, "expires_at": "2026-11-29T12:00:00Z"}  # fmt: skip
V3_ERROR = {"code": "INVALID_ARGUMENT", "message": "no luck", "retryable": False, "retry_after": 3,
            "param": "input.a", "details": [{"field": "input.a", "message": "b", "reason": "expired",
            "allowed": ["c"]}], "replaced_by": "m",
            "billing": {"balance": 0.5, "required": 1, "currency": "USD", "funding_url": SIGNED}}  # fmt: skip
JOB_ANSWER = {"job_id": JOB, "model": "m", "status": "COMPLETED", "created_at": "2026-11-28T12:00:00Z",
              "progress": 0.5, "estimated_completion_at": "2026-11-28T12:00:00Z", "outputs": [OUTPUT],
              "error": V3_ERROR, "cost": 0.42, "currency": "USD"}  # fmt: skip
V3_ROWS = [JOB_ANSWER, {"id": "voice_1", "name": "a", "labels": {"language": "en"}, "preview_url": SIGNED}]
DOCUMENTS: list[Any] = [
    JOB_ANSWER,
    {"data": V3_ROWS, "next_cursor": "c"},
    {"balance": 12.5, "spent": None, "currency": "USD"},
    {"error": V3_ERROR, "trace_id": "ab12"},
    {"url": SIGNED, "content_type": "image/png", "expires_at": "2026-11-28T13:00:00Z"},
    GENERATION,
    {"data": [GENERATION, GENERATION], "page_info": {}},
    [ASSET],
    [VOICE],
    ASSET,
    {"id": ID, "upload_url": SIGNED},
    [MODEL, SPEECH],
    {"remaining": 10, "workspace_credit_pool": {"team": POOL}},
    {"detail": [{"type": "missing", "loc": ["body", "name"], "msg": "Field required"}]},
    {"detail": f"key {KEY} at {SIGNED}"},
    {"messages": ["one", {"message": "two"}]},
    {"error_code": "INSUFFICIENT_BALANCE", "credits_needed": 9, "credits_available": 1},
    {"error": {"type": "INTERNAL", "message": "no luck", "reason_code": "X", "param": "p"}},
]

STATUSES = (200, 201, 204, 206, 302, 304, 400, 401, 402, 404, 409, 416, 422, 429, 500, 503, 999)
HEADERS: tuple[tuple[tuple[bytes, bytes], ...], ...] = (
    (),
    ((b"Content-Encoding", b"gzip"),),
    ((b"Content-Encoding", b"deflate"),),
    ((b"Retry-After", b"Wed, 21 Oct 2026 07:28:10 GMT"), (b"Date", b"Wed, 21 Oct 2026 07:28:00 GMT")),
    ((b"Location", b"https://other.example/"),),
    ((b"Content-Range", b"bytes 5-9/10"), (b"ETag", b'"a"')),
    ((b"Content-Length", b"10"),),
    ((b"Content-Type", b"application/json; charset=hex"),),
)
SEPARATOR = b"\xff\x00\xff"
"""Between the answers of one input."""
