"""Every body shape that was seen of Hedra becomes the right error, and no secret gets into it."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api import errors
from hedra_provider.api.error_bodies import error_from_response, generation_error, read_error_body
from hedra_provider.api.redaction import MAX_MESSAGE_LENGTH, clean

REQUEST = httpx.Request(
    "POST", "https://api.hedra.com/web-app/public/assets", headers={"X-API-Key": "sekret-1"}
)


def error_of(
    status: int, body: object = None, *, content: bytes | None = None, **headers: str
) -> errors.HedraAPIError:
    answer = {"json": body} if content is None else {"content": content}
    return error_from_response(httpx.Response(status, request=REQUEST, headers=headers, **answer))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Not enough"}, "Not enough"),
        (
            {"detail": [{"type": "missing", "loc": ["body", "name"], "msg": "Field required"}]},
            "name: Field required",
        ),
        ({"messages": ["one", "two"]}, "one; two"),
        ({"messages": [{"message": "deep"}]}, "deep"),
        ({"error": {"type": "INTERNAL", "message": "it broke"}}, "it broke"),
        ({"error": "plain"}, "plain"),
        ({"detail": {"message": "nested"}}, "nested"),
        ({"message": "top"}, "top"),
        ("just text", "just text"),
        ({}, "Bad Request"),
        ([], "Bad Request"),
        (None, "Bad Request"),
    ],
)
def test_the_apis_own_words_are_kept(body: object, said: str):
    assert said in str(error_of(400, body))


def test_every_bad_field_is_there():
    body = {
        "detail": [
            {"type": "missing", "loc": ["body", "name"], "msg": "Field required"},
            {"type": "enum", "loc": ["body", "type"], "msg": "Bad type"},
        ]
    }
    error = error_of(422, body)
    assert error.param == "name"
    assert [violation["field"] for violation in error.violations] == ["name", "type"]


def test_a_lack_of_credits_says_how_many():
    error = error_of(
        402, {"error_code": "INSUFFICIENT_BALANCE", "credits_needed": 30, "credits_available": 4}
    )
    assert isinstance(error, errors.HedraInsufficientCreditsError)
    assert (error.credits_needed, error.credits_available, error.code) == (30, 4, "INSUFFICIENT_BALANCE")
    assert "needed: 30, available: 4" in str(error)
    assert "workspace_id" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, errors.HedraBadRequestError, False),
        (401, errors.HedraAuthenticationError, False),
        (402, errors.HedraInsufficientCreditsError, False),
        (403, errors.HedraPermissionError, False),
        (404, errors.HedraNotFoundError, False),
        (409, errors.HedraConflictError, True),
        (413, errors.HedraBadRequestError, False),
        (422, errors.HedraBadRequestError, False),
        (429, errors.HedraRateLimitError, True),
        (500, errors.HedraServerError, True),
        (503, errors.HedraServerError, True),
        (599, errors.HedraServerError, True),
    ],
)
def test_the_status_decides_where_no_code_does(status: int, kind: type, retryable: bool):
    error = error_of(status, {"detail": "x"})
    assert type(error) is kind
    assert error.retryable is retryable


def test_a_code_outweighs_the_status_and_a_reason_the_code():
    assert not error_of(500, {"error": {"type": "INVALID_ARGUMENT", "message": "x"}}).retryable
    assert error_of(400, {"error": {"type": "UNAVAILABLE", "message": "x"}}).retryable
    transient = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_OUTPUT_TRANSIENT", "message": "x"}
    assert generation_error("g", transient, None).retryable
    likeness = generation_error("g", transient | {"reason_code": "MODERATION_LIKENESS"}, None)
    assert not likeness.retryable
    assert "not the prompt" in str(likeness)
    unknown = generation_error("g", transient | {"reason_code": "MODERATION_NEW"}, None)
    assert not unknown.retryable


@pytest.mark.parametrize("error", [None, {}, "sad", {"message": "sad"}, 7, []])
def test_a_generation_error_survives_any_shape(error: object):
    made = generation_error("an-id", error, "sad")
    assert "an-id" in str(made)
    assert made.generation_id == "an-id"


def test_neither_the_key_nor_a_signature_gets_into_a_message():
    words = "key sekret-1 at https://bucket.example/video.mp4?X-Amz-Signature=abc&x=1 failed"
    said = str(error_of(400, {"detail": words}))
    assert "sekret-1" not in said
    assert "X-Amz" not in said
    assert "https://bucket.example/video.mp4?..." in said


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("nan", None), ("soon", None), ("1e9", 86400.0)],
)
def test_retry_after_reads_as_seconds(value: str, seconds: float | None):
    assert error_of(429, {}, **{"Retry-After": value}).retry_after == seconds


def test_retry_after_reads_as_a_date_by_the_servers_own_clock():
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:10 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert error_of(429, {}, **headers).retry_after == 10.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["detail", "error", "messages", "message", "type", "loc", "msg", "violations", "field"]
            )
            | st.text(max_size=5),
            children,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_can_be_read(body: object):
    read_error_body(body)
    assert isinstance(generation_error("g", body, None), errors.HedraGenerationError)


@given(st.binary(max_size=300), st.integers(min_value=400, max_value=599))
def test_any_bytes_can_be_read(content: bytes, status: int):
    assert error_of(status, content=content).status_code == status


@given(st.text(max_size=3000))
def test_messages_are_one_bounded_line(text: str):
    line = clean(text)
    assert len(line) <= MAX_MESSAGE_LENGTH
    assert len(line.splitlines()) <= 1


def test_the_status_stands_in_the_message_once_whatever_a_file_is_called():
    named = errors.HedraError("image: Hedra rejected 'photo-413.png': too large.", status_code=413)
    assert str(named).endswith("(HTTP 413)")
    for said in ("Hedra answered 413 to POST /assets.", "The storage rejected it (413)."):
        assert str(errors.HedraError(said, status_code=413)) == said
