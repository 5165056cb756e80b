"""The sandbox is safe to run: access, limits of disk and memory, clean-up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.sandbox.gate import Ledger
from hedra_provider.sandbox.store import FileStore, delete_abandoned
from hedra_provider.testing import Sandbox
from tests.sandbox.conftest import HERE, Client, portrait_bytes

if TYPE_CHECKING:
    from pathlib import Path


def knock(sandbox: Sandbox, headers: dict[str, str], method: str = "GET", name: str = "ledger") -> int:
    url = sandbox.base_url.replace("/web-app/public", f"/_sandbox/{name}")
    return httpx.request(method, url, headers=headers, **HERE).status_code


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[x"]
)
def test_a_name_that_resolves_to_this_machine_opens_no_back_door(hedra_sandbox: Sandbox, host: str):
    """DNS rebinding: a page of evil.example whose name now means 127.0.0.1."""
    assert knock(hedra_sandbox, {"Host": host}) in (400, 403)
    assert knock(hedra_sandbox, {"Host": host}, "POST", "reset") in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://evil.example:443", "file://"])
def test_a_web_page_opens_no_back_door(hedra_sandbox: Sandbox, origin: str):
    Client(hedra_sandbox).get("/voices")
    assert knock(hedra_sandbox, {"Origin": origin}, "POST", "reset") == 403
    assert hedra_sandbox.requests(path="/voices")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host"])
def test_a_header_does_not_change_the_origin_of_a_request(hedra_sandbox: Sandbox, name: str):
    assert knock(hedra_sandbox, {name: "203.0.113.9"}) == 200
    assert knock(hedra_sandbox, {name: "127.0.0.1", "Host": "evil.example"}) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:80", "LOCALHOST", "[::1]:80", "127.9.9.9"])
def test_this_machine_has_access_by_its_own_names(hedra_sandbox: Sandbox, host: str):
    assert knock(hedra_sandbox, {"Host": host, "Origin": f"http://{host}"}) == 200


COMMAND = [sys.executable, "-m", "hedra_provider.sandbox", "--no-media"]


def start(temporary: Path, *arguments: str) -> tuple[subprocess.Popen[str], Any]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def end(process: subprocess.Popen[str], number: int) -> str:
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    return errors


def fill(ready: Any) -> None:
    headers = {"x-api-key": ready["api_key"]}
    with httpx.Client(base_url=ready["base_url"], headers=headers, **HERE) as http:
        asset = http.post("/assets", json={"name": "x", "type": "image"}).json()["id"]
        http.post(f"/assets/{asset}/upload", files={"file": portrait_bytes()}).raise_for_status()


def test_the_next_start_deletes_the_files_of_a_killed_one(tmp_path: Path):
    (tmp_path / "hedra-sandbox-link").symlink_to("/etc")
    (tmp_path / "hedra-sandbox-file").write_text("not a folder")
    killed, ready = start(tmp_path)
    fill(ready)
    lives, ready = start(tmp_path)
    fill(ready)
    folders = {path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()}
    assert len(folders) == 2
    end(killed, signal.SIGKILL)
    assert folders == {path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()}
    last, _ = start(tmp_path)
    now = {path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()}
    assert len(now) == 2
    assert len(now & folders) == 1, "a running sandbox keeps its folder"
    end(lives, signal.SIGTERM)
    end(last, signal.SIGINT)
    assert {path.name for path in tmp_path.iterdir()} == {"hedra-sandbox-link", "hedra-sandbox-file"}


def test_the_folder_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hedra-sandbox-theirs").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    delete_abandoned(tmp_path)
    assert (tmp_path / "hedra-sandbox-theirs").exists()


def test_an_unclosed_store_deletes_its_folder():
    store = FileStore(None, 1000)
    folder = store.folder
    assert folder.stat().st_mode & 0o077 == 0
    del store
    assert not folder.exists()


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_it_warns_if_other_machines_can_reach_it(
    host: str, warns: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.sandbox import server
    from hedra_provider.sandbox.__main__ import main

    # The warning comes before anything is bound.
    async def serve(options: Any, *args: Any) -> None:
        assert options.host == host

    monkeypatch.setattr(server, "serve", serve)
    assert main(["--host", host, "--no-media"]) == 0
    out, err = capsys.readouterr()
    assert ("other machines" in err) is warns
    assert out == ""


def test_it_listens_on_loopback_by_default(hedra_sandbox: Sandbox):
    assert httpx.URL(hedra_sandbox.base_url).host == "127.0.0.1"
    assert httpx.URL(hedra_sandbox.files_url).host == "127.0.0.1"


@pytest.mark.hedra_sandbox(media=False, max_kept_bytes=50_000)
def test_memory_is_bounded(hedra_sandbox: Sandbox):
    hedra = Client(hedra_sandbox)
    # Rejected requests take no memory.
    for _ in range(50):
        assert hedra.post("/assets", json={"name": "x" * 2000}).status_code == 422
    answers = [
        hedra.post("/assets", json={"name": "x" * 2000, "type": "image"}).status_code for _ in range(20)
    ]
    assert answers[0] == 200
    assert answers[-1] == 413
    assert 5 <= answers.count(200) <= 12
    assert (
        hedra.post("/generations", json={"type": "text_to_speech", "text": "x" * 40_000}).status_code == 413
    )
    hedra_sandbox.reset()
    assert hedra.post("/assets", json={"name": "x", "type": "image"}).status_code == 200


def test_a_body_that_is_too_long_is_rejected(hedra_sandbox: Sandbox):
    answer = Client(hedra_sandbox).post("/assets", json={"name": "x" * 5_000_000, "type": "image"})
    assert answer.status_code == 413


@pytest.mark.hedra_sandbox(media=False, max_bytes=1000)
def test_results_count_for_the_disk_space(hedra_sandbox: Sandbox):
    hedra = Client(hedra_sandbox)
    voice = hedra.get("/voices").json()[0]["id"]

    def speak(text: str) -> Any:
        body = {"type": "text_to_speech", "voice_id": voice, "text": text}
        return hedra.status(hedra.post("/generations", json=body).json()["id"])

    statuses = [speak(f"Hello {n} {'x' * 100}") for n in range(12)]
    assert statuses[0]["status"] == "complete"
    assert statuses[-1]["status"] == "error"
    assert "full" in statuses[-1]["error"]["message"]


def test_the_ledger_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hedra_provider.sandbox.gate._LEDGER_BYTES", 100_000)
    monkeypatch.setattr("hedra_provider.sandbox.gate._LEDGER_LENGTH", 50)
    ledger = Ledger()
    for n in range(1000):
        row = ledger.add("GET", f"/{n}", None, 0.0, "x" * 10_000, "", "api", "", True)
        row[2] = 200
    assert len(ledger.rows()) == 9
    assert ledger.rows()[-1]["path"] == "/999"
    for n in range(1000):
        ledger.add("GET", f"/{n}", None, 0.0, "", "", "api", "", True)
    assert (len(ledger.rows()), ledger.total) == (50, 2000)


@pytest.mark.parametrize("part", ["x" * 100_000, "a: b\r\n" * 1000])
def test_headers_of_a_part_are_bounded(hedra_sandbox: Sandbox, part: str):
    hedra = Client(hedra_sandbox)
    asset = hedra.post("/assets", json={"name": "x", "type": "image"}).json()["id"]
    disposition = f'Content-Disposition: form-data; name="file"; filename="{part}"'
    body = f"--b\r\n{disposition}\r\n{part}\r\n\r\nx\r\n--b--\r\n"
    answer = hedra.post(
        f"/assets/{asset}/upload", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code in (400, 413, 422)
