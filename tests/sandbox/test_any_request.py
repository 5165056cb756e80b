"""The sandbox answers any request with 2xx or 4xx. It answers 5xx only by a fault."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hedra_provider.testing import Sandbox
from tests.media import png, wav
from tests.sandbox.conftest import AVATAR, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

# The client outlives an example; each example starts with a reset.
any_request = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# Text that is JSON but no UTF-8: a half of a surrogate pair.
texts = st.text(st.characters(), max_size=20) | st.sampled_from(["\ud800", "\0", "nan", "x" * 3000, ""])
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([math.nan, math.inf, -math.inf, 2**63, -(2**63), 10**400, 1e308, 0, -1])
)
scalars = st.none() | st.booleans() | numbers | texts | st.uuids().map(str)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
) | st.sampled_from([nested(150), nested(900), nested(5000)])
# What a header may hold: h11 sends nothing else, and no white space at the ends.
header_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30
).map(str.strip)


@pytest.fixture(scope="module")
def hedra() -> Iterator[Client]:
    # Files are placeholders: what can be made is tested in test_recordings.py and test_pictures.py.
    with Sandbox(media=False) as sandbox:
        client = Client(sandbox)
        yield client
        client.http.close()


def text_of(value: Any) -> bytes:
    """JSON as Python writes it, with NaN and halves of surrogate pairs; by hand if it nests too deeply."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000 + b"1" + b"]" * 5000


def send(hedra: Client, method: str, url: str, body: Any = None, **options: Any) -> Any:
    """Send a request, and check that the answer is no 5xx and shows no path of the sandbox."""
    if body is not None:
        options |= {"content": text_of(body)}
    answer = hedra.http.request(method, url, **options)
    assert answer.status_code < 500, (method, url, answer.text)
    assert "hedra-sandbox-" not in answer.text
    return answer


def back_door(hedra: Client, name: str) -> str:
    return hedra.sandbox.base_url.replace("/web-app/public", f"/_sandbox/{name}")


def fresh(hedra: Client) -> Client:
    hedra.sandbox.reset()
    return hedra


def readable(hedra: Client) -> None:
    """What was accepted can be read again, in every list."""
    for kind in ("image", "audio", "video"):
        assert send(hedra, "GET", "/assets", params={"type": kind}).status_code == 200
    page = send(hedra, "GET", "/generations")
    for row in page.json()["data"]:
        assert send(hedra, "GET", f"/generations/{row['id']}/status").status_code == 200
    assert hedra.sandbox.ledger()["requests"]


def fields(**valid: Any) -> st.SearchStrategy[Any]:
    """A valid object with some of its fields replaced by any JSON, or left out."""
    replaced = st.fixed_dictionaries({}, optional=dict.fromkeys(valid, json_values))
    removed = st.sets(st.sampled_from(sorted(valid)), max_size=1)
    return st.builds(
        lambda new, gone: {k: v for k, v in (valid | new).items() if k not in gone}, replaced, removed
    )


@pytest.mark.parametrize("path", ["/assets", "/generations"])
@any_request
@given(body=json_values)
@example(body={"type": {}})
@example(body={"type": []})
def test_any_json_as_a_body(hedra: Client, path: str, body: Any) -> None:
    send(fresh(hedra), "POST", path, body)
    readable(hedra)


@any_request
@given(body=st.binary(max_size=60) | st.sampled_from([b"", b"[" * 100_000, b"1" * 10_000, b"\xff\xfe{}"]))
def test_any_bytes_as_a_body(hedra: Client, body: bytes) -> None:
    for path in ("/assets", "/generations", back_door(hedra, "faults"), back_door(hedra, "clock")):
        send(hedra, "POST", path, content=body)


@any_request
@given(
    body=fields(
        name="x", type="audio", workspace_id=None, reserved_asset_id="7b7c0d2e-3c0f-4f0e-8b1a-0123456789ab"
    )
)
def test_any_json_in_a_field_of_an_asset(hedra: Client, body: Any) -> None:
    send(fresh(hedra), "POST", "/assets", body)
    readable(hedra)


