"""Transfers over real HTTP: constant memory, resumed, verified, and never with the key."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.api import calls
from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraNotFoundError, HedraTransferError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.transfer.download import asset_file, download, generation_file
from hedra_provider.transfer.upload import digest, store_asset
from tests.media import png, wav

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hedra_provider.testing import Sandbox

SOUND = wav(20.0)
RESERVED = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def client(hedra_sandbox: Sandbox) -> Iterator[HedraClient]:
    pauses: list[float] = []
    with HedraClient(hedra_sandbox.api_key, base_url=hedra_sandbox.base_url, sleep=pauses.append) as made:
        yield made


def sized(content: bytes, name: str) -> SizedFile:
    return SizedFile(io.BytesIO(content), len(content), name)


@pytest.fixture
def sound(client: HedraClient) -> str:
    return client.run(store_asset(sized(SOUND, "a.wav"), "audio")).asset_id


def fetch(client: HedraClient, asset_id: str) -> bytes:
    file = io.BytesIO()
    size = download(client, lambda: client.run(asset_file(asset_id, "audio")).url, file)
    assert size == len(file.getvalue())
    return file.getvalue()


def test_there_and_back(client: HedraClient, sound: str, hedra_sandbox: Sandbox):
    assert fetch(client, sound) == SOUND
    (row,) = hedra_sandbox.requests("GET", "/files/{id}")
    assert row["has_key"] is False


@pytest.mark.parametrize("cut", [0, 1, 1000, len(SOUND) // 2 - 1])
def test_a_download_resumes_where_it_was_cut(
    client: HedraClient, sound: str, hedra_sandbox: Sandbox, cut: int
):
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": 2, "cut_at": cut})
    assert fetch(client, sound) == SOUND
    statuses = [row["status"] for row in hedra_sandbox.requests("GET", "/files/{id}")]
    assert statuses == ([200, 200, 200] if cut == 0 else [200, 206, 206])


def test_an_expired_url_is_asked_for_again(client: HedraClient, sound: str, hedra_sandbox: Sandbox):
    old = client.run(asset_file(sound, "audio")).url
    hedra_sandbox.advance(7200)
    urls = iter([old])
    file = io.BytesIO()
    download(client, lambda: next(urls, None) or client.run(asset_file(sound, "audio")).url, file)
    assert file.getvalue() == SOUND
    assert [row["status"] for row in hedra_sandbox.requests("GET", "/files/{id}")] == [403, 200]


def test_a_download_that_gets_nowhere_ends(client: HedraClient, sound: str, hedra_sandbox: Sandbox):
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": 99, "when": "before", "status": 500})
    with pytest.raises(HedraTransferError, match="stopped at byte 0") as raised:
        fetch(client, sound)
    assert raised.value.retryable
    assert len(hedra_sandbox.requests("GET", "/files/{id}")) == 5


def fake(handler: Any) -> HedraClient:
    return HedraClient("k", transport=httpx.MockTransport(handler), sleep=lambda seconds: None)


def test_a_server_without_ranges_starts_again():
    answers = iter(
        [
            httpx.Response(200, headers={"Content-Length": "10"}, stream=httpx.ByteStream(b"01234")),
            httpx.Response(200, headers={"Content-Length": "10"}, stream=httpx.ByteStream(b"0123456789")),
        ]
    )
    file = io.BytesIO()
    with fake(lambda request: next(answers)) as client:
        assert download(client, lambda: "https://files.example/a", file) == 10
    assert file.getvalue() == b"0123456789"


def test_a_file_that_changed_meanwhile_starts_again():
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        if len(seen) == 1:
            headers = {"Content-Length": "10", "ETag": '"one"'}
            return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"old"))
        headers = {"Content-Length": "11", "ETag": '"two"'}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"new content"))

    file = io.BytesIO()
    with fake(handler) as client:
        download(client, lambda: "https://files.example/a", file)
    assert file.getvalue() == b"new content"
    assert (seen[1]["Range"], seen[1]["If-Range"]) == ("bytes=3-", '"one"')


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data:,x", "/relative"])
def test_only_http_is_fetched(url: str):
    with fake(lambda request: httpx.Response(200)) as client:
        with pytest.raises(HedraTransferError, match="not http"):
            download(client, lambda: url, io.BytesIO())


def test_a_redirect_is_followed_without_the_key():
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.host == "files.example":
            return httpx.Response(302, headers={"Location": "https://cdn.example/a"})
        return httpx.Response(200, headers={"Content-Length": "1"}, stream=httpx.ByteStream(b"x"))

    with fake(handler) as client:
        download(client, lambda: "https://files.example/a", io.BytesIO())
    assert [request.url.host for request in seen] == ["files.example", "cdn.example"]
    assert all("X-API-Key" not in request.headers for request in seen)


def test_the_same_reserved_id_is_uploaded_once(client: HedraClient, hedra_sandbox: Sandbox):
    first = client.run(store_asset(sized(SOUND, "a.wav"), "audio", reserved_asset_id=RESERVED))
    second = client.run(store_asset(sized(SOUND, "a.wav"), "audio", reserved_asset_id=RESERVED))
    assert (first.asset_id, first.reused) == (RESERVED, False)
    assert (second.asset_id, second.reused) == (RESERVED, True)
    assert len(hedra_sandbox.requests("POST", "/assets/{id}/upload")) == 1


def test_an_upload_that_never_finished_goes_on(client: HedraClient, hedra_sandbox: Sandbox):
    client.run(calls.create_asset("a.wav", "audio", reserved_asset_id=RESERVED))
    stored = client.run(store_asset(sized(SOUND, "a.wav"), "audio", reserved_asset_id=RESERVED))
    assert stored.asset_id == RESERVED
    assert fetch(client, RESERVED) == SOUND


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 503}], ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_upload_is_repeated(client: HedraClient, hedra_sandbox: Sandbox, fault: dict[str, Any], when: str):
    hedra_sandbox.faults({"on": "POST /assets/{id}/upload", "times": 2, "when": when} | fault)
    stored = client.run(store_asset(sized(SOUND, "a.wav"), "audio"))
    assert fetch(client, stored.asset_id) == SOUND
    assert len(hedra_sandbox.requests("POST", "/assets")) == 1


def test_a_video_goes_to_its_upload_url_without_the_key(client: HedraClient, hedra_sandbox: Sandbox):
    from hedra_provider.api.requests import avatar_video_request

    image = client.run(store_asset(sized(png(), "a.png"), "image")).asset_id
    audio = client.run(store_asset(sized(wav(0.5), "a.wav"), "audio")).asset_id
    body = avatar_video_request(
        image_id=image,
        audio_id=audio,
        text_prompt="A person",
        model={"model_slug": "together/hedra-avatar"},
        aspect_ratio="1:1",
        resolution="540p",
    )
    made = client.run(calls.submit(body)).id
    video = io.BytesIO()
    download(client, lambda: client.run(generation_file(made)).url, video)
    stored = client.run(store_asset(sized(video.getvalue(), "a.mp4"), "video"))
    (row,) = hedra_sandbox.requests("PUT")
    assert row["has_key"] is False
    again = io.BytesIO()
    download(client, lambda: client.run(asset_file(stored.asset_id, "video")).url, again)
    assert again.getvalue() == video.getvalue()


def test_an_asset_that_is_not_there(client: HedraClient):
    with pytest.raises(HedraNotFoundError, match="has no file for the audio asset"):
        client.run(asset_file(RESERVED, "audio"))


def test_a_compressed_file_is_sent_with_its_real_length(tmp_path: Path):
    path = tmp_path / "a.wav.gz"
    path.write_bytes(gzip.compress(SOUND))
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["Content-Length"], request.read()))
        return httpx.Response(200)

    with gzip.open(path) as file, fake(handler) as client:
        sha256, size = digest(file)
        assert size == len(SOUND)
        assert len(sha256) == 64
        client.run(calls.put_file("https://storage.example/x", SizedFile(file, size, "a.wav")))
    assert seen == [(str(len(SOUND)), SOUND)]


def test_a_file_that_grows_is_sent_as_long_as_it_was():
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        return httpx.Response(200, json={"id": "an-id"})

    with fake(handler) as client:
        file = io.BytesIO(b"12345 and more")
        client.run(calls.put_file("https://storage.example/x", SizedFile(file, 5, "a")))
        client.run(calls.upload_file("an-id", SizedFile(file, 5, "a")))
    assert seen[0] == b"12345"
    assert b"12345\r\n" in seen[1]


def test_a_put_that_is_repeated_starts_at_the_start():
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        return httpx.Response(503 if len(seen) == 1 else 200)

    with fake(handler) as client:
        client.run(calls.put_file("https://storage.example/x", sized(b"12345", "a")))
    assert seen == [b"12345", b"12345"]
