"""Uploads that are cut, at each call and before and after its work: one asset, whole, whatever happens."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import av
import httpx
import pytest

from hedra_provider.api import calls
from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraConflictError, HedraError, HedraTransferError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.transfer.download import asset_file, download
from hedra_provider.transfer.upload import StoredAsset, store_asset
from tests.media import png, wav

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.testing import Sandbox

RESERVED = "33333333-3333-4333-8333-333333333333"
UPLOAD = {
    "audio": "POST /assets/{id}/upload",
    "image": "POST /assets/{id}/upload",
    "video": "PUT /uploads/{id}",
}
CUTS: list[dict[str, Any]] = [
    {"reset": True},
    {"cut_at": 0},
    {"cut_at": 5},
    {"status": 500},
    {"status": 502, "body": "<html>Bad Gateway</html>"},
    {"status": 503},
    {"status": 504},
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 408},
]


def film() -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            file.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        file.mux(stream.encode(None))
    return target.getvalue()


CONTENT = {"audio": wav(1.0), "image": png(), "video": film()}


@pytest.fixture
def client(hedra_sandbox: Sandbox) -> Iterator[HedraClient]:
    with HedraClient(
        hedra_sandbox.api_key, base_url=hedra_sandbox.base_url, sleep=lambda seconds: None
    ) as made:
        yield made


def store(client: HedraClient, kind: str, *, reserved: str | None = RESERVED) -> StoredAsset:
    content = CONTENT[kind]
    file = SizedFile(io.BytesIO(content), len(content), f"a.{kind}")
    return client.run(store_asset(file, kind, reserved_asset_id=reserved))


def assert_one_whole_asset(client: HedraClient, kind: str, asset_id: str) -> None:
    assert [asset.id for asset in client.run(calls.list_assets(kind))] == [asset_id]
    there = io.BytesIO()
    download(client, lambda: client.run(asset_file(asset_id, kind)).url, there)
    assert there.getvalue() == CONTENT[kind]


def made(sandbox: Sandbox) -> int:
    """Return how many assets were created."""
    return sum(row["status"] == 200 for row in sandbox.requests("POST", "/assets"))


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_upload_that_is_cut_in_one_try(
    client: HedraClient, hedra_sandbox: Sandbox, kind: str, cut: dict[str, Any], when: str
):
    """Each call is repeated in place. A repeated POST /assets finds its id taken, and uses it."""
    for on in ("GET /assets", "POST /assets", UPLOAD[kind]):
        hedra_sandbox.reset()
        hedra_sandbox.faults({"on": on, "times": 2, "when": when} | cut)
        stored = store(client, kind)
        assert stored == StoredAsset(RESERVED, reused=False, duration_ms=stored.duration_ms)
        assert_one_whole_asset(client, kind, RESERVED)
        hedra_sandbox.faults()
        assert store(client, kind).reused


@pytest.mark.parametrize("kind", CONTENT)
@pytest.mark.parametrize("on", ["POST /assets", "upload"])
@pytest.mark.parametrize("cut", [{"reset": True}, {"status": 503}], ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_next_attempt_continues_an_upload(
    client: HedraClient, hedra_sandbox: Sandbox, kind: str, on: str, cut: dict[str, Any], when: str
):
    on = UPLOAD[kind] if on == "upload" else on
    # As long as the client repeats it, and no longer.
    hedra_sandbox.faults({"on": on, "times": 5, "when": when} | cut)
    with pytest.raises(HedraError) as raised:
        store(client, kind)
    assert raised.value.retryable
    stored = store(client, kind)
    assert stored.asset_id == RESERVED
    # A file that had arrived is not sent again.
    assert stored.reused is (on == UPLOAD[kind] and when == "after")
    assert_one_whole_asset(client, kind, RESERVED)


@pytest.mark.parametrize("kind", CONTENT)
def test_two_uploads_of_a_file_at_once_make_one_asset(client: HedraClient, hedra_sandbox: Sandbox, kind: str):
    """The other one created the asset after this one had searched for it, and has not sent the file yet."""
    client.run(calls.create_asset("a", kind, reserved_asset_id=RESERVED))
    assert store(client, kind) == StoredAsset(RESERVED, reused=False, duration_ms=stored_ms(kind))
    assert made(hedra_sandbox) == 1
    assert_one_whole_asset(client, kind, RESERVED)


def stored_ms(kind: str) -> int | None:
    return None if kind == "image" else 1000


def test_an_asset_that_is_listed_without_a_file_is_no_upload(client: HedraClient, hedra_sandbox: Sandbox):
    client.run(calls.create_asset("a", "audio", reserved_asset_id=RESERVED))
    row = {"id": RESERVED, "type": "audio", "name": "a", "asset": {"type": "audio", "url": None}}
    hedra_sandbox.faults({"on": "GET /assets", "times": 1, "status": 200, "body": [row]})
    assert not store(client, "audio").reused
    assert_one_whole_asset(client, "audio", RESERVED)


@pytest.mark.parametrize("kind", CONTENT)
def test_a_deleted_asset_is_uploaded_again(client: HedraClient, hedra_sandbox: Sandbox, kind: str):
    store(client, kind)
    hedra_sandbox.reset()
    assert not store(client, kind).reused
    assert_one_whole_asset(client, kind, RESERVED)


@pytest.mark.parametrize("kind", CONTENT)
def test_an_id_that_is_used_up_leads_to_the_same_next_one(
    client: HedraClient, hedra_sandbox: Sandbox, kind: str
):
    """Hedra keeps the id of a deleted asset: each attempt finds the same next id."""
    client.run(calls.create_asset("a", kind, reserved_asset_id=RESERVED))
    gone = [
        {"on": f"POST /assets/{RESERVED}/upload", "times": None, "status": 404},
    ]
    hedra_sandbox.faults(*gone)
    first = store(client, kind)
    again = store(client, kind)
    assert first.asset_id not in (RESERVED, None)
    assert (again.asset_id, again.reused) == (first.asset_id, True)
    assert made(hedra_sandbox) == 2
    assert_one_whole_asset(client, kind, first.asset_id)


@pytest.mark.parametrize("status", [400, 403, 405, 415, 422])
def test_a_video_whose_url_is_lost_and_that_is_taken_by_put_only(
    client: HedraClient, hedra_sandbox: Sandbox, status: int
):
    client.run(calls.create_asset("a", "video", reserved_asset_id=RESERVED))
    hedra_sandbox.faults({"on": "POST /assets/{id}/upload", "times": None, "status": status})
    first = store(client, "video")
    assert store(client, "video") == StoredAsset(first.asset_id, reused=True, duration_ms=1000)
    assert_one_whole_asset(client, "video", first.asset_id)


def test_ids_that_are_all_used_up(client: HedraClient, hedra_sandbox: Sandbox):
    hedra_sandbox.faults(
        {"on": "POST /assets", "times": None, "status": 409},
        {"on": "POST /assets/{id}/upload", "times": None, "status": 404},
    )
    with pytest.raises(HedraConflictError, match=r"All 5 ids for a\.audio belong to assets") as raised:
        store(client, "audio")
    assert not raised.value.retryable
    assert len(hedra_sandbox.requests("POST", "/assets")) == 5


@pytest.mark.parametrize("by_form", [True, False])
def test_an_upload_url_that_expired_meanwhile(client: HedraClient, hedra_sandbox: Sandbox, by_form: bool):
    faults: list[dict[str, Any]] = [{"on": "PUT /uploads/{id}", "times": 1, "status": 403}]
    if not by_form:
        faults.append({"on": f"POST /assets/{RESERVED}/upload", "times": None, "status": 422})
    hedra_sandbox.faults(*faults)
    if by_form:
        assert store(client, "video").asset_id == RESERVED
        assert_one_whole_asset(client, "video", RESERVED)
        return
    with pytest.raises(HedraTransferError, match="rejected the file of asset") as raised:
        store(client, "video")
    assert raised.value.retryable
    stored = store(client, "video")
    assert_one_whole_asset(client, "video", stored.asset_id)


def test_a_video_that_the_storage_rejects_is_created_once(client: HedraClient, hedra_sandbox: Sandbox):
    text = SizedFile(io.BytesIO(b"no video"), 8, "a.mp4")
    with pytest.raises(HedraError):
        client.run(store_asset(text, "video", reserved_asset_id=RESERVED))
    assert made(hedra_sandbox) == 1


def test_a_put_has_its_length_and_no_key(client: HedraClient, hedra_sandbox: Sandbox):
    """The sandbox's storage answers 411 to a body without a length, as S3 does."""
    hedra_sandbox.faults({"on": "PUT /uploads/{id}", "times": 1, "reset": True})
    store(client, "video")
    rows = hedra_sandbox.requests("PUT", "/uploads/{id}")
    assert [(row["status"], row["has_key"]) for row in rows] == [(None, False), (200, False)]


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_a_file_that_changes_while_it_is_sent_does_not_become_the_asset(
    client: HedraClient, hedra_sandbox: Sandbox, kind: str
):
    content, answers = CONTENT[kind], iter([False, True])
    file = SizedFile(io.BytesIO(content), len(content), "a", unchanged=lambda: next(answers))
    with pytest.raises(HedraTransferError, match="changed while it was sent") as raised:
        client.run(store_asset(file, kind, reserved_asset_id=RESERVED))
    assert raised.value.retryable
    assert client.run(calls.list_assets(kind)) == []
    assert store(client, kind).asset_id == RESERVED
    assert_one_whole_asset(client, kind, RESERVED)


def test_a_file_that_can_not_be_read_to_its_end():
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise RuntimeError("AccessDenied at https://bucket/key?X-Amz-Signature=secret")

    with HedraClient("k", transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        with pytest.raises(HedraTransferError, match="could not be read to its end: AccessDenied") as raised:
            client.run(calls.put_file("https://storage.example/x", SizedFile(Broken(b"1"), 1, "a.mp4")))
    assert "secret" not in str(raised.value)
