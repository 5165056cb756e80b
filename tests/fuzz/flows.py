"""Every call and flow of the API, driven by both clients over answers that may be anything.

What must hold for any answer: a model or a ``HedraError``, in bounded time. Both can be shown: in a
message, a log line, an event, an XCom.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import re
import unicodedata
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import httpx
import pydantic

from hedra_provider.api import calls
from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.errors import MAX_ERROR_LENGTH, HedraError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.api.v3 import calls as v3
from hedra_provider.api.v3 import responses as v3_responses
from hedra_provider.polling import blocking
from hedra_provider.records import Generation
from hedra_provider.service.v2 import HedraV2
from hedra_provider.submission import budget, identity
from hedra_provider.submission.submit import submit_once
from hedra_provider.transfer import download, upload

KEY = "sekret-key-0123456789"
V3_KEY = "sekret-key-id-0123456789:sekret-0123456789"
JOB = "job_11111111-1111-4111-8111-111111111111"
ACCOUNT: Any = SimpleNamespace(api_key=KEY, namespace=uuid.UUID(int=7), workspace_id=None)
ID = "11111111-1111-4111-8111-111111111111"
MAX_REQUESTS = 400
BODY = {
    "type": "video",
    "model_slug": "together/hedra-avatar",
    "start_keyframe_id": ID,
    "audio_id": ID,
    "generated_video_inputs": {"text_prompt": "A person", "aspect_ratio": "9:16", "resolution": "540p"},
}
SPOKEN = {
    **BODY,
    "audio_id": None,
    "audio_generation": {"type": "text_to_speech", "text": "Hi", "voice_id": ID},
}


@dataclass(frozen=True)
class Canned:
    """An answer: bytes with a status and headers, or none at all."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content: bytes = b""
    failure: type[httpx.TransportError] | None = None

    def response(self, request: httpx.Request) -> httpx.Response:
        if self.failure is not None:
            raise self.failure("no luck", request=request)
        # As a stream: decoded where a real one would be.
        return httpx.Response(self.status, headers=list(self.headers), stream=_Wire(self.content))


