"""Faults in the bytes of an answer, and in its JSON."""

from __future__ import annotations

import base64
import socket
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.sandbox.conftest import Client


def raw_answer(hedra: Client, path: str) -> bytes:
    """What comes over the wire: an HTTP library would hide it."""
    url = urlsplit(hedra.sandbox.base_url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=5) as wire:
        head = f"GET {url.path}{path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {hedra.sandbox.api_key}\r\n"
        wire.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: wire.recv(65536), b""))


def test_a_body_may_be_longer_than_announced(hedra: Client) -> None:
    hedra.sandbox.faults({"on": "GET /billing/credits", "extra_bytes": 7})
    head, _, body = raw_answer(hedra, "/billing/credits").partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line)
    assert len(body) == length + 7
    assert body.endswith(b"}xxxxxxx")


@pytest.mark.parametrize("more", [{}, {"when": "after"}, {"body": "0123456789"}])
def test_a_body_may_trickle(hedra: Client, more: dict[str, Any]) -> None:
    whole = more.get("body") or hedra.get("/billing/credits").text
    fault = {"on": "GET /billing/credits", "piece_bytes": 3, "piece_seconds": 0.002}
    hedra.sandbox.faults(fault | more)
    with hedra.http.stream("GET", "/billing/credits") as answer:
        pieces = list(answer.iter_raw())
    assert b"".join(pieces).decode() == whole
    assert len(pieces) > 2


def test_a_cut_and_a_trickle_go_together(hedra: Client) -> None:
    hedra.sandbox.faults({"on": "GET /models", "piece_bytes": 3, "piece_seconds": 0.001, "cut_at": 10})
    with pytest.raises(httpx.RemoteProtocolError):
        hedra.get("/models")


def test_a_body_may_be_no_text(hedra: Client) -> None:
    data = bytes(range(256))
    hedra.sandbox.faults({"on": "GET /models", "body_base64": base64.b64encode(data).decode()})
    answer = hedra.get("/models")
    assert (answer.status_code, answer.content) == (200, data)


def test_patch_items_changes_each_row(hedra: Client) -> None:
    generation_id = hedra.make()["id"]
    hedra.sandbox.faults(
        {"on": "GET /assets", "patch_items": {"name": "?"}},
        {"on": "GET /generations", "patch_items": {"asset": {"asset": {"url": None}}, "status": "odd"}},
    )
    rows = hedra.get("/assets", params={"type": "audio"}).json()
    assert [row["name"] for row in rows] == ["?"]
    assert rows[0]["asset"]["duration_ms"]
    (row,) = hedra.get("/generations", params={"ids": generation_id}).json()["data"]
    assert row["status"] == "odd"
    assert "url" not in row["asset"]["asset"]
    assert row["asset"]["asset"]["width"]


@pytest.mark.parametrize("path", ["/models", "/nothing"])
def test_the_date_of_an_answer_is_that_of_its_clock(hedra: Client, path: str) -> None:
    before = hedra.get(path).headers["Date"]
    hedra.sandbox.advance(-86_400)
    after = hedra.get(path).headers["Date"]
    passed = parsedate_to_datetime(after) - parsedate_to_datetime(before)
    assert round(passed.total_seconds() / 3600) == -24
    wrong = "Thu, 01 Jan 1970 00:00:00 GMT"
    hedra.sandbox.faults({"on": f"GET {path}", "headers": {"Date": wrong}})
    assert hedra.get(path).headers.get_list("Date") == [wrong]


@pytest.mark.parametrize("bad", [{"body_base64": "%%%"}, {"piece_bytes": 0}])
def test_a_mistake_is_reported(hedra: Client, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"base64|piece_bytes|characters"):
        hedra.sandbox.faults({"on": "*"} | bad)
