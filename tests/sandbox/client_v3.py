from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from tests.sandbox.conftest import HERE, Json, portrait_bytes, wav_bytes

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

AVATAR = "hedra-avatar"
SPEECH = "elevenlabs-v3"


class ClientV3:
    """API v3 over real HTTP, a line per call."""

    def __init__(self, sandbox: Sandbox, **headers: str) -> None:
        self.sandbox = sandbox
        headers = headers or {"Authorization": f"Key {sandbox.api_key_v3}"}
        self.http = httpx.Client(base_url=sandbox.base_url_v3, headers=headers, timeout=30, **HERE)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, **options)

    def upload(self, data: bytes, name: str = "file") -> str:
        answer = self.post("/files", files={"file": (name, data)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"])

    def voice(self) -> str:
        return str(self.get(f"/models/{SPEECH}/voices").json()["data"][0]["id"])

    def avatar_input(self, seconds: float = 1.0, **fields: Any) -> Json:
        """An input of an avatar model; None removes a field."""
        given = {
            "prompt": "A person speaking",
            "aspect_ratio": "9:16",
            "resolution": "540p",
            **fields,
        }
        if "start_image" not in given:
            given["start_image"] = by_url(self.upload(portrait_bytes()))
        if "audio" not in given:
            given["audio"] = by_url(self.upload(wav_bytes(seconds)))
        return {key: value for key, value in given.items() if value is not None}

    def speech_input(self, text: str = "Good morning.", **fields: Any) -> Json:
        return {"text": text, "voice_id": self.voice(), **fields}

    def submit(
        self,
        model: str,
        job_input: Json,
        key: str | None = None,
        *,
        content: bytes | None = None,
        **body: Any,
    ) -> httpx.Response:
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        content = content or json.dumps({"input": job_input, **body}).encode()
        return self.post(f"/models/{model}", content=content, headers=headers)

    def submit_speech(
        self, key: str | None = None, text: str = "Good morning.", **body: Any
    ) -> httpx.Response:
        return self.submit(SPEECH, self.speech_input(text), key, **body)

    def finish(self, answer: httpx.Response) -> Json:
        """Poll a job that is due by the clock until it has ended, and return its result."""
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["job_id"]
        for _ in range(30):
            # Each answer waits up to two seconds for the file.
            if self.get(f"/jobs/{job_id}/status").json()["status"] not in ("IN_QUEUE", "IN_PROGRESS"):
                break
        return self.get(f"/jobs/{job_id}").json()

    def download(self, url: str) -> httpx.Response:
        return httpx.get(url, timeout=30, **HERE)

    def balance(self) -> float:
        return float(self.get("/balance").json()["balance"])


def by_url(url: str) -> Json:
    return {"source": "url", "url": url}


def by_asset(asset_id: str) -> Json:
    return {"source": "asset", "asset_id": asset_id}


def error_of(answer: httpx.Response) -> Json:
    return answer.json()["error"]
