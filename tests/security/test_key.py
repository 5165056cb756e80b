"""The key goes to the API's host alone, and shows in no URL, error, repr, event or pickle."""

from __future__ import annotations

import copy
import io
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow.sdk import Connection

from hedra_provider.api import calls, responses
from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.errors import HedraConfigurationError, HedraError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.api.v3 import responses as v3_responses
from hedra_provider.connection_fields import parse_connection
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import HedraAvatarVideoOperator, HedraDownloadOperator
from hedra_provider.transfer import download, upload
from hedra_provider.triggers import HedraCreditsTrigger, HedraGenerationTrigger
from tests.airflow_names import AirflowException
from tests.media import png
from tests.security.leaks import leaks_in
from tests.tasks import run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox
    from tests.security.conftest import Elsewhere

ID = "33333333-3333-4333-8333-333333333333"


def file() -> SizedFile:
    content = png()
    return SizedFile(io.BytesIO(content), len(content), "a.png", "image/png")


CALLS: dict[str, Callable[[], Any]] = {
    "GET /billing/credits": calls.get_credits,
    "GET /models": calls.list_models,
    "GET /voices": calls.list_voices,
    "GET /assets": lambda: calls.list_assets("image", [ID]),
    "POST /assets": lambda: calls.create_asset("a", "image"),
    "POST /assets/{id}/upload": lambda: calls.upload_file(ID, file()),
    "POST /generations": lambda: calls.submit({"type": "video"}),
    "GET /generations": lambda: calls.list_generations([ID]),
    "GET /generations/{id}/status": lambda: calls.get_status(ID),
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("on", CALLS)
def test_no_call_follows_a_redirect(hedra_sandbox: Sandbox, elsewhere: Elsewhere, on: str, status: int):
    hedra_sandbox.faults(
        {"on": on, "times": None, "status": status, "headers": {"Location": f"{elsewhere.url}/x?sig=abcdef"}}
    )
    with HedraHook().get_conn() as client, pytest.raises(HedraError) as raised:
        client.run(CALLS[on]())
    assert elsewhere.seen == []
    assert "redirected" in str(raised.value)
    assert not leaks_in(everything_shown(raised.value).encode(), [hedra_sandbox.api_key], "error")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_poll_of_a_trigger_follows_a_redirect(hedra_sandbox: Sandbox, elsewhere: Elsewhere, status: int):
    import asyncio

    location = {"Location": f"{elsewhere.url}/x"}
    hedra_sandbox.faults({"on": "*", "times": None, "status": status, "headers": location})

    async def poll() -> None:
        async with await HedraHook().get_async_conn() as client:
            await client.run(calls.get_status(ID))

    with pytest.raises(HedraError, match="redirected"):
        asyncio.run(poll())
    assert elsewhere.seen == []


def made(hedra_sandbox: Sandbox, portrait: str, voice: str) -> dict[str, Any]:
    operator = HedraAvatarVideoOperator(task_id="a", image=portrait, audio=voice, resolution="540p")
    result: dict[str, Any] = run(operator)
    return result


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.hedra_sandbox(media=False)
def test_a_download_goes_elsewhere_without_the_key(
    hedra_sandbox: Sandbox, elsewhere: Elsewhere, portrait: str, voice: str, tmp_path: Path, status: int
):
    generation = made(hedra_sandbox, portrait, voice)["generation_id"]
    location = {"Location": f"{elsewhere.url}/v.mp4?X-Amz-Signature=c4nary"}
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": None, "status": status, "headers": location})
    fetch = HedraDownloadOperator(task_id="d", generation_id=generation, destination=str(tmp_path / "a.mp4"))
    with pytest.raises(AirflowException) as raised:
        run(fetch)
    assert elsewhere.seen
    for seen in elsewhere.seen:
        assert hedra_sandbox.api_key not in seen
        assert "x-api-key" not in seen.lower()
    assert not leaks_in(everything_shown(raised.value).encode(), [hedra_sandbox.api_key, "c4nary"], "error")
    assert not (tmp_path / "a.mp4").exists()
    assert not [
        row for row in hedra_sandbox.ledger()["requests"] if row["origin"] == "files" and row["has_key"]
    ]


def test_an_upload_url_gets_the_bytes_and_not_the_key(hedra_sandbox: Sandbox, elsewhere: Elsewhere):
    url = f"{elsewhere.url}/put?X-Amz-Signature=c4nary"
    hedra_sandbox.faults({"on": "POST /assets", "body": {"id": ID, "upload_url": url}})
    with HedraHook().get_conn() as client, pytest.raises(HedraError) as raised:
        client.run(upload.store_asset(file(), "video"))
    (seen,) = elsewhere.seen
    assert seen.startswith("PUT /put?")
    assert "x-api-key" not in seen.lower()
    assert hedra_sandbox.api_key not in seen
    assert not leaks_in(everything_shown(raised.value).encode(), [hedra_sandbox.api_key, "c4nary"], "error")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://h/x", "gopher://h/", "http://[x", "//h/x", "", "x"]
)
def test_only_http_urls_are_used(hedra_sandbox: Sandbox, tmp_path: Path, url: str):
    hedra_sandbox.faults({"on": "POST /assets", "body": {"id": ID, "upload_url": url}})
    with HedraHook().get_conn() as client, pytest.raises(HedraError):
        client.run(upload.store_asset(file(), "video"))
    assert [row["path"] for row in hedra_sandbox.ledger()["requests"]][:1] == ["/assets"]


