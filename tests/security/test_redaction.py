"""Foreign text gets into a message without the key and signatures, and as one line."""

from __future__ import annotations

import base64
import json
import unicodedata
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hedra_provider.api.error_bodies import error_from_response, generation_error
from hedra_provider.api.redaction import MAX_MESSAGE_LENGTH, clean, cleaned, fit_cause, hide_key_in_bytes
from tests.security.leaks import leaks_in

KEY = "sk_hedra_8mQ2+vX/9tLz4=Rw7"
SECRET = "c4naryS1gnature0f4ll"

SIGNED_URLS = [
    f"https://b.s3.amazonaws.com/v.mp4?X-Amz-Credential=AKIA{SECRET}&X-Amz-Signature={SECRET}",
    f"HTTPS://storage.googleapis.com/b/v.mp4?X-Goog-Signature={SECRET}&x=1",
    f"https://d1.cloudfront.net/v.mp4?Expires=1&Signature={SECRET}~__&Key-Pair-Id=K1{SECRET}",
    f"https://a.blob.core.windows.net/c/v.mp4?sv=2024&sig={SECRET}%3D",
    f"https://user:{SECRET}@files.example/v.mp4",
    f"https://{SECRET}@files.example/v.mp4",
    f"s3://AKIA:{SECRET}@bucket/v.mp4",
    f"http://proxy-user:{SECRET}@proxy.example:3128",
    f"Max retries exceeded with url: /bucket/v.mp4?X-Amz-Signature={SECRET} (Caused by x)",
    f"URL('https://b.example/v.mp4?sig={SECRET}')",
    f'{{"url": "https:\\/\\/b.example\\/v.mp4?a=1\\u0026Signature={SECRET}"}}',
    f"next={quote('https://b.example/v?X-Amz-Signature=' + SECRET, safe='')}",
    f"next={quote(quote('https://b.example/v?sig=' + SECRET, safe=''), safe='')}",
    f"redirect={quote(f'https://u:{SECRET}@b.example/v', safe='')}",
    f"<Error><AWSAccessKeyId>{SECRET}</AWSAccessKeyId><SignatureProvided>{SECRET}</SignatureProvided></Error>",
    f"canonical: X-Amz-Date=1&X-Amz-Signature={SECRET}",
    f'{{"X-Amz-Signature": "{SECRET}"}}',
    f"{{'X-API-Key': '{SECRET}'}}",
    f"(https://b.example/v?sig={SECRET}),",
    f"\x1b[31mhttps://b.example/\x1b[0mv?sig={SECRET}",
]


@pytest.mark.parametrize("text", SIGNED_URLS)
def test_nothing_that_signs_is_left(text: str):
    assert SECRET in text
    assert SECRET not in clean(text)
    assert SECRET not in clean(f"It failed: {text}. See {text}")
    assert SECRET not in json.dumps(cleaned({"a": [{"b": text}], text: 1}))


def test_the_location_stays_visible():
    said = clean("GET https://u:p@b.example/videos/v.mp4?X-Amz-Signature=abc#t failed at 3?")
    assert said == "GET https://b.example/videos/v.mp4?... failed at 3?"
    assert clean("s3://my_conn@bucket/v.mp4") == "s3://my_conn@bucket/v.mp4"
    assert clean("Is 9:16 meant? Then say aspect_ratio=9:16.") == "Is 9:16 meant? Then say aspect_ratio=9:16."


def written(key: str) -> list[str]:
    """The forms in which the key may appear."""
    half = len(key) // 2
    return [
        key,
        f"'{key}'",
        f"({key}),",
        f"key={key}&x=1",
        f"X-API-Key: {key}\r\n",
        json.dumps({"headers": {"x-api-key": key}}),
        json.dumps(json.dumps({"k": key})),
        repr({"X-API-Key": key}),
        quote(key, safe=""),
        f"{key[:half]}\n{key[half:]}",
        f"{key[:half]}\r\n    {key[half:]}",
        f"{key[:half]}\\n{key[half:]}",
        "\n".join(key),
        key.replace("/", "\\/"),
        key.encode().hex(),
        base64.b64encode(key.encode()).decode(),
        base64.b64encode(f"u:{key}:p".encode()).decode(),
        base64.urlsafe_b64encode(f"Bearer {key}".encode()).decode(),
    ]


KEYS = st.text("abcXYZ0189_-+/=.", min_size=12, max_size=48).filter(lambda key: len(set(key)) > 4)
ODD = st.text(max_size=40)


@settings(deadline=None, max_examples=30)
@given(KEYS, ODD, ODD)
@example(KEY, "", "")
@example(KEY, "x" * (MAX_MESSAGE_LENGTH - 10), "")
def test_the_key_is_hidden_however_it_is_written(key: str, before: str, after: str):
    for form in written(key):
        said = clean(before + form + after, key=key)
        assert "".join(said.split()).find(key) < 0
        assert not leaks_in(said.encode("utf-8", "replace"), [key], "said") or key in before + after


def test_half_a_secret_at_the_end_of_what_is_read_is_not_left_over():
    for blanks in (MAX_MESSAGE_LENGTH - 10, 99_980, 99_990):
        assert KEY[:6] not in clean(" " * blanks + KEY, key=KEY)
        assert KEY[:6] not in clean("x" * blanks + KEY, key=KEY)
        assert SECRET[:4] not in clean(" " * blanks + f"https://u:{SECRET}@h/")