class _Wire(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in two pieces."""

    def __init__(self, content: bytes) -> None:
        half = len(content) // 2
        self._pieces = [piece for piece in (content[:half], content[half:]) if piece]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class TooManyRequests(Exception):
    """A flow went on for ever."""


class World:
    """Time that passes by pauses, and answers in order, the last one repeated."""

    def __init__(self, answers: Sequence[Canned], key: str = KEY) -> None:
        self.now = 1_800_000_000.0
        self.requests: list[httpx.Request] = []
        self.sent_the_key = False
        self.key = key
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1]))

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 200_000, seconds
        self.now += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if len(self.requests) > MAX_REQUESTS:
            raise TooManyRequests
        if {"x-api-key", "authorization"} & set(request.headers):
            self.sent_the_key = True
            assert request.url.host == "api.hedra.com", request.url
        return next(self._answers).response(request)


def _wait(world: World) -> Any:
    lines: list[str] = []

    def note(line: str) -> None:
        assert len(line) < 5_000, line
        # What joins emoji, and what Unicode has not assigned yet, does nobody harm and stays.
        assert not {"Cc", "Zl", "Zp", "Cs"} & set(map(unicodedata.category, line)), line
        lines.append(line)

    return blocking.wait_until_finished(
        ID,
        deadline=world.now + 3_600,
        poll_interval=60,
        log=note,
        warn=note,
        clock=world.clock,
        jitter=lambda: 0.5,
    )


def _credits(world: World) -> Any:
    return blocking.wait_for_credits(
        10,
        lambda: HedraV2(ACCOUNT).balance(None),
        deadline=world.now + 3_600,
        poll_interval=60,
        log=str,
        warn=str,
        clock=world.clock,
        jitter=lambda: 0.5,
    )


def _file(name: str) -> SizedFile:
    return SizedFile(io.BytesIO(b"some bytes"), 10, name)


# A URL that is whole: bytes that were changed may leave a signature that belongs to none.
_SIGNED = re.compile(r"https://files\.example/[\w.]*\?X-Amz-Signature")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_IDS, _OTHER_IDS = (
    identity.generation_ids(uuid.UUID(int=7), "row", n, attempt_group="run") for n in range(2)
)

FLOWS: dict[str, Callable[[World], Any]] = {
    "get_credits": lambda world: calls.get_credits(),
    "list_models": lambda world: calls.list_models(["video"]),
    "list_voices": lambda world: calls.list_voices(),
    "list_assets": lambda world: calls.list_assets("audio", [ID]),
    "create_asset": lambda world: calls.create_asset("a", "audio"),
    "submit": lambda world: calls.submit(BODY),
    "get_status": lambda world: calls.get_status(ID),
    "list_generations": lambda world: calls.list_generations(limit=5),
    "list_as_answered": lambda world: calls.list_as_answered([ID], limit=5),
    "submit_once": lambda world: submit_once(BODY, [_IDS]),
    "submit_batch": lambda world: submit_once({**BODY, "batch_size": 2}, [_IDS, _OTHER_IDS]),
    "generation_file": lambda world: download.generation_file(ID),
    "asset_file": lambda world: download.asset_file(ID, "video"),
    "wait_until_finished": _wait,
    "wait_for_credits": _credits,
    "estimate_request": lambda world: budget.estimate_request(BODY),
    "estimate_speech": lambda world: budget.estimate_request(SPOKEN),
}
V3_FLOWS: dict[str, Callable[[World], Any]] = {
    "v3.submit_job": lambda world: v3.submit_job("m", b"{}", idempotency_key="k"),
    "v3.get_status": lambda world: v3.get_status(JOB),
    "v3.get_job": lambda world: v3.get_job(JOB),
    "v3.list_jobs": lambda world: v3.list_jobs(),
    "v3.get_balance": lambda world: v3.get_balance(),
    "v3.get_usage": lambda world: v3.get_usage(),
    "v3.estimate": lambda world: v3.estimate("m", {}),
    "v3.list_models": lambda world: v3.list_models(),
    "v3.get_model": lambda world: v3.get_model("m"),
    "v3.list_voices": lambda world: v3.list_voices("m"),
    "v3.list_deliveries": lambda world: v3.list_deliveries(),
    "v3.redeliver": lambda world: v3.redeliver(JOB),
    "v3.get_public_key": lambda world: v3.get_public_key(),
}
FLOWS |= V3_FLOWS
SYNC_FLOWS: dict[str, Callable[[World], Any]] = {
    "v3.upload_file": lambda world: v3.upload_file(_file("a.wav")),
    "upload_file": lambda world: calls.upload_file(ID, _file("a.wav")),
    "put_file": lambda world: calls.put_file("https://files.example/a?X-Amz-Signature=s", _file("a.mp4")),
    "store_asset": lambda world: upload.store_asset(_file("a.wav"), "audio", reserved_asset_id=ID),
    "store_video": lambda world: upload.store_asset(_file("a.mp4"), "video"),
}
DOWNLOAD = "download"
SYNC_NAMES = (*FLOWS, *SYNC_FLOWS, DOWNLOAD)


def _key_for(name: str) -> str:
    return V3_KEY if name.startswith("v3.") else KEY


def run_sync(name: str, answers: Sequence[Canned]) -> Any:
    """Drive a flow by the client of a worker; return what came of it, an error too."""
    world = World(answers, _key_for(name))
    options: dict[str, Any] = {"transport": httpx.MockTransport(world.answer), "sleep": world.sleep}
    with HedraClient(_key_for(name), **options) as client:
        try:
            if name == DOWNLOAD:
                return _checked(_download(client, world), world)
            return _checked(client.run((FLOWS | SYNC_FLOWS)[name](world)), world)
        except HedraError as error:
            return _checked(error, world)


async def run_async(name: str, answers: Sequence[Canned]) -> Any:
    """Drive a flow by the client of a triggerer; return what came of it, an error too."""
    world = World(answers, _key_for(name))
    options: dict[str, Any] = {"transport": httpx.MockTransport(world.answer), "sleep": world.async_sleep}
    async with AsyncHedraClient(_key_for(name), **options) as client:
        try:
            return _checked(await client.run(FLOWS[name](world)), world)
        except HedraError as error:
            return _checked(error, world)


def _download(client: HedraClient, world: World) -> Any:
    target = io.BytesIO()
    fresh = (f"https://files.example/{n}?X-Amz-Signature=s" for n in itertools.count())
    size = download.download(client, lambda: next(fresh), target)
    assert len(target.getvalue()) == size > 0
    return size


def _checked(result: Any, world: World) -> Any:
    """Require that a log, an event and an XCom can hold it."""
    from hedra_provider.events import failed, generation_facts
    from hedra_provider.exceptions import airflow_error
    from hedra_provider.xcom import generation_result

    if isinstance(result, HedraError):
        for text in (str(result), str(airflow_error(result)), repr(result)):
            assert len(text) <= MAX_ERROR_LENGTH + 500, len(text)
            # A storage that never saw the key can't repeat it, only invent it.
            assert world.key not in text or not world.sent_the_key, text
            assert not _SIGNED.search(text), text
            text.encode()
        assert len(str(result).splitlines()) == 1
        _require_json(failed(result))
        return result
    for found in _parts(result):
        if hasattr(found, "record") and type(found).__module__ == v3_responses.__name__:
            _check_record(found.record())
        found = getattr(found, "generation", found)
        if isinstance(found, Generation):
            _require_json(generation_facts(found))
            _require_json(generation_result(found, hedra_conn_id="c", row=found))
        if isinstance(found, pydantic.BaseModel):
            repr(found)
    return result


def _parts(result: Any) -> list[Any]:
    rows = getattr(result, "data", None)
    return rows if isinstance(rows, list) else result if isinstance(result, list) else [result]


def _check_record(record: Any) -> None:
    """Require that a record of the provider's own holds no number and no text that a database rejects."""
    facts = {name: getattr(record, name) for name in record.__dataclass_fields__}
    amount = facts.pop("cost", None) or facts.pop("available", None)
    assert amount is None or amount.is_finite(), amount
    assert len(str(amount)) < 60, amount
    facts.pop("error", None)
    facts.pop("available", None)
    repr(record)
    json.dumps({name: value for name, value in facts.items() if name != "labels"}, allow_nan=False)


def _require_json(value: Any) -> None:
    """Require what every database takes: JSON in the strict sense, in UTF-8, without NUL."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert not _NUL.search(text), text


def run_both(name: str, answers: Sequence[Canned], loop: asyncio.AbstractEventLoop | None = None) -> Any:
    """Drive a flow by both clients, which must come to the same."""
    result = run_sync(name, answers)
    if name in FLOWS:
        runner = loop.run_until_complete if loop else asyncio.run
        other = runner(run_async(name, answers))
        assert type(other) is type(result), (result, other)
        if isinstance(result, HedraError):
            assert str(other) == str(result)
    return result


def with_status(answer: Canned, status: int) -> Canned:
    return replace(answer, status=status)