@pytest.mark.parametrize(
    "foreign", ["../../billing/credits", "http://evil.example/x", "a?b=c", "a#b", "..", "a/b"]
)
def test_an_id_asks_for_nothing_else(hedra_sandbox: Sandbox, foreign: str):
    with HedraHook().get_conn() as client, pytest.raises(HedraError):
        client.run(calls.get_status(foreign)) or client.run(calls.upload_file(foreign, file()))
    for row in hedra_sandbox.ledger()["requests"]:
        assert row["path"].startswith(("/generations/", "/assets/"))
        assert row["path"].endswith(("/status", "/upload"))
        assert row["query"] == ""


def everything_shown(error: BaseException) -> str:
    """What a log may show of an error: its traceback with the causes, its repr, its attributes."""
    shown = "".join(traceback.format_exception(error))
    return shown + repr(error) + repr(vars(error))


def with_locals(error: BaseException) -> str:
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(trace.format())


@pytest.mark.hedra_sandbox(api_key="sk_c4naryKeyThatNobodyShallSee", media=False)
def test_no_frame_shows_the_key(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Airflow logs no locals, but an error tracker may."""
    generation = made(hedra_sandbox, portrait, voice)["generation_id"]

    def crash(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("the worker dies here")

    shown_texts = []
    for place in (
        "httpx.Client.build_request",
        "httpx.Client.send",
        "httpx.Client.stream",
        "httpx.Client.__init__",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, crash)
            operator = HedraDownloadOperator(
                task_id="d", generation_id=generation, destination=str(tmp_path / "a.mp4")
            )
            with pytest.raises(MemoryError) as raised:
                run(operator)
            shown_texts.append(with_locals(raised.value))
    for text in shown_texts:
        assert "hedra_provider/operators/assets.py" in text
        assert hedra_sandbox.api_key not in text


def shown_objects() -> list[Any]:
    key = "sk_c4naryKeyThatNobodyShallSee"
    signed = "https://b.example/v.mp4?X-Amz-Signature=c4nary"
    extra = json.dumps({"proxy": f"http://u:{key}@proxy.example:3128"})
    settings = parse_connection(Connection(conn_id="c", conn_type="hedra", password=key, extra=extra))
    hook = HedraHook()
    hook.__dict__["settings"] = settings
    status = {"id": ID, "url": signed, "download_url": signed, "asset": {"id": ID, "asset": {"url": signed}}}
    return [
        settings,
        replace(settings, timeout=1.0),
        hook,
        hook.get_conn(),
        HedraClient(key),
        AsyncHedraClient(key),
        calls.Ask("PUT", signed, json={"k": key}),
        responses.Generation.model_validate(status),
        responses.Generation.model_validate(status).record(),
        responses.CreatedAsset(id=ID, upload_url=signed),
        download.RemoteFile(signed, ID, "video"),
        HedraClient(f"{key}:{key}"),
        AsyncHedraClient(f"{key}:{key}"),
        calls.Ask("POST", "/models/m", content=f'{{"url": "{signed}"}}'.encode(), headers={"k": key}),
        v3_responses.FileHandle(url=signed),
        v3_responses.Job.model_validate({"job_id": ID, "outputs": [{"url": signed}]}),
        v3_responses.Delivery.model_validate({"job_id": ID, "webhook_url": signed}),
        HedraGenerationTrigger(generation_ids=[ID], end_time=0.0),
        HedraCreditsTrigger(minimum=1, end_time=0.0),
    ]


@pytest.mark.parametrize("index", range(19))
def test_no_object_shows_or_pickles_the_key(index: int):
    one = shown_objects()[index]
    for text in (repr(one), str(one), repr([one]), f"{one}"):
        assert not leaks_in(text.encode(), ["sk_c4naryKeyThatNobodyShallSee"], "repr")
    if isinstance(one, responses.Answer | calls.Ask | download.RemoteFile):
        return
    try:
        kept = pickle.dumps(one)
    except (TypeError, AttributeError, pickle.PicklingError):
        return
    assert b"sk_c4nary" not in kept


def test_a_hook_survives_copies_and_pickles_without_its_secrets(hedra_sandbox: Sandbox):
    hook = HedraHook()
    with hook.get_conn() as client:
        client.run(calls.get_credits())
    for again in (copy.deepcopy(hook), pickle.loads(pickle.dumps(hook))):
        assert "settings" not in vars(again)
        with again.get_conn() as client:
            assert client.run(calls.get_credits()).remaining


@pytest.mark.parametrize(
    "proxy", ["http://u:sek/ret@p:31", "http://u:sek#ret@p:1", "http://u:sek?ret@p:1", "http://u:sekret@p:x"]
)
def test_a_proxy_with_a_password_that_is_not_encoded(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, proxy: str
):
    connection = json.loads(hedra_sandbox.connection) | {"extra": {"proxy": proxy}}
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
    with pytest.raises(HedraConfigurationError, match="proxy") as raised:
        HedraHook().get_conn()
    assert "sek" not in everything_shown(raised.value)


def test_an_error_about_a_proxy_shows_no_password(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    connection = json.loads(hedra_sandbox.connection) | {"extra": {"proxy": "http://u:sekretpw@127.0.0.1:1"}}
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
    with pytest.raises(HedraError) as raised, HedraHook().get_conn() as client:
        client.run(calls.get_credits())
    assert not leaks_in(everything_shown(raised.value).encode(), ["sekretpw"], "error")


def test_the_key_is_in_no_url(hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path):
    made(hedra_sandbox, portrait, voice)
    rows = hedra_sandbox.ledger()["requests"]
    assert rows
    for row in rows:
        assert hedra_sandbox.api_key not in row["path"] + row["query"]
        assert row["has_key"] is (row["origin"] == "api")


def test_accounts_are_distinguished_although_their_keys_do_not_show():
    """Connections with another key or proxy share no poller: its answers would be another account's."""

    def fingerprint(password: str, **extra: str) -> str:
        fields = {"conn_id": "c", "conn_type": "hedra", "extra": json.dumps(extra)}
        return parse_connection(Connection(password=password, **fields)).fingerprint

    proxies = [{}, {"proxy": "http://u:one@p:1"}, {"proxy": "http://u:two@p:1"}]
    assert len({fingerprint(key, **extra) for key in ("one-key", "two-key") for extra in proxies}) == 6
    assert fingerprint("one-key") == fingerprint("one-key")


def test_a_signed_url_gets_neither_header_of_a_key():
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200)

    for key in ("sk_c4naryKeyThatNobodyShallSee", "key-id-4711:sekret-0815"):
        with HedraClient(key, transport=httpx.MockTransport(answer)) as client:
            client.run(calls.put_file("https://files.example/a?sig=s", file()))
    assert len(requests) == 2
    for request in requests:
        assert not {"authorization", "x-api-key"} & set(request.headers)


def test_no_frame_of_a_v3_client_shows_the_key(monkeypatch: pytest.MonkeyPatch):
    """A header is built of hidden texts: an error tracker that logs locals shows neither part."""

    def crash(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("the worker dies here")

    for place in ("httpx.Client.build_request", "httpx.Client.send"):
        with monkeypatch.context() as patch, HedraClient("key-id-4711:sekret-0815") as client:
            patch.setattr(place, crash)
            with pytest.raises(MemoryError) as raised:
                client.get_balance()
        text = with_locals(raised.value)
        assert "hedra_provider/api/client.py" in text
        assert "4711" not in text
        assert "0815" not in text