@settings(deadline=None, max_examples=30)
@given(KEYS, ODD, st.sampled_from([400, 401, 422, 500, 599]))
def test_no_error_of_an_answer_holds_the_key(key: str, noise: str, status: int):
    request = httpx.Request("POST", "https://api.hedra.com/web-app/public/assets", headers={"X-API-Key": key})
    for said in (noise + key, f"https://b.example/?sig={SECRET}&k={key}"):
        for body in (
            {"detail": said},
            {"detail": [{"loc": ["body", said], "msg": said}]},
            {"messages": [{"message": said}]},
            {"error": {"type": said, "message": said, "reason_code": said, "param": said}},
            {"error_code": said, "violations": [{"field": said, "message": said}]},
            said,
        ):
            error = error_from_response(httpx.Response(status, request=request, json=body))
            for text in (str(error), repr(error), repr(vars(error))):
                assert not leaks_in(text.encode("utf-8", "replace"), [key, SECRET], "error")
                assert len(text) < 10 * MAX_MESSAGE_LENGTH


@settings(deadline=None, max_examples=30)
@given(KEYS, KEYS, ODD, st.sampled_from([400, 402, 410, 429, 500]))
def test_no_error_of_v3_holds_a_part_of_the_key(key_id: str, secret: str, noise: str, status: int):
    key = f"{key_id}:{secret}"
    request = httpx.Request("POST", "https://api.hedra.com/v3/m", headers={"Authorization": f"Key {key}"})
    for said in (noise + key, f"{noise} {key_id}", f"{noise} {secret}", f"https://b.example/?sig={SECRET}"):
        field = {"field": said, "message": said, "reason": said, "allowed": [said]}
        billing = {"balance": 1, "currency": said, "funding_url": said}
        envelope = {"code": said, "message": said, "param": said, "details": [field], "billing": billing,
                    "replaced_by": said}  # fmt: skip
        body = {"error": envelope, "trace_id": said}
        error = error_from_response(httpx.Response(status, request=request, json=body))
        for text in (str(error), repr(error), repr(vars(error))):
            assert not leaks_in(text.encode("utf-8", "replace"), [key_id, secret, SECRET], "error")


def test_a_body_that_echoes_a_part_of_a_v3_key_is_read_without_it():
    key = "key-id-4711:sekret-0815"
    for part in (key, *key.split(":"), quote(key, safe="")):
        content = b'{"message": "' + part.encode() + b'"}'
        assert hide_key_in_bytes(content, key) == b'{"message": "***"}'


@pytest.mark.parametrize("text", SIGNED_URLS)
def test_no_error_of_a_generation_holds_a_signed_url(text: str):
    for error, message in (({"type": text, "message": text, "reason_code": text}, None), (None, text)):
        made = generation_error("an-id", error, message)
        assert SECRET not in repr(vars(made)) + str(made)


def test_a_body_that_echoes_the_key_is_read_without_it():
    for form in (KEY, quote(KEY, safe=""), KEY.replace("/", "\\/"), base64.b64encode(KEY.encode()).decode()):
        content = b'{"error_message": "' + form.encode() + b'"}'
        assert form.encode() not in hide_key_in_bytes(content, KEY)
    # A test's key of a letter or two must not tear answers apart.
    assert hide_key_in_bytes(b'{"key": 1}', "k") == b'{"key": 1}'


LOG_INJECTIONS = [
    "one\n[2026-01-01] INFO - Task succeeded",
    "one\r\ntwo",
    "\x1b[2K\x1b[1A\x1b]0;title\x07gone",
    "nul\x00 bell\x07 del\x7f c1\x9b31m",
    "line\u2028separator\u2029paragraph\x85next\x0b\x0c",
    "\u202egnp.exe\u2066",
    "\ud800\udc80",
]


@given(st.text(st.characters(), max_size=2000) | st.sampled_from(LOG_INJECTIONS))
def test_a_message_is_one_bounded_line_that_any_log_and_database_takes(text: str):
    said = clean(text)
    assert len(said) <= MAX_MESSAGE_LENGTH
    assert len(said.splitlines()) <= 1
    assert not [c for c in said if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert "\u202e" not in said
    said.encode()
    assert clean(said) == said


def test_words_of_the_api_stay_as_they_are():
    for text in ("Grüße 🚀 👩‍👩‍👧 שלום", "No asset a1; try again (50 %).", "aspect_ratio: 9:16 or 16:9?"):
        assert clean(text) == text


@pytest.mark.parametrize(
    "pattern", ["http://", "https://u:", "?", "%3F", "sig=", "x-amz-", "://@", "\x1b[", "a "]
)
def test_cleaning_takes_no_time_even_where_it_is_meant_to(pattern: str):
    import time

    began = time.process_time()
    clean(pattern * (1_000_000 // len(pattern)), key=KEY)
    # Quadratic, it would be minutes.
    assert time.process_time() - began < 5


def test_a_cause_whose_words_hold_a_secret_is_not_named():
    assert fit_cause(OSError("[Errno 111] Connection refused")) is not None
    assert fit_cause(OSError(f"url='https://b.example/v?sig={SECRET}'")) is None
    outer = RuntimeError("outer")
    outer.__cause__ = OSError(f"https://u:{SECRET}@b.example/")
    assert fit_cause(outer) is None
