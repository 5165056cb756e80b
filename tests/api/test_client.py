"""Both drivers: what they send, what they repeat, and where the key goes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import httpx
import pytest

from hedra_provider import __version__
from hedra_provider.api import calls
from hedra_provider.api.client import DEFAULT_TIMEOUT, AsyncHedraClient, HedraClient
from hedra_provider.api.errors import (
    HedraProtocolError,
    HedraRateLimitError,
    HedraServerError,
    HedraTransportError,
)
from hedra_provider.api.sized_file import SizedFile

if TYPE_CHECKING:
    from tests.api.conftest import Driver

CREDITS = {"remaining": 5, "expiring": 0, "used": 1}


def answers(*responses: httpx.Response | Exception | int):
    left = list(responses)

    def handler(request: httpx.Request) -> httpx.Response:
        response = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response) if isinstance(response, int) else response

    return handler


def test_a_call_sends_key_and_agent_and_reads_the_answer(driver: Driver):
    credits = driver.run(calls.get_credits(), answers(httpx.Response(200, json=CREDITS)))
    assert credits.remaining == 5
    (request,) = driver.requests
    assert str(request.url) == "https://api.hedra.com/web-app/public/billing/credits"
    assert request.headers["X-API-Key"] == "the-key"
    assert request.headers["User-Agent"].startswith(f"airflow-provider-hedra/{__version__}")


def test_a_base_url_with_a_path_keeps_it(driver: Driver):
    driver.run(
        calls.list_models(["video", "image"]),
        answers(httpx.Response(200, json=[])),
        base_url="http://127.0.0.1:9/web-app/public/",
    )
    assert str(driver.requests[0].url) == "http://127.0.0.1:9/web-app/public/models?types=video&types=image"


@pytest.mark.parametrize(
    "trouble",
    [503, 429, httpx.ReadTimeout("slow"), httpx.ConnectError("no route")],
    ids=["503", "429", "read-timeout", "connect-error"],
)
def test_what_is_safe_to_repeat_is_repeated_with_growing_random_pauses(driver: Driver, trouble):
    credits = driver.run(
        calls.get_credits(), answers(trouble, trouble, trouble, httpx.Response(200, json=CREDITS))
    )
    assert credits.remaining == 5
    assert len(driver.requests) == 4
    assert len(driver.pauses) == 3
    assert all(0 <= pause <= 0.5 * 2**n for n, pause in enumerate(driver.pauses))


def test_retry_after_is_honoured(driver: Driver):
    limited = httpx.Response(429, headers={"Retry-After": "7"})
    driver.run(calls.get_credits(), answers(limited, httpx.Response(200, json=CREDITS)))
    assert driver.pauses[0] >= 7


def test_repeating_is_bounded_in_attempts(driver: Driver):
    with pytest.raises(HedraServerError) as raised:
        driver.run(calls.get_credits(), answers(502))
    assert len(driver.requests) == 5
    assert raised.value.retryable


def test_repeating_is_bounded_in_time(driver: Driver):
    limited = httpx.Response(429, headers={"Retry-After": "3600"})
    with pytest.raises(HedraRateLimitError) as raised:
        driver.run(calls.get_credits(), answers(limited))
    assert len(driver.requests) == 1
    assert driver.pauses == []
    assert raised.value.retry_after == 3600


def test_no_answer_is_an_error_of_ours(driver: Driver):
    with pytest.raises(HedraTransportError, match="No answer to GET /billing/credits") as raised:
        driver.run(calls.get_credits(), answers(httpx.ReadTimeout("")))
    assert raised.value.retryable
    assert raised.value.request_sent


def test_the_words_of_an_error_that_end_in_a_full_stop_get_no_second_one(driver: Driver):
    """httpx says "Server disconnected without sending a response."."""
    gone = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    with pytest.raises(HedraTransportError) as raised:
        driver.run(calls.get_credits(), answers(gone))
    assert ".." not in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_submit_is_never_repeated_by_the_client(driver: Driver, status: int):
    with pytest.raises((HedraServerError, HedraRateLimitError)):
        driver.run(calls.submit({"type": "video"}), answers(httpx.Response(status)))
    assert len(driver.requests) == 1


def test_a_rejected_request_is_not_repeated(driver: Driver):
    with pytest.raises(calls.HedraNotFoundError):
        driver.run(calls.list_models(), answers(httpx.Response(404)))
    assert len(driver.requests) == 1


def test_a_redirect_takes_the_key_nowhere(driver: Driver):
    away = httpx.Response(307, headers={"Location": "https://elsewhere.example/credits"})
    with pytest.raises(HedraProtocolError, match="redirected") as raised:
        driver.run(calls.get_credits(), answers(away))
    assert [request.url.host for request in driver.requests] == ["api.hedra.com"]
    assert not raised.value.retryable


@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"a":', b"[" * 100_000, b'"text"', b"\xff\xfe"])
def test_an_answer_that_is_none_is_an_error_of_ours(driver: Driver, body: bytes):
    with pytest.raises(HedraProtocolError, match="not what the API documents"):
        driver.run(calls.get_status("an-id"), answers(httpx.Response(200, content=body)))


def test_an_answer_that_cannot_be_decoded_is_an_error_of_ours(driver: Driver):
    garbled = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))
    with pytest.raises(HedraProtocolError):
        driver.run(calls.get_credits(), answers(garbled))


def test_an_unknown_generation_reads_as_none(driver: Driver):
    assert driver.run(calls.get_status("an-id"), answers(httpx.Response(404))) is None


def test_what_was_not_asked_for_is_dropped(driver: Driver):
    rows = {"data": [{"id": "a"}, {"id": "b"}], "page_info": {}}
    found = driver.run(calls.list_generations(["b"]), answers(httpx.Response(200, json=rows)))
    assert [row.id for row in found] == ["b"]


def test_only_the_api_gets_the_key():
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        return httpx.Response(200, json={"id": "an-id"})

    with HedraClient("the-key", transport=httpx.MockTransport(handler)) as client:
        file = SizedFile(io.BytesIO(b"12345"), 5, "a.mp4", "video/mp4")
        client.run(calls.put_file("https://storage.example/put?sig=1", file))
        client.run(calls.upload_file("an-id", file))
    put, upload = seen
    assert "X-API-Key" not in put.headers
    assert put.headers["Content-Length"] == "5"
    assert put.content == b"12345"
    assert upload.headers["X-API-Key"] == "the-key"
    assert upload.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="a.mp4"' in upload.content


async def test_a_file_is_not_sent_from_an_event_loop():
    file = SizedFile(io.BytesIO(b"1"), 1, "a.wav")
    async with AsyncHedraClient("the-key") as client:
        with pytest.raises(TypeError, match="in a worker"):
            await client.run(calls.upload_file("an-id", file))


def test_time_outs_are_bounded():
    with HedraClient("k") as client:
        assert client.http.timeout == DEFAULT_TIMEOUT
        assert None not in (DEFAULT_TIMEOUT.connect, DEFAULT_TIMEOUT.read, DEFAULT_TIMEOUT.write)
    with HedraClient("k", timeout=3.0) as client:
        assert client.http.timeout == httpx.Timeout(3.0)
