"""Any bytes and any JSON as an answer: a model or a HedraError, never another exception."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from hedra_provider.api import answer as answer_module
from hedra_provider.api.errors import HedraError, HedraProtocolError, HedraTransportError
from tests.fuzz.flows import FLOWS, KEY, SYNC_NAMES, Canned, run_both, run_sync
from tests.fuzz.seeds import ASSET, DOCUMENTS, MODEL, SIGNED

LOOP_SETTINGS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


TEXTS = (
    st.text(max_size=20)
    | st.sampled_from(
        [
            "",
            "complete",
            "error",
            "queued",
            "\x00",
            "\x1b[31m",
            "a\nb",
            "\u202egnp.exe",
            "🎬",
            "x" * 3000,
            "9" * 5000,
            "1e999999999",
            "-1e999999999",
            "1/0",
            "NaN",
            "../../etc",
            "http://a..b/",
            "http://h:99999/",
            "http://[",
            KEY,
            SIGNED,
            "ftp://files.example/a",
            "http://☃.example",
            f"{'x' * 595} {KEY}",
            "INTERNAL",
        ]
    )
    # A lone surrogate: JSON can express it, UTF-8 can't.
    | st.just("\ud83d")
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from(
        [10**400, -(10**18), 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf, -1, 0, 2**63]
    )
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(value[path[0]], path[1:], new)
    return copy


@st.composite
def near_the_schema(draw: st.DrawFn) -> Any:
    """A document as Hedra sends it, with up to three of its values replaced."""
    document = draw(st.sampled_from(DOCUMENTS))
    for _ in range(draw(st.integers(0, 3))):
        document = _put(document, draw(st.sampled_from(_places(document))), draw(ANY_JSON))
    return document


DEEP = [b"[" * 100_000, b'{"a":' * 50_000, b'{"detail":' + b"[" * 400 + b"]" * 400 + b"}"]
ODD_BYTES = [
    b"",
    b"null",
    b"{",
    b"\xff\xfe{\x00}\x00",
    b'{"id":"\\ud800"}',
    b'{"id":1,"id":"a"}',
    b"9" * 5000,
]
ODD_BYTES += [
    b'{"id":"a","progress":NaN,"eta_sec":-Infinity}',
    b"<html>" * 3000,
    b'{"detail":"\\ud800"}',
    *DEEP,
]
# Long words: a search with quadratic time would take minutes.
ODD_BYTES += [b"9" * 90_000, b"%3a%2f%2f" * 10_000, b"u://" * 20_000, b'"sig" ' * 15_000]
ODD_BYTES += [b'{"messages":[' + b"[" * 900 + b"]" * 900 + b"]}"]
BODIES = (
    near_the_schema().map(lambda document: json.dumps(document).encode())
    | ANY_JSON.map(
        lambda document: json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass")
    )
    | st.binary(max_size=60)
    | st.sampled_from(ODD_BYTES)
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"Content-Type",
                b"Content-Encoding",
                b"Retry-After",
                b"Date",
                b"Location",
                b"Content-Length",
                b"Content-Range",
                b"ETag",
                b"Transfer-Encoding",
                b"X-RateLimit-Reset",
                b"X-Trace-Id",
                b"X-Any",
            ]
        ),
        st.sampled_from(
            [
                b"text/html; charset=hex",
                b"application/json; charset=idna",
                b"a; charset=utf-7",
                b"gzip",
                b"br",
                b"deflate, gzip",
                b"identity",
                b"1",
                b"-1",
                b"1e9",
                b"nan",
                b"9" * 5000,
                b"bytes 0-1/2",
                b"chunked",
                b"Wed, 21 Oct 2026 07:28:10 GMT",
                b"Wed, 21 Oct 99999",
                b"http://[",
                b"https://other.example/a",
                b"bytes 0-" + b"9" * 5000 + b"/*",
                b"ftp://x",
                b"/relative",
                b"\xff\xfe",
                b"\xd9\xa1",
                b"",
            ]
        )
        | st.binary(max_size=20),
    ),
    max_size=3,
).map(tuple)
STATUSES = st.sampled_from(
    [200, 200, 200, 200, 201, 204, 206, 301, 302, 304, 307, 400, 401, 402, 403, 404]
) | (st.sampled_from([405, 408, 409, 410, 413, 416, 422, 425, 429, 451, 500, 502, 503, 504, 599, 600, 999]))
FAILURES = st.sampled_from(
    [httpx.ReadTimeout, httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError]
)
ANSWERS = st.lists(
    st.builds(Canned, STATUSES, HEADERS, BODIES) | FAILURES.map(lambda kind: Canned(failure=kind)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", SYNC_NAMES)
@given(answers=ANSWERS)
@LOOP_SETTINGS
def test_a_model_or_an_error(name: str, loop: asyncio.AbstractEventLoop, answers: list[Canned]):
    result = run_both(name, answers, loop)
    # Towards what gets far: an error at once exercises little.
    target(0.0 if isinstance(result, HedraError) else 1.0)


@pytest.mark.parametrize("content", ODD_BYTES, ids=lambda content: repr(content[:20]))
def test_odd_bytes(loop: asyncio.AbstractEventLoop, content: bytes):
    for name in SYNC_NAMES:
        for status in (200, 400):
            run_both(name, [Canned(status, (), content)], loop)


URLS = [
    "http://[",
    "http://a..b/",
    "http://h:99999/x",
    "ftp://files.example/a",
    "http://",
    "a",
    "http://\u2603/",
]
URLS += [
    f"http://{'a' * 70}.example/",
    "http://a\x00b/",
    "http://user:pw@/",
    "//files.example/a",
    "http://1.1.1.1.1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_is_none(url: str, tmp_path: Any):
    """Over real sockets: what only the system finds wrong comes up there."""
    import io

    from hedra_provider.api import calls
    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.sized_file import SizedFile
    from hedra_provider.transfer import download

    with HedraClient(KEY, sleep=lambda seconds: None, timeout=0.2) as client:
        with pytest.raises(HedraError):
            download.download(client, lambda: url, io.BytesIO())
        with pytest.raises(HedraError):
            client.run(calls.put_file(url, SizedFile(io.BytesIO(b"a"), 1, "a")))


def gzipped(times: int, size: int) -> bytes:
    content = b" " * size
    for _ in range(times):
        content = gzip.compress(content)
    return content


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip, deflate"])
def test_an_encoding_that_was_not_requested_is_rejected(encoding: str, loop: asyncio.AbstractEventLoop):
    headers = ((b"Content-Encoding", encoding.encode()),)
    error = run_both("get_credits", [Canned(200, headers, gzipped(2, 100))], loop)
    assert isinstance(error, HedraProtocolError)
    assert "encoding" in str(error)


def test_an_answer_may_be_compressed(loop: asyncio.AbstractEventLoop):
    for encoding, content in (
        (b"gzip", gzip.compress(b'{"used": 3}')),
        (b"deflate", zlib.compress(b'{"used": 3}')),
    ):
        assert (
            run_both("get_credits", [Canned(200, ((b"Content-Encoding", encoding),), content)], loop).used
            == 3
        )


def test_a_bomb_is_given_up_before_it_fills_the_memory(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answer_module, "MAX_ANSWER_BYTES", answer_module.MAX_ANSWER_BYTES // 16)
    bomb = gzipped(1, 2 * answer_module.MAX_ANSWER_BYTES)
    assert len(bomb) < 10_000
    error = run_both("get_status", [Canned(200, ((b"Content-Encoding", b"gzip"),), bomb)], loop)
    assert isinstance(error, HedraProtocolError)
    assert "larger than" in str(error)


def test_an_answer_that_trickles_for_ever_is_given_up(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answer_module, "MAX_ANSWER_SECONDS", -1.0)
    error = run_both("get_credits", [Canned(200, (), b'{"used": 3}')], loop)
    assert isinstance(error, HedraTransportError)
    assert "not whole after" in str(error)


def test_a_header_that_is_no_text_does_no_harm(loop: asyncio.AbstractEventLoop):
    headers = ((b"X-Any", b"\xff\xfe"), (b"Retry-After", "\u0661".encode()))
    assert run_both("get_credits", [Canned(200, headers, b'{"used": 3}')], loop).used == 3


def test_half_a_key_is_not_shown_either():
    said = json.dumps({"detail": "x" * 590 + KEY}).encode()
    error = run_sync("get_credits", [Canned(400, (), said)])
    assert KEY[:8] not in str(error)


def test_a_price_beyond_all_numbers_is_none(loop: asyncio.AbstractEventLoop):
    model = MODEL | {"pricing": {"base_cost": "1e999999999", "credits_per_second": 3}}
    answers = [Canned(200, (), json.dumps(body).encode()) for body in ([model], [ASSET])]
    run_both("estimate_request", answers, loop)


def test_every_call_is_here():
    import inspect

    from hedra_provider.api import calls
    from hedra_provider.api.v3 import calls as v3_calls

    for module, prefix in ((calls, ""), (v3_calls, "v3.")):
        own = {name: made for name, made in vars(module).items() if inspect.isgeneratorfunction(made)}
        public = {name for name, made in own.items() if made.__module__ == module.__name__}
        assert {prefix + name for name in public if not name.startswith("_")} <= {*FLOWS, *SYNC_NAMES}
