"""A download that is cut anywhere, any number of times, by real HTTP: the same bytes, or an error."""

from __future__ import annotations

import contextlib
import io
import random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraTransferError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.testing import Sandbox
from hedra_provider.transfer.download import asset_file, download
from hedra_provider.transfer.upload import store_asset
from tests.media import wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOUND = wav(0.001)
LONG = wav(30.0)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        yield made


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> Iterator[HedraClient]:
    with HedraClient(sandbox.api_key, base_url=sandbox.base_url, sleep=lambda seconds: None) as made:
        yield made


@pytest.fixture(scope="module")
def ids(client: HedraClient) -> dict[bytes, str]:
    def store(content: bytes) -> str:
        file = SizedFile(io.BytesIO(content), len(content), "a.wav")
        return client.run(store_asset(file, "audio")).asset_id

    return {content: store(content) for content in (SOUND, LONG)}


def fetch(client: HedraClient, asset_id: str) -> bytes:
    file = io.BytesIO(b"what was there before, and longer than nothing")
    assert download(client, lambda: client.run(asset_file(asset_id, "audio")).url, file) == file.tell()
    return file.getvalue()[: file.tell()]


def cuts(*at: int, **more: Any) -> list[dict[str, Any]]:
    return [{"on": "GET /files/{id}", "times": 1, "cut_at": byte} | more for byte in at]


def test_cut_at_every_byte(sandbox: Sandbox, client: HedraClient, ids: dict[bytes, str]):
    for byte in range(len(SOUND) + 1):
        sandbox.faults(*cuts(byte))
        assert fetch(client, ids[SOUND]) == SOUND, byte


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(LONG)), min_size=1, max_size=6))
def test_cut_again_and_again(sandbox: Sandbox, client: HedraClient, ids: dict[bytes, str], at: list[int]):
    """Each cut counts from the start of its answer; five in a row without a new byte end the download."""
    if at.count(0) >= 5:
        at = [byte or 1 for byte in at]
    sandbox.faults(*cuts(*at))
    assert fetch(client, ids[LONG]) == LONG


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, len(LONG)),
    st.sampled_from([{"status": 500}, {"status": 503}, {"reset": True}, {"status": 403}]),
)
def test_cut_and_then_something_else(
    sandbox: Sandbox, client: HedraClient, ids: dict[bytes, str], byte: int, then: dict[str, Any]
):
    sandbox.faults(*cuts(byte), {"on": "GET /files/{id}", "times": 2} | then)
    assert fetch(client, ids[LONG]) == LONG


def test_a_url_that_expires_between_two_pieces(sandbox: Sandbox, client: HedraClient, ids: dict[bytes, str]):
    before = len(sandbox.requests("GET", "/files/{id}"))
    sandbox.faults(*cuts(1000))
    requests = []

    def fresh_url() -> str:
        requests.append(client.run(asset_file(ids[LONG], "audio")).url)
        return requests[-1]

    class Clock(io.BytesIO):
        """Lets the hour pass once the first piece is there."""

        def write(self, data: Any, /) -> int:
            if len(requests) == 1:
                sandbox.advance(7200)
            return super().write(data)

    file = Clock()
    assert download(client, fresh_url, file) == len(LONG)
    assert file.getvalue() == LONG
    assert len(requests) == 2
    assert [row["status"] for row in sandbox.requests("GET", "/files/{id}")[before:]] == [200, 403, 206]


def test_a_download_that_never_gets_further_ends(
    sandbox: Sandbox, client: HedraClient, ids: dict[bytes, str]
):
    sandbox.faults({"on": "GET /files/{id}", "times": None, "cut_at": 0})
    with pytest.raises(HedraTransferError, match="stopped at byte 0") as raised:
        fetch(client, ids[LONG])
    assert raised.value.retryable
    sandbox.faults()


# Answers that the sandbox's storage never gives, from a fake one.


