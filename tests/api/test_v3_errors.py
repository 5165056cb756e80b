"""The error envelope of v3: its facts are attributes of the error, and stand in its message."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hedra_provider.api import errors
from hedra_provider.api.error_bodies import error_from_response, generation_error

ID_PART, SECRET = "key-id-4711", "sekret-0815"
KEY = f"{ID_PART}:{SECRET}"
V3, V2 = "https://api.hedra.com/v3", "https://api.hedra.com/web-app/public"


def error_of(
    status: int, envelope: dict[str, Any] | None = None, *, base: str = V3, key: str = KEY, **headers: str
) -> errors.HedraAPIError:
    auth = {"Authorization": f"Key {key}"} if ":" in key else {"X-API-Key": key}
    request = httpx.Request("POST", f"{base}/models/hedra-avatar", headers=auth)
    body = {"error": envelope, "trace_id": "ab12"} if envelope else {}
    return error_from_response(httpx.Response(status, request=request, json=body, headers=headers))


def test_a_lack_of_funds_names_the_amounts_and_where_to_add_them():
    billing = {"balance": 0.42, "required": 1.5, "currency": "USD", "funding_url": "https://hedra.com/wallet"}
    error = error_of(402, {"code": "INSUFFICIENT_BALANCE", "message": "Too little.", "billing": billing})
    assert isinstance(error, errors.HedraInsufficientCreditsError)
    assert (error.billing, error.retryable) == (billing, False)
    assert str(error) == (
        "Hedra answered 402 to POST /v3/models/hedra-avatar: Too little. (balance: 0.42 USD, required: 1.5 "
        "USD). Add funds at https://hedra.com/wallet. (trace ab12)"
    )


def test_a_lack_of_funds_without_a_price():
    billing = {"balance": 0, "required": None, "funding_url": "https://hedra.com/wallet"}
    error = error_of(402, {"code": "INSUFFICIENT_BALANCE", "message": "No", "billing": billing})
    assert "(balance: 0 USD)" in str(error)


def test_a_retired_model_names_the_one_that_replaces_it():
    error = error_of(410, {"code": "GONE", "message": "Model x is retired.", "replaced_by": "hedra-avatar-2"})
    assert (error.replaced_by, error.retryable) == ("hedra-avatar-2", False)
    assert "Use model hedra-avatar-2" in str(error)


def test_every_bad_field_stands_in_the_message_with_what_is_allowed():
    details = [
        {"field": "input.resolution", "message": "is not one of them", "reason": "enum",
         "allowed": ["540p", "720p"]},
        {"field": "input.duration_ms", "message": "input.duration_ms: too short", "reason": "minimum"},
    ]  # fmt: skip
    error = error_of(
        400, {"code": "INVALID_ARGUMENT", "message": "2 fields are invalid.", "details": details}
    )
    assert error.details == tuple(details)
    assert error.param == "input.resolution"
    assert "input.resolution: is not one of them (allowed: 540p, 720p); input.duration_ms: too" in str(error)


@pytest.mark.parametrize(
    ("reason", "retryable", "remedy"),
    [("expired", True, "uploads the file again"), ("external_url_rejected", False, "Upload the file")],
)
def test_a_rejected_handle_has_its_own_remedy(reason: str, retryable: bool, remedy: str):
    details = [{"field": "input.audio", "message": "no", "reason": reason}]
    error = error_of(400, {"code": "INVALID_ARGUMENT", "message": "No.", "details": details})
    assert (error.reason_code, error.retryable) == (reason, retryable)
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("code", "stated", "retryable"),
    [("INTERNAL", False, True), ("GONE", True, False), ("NEW_CODE", True, True), ("NEW_CODE", False, False),
     ("NEW_CODE", None, False), ("CANCELLED", None, False)],
)  # fmt: skip
def test_the_code_decides_before_the_answers_own_word(code: str, stated: bool | None, retryable: bool):
    error = error_of(400, {"code": code, "message": "No", "retryable": stated})
    assert error.retryable is retryable


def test_the_header_says_when_to_retry_before_the_body():
    envelope = {"code": "RESOURCE_EXHAUSTED", "message": "slow down", "retry_after": 7}
    assert error_of(429, envelope).retry_after == 7
    assert error_of(429, envelope, **{"Retry-After": "9"}).retry_after == 9


def test_the_trace_id_of_the_header_is_used_where_the_body_has_none():
    assert error_of(503, **{"X-Trace-Id": "cd34"}).trace_id == "cd34"


@pytest.mark.parametrize(
    ("key", "base", "status", "said"),
    [
        (KEY, V2, 403, "v3 key (with a colon), but the request went to v2"),
        ("sk_hedra_123456", V3, 401, "v2 key (without a colon), but the request went to v3"),
    ],
)
def test_a_key_of_the_other_version_is_named(key: str, base: str, status: int, said: str):
    error = error_of(status, {"code": "PERMISSION_DENIED", "message": "moved"}, base=base, key=key)
    assert said in str(error)
    assert "api_version and host" in str(error)


@pytest.mark.parametrize(
    ("key", "base"), [(KEY, V3), ("sk_hedra_123456", V2), (KEY, "https://gateway.example/hedra")]
)
def test_a_key_of_the_right_version_is_not_blamed(key: str, base: str):
    assert "the request went to" not in str(error_of(401, base=base, key=key))


def test_neither_part_of_the_key_gets_into_the_error():
    said = f"{KEY} {ID_PART} {SECRET}"
    details = [{"field": said, "message": said, "reason": "enum", "allowed": [said]}]
    billing = {"balance": 1, "currency": said, "funding_url": f"https://h.example/{SECRET}"}
    envelope = {"code": "X", "message": said, "param": said, "details": details, "replaced_by": said,
                "billing": billing}  # fmt: skip
    error = error_of(400, envelope, **{"X-Trace-Id": said})
    shown = f"{error!s} {error!r} {vars(error)}"
    assert ID_PART not in shown
    assert SECRET not in shown


def test_a_failed_job_gets_its_class_and_remedy():
    job = "job_00000000-0000-0000-0000-000000000001"
    failed = {"code": "MODERATION_FAILED", "message": "rejected", "retryable": False}
    error = generation_error(job, failed, None)
    assert (error.code, error.retryable, error.generation_id) == ("MODERATION_FAILED", False, job)


@pytest.mark.parametrize("amount", [float("inf"), 10**400, True, "x", None, [1]])
def test_an_amount_that_is_none_is_left_out(amount: Any):
    billing = {"balance": amount, "currency": None}
    body = {"error": {"code": "INSUFFICIENT_BALANCE", "message": "No", "billing": billing}}
    from hedra_provider.api.error_bodies import read_error_body

    assert not isinstance((read_error_body(body).billing or {}).get("balance"), (int, float))
