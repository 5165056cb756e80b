"""API v3 answers any request with 2xx or 4xx, and what it accepted can be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hedra_provider.testing import Sandbox
from tests.sandbox.client_v3 import AVATAR, SPEECH, ClientV3
from tests.sandbox.test_any_request import any_request, fields, header_texts, json_values, text_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture(scope="module")
def any_v3() -> Iterator[ClientV3]:
    with Sandbox(media=False, idempotency="both") as sandbox:
        client = ClientV3(sandbox)
        yield client
        client.http.close()


def send(client: ClientV3, method: str, url: str, **options: Any) -> httpx.Response:
    answer = client.http.request(method, url, **options)
    assert answer.status_code < 500, (method, url, answer.text)
    assert "hedra-sandbox-" not in answer.text
    if answer.status_code >= 400:
        assert {"error", "trace_id"} <= answer.json().keys()
    return answer


def readable(client: ClientV3) -> None:
    """What was accepted can be read again, in every list."""
    for row in send(client, "GET", "/jobs").json()["data"]:
        assert send(client, "GET", f"/jobs/{row['job_id']}").status_code == 200
    for path in ("/webhooks/deliveries", "/webhooks/default", "/usage"):
        assert send(client, "GET", path).status_code == 200
    assert client.sandbox.ledger()["requests"]


@any_request
@given(body=json_values)
@example(body={"input": {"audio": {"source": {}}}})
def test_any_json_as_a_body(any_v3: ClientV3, body: Any) -> None:
    any_v3.sandbox.reset()
    for path in (f"/models/{AVATAR}", f"/models/{SPEECH}", f"/models/{SPEECH}/estimate"):
        send(any_v3, "POST", path, content=text_of(body))
    send(any_v3, "PUT", "/webhooks/default", content=text_of(body))
    readable(any_v3)


@any_request
@given(body=st.binary(max_size=60) | st.sampled_from([b"", b"[" * 100_000, b"\xff\xfe{}"]))
def test_any_bytes_as_a_body(any_v3: ClientV3, body: bytes) -> None:
    for path in (f"/models/{AVATAR}", "/files"):
        send(any_v3, "POST", path, content=body)
    send(any_v3, "POST", "/files", files={"file": ("x", body)})


AVATAR_FIELDS = {
    "prompt": "x", "aspect_ratio": "1:1", "resolution": "540p", "duration_ms": 600,
    "bounding_box_target": [0.5, 0.5],
}  # fmt: skip


@any_request
@given(
    job_input=fields(**AVATAR_FIELDS),
    media=fields(start_image={"source": "url", "url": "x"}, audio={"source": "asset", "asset_id": "x"}),
    keep=st.booleans(),
)
@example(job_input=AVATAR_FIELDS, media={"audio": [{"source": "url"}], "start_image": [[1]]}, keep=False)
def test_any_json_in_a_field_of_an_avatar(any_v3: ClientV3, job_input: Any, media: Any, keep: bool) -> None:
    any_v3.sandbox.reset()
    if keep:
        media = {}
        for field in ("start_image", "audio"):
            media[field] = {"source": "url", "url": any_v3.upload(b"x" * 20_000)}
    body = {"input": {**job_input, **media}}
    send(any_v3, "POST", f"/models/{AVATAR}", content=text_of(body))
    readable(any_v3)


@any_request
@given(body=st.data())
def test_any_json_in_a_field_of_a_speech(any_v3: ClientV3, body: Any) -> None:
    any_v3.sandbox.reset()
    valid = {"text": "hello", "voice_id": any_v3.voice(), "stability": 1, "speed": 1, "language": "auto"}
    around = body.draw(fields(webhook="https://receiver.invalid/", idempotency_key="a"))
    content = text_of({"input": body.draw(fields(**valid)), **around})
    for _ in range(2):
        send(any_v3, "POST", f"/models/{SPEECH}", content=content)
    readable(any_v3)


@any_request
@given(text=texts, header=header_texts)
@example(text="bGltaXQ6MQ==", header="1")
@example(text="0001-01-01T00:00:00+14:00", header="a")
@example(text="9999-12-31T23:59:59-14:00", header="a")
def test_any_text_in_a_path_a_query_or_a_header(any_v3: ClientV3, text: str, header: str) -> None:
    word = quote(text, safe="", errors="surrogatepass")
    for path in (f"/jobs/{word}", f"/jobs/{word}/status", f"/models/{word}", f"/models/{word}/jobs",
                 f"/{word}", f"/jobs?limit={word}", f"/jobs?cursor={word}", f"/usage?start={word}",
                 f"/usage?end={word}", f"/models?modality={word}"):  # fmt: skip
        send(any_v3, "GET", path)
    send(any_v3, "DELETE", f"/jobs/{word}")
    body = {"input": any_v3.speech_input()}
    send(
        any_v3, "POST", f"/models/{SPEECH}", json=body, headers={"Idempotency-Key": header.encode("latin-1")}
    )
    send(any_v3, "GET", "/balance", headers={"Authorization": header.encode("latin-1")})
    readable(any_v3)