inputs = fields(
    text_prompt="x", aspect_ratio="9:16", resolution="540p", duration_ms=1000, seed=1, model_slug=AVATAR
)
generation_fields = fields(
    type="video", model_slug=AVATAR, ai_model_id=None, start_keyframe_url=None, audio_start_ms=0,
    batch_size=1, generation_id="7b7c0d2e-3c0f-4f0e-8b1a-0123456789ab", generation_ids=None,
    reserved_asset_id=None, reserved_asset_ids=None, workspace_id=None, name="x", audio_generation=None,
)  # fmt: skip


@any_request
@given(body=generation_fields, inputs=inputs, given_ids=st.booleans(), stray=json_values)
@example(
    body={"audio_start_ms": -(10**15)}, inputs={"text_prompt": "", "duration_ms": 9}, given_ids=True, stray=1
)
def test_any_json_in_a_field_of_a_generation(
    hedra: Client, body: Any, inputs: Any, given_ids: bool, stray: Any
) -> None:
    fresh(hedra)
    image, audio = hedra.asset("image", png()), hedra.asset("audio", wav(1.0))
    ids = {"start_keyframe_id": image, "audio_id": audio} if given_ids else {"start_keyframe_id": stray}
    send(hedra, "POST", "/generations", {**body, **ids, "generated_video_inputs": inputs, "stray": stray})
    readable(hedra)


@any_request
@given(
    body=fields(
        type="text_to_speech", voice_id="9d4bef6e-2c68-58d1-bf3e-e39aeec09115", text="Hello", speed=1.0,
        stability=1.0, language="auto", model_slug=None, model_id=None,
    ),
    inline=st.booleans(),
)  # fmt: skip
def test_any_json_in_a_field_of_speech(hedra: Client, body: Any, inline: bool) -> None:
    fresh(hedra)
    if inline:
        request = {"type": "video", "model_slug": AVATAR, "start_keyframe_id": hedra.asset("image", png())}
        body = {**request, "generated_video_inputs": {"text_prompt": "x"}, "audio_generation": body}
    send(hedra, "POST", "/generations", body)
    readable(hedra)


RANGES = ("bytes=0-", "bytes=5-2", "bytes=-1,0-9,3-4", "bytes=a-b", "bytes=" + "0-1," * 500)
parameters = ("ids", "type", "types", "created_after", "created_before", "prompt_query", "limit", "offset")
query_values = st.text(st.characters(codec="utf-8"), max_size=50) | numbers.map(lambda n: str(n)[:50])


@any_request
@given(
    path=st.sampled_from(["/generations", "/assets", "/models", "/voices", "/billing/credits"]),
    query=st.dictionaries(st.sampled_from(parameters), query_values, max_size=4),
)
def test_any_query(hedra: Client, path: str, query: dict[str, str]) -> None:
    send(hedra, "GET", path, params=query)


@any_request
@given(
    asset_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]),
)
def test_any_id_in_a_path(hedra: Client, asset_id: str, method: str) -> None:
    part = quote(asset_id, safe="")
    for path in (f"/generations/{part}/status", f"/assets/{part}/upload"):
        send(hedra, method, path)
    for path in (f"/files/{part}", f"/uploads/{part}?X-Amz-Signature={part}"):
        send(hedra, method, hedra.sandbox.files_url + path)


@any_request
@given(
    name=header_texts, filename=header_texts, content_type=header_texts, data=st.binary(max_size=40),
    boundary=header_texts, honest=st.booleans(),
)  # fmt: skip
@example(name="file", filename="http://[", content_type="", data=b"x", boundary="b", honest=True)
@example(name="file", filename="x", content_type="a/b\x85", data=b"x", boundary="b", honest=True)
def test_any_multipart_body(
    hedra: Client, name: str, filename: str, content_type: str, data: bytes, boundary: str, honest: bool
) -> None:
    fresh(hedra)
    asset = hedra.post("/assets", json={"name": "x", "type": "audio"}).json()["id"]
    if honest:
        boundary, name = "b", "file"
    disposition = f'form-data; name="{name}"; filename="{filename}"'
    head = f"Content-Disposition: {disposition}\r\nContent-Type: {content_type}"
    body = (
        f"--{boundary}\r\n{head}\r\n\r\n".encode("latin-1")
        + data
        + f"\r\n--{boundary}--\r\n".encode("latin-1")
    )
    headers = [(b"content-type", f"multipart/form-data; boundary={boundary}".encode("latin-1"))]
    send(hedra, "POST", f"/assets/{asset}/upload", content=body, headers=headers)
    for row in hedra.get("/assets", params={"type": "audio"}).json():
        assert send(hedra, "GET", row["asset"]["url"]).status_code == 200