def served(*answers: Callable[[httpx.Request], httpx.Response]) -> tuple[HedraClient, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answers[min(len(seen), len(answers)) - 1](request)

    return HedraClient("k", transport=httpx.MockTransport(handler), sleep=lambda seconds: None), seen


def answer(
    status: int, body: bytes, *, total: int | None = None, start: int = 0, **headers: str
) -> Callable[[httpx.Request], httpx.Response]:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    if status == 206:
        more["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{total or '*'}"
    elif total is not None:
        more["Content-Length"] = str(total)
    return lambda request: httpx.Response(status, headers=more, stream=httpx.ByteStream(body))


def fetched(client: HedraClient) -> bytes:
    file = io.BytesIO()
    with client:
        size = download(client, lambda: "https://files.example/a", file)
    assert size == len(file.getvalue())
    return file.getvalue()


def test_halves_of_two_files_are_not_joined():
    """Whether they differ in tag or in length only; the storage may not honour If-Range."""
    for headers, length in (({"ETag": '"one"'}, 13), ({}, 10)):
        client, seen = served(
            answer(200, b"old", total=length, **headers),
            answer(206, b"4567890123", total=13, start=3, **({"ETag": '"two"'} if headers else {})),
            answer(200, b"new0123456789", total=13),
        )
        assert fetched(client) == b"new0123456789"
        assert [request.headers.get("Range") for request in seen] == [None, "bytes=3-", None]


def test_a_weak_tag_does_not_join_halves():
    client, seen = served(answer(200, b"old", total=6, ETag='W/"one"'), answer(206, b"new", total=6, start=3))
    assert fetched(client) == b"oldnew"
    assert "If-Range" not in seen[1].headers


def test_an_unstated_length_is_requested():
    """A body that ends with its connection may have been cut: a range behind its end shows it."""
    whole = lambda request: httpx.Response(416, headers={"Content-Range": "bytes */5"})  # noqa: E731
    client, seen = served(answer(200, b"01234"), whole)
    assert fetched(client) == b"01234"
    assert seen[1].headers["Range"] == "bytes=5-"
    client, _ = served(answer(200, b"012"), answer(206, b"34", total=5, start=3))
    assert fetched(client) == b"01234"
    client, _ = served(answer(200, b"012"))
    with pytest.raises(HedraTransferError, match="does not state the length"):
        fetched(client)


def test_a_chunked_body_marks_its_end():
    client, seen = served(answer(200, b"01234", Transfer_Encoding="chunked"))
    assert fetched(client) == b"01234"
    assert len(seen) == 1


def test_a_file_that_got_shorter_starts_again():
    shorter = lambda request: httpx.Response(416, headers={"Content-Range": "bytes */2"})  # noqa: E731
    client, _ = served(answer(200, b"012", total=5), shorter, answer(200, b"ab", total=2))
    assert fetched(client) == b"ab"


def test_what_comes_compressed_is_not_taken_for_the_file():
    client, _ = served(
        answer(200, b"\x1f\x8b...", total=5, Content_Encoding="gzip"), answer(200, b"01234", total=5)
    )
    assert fetched(client) == b"01234"


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.binary(min_size=1, max_size=2000))
def test_any_storage_that_ends_well_gives_the_file(chance: random.Random, content: bytes):
    """Cuts, rejections, a storage that ignores ranges: the download has the whole content."""
    quiet = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal quiet
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        quiet += 1
        if quiet < 4 and chance.random() < 0.3:
            return httpx.Response(chance.choice([403, 404, 500, 503]))
        ignored = chance.random() < 0.3
        start = 0 if ignored else start
        rest = content[start:]
        cut = len(rest) if quiet >= 4 else chance.randint(1, len(rest)) if rest else 0
        quiet = 0
        return answer(206 if start else 200, rest[:cut], start=start, total=len(content))(request)

    client = HedraClient("k", transport=httpx.MockTransport(handler), sleep=lambda seconds: None)
    # A storage that restarts each time may get no further in five attempts.
    with contextlib.suppress(HedraTransferError):
        assert fetched(client) == content
