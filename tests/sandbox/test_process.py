"""The command line, a restart, and Hedra's own way of using its API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING

import httpx
import pytest
import requests

from hedra_provider.sandbox.__main__ import main
from hedra_provider.testing import Sandbox
from tests.sandbox.conftest import HERE, Client, portrait_bytes, wav_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Process:
    """``python -m hedra_provider.sandbox``, and the line it prints."""

    def __init__(self, *arguments: str, temporary: Path) -> None:
        command = [sys.executable, "-m", "hedra_provider.sandbox", *arguments]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.output: IO[str] = self.process.stdout
        self.ready = json.loads(self.output.readline())

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.output.close()
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    started: list[Process] = []

    def begin(*arguments: str) -> Process:
        started.append(Process(*arguments, temporary=temporary))
        return started[-1]

    yield begin
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()
        process.output.close()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_one_line_and_ends_cleanly(start, number: int) -> None:
    process = start("--no-media", "--api-key", "k", "--workspace", "team=5", "--workspace", "other=6")
    ready = process.ready
    assert ready["base_url"].startswith("http://127.0.0.1:")
    assert ready["base_url"].endswith("/web-app/public")
    assert json.loads(ready["connection"]) == {
        "conn_type": "hedra",
        "host": ready["base_url"],
        "password": "k",
        "extra": {"workspace_id": "team"},
    }
    credits = httpx.get(ready["base_url"] + "/billing/credits", headers={"x-api-key": "k"}, **HERE)
    assert credits.json()["workspace_credits"] == {"team": 5, "other": 6}
    began = time.monotonic()
    assert process.end(number) == 0
    assert time.monotonic() - began < 3


def test_the_line_names_the_connection_of_each_api(start) -> None:
    started = [
        start("--no-media", *options)
        for options in ((), ("--api", "3", "--api-key", "me:secret"), ("--api", "2"))
    ]
    both, alone, v2_only = (process.ready for process in started)
    assert {name for name in both if name.endswith("_v3")} == {"base_url_v3", "api_key_v3", "connection_v3"}
    assert both["connection"] != both["connection_v3"]
    assert json.loads(both["connection_v3"])["host"] == both["base_url_v3"]
    assert (alone["api_key"], alone["connection"]) == ("me:secret", alone["connection_v3"])
    assert set(v2_only) == {"base_url", "api_key", "connection"}
    url = both["base_url_v3"] + "/balance"
    answer = httpx.get(url, headers={"Authorization": f"Key {both['api_key_v3']}"}, **HERE)
    assert answer.json()["balance"] == 100
    assert [process.end() for process in started] == [0, 0, 0]


def test_the_key_is_a_new_one_unless_given(start) -> None:
    processes = [start("--no-media"), start("--no-media")]
    first, second = (process.ready for process in processes)
    assert first["api_key"] != second["api_key"]
    assert "extra" not in json.loads(first["connection"])
    for ready in (first, second):
        assert ":" not in ready["api_key"]  # keys of v3 have a colon
    assert [process.end() for process in processes] == [0, 0]


@pytest.mark.parametrize(
    "arguments", [["--workspace", "x"], ["--duplicate-id", "maybe"], ["--rate", "0"], ["--seconds", "-1"]]
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[0].strip("-").replace("-", "_")[:5] in capsys.readouterr().err.replace("-", "_")


def test_names_a_missing_library(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['av'] = None; sys.argv = ['x']; import runpy; "
    code = hide + "runpy.run_module('hedra_provider.sandbox', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "airflow-provider-hedra[sandbox]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_needs_no_media_libraries_without_media(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['av'] = sys.modules['PIL'] = None; "
    code = hide + (
        "from hedra_provider.testing import Sandbox\n"
        "with Sandbox(media=False) as sandbox: print(sandbox.ledger()['credits']['remaining'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, "10000"), done.stderr


def test_a_state_file_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with Sandbox(state=file, seconds=60) as sandbox:
        hedra = Client(sandbox)
        done = hedra.submit(seconds=1).json()["id"]
        sandbox.advance(60)
        assert hedra.final_status(done)["status"] == "complete"
        running = hedra.submit(seconds=1.5, inputs={"resolution": "720p"}).json()["id"]
        key, balance = sandbox.api_key, hedra.credits()
    assert file.stat().st_mode & 0o077 == 0
    with Sandbox(state=file, seconds=60) as sandbox:
        hedra = Client(sandbox)
        assert (sandbox.api_key, hedra.credits()) == (key, balance)
        assert len(sandbox.submissions) == 2
        assert hedra.download(hedra.status(done)["url"]).content[4:8] == b"ftyp"
        assert hedra.status(running)["status"] != "complete"
        sandbox.advance(60)
        status = hedra.final_status(running)
        assert status["status"] == "complete"
        assert hedra.download(status["url"]).content[4:8] == b"ftyp"


def test_a_video_that_a_restart_interrupted_is_made_after_it(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with Sandbox(state=file, seconds=60) as sandbox:
        # Two minutes of sound: the sandbox stops long before the file is made.
        request = Client(sandbox).request(inputs={"duration_ms": 120_000, "resolution": "1080p"})
        generation_id = Client(sandbox).submit(request).json()["id"]
    saved = json.loads(file.read_text())
    assert saved["generations"][0]["error"] is None
    assert saved["assets"][-1]["file"] is None
    # A short file keeps the test short.
    saved["generations"][0]["job"]["duration_ms"] = 1000
    file.write_text(json.dumps(saved))
    with Sandbox(state=file, seconds=60) as sandbox:
        sandbox.advance(60)
        status = Client(sandbox).final_status(generation_id)
        assert status["status"] == "complete"
        assert Client(sandbox).download(status["url"]).content[4:8] == b"ftyp"


def test_a_kill_loses_no_answered_request(start, tmp_path: Path) -> None:
    file = str(tmp_path / "state.json")
    process = start("--state", file, "--no-media")
    headers = {"x-api-key": process.ready["api_key"]}
    asset = httpx.post(
        process.ready["base_url"] + "/assets", json={"name": "x", "type": "audio"}, headers=headers, **HERE
    ).json()["id"]
    process.end(signal.SIGKILL)
    again = start("--state", file, "--no-media")
    answer = httpx.post(
        f"{again.ready['base_url']}/assets/{asset}/upload",
        headers=headers,
        files={"file": wav_bytes(1)},
        **HERE,
    )
    assert answer.status_code == 200
    again.end()


def test_the_flow_of_hedras_starter_script(hedra_sandbox: Sandbox, tmp_path: Path) -> None:
    """The steps of Hedra's published example, which has only an address and a key."""
    image, speech = tmp_path / "portrait.jpg", tmp_path / "speech.wav"
    image.write_bytes(portrait_bytes(kind="JPEG"))
    speech.write_bytes(wav_bytes(2.0))
    base, session = hedra_sandbox.base_url, requests.Session()
    session.trust_env = False
    session.headers["x-api-key"] = hedra_sandbox.api_key

    def upload(path: Path, kind: str) -> str:
        created = session.post(f"{base}/assets", json={"name": path.name, "type": kind})
        asset_id = created.json()["id"]
        with path.open("rb") as file:
            session.post(f"{base}/assets/{asset_id}/upload", files={"file": file}).raise_for_status()
        return asset_id

    submitted = session.post(
        f"{base}/generations",
        json={
            "type": "video",
            "ai_model_id": session.get(f"{base}/models").json()[0]["id"],
            "start_keyframe_id": upload(image, "image"),
            "audio_id": upload(speech, "audio"),
            "generated_video_inputs": {
                "text_prompt": "A person talks",
                "resolution": "540p",
                "aspect_ratio": "16:9",
                "duration_ms": 1500,
                "seed": 1,
            },
        },
    ).json()
    for _ in range(50):
        status = session.get(f"{base}/generations/{submitted['id']}/status").json()
        if status["status"] in ("complete", "error"):
            break
    assert status["status"] == "complete"
    with requests.get(status["download_url"], stream=True, timeout=30) as answer:
        answer.raise_for_status()
        assert answer.raw.read(8)[4:] == b"ftyp"
