"""Keys, the ledger, faults, file URLs, the back door."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from hedra_provider.testing import Sandbox
from tests.sandbox.conftest import HERE, Client

STATUS = "GET /generations/{id}/status"


class TestKeys:
    def test_are_required(self, hedra: Client) -> None:
        for key in ({"X-API-Key": ""}, {"X-API-Key": "wrong"}):
            answer = hedra.get("/models", headers=key)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "UNAUTHORIZED")
        assert hedra.download(f"{hedra.sandbox.base_url}/models").status_code == 401

    def test_can_be_changed(self, hedra: Client) -> None:
        hedra.sandbox.change_key("new")
        assert hedra.get("/models").status_code == 401
        assert hedra.get("/models", headers={"X-API-Key": "new"}).status_code == 200
        hedra.sandbox.reset()
        assert hedra.get("/models").status_code == 200


class TestLedger:
    def test_has_the_requests(self, hedra: Client) -> None:
        status = hedra.make()
        hedra.download(status["download_url"], headers={"user-agent": "me"})
        hedra.get("/generations", params={"ids": status["id"]})
        rows = hedra.sandbox.ledger()["requests"]
        assert [f"{row['method']} {row['path']}" for row in rows[-4:]] == [
            "POST /generations",
            f"GET /generations/{status['id']}/status",
            f"GET /files/{status['asset_id']}",
            "GET /generations",
        ]
        polled = hedra.sandbox.requests("GET", "/generations/{id}/status")
        assert len(polled) == len(hedra.sandbox.requests(path=f"/generations/{status['id']}/status")) == 1
        fetched = hedra.sandbox.requests("GET", "/files/{id}")[0]
        assert (fetched["status"], fetched["user_agent"]) == (200, "me")
        assert (fetched["origin"], fetched["has_key"], fetched["query"]) == ("files", False, "")
        assert rows[-1]["query"] == f"ids={status['id']}"
        assert rows[-1]["has_key"] is True
        assert all("_sandbox" not in row["path"] for row in rows)

    def test_has_the_connections(self, hedra: Client) -> None:
        for _ in range(3):
            hedra.get("/models")
        with Client(hedra.sandbox).http as second:
            second.get("/models")
        rows = hedra.sandbox.requests("GET", "/models")
        assert [row["status"] for row in rows] == [200] * 4
        assert len({row["connection"] for row in rows}) == 2

    def test_reset_forgets_everything(self, hedra: Client) -> None:
        generation_id = hedra.make()["id"]
        hedra.sandbox.faults({"on": "*", "status": 500, "times": None})
        hedra.sandbox.advance(1000)
        hedra.sandbox.reset()
        assert hedra.sandbox.submissions == []
        assert hedra.get(f"/generations/{generation_id}/status").status_code == 404
        assert len(hedra.sandbox.ledger()["requests"]) == 1
        assert hedra.credits() == 10_000


class TestFaults:
    def test_answer_instead_of_the_work(self, hedra: Client) -> None:
        hedra.sandbox.faults(
            {"on": "POST /generations", "status": 503, "headers": {"Retry-After": "7"}, "body": {"a": 1}}
        )
        answer = hedra.submit()
        assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (503, "7", {"a": 1})
        assert hedra.sandbox.submissions == []
        assert hedra.submit().status_code == 200

    def test_after_the_work_is_done_and_charged(self, hedra: Client) -> None:
        hedra.sandbox.faults({"on": "POST /generations", "when": "after", "status": 504})
        assert hedra.submit().status_code == 504
        assert len(hedra.sandbox.submissions) == 1
        assert hedra.credits() == 9_998
        assert hedra.sandbox.requests("POST", "/generations")[0]["status"] == 504

    @pytest.mark.parametrize(("when", "charged"), [("before", 0), ("after", 1)])
    def test_reset_cuts_the_connection(self, hedra: Client, when: str, charged: int) -> None:
        hedra.sandbox.faults({"on": "POST /generations", "when": when, "reset": True})
        body = hedra.request()
        with pytest.raises(httpx.TransportError):
            hedra.submit(body)
        assert len(hedra.sandbox.submissions) == charged
        assert hedra.submit(body).status_code == 200
        assert [r["status"] for r in hedra.sandbox.requests("POST", "/generations")] == [None, 200]

    def test_reset_of_an_upload(self, hedra: Client) -> None:
        hedra.sandbox.faults({"on": "POST /assets/{id}/upload", "reset": True})
        asset_id = hedra.post("/assets", json={"name": "x", "type": "audio"}).json()["id"]
        with pytest.raises(httpx.TransportError):
            hedra.post(f"/assets/{asset_id}/upload", files={"file": bytes(5_000_000)})

    def test_skip_and_times(self, hedra: Client) -> None:
        hedra.sandbox.faults({"on": "GET /models", "skip": 1, "times": 2, "status": 500})
        assert [hedra.get("/models").status_code for _ in range(5)] == [200, 500, 500, 200, 200]

    def test_delay(self, hedra: Client) -> None:
        hedra.sandbox.faults({"on": "GET /models", "delay_seconds": 0.3})
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            slow = pool.submit(hedra.get, "/models")
            with Client(hedra.sandbox).http as quick:
                while not hedra.sandbox.requests("GET", "/models"):
                    pass
                assert quick.get("/voices").status_code == 200
            assert time.monotonic() - began < 0.3
            assert slow.result().status_code == 200
            assert time.monotonic() - began >= 0.3

    def test_a_delayed_submit_is_worked_on_though_its_client_is_gone(self, hedra: Client) -> None:
        body = hedra.request()
        hedra.sandbox.faults({"on": "POST /generations", "delay_seconds": 0.2})
        with pytest.raises(httpx.TimeoutException):
            hedra.post("/generations", json=body, timeout=0.05)
        hedra.http.close()
        assert hedra.sandbox.submissions == []
        while hedra.sandbox.requests("POST", "/generations")[0]["status"] is None:
            pass
        assert [row["credits"] > 0 for row in hedra.sandbox.submissions] == [True]

    def test_a_delayed_submit_of_before_a_reset_is_lost(self, hedra: Client) -> None:
        body = hedra.request()
        hedra.sandbox.faults({"on": "POST /generations", "delay_seconds": 0.5})
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(hedra.submit, body)
            while not hedra.sandbox.requests("POST", "/generations"):
                pass
            hedra.sandbox.reset()
            assert isinstance(late.exception(), httpx.TransportError)
        assert hedra.sandbox.submissions == []

    def test_cut_at_breaks_a_download_that_range_can_resume(self, hedra: Client) -> None:
        url = hedra.make()["download_url"]
        whole = hedra.download(url).content
        hedra.sandbox.faults({"on": "GET /files/{id}", "cut_at": 1000})
        got = bytearray()
        with pytest.raises(httpx.TransportError):  # noqa: PT012
            with httpx.stream("GET", url, **HERE) as answer:
                assert int(answer.headers["content-length"]) == len(whole)
                for chunk in answer.iter_raw():
                    got += chunk
        assert bytes(got) == whole[:1000]
        rest = hedra.download(url, headers={"Range": "bytes=1000-", "If-Range": answer.headers["etag"]})
        assert rest.status_code == 206
        assert bytes(got) + rest.content == whole

    def test_patch_changes_an_answer(self, hedra: Client) -> None:
        generation_id = hedra.make()["id"]
        hedra.sandbox.faults(
            {"on": STATUS, "patch": {"url": None, "download_url": None, "status": "dreaming"}},
            {"on": STATUS, "headers": {"X-Extra": "1"}},
        )
        first = hedra.status(generation_id)
        assert first["status"] == "dreaming"
        assert not {"url", "download_url"} & first.keys()
        assert hedra.get(f"/generations/{generation_id}/status").headers["X-Extra"] == "1"

    def test_a_body_may_be_garbage(self, hedra: Client) -> None:
        hedra.sandbox.faults({"on": "GET /models", "body": "<html>oops"})
        answer = hedra.get("/models")
        assert (answer.status_code, answer.text) == (200, "<html>oops")

    def test_a_literal_path_is_one_generation(self, hedra: Client) -> None:
        first, second = hedra.make()["id"], hedra.make()["id"]
        hedra.sandbox.faults({"on": f"GET /generations/{first}/status", "status": 500, "times": None})
        codes = [hedra.get(f"/generations/{key}/status").status_code for key in (first, second)]
        assert codes == [500, 200]

    @pytest.mark.parametrize(
        "bad", [{}, {"on": "GET /x", "stats": 1}, {"on": "x"}, {"on": "*", "when": "now"}]
    )
    def test_a_mistyped_fault_is_rejected(self, hedra: Client, bad: dict) -> None:
        with pytest.raises(ValueError, match=r"fault|on is|when is"):
            hedra.sandbox.faults(bad)


class TestFileUrls:
    def test_expire(self, hedra: Client) -> None:
        status = hedra.make()
        assert hedra.download(status["url"]).status_code == 200
        hedra.sandbox.advance(3601)
        answer = hedra.download(status["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/xml")
        assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in answer.text
        assert hedra.download(hedra.status(status["id"])["url"]).status_code == 200

    def test_cannot_be_tampered_with(self, hedra: Client) -> None:
        url = hedra.make()["url"]
        for changed in (url + "0", url.replace("Expires=3600", "Expires=9999"), url.split("?")[0]):
            answer = hedra.download(changed)
            assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)

    def test_ranges_etags_and_head(self, hedra: Client) -> None:
        url = hedra.make()["url"]
        whole = hedra.download(url)
        part = hedra.download(url, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
        changed = hedra.download(url, headers={"Range": "bytes=10-19", "If-Range": '"other"'})
        assert (changed.status_code, changed.content) == (200, whole.content)
        assert hedra.download(url, headers={"Range": "bytes=99999999-"}).status_code == 416
        assert hedra.download(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
        head = httpx.head(url, trust_env=False)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == len(whole.content)

    def test_are_on_another_origin_and_need_no_key(self, hedra: Client) -> None:
        status = hedra.make()
        assert status["url"].startswith(hedra.sandbox.files_url)
        assert not status["url"].startswith(hedra.sandbox.base_url[:25])
        assert "attachment" in hedra.download(status["download_url"]).headers["content-disposition"]

    def test_voices_have_a_preview(self, hedra: Client) -> None:
        preview = hedra.get("/voices").json()[2]["asset"]["preview_url"]
        assert hedra.download(preview).content[:4] == b"RIFF"


def test_the_back_door_ignores_forwarded_addresses(hedra: Client) -> None:
    origin = hedra.sandbox.base_url.removesuffix("/web-app/public")
    answer = hedra.download(f"{origin}/_sandbox/ledger", headers={"X-Forwarded-For": "8.8.8.8"})
    assert answer.status_code == 200


async def test_the_back_door_is_for_this_machine_only() -> None:
    from starlette.requests import Request

    from hedra_provider.sandbox.backdoor import _guarded

    endpoint = _guarded(lambda raw: {"secret": True})
    for client, status in (("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 403), ("testclient", 403)):

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"host", b"127.0.0.1:80"), (b"x-forwarded-for", b"127.0.0.1")]
        scope = {"type": "http", "method": "GET", "headers": headers, "client": (client, 1)}
        assert (await endpoint(Request(scope, receive))).status_code == status


@pytest.mark.parametrize("implementation", ["h11", "httptools"])
def test_resets_work_with_both_http_implementations(
    monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    import uvicorn

    if implementation == "httptools":
        pytest.importorskip("httptools")
    used = []

    def config(*args: object, **options: object) -> uvicorn.Config:
        made = real(*args, **{**options, "http": implementation})
        used.append(made)
        return made

    real = uvicorn.Config
    monkeypatch.setattr(uvicorn, "Config", config)
    with Sandbox() as sandbox:
        client = Client(sandbox)
        sandbox.faults({"on": "GET /models", "reset": True}, {"on": "GET /voices", "cut_at": 10})
        for path in ("/models", "/voices"):
            with pytest.raises(httpx.TransportError):
                client.get(path)
            assert client.get(path).status_code == 200
    assert implementation in used[0].http_protocol_class.__mro__[1].__module__


def test_stops_during_an_unfinished_request() -> None:
    with Sandbox(media=False) as sandbox, ThreadPoolExecutor(1) as pool:
        sandbox.faults({"on": "GET /models", "delay_seconds": 600})
        hanging = pool.submit(Client(sandbox).get, "/models")
        while not sandbox.requests("GET", "/models"):
            pass
        began = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - began < 5
        assert isinstance(hanging.exception(5), httpx.TransportError) or hanging.result().status_code == 500


def test_starts_and_stops_quickly() -> None:
    began = time.monotonic()
    with Sandbox(media=False) as sandbox:
        assert time.monotonic() - began < 1
        assert sandbox.submissions == []
    assert time.monotonic() - began < 2
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.ledger()
