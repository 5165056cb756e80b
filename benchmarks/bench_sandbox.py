"""How fast is the sandbox? Status answers per second on one core, and the time to make a ten-minute video.

    python -m benchmarks.bench_sandbox [--seconds 5] [--connections 16] [--minutes 10]

The sandbox runs in a process of its own; the load comes from this one, over kept connections on loopback.
Prints a table and writes ``benchmarks/results/sandbox.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import av
from PIL import Image

from benchmarks.report import publish, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS_TARGET_PER_SECOND = 1000
RENDER_TARGET_SECONDS = 20

_open = build_opener(ProxyHandler({})).open


@contextlib.contextmanager
def sandbox(*arguments: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Run a sandbox; yield its process id and what it printed."""
    command = [sys.executable, "-m", "hedra_provider.sandbox", "--seconds", "0", "--queue-seconds", "0"]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Api:
    """A few calls with the standard library."""

    def __init__(self, ready: dict[str, str]) -> None:
        self.base, self.key = ready["base_url"], ready["api_key"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON, get JSON."""
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with _open(Request(self.base + path, data, headers, method=method), timeout=60) as answer:
            return json.load(answer)

    def asset(self, kind: str, name: str, data: bytes) -> str:
        """Create an asset and upload its file."""
        asset_id = str(self.call("POST", "/assets", {"name": name, "type": kind})["id"])
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        content = f"--X\r\n{disposition}\r\n\r\n".encode() + data + b"\r\n--X--\r\n"
        headers = {"X-API-Key": self.key, "Content-Type": "multipart/form-data; boundary=X"}
        url = f"{self.base}/assets/{asset_id}/upload"
        with _open(Request(url, content, headers, method="POST"), timeout=60):
            return asset_id

    def submit(self, seconds: float) -> str:
        """Upload a portrait and so many seconds of audio, and submit a video."""
        sound = io.BytesIO()
        with wave.open(sound, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            # A tone that swells and fades, so that the video's level meter moves.
            second = b"".join(
                ((i % 80 - 40) * (i % 8000) // 20).to_bytes(2, "little", signed=True) for i in range(16_000)
            )
            file.writeframes(second * round(seconds))
        picture = io.BytesIO()
        Image.effect_noise((900, 1400), 60).convert("RGB").save(picture, "JPEG")
        return str(
            self.call(
                "POST",
                "/generations",
                {
                    "type": "video",
                    "model_slug": "together/hedra-avatar",
                    "start_keyframe_id": self.asset("image", "face.jpg", picture.getvalue()),
                    "audio_id": self.asset("audio", "speech.wav", sound.getvalue()),
                    "generated_video_inputs": {
                        "text_prompt": "A person speaking to the camera",
                        "aspect_ratio": "9:16",
                        "resolution": "720p",
                    },
                },
            )["id"]
        )


def status_rate(seconds: float, connections: int) -> dict[str, Any]:
    """Poll one generation again and again."""
    with sandbox("--no-media") as (pid, ready):
        api = Api(ready)
        generation_id = api.submit(1)
        path = f"{urlsplit(api.base).path}/generations/{generation_id}/status"
        counts = [0] * connections
        end = time.monotonic() + seconds

        def load(index: int) -> None:
            connection = http.client.HTTPConnection(urlsplit(api.base).netloc, timeout=10)
            while time.monotonic() < end:
                connection.request("GET", path, headers={"X-API-Key": api.key})
                answer = connection.getresponse()
                if b'"complete"' not in answer.read():
                    raise RuntimeError("not complete")
                counts[index] += 1
            connection.close()

        cpu = _cpu_seconds(pid)
        began = time.monotonic()
        threads = [threading.Thread(target=load, args=(index,)) for index in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.monotonic() - began
        cpu = _cpu_seconds(pid) - cpu
    total = sum(counts)
    return {
        "requests": total,
        "connections": connections,
        "elapsed_seconds": round(elapsed, 2),
        "per_second": round(total / elapsed),
        "server_cpu_seconds": round(cpu, 2),
        # The load generator shares the machine: this is what one core of the server could do.
        "per_second_of_server_cpu": round(total / cpu) if cpu else None,
    }


def long_video(minutes: float) -> dict[str, Any]:
    """Make a 720p video of so many minutes."""
    length = minutes * 60
    with sandbox() as (pid, ready):
        api = Api(ready)
        began = time.monotonic()
        generation_id = api.submit(length)
        uploaded = time.monotonic()
        slowest = 0.0
        while True:
            asked = time.monotonic()
            status = api.call("GET", f"/generations/{generation_id}/status")
            # A status request waits up to two seconds for a file that is due. A longer wait means a blocked
            # loop.
            slowest = max(slowest, time.monotonic() - asked)
            if status["status"] in ("complete", "error"):
                break
        elapsed = time.monotonic() - uploaded
        peak = _peak_megabytes(pid)
        if status["status"] == "error":
            raise RuntimeError(status)
        with _open(status["download_url"], timeout=60) as answer:
            video = answer.read()
    with av.open(io.BytesIO(video)) as container:
        duration = (container.duration or 0) / av.time_base
    if abs(duration - length) > 0.1:
        raise RuntimeError(f"The video is {duration} s long, the audio {length} s.")
    return {
        "audio_seconds": length,
        "render_seconds": round(elapsed, 2),
        "upload_and_submit_seconds": round(uploaded - began, 2),
        "slowest_status_seconds": round(slowest, 2),
        "video_seconds": duration,
        "video_megabytes": round(len(video) / 1e6, 1),
        "server_peak_megabytes": peak,
    }


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process in seconds; 0 without /proc."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))
    return 0.0


def _peak_megabytes(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1024
    return None


def main() -> int:
    """Run both; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="duration of the load (default: %(default)s)"
    )
    parser.add_argument("--connections", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the video; 0 skips it")
    given = parser.parse_args()
    status = status_rate(min(given.seconds, 60), min(given.connections, 100))
    video = long_video(min(given.minutes, 10)) if given.minutes else {}
    rows = [
        [f"{part}: {key.replace('_', ' ')}", str(value)]
        for part, found in (("status", status), ("video", video))
        for key, value in found.items()
    ]
    targets = {
        f"{STATUS_TARGET_PER_SECOND} status answers a second": status["per_second"]
        >= STATUS_TARGET_PER_SECOND,
        f"a video within {RENDER_TARGET_SECONDS} s": video.get("render_seconds", 0) <= RENDER_TARGET_SECONDS,
    }
    missed = [name for name, met in targets.items() if not met]
    title = f"The sandbox: one status over and over, and a 720p video of {given.minutes:g} minutes"
    results = {"status": status, "video": video}
    is_usual = given.minutes == parser.get_default("minutes")
    publish("sandbox", title, text_table(["what", "seen"], rows), results, missed=missed, keep=is_usual)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