@any_request
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["Range", "If-Range", "If-Match", "If-None-Match", "Accept", "Content-Type", "Host", "Origin",
             "User-Agent", "Accept-Encoding", "Cookie", "X-API-Key"]
        ),
        header_texts | st.sampled_from(RANGES),
        max_size=4,
    )
)  # fmt: skip
def test_any_header(hedra: Client, headers: dict[str, str]) -> None:
    fresh(hedra)
    asset = hedra.asset("audio", wav(1.0))
    url = hedra.get("/assets", params={"type": "audio", "ids": asset}).json()[0]["asset"]["url"]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for method, target in (("GET", "/models"), ("POST", "/assets"), ("GET", url), ("HEAD", url)):
        send(hedra, method, target, headers=raw)


@any_request
@given(
    body=fields(name="x", type="video", reserved_asset_id=None),
    content_type=header_texts,
    data=st.binary(max_size=30),
)
def test_any_upload_of_a_video(hedra: Client, body: Any, content_type: str, data: bytes) -> None:
    created = send(fresh(hedra), "POST", "/assets", body)
    url = created.json().get("upload_url") if created.status_code == 200 else None
    if url:
        headers = [(b"content-type", content_type.encode("latin-1"))]
        send(hedra, "PUT", url, content=data, headers=headers)
        readable(hedra)


fault_fields = fields(
    on="GET /voices", skip=0, times=1, when="before", status=418, headers={"X-A": "b"}, body={"a": 1},
    body_base64=None, reset=False, delay_seconds=0, cut_at=None, extra_bytes=0, piece_bytes=None,
    piece_seconds=0.01, patch=None, patch_items=None, generation_error=None, generation_status=None,
)  # fmt: skip


@any_request
@given(fault=fault_fields, seconds=json_values, key=json_values, whole=json_values)
@example(fault={"on": "*"}, seconds=1e308, key="k", whole={})
@example(fault={"on": {}}, seconds=math.nan, key=1, whole=[])
def test_any_json_at_the_back_door(hedra: Client, fault: Any, seconds: Any, key: Any, whole: Any) -> None:
    fresh(hedra)
    for name, body in (("faults", [fault]), ("faults", whole), ("faults", [])):
        send(hedra, "PUT", back_door(hedra, name), body)
    for name, method, body in (
        ("clock", "POST", {"advance_seconds": seconds}), ("clock", "POST", whole),
        ("key", "PUT", {"api_key": key}), ("key", "PUT", whole), ("reset", "POST", whole),
    ):  # fmt: skip
        send(hedra, method, back_door(hedra, name), body)
    readable(fresh(hedra))


@any_request
@given(headers=st.dictionaries(header_texts, texts, max_size=2), status=st.integers(200, 599))
def test_a_fault_that_was_accepted_can_be_sent(hedra: Client, headers: dict[str, str], status: int) -> None:
    fresh(hedra)
    fault = {"on": "GET /voices", "status": status, "headers": headers, "body": ""}
    if send(hedra, "PUT", back_door(hedra, "faults"), [fault]).status_code == 200:
        assert hedra.get("/voices").status_code == status


def test_a_poll_works_wherever_the_clock_is(hedra: Client) -> None:
    fresh(hedra)
    asset, request = str(uuid4()), {"type": "text_to_speech", "text": "x"}
    request["voice_id"] = hedra.get("/voices").json()[0]["id"]
    hedra.submit({**request, "reserved_asset_id": asset})
    for seconds in (-1.5e9, 1e11, 8e10):
        hedra.sandbox.advance(seconds)
        readable(hedra)
    with pytest.raises(ValueError, match="1971 to 7990"):
        hedra.sandbox.advance(1e12)
