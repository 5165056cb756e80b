"""Webhooks of API v3: signed, at least once, listed from the submit on, and only to this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from tests.sandbox.client_v3 import ClientV3


class Receiver:
    """Takes webhooks on a free port of this machine."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.requests.append((dict(self.headers), body))

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?mark=1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


def delivery(v3: ClientV3, *, attempts: int, status: str) -> dict[str, Any]:
    """Return the newest delivery once it has got so far."""
    deadline = time.monotonic() + 20
    while True:
        row: dict[str, Any] = v3.get("/webhooks/deliveries").json()["data"][0]
        if (row["attempts"], row["status"]) == (attempts, status):
            return row
        assert time.monotonic() < deadline, row
        time.sleep(0.02)


def verify(v3: ClientV3, headers: dict[str, str], body: bytes) -> None:
    names = ("Timestamp", "Id", "Event", "Redelivery")
    found = {name.lower(): value for name, value in headers.items()}
    fields = [found[f"x-hedra-webhook-{name.lower()}"] for name in names]
    signed = "\n".join((*fields, hashlib.sha256(body).hexdigest())).encode()
    key = base64.b64decode(v3.get("/webhooks/public-key").json()["public_key"])
    signature = bytes.fromhex(found["x-hedra-webhook-signature"])
    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)


@pytest.mark.hedra_sandbox(seconds=60)
def test_a_finished_job_is_announced_with_a_signature(v3: ClientV3, receiver: Receiver) -> None:
    job_id = v3.submit_speech(webhook=receiver.url).json()["job_id"]
    (row,) = v3.get("/webhooks/deliveries").json()["data"]
    assert (row["job_id"], row["webhook_url"], row["status"], row["event_type"], row["source"]) == (
        job_id, receiver.url, "PENDING", None, "per_job",
    )  # fmt: skip
    v3.sandbox.advance(60)
    delivery(v3, attempts=1, status="DELIVERED")
    ((headers, body),) = receiver.requests
    verify(v3, headers, body)
    with pytest.raises(InvalidSignature):
        verify(v3, headers, body + b" ")
    job = json.loads(body)
    assert (headers["x-hedra-webhook-event"] if "x-hedra-webhook-event" in headers else headers[
        "X-Hedra-Webhook-Event"], job["job_id"]) == ("job.completed", job_id)  # fmt: skip
    assert v3.download(job["outputs"][0]["url"]).status_code == 200
    assert not {"logs", "cost", "currency"} & job.keys()


def test_a_failed_delivery_is_tried_again_later_and_can_be_sent_again(
    v3: ClientV3, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    v3.sandbox.faults({"on": "POST /v3/models/{model}", "generation_error": {"code": "INTERNAL"}})
    job_id = v3.submit_speech(webhook=receiver.url).json()["job_id"]
    row = delivery(v3, attempts=1, status="PENDING")
    assert (row["last_response_status"], row["last_error"]["code"], row["event_type"]) == (
        500, "UNAVAILABLE", "job.failed",
    )  # fmt: skip
    v3.sandbox.advance(11)
    delivery(v3, attempts=2, status="DELIVERED")
    assert v3.post(f"/webhooks/deliveries/{job_id}/redeliver").status_code == 200
    row = delivery(v3, attempts=3, status="DELIVERED")
    assert (row["redelivery_count"], row["redeliveries"][0]["attempts"]) == (1, 2)
    flags = [
        {name.lower(): value for name, value in headers.items()}["x-hedra-webhook-redelivery"]
        for headers, _ in receiver.requests
    ]
    assert flags == ["false", "false", "true"]
    assert v3.post("/webhooks/deliveries/job_x/redeliver").status_code == 404


def test_the_default_webhook_takes_jobs_without_their_own(v3: ClientV3, receiver: Receiver) -> None:
    assert v3.get("/webhooks/default").json()["url"] is None
    assert v3.post("/webhooks/default/test").status_code == 400
    assert v3.http.put("/webhooks/default", json={"url": receiver.url}).json()["enabled"] is True
    assert v3.post("/webhooks/default/test").json() == {"ok": True, "response_status": 204, "error": None}
    v3.submit_speech()
    assert delivery(v3, attempts=1, status="DELIVERED")["source"] == "default"
    assert v3.http.delete("/webhooks/default").status_code == 204
    v3.submit_speech()
    assert len(v3.get("/webhooks/deliveries").json()["data"]) == 1


def test_other_machines_get_nothing(v3: ClientV3) -> None:
    v3.submit_speech(webhook="https://receiver.invalid/hook?mark=abc")
    row = delivery(v3, attempts=1, status="FAILED")
    assert (row["last_error"]["code"], row["webhook_url"]) == (
        "FAILED_PRECONDITION", "https://receiver.invalid/hook?mark=abc",
    )  # fmt: skip
    assert v3.submit_speech(webhook="not a url").status_code == 400
