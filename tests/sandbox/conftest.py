from __future__ import annotations

import io
import json
import math
import struct
import wave
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hedra_provider.testing import Sandbox
    from tests.sandbox.client_v3 import ClientV3

AVATAR = "together/hedra-avatar"
Json = Any
# No certificates: reading those of the system takes longer than most of these tests.
HERE: dict[str, Any] = {"trust_env": False, "verify": False}


def wav_bytes(seconds: float, rate: int = 16_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        tone = [round(12_000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(round(seconds * rate))]
        sound.writeframes(struct.pack(f"<{len(tone)}h", *tone))
    return out.getvalue()


def portrait_bytes(width: int = 300, height: int = 400, kind: str = "PNG", **save: Any) -> bytes:
    image = Image.new("RGB", (width, height), (40, 80, 160))
    ImageDraw.Draw(image).ellipse(
        (width // 4, height // 8, width * 3 // 4, height * 5 // 8), fill=(230, 190, 160)
    )
    out = io.BytesIO()
    image.save(out, kind, **save)
    return out.getvalue()


class Client:
    """Hedra's API over real HTTP, a line per call."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(
            base_url=sandbox.base_url, headers={"X-API-Key": sandbox.api_key}, timeout=30, **HERE
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, **options)

    def asset(self, kind: str, data: bytes, name: str = "file", **fields: Any) -> str:
        asset_id = self.post("/assets", json={"name": name, "type": kind, **fields}).json()["id"]
        answer = self.post(f"/assets/{asset_id}/upload", files={"file": (name, data)})
        assert answer.status_code == 200, answer.text
        return str(asset_id)

    def request(self, seconds: float = 1.0, *, inputs: Json = None, **fields: Any) -> Json:
        """A request for an avatar video; None removes a field."""
        body = {
            "type": "video",
            "model_slug": AVATAR,
            "start_keyframe_id": self.asset("image", portrait_bytes(), "face.png"),
            "audio_id": self.asset("audio", wav_bytes(seconds), "speech.wav"),
            "generated_video_inputs": {
                "text_prompt": "A person speaking",
                "aspect_ratio": "9:16",
                "resolution": "540p",
                **(inputs or {}),
            },
            **fields,
        }
        return {key: value for key, value in body.items() if value is not None}

    def submit(self, body: Json = None, **options: Any) -> httpx.Response:
        return self.post("/generations", json=self.request(**options) if body is None else body)

    def status(self, generation_id: str) -> Json:
        return self.get(f"/generations/{generation_id}/status").json()

    def make(self, **options: Any) -> Json:
        """Submit and return the final status, which is complete unless something is wrong."""
        answer = self.submit(**options)
        assert answer.status_code == 200, answer.text
        return self.final_status(answer.json()["id"])

    def final_status(self, generation_id: str) -> Json:
        """Poll a generation that is due by the clock until its file is made, on a busy machine too."""
        for _ in range(30):
            # Each answer waits up to two seconds for the file.
            status = self.status(generation_id)
            if status["status"] != "finalizing":
                break
        return status

    def download(self, url: str, **options: Any) -> httpx.Response:
        return httpx.get(url, timeout=30, **HERE, **options)

    def credits(self) -> int:
        return int(self.get("/billing/credits").json()["remaining"])


@pytest.fixture
def hedra(hedra_sandbox: Sandbox) -> Iterator[Client]:
    client = Client(hedra_sandbox)
    yield client
    client.http.close()


@pytest.fixture
def other() -> Iterator[Callable[[Sandbox], Client]]:
    """Clients for sandboxes of a test's own."""
    made: list[Client] = []

    def make(sandbox: Sandbox) -> Client:
        made.append(Client(sandbox))
        return made[-1]

    yield make
    for client in made:
        client.http.close()


def connection_of(line: str) -> Json:
    return json.loads(json.loads(line)["connection"])


@pytest.fixture
def v3(hedra_sandbox: Sandbox) -> Iterator[ClientV3]:
    from tests.sandbox.client_v3 import ClientV3

    client = ClientV3(hedra_sandbox)
    yield client
    client.http.close()
